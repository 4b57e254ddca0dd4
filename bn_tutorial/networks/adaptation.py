"""Evaluate a network with the statistics of its test batches, and adapt it to them."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bn_tutorial.networks.probes import batch_statistics


@torch.no_grad()
def with_batch_statistics(model: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """Return the outputs of all batches, each normalized with its own mean and variance.

    The model is left as it was, its running statistics too.

    Parameters
    ----------
    model : Module
        From a Tensor, shape (N, ...), to one of shape (N, classes).
    batches : iterable of Tensor
        At least one.

    Returns
    -------
    Tensor, shape (samples, classes)
        In the order of the batches.

    References
    ----------
    Schneider et al. 2020.

    Examples
    --------
    >>> model = nn.BatchNorm1d(1).eval()
    >>> batches = torch.tensor([[1.0], [3.0], [100.0], [300.0]]).split(2)
    >>> with_batch_statistics(model, batches).round(decimals=3).ravel().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    with batch_statistics(model):
        return torch.cat([model(batch) for batch in batches])


def tent(model: nn.Module, batches: Iterable[Tensor], lr: float) -> Tensor:
    """Return the outputs of all batches while gamma and beta adapt to them, without labels.

    Each batch is normalized with its own statistics and answered; then gamma and beta of all batch
    normalizations take one step down the gradient of the mean entropy of the answers. The next
    batch meets the new ones. A copy of the model adapts; the model is left as it was.

    Parameters
    ----------
    model, batches
        As for :func:`with_batch_statistics`; the outputs are logits.
    lr : float
        How far a step goes: plain gradient descent.

    Returns
    -------
    Tensor, shape (samples, classes)
        The logits, each from before the step that its batch led to.

    Raises
    ------
    ValueError
        If the model has no batch normalization with gamma and beta.

    References
    ----------
    "Tent", Wang et al. 2021.

    Examples
    --------
    >>> model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)).eval()
    >>> x = torch.eye(2)
    >>> torch.equal(tent(model, [x], lr=1.0), with_batch_statistics(model, [x]))
    True
    """
    model = deepcopy(model)
    adapted = [
        parameter
        for layer in model.modules()
        if isinstance(layer, _BatchNorm)
        for parameter in layer.parameters()
    ]
    if not adapted:
        raise ValueError(
            f"the {type(model).__name__} has no batch normalization with gamma and beta to adapt"
        )
    found = []
    with batch_statistics(model):
        for batch in batches:
            logits = model(batch)
            gradients = torch.autograd.grad(entropy(logits), adapted)
            with torch.no_grad():
                for parameter, gradient in zip(adapted, gradients, strict=True):
                    parameter.sub_(gradient, alpha=lr)
            found.append(logits.detach())
    return torch.cat(found)


def entropy(logits: Tensor) -> Tensor:
    """Return the mean over the samples of ``-sum p log p``, in nat: how unsure the answers are.

    Parameters
    ----------
    logits : Tensor, shape (N, classes)
        The probabilities are their softmax.

    Examples
    --------
    >>> entropy(torch.zeros(3, 4)).exp().item()
    4.0
    """
    logs = logits.log_softmax(dim=1)
    return -(logs.exp() * logs).sum(dim=1).mean()
