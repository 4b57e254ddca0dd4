"""Train a few weights of each unit, drawn at random: as few as gamma and beta are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bn_tutorial.networks.settings import whole


def train_few_weights(model: nn.Module, per_unit: int, seed: int) -> None:
    """Let only so many incoming weights of each hidden unit learn; the others stay as they are.

    The biases of the hidden layers stay, too. Of the other parts of the network nothing is changed.

    Parameters
    ----------
    model : DeepNet
        The gradients of its hidden weights are zero from now on where a weight is to stay.
    per_unit : int
        How many weights of a unit learn; at most as many as it has.
    seed : int
        Decides which.

    Raises
    ------
    ValueError
        If a unit has not as many, or it is less than one.

    Examples
    --------
    >>> from bn_tutorial.networks.perceptron import DeepNet
    >>> model = DeepNet("batch", widths=(784, 3, 2))
    >>> train_few_weights(model, 2, seed=0)
    >>> loss = model(torch.randn(5, 784))[0, 0]
    >>> (gradient,) = torch.autograd.grad(loss, [model.hidden_1.linear.weight])
    >>> (gradient != 0).sum(dim=1).tolist()
    [2, 2, 2]
    """
    per_unit = whole(per_unit, "per_unit")
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("linear.weight"):
            if not 1 <= per_unit <= parameter.shape[1]:
                raise ValueError(
                    f"per_unit is {per_unit}, expected from 1 to the {parameter.shape[1]} of {name}"
                )
            order = torch.rand(parameter.shape, generator=generator).argsort(dim=1)
            learns = (order < per_unit).to(parameter)
        elif name.endswith("linear.bias"):
            learns = torch.zeros_like(parameter)
        else:
            continue
        parameter.register_hook(_times(learns))  # type: ignore[no-untyped-call]


def _times(learns: Tensor) -> object:
    # The network may be moved to a device after this.
    return lambda gradient: gradient * learns.to(gradient)
