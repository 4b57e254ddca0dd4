"""PyTorch networks that differ only in their argument ``norm``.

Arms of a comparison share all but one thing. So the initial weights of a :class:`DeepNet` depend on
its seed, widths and initialization alone, not on its norm or PyTorch's global random state.
"""

from __future__ import annotations

import math
import numbers
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from bn_tutorial.networks.norms import norm_maker
from bn_tutorial.networks.settings import real, whole

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}

PLACEMENTS = {
    "before": ("linear", "norm", "activation"),
    "after": ("linear", "activation", "norm"),
}


class Dropout(nn.Module):
    """Dropout that draws from a generator of its own, so that a run can be repeated bit by bit.

    In training mode each unit is zero with probability p, else multiplied by ``1/(1 - p)``; in
    evaluation mode nothing happens (Srivastava et al. 2014).

    Parameters
    ----------
    p : float
        In (0, 1).
    seed : int
        Of the generator.

    Raises
    ------
    ValueError
        If p is not in that range.

    Examples
    --------
    >>> dropped = Dropout(0.5, seed=0)(torch.ones(1000))
    >>> sorted(dropped.unique().tolist()), 0.9 < dropped.mean().item() < 1.1
    ([0.0, 2.0], True)
    """

    def __init__(self, p: float, seed: int) -> None:
        super().__init__()
        if not 0 < p < 1:
            raise ValueError(f"p is {p}, expected a number between 0 and 1")
        self.p = p
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, any shape, in training mode with units left out."""
        if not self.training:
            return x
        kept = torch.empty(x.shape).bernoulli_(1 - self.p, generator=self.generator)
        return x * kept.to(x) / (1 - self.p)


class DeepNet(nn.Sequential):
    """A plain multilayer perceptron for 28x28 images.

    Each hidden block is a linear map, a normalization (if any) and an activation. The children are
    ``hidden_1``, ``hidden_2``, ... and ``output``; the parts of a block are ``linear``, ``norm``
    and ``activation``. So ``hidden_1.activation`` means the same in every arm of a comparison.
    ``forward`` takes a float Tensor, shape (N, widths[0]), to logits, shape (N, widths[-1]).

    Parameters
    ----------
    norm, activation, placement : None or str
        The parts of the hidden blocks: a name that :func:`bn_tutorial.networks.norms.norm_maker`
        knows; a key of ``ACTIVATIONS``; whether the normalization stands ``"before"`` the
        activation or ``"after"`` it.
    widths : sequence of int
        Number of units of each layer, input first, output last.
    bias : bool
        Whether the linear maps of the hidden blocks have biases: by default also in front of batch
        normalization, which cancels them, because the arms are to have the same linear maps.
    init : "default", "he", "glorot", "unit gain" or float
        ``"default"`` is PyTorch's own: weights and biases uniform in ``+-1/sqrt(fan_in)``. With the
        others the biases are zero, and the weights are drawn: ``"he"``, from ``N(0, 2/fan_in)`` (He
        et al. 2015); ``"glorot"``, uniformly in ``+-sqrt(6/(fan_in + fan_out))`` (Glorot and Bengio
        2010); ``"unit gain"``, from ``N(0, 1/(s**2 fan_in))`` where ``s`` is the activation's slope
        at zero (of ReLU the quadratic mean of both sides: the same as ``"he"``); a float sigma, at
        least zero, from ``N(0, sigma**2)``.
    init_scale : float
        Factor, more than zero, for the initial weights (not the biases) of the hidden blocks.
    dropout : float
        Which share of the hidden units is left out at the end of each block in training: in [0, 1).
    seed : int
        Of the initial weights, and of what is left out.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these, or there are fewer than two widths or one below one.

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
        placement: str = "before",
        bias: bool = True,
        init: str | float = "default",
        init_scale: float = 1.0,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        widths = [whole(width, "a width") for width in widths]
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"expected at least two positive widths, got {tuple(widths)}")
        init_scale = real(init_scale, "init_scale")
        if not 0 < init_scale < math.inf:
            raise ValueError(f"init_scale is {init_scale}, expected a positive number")
        make_norm = norm_maker(norm)
        make_activation = _one_of(ACTIVATIONS, activation, "activation")
        order = _one_of(PLACEMENTS, placement, "placement")
        generator = torch.Generator().manual_seed(whole(seed, "seed"))

        def linear(inputs: int, outputs: int) -> nn.Linear:
            # nn.Linear draws weights of its own from the global generator, whose state is restored.
            # (The "meta" device would draw none, but takes seconds to import.)
            with torch.random.fork_rng(devices=[]):
                layer = nn.Linear(inputs, outputs)
            _initialize(layer, init, activation, generator)
            return layer

        def hidden(inputs: int, outputs: int) -> nn.Sequential:
            parts = {
                "linear": linear(inputs, outputs),
                "norm": make_norm(outputs),
                "activation": make_activation(),
            }
            if not bias:  # drawn all the same, so that the weights do not depend on it
                parts["linear"].register_parameter("bias", None)
            with torch.no_grad():
                parts["linear"].weight.mul_(init_scale)
            present = ((name, parts[name]) for name in order if parts[name] is not None)
            return nn.Sequential(OrderedDict(present))

        if not 0 <= (dropout := real(dropout, "dropout")) < 1:
            raise ValueError(f"dropout is {dropout}, expected a share from 0 to below 1")
        blocks = OrderedDict[str, nn.Module]()
        for number, (inputs, outputs) in enumerate(pairwise(widths[:-1]), 1):
            blocks[f"hidden_{number}"] = block = hidden(inputs, outputs)
            if dropout:  # another seed for each block: two of one stream would leave out alike
                block.add_module("dropout", Dropout(dropout, seed=1000 * seed + number))
        blocks["output"] = linear(widths[-2], widths[-1])
        super().__init__(blocks)


def _one_of(choices: dict[Any, Any], value: object, name: str) -> Any:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {list(choices)}")
    return choices[value]


_INITS = ["default", "he", "glorot", "unit gain"]

# The slope at zero, in the quadratic mean over both sides.
_SLOPES = {"sigmoid": 1 / 4, "tanh": 1.0, "relu": math.sqrt(1 / 2)}


def _initialize(
    layer: nn.Linear, init: str | float, activation: str, generator: torch.Generator
) -> None:
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
    elif init == "unit gain":
        sigma = 1 / (_SLOPES[activation] * math.sqrt(layer.in_features))
        nn.init.normal_(layer.weight, 0, sigma, generator=generator)
    else:
        known = isinstance(init, numbers.Real) and not isinstance(init, bool)
        if not (known and 0 <= float(init) < math.inf):
            raise ValueError(f"init is {init!r}, expected one of {_INITS} or a sigma >= 0")
        nn.init.normal_(layer.weight, 0, float(init), generator=generator)
    nn.init.zeros_(layer.bias)
