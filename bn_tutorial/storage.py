"""The cache folder, and files that are either complete or not there.

Everything that the build remembers (MNIST, the embedded digits, finished training runs, measured
numbers) lies in one folder, and reaches it by the same way: it is written under a temporary name
and renamed only when it is complete. A killed build therefore leaves nothing half-written behind
a real name.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_folder(*, create: bool = True) -> Path:
    """Return the folder in which the build remembers things.

    It is the environment variable ``BN_TUTORIAL_CACHE`` (``~`` is expanded; a relative path is
    taken from the working directory), else the user's cache folder for ``bn-tutorial``.

    Parameters
    ----------
    create : bool, default True
        Whether to create the folder, with its parents, when it is not there.

    Returns
    -------
    Path
        An absolute path.

    Raises
    ------
    OSError
        If the folder cannot be created; the message carries its path.
    """
    chosen = os.environ.get("BN_TUTORIAL_CACHE")
    if chosen:
        folder = Path(chosen).expanduser().absolute()
    else:
        folder = platformdirs.user_cache_path("bn-tutorial", appauthor=False)
    if create:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def replace_when_complete(path: Path) -> Iterator[Path]:
    """Write a file so that its name only ever stands for a complete file.

    The block writes to a temporary path in the folder of `path`. When the block ends, the file
    is flushed to the disk and takes the place of `path` in one step; when it raises, the file is
    removed and `path` stays as it was.

    Parameters
    ----------
    path : Path
        The file to create or replace. Its folder must exist.

    Yields
    ------
    Path
        A temporary path, unique to this call, which ends in ``.partial``. (`numpy.save` and
        `numpy.savez` append their own suffix to a path: give them an open file.)

    Raises
    ------
    FileNotFoundError
        If the block has written nothing to the temporary path.

    Examples
    --------
    >>> import tempfile
    >>> note = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replace_when_complete(note) as partial:
    ...     _ = partial.write_text("complete")
    >>> note.read_text()
    'complete'
    """
    # A name of our own rather than tempfile's: mkstemp makes a file that only its owner may read,
    # and a cache folder may be shared.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        # Without this, a power cut shortly after the renaming could leave an empty file.
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
