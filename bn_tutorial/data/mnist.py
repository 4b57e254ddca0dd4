"""MNIST: found, verified, downloaded where it is missing, and read.

Its four files lie decompressed in one folder, torchvision's ``MNIST/raw``. Nothing is read that is
not verified: a damaged file is downloaded again where that is ours to do, and else an error that
names it.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import zlib
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock
from torch import Tensor

from bn_tutorial.fetch import DownloadError, download
from bn_tutorial.storage import prepare_folder, replace_when_complete

_log = logging.getLogger(__name__)


class File(NamedTuple):
    """What a file of MNIST holds when it is sound."""

    size: int  # in bytes
    sha256: str
    md5: str  # by which finished runs know the data


FILES = {
    "train-images-idx3-ubyte": File(
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "6bbc9ace898e44ae57da46a324031adb",
    ),
    "train-labels-idx1-ubyte": File(
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "a25bea736e30d166cdddb491f175f624",
    ),
    "t10k-images-idx3-ubyte": File(
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "2646ac647ad5339dbf082846283269ea",
    ),
    "t10k-labels-idx1-ubyte": File(
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        "27ae3e4e09519cfbb04c329615203637",
    ),
}

# torchvision's mirrors, written out: importing it takes longer than learning that none answers.
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")


class FetchError(OSError):
    """MNIST is not here and could not be downloaded: why, and how to get it or do without."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}. To have MNIST, run again with a network connection, or put its four files "
            f"({', '.join(FILES)}) into FOLDER/MNIST/raw and set BN_TUTORIAL_DATA=FOLDER. "
            "To do without, set BN_TUTORIAL_DATASET=digits."
        )


@functools.cache
def ensure(given: Path | None, cache: Path) -> Path:
    """Find MNIST, or download it, and verify its files: once a process. Return their folder.

    Where the user named a folder, MNIST is taken from it or from nowhere: the files lie in its
    ``MNIST/raw``, in its ``raw``, or in itself. Else they lie in the cache folder; those that are
    missing or damaged there are downloaded.

    Raises
    ------
    ValueError
        If a file of the user's is missing, damaged or unreadable: the message names it and what to
        do.
    FetchError
        If MNIST is not here and cannot be downloaded. Without a network that takes seconds.
    OSError
        As for :func:`bn_tutorial.storage.prepare_folder`, which creates the cache folder.
    """
    if given is not None:
        raw = _folder_in(given)
        if fault := next(filter(None, (_fault(raw, name) for name in FILES)), None):
            raise ValueError(
                f"{fault}. Put an intact copy in its place, or unset BN_TUTORIAL_DATA, "
                "or set BN_TUTORIAL_DATASET=digits."
            )
        return raw
    raw = cache / "mnist" / "MNIST" / "raw"
    if any(_fault(raw, name) for name in FILES):
        _fetch(raw)
    return raw


def read(raw: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], str]:
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

    images, labels, test_images, test_labels = (str(raw / name) for name in FILES)
    sums = "".join(file.md5 for file in FILES.values())
    return (
        (read_image_file(images), read_label_file(labels)),
        (read_image_file(test_images), read_label_file(test_labels)),
        hashlib.sha256(sums.encode()).hexdigest(),
    )


def _folder_in(given: Path) -> Path:
    """Return the folder with MNIST's files that the user means, or raise ValueError."""
    problem = f"holds none of MNIST's files ({', '.join(FILES)}), nor does MNIST/raw below it"
    for folder in (given / "MNIST" / "raw", given / "raw", given):
        try:
            found = {path.name.removesuffix(".gz") for path in folder.iterdir()}
        except (FileNotFoundError, NotADirectoryError):
            if folder == given:
                problem = "is no folder" if given.exists() else "does not exist"
        except OSError as error:
            problem = f"cannot be read ({folder}: {error.strerror})"
            break
        else:
            if found & FILES.keys():
                return folder
    raise ValueError(
        f"BN_TUTORIAL_DATA is {given}, which {problem}. Set it to the folder with MNIST, or unset "
        "it to have MNIST downloaded, or set BN_TUTORIAL_DATASET=digits."
    )


def _fault(folder: Path, name: str) -> str | None:
    """Say what is wrong with a file of MNIST, or None."""
    path = folder / name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        hint = " (there is a .gz of it: decompress that)" if Path(f"{path}.gz").exists() else ""
        return f"{path} is missing{hint}"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    difference = _difference(content, FILES[name])
    return difference and f"{path} is damaged: {difference}"


def _difference(content: bytes, expected: File) -> str | None:
    if len(content) != expected.size:
        return f"it has {len(content):,} bytes, expected {expected.size:,}"
    found = hashlib.sha256(content).hexdigest()
    return f"its SHA-256 is {found}" if found != expected.sha256 else None


def _fetch(raw: Path) -> None:
    """Download the files that are not sound into a folder of the cache."""
    prepare_folder(raw)
    mirrors = list(MIRRORS)
    with FileLock(raw.parents[1].with_suffix(".lock")):
        for name in FILES:
            path = raw / name
            fault = _fault(raw, name)
            if fault is None:
                continue  # another process may have fetched it while this one waited
            if os.path.lexists(path):
                _log.warning("%s. It is downloaded again.", fault)
            content = _from_a_mirror(name, mirrors)
            with replace_when_complete(path) as partial:
                partial.write_bytes(content)


def _from_a_mirror(name: str, mirrors: list[str]) -> bytes:
    """Download one file; the mirrors that fail are put last, so that they are not asked first."""
    failures = []
    for mirror in tuple(mirrors):
        address = f"{mirror}{name}.gz"
        try:
            # What cannot be compressed grows a little.
            archive = download(address, limit=FILES[name].size + 1_000)
            # No more than that: a small archive may become large.
            content = zlib.decompressobj(wbits=31).decompress(archive, FILES[name].size + 1)
        except DownloadError as error:
            failures.append(str(error))
        except zlib.error as error:
            failures.append(f"{address} is no gzip file ({error})")
        else:
            difference = _difference(content, FILES[name])
            if difference is None:
                return content
            failures.append(f"{address} is not MNIST's: {difference}")
        mirrors.append(mirrors.pop(0))
    raise FetchError(
        f"MNIST is not on this machine and cannot be downloaded ({'; '.join(failures)})"
    )
