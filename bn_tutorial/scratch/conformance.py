"""How far are our layers from PyTorch's?

:func:`differences` runs a layer and its PyTorch namesake side by side, in both modes. That it would
notice an error is known from layers that have one: :mod:`bn_tutorial.scratch.faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from bn_tutorial.scratch.arrays import Array
from bn_tutorial.scratch.faults import Batch
from bn_tutorial.scratch.gradcheck import compare
from bn_tutorial.scratch.layer import Layer

MODES = ("training", "evaluation")


class Difference(float):
    """How far a quantity is from PyTorch's; ``words`` says where and how, or why it is infinite."""

    words: str

    def __new__(cls, value: float, words: str = "") -> Self:
        """Give the number its words."""
        difference = super().__new__(cls, value)
        difference.words = words
        return difference

    def __repr__(self) -> str:
        """Show both."""
        return f"{self:.1e} ({self.words})"


def differences(
    ours: Layer,
    theirs: nn.Module,
    shape: tuple[int, ...],
    *,
    batches: int = 3,
    seed: int = 0,
    expected: Callable[[Batch], Mapping[str, Array]] | None = None,
) -> dict[tuple[str, str], Difference]:
    """Run both layers on the same random batches and compare all that they compute.

    Scale, shift and the upstream gradients are random: with gamma one, beta zero or an upstream
    gradient of ones, many an error gives the right number.

    Parameters
    ----------
    ours, theirs : Layer, torch.nn.Module
        With the same arguments. Both are given new parameters, and leave in evaluation mode;
        PyTorch's dtype is that of the comparison.
    shape : tuple of int
        Of a batch.
    batches, seed : int
        How many training batches come before the one in evaluation mode; of the random numbers.
    expected : callable, optional
        What ours should compute *instead* of PyTorch's values, such as the ``predict`` of a
        :class:`~bn_tutorial.scratch.faults.Fault`.

    Returns
    -------
    dict
        From (mode, quantity) to the greatest absolute difference of an element, over the greatest
        absolute value of PyTorch's (over one if that is smaller). The quantities are ``y``,
        ``dx``, ``dgamma``, ``dbeta``, ``running_mean`` and ``running_var``, as far as they exist.
    """
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(0.5, 1.0, tuple(parameter.shape))))
    ours.load_state_dict(theirs.state_dict())
    state = theirs.state_dict().values()
    dtype = next((t.dtype for t in state if t.is_floating_point()), torch.float64)

    found: dict[tuple[str, str], Difference] = {}
    for mode in ["training"] * batches + ["evaluation"]:
        theirs.train(mode == "training")
        ours.train(mode == "training")
        x = torch.from_numpy(rng.normal(3.0, 5.0, shape)).to(dtype)
        dy = torch.from_numpy(rng.normal(0.0, 1.0, shape)).to(dtype)
        right = _computed_by_theirs(theirs, x, dy)
        if expected is not None:
            right |= expected(Batch.before(ours, x.numpy(), dy.numpy(), right))
        mine = _computed_by_ours(ours, x.numpy(), dy.numpy())
        for quantity in mine:
            if mine[quantity] is None and right[quantity] is None:
                continue
            difference = relative_difference(mine[quantity], right[quantity])
            if not difference < found.get((mode, quantity), 0.0):
                found[mode, quantity] = difference
    return found


def _computed_by_ours(ours: Layer, x: Array, dy: Array) -> dict[str, Array | None]:
    y = ours.forward(x)
    # An output of another shape has no gradient for this dy: there is nothing to compare.
    backed = y.shape == dy.shape
    return {
        "y": y,
        "dx": ours.backward(dy) if backed else None,
        "dgamma": ours.dgamma if backed else None,
        "dbeta": ours.dbeta if backed else None,
        "running_mean": getattr(ours, "running_mean", None),
        "running_var": getattr(ours, "running_var", None),
    }


def _computed_by_theirs(theirs: nn.Module, x: torch.Tensor, dy: torch.Tensor) -> dict[str, Any]:
    x = x.clone().requires_grad_()
    theirs.zero_grad()
    y = theirs(x)
    y.backward(dy)
    tensors = {
        "y": y,
        "dx": x.grad,
        "dgamma": getattr(getattr(theirs, "weight", None), "grad", None),
        "dbeta": getattr(getattr(theirs, "bias", None), "grad", None),
        "running_mean": getattr(theirs, "running_mean", None),
        "running_var": getattr(theirs, "running_var", None),
    }
    return {name: None if t is None else t.detach().numpy() for name, t in tensors.items()}


def relative_difference(mine: Array | None, reference: Array | None) -> Difference:
    """Return the greatest difference of an element, relative to the greatest reference value.

    Infinity where the shapes differ, one is missing, or an element is not a finite number.
    """
    if mine is None or reference is None or mine.shape != reference.shape:
        shapes = ("nothing" if a is None else f"shape {a.shape}" for a in (mine, reference))
        return Difference(np.inf, ", expected ".join(shapes))
    found = compare(mine, reference)
    return Difference(found.error, str(found))
