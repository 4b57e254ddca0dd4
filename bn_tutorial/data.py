"""The images that the networks are trained on: MNIST, or digits that need no network.

MNIST is looked for in the folder ``BN_TUTORIAL_DATA`` (a torchvision root: it holds
``MNIST/raw``), then in the cache folder, and is otherwise downloaded there by torchvision. Where
that is impossible, the 8x8 digits that come with scikit-learn are enlarged and distorted into as
many images of the same shape, so that every experiment runs unchanged.
``BN_TUTORIAL_DATASET=mnist`` or ``digits`` chooses explicitly.

Images stay ``uint8`` until :meth:`Dataset.standardize` turns them into the input of a network.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import importlib.metadata
import logging
import os
import queue
import shutil
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from bn_tutorial.storage import cache_folder, replace_when_complete

_log = logging.getLogger(__name__)

_NAMES = ("mnist", "digits")


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, in the same order.

    Parameters
    ----------
    images : Tensor, uint8, shape (N, 28, 28)
        Grey values from 0 (background) to 255 (ink).
    labels : Tensor, int64, shape (N,)
        The digit that each image shows, 0 to 9.

    Raises
    ------
    TypeError
        If a dtype is another.
    ValueError
        If a shape is another.

    Examples
    --------
    >>> Split(torch.zeros(2, 28, 28, dtype=torch.uint8), torch.tensor([3, 1])).labels
    tensor([3, 1])
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Refuse what is not a split."""
        _check_images(self.images)
        if self.labels.dtype != torch.int64:
            raise TypeError(f"labels are {self.labels.dtype}, expected torch.int64")
        if self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels have shape {tuple(self.labels.shape)}, "
                f"expected ({len(self.images)},), one label for each image"
            )


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test set, and where they come from.

    Parameters
    ----------
    name : {"mnist", "digits"}
        What :func:`load` calls it.
    title : str
        What the pages call it.
    licence, source : str
        The terms it is distributed under, and its authors.
    digest : str
        SHA-256 of the content, hexadecimal. For MNIST it is taken over the MD5 sums of its four
        files, which were verified before.
    train, test : Split
        The training and the test set.
    """

    name: str
    title: str
    licence: str
    source: str
    digest: str
    train: Split
    test: Split

    @cached_property
    def mean(self) -> float:
        """Mean grey value of the training set, in units of full ink (255)."""
        return self._moments[0]

    @cached_property
    def std(self) -> float:
        """Standard deviation (biased) of the training set's grey values, in units of full ink."""
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[float, float]:
        # From the counts of the 256 grey values: exact, and without a float copy of the images.
        counts = torch.bincount(self.train.images.flatten(), minlength=256).double()
        weights = counts / counts.sum()
        values = torch.arange(256, dtype=torch.float64) / 255
        mean = (weights * values).sum()
        variance = (weights * (values - mean) ** 2).sum()
        return mean.item(), variance.sqrt().item()

    def standardize(self, images: Tensor) -> Tensor:
        """Turn images into network input: flat, with the training set's mean 0 and variance 1.

        Each image becomes ``(images / 255 - mean) / std``, with the scalar `mean` and `std` of all
        pixels of the training set (0.1307 and 0.3081 for MNIST), also where `images` is the test
        set.

        Parameters
        ----------
        images : Tensor, uint8, shape (N, 28, 28)
            Grey values from 0 to 255.

        Returns
        -------
        Tensor, float32, shape (N, 784)
            A new tensor.

        Raises
        ------
        TypeError
            If `images` is not ``uint8``.
        ValueError
            If `images` has another shape, or if the training set is constant.
        """
        _check_images(images)
        if not self.std > 0:
            raise ValueError(f"the training set of {self.title} has standard deviation {self.std}")
        flat = images.flatten(start_dim=1).to(torch.float32)
        return flat.sub_(255 * self.mean).div_(255 * self.std)


def _check_images(images: Tensor) -> None:
    if images.dtype != torch.uint8:
        raise TypeError(f"images are {images.dtype}, expected torch.uint8")
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise ValueError(f"images have shape {tuple(images.shape)}, expected (N, 28, 28)")


class FetchError(RuntimeError):
    """MNIST is not on this machine and could not be downloaded.

    Parameters
    ----------
    reason : str
        Why not. The message says after it how to get MNIST, or do without.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}. To have MNIST, run again with a network connection, or put its four files "
            f"({', '.join(_MNIST_FILES)}) into FOLDER/MNIST/raw and set BN_TUTORIAL_DATA=FOLDER. "
            "To do without, set BN_TUTORIAL_DATASET=digits."
        )


# ---------------------------------------------------------------------------------------------
# Which data set
# ---------------------------------------------------------------------------------------------


def choose() -> str:
    """Decide which data set this process uses, and fetch MNIST where that is needed.

    Where MNIST is found, this verifies its files and loads nothing. Otherwise it is downloaded
    into the cache folder; a machine without network finds out within seconds, is told so by a
    warning of the logger ``bn_tutorial.data``, and gets the digits. A process decides once for
    each setting of the environment.

    Returns
    -------
    {"mnist", "digits"}
        A name for :func:`load`.

    Raises
    ------
    ValueError
        If ``BN_TUTORIAL_DATASET`` is neither ``mnist`` nor ``digits``, or if a file of MNIST is
        missing or damaged: the message names the file and what to do. There is no silent fallback
        from damaged data.
    FetchError
        If ``BN_TUTORIAL_DATASET`` is ``mnist``, which is not here and cannot be downloaded.

    Notes
    -----
    To have several processes decide alike, and only one of them try the network, put the name into
    ``BN_TUTORIAL_DATASET`` of their environment.
    """
    explicit = os.environ.get("BN_TUTORIAL_DATASET")
    if not explicit:
        return _mnist_else_digits(*_places())
    if explicit not in _NAMES:
        raise ValueError(f"BN_TUTORIAL_DATASET is {explicit!r}, expected one of {_NAMES}")
    if explicit == "mnist":
        _mnist_root(*_places())
    return explicit


def load(name: str | None = None) -> Dataset:
    """Load a data set into memory.

    Parameters
    ----------
    name : {"mnist", "digits"}, optional
        Which one; by default what :func:`choose` says.

    Returns
    -------
    Dataset
        60,000 training and 10,000 test images. A process loads it once: do not change it in
        place.

    Raises
    ------
    ValueError
        If `name` is another, or a file of MNIST is missing or damaged.
    FetchError
        If MNIST is asked for, is not here and cannot be downloaded.
    """
    if name is None:
        name = choose()
    if name not in _NAMES:
        raise ValueError(f"name is {name!r}, expected one of {_NAMES}")
    return _load(name, *_places())


def _places() -> tuple[Path | None, Path]:
    """Return the folder that ``BN_TUTORIAL_DATA`` names, if any, and the cache folder."""
    given = os.environ.get("BN_TUTORIAL_DATA")
    return (
        Path(given).expanduser().absolute() if given else None,
        cache_folder(create=False),  # not needed, and maybe not possible, where MNIST is found
    )


@functools.cache
def _load(name: str, given: Path | None, cache: Path) -> Dataset:
    return _load_mnist(_mnist_root(given, cache)) if name == "mnist" else _load_digits()


@functools.cache
def _mnist_else_digits(given: Path | None, cache: Path) -> str:
    try:
        _mnist_root(given, cache)
    except FetchError as error:
        _log.warning(
            "THE EMBEDDED DIGITS TAKE THE PLACE OF MNIST in every number and figure. %s", error
        )
        return "digits"
    return "mnist"


# ---------------------------------------------------------------------------------------------
# MNIST
# ---------------------------------------------------------------------------------------------

# The four files as they lie in MNIST/raw, decompressed: size in bytes, MD5.
_MNIST_FILES = {
    "train-images-idx3-ubyte": (47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (10_008, "27ae3e4e09519cfbb04c329615203637"),
}

# torchvision's mirrors, written out: importing it takes longer than learning that none answers.
_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")

_PATIENCE = 5.0  # seconds until a mirror must have answered, name resolution included
_STALL = 15.0  # seconds that a download may stand still


def _load_mnist(root: Path) -> Dataset:
    """Read the verified files under `root` with torchvision's own reader."""
    # The reader rather than the class: torchvision.datasets.MNIST would prefer a file of an old
    # format (MNIST/processed/training.pt) where one is left, which nobody has verified.
    from torchvision.datasets.mnist import read_image_file, read_label_file

    images, labels, test_images, test_labels = (str(_raw(root) / name) for name in _MNIST_FILES)
    sums = "".join(md5 for _, md5 in _MNIST_FILES.values())
    return Dataset(
        name="mnist",
        title="MNIST",
        licence="CC BY-SA 3.0",
        source="Y. LeCun and C. Cortes, The MNIST database of handwritten digits, "
        "http://yann.lecun.com/exdb/mnist/",
        digest=hashlib.sha256(sums.encode()).hexdigest(),
        train=Split(read_image_file(images), read_label_file(labels)),
        test=Split(read_image_file(test_images), read_label_file(test_labels)),
    )


@functools.cache
def _mnist_root(given: Path | None, cache: Path) -> Path:
    """Return a torchvision root whose four files are verified, after fetching them if need be."""
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


def _raw(root: Path) -> Path:
    return root / "MNIST" / "raw"


def _verify(root: Path, remedy: str) -> None:
    if damage := _damage(root):
        raise ValueError(f"{damage}. {remedy}, or set BN_TUTORIAL_DATASET=digits.")


def _damage(root: Path) -> str | None:
    """Say which of the four files under `root` is not as it should be, and why, or None."""
    for name, (size, md5) in _MNIST_FILES.items():
        path = _raw(root) / name
        if not path.is_file():
            hint = " (there is a .gz of it: decompress that)" if Path(f"{path}.gz").exists() else ""
            return f"{path} is missing{hint}"
        if (actual := path.stat().st_size) != size:
            return f"{path} is damaged: it has {actual} bytes, expected {size}"
        with path.open("rb") as file:
            # MD5 tells damage from soundness here, not friend from foe.
            found = hashlib.file_digest(
                file, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
        if found != md5:
            return f"{path} is damaged: its MD5 is {found}, expected {md5}"
    return None


def _fetch(root: Path) -> None:
    """Download MNIST under `root`, which comes into being complete or not at all."""
    mirrors = _answering_mirrors()
    folder = cache_folder()
    with FileLock(folder / "mnist.lock"):
        if _raw(root).is_dir():
            return  # another process has fetched it while this one waited
        # Only the holder of the lock touches this folder: what is there, a killed build has left.
        partial = folder / "mnist.partial"
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
    try:
        with _socket_timeout(_STALL):
            fetcher(root, download=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise FetchError(f"MNIST could not be downloaded: {error}") from error


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    # torchvision passes no timeout of its own, so that only the process-wide default reaches it.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _answering_mirrors() -> list[str]:
    """Return the mirrors, one that answers first, or raise FetchError within seconds.

    No timeout covers the resolution of a name, which may hang for minutes. The mirrors are
    therefore asked in daemon threads, which can be left behind.
    """
    answers: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()
    for mirror in _MIRRORS:
        arguments = (mirror, mirror + "t10k-labels-idx1-ubyte.gz", answers)  # the smallest
        threading.Thread(target=_ask, args=arguments, daemon=True).start()
    deadline = time.monotonic() + _PATIENCE
    failures = dict.fromkeys(_MIRRORS, f"no answer within {_PATIENCE:g} s")
    for _ in _MIRRORS:
        try:
            mirror, failure = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if failure is None:
            return [mirror, *(other for other in _MIRRORS if other != mirror)]
        failures[mirror] = failure
    reasons = "; ".join(f"{mirror}: {failure}" for mirror, failure in failures.items())
    raise FetchError(f"MNIST is not on this machine and cannot be downloaded ({reasons})")


def _ask(mirror: str, url: str, answers: queue.SimpleQueue[tuple[str, str | None]]) -> None:
    """Put (mirror, None) into `answers` if `url` is a gzip file, else (mirror, the reason)."""
    request = urllib.request.Request(url, headers={"User-Agent": "bn-tutorial"})
    try:
        # urllib, as torchvision does: what holds for its proxies holds for the download.
        with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
            start = response.read(2)
    except Exception as error:  # whatever it is, it is this mirror's reason
        answers.put((mirror, f"{type(error).__name__}: {error}"))
    else:
        # The login page of a hotel's network answers too.
        answers.put((mirror, None if start == b"\x1f\x8b" else "the answer is no gzip file"))


# ---------------------------------------------------------------------------------------------
# The embedded digits
# ---------------------------------------------------------------------------------------------

_TEST_ORIGINALS = 360  # of 1,797
_BOX = 20  # pixels that an 8x8 original spans at scale 1, as in MNIST


def _load_digits(train_count: int = 60_000, test_count: int = 10_000) -> Dataset:
    """Read the digits from the cache folder, or draw them and put them there."""
    recipe = _recipe(train_count, test_count)
    folder = cache_folder()
    path = folder / "digits.npz"
    content = _read_digits(path, recipe)
    if content is None:
        with FileLock(folder / "digits.lock"):
            content = _read_digits(path, recipe)  # another process may have drawn them meanwhile
            if content is None:
                train, test = _draw_digits(train_count, test_count)
                content = train, test, _digest(train, test)
                _write_digits(path, recipe, *content)
    train, test, digest = content
    return Dataset(
        name="digits",
        title="embedded digits",
        licence="CC BY 4.0",
        source="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, "
        "UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, "
        "as shipped with scikit-learn; enlarged and distorted",
        digest=digest,
        train=train,
        test=test,
    )


def _recipe(*counts: int) -> str:
    """Return what tells digits drawn by this code from digits drawn by another."""
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    versions = (importlib.metadata.version(name) for name in ("torch", "scikit-learn"))
    return " ".join([source, *versions, *map(str, counts)])


def _draw_digits(train_count: int, test_count: int, seed: int = 0) -> tuple[Split, Split]:
    """Draw training and test images, from originals that were separated before."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    originals, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        originals, labels, test_size=_TEST_ORIGINALS, stratify=labels, random_state=seed
    )
    images, test_images = (torch.from_numpy(part / 16).float().view(-1, 8, 8) for part in parts[:2])
    labels, test_labels = (torch.from_numpy(part).long() for part in parts[2:])
    generator = torch.Generator().manual_seed(seed)
    return (
        _enlarge(images, labels, train_count, generator),
        _enlarge(test_images, test_labels, test_count, generator),
    )


def _enlarge(originals: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Split:
    """Draw `count` distorted images from `originals`, shape (M, 8, 8), values 0 to 1.

    Every original is used equally often, give or take one.
    """
    pick = torch.randperm(count, generator=generator) % len(originals)
    maps = _random_maps(count, generator)
    images = torch.empty(count, 28, 28, dtype=torch.uint8)
    # In batches, because the intermediate images are four bytes a pixel, and the grids eight.
    for start in range(0, count, 5_000):
        part = slice(start, start + 5_000)
        drawn = originals[pick[part], None]
        grid = torch.nn.functional.affine_grid(
            maps[part], [len(drawn), 1, 28, 28], align_corners=False
        )
        ink = torch.nn.functional.grid_sample(
            drawn, grid, mode="bicubic", align_corners=False
        ).squeeze(1)
        # An 8x8 value is the share of ink under it, so a stroke ends about where the value is one
        # half; the steeper slope gives the edge MNIST's width, and the stroke its full white.
        images[part] = ((ink - 0.55) * 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return Split(images, labels[pick])


def _random_maps(count: int, generator: torch.Generator) -> Tensor:
    """Draw affine maps from output to input coordinates, shape (count, 2, 3).

    The output is rotated by up to 15 degrees, scaled by up to 10 %, sheared by up to 0.2, and
    shifted by up to 2 pixels, each way.
    """

    def uniform(bound: float) -> Tensor:
        return (2 * torch.rand(count, generator=generator) - 1) * bound

    angle, scale, shear = uniform(15).deg2rad(), 1 + uniform(0.1), uniform(0.2)
    shift = torch.stack([uniform(2 / 14), uniform(2 / 14)], dim=1)  # 28 pixels are 2 units wide
    cos, sin = angle.cos(), angle.sin()
    # rotation times [[1, shear], [0, 1]]
    linear = torch.stack([cos, cos * shear - sin, sin, sin * shear + cos], dim=1).view(-1, 2, 2)
    linear *= (28 / _BOX / scale).view(-1, 1, 1)
    return torch.cat([linear, -linear @ shift[:, :, None]], dim=2)


def _digest(*splits: Split) -> str:
    """Return the SHA-256 of images and labels, hexadecimal."""
    content = hashlib.sha256()
    for split in splits:
        content.update(split.images.numpy().data)
        content.update(split.labels.numpy().data)
    return content.hexdigest()


def _write_digits(path: Path, recipe: str, train: Split, test: Split, digest: str) -> None:
    with replace_when_complete(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            recipe=recipe,
            digest=digest,
            images=train.images.numpy(),
            labels=train.labels.numpy(),
            test_images=test.images.numpy(),
            test_labels=test.labels.numpy(),
        )


def _read_digits(path: Path, recipe: str) -> tuple[Split, Split, str] | None:
    """Read what `_write_digits` wrote, or None if it is not there, outdated or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            if arrays["recipe"].item() != recipe:
                return None
            digest = arrays["digest"].item()
            train, test = (
                Split(*(torch.from_numpy(arrays[prefix + key]) for key in ("images", "labels")))
                for prefix in ("", "test_")
            )
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged archive may raise nearly anything
        _log.warning("%s is damaged (%s): the digits are drawn anew", path, error)
        return None
    if _digest(train, test) != digest:
        _log.warning("%s is damaged (its digest is another): the digits are drawn anew", path)
        return None
    return train, test, str(digest)
