"""The pages with code: what their execution gave, and how many checks they made, is remembered.

MyST-NB asks a cache of executed pages (jupyter-cache), which knows a page by its code alone. So
each state of all else that the pages depend on has a cache of its own, and with the newest, the
older ones go. A cache is sealed after each page that is read: one in which a file is missing or
altered since is made again.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import gallery_state as state
import seal
from jupyter_cache import get_cache
from jupyter_client.manager import KernelManager
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

from bn_tutorial import fingerprint
from bn_tutorial.fingerprint import Sources

logger = logging.getLogger(__name__)

LIBRARIES = ("keras", "onnx", "onnxruntime", "onnxscript")  # what pages alone use
WIDGETS = Path(__file__).with_name("widget_data.py")
CHECKING = re.compile(r'^\w+ = Checks\("([\w/-]+)"\)$', re.MULTILINE)


def mark_of(docs: Path, sources: Sources, data: str) -> str:
    """Return the fingerprint of all that the results of the pages depend on, their text apart."""
    code = [state.cells_of(page.read_text(encoding="utf-8")) for page in pages_of(docs)]
    if WIDGETS.is_file():
        code.append(WIDGETS.read_text(encoding="utf-8"))  # what they show is checked on the pages
    mark = state.mark_of(code, sources, data)
    return fingerprint.of(mark, fingerprint.versions(*LIBRARIES))[:16]


def prepare(docs: Path, config: Config, mark: str) -> None:
    """Choose the cache, remove the older ones, and one that is damaged."""
    pages = docs / "_build" / "executed-pages"
    cache = pages / mark
    for old in set(pages.glob("*")) - {cache}:
        if old.is_dir():  # a file is the system's, such as .DS_Store
            shutil.rmtree(old)
    if cache.is_dir() and not is_whole(cache):
        logger.info("%s is not as it was written: its pages are executed again.", cache)
        shutil.rmtree(cache)
    config.nb_execution_cache_path = str(cache)


def pages_of(docs: Path) -> list[Path]:
    """Return the pages that are written by hand."""
    found = docs.rglob("*.md")
    return sorted(page for page in found if "_build" not in page.relative_to(docs).parts)


def is_whole(cache: Path) -> bool:
    """Tell whether the database of a cache can be read, and its pages are what was written."""
    known = get_cache(cache)
    try:
        records = known.list_cache_records()
    except Exception:  # its libraries say many things of a damaged file
        return False
    finally:
        known.db.dispose()  # who asks leaves the file open
    pages = [cache / "executed" / record.hashkey / "base.ipynb" for record in records]
    return seal.holds(cache / "sealed.json", *pages)


def cache_of(app: Sphinx) -> Path:
    """Return the folder of the cache; where nobody has chosen one, nothing is in it."""
    chosen = getattr(app.config, "nb_execution_cache_path", "")
    return Path(chosen or app.srcdir / "_build" / "executed-pages")


def seal_cache(cache: Path) -> None:
    """Seal the results. The database is not among them: it is written to whenever it is asked."""
    if (cache / "executed").is_dir():
        results = [*cache.glob("executed/**/*"), *cache.glob("checks/**/*")]
        seal.write(cache / "sealed.json", filter(Path.is_file, results))


def checks_in(text: str, cache: Path) -> Path:
    """Return the folder of the counts of a page: there is one for each state of its code.

    So the counts are those of the code that the cache knows as executed, whatever the page was in
    the meantime.
    """
    return cache / "checks" / fingerprint.of(state.cells_of(text))[:16]


def checks_of(text: str, app: Sphinx) -> Path | None:
    """Return the file of the counts of a page, or nothing if it makes no checks."""
    found = CHECKING.search(text)
    return checks_in(text, cache_of(app)) / f"{found[1]}.json" if found else None


def name_checks(app: Sphinx, _page: str, source: list[str]) -> None:
    """Have the page that is read next write its counts to its own folder."""
    os.environ["BN_TUTORIAL_CHECKS"] = str(checks_in(source[0], cache_of(app)))


def hide_what_kernels_say() -> None:
    """Encrypt it: else whoever is on this machine could read it, and each kernel warns of that.

    MyST-NB hands on no option for it.
    """
    KernelManager.transport_encryption.default_value = "auto"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it; experiments.py prepares."""
    hide_what_kernels_say()
    app.connect("source-read", name_checks)
    app.connect("doctree-read", lambda app, _: seal_cache(cache_of(app)))
    return {"parallel_read_safe": False, "parallel_write_safe": True}
