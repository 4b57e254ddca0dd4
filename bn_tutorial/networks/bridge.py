"""Our batch normalization inside a PyTorch network, in NumPy or fused."""

from __future__ import annotations

from types import ModuleType
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bn_tutorial.scratch import functional, fused
from bn_tutorial.scratch.arrays import Array
from bn_tutorial.scratch.moments import running_average, unbiased


class NumpyBatchNorm1d(nn.BatchNorm1d):
    """Our NumPy batch normalization as a layer of a PyTorch network.

    It takes the place of :class:`torch.nn.BatchNorm1d`, whose arguments, parameters, buffers and
    ``state_dict`` it has. Its forward and backward passes are those of
    :mod:`bn_tutorial.scratch.functional`, wrapped in a :class:`torch.autograd.Function`.

    Raises
    ------
    TypeError
        From ``forward``, if the input is neither float32 nor float64, or not of the layer's dtype.
    ValueError
        From ``forward``, if the input is not of shape (N, C) or (N, C, L), has a single value per
        channel to take statistics of, or is not on the layer's device.

    Notes
    -----
    NumPy reads the processor's memory. There nothing is copied; on another device each pass copies
    the batch to the processor and the result back, and waits for both.

    A second derivative is refused.

    Examples
    --------
    >>> layer = NumpyBatchNorm1d(1)
    >>> layer(torch.tensor([[1.0], [3.0]])).detach().round(decimals=4).tolist()
    [[-1.0], [1.0]]
    >>> layer.running_mean.tolist(), layer.running_var.tolist()
    ([0.20000000298023224], [1.100000023841858])
    """

    _code: ClassVar[ModuleType] = functional

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch, shape (N, C) or (N, C, L), in training mode with its own statistics.

        In evaluation mode running statistics take their place, if the layer has any.
        """
        self._check(x)
        gamma = x.new_ones(self.num_features) if self.weight is None else self.weight
        beta = x.new_zeros(self.num_features) if self.bias is None else self.bias
        mean, var = self.running_mean, self.running_var
        frozen = not self.training and mean is not None and var is not None
        given = (mean, var) if frozen else ()
        y, mean, var = _BatchNorm.apply(self._code, self.eps, x, gamma, beta, *given)
        if self.training and self.track_running_stats:
            pooled = x.numel() // self.num_features
            self._track(_array(mean), unbiased(_array(var), pooled))
        return cast(Tensor, y)

    def _check(self, x: Tensor) -> None:
        if x.ndim not in (2, 3) or x.shape[1] != self.num_features:
            raise ValueError(
                f"expected shape (N, {self.num_features}) or (N, {self.num_features}, L), "
                f"got {tuple(x.shape)}"
            )
        if x.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"expected float32 or float64, got {x.dtype}: convert with x.float(), under "
                "autocast in a block with torch.autocast(..., enabled=False)"
            )
        known = next((own for own in (self.weight, self.running_mean) if own is not None), x)
        if x.dtype != known.dtype:
            raise TypeError(
                f"expected the layer's {known.dtype}, got {x.dtype}: convert with x.to or layer.to"
            )
        if x.device != known.device:
            raise ValueError(
                f"expected an input on the layer's device {known.device}, got one on {x.device}: "
                "move it with x.to or layer.to"
            )

    def _track(self, mean: Array, var: Array) -> None:
        """Move the running averages towards the statistics of this batch."""
        if (batches := self.num_batches_tracked) is not None:
            batches.add_(1)
        # Without a momentum, the plain average of all batches so far.
        weight = self.momentum
        if weight is None:
            weight = 0.0 if batches is None else 1 / float(batches)
        for buffer, new in ((self.running_mean, mean), (self.running_var, var)):
            if buffer is not None:
                buffer.copy_(_tensor(running_average(_array(buffer), new, weight), buffer))


class FusedBatchNorm1d(NumpyBatchNorm1d):
    """As `NumpyBatchNorm1d`, with the functions of :mod:`bn_tutorial.scratch.fused`.

    They need Numba.

    Examples
    --------
    >>> layer = FusedBatchNorm1d(1)
    >>> layer(torch.tensor([[1.0], [3.0]])).detach().round(decimals=4).tolist()
    [[-1.0], [1.0]]
    """

    _code: ClassVar[ModuleType] = fused


class _BatchNorm(torch.autograd.Function):
    """With the statistics of the batch, which are functions of it, or with given constants."""

    @staticmethod
    def forward(
        ctx: Any,
        code: ModuleType,
        eps: float,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        *given: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        forward = code.batch_norm_eval_forward if given else code.batch_norm_forward
        y, ctx.cache = forward(*map(_array, (x, gamma, beta, *given)), eps=eps)
        ctx.differentiate = code.batch_norm_eval_backward if given else code.batch_norm_backward
        # The cache may hold x and gamma themselves, not copies. Saving them lets PyTorch refuse a
        # backward pass after an in-place change of them.
        ctx.save_for_backward(x, gamma)
        # To be averaged by NumPy, so they stay where it reads.
        mean, var = (torch.from_numpy(q.ravel()) for q in (ctx.cache.mu, ctx.cache.var))
        ctx.mark_non_differentiable(mean, var)
        return _tensor(y, x), mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        ctx.saved_tensors  # noqa: B018  (raises if x or gamma has changed since)
        gradients = ctx.differentiate(_array(dy), ctx.cache)
        given = len(ctx.needs_input_grad) - 5
        return None, None, *(_tensor(gradient, dy) for gradient in gradients), *[None] * given


# These two are the whole bridge: on the processor both sides share one memory, elsewhere they copy.


def _array(tensor: Tensor) -> Array:
    """Give NumPy a tensor."""
    array: Array = tensor.detach().cpu().numpy()
    return array


def _tensor(array: Array, like: Tensor) -> Tensor:
    """Give PyTorch an array, on the device of another tensor."""
    return torch.from_numpy(array).to(like.device)
