"""Layers with an error on purpose: would a check notice, and could one tell which error it is?

``FAULTS`` holds broken variants of :class:`~bn_tutorial.scratch.layers.BatchNorm1D`, each with one
plausible error: a check is worth something once it has caught them. Each says in closed form what
it computes instead of the right values, so that an error can be told by how it deviates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from bn_tutorial.scratch import normalize
from bn_tutorial.scratch.arrays import Array, count, per_channel, pooled_axes
from bn_tutorial.scratch.layer import Cache, Layer
from bn_tutorial.scratch.layers import BatchNorm1D


@dataclass(frozen=True)
class Batch:
    """A batch, and the layer as it was before: all that a fault's prediction may look at.

    Attributes
    ----------
    x, dy : ndarray, shape (N, C) or (N, C, L)
        Input and upstream gradient.
    gamma, beta, running_mean, running_var : ndarray, broadcastable to x
        The layer's own.
    right : dict of str to ndarray
        What PyTorch computes, by quantity.
    """

    training: bool
    x: Array
    dy: Array
    gamma: Array
    beta: Array
    running_mean: Array
    running_var: Array
    eps: float
    momentum: float
    right: Mapping[str, Array]

    @classmethod
    def before(cls, layer: Layer, x: Array, dy: Array, right: Mapping[str, Array]) -> Self:
        """Describe a layer that is about to meet a batch; a TypeError refuses other layers."""
        if not isinstance(layer, BatchNorm1D) or layer.momentum is None:
            raise TypeError(f"expected a BatchNorm1D with a momentum, got {layer!r}")
        gamma, beta, mean, var = (
            per_channel(np.array(getattr(layer, name)), x, name)
            for name in ("gamma", "beta", "running_mean", "running_var")
        )
        eps, momentum = layer.eps, layer.momentum
        return cls(layer.training, x, dy, gamma, beta, mean, var, eps, momentum, right)

    def mean(self, q: Array) -> Array:
        """Average the values of each channel, broadcastable to x."""
        average: Array = q.mean(axis=pooled_axes(q), keepdims=True)
        return average

    @property
    def mu(self) -> Array:
        """The mean of the batch."""
        return self.mean(self.x)

    @property
    def var(self) -> Array:
        """Its biased variance."""
        return self.mean((self.x - self.mu) ** 2)

    def r(self, var: Array) -> Array:
        """Return the reciprocal standard deviation."""
        reciprocal: Array = 1 / np.sqrt(var + self.eps)
        return reciprocal

    def through(self, mean: Array, r: Array, *, coupled: bool) -> dict[str, Array]:
        """Compute y, dx and dgamma with these statistics, which depend on x where ``coupled``."""
        xhat = (self.x - mean) * r
        lost = self.mean(self.dy) + xhat * self.mean(self.dy * xhat) if coupled else 0.0
        return {
            "y": self.gamma * xhat + self.beta,
            "dx": self.gamma * r * (self.dy - lost),
            "dgamma": (self.dy * xhat).sum(axis=pooled_axes(xhat)),
        }

    def tracked(self, mean: Array, var: Array, momentum: float) -> dict[str, Array]:
        """Compute the running statistics after those of this batch, the new weighing momentum."""
        moved = {
            "running_mean": (1 - momentum) * self.running_mean + momentum * mean,
            "running_var": (1 - momentum) * self.running_var + momentum * var,
        }
        return {name: value.ravel() for name, value in moved.items()}


class Fault(BatchNorm1D):
    """A layer with one error, which says what it computes instead of the right values."""

    form: ClassVar[str]  # the error for a reader: what is right, an arrow, what takes its place

    @classmethod
    def predict(cls, batch: Batch) -> dict[str, Array]:
        """Give what this layer computes of a batch, by quantity; the right ones may be missing."""
        return cls._in_training(batch) if batch.training else cls._in_evaluation(batch)

    @classmethod
    def _in_training(cls, batch: Batch) -> dict[str, Array]:
        return dict(batch.right)

    @classmethod
    def _in_evaluation(cls, batch: Batch) -> dict[str, Array]:
        # The layer's own running statistics go in, right or wrong.
        mean, var = batch.running_mean, batch.running_var
        kept = batch.tracked(mean, var, momentum=0.0)
        return kept | batch.through(mean, batch.r(var), coupled=False)


class VarianceTermDropped(Fault):
    """The input gradient forgets that the variance depends on x."""

    form = "dx -> dx + gamma r xhat mean(dy xhat)"

    def _backward_with_batch(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = super()._backward_with_batch(dy, cache)
        along = (dy * cache.xhat).mean(axis=cache.axes, keepdims=True)
        return dx + cache.gamma * cache.r * cache.xhat * along, dgamma, dbeta

    @classmethod
    def _in_training(cls, batch: Batch) -> dict[str, Array]:
        r = batch.r(batch.var)
        xhat = (batch.x - batch.mu) * r
        too_much = batch.gamma * r * xhat * batch.mean(batch.dy * xhat)
        return {"dx": batch.right["dx"] + too_much}


class MeanTermDropped(Fault):
    """The input gradient forgets that the mean depends on x."""

    form = "dx -> dx + gamma r mean(dy)"

    def _backward_with_batch(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = super()._backward_with_batch(dy, cache)
        return dx + cache.gamma * cache.r * dy.mean(axis=cache.axes, keepdims=True), dgamma, dbeta

    @classmethod
    def _in_training(cls, batch: Batch) -> dict[str, Array]:
        too_much = batch.gamma * batch.r(batch.var) * batch.mean(batch.dy)
        return {"dx": batch.right["dx"] + too_much}


class StatisticsDetached(Fault):
    """The input gradient takes the batch statistics for constants."""

    form = "dx -> gamma r dy, in training"

    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = self._functional.batch_norm_eval_backward(dy, cache)
        return dx, dgamma, dbeta

    @classmethod
    def _in_training(cls, batch: Batch) -> dict[str, Array]:
        return batch.through(batch.mu, batch.r(batch.var), coupled=False)


class TrainingGradientInEvaluation(Fault):
    """The input gradient couples the samples although the statistics are constants."""

    form = "dx -> dx - gamma r (mean(dy) + xhat mean(dy xhat)), in evaluation"

    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = self._functional.batch_norm_backward(dy, cache)
        return dx, dgamma, dbeta

    @classmethod
    def _in_evaluation(cls, batch: Batch) -> dict[str, Array]:
        return batch.through(batch.running_mean, batch.r(batch.running_var), coupled=True)


class BiasedRunningVariance(Fault):
    """The running average takes the variance that normalizes, not the unbiased one."""

    form = "var m / (m - 1) -> var, in running_var"

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        self._m = count(x, pooled_axes(x))
        return super()._forward(x, gamma, beta)

    def _track(self, mean: Array, var: Array) -> None:
        super()._track(mean, var * (self._m - 1) / self._m)

    @classmethod
    def _in_training(cls, batch: Batch) -> dict[str, Array]:
        return batch.tracked(batch.mu, batch.var, batch.momentum)


class MomentumSwapped(Fault):
    """Momentum is taken for the weight of the old value."""

    form = "momentum -> 1 - momentum"

    def _track(self, mean: Array, var: Array) -> None:
        momentum = self.momentum
        assert momentum is not None
        self.momentum = 1 - momentum
        super()._track(mean, var)
        self.momentum = momentum

    @classmethod
    def _in_training(cls, batch: Batch) -> dict[str, Array]:
        m = count(batch.x, pooled_axes(batch.x))
        return batch.tracked(batch.mu, batch.var * m / (m - 1), 1 - batch.momentum)


class EpsOutsideTheRoot(Fault):
    """The input is divided by ``sqrt(var) + eps``."""

    form = "r -> 1 / (sqrt(var) + eps)"

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        y, cache = super()._forward(x, gamma, beta)
        r = 1 / (np.sqrt(cache.var) + self.eps)
        xhat = cache.xhat * (r / cache.r)
        kept = normalize.Cache(xhat, r, cache.gamma, cache.axes, cache.mu, cache.var)
        return y + cache.gamma * (xhat - cache.xhat), kept

    @classmethod
    def _in_training(cls, batch: Batch) -> dict[str, Array]:
        return batch.through(batch.mu, 1 / (np.sqrt(batch.var) + batch.eps), coupled=True)

    @classmethod
    def _in_evaluation(cls, batch: Batch) -> dict[str, Array]:
        r = 1 / (np.sqrt(batch.running_var) + batch.eps)
        return batch.through(batch.running_mean, r, coupled=False)


class BatchStatisticsInEvaluation(Fault):
    """Evaluation mode normalizes with the batch, as if it were training."""

    form = "running_mean, running_var -> mu, var, in evaluation"

    def _given(self) -> tuple[Array, Array] | None:
        return None

    @classmethod
    def _in_evaluation(cls, batch: Batch) -> dict[str, Array]:
        return batch.through(batch.mu, batch.r(batch.var), coupled=True)


FAULTS: dict[str, type[Fault]] = {
    "variance term dropped": VarianceTermDropped,
    "mean term dropped": MeanTermDropped,
    "statistics detached": StatisticsDetached,
    "training gradient in evaluation": TrainingGradientInEvaluation,
    "biased running variance": BiasedRunningVariance,
    "momentum swapped": MomentumSwapped,
    "eps outside the root": EpsOutsideTheRoot,
    "batch statistics in evaluation": BatchStatisticsInEvaluation,
}
