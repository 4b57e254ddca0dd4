"""Leave the finished site alone while all that it was made of is what it was.

To read and to write every page takes most of a minute. ``nox -s docs`` builds into ``unfinished``
and then puts that in the place of ``html``. When a build has ended without a warning, what it was
made of is noted beside it, with a digest of every file. A build that would be made of the same, and
finds all of them as they were written, ends at once. One into another folder is always made.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import gallery_state
import seal
from fresh import WRITTEN
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

from bn_tutorial import fingerprint

logger = logging.getLogger(__name__)

FOLDERS = ("docs", "tutorial_src", "bn_tutorial")
WHO_STARTED_IT = "BN_TUTORIAL_NOX"


def mark_of(checkout: Path, data: dict[str, str]) -> str:
    """Return the fingerprint of all that a site is made of: files, libraries, settings, data."""
    files = {path.relative_to(checkout).as_posix(): seal.digest(path) for path in sources(checkout)}
    installed = Path(sysconfig.get_path("purelib")).glob("*.dist-info")  # names with versions
    settings = {
        name: value
        for name, value in os.environ.items()
        if name == "SOURCE_DATE_EPOCH" or name.startswith("BN_TUTORIAL_")
        if name != WHO_STARTED_IT
    }
    return fingerprint.of(
        files, fingerprint.versions(), sorted(path.stem for path in installed), settings, data
    )


def sources(checkout: Path) -> Iterator[Path]:
    """Yield the files of a checkout that a build may read, but not those that it writes."""
    made = [checkout / "docs" / name for name in WRITTEN]
    for path in chain(
        *(checkout.joinpath(name).rglob("*") for name in FOLDERS), checkout.glob("*")
    ):
        parts = path.relative_to(checkout).parts
        left_out = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if not (left_out or any(map(path.is_relative_to, made))) and path.is_file():
            yield path


def contents(site: Path) -> dict[str, str]:
    """Return the digest of every file of a site."""
    files = (path for path in site.rglob("*") if path.is_file())
    return {path.relative_to(site).as_posix(): seal.digest(path) for path in files}


def note_of(unfinished: Path) -> Path:
    """Return the file that says what the site was made of."""
    return unfinished.with_name("made-of.json")


def decide(app: Sphinx, config: Config) -> None:
    """End the build if the finished site is what it would give.

    Raises
    ------
    SystemExit
        Without an error, in that case.
    """
    docs, out = Path(app.srcdir), Path(app.outdir)
    if out.name != "unfinished":
        return
    mark = mark_of(docs.parent, config.html_context["data"])
    app.connect("build-finished", partial(take_note, mark=mark), priority=999)
    made = {"mark": mark, "files": contents(out.with_name("html"))}
    if fingerprint.read_signed(note_of(out)) == made and is_whole(docs, config):
        logger.info("Nothing has changed: the site is as it was built.", color="bold")
        shutil.rmtree(out)
        raise SystemExit


def is_whole(docs: Path, config: Config) -> bool:
    """Tell whether what scripts and pages have made is there, too: other commands ask for it."""
    executed = Path(config.nb_execution_cache_path).is_dir()  # one that is damaged was removed
    return executed and not gallery_state.outdated(docs)


def take_note(app: Sphinx, exception: Exception | None, mark: str) -> None:
    """Note what a build was made of, if nothing was wrong with it."""
    out = Path(app.outdir)
    note = note_of(out)
    note.unlink(missing_ok=True)
    if not exception and not app._warncount:  # a warning is to be heard again
        fingerprint.write_signed(note, {"mark": mark, "files": contents(out)})


def setup(app: Sphinx) -> dict[str, bool]:
    """Register behind the extension that decides on data and scripts."""
    app.setup_extension("experiments")
    app.connect("config-inited", decide, priority=3)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
