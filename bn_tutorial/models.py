"""PyTorch networks that differ only in their argument ``norm``.

Every experiment compares arms that share all but one thing. So the initial weights of a
:class:`DeepNet` depend on its seed, widths and initialization alone, never on its normalization or
on PyTorch's global random state.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bn_tutorial import functional
from bn_tutorial.arrays import Array
from bn_tutorial.moments import running_average, unbiased

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


class DeepNet(nn.Sequential):
    """A plain multilayer perceptron for 28x28 images.

    Each hidden block is a linear map, a normalization (if any) and an activation. The children are
    ``hidden_1``, ``hidden_2``, ... and ``output``; the parts of a block are ``linear``, ``norm``
    and ``activation``. So ``hidden_1.activation`` means the same in every arm of a comparison.

    Parameters
    ----------
    norm : {None, "batch", "layer", "scratch"}
        Normalization between the linear map and the activation: none,
        :class:`torch.nn.BatchNorm1d`, :class:`torch.nn.LayerNorm`, or our own
        :class:`ScratchBatchNorm1d`.
    widths : sequence of int
        Number of units of each layer, input first, output last.
    activation : {"sigmoid", "tanh", "relu"}
        The nonlinearity of the hidden blocks.
    init : "default", "he", "glorot" or float
        How the weights of the linear maps are drawn. ``"default"`` is PyTorch's own: weights and
        biases uniform in ``+-1/sqrt(fan_in)``. The others set the biases to zero: ``"he"`` draws
        weights from ``N(0, 2/fan_in)``, ``"glorot"`` uniformly in ``+-sqrt(6/(fan_in + fan_out))``,
        and a float sigma (at least zero) from ``N(0, sigma**2)``.
    seed : int
        Seed of the initial weights.

    Raises
    ------
    ValueError
        If ``norm``, ``activation`` or ``init`` is not one of the above, or if there are fewer than
        two widths or one is less than one.

    Notes
    -----
    ``forward`` takes a float Tensor, shape (N, widths[0]), and returns logits, shape
    (N, widths[-1]). The linear maps keep their biases in front of batch normalization, which
    cancels them, because the arms are to have the same linear maps.

    ``"he"`` is that of He et al. 2015, "Delving deep into rectifiers"; ``"glorot"`` that of Glorot
    and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks".

    Examples
    --------
    >>> model = DeepNet(norm="batch", widths=(784, 256, 10))
    >>> [name for name, _ in model.named_modules()][2:]
    ['hidden_1.linear', 'hidden_1.norm', 'hidden_1.activation', 'output']
    """

    def __init__(
        self,
        norm: str | None = None,
        *,
        widths: Sequence[int] = (784, 256, 256, 256, 256, 10),
        activation: str = "sigmoid",
        init: str | float = "default",
        seed: int = 0,
    ) -> None:
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"expected at least two positive widths, got {tuple(widths)}")
        make_norm = _one_of(NORMS, norm, "norm")
        make_activation = _one_of(ACTIVATIONS, activation, "activation")
        generator = torch.Generator().manual_seed(seed)

        def linear(inputs: int, outputs: int) -> nn.Linear:
            # nn.Linear draws weights of its own from the global generator, whose state is restored.
            # (The "meta" device would draw none, but takes seconds to import.)
            with torch.random.fork_rng(devices=[]):
                layer = nn.Linear(inputs, outputs)
            _initialize(layer, init, generator)
            return layer

        def hidden(inputs: int, outputs: int) -> nn.Sequential:
            parts = {
                "linear": linear(inputs, outputs),
                "norm": make_norm(outputs),
                "activation": make_activation(),
            }
            present = ((name, part) for name, part in parts.items() if part is not None)
            return nn.Sequential(OrderedDict(present))

        blocks = OrderedDict[str, nn.Module]()
        for number, (inputs, outputs) in enumerate(pairwise(widths[:-1]), 1):
            blocks[f"hidden_{number}"] = hidden(inputs, outputs)
        blocks["output"] = linear(widths[-2], widths[-1])
        super().__init__(blocks)


class ScratchBatchNorm1d(nn.Module):
    """Our NumPy batch normalization as a layer of a PyTorch network.

    A drop-in replacement for :class:`torch.nn.BatchNorm1d` on the CPU: the same parameters,
    buffers, defaults and ``state_dict``. Its forward and backward passes are those of
    :mod:`bn_tutorial.functional`, wrapped in a :class:`torch.autograd.Function` without copying.

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
    >>> layer = ScratchBatchNorm1d(1)
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


NORMS: dict[str | None, Callable[[int], nn.Module | None]] = {
    None: lambda _: None,
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "scratch": ScratchBatchNorm1d,
}


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


def _one_of(choices: dict[Any, Any], value: object, name: str) -> Any:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {list(choices)}")
    return choices[value]


def _initialize(layer: nn.Linear, init: str | float, generator: torch.Generator) -> None:
    """Draw the weights, then the biases: the order in which PyTorch itself draws them."""
    if init == "default":
        bound = 1 / math.sqrt(layer.in_features)
        nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        return
    if init == "he":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    elif init == "glorot":
        nn.init.xavier_uniform_(layer.weight, generator=generator)
    elif isinstance(init, (int, float)) and 0 <= init < math.inf:
        nn.init.normal_(layer.weight, 0, init, generator=generator)
    else:
        raise ValueError(f"init is {init!r}, expected 'default', 'he', 'glorot' or a sigma >= 0")
    nn.init.zeros_(layer.bias)
