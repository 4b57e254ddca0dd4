"""Runs whose networks step as they are told, learn in part, or are made to shift.

Each is a run as in ``spec`` and ``real_networks`` with more settings; without them it is the same,
bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from bn_tutorial.lab.real_networks import ConvSpec
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.networks.convolutional import ConvNet
from bn_tutorial.networks.few_weights import train_few_weights
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.shifting import add_shifting
from bn_tutorial.networks.steps import Steps, set_steps


@dataclass(frozen=True)
class SteppedSpec(RunSpec):
    """One perceptron, how it is trained, and how it steps.

    Parameters
    ----------
    factors, decays, momentum, adam, warm_up
        The arguments of :class:`bn_tutorial.networks.steps.Steps`.
    """

    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)
    decays: tuple[float, float, float] = (0.0, 0.0, 0.0)
    momentum: float = 0.0
    adam: bool = False
    warm_up: int = 0

    def model(self) -> DeepNet:
        """Return the network with its initial weights, which steps so."""
        model = super().model()
        steps = Steps(self.factors, self.decays, self.momentum, self.adam, self.warm_up)
        set_steps(model, steps)
        return model


@dataclass(frozen=True)
class FewWeightsSpec(SteppedSpec):
    """One perceptron of whose hidden weights only a few learn.

    Parameters
    ----------
    per_unit : int
        How many incoming weights of each hidden unit learn, drawn at random with the seed of the
        initial weights; with zero, all of them do.
    """

    per_unit: int = 0

    def model(self) -> DeepNet:
        """Return the network with its initial weights, most of which will stay."""
        model = super().model()
        if self.per_unit:
            train_few_weights(model, self.per_unit, self.model_seed)
        return model


@dataclass(frozen=True)
class SteppedConvSpec(ConvSpec):
    """One convolutional network, how it is trained, and how it steps.

    Parameters
    ----------
    factors, decays
        The arguments of :class:`bn_tutorial.networks.steps.Steps`.
    """

    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)
    decays: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def model(self) -> ConvNet:
        """Return the network with its initial weights, which steps so."""
        model = super().model()
        set_steps(model, Steps(self.factors, self.decays))
        return model


@dataclass(frozen=True)
class ShiftingSpec(RunSpec):
    """One perceptron, how it is trained, and how much its layers are made to shift.

    Parameters
    ----------
    shifting : float
        The size of the noise, of :func:`bn_tutorial.networks.shifting.add_shifting`.
    """

    shifting: float = 0.0

    def model(self) -> DeepNet:
        """Return the network with its initial weights, and the noise."""
        model = super().model()
        add_shifting(model, self.shifting, self.model_seed)
        return model
