"""Convolutional networks that differ only in what is named: norm, weights, scale, augmentation."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from bn_tutorial.networks.rivals import rival_maker
from bn_tutorial.networks.settings import real, whole
from bn_tutorial.networks.standardized import standardize

SIDE = 28  # pixels

Layer = TypeVar("Layer", bound=nn.Linear | nn.Conv2d)


class AsImages(nn.Module):
    """Rows of pixels, shape (N, 784), as images, shape (N, 1, 28, 28)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the same numbers in the other shape."""
        return x.view(len(x), 1, SIDE, SIDE)


class RandomShift(nn.Module):
    """Augmentation: in training mode each image is moved by a few pixels.

    By a number of pixels between ``-most`` and ``most`` in either direction, drawn for each image;
    what comes in from the edge is the background. It draws from a generator of its own, so that a
    run can be repeated bit by bit.

    Parameters
    ----------
    most : int
        In pixels.
    seed : int
        Of the generator.

    Examples
    --------
    >>> shift, x = RandomShift(2, seed=0), torch.arange(9.0).view(1, 1, 3, 3)
    >>> shift(x).shape, bool((shift.eval()(x) == x).all())
    (torch.Size([1, 1, 3, 3]), True)
    """

    def __init__(self, most: int, seed: int) -> None:
        super().__init__()
        self.most = most
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, x: Tensor) -> Tensor:
        """Return the images, shape (N, C, H, W), in training mode shifted."""
        if not self.training:
            return x
        count, _, height, width = x.shape
        down, right = torch.randint(2 * self.most + 1, (2, count), generator=self.generator)
        # The background is the least value that there is, which standardization has moved from 0.
        framed = pad(x, 4 * [self.most], value=float(x.min()))
        windows = framed.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, shifts, shifts, H, W)
        return windows[torch.arange(count), :, down, right]


def drawn(make: Callable[[], Layer], gain: float, generator: torch.Generator) -> Layer:
    """Make a layer with weights from ``N(0, gain**2/fan_in)`` and biases of zero.

    Parameters
    ----------
    make : callable
        Returns a Linear or a Conv2d.
    gain : float
        With one, the layer keeps the mean square of what it is given; behind a ReLU, which halves
        it, the root of two does (He et al. 2015).
    generator : torch.Generator
        What draws.
    """
    # A layer draws weights of its own from the global generator, whose state is restored.
    with torch.random.fork_rng(devices=[]):
        layer = make()
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, 0, gain / math.sqrt(fan_in), generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def present(parts: Mapping[str, nn.Module | None]) -> OrderedDict[str, nn.Module]:
    """Return the parts that are there, in their order."""
    return OrderedDict((name, part) for name, part in parts.items() if part is not None)


class ConvNet(nn.Sequential):
    """A plain convolutional network for 28x28 images.

    Each block is a 3x3 convolution, a normalization (if any) and a ReLU; then the mean over the
    positions and a linear map. The children are ``block_1``, ``block_2``, ... and ``output``; the
    parts of a block are ``linear``, ``norm`` and ``activation``, as in
    :class:`bn_tutorial.networks.perceptron.DeepNet`. ``forward`` takes a float Tensor, shape
    (N, 784), to logits, shape (N, classes).

    Parameters
    ----------
    norm : None or str
        A name that :func:`bn_tutorial.networks.rivals.rival_maker` knows.
    channels, strides : sequence of int
        Of each convolution, of the same length.
    weights : {"plain", "standardized", "scaled"}
        See :func:`bn_tutorial.networks.standardized.standardize`; of the convolutions.
    init_scale : float
        Factor, more than zero, for He's initial weights of the convolutions.
    shift : int
        By how many pixels at most the images of a training batch are moved: augmentation.
    classes : int
        Number of logits.
    seed : int
        Of the initial weights, which depend on nothing else but their shapes, and of the shifts.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these.

    Examples
    --------
    >>> model = ConvNet("batch", channels=(8, 16), strides=(2, 2))
    >>> [name for name, _ in model.named_modules()][2:6]
    ['block_1', 'block_1.linear', 'block_1.norm', 'block_1.activation']
    >>> model(torch.zeros(5, 784)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        norm: str | None = None,
        *,
        channels: Sequence[int] = (8, 16, 16, 16),
        strides: Sequence[int] = (2, 2, 2, 1),
        weights: str = "plain",
        init_scale: float = 1.0,
        shift: int = 0,
        classes: int = 10,
        seed: int = 0,
    ) -> None:
        channels = [whole(number, "a number of channels") for number in channels]
        strides = [whole(stride, "a stride") for stride in strides]
        if not channels or len(channels) != len(strides) or min(channels + strides) < 1:
            raise ValueError(
                f"channels is {tuple(channels)} and strides {tuple(strides)}, expected positive "
                "numbers, equally many and at least one"
            )
        if not 0 < (init_scale := real(init_scale, "init_scale")) < math.inf:
            raise ValueError(f"init_scale is {init_scale}, expected a positive number")
        if (shift := whole(shift, "shift")) < 0:
            raise ValueError(f"shift is {shift}, expected at least zero")
        make_norm = rival_maker(norm, axes=2)
        generator = torch.Generator().manual_seed(whole(seed, "seed"))
        parts = OrderedDict[str, nn.Module]({"images": AsImages()})
        if shift:
            parts["shift"] = RandomShift(shift, seed)
        for number, ((inputs, outputs), stride) in enumerate(
            zip(pairwise([1, *channels]), strides, strict=True), 1
        ):
            convolution = partial(nn.Conv2d, inputs, outputs, 3, stride=stride, padding=1)
            linear = drawn(convolution, init_scale * math.sqrt(2), generator)
            standardize(linear, weights)
            block = {"linear": linear, "norm": make_norm(outputs), "activation": nn.ReLU()}
            parts[f"block_{number}"] = nn.Sequential(present(block))
        parts["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        output = partial(nn.Linear, channels[-1], whole(classes, "classes"))
        parts["output"] = drawn(output, 1.0, generator)
        super().__init__(parts)
        # The order in memory in which a processor convolves so few channels a fifth sooner.
        self.to(memory_format=torch.channels_last)
