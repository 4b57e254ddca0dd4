"""Does a backward pass belong to its forward pass? Central differences decide.

The upstream gradient is *given*, and it matters which: for one of ones the true gradient through
batch normalization is zero, and so is that of many a wrong formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bn_tutorial.scratch.arrays import Array, check_floating


@dataclass(frozen=True)
class Comparison:
    """How far a gradient is from the numerical one, and in which element.

    Attributes
    ----------
    error : float
        The greatest absolute difference of an element, over the greatest absolute value of the
        numerical gradient (over one if that is smaller). Infinity where a value is not finite.
    worst : tuple of int
        The index of that element; ``analytic`` and ``numerical`` are the values there.
    """

    error: float
    worst: tuple[int, ...]
    analytic: float
    numerical: float

    def __str__(self) -> str:
        """Say it in words."""
        how = f"off by {self.error:.1e}" if np.isfinite(self.error) else "not finite"
        return f"{self.analytic:.6g}, expected {self.numerical:.6g}, at {self.worst}: {how}"


def numerical_gradient(
    f: Callable[[Array], npt.ArrayLike], x: Array, dy: npt.ArrayLike, step: float | None = None
) -> Array:
    """Differentiate ``sum(dy * f(x))`` by central differences, :eq:`eq-central-difference`.

    Parameters
    ----------
    f : callable
        From an array of x's shape to one of dy's; it gets a copy each time, so may work in place.
    x : ndarray, float32 or float64
        Where to differentiate; left as it was.
    dy : array_like, shape of the output of f
        The upstream gradient.
    step : float, optional
        The displacement, in the unit of x. The default balances rounding and truncation: the cube
        root of the dtype's machine epsilon, times the greatest absolute value in x (at least one).

    Returns
    -------
    ndarray, shape and dtype of x
        The gradient.

    Raises
    ------
    TypeError, ValueError
        If x is no finite float array, f returns None, dy has not the shape of its output, or the
        step does not change x.

    Examples
    --------
    >>> numerical_gradient(np.square, np.array([3.0]), np.array([1.0])).round(6).tolist()
    [6.0]
    """
    check_floating(x)
    if not np.isfinite(x).all():
        raise ValueError("expected x without nan or infinity")
    if step is None:
        step = float(np.cbrt(np.finfo(x.dtype).eps) * np.abs(x).max(initial=1.0))
    if not 0 < step < np.inf:
        raise ValueError(f"expected a positive, finite step, got {step}")
    dy = np.asarray(dy)
    moved = x.copy()
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        moved[index] = x[index] + step
        above, up = _output(f, moved, dy.shape), float(moved[index])
        moved[index] = x[index] - step
        below, down = _output(f, moved, dy.shape), float(moved[index])
        if not down < up:
            raise ValueError(f"a step of {step} does not change x{list(index)} = {x[index]}")
        # Divided by what was really added, after rounding.
        # [eq-central-difference]
        gradient[index] = np.sum(dy * (above - below)) / (up - down)

        moved[index] = x[index]
    return gradient


def _output(
    f: Callable[[Array], npt.ArrayLike], x: Array, shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Evaluate f, sharing no memory with it, and refuse an output of another shape than dy's."""
    output = f(x.copy())
    if output is None:
        raise TypeError("f returned None, expected an array: let it return its output")
    # In float64: so are the differences and their sum, whatever the dtype of the output.
    copied = np.array(output, dtype=np.float64)
    if copied.shape != shape:
        raise ValueError(f"dy has shape {shape}, expected {copied.shape}, that of the output of f")
    return copied


def compare(analytic: npt.ArrayLike, numerical: npt.ArrayLike) -> Comparison:
    """Find the element in which two gradients differ most, or the first that is not finite.

    Raises
    ------
    ValueError
        If the shapes differ, or there is no element.

    Examples
    --------
    >>> print(compare(np.array([1.0, 2.0]), np.array([1.0, 2.5])))
    2, expected 2.5, at (1,): off by 2.0e-01
    """
    # In float64, as unsigned integers would wrap around.
    analytic, numerical = (np.asarray(given, np.float64) for given in (analytic, numerical))
    if analytic.shape != numerical.shape:
        raise ValueError(
            f"expected two gradients of one shape, got {analytic.shape} and {numerical.shape}"
        )
    if not analytic.size:
        raise ValueError(f"expected at least one element, got {analytic.shape}")
    finite = np.isfinite(analytic) & np.isfinite(numerical)
    difference = np.full(analytic.shape, np.inf)
    np.subtract(analytic, numerical, out=difference, where=finite)
    difference = np.abs(difference)
    worst = np.unravel_index(int(np.argmax(difference)), difference.shape)
    return Comparison(
        error=float(difference[worst] / np.abs(numerical[finite]).max(initial=1.0)),
        worst=tuple(int(i) for i in worst),
        analytic=float(analytic[worst]),
        numerical=float(numerical[worst]),
    )
