"""Images and their labels: what every network is trained and tested on.

Images stay ``uint8`` until :meth:`Dataset.standardize` turns them into the input of a network.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


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
    TypeError, ValueError
        If a dtype, or a shape, is another.

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

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, rows: slice) -> Split:
        """Return some of the images, with their labels; nothing is copied."""
        return Split(self.images[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test set, and where they come from.

    Parameters
    ----------
    name, title : str
        What :func:`bn_tutorial.data.loading.load` calls it, and what the pages call it.
    licence, source : str
        The terms it is distributed under, and its authors.
    digest : str
        SHA-256 of the content, hexadecimal. For MNIST it is taken over the MD5 sums of its four
        files, which were verified before.
    train, test, validation : Split
        Images to train on, to test on and, optionally, to choose settings by.
    scale : tuple of two floats, optional
        Mean and standard deviation that :meth:`standardize` takes, in units of full ink (255); by
        default those of the training set.
    """

    name: str
    title: str
    licence: str
    source: str
    digest: str
    train: Split
    test: Split
    validation: Split | None = None
    scale: tuple[float, float] | None = None

    def hold_out(self, count: int) -> Dataset:
        """Set the last `count` training images apart for validation; the digest is another.

        Raises
        ------
        TypeError
            If `count` is no integer.
        ValueError
            If it is not at least one and less than there are, or if some are set apart already.
        """
        if self.validation is not None:
            raise ValueError(f"{self.title} has a validation set already")
        count = _checked_count(count, below=len(self.train))
        kept = len(self.train) - count
        return replace(
            self,
            train=self.train[:kept],
            validation=self.train[kept:],
            digest=f"{self.digest}, {count} held out",
        )

    def first(self, count: int) -> Dataset:
        """Keep only the first `count` training images; the digest is another.

        Bounds and errors are as for :meth:`hold_out`.
        """
        count = _checked_count(count, below=len(self.train))
        return replace(self, train=self.train[:count], digest=f"{self.digest}, first {count}")

    def binary(self) -> Dataset:
        """Make every pixel ink or background: 1 from half of full ink on, else 0.

        :meth:`standardize` leaves these zeros and ones as they are. The digest is another.
        """

        def threshold(split: Split) -> Split:
            return Split((split.images >= 128).to(torch.uint8) * 255, split.labels)

        return replace(
            self,
            train=threshold(self.train),
            validation=self.validation and threshold(self.validation),
            test=threshold(self.test),
            scale=(0.0, 1.0),
            digest=f"{self.digest}, binary",
        )

    @property
    def mean(self) -> float:
        """Mean grey value that :meth:`standardize` takes, in units of full ink (255)."""
        return self._moments[0]

    @property
    def std(self) -> float:
        """Standard deviation (biased) that it takes, in units of full ink."""
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[float, float]:
        if self.scale is not None:
            return self.scale
        # From the counts of the 256 grey values: exact, and without a float copy of the images.
        counts = torch.bincount(self.train.images.flatten(), minlength=256).double()
        weights = counts / counts.sum()
        values = torch.arange(256, dtype=torch.float64) / 255
        mean = (weights * values).sum()
        variance = (weights * (values - mean) ** 2).sum()
        return mean.item(), variance.sqrt().item()

    def standardize(self, images: Tensor) -> Tensor:
        """Turn images into network input: flat, with the training set's mean 0 and variance 1.

        Each image becomes ``(images / 255 - mean) / std``, with `mean` and `std` of all pixels of
        the training set (for MNIST 0.1307 and 0.3081), also where `images` is the test set. The
        images, uint8, shape (N, 28, 28), become a new tensor, float32, shape (N, 784).

        Raises
        ------
        TypeError, ValueError
            If `images` has another dtype or shape, or if the training set is constant.
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


def _checked_count(count: int, below: int) -> int:
    try:
        if isinstance(count, bool):  # Python takes True for 1
            raise TypeError
        count = operator.index(count)  # NumPy has integers of its own
    except TypeError:
        raise TypeError(f"count is {count!r}, expected an integer") from None
    if not 1 <= count < below:
        raise ValueError(f"count is {count}, expected a number from 1 to {below - 1}")
    return count
