"""Runs of perceptrons that have a remedy for small batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bn_tutorial.data.dataset import Dataset
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.training import History, device, train
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.remedies import set_remedy


@dataclass(frozen=True)
class RemediedSpec(RunSpec):
    """One perceptron, how it is trained, and its remedy.

    Parameters
    ----------
    remedy : str, optional
        A key of :data:`bn_tutorial.networks.remedies.REMEDIES`; then ``norm`` is None.
    shown : int
        So many training images go through the network in one pass, before the first step and
        without a gradient: statistics that are frozen are theirs. None by default.
    """

    remedy: str | None = None
    shown: int = 0

    def model(self) -> DeepNet:
        """Return the network with its initial weights and the remedy."""
        model = super().model()
        if self.remedy is not None:
            set_remedy(model, self.remedy)
        return model

    def train(self, data: Dataset) -> History:
        """Train the network."""
        model = self.model()
        if self.shown:
            first = data.standardize(data.train.images[: self.shown]).to(device())
            with torch.no_grad():
                model.to(device()).train()(first)
        return train(model, data, self.config, progress=False)

    def alike(self) -> None:
        """Return None: these are trained alone, with what is shown before the first step."""
