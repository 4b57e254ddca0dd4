"""How far the gradient of a layer shifts when the layers before it take their step.

A definition of internal covariate shift that does not look at distributions. In a step all layers
move at once, each by a gradient that was taken while the layers before it stood where they were. So
how far is that gradient from the one that the layer would get after those have moved?
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bn_tutorial.data.dataset import Dataset
from bn_tutorial.lab.training import Config, batches_of, device, tensors_of, train
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import batch_statistics


def gradient_shift(
    model: nn.Module, loss: Callable[[], Tensor], layers: Sequence[nn.Module], lr: float
) -> NDArray[np.float64]:
    r"""Compare the gradients of layers before and after the step of all layers in front of each.

    With the loss :math:`\mathcal L` of one batch, the weights :math:`W_i`, and all that is learned
    in the layers after one step, marked by a prime,

    .. math::

       G_i = \frac{\partial \mathcal L}{\partial W_i}(W_1, \dots, W_k), \qquad
       G'_i = \frac{\partial \mathcal L}{\partial W_i}(W'_1, \dots, W'_{i-1}, W_i, \dots, W_k).

    Parameters
    ----------
    model : Module
        Left as it was, its running statistics too. In each pass what has running statistics
        normalizes with those of the batch, and noise of
        :class:`~bn_tutorial.networks.shifting.Shifting` is the same.
    loss : callable
        Returns the loss of the model on one batch, a scalar Tensor.
    layers : sequence of Module
        Of the model, in the order in which data pass through them. Of each, the gradient of its
        first matrix is looked at; all of its parameters take part in the step.
    lr : float
        Learning rate: the step is ``-lr`` times the gradient.

    Returns
    -------
    ndarray, shape (layers - 1, 2)
        For each layer but the first, in front of which nothing moves: the length of the difference
        :math:`G'_i - G_i` over that of :math:`G_i`, and the cosine of the angle between them. A
        gradient of zero has neither: nan.

    References
    ----------
    Definition 2.1 of Santurkar et al. 2018, who take the length of the difference itself; over that
    of the gradient, it does not depend on the unit of the weights.

    Examples
    --------
    >>> first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> model = nn.Sequential(first, second)
    >>> with torch.no_grad():
    ...     first.weight[:], second.weight[:] = 1.0, 2.0
    >>> def loss():  # its gradients are 4 and 2, so that the first weight moves from 1 to 0.6
    ...     return model(torch.ones(1, 1)).square().sum() / 2
    >>> gradient_shift(model, loss, [first, second], lr=0.1).round(6)  # from 2 to 0.72
    array([[0.64, 1.  ]])
    """
    parts = [list(layer.parameters()) for layer in layers]
    weights = [next(part for part in own if part.ndim > 1) for own in parts]

    def gradients(of: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with batch_statistics(model):  # each pass with the same noise, and without a trace
            return torch.autograd.grad(loss(), of)

    flat = [parameter for own in parts for parameter in own]
    before = [parameter.detach().clone() for parameter in flat]
    found = dict(zip(flat, gradients(flat), strict=True))
    shifts = []
    try:
        for own, weight in zip(parts[:-1], weights[1:], strict=True):
            with torch.no_grad():
                for parameter in own:
                    parameter.sub_(found[parameter], alpha=lr)
            (after,) = gradients([weight])
            shifts.append(_compared(found[weight].double().ravel(), after.double().ravel()))
    finally:
        with torch.no_grad():
            for parameter, value in zip(flat, before, strict=True):
                parameter.copy_(value)
    return np.array(shifts).reshape(-1, 2)


def _compared(before: Tensor, after: Tensor) -> list[float]:
    # Not Tensor.norm, which on some devices takes a way that PyTorch has deprecated.
    length = torch.linalg.vector_norm(before)
    moved = torch.linalg.vector_norm(after - before) / length
    cosine = before @ after / (length * torch.linalg.vector_norm(after))
    return [moved.item(), cosine.item()]


def shifts_in_training(
    model: DeepNet, data: Dataset, config: Config, steps: Collection[int]
) -> NDArray[np.float64]:
    """Train a network, and measure its gradients' shift at some of the steps.

    Parameters
    ----------
    model, data, config
        As for :func:`bn_tutorial.lab.training.train`; the weights do not decay. What is trained
        does not depend on the looks.
    steps : collection of int
        At which steps, the first of which is 0: with the weights before that step, on its batch.

    Returns
    -------
    ndarray, shape (steps, hidden layers - 1, 2)
        As :func:`gradient_shift` of the hidden layers, in the order of training.

    Raises
    ------
    ValueError
        If the weights decay, or a step is none of the training.
    """
    if config.weight_decay:
        raise ValueError("the weights decay, expected a step along the gradient of the loss alone")
    if not set(steps) <= set(range(config.steps)):
        raise ValueError(f"the steps are {sorted(steps)}, expected some of {config.steps}")
    batches = enumerate(batches_of(tensors_of(data, device()), config))
    shifts = list[NDArray[np.float64]]()
    looking = False

    def look(_module: nn.Module, _inputs: object) -> None:
        nonlocal looking
        if looking or not model.training:  # a look itself runs the model, and so do evaluations
            return
        step, (images, labels) = next(batches)
        if step not in steps:
            return
        looking = True
        shifts.append(
            gradient_shift(
                model,
                lambda: cross_entropy(model(images), labels),
                list(model.children())[:-1],
                config.lr,
            )
        )
        looking = False

    hook = model.register_forward_pre_hook(look)
    try:
        train(model, data, config, progress=False)
    finally:
        hook.remove()
    return np.array(shifts)
