"""Residual networks that differ only in what is named: norm, its place, the scale of the branch.

A block adds a branch f to the stream x that passes through: ``x + f(x)``. The branch is a linear
map, a ReLU and a linear map, which together keep the mean square of what they are given. So at
first each block of a network without normalization doubles the mean square of the stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from bn_tutorial.networks.convolutional import SIDE, AsImages, drawn, present
from bn_tutorial.networks.rivals import rival_maker
from bn_tutorial.networks.settings import whole
from bn_tutorial.networks.standardized import RELU_GAIN, standardize

PLACEMENTS = ("pre", "post", "peri")
SCALINGS = ("plain", "zero gamma", "skipinit", "fixup", "scaled")


class Scalar(nn.Module):
    """One number that is learned and multiplied with all of its input."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(float(start)))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``value x``."""
        return self.value * x


class Offset(nn.Module):
    """One number that is learned, starts at zero, and is added to all of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x + value``."""
        return x + self.value


class Constant(nn.Module):
    """A number that is not learned and multiplied with all of its input."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        """Return ``value x``."""
        return self.value * x


class Block(nn.Module):
    """``after(x + branch(x))``, where the branch and what follows are given."""

    def __init__(self, branch: nn.Sequential, after: nn.Module | None) -> None:
        super().__init__()
        self.branch = branch
        self.after = nn.Identity() if after is None else after

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the stream, both of the shape of x."""
        y: Tensor = self.after(x + self.branch(x))
        return y


class ResidualNet(nn.Sequential):
    """A residual network for 28x28 images, of perceptron blocks or of small convolutional ones.

    The children are ``stem``, ``block_1``, ``block_2``, ..., ``final`` (a normalization of the
    stream behind the last block, where the placement leaves the stream without one) and
    ``output``. ``forward`` takes a float Tensor, shape (N, 784), to logits, shape (N, 10).

    Parameters
    ----------
    norm : None or str
        A name that :func:`bn_tutorial.networks.rivals.rival_maker` knows.
    placement : {"pre", "post", "peri"}
        ``x + f(norm(x))``, ``norm(x + f(x))`` or ``x + norm(f(norm(x)))``.
    scaling : {"plain", "zero gamma", "skipinit", "fixup", "scaled"}
        What makes the branch small at first: nothing; the gamma of its last normalization starts at
        zero (Goyal et al. 2017; with the placement ``"peri"``); a learned number at its end that
        starts at zero (De and Smith 2020); the recipe of Fixup (Zhang, Dauphin and Ma 2019: its
        last map starts at zero, its first is scaled down by the root of the number of blocks, with
        scalar biases and a multiplier); ``x + f(x/b)/sqrt(blocks)``, b the root of the mean square
        that the stream is then expected to have (after Brock, De and Smith 2021).
    blocks : int
        How many, at least one.
    width : int
        Units of the stream; channels, with convolutions.
    convolutional : bool
        Whether the linear maps are 3x3 convolutions, on 7x7 positions; the mean over them comes
        before the output.
    weights : {"plain", "standardized", "scaled"}
        See :func:`bn_tutorial.networks.standardized.standardize`; of the branches.
    seed : int
        Of the initial weights; except for the factors of the scaling they depend on nothing but
        their shapes.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these, or they do not go together.

    Examples
    --------
    >>> model = ResidualNet("batch", blocks=2)
    >>> [name for name, _ in model.named_children()]
    ['stem', 'block_1', 'block_2', 'final', 'output']
    >>> list(dict(model.block_1.branch.named_children()))
    ['norm', 'linear_1', 'activation', 'linear_2']
    """

    def __init__(
        self,
        norm: str | None = None,
        *,
        placement: str = "pre",
        scaling: str = "plain",
        blocks: int = 16,
        width: int = 64,
        convolutional: bool = False,
        weights: str = "plain",
        seed: int = 0,
    ) -> None:
        blocks, width = whole(blocks, "blocks"), whole(width, "width")
        if min(blocks, width) < 1:
            raise ValueError(f"got {blocks} blocks of width {width}, expected at least one")
        if placement not in PLACEMENTS:
            raise ValueError(f"placement is {placement!r}, expected one of {list(PLACEMENTS)}")
        if scaling not in SCALINGS:
            raise ValueError(f"scaling is {scaling!r}, expected one of {list(SCALINGS)}")
        if scaling == "zero gamma" and (placement != "peri" or norm is None):
            raise ValueError('zero gamma is that of a norm with the placement "peri"')
        if scaling == "fixup" and weights != "plain":
            raise ValueError("fixup sets the scale of plain weights; standardized ones have none")
        make_norm = rival_maker(norm, axes=2 if convolutional else 0)
        generator = torch.Generator().manual_seed(whole(seed, "seed"))

        convolution = partial(nn.Conv2d, width, width, 3, padding=1)
        make: Callable[[], nn.Linear | nn.Conv2d]
        make = convolution if convolutional else partial(nn.Linear, width, width)

        def linear(gain: float, factor: float) -> nn.Linear | nn.Conv2d:
            layer = drawn(make, gain, generator)
            standardize(layer, weights, factor)
            return layer

        def block(number: int) -> Block:
            first, second = linear(1.0, 1.0), linear(math.sqrt(2), RELU_GAIN)
            inner = {"linear_1": first, "activation": nn.ReLU(), "linear_2": second}
            expected = 1 + (number - 1) / blocks  # mean square of the stream, if scaled
            branch = {
                "divide": Constant(1 / math.sqrt(expected)) if scaling == "scaled" else None,
                "norm": make_norm(width) if placement != "post" else None,
                **(_fixup(first, second, blocks) if scaling == "fixup" else inner),
                "norm_2": make_norm(width) if placement == "peri" else None,
                "skipinit": Scalar(0.0) if scaling == "skipinit" else None,
                "shrink": Constant(1 / math.sqrt(blocks)) if scaling == "scaled" else None,
            }
            if scaling == "zero gamma" and (last := branch["norm_2"]) is not None:
                nn.init.zeros_(last.get_parameter("weight"))
            return Block(
                nn.Sequential(present(branch)), make_norm(width) if placement == "post" else None
            )

        head = partial(nn.Linear, width, 10)
        layers = {
            "stem": _stem(width, generator, convolutional),
            **{f"block_{number}": block(number) for number in range(1, blocks + 1)},
            "final": make_norm(width) if placement != "post" else None,
            "pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()) if convolutional else None,
            "output": drawn(head, 0.0 if scaling == "fixup" else 1.0, generator),
        }
        super().__init__(present(layers))
        if convolutional:
            self.to(memory_format=torch.channels_last)  # as ConvNet, for its sake


def _stem(width: int, generator: torch.Generator, convolutional: bool) -> nn.Module:
    """Return what makes the stream of an image: units, or channels of 7x7 positions."""
    if not convolutional:
        return drawn(partial(nn.Linear, SIDE * SIDE, width), 1.0, generator)
    first = drawn(partial(nn.Conv2d, 1, width, 3, stride=2, padding=1), 1.0, generator)
    second = partial(nn.Conv2d, width, width, 3, stride=2, padding=1)
    return nn.Sequential(AsImages(), first, nn.ReLU(), drawn(second, math.sqrt(2), generator))


def _fixup(
    first: nn.Linear | nn.Conv2d, second: nn.Linear | nn.Conv2d, blocks: int
) -> dict[str, nn.Module]:
    """Return a branch with Fixup's weights, one bias in front of each part, and its multiplier."""
    with torch.no_grad():
        first.weight.mul_(1 / math.sqrt(blocks))
        second.weight.zero_()
    for layer in (first, second):
        layer.register_parameter("bias", None)
    return {
        "offset_1": Offset(),
        "linear_1": first,
        "offset_2": Offset(),
        "activation": nn.ReLU(),
        "offset_3": Offset(),
        "linear_2": second,
        "multiplier": Scalar(1.0),
        "offset_4": Offset(),
    }
