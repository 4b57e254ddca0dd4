"""Our NumPy batch normalization inside a PyTorch network."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bn_tutorial.scratch import functional
from bn_tutorial.scratch.arrays import Array
from bn_tutorial.scratch.moments import running_average, unbiased


class NumpyBatchNorm1d(nn.Module):
    """Our NumPy batch normalization as a layer of a PyTorch network.

    A drop-in replacement for :class:`torch.nn.BatchNorm1d` on the CPU: the same parameters,
    buffers, defaults and ``state_dict``. Its forward and backward passes are those of
    :mod:`bn_tutorial.scratch.functional`, wrapped in a :class:`torch.autograd.Function` without copying.

    Parameters
    ----------
    num_features : int
        Number of units C.
    eps : float
        Added to the variance, inside the root.
    momentum : float
        The weight of the *new* value in the running averages.

    Attributes
    ----------
    weight, bias : Parameter, shape (C,)
        Scale and shift: gamma, initially one, and beta, initially zero.
    running_mean, running_var : Tensor, shape (C,)
        What evaluation mode normalizes with, initially zero and one.
    num_batches_tracked : Tensor, int64, shape ()
        Number of batches seen in training mode.

    Raises
    ------
    TypeError
        From ``forward``, if the input is neither float32 nor float64, or not on the CPU.
    ValueError
        From ``forward``, if the input is not of shape (N, C) or, in training mode, N < 2.

    Notes
    -----
    The biased variance normalizes the batch; the unbiased one enters the running average.

    Examples
    --------
    >>> layer = NumpyBatchNorm1d(1)
    >>> layer(torch.tensor([[1.0], [3.0]])).detach().round(decimals=4).tolist()
    [[-1.0], [1.0]]
    >>> layer.running_mean.tolist(), layer.running_var.tolist()
    ([0.20000000298023224], [1.100000023841858])
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch, in training mode with its own statistics.

        Parameters
        ----------
        x : Tensor, shape (N, C), float32 or float64
            The batch.

        Returns
        -------
        Tensor, shape (N, C)
            The normalized, scaled and shifted batch.
        """
        if x.ndim != 2 or x.shape[1] != self.num_features:
            raise ValueError(f"expected shape (N, {self.num_features}), got {tuple(x.shape)}")
        if not self.training:
            statistics = self.running_mean, self.running_var
            return _output(_EvalBatchNorm.apply(x, self.weight, self.bias, *statistics, self.eps))
        y, mean, var = _BatchNorm.apply(x, self.weight, self.bias, self.eps)
        self._track(mean, unbiased(var.numpy(), count=len(x)))
        return _output(y)

    def _track(self, mean: Tensor, var: Array) -> None:
        for buffer, new in ((self.running_mean, mean.numpy()), (self.running_var, var)):
            buffer.copy_(torch.from_numpy(running_average(buffer.numpy(), new, self.momentum)))
        self.num_batches_tracked += 1

    def extra_repr(self) -> str:
        """Return the settings that ``repr`` shows."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class _BatchNorm(torch.autograd.Function):
    """Training mode: the statistics are functions of the batch."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, ctx.cache = functional.batch_norm_forward(*map(_array, (x, gamma, beta)), eps=eps)
        # The cache holds gamma itself, not a copy. Saving it lets PyTorch refuse a backward pass
        # after an in-place change of it.
        ctx.save_for_backward(gamma)
        mean = torch.from_numpy(ctx.cache.mu.ravel())
        var = torch.from_numpy(ctx.cache.var.ravel())
        ctx.mark_non_differentiable(mean, var)
        return torch.from_numpy(y), mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        ctx.saved_tensors  # noqa: B018  (raises if gamma has changed since)
        gradients = functional.batch_norm_backward(_array(dy), ctx.cache)
        return *map(torch.from_numpy, gradients), None


class _EvalBatchNorm(torch.autograd.Function):
    """Evaluation mode: the statistics are constants."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        eps: float,
    ) -> Tensor:
        arrays = map(_array, (x, gamma, beta, running_mean, running_var))
        y, ctx.cache = functional.batch_norm_eval_forward(*arrays, eps=eps)
        ctx.save_for_backward(gamma)
        return torch.from_numpy(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        ctx.saved_tensors  # noqa: B018  (raises if gamma has changed since)
        gradients = functional.batch_norm_eval_backward(_array(dy), ctx.cache)
        return *map(torch.from_numpy, gradients), None, None, None


def _array(tensor: Tensor) -> Array:
    """View a tensor as an array that shares its memory."""
    array: Array = tensor.detach().numpy()
    return array


def _output(tensor: Any) -> Tensor:
    """Tell the type checker what ``Function.apply`` returned."""
    return cast(Tensor, tensor)
