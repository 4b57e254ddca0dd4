"""One core for every normalization: standardize over some axes, then scale and shift.

A comment such as ``# [eq-xhat]`` names the equation, on the derivation pages, that the next line
computes. Sums and means keep the axes that they pool (with size one), so that each line reads like
its equation. Axes may be negative.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bn_tutorial.scratch.arguments import as_eps
from bn_tutorial.scratch.arrays import (
    Array,
    Axes,
    as_axes,
    check_floating,
    check_pooled,
    check_upstream,
    count,
    mean_over,
    shared_axes,
    sum_of_products,
    sum_over,
)


class Cache(NamedTuple):
    """What a forward pass keeps for its backward pass.

    Attributes
    ----------
    xhat : ndarray, shape of x
        The standardized input.
    r : ndarray, broadcastable to x
        The reciprocal standard deviation, ``1 / sqrt(var + eps)``.
    gamma : ndarray, broadcastable to x
        The scale.
    axes : tuple of int
        The axes that were pooled.
    mu, var : ndarray, shape of r
        The mean and the biased variance that standardized the input.
    """

    xhat: Array
    r: Array
    gamma: Array
    axes: tuple[int, ...]
    mu: Array
    var: Array


def center(x: Array, axes: Axes) -> tuple[Array, Array]:
    """Return the mean over ``axes`` and ``x`` without it, :eq:`eq-mean` and :eq:`eq-center`.

    Examples
    --------
    >>> mu, xmu = center(np.array([[1.0, 5.0], [3.0, 9.0]]), axes=0)
    >>> mu.tolist(), xmu.tolist()
    ([[2.0, 7.0]], [[-1.0, -2.0], [1.0, 2.0]])
    """
    # [eq-mean]
    mu = mean_over(x, axes)
    # [eq-center]
    xmu = x - mu

    # Nothing in exact arithmetic. Rounded to float32 a mean of 10,000 is off by up to 0.0005;
    # what it missed is the mean of what is left, which is small, so exact.
    missed = mean_over(xmu, axes)
    mu += missed
    xmu -= missed
    return mu, xmu


def standardize(x: Array, axes: Axes, eps: float) -> tuple[Array, Array, Array, Array]:
    """Give ``x`` mean zero and variance one over ``axes``, :eq:`eq-xhat`.

    It takes what :func:`normalize_forward` takes, and returns the xhat, r, mu and var of the cache.

    Notes
    -----
    Two passes: the variance is the mean of squared *deviations*. One pass over ``x`` and ``x**2``
    subtracts two large numbers and can turn negative in float32 [chan1983]_.

    References
    ----------
    .. [chan1983] Chan, Golub and LeVeque, "Algorithms for computing the sample variance",
       The American Statistician, 1983.

    Examples
    --------
    >>> xhat, r, mu, var = standardize(np.array([[1.0], [3.0]]), axes=0, eps=0.0)
    >>> xhat.tolist(), var.item()
    ([[-1.0], [1.0]], 1.0)
    """
    eps = as_eps(eps)
    mu, xmu = center(x, axes)
    m = count(x, axes)
    # [eq-variance]
    var = sum_of_products(xmu, xmu, axes) / m
    # [eq-r]
    r = 1 / np.sqrt(var + eps)
    # [eq-xhat]
    xhat = np.multiply(xmu, r, out=xmu)

    return xhat, r, mu, var


def standardize_backward(dxhat: Array, xhat: Array, r: Array, axes: Axes) -> Array:
    """Turn the gradient of the standardized input into that of the input, :eq:`eq-dx-axes`."""
    m = count(xhat, axes)
    along_ones = sum_over(dxhat, axes) / m
    along_xhat = sum_of_products(dxhat, xhat, axes) / m
    # [eq-dx-axes]
    dx: Array = xhat * -along_xhat
    dx += dxhat
    dx -= along_ones
    dx *= r

    return dx


def normalize_forward(
    x: Array, gamma: Array, beta: Array, *, axes: Axes, eps: float
) -> tuple[Array, Cache]:
    """Standardize over ``axes``, then scale and shift, :eq:`eq-y`.

    Parameters
    ----------
    x : ndarray, float32 or float64
        The input.
    gamma, beta : ndarray, broadcastable to x
        Scale and shift, with size one along every axis over which they are shared.
    axes : int or sequence of int
        The axes that share a mean and a variance.
    eps : float
        Added to the variance, inside the root. In the squared unit of x.

    Returns
    -------
    y : ndarray, shape and dtype of x
        The output.
    cache : Cache
        What :func:`normalize_backward` needs.

    Raises
    ------
    TypeError, ValueError
        If x is no float array, there is nothing to pool, or eps is negative or not finite.
    """
    check_floating(x)
    axes = as_axes(axes, x.ndim)
    gamma, beta = gamma.astype(x.dtype, copy=False), beta.astype(x.dtype, copy=False)
    xhat, r, mu, var = standardize(x, axes, eps)
    # [eq-y]
    y = gamma * xhat
    y += beta

    return y, Cache(xhat, r, gamma, axes, mu, var)


def normalize_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Give dx, dgamma and dbeta through :func:`normalize_forward`, whatever axes it pooled.

    As :func:`~bn_tutorial.scratch.functional.batch_norm_backward`, but dgamma and dbeta have the
    shape that gamma was given in.
    """
    dy = check_upstream(dy, cache.xhat)
    shared = shared_axes(cache.gamma)
    # [eq-dgamma-axes]
    dgamma = sum_of_products(dy, cache.xhat, shared)
    # [eq-dbeta-axes]
    dbeta = sum_over(dy, shared)

    dx = standardize_backward(cache.gamma * dy, cache.xhat, cache.r, cache.axes)
    return dx, dgamma, dbeta


def rms_forward(x: Array, gamma: Array, *, axes: Axes, eps: float) -> tuple[Array, Cache]:
    """Divide by the root mean square over ``axes``, then scale, :eq:`eq-rms`.

    As :func:`normalize_forward`, but nothing is centered or shifted: the cache's ``mu`` is zero,
    its ``var`` the mean square.
    """
    check_floating(x)
    axes, eps = as_axes(axes, x.ndim), as_eps(eps)
    gamma = gamma.astype(x.dtype, copy=False)
    check_pooled(x, axes)
    m = count(x, axes)
    # [eq-mean-square]
    square = sum_of_products(x, x, axes) / m
    r = 1 / np.sqrt(square + eps)
    # [eq-rms]
    xhat = x * r

    return gamma * xhat, Cache(xhat, r, gamma, axes, np.zeros_like(square), square)


def rms_backward(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """Give dx and dgamma through :func:`rms_forward`, :eq:`eq-dx-rms`.

    As :func:`normalize_backward`; there is no dbeta.
    """
    dy = check_upstream(dy, cache.xhat)
    xhat, r, gamma, axes = cache.xhat, cache.r, cache.gamma, cache.axes
    dgamma = sum_of_products(dy, xhat, shared_axes(gamma))
    dxhat = gamma * dy
    along_xhat = sum_of_products(dxhat, xhat, axes) / count(xhat, axes)
    # [eq-dx-rms]
    dx = xhat * -along_xhat
    dx += dxhat
    dx *= r

    return dx, dgamma
