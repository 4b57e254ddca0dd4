"""Make the whole site in every build, from nothing, and one build at a time.

Sphinx would keep the pages that seem unchanged, and with them what an interrupted build left stale
or cut, warnings that it has forgotten, pages that were deleted, and a search index without
the pages that it does not write. To read and write every page takes half a minute; what takes
longer is remembered by itself: trainings, scripts (gallery_state.py), pages (executed_pages.py).

What stops a build here is said in one sentence: around an error, Sphinx would print a report.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from sphinx.application import Sphinx
from sphinx.config import Config

from bn_tutorial.lab.workers import end_with

WRITTEN = ("_build", "gallery", "api/generated")


def start(app: Sphinx, _config: Config) -> None:
    """Take the lock, and remove what Sphinx would go on with."""
    docs = Path(app.srcdir)
    lock = take_lock(docs / "_build")
    app.connect("build-finished", lambda *_: lock.release(), priority=1000)
    Path(app.doctreedir, "environment.pickle").unlink(missing_ok=True)
    for folder in (app.doctreedir, app.outdir):
        if docs / "_build" in folder.parents:  # one that somebody chose may hold other things
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)


def end_with_nox() -> None:
    """End this build soon after the nox that started it, which may be killed without a word.

    What was started by hand may outlive the shell that it was started from.
    """
    parent = os.getppid()
    if os.environ.get("BN_TUTORIAL_NOX") == str(parent):
        end_with(parent)


def check_folders(docs: Path) -> None:
    """Refuse to begin what could not be written.

    Raises
    ------
    SystemExit
        If one of the folders cannot be written to.
    """
    if closed := [str(docs / name) for name in WRITTEN if not may_write(docs / name)]:
        raise SystemExit(
            f"A build cannot write to {' or '.join(closed)}: make that a folder which you may "
            f"write to. Of the project, it writes only to {', '.join(WRITTEN)} in {docs}."
        )


def may_write(folder: Path) -> bool:
    """Tell whether files can be written to a folder, which need not be there yet."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def take_lock(folder: Path) -> FileLock:
    """Lock the checkout until the lock is released, or the process ends.

    Raises
    ------
    SystemExit
        If another process has it.
    """
    folder.mkdir(exist_ok=True)
    lock, holder = FileLock(folder / ".lock", blocking=False), folder / ".lock-holder"
    try:
        lock.acquire()
    except Timeout:
        who = holder.read_text(encoding="utf-8") if holder.is_file() else ""
        raise SystemExit(
            f"Another build is at work in this checkout ({who or 'it has just begun'}): "
            "wait until it is done, or stop it."
        ) from None
    holder.write_text(f"process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
    return lock


def setup(app: Sphinx) -> dict[str, bool]:
    """Register before all that writes or decides."""
    end_with_nox()
    check_folders(Path(app.srcdir))  # now, for next Sphinx makes one of them
    app.connect("config-inited", start, priority=0)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
