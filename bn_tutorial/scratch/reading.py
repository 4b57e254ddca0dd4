"""Batch normalization in twenty lines, to be read: nothing is checked, nothing is saved.

Each line is one step of the derivations; the sum over the batch is ``sum(axis=0)``. The layers of
this package compute the same, for images too, and say what is wrong with an input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]


class BatchNorm:
    """Batch normalization of features, (N, C): forward and backward, in both modes.

    Examples
    --------
    >>> bn = BatchNorm(1)
    >>> bn.forward(np.array([[1.0], [3.0]]), training=True).round(3).tolist()
    [[-1.0], [1.0]]
    >>> bn.running_mean.round(3).tolist(), bn.running_var.round(3).tolist()
    ([0.2], [1.1])
    """

    def __init__(self, features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.gamma, self.beta = np.ones(features), np.zeros(features)
        self.running_mean, self.running_var = np.zeros(features), np.ones(features)
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Array, *, training: bool) -> Array:
        """Normalize each feature; in training, remember the statistics of the batch."""
        if training:
            m, new = len(x), self.momentum
            mu, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = (1 - new) * self.running_mean + new * mu
            # The variance that is remembered is divided by m - 1, the one that normalizes by m.
            self.running_var = (1 - new) * self.running_var + new * var * m / (m - 1)
        else:
            mu, var = self.running_mean, self.running_var
        self.training = training
        self.r = 1 / np.sqrt(var + self.eps)
        self.xhat = (x - mu) * self.r
        y: Array = self.gamma * self.xhat + self.beta
        return y

    def backward(self, dy: Array) -> Array:
        """Give the gradient of the input, from that of the output; keep dgamma and dbeta."""
        self.dgamma = (dy * self.xhat).sum(axis=0)
        self.dbeta = dy.sum(axis=0)
        if self.training:
            # What every sample does to the mean and to the variance of its batch.
            dy = dy - (self.dbeta + self.xhat * self.dgamma) / len(dy)
        dx: Array = self.gamma * self.r * dy
        return dx
