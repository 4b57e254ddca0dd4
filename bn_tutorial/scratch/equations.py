"""The equations of the derivations, one plain line each, to be read and copied.

For features, ``(N, C)``: ``axis=0`` runs over the batch. Nothing is checked, no memory is saved.
A comment such as ``# [read eq-dx]`` names the equation that the next line writes down; under
``# [eq-dx]`` another module computes the same for any axes. A test holds the two together.
"""

from __future__ import annotations

import numpy as np

from bn_tutorial.scratch.arrays import Array


def forward(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array, Array]:
    """Normalize a batch; return y, and what the backward pass needs: xmu, xhat and r.

    Examples
    --------
    >>> forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), eps=0.0)[0].tolist()
    [[-1.0], [1.0]]
    """
    # [read eq-mean]
    mu = x.mean(axis=0)
    # [read eq-center]
    xmu = x - mu
    # [read eq-variance]
    var = (xmu**2).mean(axis=0)
    # [read eq-r]
    r = 1 / np.sqrt(var + eps)
    # [read eq-xhat]
    xhat = xmu * r
    # [read eq-y]
    y = gamma * xhat + beta
    return y, xmu, xhat, r


def backward_by_steps(
    dy: Array, xmu: Array, xhat: Array, r: Array, gamma: Array
) -> tuple[Array, Array, Array]:
    """Apply the chain rule to :func:`forward`, one node at a time; return dx, dgamma and dbeta."""
    m = len(dy)
    # [read eq-dbeta]
    dbeta = dy.sum(axis=0)
    # [read eq-dgamma]
    dgamma = (dy * xhat).sum(axis=0)
    # [read eq-dxhat]
    dxhat = gamma * dy
    # [read eq-dr]
    dr = (dxhat * xmu).sum(axis=0)
    # [read eq-dvar]
    dvar = -0.5 * r**3 * dr
    # [read eq-dxmu]
    dxmu = r * dxhat + (2 / m) * xmu * dvar
    # [read eq-dmu]
    dmu = -dxmu.sum(axis=0)
    # [read eq-dx-steps]
    dx = dxmu + dmu / m
    return dx, dgamma, dbeta


def backward(dy: Array, xhat: Array, r: Array, gamma: Array) -> tuple[Array, Array, Array]:
    """Return what :func:`backward_by_steps` does, dx in closed form."""
    m, dgamma, dbeta = len(dy), (dy * xhat).sum(axis=0), dy.sum(axis=0)
    # [read eq-dx]
    dx = gamma * r / m * (m * dy - dbeta - xhat * dgamma)
    return dx, dgamma, dbeta


def evaluate(
    x: Array, dy: Array, gamma: Array, beta: Array, mu: Array, var: Array, eps: float
) -> tuple[Array, Array]:
    """Normalize with the running statistics mu and var; return y, and dx for this dy."""
    # [read eq-y-eval]
    y = gamma * (x - mu) / np.sqrt(var + eps) + beta
    # [read eq-dx-eval]
    dx = gamma / np.sqrt(var + eps) * dy
    return y, dx


def fold(
    weight: Array, bias: Array, gamma: Array, beta: Array, mu: Array, var: Array, eps: float
) -> tuple[Array, Array]:
    """Return weight and bias of one linear layer that does the work of two; mu, var are running."""
    r = 1 / np.sqrt(var + eps)
    # [read eq-fold-weight]
    folded = (gamma * r)[:, np.newaxis] * weight
    # [read eq-fold-bias]
    shift = gamma * r * (bias - mu) + beta
    return folded, shift


def unbiased(var: Array, m: int) -> Array:
    """Return the variance that is divided by m - 1."""
    # [read eq-unbiased]
    unbiased_var = var * m / (m - 1)
    return unbiased_var


def backward_over(dxhat: Array, xhat: Array, r: Array, axes: tuple[int, ...]) -> Array:
    """Return dx where the values along some axes share a mean."""

    def mean(q: Array) -> Array:
        average: Array = q.mean(axis=axes, keepdims=True)
        return average

    # [read eq-dx-axes]
    dx = r * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat))
    return dx


def parameters_backward(dy: Array, xhat: Array, shared: tuple[int, ...]) -> tuple[Array, Array]:
    """Return dgamma and dbeta of parameters that are shared along some axes."""
    # [read eq-dgamma-axes]
    dgamma = (dy * xhat).sum(axis=shared, keepdims=True)
    # [read eq-dbeta-axes]
    dbeta = dy.sum(axis=shared, keepdims=True)
    return dgamma, dbeta


def rms(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array]:
    """Divide by the root mean square; return xhat and r."""
    # [read eq-mean-square]
    s = (x**2).mean(axis=axes, keepdims=True)
    # [read eq-rms]
    r = 1 / np.sqrt(s + eps)
    xhat = x * r
    return xhat, r


def rms_backward(dxhat: Array, xhat: Array, r: Array, axes: tuple[int, ...]) -> Array:
    """Return dx through :func:`rms`."""

    def mean(q: Array) -> Array:
        average: Array = q.mean(axis=axes, keepdims=True)
        return average

    # [read eq-dx-rms]
    dx = r * (dxhat - xhat * mean(dxhat * xhat))
    return dx


def double_backward_of_gamma(ddx: Array, dy: Array, xhat: Array, r: Array) -> tuple[Array, Array]:
    """Return the projected dy, and the part of the double backward that belongs to gamma."""

    def mean(q: Array) -> Array:
        average: Array = q.mean(axis=0)
        return average

    def project(q: Array) -> Array:
        # [read eq-project]
        p = q - mean(q) - xhat * mean(q * xhat)
        return p

    p_dy = project(dy)
    # [read eq-double-gamma]
    grad_gamma = (r * ddx * p_dy).sum(axis=0)
    return p_dy, grad_gamma
