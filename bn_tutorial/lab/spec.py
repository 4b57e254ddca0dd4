"""What a run is: one network, and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from bn_tutorial.data.dataset import Dataset
from bn_tutorial.lab.training import Config, History, train
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import MEASURES


@dataclass(frozen=True)
class RunSpec:
    """One network, and how it is trained.

    Parameters
    ----------
    norm, widths, activation, placement, bias, init, init_scale, dropout
        The arguments of :class:`bn_tutorial.networks.perceptron.DeepNet`.
    model_seed : int
        Seed of the initial weights.
    config : Config
        How to train; ``config.seed`` decides the order of the images.
    measure : str, optional
        What else to measure at each evaluation: a name of ``bn_tutorial.networks.probes.MEASURES``.
    """

    norm: str | None = None
    widths: tuple[int, ...] = (784, 256, 256, 256, 256, 10)
    activation: str = "sigmoid"
    placement: str = "before"
    bias: bool = True
    init: str | float = "default"
    init_scale: float = 1.0
    dropout: float = 0.0
    model_seed: int = 0
    config: Config = field(default_factory=Config)
    measure: str | None = None

    def model(self) -> DeepNet:
        """Return the network with its initial weights.

        Raises
        ------
        ValueError
            If an argument is not one that :class:`bn_tutorial.networks.perceptron.DeepNet` knows.
        """
        return DeepNet(
            self.norm,
            widths=self.widths,
            activation=self.activation,
            placement=self.placement,
            bias=self.bias,
            init=self.init,
            init_scale=self.init_scale,
            dropout=self.dropout,
            seed=self.model_seed,
        )

    def train(self, data: Dataset) -> History:
        """Train the network.

        Raises
        ------
        ValueError
            If ``measure`` is not a name of ``bn_tutorial.networks.probes.MEASURES``.
        """
        if self.measure is None:
            return train(self.model(), data, self.config, progress=False)
        if self.measure not in MEASURES:
            raise ValueError(f"measure is {self.measure!r}, expected one of {sorted(MEASURES)}")
        measure = MEASURES[self.measure]
        return train(self.model(), data, self.config, measure=measure, progress=False)

    def alike(self) -> Self | None:
        """Return what runs must share to be trained side by side; None if this cannot be.

        Examples
        --------
        >>> RunSpec("batch", model_seed=3).alike() == RunSpec("batch", model_seed=4).alike()
        True
        """
        config = self.config.alike()
        return replace(self, init="default", init_scale=1.0, model_seed=0, config=config)
