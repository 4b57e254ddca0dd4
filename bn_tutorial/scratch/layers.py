"""Normalization layers in NumPy: parameters, running statistics and a mode around the equations.

Constructor arguments, defaults, state and errors are those of the PyTorch layer of the same name;
``state_dict`` and ``load_state_dict`` exchange with it, key by key. The parameters are called
``gamma`` and ``beta`` as in the equations, their gradients ``dgamma`` and ``dbeta``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bn_tutorial.scratch import functional
from bn_tutorial.scratch.arrays import Array, check_floating, check_upstream, count
from bn_tutorial.scratch.functional import Cache
from bn_tutorial.scratch.moments import running_average, unbiased

# PyTorch's name of each of our arrays, in the order in which its state_dict lists them.
TORCH_NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "running_mean": "running_mean",
    "running_var": "running_var",
    "num_batches_tracked": "num_batches_tracked",
}


class Layer(ABC):
    """What every normalization layer has: scale and shift, a mode, and state to exchange.

    Parameters
    ----------
    shape : tuple of int
        The shape of gamma and beta.
    eps : float
        Added to the variance, inside the root.
    affine : bool
        Whether there are a scale and a shift to learn.
    dtype : dtype
        Of parameters and statistics. The output has the dtype of the *input*, whatever this is.

    Attributes
    ----------
    gamma, beta : ndarray or None
        Scale and shift; None without ``affine``.
    dgamma, dbeta : ndarray or None
        Their gradients, after :meth:`backward`.
    training : bool
        The mode.
    """

    gamma: Array | None = None
    beta: Array | None = None
    dgamma: Array | None = None
    dbeta: Array | None = None
    training: bool = True
    has_shift: ClassVar[bool] = True

    def __init__(
        self, shape: tuple[int, ...], eps: float, affine: bool, dtype: npt.DTypeLike
    ) -> None:
        if min(shape, default=0) < 1:
            raise ValueError(f"expected positive sizes, got {shape}")
        if not eps >= 0:
            raise ValueError(f"expected eps >= 0, got {eps}")
        self._shape = shape
        self.eps = eps
        self._dtype = np.dtype(dtype)
        self._cache: Cache | None = None
        self._y_shape: tuple[int, ...] = ()
        if affine:
            self.gamma = np.ones(shape, self._dtype)
            self.beta = np.zeros(shape, self._dtype) if self.has_shift else None

    @abstractmethod
    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        """Compute the output and what backward needs."""

    @abstractmethod
    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        """Compute dx, dgamma and dbeta."""

    def forward(self, x: Array) -> Array:
        """Normalize, scale and shift.

        Parameters
        ----------
        x : ndarray, float32 or float64
            The input, of a shape that the class names.

        Returns
        -------
        ndarray, shape and dtype of x
            The output.

        Raises
        ------
        TypeError
            If x is neither float32 nor float64.
        ValueError
            If its shape does not fit the layer.
        """
        gamma = self.gamma if self.gamma is not None else np.ones(self._shape, self._dtype)
        beta = self.beta if self.beta is not None else np.zeros(self._shape, self._dtype)
        y, self._cache = self._forward(x, gamma, beta)
        self._y_shape = y.shape
        return y

    __call__ = forward

    def backward(self, dy: Array) -> Array:
        """Give the gradient with respect to the last input; keep those of gamma and beta.

        It follows the mode of the last :meth:`forward`: with batch statistics every sample reaches
        every other, with running statistics none does.

        Parameters
        ----------
        dy : ndarray, shape of the output
            Gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, shape of dy
            Gradient of the loss with respect to the input.

        Raises
        ------
        RuntimeError
            If there was no forward pass.
        ValueError
            If dy has not the shape of the output.
        """
        if self._cache is None:
            raise RuntimeError("backward needs a forward pass first")
        check_upstream(dy, self._y_shape)
        dx, dgamma, dbeta = self._backward(dy, self._cache)
        self.dgamma = dgamma if self.gamma is not None else None
        self.dbeta = dbeta if self.beta is not None else None
        return dx

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, or with ``mode=False`` to evaluation mode; return the layer."""
        self.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode; return the layer."""
        return self.train(False)

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copy parameters and statistics, under PyTorch's names.

        Returns
        -------
        dict of str to ndarray
            ``weight``, ``bias``, ``running_mean``, ``running_var``, ``num_batches_tracked``,
            those that the layer has.
        """
        return {
            key: np.array(value)
            for name, key in TORCH_NAMES.items()
            if (value := getattr(self, name, None)) is not None
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over parameters and statistics, ours or those of the PyTorch layer.

        Parameters
        ----------
        state : mapping of str to array
            With exactly the keys of :meth:`state_dict`; NumPy arrays or CPU tensors.

        Raises
        ------
        ValueError
            If keys are missing or unexpected, or a shape differs.
        """
        own = self.state_dict()
        if state.keys() != own.keys():
            raise ValueError(
                f"expected the keys {sorted(own)}, missing {sorted(own.keys() - state.keys())}, "
                f"unexpected {sorted(state.keys() - own.keys())}"
            )
        for name, key in TORCH_NAMES.items():
            if key not in own:
                continue
            value = np.asarray(state[key]).astype(own[key].dtype)
            if value.shape != own[key].shape:
                raise ValueError(f"{key} has shape {value.shape}, expected {own[key].shape}")
            setattr(self, name, value if value.ndim else int(value))

    def _arguments(self) -> str:
        """Write the constructor's arguments as they differ between layers of one class."""
        return f"{', '.join(map(str, self._shape))}, eps={self.eps}"

    def __repr__(self) -> str:
        """Show the layer as it would be built."""
        affine = "" if self.gamma is not None else ", affine=False"
        mode = "training" if self.training else "evaluation"
        return f"{type(self).__name__}({self._arguments()}{affine})  # {mode} mode"


class _RunningStatistics(Layer):
    """A layer that gathers statistics in training and may use them in evaluation."""

    ndims: ClassVar[tuple[int, ...]]
    accepts: ClassVar[str]
    _frozen = False  # whether the last forward pass took its statistics as given

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        super().__init__((num_features,), eps, affine, dtype)
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(f"expected momentum in [0, 1] or None, got {momentum}")
        self.num_features = num_features
        self.momentum = momentum
        self.track_running_stats = track_running_stats
        self.running_mean: Array | None = None
        self.running_var: Array | None = None
        self.num_batches_tracked: int | None = None
        self.reset_running_stats()

    def reset_running_stats(self) -> None:
        """Forget what was gathered: mean zero, variance one, no batch seen."""
        if self.track_running_stats:
            self.running_mean = np.zeros(self.num_features, self._dtype)
            self.running_var = np.ones(self.num_features, self._dtype)
            self.num_batches_tracked = 0

    def _check(self, x: Array) -> None:
        check_floating(x)
        if x.ndim not in self.ndims or x.shape[1] != self.num_features:
            raise ValueError(
                f"expected shape {self.accepts} with C = {self.num_features}, got {x.shape}"
            )

    @abstractmethod
    def _forward_with_batch(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        """Normalize with the statistics of this batch; in training, remember them."""

    @abstractmethod
    def _backward_with_batch(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        """Go back through the statistics of the batch as well."""

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        self._check(x)
        if self.training or self.running_mean is None or self.running_var is None:
            self._frozen = False
            return self._forward_with_batch(x, gamma, beta)
        self._frozen = True
        return functional.batch_norm_eval_forward(
            x, gamma, beta, self.running_mean, self.running_var, eps=self.eps
        )

    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        if self._frozen:
            return functional.batch_norm_eval_backward(dy, cache)
        return self._backward_with_batch(dy, cache)

    def _track(self, mean: Array, var: Array) -> None:
        """Move the running averages towards the statistics of this batch."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        # Without a momentum, the plain average of all batches so far.
        momentum = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean = running_average(self.running_mean, mean, momentum)
        self.running_var = running_average(self.running_var, var, momentum)

    def _arguments(self) -> str:
        return (
            f"{super()._arguments()}, momentum={self.momentum}"
            f"{'' if self.track_running_stats else ', track_running_stats=False'}"
        )


class _BatchNorm(_RunningStatistics):
    def _forward_with_batch(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        y, cache = functional.batch_norm_forward(x, gamma, beta, eps=self.eps)
        if self.training:
            m = count(x, cache.axes)
            # The biased variance normalizes, the unbiased one is remembered: as in the paper.
            self._track(cache.mu.ravel(), unbiased(cache.var.ravel(), m))
        return y, cache

    def _backward_with_batch(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        return functional.batch_norm_backward(dy, cache)


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
        Without them, evaluation mode uses the statistics of the batch as well.
    dtype : dtype
        Of parameters and statistics.

    Raises
    ------
    ValueError
        If an argument is out of its range.

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
        Without them, evaluation mode uses the statistics of the batch as well.
    dtype : dtype
        Of parameters and statistics.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> BatchNorm2D(3)(np.random.default_rng(0).normal(size=(4, 3, 2, 2))).shape
    (4, 3, 2, 2)
    """

    ndims = (4,)
    accepts = "(N, C, H, W)"


class _PerSample(Layer):
    """A layer whose statistics stay within a sample: no mode, no running averages."""

    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = functional.normalize_backward(dy.reshape(cache.xhat.shape), cache)
        return dx.reshape(dy.shape), dgamma.reshape(self._shape), dbeta.reshape(self._shape)


class LayerNorm(_PerSample):
    """Layer normalization: each sample pools its own last axes :cite:p:`ba2016layer`.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        The last axes of the input, which are pooled; gamma and beta have this shape.
    eps : float
        Added to the variance, inside the root.
    elementwise_affine : bool
        Whether there are a scale and a shift to learn.
    dtype : dtype
        Of the parameters.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> LayerNorm(2)(np.array([[1.0, 3.0], [10.0, 30.0]])).round(3).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        *,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        super().__init__(as_shape(normalized_shape), eps, elementwise_affine, dtype)

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        axes = check_last_axes(x, self._shape)
        gamma, beta = broadcast_last(gamma, x), broadcast_last(beta, x)
        return functional.normalize_forward(x, gamma, beta, axes=axes, eps=self.eps)


class RMSNorm(Layer):
    """Root mean square normalization: Layer normalization without the mean and without a shift.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        The last axes of the input, which are pooled; gamma has this shape.
    eps : float or None
        Added to the mean square, inside the root; None takes the machine epsilon of the input's
        dtype, as PyTorch does.
    elementwise_affine : bool
        Whether there is a scale to learn.
    dtype : dtype
        Of the parameters.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    References
    ----------
    Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.

    Examples
    --------
    >>> RMSNorm(2)(np.array([[3.0, 4.0]])).round(3).tolist()
    [[0.849, 1.131]]
    """

    has_shift = False

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        super().__init__(
            as_shape(normalized_shape), 0.0 if eps is None else eps, elementwise_affine, dtype
        )
        self._eps_of_dtype = eps is None

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        del beta  # there is none
        axes = check_last_axes(x, self._shape)
        eps = float(np.finfo(x.dtype).eps) if self._eps_of_dtype else self.eps
        return functional.rms_forward(x, broadcast_last(gamma, x), axes=axes, eps=eps)

    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma = functional.rms_backward(dy, cache)
        return dx, dgamma.reshape(self._shape), np.zeros(self._shape)

    def _arguments(self) -> str:
        return super()._arguments() if not self._eps_of_dtype else ", ".join(map(str, self._shape))


class GroupNorm(_PerSample):
    """Group normalization: each sample pools space and a group of channels :cite:p:`wu2018group`.

    Parameters
    ----------
    num_groups : int
        G, into how many groups the channels are divided.
    num_channels : int
        C, a multiple of G.
    eps : float
        Added to the variance, inside the root.
    affine : bool
        Whether each *channel* has a scale and a shift to learn.
    dtype : dtype
        Of the parameters.

    Raises
    ------
    ValueError
        If the channels do not divide into the groups, or an argument is out of its range.

    Examples
    --------
    >>> GroupNorm(2, 4)(np.random.default_rng(0).normal(size=(5, 4, 3, 3))).shape
    (5, 4, 3, 3)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        super().__init__((num_channels,), eps, affine, dtype)
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"cannot divide {num_channels} channels into {num_groups} groups")
        self.num_groups = num_groups
        self.num_channels = num_channels

    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        check_floating(x)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(f"expected shape (N, {self.num_channels}, ...), got {x.shape}")
        space = x.shape[2:]
        channels = (self.num_groups, self.num_channels // self.num_groups)
        broadcast = (1, *channels) + (1,) * len(space)
        y, cache = functional.normalize_forward(
            x.reshape(x.shape[0], *channels, *space),
            gamma.reshape(broadcast),
            beta.reshape(broadcast),
            axes=tuple(range(2, 3 + len(space))),
            eps=self.eps,
        )
        return y.reshape(x.shape), cache

    def _arguments(self) -> str:
        return f"{self.num_groups}, {super()._arguments()}"


class InstanceNorm2D(_RunningStatistics):
    """Instance normalization: each sample and channel pools its own space.

    Group normalization with one channel in each group :cite:p:`ulyanov2016instance`.

    Parameters
    ----------
    num_features : int
        C, the number of channels.
    eps : float
        Added to the variance, inside the root.
    momentum : float or None
        The weight of the new batch in the running averages, if there are any; None, as in PyTorch,
        is zero here.
    affine : bool
        Whether there are a scale and a shift to learn; by default not, as in PyTorch.
    track_running_stats : bool
        Whether to average the statistics of all samples, for evaluation mode; by default not.
    dtype : dtype
        Of parameters and statistics.

    Raises
    ------
    ValueError
        If an argument is out of its range, or if there is only one value for each channel.

    Examples
    --------
    >>> InstanceNorm2D(3)(np.random.default_rng(0).normal(size=(4, 3, 2, 2))).shape
    (4, 3, 2, 2)
    """

    ndims = (4,)
    accepts = "(N, C, H, W)"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype=dtype)

    def _forward_with_batch(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        if (m := count(x, (2, 3))) < 2:
            raise ValueError(f"expected more than 1 value per channel, got input of {x.shape}")
        gamma, beta = gamma.reshape(1, -1, 1, 1), beta.reshape(1, -1, 1, 1)
        y, cache = functional.normalize_forward(x, gamma, beta, axes=(2, 3), eps=self.eps)
        if self.training:
            var = unbiased(cache.var, m).mean(axis=(0, 2, 3))
            self._track(cache.mu.mean(axis=(0, 2, 3)), var)
        return y, cache

    def _backward_with_batch(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = functional.normalize_backward(dy, cache)
        return dx, dgamma.ravel(), dbeta.ravel()

    def _track(self, mean: Array, var: Array) -> None:
        # PyTorch's instance normalization does not count batches, so None cannot average them all.
        if self.running_mean is not None and self.running_var is not None:
            momentum = self.momentum or 0.0
            self.running_mean = running_average(self.running_mean, mean, momentum)
            self.running_var = running_average(self.running_var, var, momentum)


def as_shape(normalized_shape: int | tuple[int, ...]) -> tuple[int, ...]:
    """Take one size for a shape of one axis, as PyTorch does."""
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


def check_last_axes(x: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes to pool, the last ones of x, after checking that they have this shape.

    Raises
    ------
    TypeError
        If x is neither float32 nor float64.
    ValueError
        If the last axes have another shape, or there is no axis before them.
    """
    check_floating(x)
    first = x.ndim - len(shape)
    if first < 1 or x.shape[first:] != shape:
        raise ValueError(
            f"expected an input whose last axes are {shape}, after at least one more, got {x.shape}"
        )
    return tuple(range(first, x.ndim))


def broadcast_last(parameter: Array, x: Array) -> Array:
    """Reshape a parameter of the last axes' shape so that it broadcasts over x."""
    return parameter.reshape((1,) * (x.ndim - parameter.ndim) + parameter.shape)
