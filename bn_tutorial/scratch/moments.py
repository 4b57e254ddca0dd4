"""Count, mean and sum of squared deviations of a batch, and averages of them over many batches.

A batch in training mode is described by three numbers per channel. Two such descriptions merge
into that of both batches together, which is how "precise" statistics over a whole training set,
and synchronized batch normalization over several machines, are computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bn_tutorial.scratch.arguments import as_momentum
from bn_tutorial.scratch.arrays import Array, Axes, as_axes, check_floating, count, sum_of_products
from bn_tutorial.scratch.normalize import center


@dataclass(frozen=True, eq=False)
class Moments:
    """The count, the mean and the sum of squared deviations from it.

    Attributes
    ----------
    count : int or float, finite, not negative
        How many values were pooled, or their weight: see :meth:`counted_as`. Zero describes none.
    mean, m2 : ndarray, of one shape
        Their mean, and the sum of the squared deviations from it.
    """

    count: float
    mean: Array
    m2: Array

    def __post_init__(self) -> None:
        """Refuse what describes nothing."""
        if not 0 <= self.count < math.inf:
            raise ValueError(f"expected a finite count >= 0, got {self.count}")
        if np.shape(self.mean) != np.shape(self.m2):
            raise ValueError(f"mean has shape {np.shape(self.mean)}, m2 {np.shape(self.m2)}")

    @property
    def var(self) -> Array:
        """The biased variance, ``m2 / count``: what batch normalization divides by."""
        if not self.count:
            raise ValueError("no values, so no variance")
        variance: Array = self.m2 / self.count
        return variance

    def counted_as(self, count: float) -> Moments:
        """Give the same mean and variance another count: a weight for :func:`merge`.

        Examples
        --------
        Of two clients the second shall have three times the say, whatever they counted:

        >>> a = Moments(50, np.array([1.0]), np.zeros(1))
        >>> b = Moments(2, np.array([3.0]), np.zeros(1))
        >>> merge(a.counted_as(0.25), b.counted_as(0.75)).mean
        array([2.5])
        """
        return Moments(count, self.mean, self.var * count)


def moments(x: Array, axes: Axes, dtype: npt.DTypeLike | None = None) -> Moments:
    """Describe a float array over ``axes``, in two passes; refuse to describe no values.

    The description has the shape of x without ``axes``, and the dtype of x unless another is asked
    for: to merge many descriptions float32 is too short.

    Examples
    --------
    >>> moments(np.array([[1.0, 0.0], [3.0, 0.0]]), axes=0)
    Moments(count=2, mean=array([2., 0.]), m2=array([2., 0.]))
    """
    check_floating(x)
    axes = as_axes(axes, x.ndim)
    mu, xmu = center(x.astype(x.dtype if dtype is None else dtype, copy=False), axes)
    m2 = sum_of_products(xmu, xmu, axes)
    return Moments(count(x, axes), mu.squeeze(axes), m2.squeeze(axes))


def merge(a: Moments, b: Moments) -> Moments:
    r"""Describe the values of ``a`` and ``b`` together, :eq:`eq-merge-mean` and :eq:`eq-merge-m2`.

    Up to rounding it is what :func:`moments` gives for all values at once [chan1983m]_. Unequal
    shapes are refused, and two descriptions of no values.

    References
    ----------
    .. [chan1983m] Chan, Golub and LeVeque, "Algorithms for computing the sample variance",
       The American Statistician, 1983.

    Examples
    --------
    >>> merge(Moments(1, np.array([1.0]), np.zeros(1)), Moments(1, np.array([3.0]), np.zeros(1)))
    Moments(count=2, mean=array([2.]), m2=array([2.]))
    """
    if np.shape(a.mean) != np.shape(b.mean):
        raise ValueError(
            f"cannot merge moments of the shapes {np.shape(a.mean)} and {np.shape(b.mean)}: "
            "expected the same channels in both"
        )
    total = a.count + b.count
    if not total:
        raise ValueError("cannot merge two descriptions of no values")
    delta = b.mean - a.mean
    # [eq-merge-mean]
    mean = a.mean + delta * (b.count / total)
    # [eq-merge-m2]
    m2 = a.m2 + b.m2 + np.square(delta) * (a.count * b.count / total)
    return Moments(total, mean, m2)


def unbiased(var: Array, count: float) -> Array:
    """Turn a biased variance, of two values or more, into an unbiased one, :eq:`eq-unbiased`.

    Examples
    --------
    >>> float(unbiased(np.array(1.0), count=2))
    2.0
    """
    if not 2 <= count < math.inf:
        raise ValueError(f"an unbiased variance needs at least 2 values, got {count}")
    # [eq-unbiased]
    corrected: Array = var * (count / (count - 1))
    return corrected


def running_average(old: Array, new: Array, momentum: float) -> Array:
    """Move an average towards the statistic of this batch, :eq:`eq-running`.

    ``momentum``, in [0, 1], is the weight of the *new* value: PyTorch's convention. Keras and Flax
    call the weight of the old value momentum.

    Examples
    --------
    >>> float(running_average(np.array(0.0), np.array(1.0), momentum=0.1))
    0.1
    """
    momentum = as_momentum(momentum)
    # [eq-running]
    average = (1 - momentum) * old + momentum * new
    return average
