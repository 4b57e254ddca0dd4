"""What a run of a convolutional or of a residual network is; RunSpec is that of a perceptron."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias

from torch import nn

from bn_tutorial.data.dataset import Dataset
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.training import Config, History, train
from bn_tutorial.networks.convolutional import ConvNet
from bn_tutorial.networks.probes import MEASURES
from bn_tutorial.networks.residual import ResidualNet


@dataclass(frozen=True)
class ConvSpec:
    """One convolutional network, and how it is trained.

    Parameters
    ----------
    norm, channels, strides, weights, init_scale, shift
        The arguments of :class:`bn_tutorial.networks.convolutional.ConvNet`.
    model_seed, config, measure
        As of :class:`bn_tutorial.lab.spec.RunSpec`.
    """

    norm: str | None = None
    channels: tuple[int, ...] = (8, 16, 16, 16)
    strides: tuple[int, ...] = (2, 2, 2, 1)
    weights: str = "plain"
    init_scale: float = 1.0
    shift: int = 0
    model_seed: int = 0
    config: Config = field(default_factory=Config)
    measure: str | None = None

    def model(self) -> ConvNet:
        """Return the network with its initial weights."""
        return ConvNet(
            self.norm,
            channels=self.channels,
            strides=self.strides,
            weights=self.weights,
            init_scale=self.init_scale,
            shift=self.shift,
            seed=self.model_seed,
        )

    def train(self, data: Dataset) -> History:
        """Train the network."""
        return _train(self.model(), data, self.config, self.measure)

    def alike(self) -> None:
        """Return None: convolutions are no sooner done side by side."""


@dataclass(frozen=True)
class ResidualSpec:
    """One residual network, and how it is trained.

    Parameters
    ----------
    norm, placement, scaling, blocks, width, convolutional, weights
        The arguments of :class:`bn_tutorial.networks.residual.ResidualNet`.
    model_seed, config, measure
        As of :class:`bn_tutorial.lab.spec.RunSpec`.
    """

    norm: str | None = None
    placement: str = "pre"
    scaling: str = "plain"
    blocks: int = 16
    width: int = 64
    convolutional: bool = False
    weights: str = "plain"
    model_seed: int = 0
    config: Config = field(default_factory=Config)
    measure: str | None = None

    def model(self) -> ResidualNet:
        """Return the network with its initial weights."""
        return ResidualNet(
            self.norm,
            placement=self.placement,
            scaling=self.scaling,
            blocks=self.blocks,
            width=self.width,
            convolutional=self.convolutional,
            weights=self.weights,
            seed=self.model_seed,
        )

    def train(self, data: Dataset) -> History:
        """Train the network."""
        return _train(self.model(), data, self.config, self.measure)

    def alike(self) -> Self | None:
        """Return what runs must share to be trained side by side; None with convolutions."""
        if self.convolutional:
            return None
        return replace(self, model_seed=0, config=self.config.alike())


Spec: TypeAlias = RunSpec | ConvSpec | ResidualSpec


def _train(model: nn.Module, data: Dataset, config: Config, measure: str | None) -> History:
    look = None if measure is None else MEASURES[measure]
    return train(model, data, config, measure=look, progress=False)
