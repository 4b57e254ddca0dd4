"""Batch normalization in evaluation mode, folded into the linear layer or convolution before it."""

from __future__ import annotations

import numpy as np

from bn_tutorial.scratch.arrays import Array, check_floating


def fold(
    weight: Array,
    bias: Array | None,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    *,
    eps: float = 1e-5,
) -> tuple[Array, Array]:
    r"""Fold a normalization into the layer before it (:eq:`eq-fold-weight`, :eq:`eq-fold-bias`).

    .. math:: W' = \gamma \bar r \, W, \qquad b' = \gamma \bar r \, (b - \bar\mu) + \beta

    Parameters
    ----------
    weight : ndarray, shape (K, C) or (K, C, kH, kW), float32 or float64
        The weight of a linear layer or of a convolution, the K output channels first.
    bias : ndarray, shape (K,), or None
        Its bias; None where it has none.
    gamma, beta, running_mean, running_var : ndarray, shape (K,)
        Scale, shift and running statistics of the normalization that follows.
    eps : float
        What the normalization adds to its variance.

    Returns
    -------
    weight : ndarray, shape and dtype of weight
        The weight of the one layer that computes what both computed.
    bias : ndarray, shape (K,), dtype of weight
        Its bias.

    Raises
    ------
    TypeError
        If the weight is neither float32 nor float64.
    ValueError
        If the weight has no axis besides its output channels, or an argument has not one value for
        each of them.

    Notes
    -----
    Nothing may stand between the two layers, and nothing else may use the output of the first.
    A transposed convolution has its output channels second: exchange the axes, before and after.

    Examples
    --------
    One channel with mean 3 and standard deviation 2:

    >>> one, mean, var = np.ones(1), np.array([3.0]), np.array([4.0])
    >>> fold(np.array([[4.0]]), np.array([5.0]), one, np.zeros(1), mean, var, eps=0.0)
    (array([[2.]]), array([1.]))
    """
    check_floating(weight)
    if weight.ndim < 2:
        raise ValueError(f"expected a weight of shape (K, C, ...), got {weight.shape}")
    bias = np.zeros(len(weight)) if bias is None else bias
    given = {
        "bias": bias,
        "gamma": gamma,
        "beta": beta,
        "running_mean": running_mean,
        "running_var": running_var,
    }
    for name, value in given.items():
        if np.shape(value) != (len(weight),):
            raise ValueError(
                f"{name} has shape {np.shape(value)}, expected ({len(weight)},): one value for "
                f"each output channel of the weight of shape {weight.shape}"
            )
    b, gamma, beta, mu, var = (np.asarray(v).astype(weight.dtype) for v in given.values())
    r = 1 / np.sqrt(var + eps)
    # [eq-fold-weight]
    folded = (gamma * r).reshape(-1, *[1] * (weight.ndim - 1)) * weight
    # [eq-fold-bias]
    shift = gamma * r * (b - mu) + beta
    return folded, shift
