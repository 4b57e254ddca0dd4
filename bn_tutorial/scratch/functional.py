"""The equations of normalization, in pure NumPy.

Every normalization standardizes ``x`` over some of its axes, then scales and shifts.
They differ in the axes alone, so there is one core; batch normalization, the subject of this site,
has its backward twice beside it: step by step, and in closed form.

A comment such as ``# [eq-xhat]`` names the equation, on the derivation pages, that the next line
computes. Sums and means keep the axes that they pool (with size one), so that each line reads like
its equation, and shapes are written for a batch ``(N, C)`` or ``(N, C, H, W)``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bn_tutorial.scratch.arrays import (
    Array,
    check_batch,
    check_floating,
    check_upstream,
    count,
    per_channel,
    pooled_axes,
    shared_axes,
    sum_of_products,
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


# ---------------------------------------------------------------------------------------------
# One core: standardize over some axes
# ---------------------------------------------------------------------------------------------


def center(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Subtract the mean over ``axes`` (:eq:`eq-mean`, :eq:`eq-center`).

    Parameters
    ----------
    x : ndarray
        The input.
    axes : tuple of int
        The axes that share a mean.

    Returns
    -------
    mu : ndarray, broadcastable to x
        The mean.
    xmu : ndarray, shape of x
        The centered input, ``x - mu``.

    Examples
    --------
    >>> mu, xmu = center(np.array([[1.0, 5.0], [3.0, 9.0]]), axes=(0,))
    >>> mu.tolist(), xmu.tolist()
    ([[2.0, 7.0]], [[-1.0, -2.0], [1.0, 2.0]])
    """
    # [eq-mean]
    mu = x.mean(axis=axes, keepdims=True)
    # [eq-center]
    xmu = x - mu

    # Nothing in exact arithmetic. In float32 a mean of many large numbers is off by several units
    # in its last place; what it missed is the mean of what is left, which is small, so exact.
    missed = xmu.mean(axis=axes, keepdims=True)
    mu += missed
    xmu -= missed
    return mu, xmu


def standardize(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array, Array, Array]:
    """Give ``x`` mean zero and variance one over ``axes`` (:eq:`eq-xhat`).

    Parameters
    ----------
    x : ndarray
        The input.
    axes : tuple of int
        The axes that share a mean and a variance.
    eps : float
        Added to the variance, inside the root. In the squared unit of x.

    Returns
    -------
    xhat : ndarray, shape of x
        The standardized input.
    r : ndarray, broadcastable to x
        The reciprocal standard deviation.
    mu, var : ndarray, shape of r
        The mean and the biased variance.

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
    >>> xhat, r, mu, var = standardize(np.array([[1.0], [3.0]]), axes=(0,), eps=0.0)
    >>> xhat.tolist(), var.item()
    ([[-1.0], [1.0]], 1.0)
    """
    mu, xmu = center(x, axes)
    m = count(x, axes)
    # [eq-variance]
    var = sum_of_products(xmu, xmu, axes) / m
    # [eq-r]
    r = 1 / np.sqrt(var + eps)
    # [eq-xhat]
    xhat = np.multiply(xmu, r, out=xmu)

    return xhat, r, mu, var


def standardize_backward(dxhat: Array, xhat: Array, r: Array, axes: tuple[int, ...]) -> Array:
    """Give the gradient through :func:`standardize` (:eq:`eq-dx-axes`).

    Parameters
    ----------
    dxhat : ndarray, shape of x
        Gradient of the loss with respect to ``xhat``.
    xhat, r : ndarray
        As :func:`standardize` returned them.
    axes : tuple of int
        The axes that were pooled.

    Returns
    -------
    dx : ndarray, shape of x
        Gradient of the loss with respect to ``x``.
    """
    m = count(xhat, axes)
    along_ones = dxhat.sum(axis=axes, keepdims=True) / m
    along_xhat = sum_of_products(dxhat, xhat, axes) / m
    # [eq-dx-axes]
    dx: Array = xhat * -along_xhat
    dx += dxhat
    dx -= along_ones
    dx *= r

    return dx


def rms_forward(
    x: Array, gamma: Array, *, axes: tuple[int, ...], eps: float
) -> tuple[Array, Cache]:
    """Divide by the root mean square over ``axes``, then scale: nothing is centered.

    Parameters
    ----------
    x : ndarray, float32 or float64
        The input.
    gamma : ndarray, broadcastable to x
        Scale, with size one along every axis over which it is shared.
    axes : tuple of int
        The axes that share a mean square.
    eps : float
        Added to the mean square, inside the root.

    Returns
    -------
    y : ndarray, shape and dtype of x
        The output.
    cache : Cache
        What :func:`rms_backward` needs; its ``var`` is the mean square, its ``mu`` zero.

    Raises
    ------
    TypeError
        If x is neither float32 nor float64.
    """
    check_floating(x)
    gamma = gamma.astype(x.dtype, copy=False)
    m = count(x, axes)
    # [eq-mean-square]
    square = sum_of_products(x, x, axes) / m
    r = 1 / np.sqrt(square + eps)
    # [eq-rms]
    xhat = x * r

    return gamma * xhat, Cache(xhat, r, gamma, axes, np.zeros_like(square), square)


def rms_backward(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """Give the gradients through :func:`rms_forward` (:eq:`eq-dx-rms`).

    Parameters
    ----------
    dy : ndarray, shape of x
        Gradient of the loss with respect to the output.
    cache : Cache
        From the forward pass.

    Returns
    -------
    dx : ndarray, shape of x
        Gradient with respect to the input.
    dgamma : ndarray, shape of gamma
        Gradient with respect to the scale.

    Raises
    ------
    ValueError
        If dy has not the shape of the output.
    """
    check_upstream(dy, cache.xhat.shape)
    xhat, r, gamma, axes = cache.xhat, cache.r, cache.gamma, cache.axes
    dgamma = sum_of_products(dy, xhat, shared_axes(gamma))
    dxhat = gamma * dy
    along_xhat = sum_of_products(dxhat, xhat, axes) / count(xhat, axes)
    # [eq-dx-rms]
    dx = xhat * -along_xhat
    dx += dxhat
    dx *= r

    return dx, dgamma


def normalize_forward(
    x: Array, gamma: Array, beta: Array, *, axes: tuple[int, ...], eps: float
) -> tuple[Array, Cache]:
    """Standardize over ``axes``, then scale and shift (:eq:`eq-y`).

    Parameters
    ----------
    x : ndarray, float32 or float64
        The input.
    gamma, beta : ndarray, broadcastable to x
        Scale and shift, with size one along every axis over which they are shared.
    axes : tuple of int
        The axes that share a mean and a variance.
    eps : float
        Added to the variance, inside the root.

    Returns
    -------
    y : ndarray, shape and dtype of x
        The output.
    cache : Cache
        What :func:`normalize_backward` needs.

    Raises
    ------
    TypeError
        If x is neither float32 nor float64.
    """
    check_floating(x)
    gamma, beta = gamma.astype(x.dtype, copy=False), beta.astype(x.dtype, copy=False)
    xhat, r, mu, var = standardize(x, axes, eps)
    # [eq-y]
    y = gamma * xhat
    y += beta

    return y, Cache(xhat, r, gamma, axes, mu, var)


def normalize_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Give the gradients through :func:`normalize_forward`, whatever axes it pooled.

    Parameters
    ----------
    dy : ndarray, shape of x
        Gradient of the loss with respect to the output.
    cache : Cache
        From the forward pass.

    Returns
    -------
    dx : ndarray, shape of x
        Gradient with respect to the input.
    dgamma, dbeta : ndarray, shape of gamma
        Gradients with respect to scale and shift.

    Raises
    ------
    ValueError
        If dy has not the shape of the output.
    """
    check_upstream(dy, cache.xhat.shape)
    shared = shared_axes(cache.gamma)
    # [eq-dgamma-axes]
    dgamma = sum_of_products(dy, cache.xhat, shared)
    # [eq-dbeta-axes]
    dbeta = dy.sum(axis=shared, keepdims=True)

    dx = standardize_backward(cache.gamma * dy, cache.xhat, cache.r, cache.axes)
    return dx, dgamma, dbeta


# ---------------------------------------------------------------------------------------------
# Batch normalization: pool the batch (and space), one mean for each channel
# ---------------------------------------------------------------------------------------------


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, Cache]:
    r"""Normalize each channel with the statistics of the batch: training mode.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Parameters
    ----------
    x : ndarray, shape (N, C) or (N, C, L) or (N, C, H, W), float32 or float64
        The batch.
    gamma, beta : ndarray, shape (C,)
        Scale and shift of each channel.
    eps : float
        Added to the variance, inside the root.

    Returns
    -------
    y : ndarray, shape and dtype of x
        The output.
    cache : Cache
        What :func:`batch_norm_backward` needs; its ``mu`` and ``var`` feed the running averages.

    Raises
    ------
    TypeError
        If x is neither float32 nor float64.
    ValueError
        If a shape does not fit, or if there is only one value per channel: its deviation from its
        own mean is zero whatever it is.

    Notes
    -----
    The variance is biased (divided by m, the number of values pooled), as in
    :cite:t:`ioffe2015batch` and in PyTorch.

    Examples
    --------
    >>> y, cache = batch_norm_forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), eps=0.0)
    >>> y.tolist()
    [[-1.0], [1.0]]
    """
    check_batch(x)
    axes = pooled_axes(x)
    if (m := count(x, axes)) < 2:
        raise ValueError(
            f"expected more than 1 value per channel in training, got {m} in input of shape "
            f"{x.shape}: drop the last short batch, or normalize with running statistics"
        )
    gamma, beta = per_channel(gamma, x, "gamma"), per_channel(beta, x, "beta")
    return normalize_forward(x, gamma, beta, axes=axes, eps=eps)


class Gradients(NamedTuple):
    """The gradient at every node of the graph, in the order in which the chain rule finds them.

    Attributes
    ----------
    dbeta, dgamma : ndarray, broadcastable to x
        With respect to shift and scale.
    dxhat : ndarray, shape of x
        With respect to the standardized input.
    dr, dvar : ndarray, broadcastable to x
        With respect to the reciprocal standard deviation and the variance.
    dxmu : ndarray, shape of x
        With respect to the centered input.
    dmu : ndarray, broadcastable to x
        With respect to the mean.
    dx : ndarray, shape of x
        With respect to the input.
    """

    dbeta: Array
    dgamma: Array
    dxhat: Array
    dr: Array
    dvar: Array
    dxmu: Array
    dmu: Array
    dx: Array


def batch_norm_gradients(dy: Array, cache: Cache) -> Gradients:
    """Apply the chain rule to :func:`batch_norm_forward`, one node of its graph at a time.

    Parameters
    ----------
    dy : ndarray, shape of x
        Gradient of the loss with respect to the output.
    cache : Cache
        From the forward pass.

    Returns
    -------
    Gradients
        Of every node; those that a channel shares keep the pooled axes, with size one.

    Raises
    ------
    ValueError
        If dy has not the shape of the output.

    Examples
    --------
    >>> _, cache = batch_norm_forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), eps=0.0)
    >>> found = batch_norm_gradients(np.array([[0.5], [0.25]]), cache)
    >>> found.dbeta.item(), found.dvar.item(), found.dxmu.tolist()
    (0.75, 0.125, [[0.375], [0.375]])
    """
    check_upstream(dy, cache.xhat.shape)
    xhat, r, gamma, axes = cache.xhat, cache.r, cache.gamma, cache.axes
    m = count(dy, axes)
    xmu = xhat / r
    # [eq-dbeta]
    dbeta = dy.sum(axis=axes, keepdims=True)
    # [eq-dgamma]
    dgamma = (dy * xhat).sum(axis=axes, keepdims=True)
    # [eq-dxhat]
    dxhat = gamma * dy
    # [eq-dr]
    dr = (dxhat * xmu).sum(axis=axes, keepdims=True)
    # [eq-dvar]
    dvar = -0.5 * r**3 * dr
    # [eq-dxmu]
    dxmu = r * dxhat + (2 / m) * xmu * dvar
    # [eq-dmu]
    dmu = -dxmu.sum(axis=axes, keepdims=True)
    # [eq-dx-steps]
    dx = dxmu + dmu / m
    return Gradients(dbeta, dgamma, dxhat, dr, dvar, dxmu, dmu, dx)


def batch_norm_backward_by_steps(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Give what :func:`batch_norm_gradients` finds at the inputs of the layer.

    Parameters
    ----------
    dy : ndarray, shape of x
        Gradient of the loss with respect to the output.
    cache : Cache
        From the forward pass.

    Returns
    -------
    dx : ndarray, shape of x
        Gradient with respect to the input.
    dgamma, dbeta : ndarray, shape (C,)
        Gradients with respect to scale and shift.

    Raises
    ------
    ValueError
        If dy has not the shape of the output.

    Notes
    -----
    For reading; :func:`batch_norm_backward` gives the same in fewer passes.
    """
    found = batch_norm_gradients(dy, cache)
    return found.dx, found.dgamma.ravel(), found.dbeta.ravel()


def batch_norm_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Give the gradients of :func:`batch_norm_forward` in closed form (:eq:`eq-dx`).

    Parameters
    ----------
    dy : ndarray, shape of x
        Gradient of the loss with respect to the output.
    cache : Cache
        From the forward pass.

    Returns
    -------
    dx : ndarray, shape and dtype of x
        Gradient with respect to the input.
    dgamma, dbeta : ndarray, shape (C,)
        Gradients with respect to scale and shift.

    Raises
    ------
    ValueError
        If dy has not the shape of the output.

    Examples
    --------
    A batch of two passes no gradient: whatever its values, the output is minus one and one.

    >>> y, cache = batch_norm_forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), eps=0.0)
    >>> batch_norm_backward(np.array([[0.7], [0.1]]), cache)[0].round(12).tolist()
    [[0.0], [0.0]]
    """
    check_upstream(dy, cache.xhat.shape)
    xhat, r, gamma, axes = cache.xhat, cache.r, cache.gamma, cache.axes
    m = count(dy, axes)
    dbeta = dy.sum(axis=axes, keepdims=True)
    dgamma = sum_of_products(dy, xhat, axes)
    # [eq-dx]
    dx = xhat * (-dgamma / m)
    dx += dy
    dx -= dbeta / m
    dx *= gamma * r

    return dx, dgamma.ravel(), dbeta.ravel()


def batch_norm_eval_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    *,
    eps: float = 1e-5,
) -> tuple[Array, Cache]:
    """Normalize each channel with given statistics: evaluation mode (:eq:`eq-y-eval`).

    Parameters
    ----------
    x : ndarray, shape (N, C) or (N, C, L) or (N, C, H, W), float32 or float64
        The batch; one sample is enough.
    gamma, beta, running_mean, running_var : ndarray, shape (C,)
        Scale, shift and the statistics that were gathered in training.
    eps : float
        Added to the variance, inside the root.

    Returns
    -------
    y : ndarray, shape and dtype of x
        The output.
    cache : Cache
        What :func:`batch_norm_eval_backward` needs.

    Raises
    ------
    TypeError
        If x is neither float32 nor float64.
    ValueError
        If a shape does not fit.
    """
    check_batch(x)
    gamma, beta = per_channel(gamma, x, "gamma"), per_channel(beta, x, "beta")
    mu = per_channel(running_mean, x, "running_mean")
    var = per_channel(running_var, x, "running_var")
    # [eq-y-eval]
    r = 1 / np.sqrt(var + eps)
    xhat = x - mu
    xhat *= r
    y = gamma * xhat
    y += beta

    return y, Cache(xhat, r, gamma, pooled_axes(x), mu, var)


def batch_norm_eval_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Give the gradients of :func:`batch_norm_eval_forward` (:eq:`eq-dx-eval`).

    The statistics are constants here: no sample reaches another, and the two sums of the training
    gradient are gone. Using the training formula in evaluation mode is a common error.

    Parameters
    ----------
    dy : ndarray, shape of x
        Gradient of the loss with respect to the output.
    cache : Cache
        From the forward pass in evaluation mode.

    Returns
    -------
    dx : ndarray, shape and dtype of x
        Gradient with respect to the input.
    dgamma, dbeta : ndarray, shape (C,)
        Gradients with respect to scale and shift.

    Raises
    ------
    ValueError
        If dy has not the shape of the output.
    """
    check_upstream(dy, cache.xhat.shape)
    dbeta = dy.sum(axis=cache.axes)
    dgamma = sum_of_products(dy, cache.xhat, cache.axes).ravel()
    # [eq-dx-eval]
    dx = cache.gamma * cache.r * dy
    return dx, dgamma, dbeta


def batch_norm_double_backward(
    ddx: Array, ddgamma: Array, ddbeta: Array, dy: Array, cache: Cache
) -> tuple[Array, Array, Array]:
    """Differentiate :func:`batch_norm_backward` itself: the second order.

    It is needed when a *gradient* enters a loss, as in a gradient penalty.
    The backward pass maps (dy, x, gamma) to (dx, dgamma, dbeta); given the gradient of a second
    loss with respect to the latter, this gives it with respect to the former.

    Parameters
    ----------
    ddx : ndarray, shape of x
        Gradient of the second loss with respect to dx.
    ddgamma, ddbeta : ndarray, shape (C,)
        Gradients of the second loss with respect to dgamma and dbeta.
    dy : ndarray, shape of x
        The upstream gradient that the backward pass was given.
    cache : Cache
        From the forward pass.

    Returns
    -------
    grad_dy : ndarray, shape of x
        Gradient of the second loss with respect to dy (:eq:`eq-double-dy`).
    grad_x : ndarray, shape of x
        With respect to x (:eq:`eq-double-x`).
    grad_gamma : ndarray, shape (C,)
        With respect to gamma (:eq:`eq-double-gamma`).

    Raises
    ------
    ValueError
        If a shape does not fit.
    """
    check_upstream(dy, cache.xhat.shape)
    check_upstream(ddx, cache.xhat.shape)
    xhat, r, gamma, axes = cache.xhat, cache.r, cache.gamma, cache.axes
    ddgamma, ddbeta = per_channel(ddgamma, dy, "ddgamma"), per_channel(ddbeta, dy, "ddbeta")

    def mean(q: Array) -> Array:
        average: Array = q.mean(axis=axes, keepdims=True)
        return average

    def project(q: Array) -> Array:
        """Remove the mean and the part along xhat: the backward pass without its factor."""
        # [eq-project]
        projected: Array = q - mean(q) - xhat * mean(q * xhat)
        return projected

    p_dy, p_ddx = project(dy), project(ddx)
    along_dy, along_ddx = mean(dy * xhat), mean(ddx * xhat)
    # [eq-double-dy]
    grad_dy = gamma * r * p_ddx + ddgamma * xhat + ddbeta
    # [eq-double-gamma]
    grad_gamma = (r * ddx * p_dy).sum(axis=axes)
    # [eq-double-x]
    bracket = xhat * mean(ddx * p_dy) + along_dy * p_ddx + along_ddx * p_dy
    grad_x = ddgamma * r * p_dy - gamma * r**2 * bracket

    return grad_dy, grad_x, grad_gamma
