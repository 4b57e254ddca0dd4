"""What a layer that gathers statistics in training, and may use them in evaluation, does with them.

As in PyTorch, the flag ``track_running_stats`` and the statistics themselves decide together, so
either may be changed later.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, SupportsIndex

import numpy as np
import numpy.typing as npt

from bn_tutorial.scratch.arguments import as_eps, as_momentum, as_size
from bn_tutorial.scratch.arrays import Array, check_floating, hint_at_axis
from bn_tutorial.scratch.layer import Cache, Layer
from bn_tutorial.scratch.moments import running_average


class RunningStatistics(Layer):
    """The base of batch and instance normalization; ``BatchNorm1D`` documents its arguments."""

    ndims: ClassVar[tuple[int, ...]]
    accepts: ClassVar[str]
    classes: ClassVar[dict[int, str]]  # by the number of axes of a batch, for the hint
    _frozen = False  # whether the last forward pass took its statistics as given

    def __init__(
        self,
        num_features: SupportsIndex,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float64,
        fused: bool = False,
    ) -> None:
        self.num_features = as_size(num_features, "num_features")
        shape = (self.num_features,)
        super().__init__(shape, affine=affine, bias=bias, dtype=dtype, fused=fused)
        self.eps = as_eps(eps)
        self.momentum = None if momentum is None else as_momentum(momentum)
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.running_mean: Array | None = None
        self.running_var: Array | None = None
        self.num_batches_tracked: int | None = None
        self.reset_running_stats()

    def reset_running_stats(self) -> None:
        """Forget what was gathered: mean zero, variance one, no batch seen."""
        if self.track_running_stats:
            self.running_mean = np.zeros(self.num_features, self.dtype)
            self.running_var = np.ones(self.num_features, self.dtype)
            self.num_batches_tracked = 0

    @abstractmethod
    def _given(self) -> tuple[Array, Array] | None:
        """Return the statistics to normalize with, or None for those of the input."""

    @abstractmethod
    def _forward_with_batch(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        """Normalize with the statistics of this batch; in training, remember them."""

    @abstractmethod
    def _backward_with_batch(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        """Go back through the statistics of the batch as well."""

    def _check(self, x: Array, channels: int = 1) -> None:
        """Refuse an input of another shape; its axis ``channels`` holds the channels."""
        check_floating(x)
        expected = f"expected shape {self.accepts} with C = {self.num_features}, got {x.shape}"
        if x.ndim not in self.ndims:
            fitting = self.classes.get(x.ndim)
            raise ValueError(expected + (f": {fitting} takes it" if fitting else ""))
        if x.shape[channels] != self.num_features:
            raise ValueError(
                f"{expected}: the channels are axis {channels}"
                f"{hint_at_axis(x.shape, self.num_features, channels)}"
            )

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        self._check(x)
        given = self._given()
        self._frozen = given is not None
        if given is None:
            return self._forward_with_batch(x, gamma, beta)
        y, cache = self._functional.batch_norm_eval_forward(x, gamma, beta, *given, eps=self.eps)
        return y, cache

    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        if self._frozen:
            dx, dgamma, dbeta = self._functional.batch_norm_eval_backward(dy, cache)
            return dx, dgamma, dbeta
        return self._backward_with_batch(dy, cache)

    def _running(self) -> tuple[Array, Array] | None:
        """Return the running statistics, or None; one without the other is refused."""
        if self.running_mean is not None and self.running_var is not None:
            return self.running_mean, self.running_var
        if self.running_mean is not None or self.running_var is not None:
            raise ValueError("expected running_mean and running_var to be both arrays or both None")
        return None

    def _track(self, mean: Array, var: Array) -> None:
        """Move the running averages towards the statistics of this batch."""
        if not self.track_running_stats:
            return
        running, weight = self._running(), self._count_batch()
        if running is not None:
            self.running_mean, self.running_var = (
                running_average(old, new.astype(old.dtype), weight)
                for old, new in zip(running, (mean, var), strict=True)
            )

    @abstractmethod
    def _count_batch(self) -> float:
        """Count this batch, where batches are counted; return its weight in the averages."""
