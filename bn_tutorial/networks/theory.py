"""What random weights do to a signal: predictions for a network at initialization.

They are averages over the weights, for wide layers; the pages on depth and on residual networks
derive each, and say for which networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bn_tutorial.scratch.arrays import Array


def signal_gain(slope: float, fan: int, weight_var: float) -> float:
    """Give the factor by which one layer multiplies the signal, :eq:`eq-signal-gain`.

    Parameters
    ----------
    slope, weight_var : float
        Of the activation, where it works; the variance from which the weights are drawn.
    fan : int
        n, over how many weights a unit sums: the layer's inputs forward, its outputs backward.

    Returns
    -------
    float
        The factor of the standard deviation over the samples, without a unit.

    Examples
    --------
    >>> # a sigmoid, and PyTorch's default weights
    >>> round(1 / signal_gain(0.25, fan=256, weight_var=1 / (3 * 256)), 2)
    6.93
    """
    # [eq-signal-gain]
    gain = slope * math.sqrt(fan * weight_var)
    return gain


def gradient_growth(activation: Callable[[Array], Array], slope: Callable[[Array], Array]) -> float:
    """Give the growth of the squared gradient in a layer with a large batch, :eq:`eq-growth`.

    By so much, at least one, a layer with batch normalization multiplies the squared norm of the
    gradient on its way back. The activation and its derivative take an ndarray to one of its shape.

    Examples
    --------
    >>> growth = gradient_growth(lambda z: np.maximum(z, 0.0), lambda z: 1.0 * (z > 0))
    >>> round(growth, 3), round(math.pi / (math.pi - 1), 3)
    (1.467, 1.467)
    """
    # Means over the normal distribution, as sums over the midpoints of small intervals. None is at
    # zero, where ReLU has its kink.
    z = (np.arange(20_000) + 0.5) / 1_000 - 10
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum()

    def mean(values: Array) -> float:
        return float(weights @ values)

    # [eq-growth]
    variance = mean((activation(z) - mean(activation(z))) ** 2)
    growth = mean(slope(z) ** 2) / variance
    return growth


def gradient_growth_linear(m: int) -> float:
    """Give :func:`gradient_growth` without activations, for m samples, :eq:`eq-growth-linear`.

    Raises
    ------
    ValueError
        If m is less than four: the mean that this is does not exist.

    Examples
    --------
    >>> gradient_growth_linear(8)
    1.2
    """
    _check_batch(m)
    # [eq-growth-linear]
    growth = (m - 2) / (m - 3)
    return growth


def gradient_growth_relu(m: int) -> float:
    """Give :func:`gradient_growth` with ReLU, for m samples, :eq:`eq-growth-relu`.

    With m it tends to :func:`gradient_growth`; errors are those of :func:`gradient_growth_linear`.

    Examples
    --------
    >>> [round(gradient_growth_relu(m), 3) for m in (8, 32, 10_000)]
    [1.788, 1.522, 1.467]
    """
    _check_batch(m)
    # [eq-two-rectified]
    theta = math.acos(-1 / (m - 1))
    p = (math.pi - theta) / (2 * math.pi)
    b = (math.sin(theta) + (math.pi - theta) * math.cos(theta)) / (2 * math.pi)

    # [eq-growth-relu]
    growth = m / (m - 3) * (1 / 2 - (1 - p - b) / m) / (1 / 2 - b)
    return growth


def stream_square(blocks: int) -> Array:
    """Give the mean square of a residual stream that each branch is normalized from.

    That is ``x + f(norm(x))``, with a branch that keeps the mean square, :eq:`eq-stream-square`.

    Parameters
    ----------
    blocks : int
        How many.

    Returns
    -------
    ndarray, shape (blocks + 1,)
        Before the first block and behind each, relative to that before the first.

    Examples
    --------
    >>> stream_square(3).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    l = np.arange(blocks + 1)  # noqa: E741
    # [eq-stream-square]
    square = 1.0 + l
    return square


def stream_variance(blocks: int) -> Array:
    """Give the part of :func:`stream_square` that differs between samples, for batch normalization.

    Behind a ReLU a share of 1/pi of the mean square is the same for all samples,
    :eq:`eq-stream-variance`.

    Examples
    --------
    >>> stream_variance(2).round(3).tolist()
    [1.0, 1.682, 2.363]
    """
    l = np.arange(blocks + 1)  # noqa: E741
    # [eq-stream-variance]
    variance = 1 + (1 - 1 / math.pi) * l
    return variance


def stream_gradient(divided: Array) -> Array:
    """Give the squared gradient along a residual stream that each branch is normalized from.

    Parameters
    ----------
    divided : ndarray, shape (blocks + 1,)
        By what the normalization in front of each branch divides the square of the stream:
        :func:`stream_square` for layer normalization, :func:`stream_variance` for batch
        normalization; the last belongs to no branch.

    Returns
    -------
    ndarray, shape (blocks + 1,)
        At the same places, relative to the last, :eq:`eq-stream-gradient`.

    Examples
    --------
    >>> stream_gradient(stream_square(3)).round(3).tolist()
    [4.0, 2.0, 1.333, 1.0]
    """
    # [eq-stream-gradient]
    growth = np.append(np.cumprod((1 + 1 / divided[:-1])[::-1])[::-1], 1.0)
    return growth


def post_norm_growth() -> float:
    """Give the growth of the squared gradient in a block with batch normalization on the stream.

    Examples
    --------
    >>> round(post_norm_growth(), 3)
    1.189
    """
    # [eq-post-growth]
    growth = 2 / (2 - 1 / math.pi)
    return growth


def _check_batch(m: int) -> None:
    if m < 4:
        raise ValueError(f"m is {m}, expected a batch of at least 4")
