"""Normalization layers in NumPy: parameters, running statistics and a mode around the equations.

:class:`BatchNorm1D` documents the arguments that layers share; what all of them can do is in
:class:`~bn_tutorial.scratch.layer.Layer`.
"""

from __future__ import annotations

from typing import ClassVar, SupportsIndex

import numpy as np
import numpy.typing as npt

from bn_tutorial.scratch.arguments import Shape, as_eps, as_shape, as_size
from bn_tutorial.scratch.arrays import (
    Array,
    check_floating,
    count,
    hint_at_axis,
    mean_over,
    per_channel,
)
from bn_tutorial.scratch.layer import Cache, Layer
from bn_tutorial.scratch.moments import unbiased
from bn_tutorial.scratch.running_statistics import RunningStatistics

# ---------------------------------------------------------------------------------------------
# Layers that gather statistics in training, and may use them in evaluation
# ---------------------------------------------------------------------------------------------


class _BatchNorm(RunningStatistics):
    classes: ClassVar = {2: "BatchNorm1D", 3: "BatchNorm1D", 4: "BatchNorm2D", 5: "BatchNorm3D"}

    def _given(self) -> tuple[Array, Array] | None:
        return None if self.training else self._running()

    def _forward_with_batch(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        y, cache = self._functional.batch_norm_forward(x, gamma, beta, eps=self.eps)
        if self.training:
            m = count(x, cache.axes)
            # The biased variance normalizes, the unbiased one is remembered: as in the paper.
            self._track(cache.mu.ravel(), unbiased(cache.var.ravel(), m))
        return y, cache

    def _backward_with_batch(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = self._functional.batch_norm_backward(dy, cache)
        return dx, dgamma, dbeta

    def _count_batch(self) -> float:
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
        if self.momentum is not None:
            return self.momentum
        # Without a momentum, the plain average of all batches so far.
        return 1 / self.num_batches_tracked if self.num_batches_tracked else 0.0


class BatchNorm1D(_BatchNorm):
    """Batch normalization of features, (N, C), or of sequences, (N, C, L).

    Parameters
    ----------
    num_features : int
        C, the number of channels.
    eps : float
        Added to the variance, inside the root.
    momentum : float or None
        The weight of the new batch in the running averages; None averages all batches equally.
    affine : bool
        Whether there are a scale and a shift to learn.
    track_running_stats : bool
        Without them, evaluation mode uses the statistics of the batch as well. Set to False later,
        it stops moving the averages; evaluation mode goes on using them.
    bias : bool
        Whether, with ``affine``, there is a shift.
    dtype : dtype
        Of parameters and statistics.
    fused : bool
        Whether the functions of :mod:`bn_tutorial.scratch.fused` compute: see
        :class:`~bn_tutorial.scratch.layer.Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range.

    Notes
    -----
    The batch is normalized with its biased variance; the running average takes the unbiased one
    :cite:p:`ioffe2015batch`.

    Examples
    --------
    >>> bn = BatchNorm1D(1)
    >>> bn(np.array([[1.0], [3.0]])).round(3).tolist()
    [[-1.0], [1.0]]
    >>> bn.running_mean.round(3).tolist(), bn.running_var.round(3).tolist()
    ([0.2], [1.1])
    """

    ndims = (2, 3)
    accepts = "(N, C) or (N, C, L)"


class BatchNorm2D(_BatchNorm):
    """Batch normalization of images, (N, C, H, W): each channel pools batch and space.

    As :class:`BatchNorm1D`.

    Examples
    --------
    >>> BatchNorm2D(3)(np.random.default_rng(0).normal(size=(4, 3, 2, 2))).shape
    (4, 3, 2, 2)
    """

    ndims = (4,)
    accepts = "(N, C, H, W)"


class BatchNorm3D(_BatchNorm):
    """Batch normalization of volumes or videos, (N, C, D, H, W), as :class:`BatchNorm2D`."""

    ndims = (5,)
    accepts = "(N, C, D, H, W)"


class _InstanceNorm(RunningStatistics):
    classes: ClassVar = {3: "InstanceNorm1D", 4: "InstanceNorm2D", 5: "InstanceNorm3D"}

    def __init__(
        self,
        num_features: SupportsIndex,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float64,
        fused: bool = False,
    ) -> None:
        given = num_features, eps, momentum, affine, track_running_stats
        super().__init__(*given, bias=bias, dtype=dtype, fused=fused)

    def _given(self) -> tuple[Array, Array] | None:
        if self.training or not self.track_running_stats:
            return None
        if (running := self._running()) is None:
            raise ValueError(
                "evaluation mode with track_running_stats needs running statistics: "
                "call reset_running_stats and train, or set track_running_stats to False"
            )
        return running

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        check_floating(x)
        if x.ndim != min(self.ndims):
            return super()._forward(x, gamma, beta)
        self._check(x, channels=0)
        y, cache = super()._forward(x[np.newaxis], gamma, beta)
        return y[0], cache

    def _forward_with_batch(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        space = tuple(range(2, x.ndim))
        if (m := count(x, space)) < 2:
            raise ValueError(f"expected more than 1 value per channel, got input of {x.shape}")
        gamma, beta = per_channel(gamma, x, "gamma"), per_channel(beta, x, "beta")
        y, cache = self._normalize.normalize_forward(x, gamma, beta, axes=space, eps=self.eps)
        if self.training and self.track_running_stats:
            mean, var = (mean_over(statistic, 0).ravel() for statistic in (cache.mu, cache.var))
            self._track(mean, unbiased(var, m))
        return y, cache

    def _backward_with_batch(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = self._normalize.normalize_backward(dy, cache)
        return dx, dgamma, dbeta

    def _count_batch(self) -> float:
        # PyTorch's instance normalization does not count batches, so None cannot average them all.
        return self.momentum or 0.0


class InstanceNorm1D(_InstanceNorm):
    """Instance normalization of sequences, (N, C, L) or (C, L), as :class:`InstanceNorm2D`."""

    ndims = (2, 3)
    accepts = "(N, C, L) or (C, L)"


class InstanceNorm2D(_InstanceNorm):
    """Instance normalization, (N, C, H, W) or (C, H, W): each sample and channel pools its space.

    Group normalization with one channel in each group :cite:p:`ulyanov2016instance`. The arguments
    are those of :class:`BatchNorm1D`; by default there are neither scale and shift nor running
    statistics, which average those of all samples. ``momentum=None`` is zero here. Only one value
    for each channel is refused.

    Notes
    -----
    All this is as in PyTorch, except for ``track_running_stats`` set to False later: there the
    statistics move all the same, even in evaluation mode.

    Examples
    --------
    >>> InstanceNorm2D(3)(np.random.default_rng(0).normal(size=(4, 3, 2, 2))).shape
    (4, 3, 2, 2)
    """

    ndims = (3, 4)
    accepts = "(N, C, H, W) or (C, H, W)"


class InstanceNorm3D(_InstanceNorm):
    """Instance normalization of volumes, (N, C, D, H, W) or (C, D, H, W).

    As :class:`InstanceNorm2D`.
    """

    ndims = (4, 5)
    accepts = "(N, C, D, H, W) or (C, D, H, W)"


# ---------------------------------------------------------------------------------------------
# Layers whose statistics stay within a sample: no mode, no running averages
# ---------------------------------------------------------------------------------------------


class _LastAxes(Layer):
    """A layer that pools the last axes of its input, those of its parameters."""

    def __init__(
        self,
        normalized_shape: Shape,
        elementwise_affine: bool,
        bias: bool,
        dtype: npt.DTypeLike,
        fused: bool,
    ) -> None:
        self.normalized_shape = as_shape(normalized_shape, "normalized_shape")
        self.elementwise_affine = elementwise_affine
        shape, affine = self.normalized_shape, elementwise_affine
        super().__init__(shape, affine=affine, bias=bias, dtype=dtype, fused=fused)

    def _axes(self, x: Array) -> tuple[int, ...]:
        """Return the axes to pool, after checking that they have the shape of the parameters."""
        check_floating(x)
        shape = self.normalized_shape
        first = x.ndim - len(shape)
        if first < 0 or x.shape[first:] != shape:
            hint = hint_at_axis(x.shape, shape[0], -1) if len(shape) == 1 else ""
            raise ValueError(f"expected an input whose last axes are {shape}, got {x.shape}{hint}")
        return tuple(range(first, x.ndim))

    @staticmethod
    def _broadcast(parameter: Array, x: Array) -> Array:
        return parameter.reshape((1,) * (x.ndim - parameter.ndim) + parameter.shape)


class LayerNorm(_LastAxes):
    """Layer normalization: each sample pools its own last axes :cite:p:`ba2016layer`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The last axes of the input, which are pooled; gamma and beta have this shape.
    eps, elementwise_affine, bias, dtype, fused
        As ``eps``, ``affine``, ``bias``, ``dtype``, ``fused`` of :class:`BatchNorm1D`.

    Examples
    --------
    >>> LayerNorm(2)(np.array([[1.0, 3.0], [10.0, 30.0]])).round(3).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    def __init__(
        self,
        normalized_shape: Shape,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        *,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float64,
        fused: bool = False,
    ) -> None:
        super().__init__(normalized_shape, elementwise_affine, bias, dtype, fused)
        self.eps = as_eps(eps)

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        axes = self._axes(x)
        gamma, beta = self._broadcast(gamma, x), self._broadcast(beta, x)
        y, cache = self._normalize.normalize_forward(x, gamma, beta, axes=axes, eps=self.eps)
        return y, cache

    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = self._normalize.normalize_backward(dy, cache)
        return dx, dgamma, dbeta


class RMSNorm(_LastAxes):
    """Root mean square normalization: Layer normalization without the mean and without a shift.

    Parameters
    ----------
    normalized_shape, elementwise_affine, dtype, fused
        As for :class:`LayerNorm`.
    eps : float or None
        Added to the mean square, inside the root; None takes the machine epsilon of the input's
        dtype, as PyTorch does.

    References
    ----------
    Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.

    Examples
    --------
    >>> RMSNorm(2)(np.array([[3.0, 4.0]])).round(3).tolist()
    [[0.849, 1.131]]
    """

    def __init__(
        self,
        normalized_shape: Shape,
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: npt.DTypeLike = np.float64,
        fused: bool = False,
    ) -> None:
        super().__init__(normalized_shape, elementwise_affine, False, dtype, fused)
        self.eps = None if eps is None else as_eps(eps)

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        del beta  # there is none
        axes = self._axes(x)
        eps = float(np.finfo(x.dtype).eps) if self.eps is None else self.eps
        gamma = self._broadcast(gamma, x)
        y, cache = self._normalize.rms_forward(x, gamma, axes=axes, eps=eps)
        return y, cache

    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma = self._normalize.rms_backward(dy, cache)
        return dx, dgamma, np.zeros(self.normalized_shape)


class GroupNorm(Layer):
    """Group normalization: each sample pools space and a group of channels :cite:p:`wu2018group`.

    Parameters
    ----------
    num_groups : int
        G, into how many groups the channels are divided.
    num_channels : int
        C, a multiple of G; each *channel* has a scale and a shift.
    eps, affine, bias, dtype, fused
        As for :class:`BatchNorm1D`.

    Examples
    --------
    >>> GroupNorm(2, 4)(np.random.default_rng(0).normal(size=(5, 4, 3, 3))).shape
    (5, 4, 3, 3)
    """

    def __init__(
        self,
        num_groups: SupportsIndex,
        num_channels: SupportsIndex,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float64,
        fused: bool = False,
    ) -> None:
        self.num_groups = as_size(num_groups, "num_groups")
        self.num_channels = as_size(num_channels, "num_channels")
        if self.num_channels % self.num_groups:
            raise ValueError(f"cannot divide {num_channels} channels into {num_groups} groups")
        shape = (self.num_channels,)
        super().__init__(shape, affine=affine, bias=bias, dtype=dtype, fused=fused)
        self.eps = as_eps(eps)
        self.affine = affine

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        check_floating(x)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(
                f"expected shape (N, {self.num_channels}, ...), got {x.shape}: the channels are "
                f"axis 1{hint_at_axis(x.shape, self.num_channels, 1)}"
            )
        space = x.shape[2:]
        channels = (self.num_groups, self.num_channels // self.num_groups)
        broadcast = (1, *channels) + (1,) * len(space)
        y, cache = self._normalize.normalize_forward(
            x.reshape(x.shape[0], *channels, *space),
            gamma.reshape(broadcast),
            beta.reshape(broadcast),
            axes=range(2, 3 + len(space)),
            eps=self.eps,
        )
        return y.reshape(x.shape), cache

    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = self._normalize.normalize_backward(dy, cache)
        return dx, dgamma, dbeta
