"""Sizes, eps and momentum: which numbers are taken, and the words in which others are refused.

What is of another kind is a TypeError, what is out of range a ValueError.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from numbers import Real
from typing import SupportsIndex

import numpy as np

Shape = SupportsIndex | Sequence[SupportsIndex]


def as_size(value: SupportsIndex, name: str) -> int:
    """Return a positive size as an int; NumPy's integers count, truth values and floats do not."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        size = operator.index(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"expected an int for {name}, got {value!r} ({kind})") from None
    if size < 1:
        raise ValueError(f"expected a positive {name}, got {size}")
    return size


def as_shape(value: Shape, name: str) -> tuple[int, ...]:
    """Return a shape as a tuple; one size is a shape of one axis, as in PyTorch.

    Examples
    --------
    >>> as_shape(4, "shape"), as_shape([3, np.int64(2)], "shape")
    ((4,), (3, 2))
    """
    sizes = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    if not sizes:
        raise ValueError(f"expected at least one size in {name}, got {value}")
    return tuple(as_size(size, name) for size in sizes)


def as_eps(eps: float) -> float:
    """Return a finite eps >= 0 as a float of Python's, which leaves float32 arrays as they are."""
    if not 0 <= _as_float(eps, "eps") < math.inf:
        raise ValueError(f"expected a finite eps >= 0, got {eps}")
    return float(eps)


def as_momentum(momentum: float) -> float:
    """Return the weight of a new value, in [0, 1], as :func:`as_eps` returns eps."""
    if not 0 <= _as_float(momentum, "momentum") <= 1:
        raise ValueError(f"expected momentum in [0, 1], got {momentum}")
    return float(momentum)


def _as_float(value: float, name: str) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"expected a number for {name}, got {value!r} ({type(value).__name__})")
    return float(value)
