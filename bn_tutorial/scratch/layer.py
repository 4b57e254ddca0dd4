"""What every normalization layer has: scale and shift, a mode, and state to exchange.

Constructor arguments, defaults, state and errors are those of PyTorch's layer: ``BatchNorm1D`` here
is ``BatchNorm1d`` there. ``state_dict`` and ``load_state_dict`` exchange with it, key by key. The
parameters are called ``gamma`` and ``beta`` as in the equations, their gradients ``dgamma`` and
``dbeta``.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bn_tutorial.scratch import functional, fused, normalize
from bn_tutorial.scratch.arrays import Array, check_upstream

Cache = normalize.Cache | fused.Cache

# PyTorch's name of each of our arrays, in the order in which its state_dict lists them.
TORCH_NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "running_mean": "running_mean",
    "running_var": "running_var",
    "num_batches_tracked": "num_batches_tracked",
}


class Layer(ABC):
    """The base of all layers.

    Parameters
    ----------
    shape : tuple of int
        Of gamma and beta.
    affine, bias : bool
        Whether there is a scale to learn, and with it a shift.
    dtype : dtype
        Of parameters and statistics, float32 or float64. The output has the dtype of the *input*.
    fused : bool
        Whether :mod:`bn_tutorial.scratch.fused` computes, which needs Numba: faster, and the same
        to rounding. Leave the input as it is until the backward pass, which reads it again.

    Attributes
    ----------
    gamma, beta, dgamma, dbeta : ndarray or None
        Scale and shift, where there are any; after :meth:`backward` their gradients.
    training : bool
        The mode.
    """

    gamma: Array | None = None
    beta: Array | None = None
    dgamma: Array | None = None
    dbeta: Array | None = None
    training: bool = True
    _y_shape: tuple[int, ...]  # of the last output

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        affine: bool,
        bias: bool,
        dtype: npt.DTypeLike,
        fused: bool,
    ) -> None:
        self._shape = shape
        self.fused = fused
        self.bias = bias
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"expected dtype float32 or float64, got {self.dtype}")
        self._cache: Cache | None = None
        if affine:
            self.gamma = np.ones(shape, self.dtype)
            self.beta = np.zeros(shape, self.dtype) if bias else None

    @property
    def _functional(self) -> Any:
        """Where the functions of batch normalization are taken from."""
        return fused if self.fused else functional

    @property
    def _normalize(self) -> Any:
        """Where those of any axes are."""
        return fused if self.fused else normalize

    @abstractmethod
    def _forward(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
        """Compute the output and what backward needs."""

    @abstractmethod
    def _backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        """Compute dx, dgamma and dbeta, for a dy of the shape of xhat."""

    def forward(self, x: Array) -> Array:
        """Normalize, scale and shift a float array of a shape that the class names.

        The output has its shape and dtype; another input is refused (TypeError, ValueError).
        """
        gamma = self.gamma if self.gamma is not None else np.ones(self._shape)
        beta = self.beta if self.beta is not None else np.zeros(self._shape)
        for name, parameter in {"gamma": gamma, "beta": beta}.items():
            if parameter.shape != self._shape:
                raise ValueError(f"{name} has shape {parameter.shape}, expected {self._shape}")
        y, self._cache = self._forward(x, gamma, beta)
        self._y_shape = y.shape
        return y

    __call__ = forward

    def backward(self, dy: Array) -> Array:
        """Give the gradient with respect to the last input; keep those of gamma and beta.

        It follows the mode of the last :meth:`forward`: with batch statistics every sample reaches
        every other, with running statistics none does. Without a forward pass there is no gradient
        (RuntimeError).

        Parameters
        ----------
        dy : ndarray, shape of the output
            Gradient of the loss with respect to the output; another is refused.

        Returns
        -------
        ndarray, shape and dtype of the output
            Gradient of the loss with respect to the input.
        """
        if self._cache is None:
            raise RuntimeError("backward needs a forward pass first")
        cache = self._cache
        kept = cache.x if isinstance(cache, fused.Cache) else cache.xhat
        dy = check_upstream(dy, kept.reshape(self._y_shape))
        dx, dgamma, dbeta = self._backward(dy.reshape(kept.shape), cache)
        self.dgamma = dgamma.reshape(self._shape) if self.gamma is not None else None
        self.dbeta = dbeta.reshape(self._shape) if self.beta is not None else None
        return dx.reshape(self._y_shape)

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, or with ``mode=False`` to evaluation mode; return the layer."""
        self.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode; return the layer."""
        return self.train(False)

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copy parameters and statistics, those that the layer has, under PyTorch's names.

        These are ``weight``, ``bias``, ``running_mean``, ``running_var``, ``num_batches_tracked``.
        """
        return {
            key: np.array(value)
            for name, key in TORCH_NAMES.items()
            if (value := getattr(self, name, None)) is not None
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over parameters and statistics, ours or those of PyTorch's layer.

        Parameters
        ----------
        state : mapping of str to array
            With the keys of :meth:`state_dict`; NumPy arrays or CPU tensors. The count of batches
            may be missing, as in checkpoints older than it: then the layer keeps its own. If other
            keys are missing or unexpected, or a shape differs, nothing is taken (ValueError).
        """
        own = self.state_dict()
        missing = own.keys() - state.keys() - {"num_batches_tracked"}
        if missing or not state.keys() <= own.keys():
            raise ValueError(
                f"expected the keys {sorted(own)}, missing {sorted(missing)}, "
                f"unexpected {sorted(state.keys() - own.keys())}"
            )
        taken = {key: np.asarray(state[key]).astype(own[key].dtype) for key in state}
        for key, value in taken.items():
            if value.shape != own[key].shape:
                raise ValueError(f"{key} has shape {value.shape}, expected {own[key].shape}")
        for name, key in TORCH_NAMES.items():
            if key in taken:
                setattr(self, name, taken[key] if taken[key].ndim else int(taken[key]))

    def __repr__(self) -> str:
        """Show the layer as it would be built, and its mode."""
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if name == "dtype":
                text = repr(value.name)
            else:
                text = repr(value[0] if isinstance(value, tuple) and len(value) == 1 else value)
            if parameter.default is parameter.empty:
                shown.append(text)
            elif value != parameter.default or (name in ("eps", "momentum") and value is not None):
                shown.append(f"{name}={text}")
        mode = "training" if self.training else "evaluation"
        return f"{type(self).__name__}({', '.join(shown)})  # {mode} mode"
