"""Does a backward pass belong to its forward pass? Central differences decide.

The check multiplies the output by a *given* upstream gradient. It matters which: for an upstream
gradient of ones the true gradient through batch normalization is zero, and so is that of many a
wrong formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bn_tutorial.scratch.arrays import Array, check_floating


@dataclass(frozen=True)
class Comparison:
    """How far a gradient is from the numerical one.

    Attributes
    ----------
    error : float
        The greatest absolute difference of an element, over the greatest absolute value of the
        numerical gradient (over one if that is smaller).
    worst : tuple of int
        The index of that element.
    analytic, numerical : float
        The two values there.
    """

    error: float
    worst: tuple[int, ...]
    analytic: float
    numerical: float


def numerical_gradient(
    f: Callable[[Array], Array], x: Array, dy: Array, step: float | None = None
) -> Array:
    r"""Differentiate ``sum(dy * f(x))`` by central differences (:eq:`eq-central-difference`).

    Parameters
    ----------
    f : callable
        From an array of the shape of x to one of the shape of dy.
    x : ndarray, float32 or float64
        Where to differentiate; left as it was.
    dy : ndarray
        The upstream gradient.
    step : float, optional
        The displacement, in the unit of x. By default the cube root of the dtype's machine epsilon,
        which balances rounding against truncation, times the greatest absolute value in x
        (times one if that is smaller).

    Returns
    -------
    ndarray, shape and dtype of x
        The gradient.

    Raises
    ------
    TypeError
        If x is neither float32 nor float64.

    Examples
    --------
    >>> numerical_gradient(np.square, np.array([3.0]), np.array([1.0])).round(6).tolist()
    [6.0]
    """
    check_floating(x)
    if step is None:
        step = float(np.cbrt(np.finfo(x.dtype).eps) * max(1.0, np.abs(x).max(initial=0.0)))
    moved = x.copy()
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        moved[index] = x[index] + step
        above, up = f(moved), moved[index]
        moved[index] = x[index] - step
        below, down = f(moved), moved[index]
        # Summed in float64, and divided by what was really added, after rounding.
        # [eq-central-difference]
        change = np.sum(dy * (above - below), dtype=np.float64)
        gradient[index] = change / (float(up) - float(down))

        moved[index] = x[index]
    return gradient


def compare(analytic: Array, numerical: Array) -> Comparison:
    """Find the element in which two gradients differ most.

    Parameters
    ----------
    analytic, numerical : ndarray, of equal shape
        The gradients.

    Returns
    -------
    Comparison
        The relative error, and where it is.

    Raises
    ------
    ValueError
        If the shapes differ, or there is no element.

    Examples
    --------
    >>> compare(np.array([1.0, 2.0]), np.array([1.0, 2.5])).worst
    (1,)
    """
    if analytic.shape != numerical.shape or not analytic.size:
        raise ValueError(
            f"expected two gradients of one shape, got {analytic.shape} and {numerical.shape}"
        )
    difference = np.abs(analytic - numerical)
    # argmax takes a NaN for the greatest, so a NaN is always found.
    worst = np.unravel_index(int(np.argmax(difference)), difference.shape)
    return Comparison(
        error=float(difference[worst] / max(1.0, np.abs(numerical).max())),
        worst=tuple(int(i) for i in worst),
        analytic=float(analytic[worst]),
        numerical=float(numerical[worst]),
    )
