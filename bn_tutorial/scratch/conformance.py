"""How far are our layers from PyTorch's, and would we notice if they were wrong?

:func:`differences` runs a layer and its PyTorch namesake side by side, in both modes.
``FAULTS`` holds broken variants of :class:`~bn_tutorial.scratch.layers.BatchNorm1D`, each with one
plausible error: a check is worth something once it has caught them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from bn_tutorial.scratch import functional
from bn_tutorial.scratch.arrays import Array
from bn_tutorial.scratch.functional import Cache
from bn_tutorial.scratch.gradcheck import compare
from bn_tutorial.scratch.layers import BatchNorm1D, Layer

MODES = ("training", "evaluation")


def differences(
    ours: Layer, theirs: nn.Module, shape: tuple[int, ...], *, batches: int = 3, seed: int = 0
) -> dict[tuple[str, str], float]:
    """Run both layers on the same random batches and compare all that they compute.

    Scale, shift and the upstream gradients are random: with gamma one, beta zero or an upstream
    gradient of ones, many an error gives the right number.

    Parameters
    ----------
    ours : Layer
        Our layer.
    theirs : torch.nn.Module
        PyTorch's, with the same arguments; its dtype is that of the comparison.
        Both are given new parameters, and leave in evaluation mode.
    shape : tuple of int
        Of a batch.
    batches : int
        How many training batches come before the one in evaluation mode.
    seed : int
        Of the random numbers.

    Returns
    -------
    dict
        From (mode, quantity) to the greatest absolute difference of an element, over the greatest
        absolute value of PyTorch's (over one if that is smaller). The quantities are ``y``,
        ``dx``, ``dgamma``, ``dbeta``, ``running_mean`` and ``running_var``, as far as they exist.
    """
    rng = np.random.default_rng(seed)
    theirs = theirs.train()
    ours.train()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(0.5, 1.0, tuple(parameter.shape))))
    ours.load_state_dict(theirs.state_dict())
    state = theirs.state_dict().values()
    dtype = next((t.dtype for t in state if t.is_floating_point()), torch.float64)

    found: dict[tuple[str, str], float] = {}
    for mode in ["training"] * batches + ["evaluation"]:
        theirs.train(mode == "training")
        ours.train(mode == "training")
        x = torch.from_numpy(rng.normal(3.0, 5.0, shape)).to(dtype).requires_grad_()
        dy = torch.from_numpy(rng.normal(0.0, 1.0, shape)).to(dtype)
        theirs.zero_grad()
        y = theirs(x)
        y.backward(dy)
        pairs: dict[str, tuple[Any, Any]] = {
            "y": (ours.forward(x.detach().numpy()), y),
            "dx": (ours.backward(dy.numpy()), x.grad),
            "dgamma": (ours.dgamma, getattr(theirs.weight, "grad", None)),
            "dbeta": (ours.dbeta, getattr(getattr(theirs, "bias", None), "grad", None)),
        }
        for name in ("running_mean", "running_var"):
            pairs[name] = getattr(ours, name, None), getattr(theirs, name, None)
        for quantity, (mine, reference) in pairs.items():
            if reference is not None:
                difference = relative_difference(mine, reference.detach().numpy())
                found[mode, quantity] = max(difference, found.get((mode, quantity), 0.0))
    return found


def relative_difference(mine: Array | None, reference: Array) -> float:
    """Return the greatest difference of an element, relative to the greatest reference value.

    Infinity where there is nothing to compare, or not a number.
    """
    if mine is None or mine.shape != reference.shape:
        return np.inf
    difference = compare(mine, reference).error
    return difference if np.isfinite(difference) else np.inf


class VarianceTermDropped(BatchNorm1D):
    """The input gradient forgets that the variance depends on x."""

    def _backward_with_batch(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = super()._backward_with_batch(dy, cache)
        return dx + cache.gamma * cache.r * cache.xhat * dgamma / len(dy), dgamma, dbeta


class MeanTermDropped(BatchNorm1D):
    """The input gradient forgets that the mean depends on x."""

    def _backward_with_batch(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = super()._backward_with_batch(dy, cache)
        return dx + cache.gamma * cache.r * dbeta / len(dy), dgamma, dbeta


class StatisticsDetached(BatchNorm1D):
    """The input gradient takes the batch statistics for constants."""

    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        return functional.batch_norm_eval_backward(dy, cache)


class TrainingGradientInEvaluation(BatchNorm1D):
    """The input gradient couples the samples although the statistics are constants."""

    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        return functional.batch_norm_backward(dy, cache)


class BiasedRunningVariance(BatchNorm1D):
    """The running average takes the variance that normalizes, not the unbiased one."""

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        self._m = len(x)
        return super()._forward(x, gamma, beta)

    def _track(self, mean: Array, var: Array) -> None:
        super()._track(mean, var * (self._m - 1) / self._m)


class MomentumSwapped(BatchNorm1D):
    """Momentum is taken for the weight of the old value."""

    def _track(self, mean: Array, var: Array) -> None:
        momentum = self.momentum
        assert momentum is not None
        self.momentum = 1 - momentum
        super()._track(mean, var)
        self.momentum = momentum


class EpsOutsideTheRoot(BatchNorm1D):
    """The input is divided by ``sqrt(var) + eps``."""

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        _, cache = super()._forward(x, gamma, beta)
        r = 1 / (np.sqrt(cache.var) + self.eps)
        xhat = cache.xhat * (r / cache.r)
        return gamma * xhat + beta, cache._replace(xhat=xhat, r=r)


class BatchStatisticsInEvaluation(BatchNorm1D):
    """Evaluation mode normalizes with the batch, as if it were training."""

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        self._frozen = False
        return self._forward_with_batch(x, gamma, beta)


FAULTS: dict[str, type[BatchNorm1D]] = {
    "variance term dropped": VarianceTermDropped,
    "mean term dropped": MeanTermDropped,
    "statistics detached": StatisticsDetached,
    "training gradient in evaluation": TrainingGradientInEvaluation,
    "biased running variance": BiasedRunningVariance,
    "momentum swapped": MomentumSwapped,
    "eps outside the root": EpsOutsideTheRoot,
    "batch statistics in evaluation": BatchStatisticsInEvaluation,
}
