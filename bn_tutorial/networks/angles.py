"""What random weights and ReLU do to the angles between samples, and so to their rank.

Averages over the weights, for wide layers; derived on the page on depth.
"""

from __future__ import annotations

import math


def relu_cosine(cosine: float) -> float:
    """Give the cosine between two samples behind a layer with ReLU, :eq:`eq-relu-cosine`.

    Parameters
    ----------
    cosine : float
        Between what the two samples put into the ReLU, over many units with random weights.

    Examples
    --------
    >>> round(relu_cosine(0.0) * math.pi, 6), round(relu_cosine(1.0), 6)
    (1.0, 1.0)
    """
    # [eq-relu-cosine]
    theta = math.acos(cosine)
    after = (math.sin(theta) + (math.pi - theta) * math.cos(theta)) / math.pi
    return after


def stable_rank(cosine: float, m: int) -> float:
    """Give the stable rank of m samples of one length at one angle, :eq:`eq-stable-rank`.

    The sum of the squared singular values over the greatest of them: m where the samples are at
    right angles to each other, 1 where they all point the same way. For a cosine of at least zero.

    Examples
    --------
    >>> stable_rank(0.0, 5), stable_rank(1.0, 5)
    (5.0, 1.0)
    """
    # [eq-stable-rank]
    rank = m / (1 + (m - 1) * cosine)
    return rank
