"""Batch normalization in evaluation mode, folded into the linear layer or convolution before it."""

from __future__ import annotations

import numpy as np

from bn_tutorial.scratch.arguments import as_eps, as_size
from bn_tutorial.scratch.arrays import Array, check_floating


def fold(
    weight: Array,
    bias: Array | None,
    gamma: Array | None,
    beta: Array | None,
    running_mean: Array,
    running_var: Array,
    *,
    eps: float = 1e-5,
    transpose: bool = False,
    groups: int = 1,
) -> tuple[Array, Array]:
    r"""Fold a normalization into the layer before it, :eq:`eq-fold-weight` and :eq:`eq-fold-bias`.

    .. math:: W' = \gamma \bar r \, W, \qquad b' = \gamma \bar r \, (b - \bar\mu) + \beta

    Parameters
    ----------
    weight : ndarray, shape (K, C / groups, ...) or, transposed, (C, K / groups, ...)
        Of a linear layer or a convolution with C inputs and K outputs; float32 or float64.
    bias, gamma, beta : ndarray, shape (K,), or None
        The layer's bias, and scale and shift of the normalization; None where there is none.
    running_mean, running_var : ndarray, shape (K,)
        The statistics of the normalization.
    eps : float
        What the normalization adds to its variance.
    transpose : bool
        Whether this is a transposed convolution. If C is K, its weight does not tell.
    groups : int
        Of the convolution.

    Returns
    -------
    weight, bias : ndarray, shapes (as weight) and (K,), dtype of weight
        Of the one layer that computes what both computed.

    Raises
    ------
    TypeError, ValueError
        If the weight is no float array, a shape or groups do not fit, there are no statistics, or a
        variance plus eps is not positive.

    Notes
    -----
    Nothing may stand between the two layers, and nothing else may use the output of the first.

    Examples
    --------
    One channel with mean 3 and standard deviation 2:

    >>> mean, var = np.array([3.0]), np.array([4.0])
    >>> fold(np.array([[4.0]]), np.array([5.0]), None, None, mean, var, eps=0.0)
    (array([[2.]]), array([1.]))
    """
    check_floating(weight, "weight")
    if weight.ndim < 2:
        raise ValueError(f"expected a weight of shape (K, C, ...), got {weight.shape}")
    eps, groups = as_eps(eps), as_size(groups, "groups")
    if len(weight) % groups:
        raise ValueError(
            f"{groups} groups do not divide the {len(weight)} channels on the first axis of the "
            f"weight of shape {weight.shape}"
        )
    outputs = weight.shape[1] * groups if transpose else len(weight)
    given = {
        "bias": np.zeros(outputs) if bias is None else bias,
        "gamma": np.ones(outputs) if gamma is None else gamma,
        "beta": np.zeros(outputs) if beta is None else beta,
        "running_mean": running_mean,
        "running_var": running_var,
    }
    for name, value in given.items():
        if value is None:
            raise ValueError(
                f"{name} is None: without running statistics, evaluation mode takes those of each "
                "batch, and there are no constants to fold"
            )
        if np.shape(value) != (outputs,):
            raise ValueError(
                f"{name} has shape {np.shape(value)}, expected ({outputs},): one value for each "
                f"output channel of the weight of shape {weight.shape}"
                + _remedy(weight, np.size(value), transpose)
            )
    b, gamma, beta, mu, var = (np.asarray(v).astype(weight.dtype) for v in given.values())
    if not (usable := (var >= 0) & (var + eps > 0)).all():
        k = int(np.argmin(usable))
        raise ValueError(
            f"running_var[{k}] = {var[k]} and eps = {eps}, expected a variance and a positive sum"
        )
    r = 1 / np.sqrt(var + eps)
    # [eq-fold-weight]
    folded = _spread(gamma * r, weight, transpose, groups) * weight
    # [eq-fold-bias]
    shift = gamma * r * (b - mu) + beta
    return folded, shift


def _spread(per_output: Array, weight: Array, transpose: bool, groups: int) -> Array:
    """Reshape one value for each output channel so that it broadcasts over the weight."""
    if transpose:
        # Each group of rows feeds output channels of its own, one for each column.
        spread = per_output.reshape(groups, -1).repeat(len(weight) // groups, axis=0)
    else:
        spread = per_output.reshape(-1, 1)
    return spread.reshape(*spread.shape, *[1] * (weight.ndim - 2))


def _remedy(weight: Array, outputs: int, transpose: bool) -> str:
    """Say which arguments would give the weight this many output channels, if any do."""
    rows, columns = weight.shape[:2]
    groups, rest = divmod(outputs, columns)
    if groups and not rest and not rows % groups:
        return f"; of a transposed convolution? Then pass transpose=True, groups={groups}"
    if transpose and outputs == rows:
        return "; not transposed? Then leave transpose out"
    return ""
