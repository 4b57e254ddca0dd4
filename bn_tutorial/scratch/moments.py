"""Count, mean and sum of squared deviations of a batch, and averages of them over many batches.

A batch in training mode is described by three numbers per channel. Two such descriptions merge
into that of both batches together, which is how "precise" statistics over a whole training set,
and synchronized batch normalization over several machines, are computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bn_tutorial.scratch.arrays import Array, check_floating, count
from bn_tutorial.scratch.functional import center


@dataclass(frozen=True, eq=False)
class Moments:
    """The count, the mean and the sum of squared deviations from it.

    Attributes
    ----------
    count : int
        How many values were pooled.
    mean : ndarray
        Their mean, in the unit of the values.
    m2 : ndarray, shape of mean
        The sum of the squared deviations from the mean, in the squared unit.
    """

    count: int
    mean: Array
    m2: Array

    @property
    def var(self) -> Array:
        """The biased variance, ``m2 / count``: what batch normalization divides by."""
        variance: Array = self.m2 / self.count
        return variance


def moments(x: Array, axes: tuple[int, ...]) -> Moments:
    """Describe ``x`` over ``axes``, in two passes.

    Parameters
    ----------
    x : ndarray, float32 or float64
        The values.
    axes : tuple of int
        The axes to pool.

    Returns
    -------
    Moments
        With arrays of the shape of x, without ``axes``.

    Raises
    ------
    TypeError
        If x is neither float32 nor float64.
    ValueError
        If there is nothing to pool.

    Examples
    --------
    >>> moments(np.array([[1.0, 0.0], [3.0, 0.0]]), axes=(0,))
    Moments(count=2, mean=array([2., 0.]), m2=array([2., 0.]))
    """
    check_floating(x)
    if (m := count(x, axes)) == 0:
        raise ValueError(f"no values to pool over axes {axes} of an array of shape {x.shape}")
    mu, xmu = center(x, axes)
    return Moments(m, mu.squeeze(axes), np.square(xmu).sum(axis=axes))


def merge(a: Moments, b: Moments) -> Moments:
    r"""Describe the values of ``a`` and ``b`` together (:eq:`eq-merge-mean`, :eq:`eq-merge-m2`).

    Parameters
    ----------
    a, b : Moments
        Descriptions of two sets of values, of equal shape.

    Returns
    -------
    Moments
        Of the union, up to rounding what :func:`moments` gives for all values at once.

    Notes
    -----
    The pairwise update of [chan1983m]_.

    References
    ----------
    .. [chan1983m] Chan, Golub and LeVeque, "Algorithms for computing the sample variance",
       The American Statistician, 1983.

    Examples
    --------
    >>> merge(Moments(1, np.array([1.0]), np.zeros(1)), Moments(1, np.array([3.0]), np.zeros(1)))
    Moments(count=2, mean=array([2.]), m2=array([2.]))
    """
    total = a.count + b.count
    delta = b.mean - a.mean
    # [eq-merge-mean]
    mean = a.mean + delta * (b.count / total)
    # [eq-merge-m2]
    m2 = a.m2 + b.m2 + np.square(delta) * (a.count * b.count / total)
    return Moments(total, mean, m2)


def unbiased(var: Array, count: int) -> Array:
    """Turn a biased variance into an unbiased one (:eq:`eq-unbiased`).

    Parameters
    ----------
    var : ndarray
        Divided by ``count``.
    count : int
        How many values it was computed from; at least two.

    Returns
    -------
    ndarray, shape of var
        The variance divided by ``count - 1``.

    Raises
    ------
    ValueError
        If count is less than two.

    Examples
    --------
    >>> float(unbiased(np.array(1.0), count=2))
    2.0
    """
    if count < 2:
        raise ValueError(f"an unbiased variance needs at least 2 values, got {count}")
    # [eq-unbiased]
    corrected: Array = var * (count / (count - 1))
    return corrected


def running_average(old: Array, new: Array, momentum: float) -> Array:
    """Move an average towards a new value (:eq:`eq-running`).

    Parameters
    ----------
    old, new : ndarray
        The average so far, and the statistic of this batch.
    momentum : float
        The weight of the *new* value, in [0, 1]: PyTorch's convention.
        Keras and Flax call the weight of the old value momentum.

    Returns
    -------
    ndarray, shape of old
        The new average.

    Examples
    --------
    >>> float(running_average(np.array(0.0), np.array(1.0), momentum=0.1))
    0.1
    """
    # [eq-running]
    average = (1 - momentum) * old + momentum * new
    return average
