"""Steps other than plain gradient descent, in a training loop that knows no other.

The loop subtracts the learning rate times the gradient. What becomes of a gradient before that can
be set on the network itself: a hook on each parameter puts the step's direction in its place. So
one part of a network can have another rate or decay than the rest, and all else stays the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

PARTS = ("linear", "norm", "output")

Rule = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Steps:
    """How a network steps, given the gradients of its parameters.

    The parts of a network are ``"linear"``, the weights and biases of the hidden layers (in front
    of a normalization, if there is one), ``"norm"``, gamma and beta, and ``"output"``.

    Parameters
    ----------
    factors : tuple of three floats
        By which the learning rate is multiplied, for each of ``PARTS``; a part with a factor of
        zero stays as it is.
    decays : tuple of three floats
        Weight decay of each part, of biases, gamma and beta, too: added to the gradient is so many
        times the parameter.
    momentum : float
        The step follows ``v``, which becomes ``momentum v`` plus the gradient: heavy ball.
    adam : bool
        The step follows the running mean of the gradients (0.9) over the root of that of their
        squares (0.999), both corrected for their start (Kingma and Ba 2015).
    warm_up : int
        Over so many steps the learning rate grows, in equal parts, to what it is.

    Raises
    ------
    ValueError
        If both a momentum and Adam are wanted.
    """

    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)
    decays: tuple[float, float, float] = (0.0, 0.0, 0.0)
    momentum: float = 0.0
    adam: bool = False
    warm_up: int = 0

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.momentum and self.adam:
            raise ValueError("Adam has a momentum of its own, expected one of the two")

    def rule(self, parameter: nn.Parameter, part: str) -> Rule:
        """Return what takes each gradient of a parameter to the direction of its step."""
        factor, decay = (each[PARTS.index(part)] for each in (self.factors, self.decays))
        first, second = torch.zeros_like(parameter), torch.zeros_like(parameter)
        count = 0

        @torch.no_grad()
        def direction(gradient: Tensor) -> Tensor:
            nonlocal count
            count += 1
            if decay:
                gradient = gradient + decay * parameter
            if self.momentum:
                gradient = first.mul_(self.momentum).add_(gradient).clone()
            if self.adam:
                first.lerp_(gradient, 1 - 0.9)
                second.lerp_(gradient.square(), 1 - 0.999)
                root = (second / (1 - 0.999**count)).sqrt()
                gradient = first / (1 - 0.9**count) / (root + 1e-8)
            warm = min(1.0, count / self.warm_up) if self.warm_up else 1.0
            return gradient * (factor * warm)

        return direction


def part_of(name: str) -> str:
    """Return to which of ``PARTS`` a parameter belongs, from its name.

    Examples
    --------
    >>> part_of("hidden_1.linear.weight"), part_of("output.bias")
    ('linear', 'output')
    """
    return name.split(".")[-2]


def set_steps(model: nn.Module, steps: Steps) -> None:
    """Let a network step so from now on, wherever it is trained by plain gradient descent.

    Parameters
    ----------
    model : DeepNet or ConvNet
        Its parameters get the hooks.
    steps : Steps
        How.

    Examples
    --------
    >>> model = nn.Sequential()
    >>> model.output = nn.Linear(1, 1)
    >>> set_steps(model, Steps(factors=(1.0, 1.0, 10.0)))
    >>> loss = model(torch.ones(2, 1)).mean()
    >>> [gradient.item() for gradient in torch.autograd.grad(loss, model.parameters())]
    [10.0, 10.0]
    """
    for name, parameter in model.named_parameters():
        rule = steps.rule(parameter, part_of(name))
        parameter.register_hook(rule)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, eq=False)
class Moved:
    """How one part of a network moved over the steps of a training.

    Attributes
    ----------
    relative : ndarray, shape (steps,)
        Length of the step over the length of what it changes, all parameters of the part in one.
    length, angle : ndarray, shape (steps, units)
        Of each row of its weight matrices, a unit's weights: their length before the step, and by
        how much the step turns them, in radians.
    sideways : ndarray, shape (steps, units)
        Length of the direction's part at a right angle to these weights: the step's is that times
        the learning rate. Weight decay, which points along them, has no share in it.
    """

    relative: NDArray[np.float64]
    length: NDArray[np.float64]
    angle: NDArray[np.float64]
    sideways: NDArray[np.float64]


@contextmanager
def watch_steps(model: nn.Module, lr: float) -> Iterator[Callable[[str], Moved]]:
    """Record each step of a network that is trained while a block runs.

    Parameters
    ----------
    model : DeepNet or ConvNet
        After :func:`set_steps`, if its steps are set.
    lr : float
        The learning rate of the loop.

    Yields
    ------
    callable
        From a part that has steps to what was recorded of it.
    """
    squares, units = defaultdict[str, list[Tensor]](list), defaultdict[str, list[Tensor]](list)

    def recorder(name: str, parameter: nn.Parameter) -> Callable[[Tensor], None]:
        @torch.no_grad()
        def record(direction: Tensor) -> None:
            before, direction = parameter.double(), direction.double()
            squares[name].append(torch.stack([x.square().sum() for x in (lr * direction, before)]))
            if before.ndim > 1:
                w, d = before.flatten(1), direction.flatten(1)
                length, along = w.norm(dim=1), (w * d).sum(1) / w.norm(dim=1)
                sideways = (d - (along / length).unsqueeze(1) * w).norm(dim=1)
                angle = torch.atan2(lr * sideways, length - lr * along)
                units[name].append(torch.stack([length, angle, sideways]))

        return record

    def of(part: str) -> Moved:
        names = [name for name, _ in model.named_parameters() if part_of(name) == part]
        steps, sizes = sum(torch.stack(squares[name]) for name in names).T  # type: ignore[union-attr]
        rows = [torch.stack(units[name]) for name in names if name in units]
        found = torch.cat(rows, dim=2) if rows else torch.zeros(len(steps), 3, 0)
        length, angle, sideways = found.cpu().numpy().transpose(1, 0, 2)
        return Moved((steps / sizes).sqrt().cpu().numpy(), length, angle, sideways)

    hooks = [
        parameter.register_hook(recorder(name, parameter))  # type: ignore[no-untyped-call]
        for name, parameter in model.named_parameters()
    ]
    try:
        yield of
    finally:
        for hook in hooks:
            hook.remove()
