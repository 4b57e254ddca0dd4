"""Decide what a build runs: on which data, and which scripts of the gallery.

What a script shows depends on more than its text: on the code of the package that it reaches, on
libraries, on the data and on the device. All of that has one mark for each script, and one for the
executed pages. Where it is another than last time, the script runs again; one that fails, or that
a killed build left out, is simply not done yet and runs in the next build.
``BN_TUTORIAL_ONLY=03_in_training/plot_01`` runs the scripts whose names begin so, and leaves the
others as they are until a full build.

Where there are more scripts to run than cores, two of them run at a time, each with half of the
cores, and with two at least: one trains while the other draws, or has come to its end. One that
takes times says ``sphinx_gallery_parallel = False``, and runs alone.
"""

from __future__ import annotations

import logging as standard
import os
import re
import warnings
from functools import cache
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import build_data
import executed_pages
import gallery_state as state
import joblib
import unchanged
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError
from sphinx.util import logging

from bn_tutorial import fingerprint
from bn_tutorial.fingerprint import Sources
from bn_tutorial.lab.workers import end_with

logger = logging.getLogger(__name__)

AT_A_TIME = 2
SCRAPER = Path(__file__).with_name("gallery_figures.py")


def prepare(app: Sphinx, config: Config) -> None:
    """Set the environment of the scripts, forget what is out of date, and say what is in use."""
    docs = Path(app.srcdir)
    source, gallery = docs.parent / "tutorial_src", docs / "gallery"
    scripts = state.scripts_in(source)
    only = state.wanted()
    chosen = [script for script in scripts if script.startswith(only)]
    if only and not chosen:
        raise ConfigError(f"BN_TUTORIAL_ONLY={only} names none of: {', '.join(scripts)}")

    stamp = gallery / "built-with.json"
    built = fingerprint.read_signed(stamp) or {}  # damaged, it is as if every script were new
    try:
        wished = build_data.wishes()
        data = build_data.decide(wished, built)
    except (OSError, ValueError) as error:  # a sentence that says what to do
        raise ConfigError(str(error)) from error
    os.environ["BN_TUTORIAL_EVIDENCE"] = str(gallery / "evidence")
    config.html_context["data"] = data
    logger.info("Data: {title}. {source}. {licence}.".format(**data), color="bold")
    logger.info("Device: %s.", fingerprint.device(), color="bold")

    sources = Sources(docs.parent / "bn_tutorial")
    drawing = SCRAPER.read_text(encoding="utf-8")
    made_of = unchanged.mark_of(docs.parent, data)
    same = built.get("made of") == made_of  # then all marks are: to find them takes seconds
    marks = built.get("marks", {})
    for script in chosen:
        mark = marks.get(script)
        if not (same and mark):
            text = (source / f"{script}.py").read_text(encoding="utf-8")
            mark = fingerprint.of(state.mark_of([text, drawing], sources, data["digest"]), drawing)
        if only or marks.get(script) != mark or not state.is_current(script, source, gallery):
            state.forget(script, gallery)
        marks[script] = mark
    state.remove_leftovers(scripts, gallery)
    gallery.mkdir(exist_ok=True)
    waiting = [script for script in chosen if not state.is_current(script, source, gallery)]
    if len(waiting) > joblib.cpu_count() > 1:
        app.connect("builder-inited", run_two_at_a_time, priority=0)
    # joblib replaces a process that has grown, between two scripts; it need not warn of that.
    warnings.filterwarnings("ignore", "A worker stopped", UserWarning)
    pages = built.get("pages") if same else None
    pages = pages or executed_pages.mark_of(docs, sources, data["digest"])
    # Last, so that a build that is killed before it has forgotten too much, not too little.
    kept = {script: marks[script] for script in scripts if script in marks}
    known = {"marks": kept, "pages": pages, "made of": made_of}
    fingerprint.write_signed(stamp, {**known, "wishes": wished, "data": data})
    if only:
        pattern = "|".join(re.escape(f"{Path(script)}.py") for script in chosen)
        config.sphinx_gallery_conf["filename_pattern"] = f"({pattern})$"
        config.suppress_warnings.append("image.not_readable")  # figures that nobody drew yet
    executed_pages.prepare(docs, config, pages)


def run_two_at_a_time(app: Sphinx) -> None:
    """Ask for it when the builder has taken the checksum of the settings, which is published."""
    app.config.sphinx_gallery_conf["parallel"] = AT_A_TIME


def gather_damage(app: Sphinx) -> None:
    """Say once what each study would say of the remembered runs that are damaged."""
    store, told = standard.getLogger("bn_tutorial.lab.store"), list[Any]()

    def gather(record: standard.LogRecord) -> bool:
        told.append(record)
        return False

    def say(*_: object) -> None:
        store.removeFilter(gather)
        if told:
            logger.info(told[0].msg, sum(one.args[0] for one in told), *told[0].args[1:])

    store.addFilter(gather)
    app.connect("build-finished", say)


def find_stamp(app: Sphinx) -> None:
    """Say where the stamp of pages without a figure is; no hash of conf.py may hold such a path."""
    gallery = app.config.sphinx_gallery_conf
    if stamp := gallery["default_thumb_file"]:
        gallery["default_thumb_file"] = str(Path(app.srcdir, stamp))


def compute_on_one_thread(_conf: dict[str, Any], _script: str | None) -> None:
    """Give each script one thread: the last digits of a sum depend on how many share it."""
    import torch  # only where a script runs: it takes seconds

    torch.set_num_threads(1)


def take_a_share(_conf: dict[str, Any], _script: str | None) -> None:
    """Set up a process that runs scripts while another one does."""
    if current_process().name.startswith("Loky"):
        share_cores()


@cache
def share_cores() -> None:
    """Leave half of the cores to the other process, and end with the build, whatever ends that."""
    os.environ["LOKY_MAX_CPU_COUNT"] = str(max(2, joblib.cpu_count() // AT_A_TIME))
    number = int(current_process().name.rpartition("-")[2])
    os.environ["TQDM_POSITION"] = str(number % AT_A_TIME)  # a line for each bar
    end_with(os.getppid())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register before the extensions that read what is decided here."""
    app.setup_extension("executed_pages")
    app.connect("config-inited", prepare, priority=1)
    for prepare_scripts in (gather_damage, find_stamp):
        app.connect("builder-inited", prepare_scripts, priority=0)  # before the scripts run
    return {"parallel_read_safe": True, "parallel_write_safe": True}
