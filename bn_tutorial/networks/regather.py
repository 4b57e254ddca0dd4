"""Gather running statistics anew, as :func:`bn_tutorial.networks.examine.examine` tries it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from bn_tutorial.networks.batches import Batches, Forward
from bn_tutorial.networks.trials import Trial
from bn_tutorial.networks.untouched import untouched

_ALL = 2**40  # batches


def gather_anew(model: nn.Module, loader: Iterable[Any], forward: Forward | None = None) -> None:
    """Give a model the running statistics of what reaches its layers today.

    ``torch.optim.swa_utils.update_bn`` does so, too, but in train mode: with dropout on, and over
    layers whose statistics shall stay. Here all else is in evaluation mode, and layers that stay in
    it while the model trains keep what they have.

    Parameters
    ----------
    model : Module
        Only its running statistics and their counters change.
    loader : iterable
        Batches of any kind that ``examine`` takes; all of them are read.
    forward : callable, optional
        As of ``examine``.

    Raises
    ------
    TypeError, ValueError
        If the loader yields no batch, or batches of no known kind; the model is then as it was.

    Examples
    --------
    >>> import torch
    >>> model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(1))
    >>> gather_anew(model, [torch.tensor([[1.0], [3.0]])])
    >>> model[1].running_mean.item(), model[1].running_var.item()
    (2.0, 2.0)
    """
    with untouched(model, loader):
        trial = Trial(model, Batches(loader, _ALL), None, forward)
        statistics = trial.of_batches()
    trial.put(statistics)  # the model has its own buffers again
    for name in statistics:
        counter = getattr(trial.found.layers[name], "num_batches_tracked", None)
        if isinstance(counter, Tensor):
            counter.fill_(trial.found.forwards)
