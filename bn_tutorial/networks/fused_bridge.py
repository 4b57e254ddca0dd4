"""Our fused batch normalization inside a PyTorch network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bn_tutorial.networks.bridge import NumpyBatchNorm1d
from bn_tutorial.scratch import fused
from bn_tutorial.scratch.moments import unbiased


class FusedBatchNorm1d(NumpyBatchNorm1d):
    """As :class:`~bn_tutorial.networks.bridge.NumpyBatchNorm1d`, with the functions of ``fused``.

    They are those of :mod:`bn_tutorial.scratch.fused`, which needs Numba.

    Examples
    --------
    >>> layer = FusedBatchNorm1d(1)
    >>> layer(torch.tensor([[1.0], [3.0]])).detach().round(decimals=4).tolist()
    [[-1.0], [1.0]]
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch, shape (N, C) or (N, C, L)."""
        self._check(x)
        gamma = x.new_ones(self.num_features) if self.weight is None else self.weight
        beta = x.new_zeros(self.num_features) if self.bias is None else self.bias
        mean, var = self.running_mean, self.running_var
        frozen = not self.training and mean is not None and var is not None
        given = (mean, var) if frozen else None
        y, mean, var = _BatchNorm.apply(x, gamma, beta, given, self.eps)
        if self.training and self.track_running_stats:
            pooled = x.numel() // self.num_features
            self._track(mean.numpy(), unbiased(var.numpy(), pooled))
        normalized: Tensor = y
        return normalized


class _BatchNorm(torch.autograd.Function):
    """With the statistics of the batch, or with given ones."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        given: tuple[Tensor, Tensor] | None,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        arrays = [tensor.detach().cpu().numpy() for tensor in (x, gamma, beta, *(given or ()))]
        ctx.frozen = given is not None
        forward = fused.batch_norm_eval_forward if ctx.frozen else fused.batch_norm_forward
        y, ctx.cache = forward(*arrays, eps=eps)
        # The cache holds x and gamma themselves. Saving them lets PyTorch refuse a backward pass
        # after an in-place change of them.
        ctx.save_for_backward(x, gamma)
        mean, var = (torch.from_numpy(q.ravel()) for q in (ctx.cache.mu, ctx.cache.var))
        ctx.mark_non_differentiable(mean, var)
        return torch.from_numpy(y).to(x.device), mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        ctx.saved_tensors  # noqa: B018  (raises if x or gamma has changed since)
        backward = fused.batch_norm_eval_backward if ctx.frozen else fused.batch_norm_backward
        gradients = backward(dy.cpu().numpy(), ctx.cache)
        return *(torch.from_numpy(array).to(dy.device) for array in gradients), None, None
