"""Shapes, types and sums: what the equations take for granted.

What does not fit is refused here, in words that say what would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.array_utils import normalize_axis_tuple

Array = npt.NDArray[np.floating[Any]]
Axes = int | Sequence[int]

# How many values are added in their own dtype before the sum goes on in float64. Of values that lie
# side by side einsum makes several sums at once, about LANES of them.
PIECE, LANES = 128, 16


# ---------------------------------------------------------------------------------------------
# Axes
# ---------------------------------------------------------------------------------------------


def as_axes(axes: Axes, ndim: int) -> tuple[int, ...]:
    """Count negative axes from the end; refuse one that is repeated or not there.

    Examples
    --------
    >>> as_axes((0, -1), ndim=3)
    (0, 2)
    """
    return normalize_axis_tuple(axes, ndim, argname="axes")


def pooled_axes(x: Array) -> tuple[int, ...]:
    """Return the axes that batch normalization pools: all but the channels, axis 1.

    Examples
    --------
    >>> pooled_axes(np.zeros((32, 3, 8, 8)))
    (0, 2, 3)
    """
    return (0, *range(2, x.ndim))


def count(x: Array, axes: Axes) -> int:
    """Return m, how many values of ``x`` share one mean when ``axes`` are pooled.

    Examples
    --------
    >>> count(np.zeros((32, 3, 8, 8)), axes=(0, 2, 3))
    2048
    """
    return math.prod(x.shape[axis] for axis in as_axes(axes, x.ndim))


def shared_axes(parameter: Array) -> tuple[int, ...]:
    """Return the axes over which a broadcast parameter is shared: those of size one.

    Examples
    --------
    >>> shared_axes(np.ones((1, 3, 1, 1)))
    (0, 2, 3)
    """
    return tuple(axis for axis, size in enumerate(parameter.shape) if size == 1)


# ---------------------------------------------------------------------------------------------
# Sums over axes, which stay with size one
# ---------------------------------------------------------------------------------------------


def sum_over(x: Array, axes: Axes) -> Array:
    """Sum ``x`` over ``axes``, right to the dtype's rounding however many values there are.

    ``x.sum`` over the first axis adds row after row in the dtype of x: in float32 the sum of
    two million tenths is 1.5 % too small.

    Examples
    --------
    >>> sum_over(np.array([[1.0, 2.0], [3.0, 4.0]]), axes=0).tolist()
    [[4.0, 6.0]]
    """
    total: Array = _total((x,), axes).astype(x.dtype)
    return total


def mean_over(x: Array, axes: Axes) -> Array:
    """Average ``x`` over ``axes``, as exactly as :func:`sum_over` sums; there must be values."""
    check_pooled(x, axes)
    mean: Array = (_total((x,), axes) / count(x, axes)).astype(x.dtype)
    return mean


def sum_of_products(a: Array, b: Array, axes: Axes) -> Array:
    """Sum ``a * b`` over ``axes`` as :func:`sum_over` does, without an array for the products.

    Examples
    --------
    >>> sum_of_products(np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones((2, 2)), axes=0).tolist()
    [[4.0, 6.0]]
    """
    total: Array = _total((a, b), axes).astype(np.result_type(a, b))
    return total


def _total(factors: Sequence[Array], axes: Axes) -> Array:
    """Sum a product: first a few values each in their dtype, which is fast, then in float64."""
    x = factors[0]
    axes = as_axes(axes, x.ndim)
    last = _axes_at_the_end(axes, x.ndim)
    if count(x, axes) <= PIECE:
        return _einsum(factors, axes).astype(np.float64)
    if LANES <= count(x, last) <= LANES * PIECE:
        total: Array = _einsum(factors, last).sum(axis=axes, keepdims=True, dtype=np.float64)
        return total
    # The longest axis is cut into (pieces, values of a piece); fewer than a piece are left over.
    axis = max(axes, key=lambda axis: (x.shape[axis], axis))
    size = x.shape[axis]
    piece = min(PIECE, size)
    whole, before = size - size % piece, (slice(None),) * axis
    cut = (*x.shape[:axis], whole // piece, piece, *x.shape[axis + 1 :])
    pieces = [factor[(*before, slice(whole))].reshape(cut) for factor in factors]
    parts = _einsum(pieces, (axis + 1,)).squeeze(axis + 1)
    total = parts.astype(np.float64).sum(axis=axes, keepdims=True)
    if whole < size:
        total = total + _total([factor[(*before, slice(whole, None))] for factor in factors], axes)
    return total


def _axes_at_the_end(axes: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """Return those of the axes with no other axis behind them: their values lie side by side."""
    first = ndim
    while first - 1 in axes:
        first -= 1
    return tuple(range(first, ndim))


def _einsum(factors: Sequence[Array], axes: tuple[int, ...]) -> Array:
    """Sum a product over axes, which stay with size one."""
    x = factors[0]
    every = list(range(x.ndim))
    operands: list[Any] = [operand for factor in factors for operand in (factor, every)]
    total: Array = np.asarray(np.einsum(*operands, [axis for axis in every if axis not in axes]))
    return total.reshape([1 if axis in axes else size for axis, size in enumerate(x.shape)])


# ---------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------


def check_floating(x: Array, name: str = "x") -> None:
    """Refuse anything but a float32 or float64 array, and say how to convert (TypeError)."""
    if not isinstance(x, np.ndarray):
        tensor = hasattr(x, "detach")
        remedy = f"{name}.detach().cpu().numpy()" if tensor else f"np.asarray({name}, np.float64)"
        raise TypeError(f"expected a NumPy array, got {type(x).__name__}: pass {remedy}")
    if x.dtype not in (np.float32, np.float64):
        wider = "float32" if x.dtype.itemsize <= 2 else "float64"
        raise TypeError(
            f"expected float32 or float64, got {x.dtype}: convert with {name}.astype(np.{wider})"
        )


def check_batch(x: Array) -> None:
    """Refuse what is not a float batch of samples with channels, of shape (N, C) or (N, C, ...)."""
    check_floating(x)
    if x.ndim < 2:
        raise ValueError(
            f"expected shape (N, C) or (N, C, ...), got {x.shape}: "
            "one sample needs an axis in front, x[np.newaxis]"
        )


def check_pooled(x: Array, axes: Axes) -> None:
    """Refuse to pool no values at all: they have no mean."""
    if not count(x, axes):
        raise ValueError(f"no values to pool over axes {axes} of an array of shape {x.shape}")


def check_several(x: Array, m: int) -> None:
    """Refuse to normalize one value per channel with itself: its deviation is always zero."""
    if m < 2:
        raise ValueError(
            f"expected more than 1 value per channel in training, got {m} in input of shape "
            f"{x.shape}: drop the last short batch, or normalize with running statistics"
        )


def check_upstream(dy: Array, y: Array, name: str = "dy") -> Array:
    """Return an upstream gradient in the dtype of y; refuse one of another shape (ValueError)."""
    check_floating(dy, name)
    if dy.shape != y.shape:
        raise ValueError(f"expected {name} of the output's shape {y.shape}, got {dy.shape}")
    return dy.astype(y.dtype, copy=False)


def per_channel(parameter: Array, x: Array, name: str) -> Array:
    """Reshape a parameter of shape (C,) so that it broadcasts over a batch, in the batch's dtype.

    One that has not one value per channel of x is refused by its name (ValueError).
    """
    parameter = np.asarray(parameter)
    if parameter.shape != (x.shape[1],):
        raise ValueError(
            f"{name} has shape {parameter.shape}, expected ({x.shape[1]},): one value for each "
            f"channel of the input of shape {x.shape}, whose channels are axis 1"
            f"{hint_at_axis(x.shape, parameter.size, 1)}"
        )
    broadcast: Array = parameter.astype(x.dtype, copy=False).reshape(1, -1, *[1] * (x.ndim - 2))
    return broadcast


def hint_at_axis(shape: tuple[int, ...], size: int, axis: int) -> str:
    """Say how to bring the channels to ``axis``, if another axis has their size.

    Examples
    --------
    >>> hint_at_axis((32, 8, 8, 3), size=3, axis=1)
    '; if they are axis 3, pass np.moveaxis(x, 3, 1)'
    """
    places = [place for place, found in enumerate(shape) if found == size]
    if not places or axis in places:
        return ""
    return f"; if they are axis {places[-1]}, pass np.moveaxis(x, {places[-1]}, {axis})"
