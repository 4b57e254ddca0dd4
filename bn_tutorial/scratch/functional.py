"""Batch normalization as functions, in pure NumPy: forward and backward, both modes, second order.

Axis 1 holds the channels; all others are pooled. Shapes are written for a batch ``(N, C)``, and
hold for ``(N, C, L)``, ``(N, C, H, W)`` and more axes alike. The backward pass is here twice: step
by step, and in closed form. Marks such as ``# [eq-dx]`` are explained in
:mod:`~bn_tutorial.scratch.normalize`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bn_tutorial.scratch.arguments import as_eps
from bn_tutorial.scratch.arrays import (
    Array,
    check_batch,
    check_several,
    check_upstream,
    count,
    mean_over,
    per_channel,
    pooled_axes,
    sum_of_products,
    sum_over,
)
from bn_tutorial.scratch.normalize import Cache, normalize_forward


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, Cache]:
    r"""Normalize each channel with the statistics of the batch: training mode.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Parameters
    ----------
    x : ndarray, shape (N, C) or (N, C, ...), float32 or float64
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
    TypeError, ValueError
        If a dtype, a shape or eps does not fit, or if there is only one value per channel: its
        deviation from its own mean is zero whatever it is.

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
    check_several(x, count(x, axes))
    gamma, beta = per_channel(gamma, x, "gamma"), per_channel(beta, x, "beta")
    return normalize_forward(x, gamma, beta, axes=axes, eps=eps)


class Gradients(NamedTuple):
    """The gradient at every node of the graph, in the order in which the chain rule finds them.

    ``dq`` is with respect to ``q``, named as in the cache; those of xhat, xmu and x have the shape
    of x, the others have size one along the pooled axes.
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

    The arguments are those of :func:`batch_norm_backward`.

    Examples
    --------
    >>> _, cache = batch_norm_forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), eps=0.0)
    >>> found = batch_norm_gradients(np.array([[0.5], [0.25]]), cache)
    >>> found.dbeta.item(), found.dvar.item(), found.dxmu.tolist()
    (0.75, 0.125, [[0.375], [0.375]])
    """
    dy = check_upstream(dy, cache.xhat)
    xhat, r, gamma, axes = cache.xhat, cache.r, cache.gamma, cache.axes
    m = count(dy, axes)
    xmu = xhat / r
    # [eq-dbeta]
    dbeta = sum_over(dy, axes)
    # [eq-dgamma]
    dgamma = sum_over(dy * xhat, axes)
    # [eq-dxhat]
    dxhat = gamma * dy
    # [eq-dr]
    dr = sum_over(dxhat * xmu, axes)
    # [eq-dvar]
    dvar = -0.5 * r**3 * dr
    # [eq-dxmu]
    dxmu = r * dxhat + (2 / m) * xmu * dvar
    # [eq-dmu]
    dmu = -sum_over(dxmu, axes)
    # [eq-dx-steps]
    dx = dxmu + dmu / m
    return Gradients(dbeta, dgamma, dxhat, dr, dvar, dxmu, dmu, dx)


def batch_norm_backward_by_steps(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Give what :func:`batch_norm_gradients` finds at the inputs of the layer.

    For reading; :func:`batch_norm_backward` gives the same in fewer passes.
    """
    found = batch_norm_gradients(dy, cache)
    return found.dx, found.dgamma.ravel(), found.dbeta.ravel()


def batch_norm_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Give the gradients of :func:`batch_norm_forward` in closed form, :eq:`eq-dx`.

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
    TypeError, ValueError
        If dy is no float array of the output's shape.

    Examples
    --------
    A batch of two passes no gradient: whatever its values, the output is minus one and one.

    >>> y, cache = batch_norm_forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), eps=0.0)
    >>> batch_norm_backward(np.array([[0.7], [0.1]]), cache)[0].round(12).tolist()
    [[0.0], [0.0]]
    """
    dy = check_upstream(dy, cache.xhat)
    xhat, r, gamma, axes = cache.xhat, cache.r, cache.gamma, cache.axes
    m = count(dy, axes)
    dbeta = sum_over(dy, axes)
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
    """Normalize each channel with given statistics: evaluation mode, :eq:`eq-y-eval`.

    As :func:`batch_norm_forward`, for :func:`batch_norm_eval_backward`; one sample is enough.

    Parameters
    ----------
    running_mean, running_var : ndarray, shape (C,)
        The statistics that were gathered in training.
    """
    check_batch(x)
    eps = as_eps(eps)
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
    """Give the gradients of :func:`batch_norm_eval_forward`, :eq:`eq-dx-eval`.

    As :func:`batch_norm_backward`, but the statistics are constants: no sample reaches another, and
    the two sums are gone. The training formula in evaluation mode is a common error.
    """
    dy = check_upstream(dy, cache.xhat)
    dbeta = sum_over(dy, cache.axes)
    dgamma = sum_of_products(dy, cache.xhat, cache.axes)
    # [eq-dx-eval]
    dx = cache.gamma * cache.r * dy
    return dx, dgamma.ravel(), dbeta.ravel()


def batch_norm_double_backward(
    ddx: Array, ddgamma: Array, ddbeta: Array, dy: Array, cache: Cache
) -> tuple[Array, Array, Array]:
    """Differentiate :func:`batch_norm_backward` itself: the second order.

    It is needed when a *gradient* enters a loss, as in a gradient penalty. The backward pass maps
    (dy, x, gamma) to (dx, dgamma, dbeta); the gradients of that second loss go back.

    Parameters
    ----------
    ddx, ddgamma, ddbeta : ndarray, shapes of x, (C,) and (C,)
        Gradients of the second loss with respect to dx, dgamma and dbeta.
    dy, cache
        As the backward pass was given them.

    Returns
    -------
    grad_dy, grad_x, grad_gamma : ndarray, shapes of x, x and (C,)
        With respect to dy, :eq:`eq-double-dy`, to x, :eq:`eq-double-x`, and to gamma,
        :eq:`eq-double-gamma`.
    """
    dy = check_upstream(dy, cache.xhat)
    ddx = check_upstream(ddx, cache.xhat, "ddx")
    xhat, r, gamma, axes = cache.xhat, cache.r, cache.gamma, cache.axes
    ddgamma, ddbeta = per_channel(ddgamma, dy, "ddgamma"), per_channel(ddbeta, dy, "ddbeta")

    def mean(q: Array) -> Array:
        return mean_over(q, axes)

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
    grad_gamma = sum_over(r * ddx * p_dy, axes).ravel()
    # [eq-double-x]
    bracket = xhat * mean(ddx * p_dy) + along_dy * p_ddx + along_ddx * p_dy
    grad_x = ddgamma * r * p_dy - gamma * r**2 * bracket

    return grad_dy, grad_x, grad_gamma
