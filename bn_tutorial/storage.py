"""The cache folder, and files that are either complete or not there.

Everything that the build remembers (MNIST, the embedded digits, finished training runs, measured
numbers) lies in one folder. It is written under a temporary name and renamed only when it is
complete, so that a killed build leaves nothing half-written behind a real name.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def named_folder(variable: str) -> Path | None:
    """Return the folder that an environment variable names as an absolute path, or None.

    ``~`` is expanded, and a relative path is taken from the working directory.

    Raises
    ------
    ValueError
        If ``~`` stands for nobody's home folder.
    """
    value = os.environ.get(variable)
    if not value:
        return None
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(
            f"{variable} is {value!r}, but there is no such home folder: set it to a path without ~"
        ) from error


def prepare_folder(folder: Path, variable: str = "BN_TUTORIAL_CACHE") -> Path:
    """Create a folder, with its parents, unless it is there; return it.

    Raises
    ------
    OSError
        If it cannot be created or written to. The message names the folder, and `variable`, the
        environment variable that can choose another.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        nowhere = folder.is_symlink() and not folder.exists()
        problem = "is a link that leads nowhere" if nowhere else "is a file, or lies in one"
    except OSError as error:
        problem = f"cannot be created ({error.strerror})"
    else:
        # Asked now, because the first file may be written hours later.
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
        problem = "may not be written to"
    raise OSError(f"{folder} {problem}: set {variable} to a folder that you may write to")


def cache_folder(*, create: bool = True) -> Path:
    """Return the folder in which the build remembers things, as an absolute path.

    It is the one that ``BN_TUTORIAL_CACHE`` names, else the user's for ``bn-tutorial``. Unless
    `create` is false, it is there. Errors are as for :func:`named_folder`, :func:`prepare_folder`.
    """
    folder = named_folder("BN_TUTORIAL_CACHE")
    if folder is None:
        folder = platformdirs.user_cache_path("bn-tutorial", appauthor=False)
    return prepare_folder(folder) if create else folder


@contextmanager
def replace_when_complete(path: Path) -> Iterator[Path]:
    """Write a file so that its name only ever stands for a complete file.

    The block writes to a temporary path, unique to this call and in the folder of `path`, which
    must exist. When the block ends, the file is flushed to the disk and takes the place of `path`
    in one step; when it raises, the file is removed and `path` stays as it was. (`numpy.save` and
    `numpy.savez` append their own suffix to a path: give them an open file.)

    Raises
    ------
    FileNotFoundError
        If the block has written nothing to the temporary path.
    OSError
        If there is no room for the file, or a folder in its place. The message names it, and says
        what to do.

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
    except OSError as error:
        if path.is_dir():
            raise IsADirectoryError(
                errno.EISDIR, f"{path} is a folder, where a file should be: delete it"
            ) from error
        if error.errno not in _NO_ROOM:
            raise
        # The system says it without a name.
        raise OSError(
            error.errno,
            f"{path} cannot be written ({error.strerror}): make room there; "
            "nox -s cache says what can be deleted",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
