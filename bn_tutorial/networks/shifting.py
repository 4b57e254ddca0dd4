"""Noise that shifts the distribution of a layer's inputs at every step: covariate shift on purpose.

After Santurkar et al. 2018, who put such noise behind batch normalization to ask whether steady
distributions are what helps.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import batch_statistics


class Shifting(nn.Module):
    """Multiply each unit by a factor and add a number, both drawn anew at every step.

    In training mode ``s x + m``, with ``s`` uniform in ``1 +- size/2`` and ``m`` in ``+- size``,
    the same for all samples of a batch; on the average that is x, and in evaluation mode it is x.

    Parameters
    ----------
    units : int
        Number of columns of x.
    size : float
        At least zero, at most 2; in standard deviations, where x is normalized.
    seed : int
        Of the noise, which depends on nothing else but the number of the step.

    Examples
    --------
    >>> layer = Shifting(2, size=1.0, seed=0)
    >>> x = torch.zeros(3, 2)
    >>> first, second = layer(x), layer(x)
    >>> bool((first[0] == first[1]).all()), bool((first != second).all()), layer.eval()(x).any()
    (True, True, tensor(False))
    """

    count: Tensor

    def __init__(self, units: int, size: float, seed: int) -> None:
        super().__init__()
        self.units, self.size, self.seed = units, size, seed
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """Shift x, shape (N, units)."""
        if not self.training:
            return x
        self.count += 1
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + int(self.count))
        drawn = (2 * torch.rand(2, self.units, generator=generator) - 1).to(x)
        return x + self.size * (drawn[0] / 2 * x + drawn[1])


def add_shifting(model: DeepNet, size: float, seed: int) -> None:
    """Put a :class:`Shifting` in front of each activation, and behind the normalization if any.

    Parameters
    ----------
    model : DeepNet
        With its normalizations in front of the activations.
    size, seed
        As of :class:`Shifting`; each layer has noise of its own.
    """
    for number, (name, block) in enumerate(list(model.named_children())[:-1]):
        parts = OrderedDict(block.named_children())
        activation, linear = parts.pop("activation"), parts["linear"]
        assert isinstance(linear, nn.Linear)
        parts["shifting"] = Shifting(linear.out_features, size, 100 * seed + number)
        parts["activation"] = activation
        setattr(model, name, nn.Sequential(parts))


@contextmanager
def watch_shift(model: DeepNet, images: Tensor) -> Iterator[list[float]]:
    """Record how far the inputs of the activations shift from step to step of a training.

    Parameters
    ----------
    model : DeepNet
        While it is trained, in the block.
    images : Tensor, shape (N, 784)
        Looked at before each step, in training mode; they leave no trace.

    Yields
    ------
    list of float
        One number for each step but the first: by how many of its standard deviations over the
        images the mean of a unit has moved, in the quadratic mean over all hidden units.
    """
    shifts, before = list[float](), list[Tensor]()

    def look(_module: nn.Module, _inputs: object) -> None:
        nonlocal before
        if not model.training:
            return
        x, means, squares = images, list[Tensor](), list[Tensor]()
        with batch_statistics(model), torch.no_grad():
            for block in list(model.children())[:-1]:
                for name, part in block.named_children():
                    if name == "activation":
                        means.append(x.mean(0))
                        squares.append(x.var(0, correction=0))
                    x = part(x)
        if before:
            moved = torch.cat([*means]) - torch.cat(before)
            # A unit that is the same for all images has no deviation to compare with.
            shifts.append((moved.square() / (torch.cat(squares) + 1e-12)).mean().sqrt().item())
        before = means

    hook = model.register_forward_pre_hook(look)
    try:
        yield shifts
    finally:
        hook.remove()
