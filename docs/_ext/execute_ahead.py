"""Execute the pages with code while the scripts run: neither waits for the other.

MyST-NB executes a page when it reads it, one after the other, when all scripts are done. Here, a
process of its own does it meanwhile, and leaves the results where MyST-NB looks for them first. A
page that fails is left to MyST-NB, which says what is wrong with it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import executed_pages
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.config import NbParserConfig
from myst_nb.core.read import create_nb_reader
from myst_parser.config.main import MdParserConfig
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util import logging

from bn_tutorial.lab.workers import end_with

logger = logging.getLogger(__name__)


def start(app: Sphinx) -> None:
    """Start the process, and wait for it before the first page is read."""
    pages = executed_pages.pages_of(Path(app.srcdir))
    work = (os.getpid(), pages, app.env.myst_config, app.env.mystnb_config)
    process = subprocess.Popen(
        (sys.executable, __file__), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin
    with suppress(BrokenPipeError), process.stdin as pipe:  # should it have ended already
        pipe.write(pickle.dumps(work))

    def wait(*_: object) -> None:
        if process.poll() is None:
            logger.info("The last pages with code are being executed.")
        process.wait()

    app.connect("env-before-read-docs", wait)


def main() -> None:
    """Execute the pages that the build names, one after the other, as long as it lives."""
    parent, pages, reading, executing = pickle.load(sys.stdin.buffer)
    end_with(parent)
    os.nice(10)  # what scripts train comes first, and what they time is not to be disturbed
    executed_pages.hide_what_kernels_say()
    for page in pages:
        with suppress(Exception):  # MyST-NB will meet it, too
            execute(page, reading, executing)


def execute(page: Path, reading: MdParserConfig, executing: NbParserConfig) -> None:
    """Execute a page that has code and is not known yet, as MyST-NB does it."""
    text = page.read_text(encoding="utf-8")
    if not (reader := create_nb_reader(str(page), reading, executing, text)):
        return
    notebook, folder = reader.read(text), Path(executing.execution_cache_path)
    cache = get_cache(folder)
    with suppress(KeyError):
        cache.match_cache_notebook(notebook)
        return
    os.environ["BN_TUTORIAL_CHECKS"] = str(executed_pages.checks_in(text, folder))
    result = single_nb_execution(
        notebook, str(page.parent), executing.execution_timeout, executing.execution_allow_errors
    )
    if not result.err:
        join_streams(notebook)
        record = cache.add_nb_to_project(str(page), read_data=reader.read_fmt)
        executed = CacheBundleIn(notebook, record.uri, data={"execution_seconds": result.time})
        cache.cache_notebook_bundle(executed, check_validity=False, overwrite=True)
        executed_pages.seal_cache(folder)


def join_streams(notebook: NotebookNode) -> None:
    """Join what a cell has printed, which comes in pieces that depend on time alone.

    MyST-NB would put each piece on a line of its own.
    """
    for cell in notebook.cells:
        joined: list[NotebookNode] = []
        for output in cell.get("outputs", ()):
            last = joined[-1] if joined else NotebookNode()
            if output.output_type == "stream" and output.name == last.get("name"):
                last.text += output.text
            else:
                joined.append(output)
        if "outputs" in cell:
            cell.outputs = joined


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it behind MyST-NB, whose settings are made at the same event."""
    app.connect("builder-inited", start)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    main()
