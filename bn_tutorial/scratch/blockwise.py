"""Batch normalization in NumPy, a block of rows at a time: a block stays in the processor's cache.

Between :mod:`~bn_tutorial.scratch.functional`, whose every line passes over the whole batch, and
:mod:`~bn_tutorial.scratch.fused`: the formulas are the same, the batch is read twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np

from bn_tutorial.scratch.arrays import Array, sum_of_products, sum_over
from bn_tutorial.scratch.moments import merge, moments
from bn_tutorial.scratch.normalize import Cache

ROWS = 64  # of a batch with a thousand channels: a quarter of a megabyte


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, Cache]:
    """As :func:`bn_tutorial.scratch.functional.batch_norm_forward`, for shape (N, C).

    Examples
    --------
    >>> x = np.array([[1.0], [3.0]])
    >>> batch_norm_forward(x, np.ones(1), np.zeros(1), eps=0.0)[0].tolist()
    [[-1.0], [1.0]]
    """
    pooled = reduce(merge, (moments(x[block], axes=0) for block in _blocks(x)))
    mu, var = pooled.mean, pooled.var
    r = 1 / np.sqrt(var + eps)
    xhat, y = np.empty_like(x), np.empty_like(x)
    for block in _blocks(x):
        np.subtract(x[block], mu, out=xhat[block])
        xhat[block] *= r
        np.multiply(xhat[block], gamma, out=y[block])
        y[block] += beta
    return y, Cache(xhat, r, gamma, (0,), mu, var)


def batch_norm_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """As :func:`bn_tutorial.scratch.functional.batch_norm_backward`."""
    xhat, m, dx = cache.xhat, len(dy), np.empty_like(dy)
    dbeta, dgamma = np.zeros_like(cache.gamma), np.zeros_like(cache.gamma)
    for block in _blocks(dy):
        dbeta += sum_over(dy[block], axes=0)[0]
        dgamma += sum_of_products(dy[block], xhat[block], axes=0)[0]
    for block in _blocks(dy):
        np.multiply(xhat[block], -dgamma / m, out=dx[block])
        dx[block] += dy[block]
        dx[block] -= dbeta / m
        dx[block] *= cache.gamma * cache.r
    return dx, dgamma, dbeta


def _blocks(x: Array) -> Iterator[slice]:
    return (slice(row, row + ROWS) for row in range(0, len(x), ROWS))
