"""Our NumPy batch normalization inside a PyTorch network."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bn_tutorial.scratch import functional
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

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch, shape (N, C) or (N, C, L), in training mode with its own statistics.

        In evaluation mode running statistics take their place, if the layer has any.
        """
        self._check(x)
        parameters = (
            torch.ones(self.num_features, dtype=x.dtype) if self.weight is None else self.weight,
            torch.zeros(self.num_features, dtype=x.dtype) if self.bias is None else self.bias,
        )
        mean, var = self.running_mean, self.running_var
        if not self.training and mean is not None and var is not None:
            return _output(_EvalBatchNorm.apply(x, *parameters, mean, var, self.eps))
        y, batch_mean, batch_var = _BatchNorm.apply(x, *parameters, self.eps)
        if self.training and self.track_running_stats:
            pooled = x.numel() // self.num_features
            self._track(_array(batch_mean), unbiased(_array(batch_var), pooled))
        return _output(y)

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


class _BatchNorm(torch.autograd.Function):
    """With the statistics of the batch, which are functions of it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, ctx.cache = functional.batch_norm_forward(*map(_array, (x, gamma, beta)), eps=eps)
        # The cache may hold gamma itself, not a copy. Saving it lets PyTorch refuse a backward
        # pass after an in-place change of it.
        ctx.save_for_backward(gamma)
        # To be averaged by NumPy, so they stay where it reads.
        mean = torch.from_numpy(ctx.cache.mu.ravel())
        var = torch.from_numpy(ctx.cache.var.ravel())
        ctx.mark_non_differentiable(mean, var)
        return _tensor(y, x), mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        ctx.saved_tensors  # noqa: B018  (raises if gamma has changed since)
        gradients = functional.batch_norm_backward(_array(dy), ctx.cache)
        return *(_tensor(gradient, dy) for gradient in gradients), None


class _EvalBatchNorm(torch.autograd.Function):
    """With running statistics, which are constants."""

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
        return _tensor(y, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        ctx.saved_tensors  # noqa: B018  (raises if gamma has changed since)
        gradients = functional.batch_norm_eval_backward(_array(dy), ctx.cache)
        return *(_tensor(gradient, dy) for gradient in gradients), None, None, None


# These two are the whole bridge: on the processor both sides share one memory, elsewhere they copy.


def _array(tensor: Tensor) -> Array:
    """Give NumPy a tensor."""
    array: Array = tensor.detach().cpu().numpy()
    return array


def _tensor(array: Array, like: Tensor) -> Tensor:
    """Give PyTorch an array, on the device of another tensor."""
    return torch.from_numpy(array).to(like.device)


def _output(tensor: Any) -> Tensor:
    """Tell the type checker what ``Function.apply`` returned."""
    return cast(Tensor, tensor)
