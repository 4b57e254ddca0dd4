"""Run a model as often as one likes, and leave it and all that is random as it was.

What a forward pass can change is lent to the model as copies and taken back at the end, whatever
happened in between: so the model's own tensors are never written to, not even to restore them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def untouched(model: nn.Module, *others: object) -> Iterator[Callable[[], None]]:
    """Undo at the end what a block does to a model, short of writing into its parameters.

    Within the block the buffers, and tensors kept as plain attributes, are copies. At the end each
    module has its own again, with its mode, hooks and all other attributes; lists, dictionaries and
    sets among them have the same members. The random generators of Python, NumPy and PyTorch, on
    all devices, are where they were, and so are those kept by the model's modules or by the others.

    Parameters
    ----------
    model : Module
        The model.
    *others : object
        What else holds generators, such as a loader, its sampler or its data set.

    Yields
    ------
    callable
        Called without arguments, it takes the generators back to the beginning of the block.

    Examples
    --------
    >>> layer = nn.BatchNorm1d(1)
    >>> with untouched(layer):
    ...     y = layer(torch.rand(4, 1))
    ...     layer.num_batches_tracked.item()
    1
    >>> layer.num_batches_tracked.item()
    0
    """
    modules = list(model.modules())
    rewind = _generators([*modules, *others])
    before = [(vars(module), _contents(vars(module))) for module in modules]
    copies: dict[int, Tensor] = {}
    try:
        for module in modules:
            for place in (vars(module), module._buffers):
                _lend(place, copies)
        yield rewind
    finally:
        for attributes, (values, members) in before:
            attributes.clear()
            attributes.update(values)
            for container, kept in members:
                _refill(container, kept)
        rewind()


def _lend(place: dict[str, Any], copies: dict[int, Tensor]) -> None:
    """Replace the tensors of a dictionary by copies, the same tensor always by the same copy."""
    for name, value in place.items():
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            if id(value) not in copies:
                copies[id(value)] = value.detach().clone()
            place[name] = copies[id(value)]


def _contents(attributes: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[Any, Any]]]:
    """Return attributes as they are, and the members of those that are containers."""
    containers = [v for v in attributes.values() if isinstance(v, list | dict | set)]
    return dict(attributes), [(container, container.copy()) for container in containers]


def _refill(container: Any, members: Any) -> None:
    container.clear()
    if isinstance(container, list):
        container.extend(members)
    else:
        container.update(members)


def _generators(owners: list[object]) -> Callable[[], None]:
    """Return what takes all random generators back to where they are now."""
    restore: list[tuple[Callable[[Any], object], Any]] = [
        (torch.set_rng_state, torch.get_rng_state()),
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),  # noqa: NPY002  (others draw from it)
    ]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        restore.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    if torch.backends.mps.is_available():
        restore.append((torch.mps.set_rng_state, torch.mps.get_rng_state()))
    for owner in owners:
        for own in list(getattr(owner, "__dict__", {}).values()):
            if isinstance(own, torch.Generator):
                restore.append((own.set_state, own.get_state()))
            elif isinstance(own, random.Random):
                restore.append((own.setstate, own.getstate()))
            elif isinstance(own, np.random.Generator):
                restore.append((_setter(own), own.bit_generator.state))

    def rewind() -> None:
        for put, state in restore:
            put(state)

    return rewind


def _setter(generator: np.random.Generator) -> Callable[[Any], None]:
    def put(state: Any) -> None:
        generator.bit_generator.state = state

    return put
