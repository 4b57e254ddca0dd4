"""Shapes, types and sums: what the equations take for granted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]


def pooled_axes(x: Array) -> tuple[int, ...]:
    """Return the axes that batch normalization pools: all but the channels, axis 1.

    Examples
    --------
    >>> pooled_axes(np.zeros((32, 3, 8, 8)))
    (0, 2, 3)
    """
    return (0, *range(2, x.ndim))


def count(x: Array, axes: Sequence[int]) -> int:
    """Return m, how many values of ``x`` share one mean when ``axes`` are pooled.

    Examples
    --------
    >>> count(np.zeros((32, 3, 8, 8)), axes=(0, 2, 3))
    2048
    """
    return math.prod(x.shape[axis] for axis in axes)


def shared_axes(parameter: Array) -> tuple[int, ...]:
    """Return the axes over which a broadcast parameter is shared: those of size one.

    Examples
    --------
    >>> shared_axes(np.ones((1, 3, 1, 1)))
    (0, 2, 3)
    """
    return tuple(axis for axis, size in enumerate(parameter.shape) if size == 1)


def sum_of_products(a: Array, b: Array, axes: tuple[int, ...]) -> Array:
    """Sum ``a * b`` over ``axes``, kept with size one, without an array for the products.

    Examples
    --------
    >>> sum_of_products(np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones((2, 2)), axes=(0,)).tolist()
    [[4.0, 6.0]]
    """
    every = "abcdefgh"[: a.ndim]
    kept = "".join(letter for axis, letter in enumerate(every) if axis not in axes)
    total: Array = np.expand_dims(np.einsum(f"{every},{every}->{kept}", a, b), axes)
    return total


def per_channel(parameter: Array, x: Array, name: str) -> Array:
    """Reshape a parameter of shape (C,) so that it broadcasts over a batch, in the batch's dtype.

    Raises
    ------
    ValueError
        If the parameter has not one value per channel of x.
    """
    parameter = np.asarray(parameter)
    if parameter.shape != (x.shape[1],):
        raise ValueError(
            f"{name} has shape {parameter.shape}, expected ({x.shape[1]},): one value for each "
            f"channel of the input of shape {x.shape}"
        )
    broadcast: Array = parameter.astype(x.dtype, copy=False).reshape(1, -1, *[1] * (x.ndim - 2))
    return broadcast


def check_floating(x: Array) -> None:
    """Refuse anything but a float32 or float64 array.

    Raises
    ------
    TypeError
        If x is not an ndarray, or of another dtype.
    """
    if not isinstance(x, np.ndarray):
        raise TypeError(f"expected a NumPy array, got {type(x).__name__}")
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"expected float32 or float64, got {x.dtype}: convert with x.astype")


def check_batch(x: Array) -> None:
    """Refuse what is not a batch of samples with channels.

    Raises
    ------
    TypeError
        If x is neither float32 nor float64.
    ValueError
        If x is not of shape (N, C), (N, C, L) or (N, C, H, W).
    """
    check_floating(x)
    if x.ndim not in (2, 3, 4):
        raise ValueError(f"expected shape (N, C), (N, C, L) or (N, C, H, W), got {x.shape}")


def check_upstream(dy: Array, shape: tuple[int, ...]) -> None:
    """Refuse an upstream gradient that does not belong to the output.

    Raises
    ------
    TypeError
        If dy is neither float32 nor float64.
    ValueError
        If dy has not the shape of the output.
    """
    check_floating(dy)
    if dy.shape != shape:
        raise ValueError(f"expected dy of the output's shape {shape}, got {dy.shape}")
