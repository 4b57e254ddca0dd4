"""MNIST: found, verified, downloaded where it is missing, and read.

Its four files lie decompressed in a torchvision root, that is, in ``MNIST/raw`` below some folder.
Nothing is read that is not verified: a damaged file is an error that names it, never a fallback.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import logging
import queue
import shutil
import socket
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock
from torch import Tensor

from bn_tutorial.storage import prepare_folder

_log = logging.getLogger(__name__)

# The four files as they lie in MNIST/raw, decompressed: size in bytes, MD5.
FILES = {
    "train-images-idx3-ubyte": (47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (10_008, "27ae3e4e09519cfbb04c329615203637"),
}

# torchvision's mirrors, written out: importing it takes longer than learning that none answers.
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")

PATIENCE = 5.0  # seconds until a mirror must have answered, name resolution included
STALL = 15.0  # seconds that a download may stand still


class FetchError(RuntimeError):
    """MNIST is not here and could not be downloaded: why, and how to get it or do without."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}. To have MNIST, run again with a network connection, or put its four files "
            f"({', '.join(FILES)}) into FOLDER/MNIST/raw and set BN_TUTORIAL_DATA=FOLDER. "
            "To do without, set BN_TUTORIAL_DATASET=digits."
        )


@functools.cache
def ensure(given: Path | None, cache: Path) -> Path:
    """Find MNIST, or download it, and verify its files: once a process. Return its root.

    The folder that the user named, if any, is searched first; where it holds no ``MNIST/raw``, it
    is passed over, with a warning. Then ``mnist`` in the cache folder is, and otherwise downloaded.

    Raises
    ------
    ValueError
        If a file is missing, damaged or unreadable: the message names it and what to do.
    FetchError
        If MNIST is not here and cannot be downloaded. Without a network that takes seconds.
    OSError
        As for :func:`bn_tutorial.storage.prepare_folder`, which creates the cache folder.
    """
    if given is not None:
        if _raw(given).is_dir():
            _verify(given, "Put an intact copy in its place, or unset BN_TUTORIAL_DATA")
            return given
        _log.warning("BN_TUTORIAL_DATA is %s, which holds no folder MNIST/raw: ignored", given)
    root = cache / "mnist"
    if not _raw(root).is_dir():
        _fetch(root)
    _verify(root, f"Delete the folder {root} and run again with a network connection")
    return root


def read(root: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], str]:
    """Read the files that :func:`ensure` has verified, with torchvision's own reader.

    Returns
    -------
    train, test : tuple of Tensor
        Images (uint8, shape (N, 28, 28)) and their labels (int64, shape (N,)).
    digest : str
        SHA-256 of the files' MD5 sums, hexadecimal.
    """
    # The reader rather than the class: torchvision.datasets.MNIST would prefer a file of an old
    # format (MNIST/processed/training.pt) where one is left, which nobody has verified.
    from torchvision.datasets.mnist import read_image_file, read_label_file

    images, labels, test_images, test_labels = (str(_raw(root) / name) for name in FILES)
    sums = "".join(md5 for _, md5 in FILES.values())
    return (
        (read_image_file(images), read_label_file(labels)),
        (read_image_file(test_images), read_label_file(test_labels)),
        hashlib.sha256(sums.encode()).hexdigest(),
    )


def _raw(root: Path) -> Path:
    return root / "MNIST" / "raw"


def _verify(root: Path, remedy: str) -> None:
    if damage := _damage(root):
        raise ValueError(f"{damage}. {remedy}, or set BN_TUTORIAL_DATASET=digits.")


def _damage(root: Path) -> str | None:
    """Say which of the four files under `root` is not as it should be, and why, or None."""
    for name, (size, md5) in FILES.items():
        path = _raw(root) / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            hint = " (there is a .gz of it: decompress that)" if Path(f"{path}.gz").exists() else ""
            return f"{path} is missing{hint}"
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
        if len(content) != size:
            return f"{path} is damaged: it has {len(content)} bytes, expected {size}"
        # MD5 tells damage from soundness here, not friend from foe.
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != md5:
            return f"{path} is damaged: its MD5 is {found}, expected {md5}"
    return None


def _fetch(root: Path) -> None:
    """Download MNIST under `root`, which comes into being complete or not at all."""
    mirrors = _answering_mirrors()
    prepare_folder(root.parent)
    with FileLock(root.with_suffix(".lock")):
        if _raw(root).is_dir():
            return  # another process has fetched it while this one waited
        # Only the holder of the lock touches this folder: what is there, a killed build has left.
        partial = root.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        _log.info("downloading MNIST (11 MB) into %s", root)
        try:
            _download(partial, mirrors)
            if damage := _damage(partial):
                raise FetchError(f"MNIST was downloaded, but {damage}")
            for archive in _raw(partial).glob("*.gz"):
                archive.unlink()
            _raw(root).parent.mkdir(parents=True, exist_ok=True)
            _raw(partial).replace(_raw(root))
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _download(root: Path, mirrors: Sequence[str]) -> None:
    """Have torchvision download MNIST under `root`, with its progress bar."""
    from torchvision import datasets

    # torchvision names the folder after the class, hence a class of the same name; it tries the
    # mirrors in order, and the first of its own list may be the one that hangs.
    fetcher = type("MNIST", (datasets.MNIST,), {"mirrors": list(mirrors)})
    # torchvision passes no timeout of its own, so that only the process-wide default reaches it.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL)
    try:
        fetcher(root, download=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise FetchError(f"MNIST could not be downloaded: {error}") from error
    finally:
        socket.setdefaulttimeout(before)


def _answering_mirrors() -> list[str]:
    """Return the mirrors, one that answers first, or raise FetchError within seconds.

    No timeout covers the resolution of a name, which may hang for minutes. The mirrors are
    therefore asked in daemon threads, which can be left behind.
    """
    answers: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()
    for mirror in MIRRORS:
        threading.Thread(target=_ask, args=(mirror, answers), daemon=True).start()
    deadline = time.monotonic() + PATIENCE
    failures = dict.fromkeys(MIRRORS, f"no answer within {PATIENCE:g} s")
    for _ in MIRRORS:
        try:
            mirror, failure = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if failure is None:
            return [mirror, *(other for other in MIRRORS if other != mirror)]
        failures[mirror] = failure
    reasons = "; ".join(f"{mirror}: {failure}" for mirror, failure in failures.items())
    raise FetchError(f"MNIST is not on this machine and cannot be downloaded ({reasons})")


def _ask(mirror: str, answers: queue.SimpleQueue[tuple[str, str | None]]) -> None:
    """Put (mirror, None) into `answers` if its smallest file is a gzip file, else the reason."""
    request = urllib.request.Request(
        mirror + "t10k-labels-idx1-ubyte.gz", headers={"User-Agent": "bn-tutorial"}
    )
    try:
        # urllib, as torchvision does: what holds for its proxies holds for the download.
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            start = response.read(2)
    except Exception as error:  # whatever it is, it is this mirror's reason
        answers.put((mirror, f"{type(error).__name__}: {error}"))
    else:
        # The login page of a hotel's network answers too.
        answers.put((mirror, None if start == b"\x1f\x8b" else "the answer is no gzip file"))
