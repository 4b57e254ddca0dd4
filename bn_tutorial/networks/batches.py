"""What a loader yields: how a model is run on it, and how well it does.

A batch may be a tensor, inputs and targets, or a dictionary; for the rest there is ``forward``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import data

Forward = Callable[[nn.Module, Any], Any]
Loss = Callable[[Any, Any], Tensor]

_TARGETS = ("labels", "label", "targets", "target", "y")
_OUTPUTS = ("logits", "out", "output")
_RANDOM = (data.RandomSampler, data.SubsetRandomSampler, data.WeightedRandomSampler)
# Samples that are looked up behind the batches that are read, where one class has such a share.
_LATER, _MOSTLY = 10, 0.9


class Batches:
    """The first batches of a loader, as often as they are wanted.

    Parameters
    ----------
    loader : iterable
        What yields batches. An iterator, which yields them once only, is read at once, one batch
        further, and what it has yielded is kept.
    count : int
        How many at most.

    Raises
    ------
    TypeError, ValueError
        If the loader is no iterable, or yields no batch.
    """

    def __init__(self, loader: Iterable[Any], count: int) -> None:
        if not isinstance(loader, Iterable):
            raise TypeError(
                f"loader is a {type(loader).__name__}, expected one that yields batches"
            )
        if isinstance(loader, Tensor):
            raise TypeError(
                "loader is a Tensor, expected one that yields batches, such as [tensor]"
            )
        # One more than is wanted, to know whether that was all.
        self._again = list(islice(loader, count + 1)) if isinstance(loader, Iterator) else loader
        self._loader, self._count, self._ended = loader, count, False

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches."""
        found = 0
        for batch in islice(self._again, self._count):
            found += 1
            yield batch
        if not found:
            raise ValueError("the loader yields no batch: there is nothing to examine with")
        self._ended = found < self._count

    @property
    def once(self) -> bool:
        """Whether the loader yields its batches once only."""
        return isinstance(self._loader, Iterator)

    def origin(self, batch: int, classes: Counter[int]) -> Origin:
        """Return what the loader tells of itself, once it was read.

        Given the samples of a batch, and how many samples were of which class, if that is known.
        """
        ordered = not (self._ended or _length(self._again) <= self._count)
        ordered &= not _draws(self._loader)
        mostly_one = max(classes.values(), default=0) >= max(_MOSTLY * classes.total(), 1)
        told = getattr(self._loader, "batch_size", None)
        return Origin(
            *_samples(self._loader),
            "loader.batch_size" if told else str(batch),
            ordered,
            self._later() if ordered and mostly_one else [],
        )

    def _later(self) -> list[int]:
        """Look up classes of samples behind the batches, evenly spread, the last among them."""
        items, first = _in_order(self._loader, self._count)
        try:
            steps = range(1, _LATER + 1)
            places = {first - 1 + (len(items) - first) * step // _LATER for step in steps}
            found = [
                _class_of(items[place], items is self._loader)
                for place in sorted(places)
                if place >= first
            ]
        except Exception:  # of a data set, which need not have these samples
            return []
        return [one for one in found if one is not None]


@dataclass
class Origin:
    """Where batches come from, as far as their loader tells.

    Attributes
    ----------
    samples, options : str
        What a new loader is made of, as code with ``loader``: its samples, empty where they cannot
        be had one by one; and further arguments.
    size : str
        The samples of a batch, as code.
    ordered : bool
        Whether there are further batches of which nothing tells that they are drawn at random.
    later : list of int
        The classes of a few samples among these, where they could be looked up.
    """

    samples: str = "loader.dataset"
    options: str = ""
    size: str = "loader.batch_size"
    ordered: bool = False
    later: list[int] = field(default_factory=list)


def _length(loader: Any) -> float:
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return float("inf")


def _sampler(loader: Any) -> Any:
    """Return what draws the samples of plain batches, or None: others may be of any kind."""
    batched = getattr(loader, "batch_sampler", None)
    return batched.sampler if type(batched) is data.BatchSampler else None


def _draws(loader: Any) -> bool:
    """Whether a loader draws each of its samples at random."""
    sampler = _sampler(loader)
    if isinstance(sampler, data.DistributedSampler):
        return bool(sampler.shuffle)
    return isinstance(sampler, _RANDOM)


def _in_order(loader: Any, count: int) -> tuple[Any, int]:
    """Return what can be looked up, batches or samples, and the first behind so many batches."""
    if isinstance(loader, list | tuple):
        return loader, count
    sampler = _sampler(loader)
    if type(sampler) is data.SequentialSampler and loader.collate_fn is data.default_collate:
        return sampler.data_source, count * loader.batch_sampler.batch_size
    return [], 0


def _class_of(item: Any, batch: bool) -> int | None:
    """Return the class of a sample, or of the first of a batch."""
    if isinstance(item, Mapping):
        target = next((item[name] for name in _TARGETS if name in item), None)
    else:
        target = item[1] if isinstance(item, list | tuple) and len(item) == 2 else None
    target = target[0] if batch and target is not None else target
    whole = target is not None and torch.as_tensor(target).numel() == 1
    return int(torch.as_tensor(target)) if whole else None


def _samples(loader: Any) -> tuple[str, str]:
    """Return the code of a loader's samples and of what else makes it, or nothing."""
    if isinstance(loader, list | tuple):
        if all(isinstance(batch, Tensor) for batch in loader):
            return "[row for batch in loader for row in batch]", ""
        rows = all(
            isinstance(batch, list | tuple) and all(isinstance(part, Tensor) for part in batch)
            for batch in loader
        )
        return ("[row for batch in loader for row in zip(*batch)]" if rows else ""), ""
    of = getattr(loader, "dataset", None)
    whole = isinstance(loader, data.DataLoader) and loader.batch_sampler is None  # batches in it
    if whole or isinstance(of, data.IterableDataset) or not hasattr(of, "__getitem__"):
        return "", ""
    plain = getattr(loader, "collate_fn", None) in (None, data.default_collate)
    return "loader.dataset", "" if plain else ", collate_fn=loader.collate_fn"


def run(model: nn.Module, batch: Any, forward: Forward | None) -> tuple[Any, Any]:
    """Run a model on a batch; return its output, and the target or None.

    The batch is taken to the device of the model and, if all its parameters have one precision, to
    that. With ``forward``, what that returns: an output, or an output and a target.

    Raises
    ------
    TypeError
        If the batch is of no known kind.
    """
    batch = _moved(batch, *_home(model))
    if forward is not None:
        result = forward(model, batch)
        return result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if isinstance(batch, Tensor):
        return model(batch), None
    if isinstance(batch, list | tuple) and len(batch) in (1, 2) and isinstance(batch[0], Tensor):
        return model(batch[0]), batch[1] if len(batch) == 2 else None
    if isinstance(batch, Mapping):
        given = [key for key in _TARGETS if key in batch]
        inputs = {key: value for key, value in batch.items() if key not in given[:1]}
        target = batch[given[0]] if given else None
        alone = len(inputs) == 1
        return (model(*inputs.values()) if alone else model(**inputs)), target
    kind = type(batch).__name__ + (f" of {len(batch)}" if isinstance(batch, list | tuple) else "")
    raise TypeError(
        f"the loader yields a {kind}, expected a tensor, (inputs, targets) or a dictionary: "
        "give forward=lambda model, batch: (output, target)"
    )


def is_plain(model: nn.Module, batch: Any) -> bool:
    """Whether ``update_bn`` can run the model on a batch as it is: a tensor, or one in front."""
    x = batch[0] if isinstance(batch, list | tuple) and batch else batch
    _, dtype = _home(model)
    return isinstance(x, Tensor) and (not x.is_floating_point() or dtype in (None, x.dtype))


def first_of(batch: Any, count: int) -> Any:
    """Return so many samples of a batch: of each of its tensors that has an entry for each."""
    whole = size(batch)
    return _with(batch, lambda x: x[:count] if x.ndim and len(x) == whole else x)


def size(batch: Any) -> int:
    """Return the number of samples: the length of the first tensor that is found, else 0."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 0
    if isinstance(batch, Mapping):
        batch = batch.values()
    if isinstance(batch, Iterable) and not isinstance(batch, str | bytes):
        return next((found for part in batch if (found := size(part))), 0)
    return 0


def tensor_of(output: Any) -> Tensor | None:
    """Return the tensor of predictions among what a model returns, or None."""
    if isinstance(output, Tensor):
        return output
    for name in _OUTPUTS:
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    parts = output.values() if isinstance(output, Mapping) else output
    if isinstance(parts, Iterable):
        return next((part for part in parts if isinstance(part, Tensor)), None)
    return None


@dataclass
class Score:
    """How well a model does on batches: of each, its loss, and how many samples are right.

    Attributes
    ----------
    losses, right, counts : list
        By batch; no losses or numbers of right samples where they are not known.
    classes : list of Counter
        By batch, how many samples are of which class, where each sample has one.
    """

    losses: list[float] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    classes: list[Counter[int]] = field(default_factory=list)

    def add(self, output: Any, target: Any, loss: Loss | None) -> None:
        """Score one batch."""
        value, right, count = _judged(output, target, loss)
        self.counts.append(count)
        if value is not None:
            self.losses.append(float(value))
        if right is not None:
            self.right.append(int(right))
        if classes := _classes(output, target):
            self.classes.append(classes)

    @property
    def loss(self) -> float | None:
        """The mean loss."""
        pairs = list(zip(self.losses, self.counts, strict=False))
        total = sum(count for _, count in pairs)
        return sum(loss * count for loss, count in pairs) / total if total else None

    @property
    def accuracy(self) -> float | None:
        """The share of samples that are right."""
        return sum(self.right) / sum(self.counts) if self.right and sum(self.counts) else None


def _judged(output: Any, target: Any, loss: Loss | None) -> tuple[Any, Any, int]:
    """Return loss and number of right samples, or None, and the number of samples."""
    y = tensor_of(output)
    count = target.numel() if isinstance(target, Tensor) else (len(y) if y is not None else 1)
    value = loss(output, target) if loss is not None else getattr(output, "loss", None)
    if y is None or not isinstance(target, Tensor):
        return value, None, count
    y = y.float() if y.dtype in (torch.float16, torch.bfloat16) else y
    target = target.to(y.device)
    right = None
    whole = not (target.is_floating_point() or target.is_complex())
    if whole and y.ndim == target.ndim + 1 and y.shape[1:2] != (1,):
        if y.shape[:1] + y.shape[2:] == target.shape:  # logits of classes
            right = (y.argmax(1) == target).sum()
            value = functional.cross_entropy(y, target.long()) if value is None else value
    elif y.numel() == target.numel():
        y = y.reshape(target.shape)
        if whole:  # logits of yes and no
            right = ((y > 0) == (target > 0)).sum()
            other = functional.binary_cross_entropy_with_logits
            value = other(y, target.to(y.dtype)) if value is None else value
        elif value is None:
            value = functional.mse_loss(y, target.to(y.dtype))
    return value, right, count


def _classes(output: Any, target: Any) -> Counter[int]:
    """Count the samples of each class, where a sample has one class of several, or yes or no."""
    y = tensor_of(output)
    if y is None or not isinstance(target, Tensor) or target.is_complex() or y.ndim > 2:
        return Counter()
    several = y.ndim == 2 and y.shape[1] > 1
    if several:
        one_each = target.ndim == 1 and len(y) == len(target) and not target.is_floating_point()
    else:
        one_each = target.numel() == len(target) == y.numel() if target.ndim else False
        one_each = one_each and bool(((target == 0) | (target == 1)).all())
    return Counter(target.flatten().long().tolist()) if one_each else Counter()


def _home(model: nn.Module) -> tuple[torch.device | None, torch.dtype | None]:
    """Return where the model is, and the one precision that it has, if it is one."""
    tensors = [*model.parameters(), *model.buffers()]
    kinds = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()}
    return (tensors[0].device if tensors else None), (kinds.pop() if len(kinds) == 1 else None)


def _moved(part: Any, device: torch.device | None, dtype: torch.dtype | None) -> Any:
    """Take the tensors of a batch to the model; only inputs' precision follows the model's."""
    return _with(part, lambda x: x.to(device, dtype if x.is_floating_point() else None))


def _with(part: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a batch, or a part of it, with each of its tensors changed."""
    if isinstance(part, Tensor):
        return change(part)
    if isinstance(part, Mapping):
        return {key: _with(value, change) for key, value in part.items()}
    if isinstance(part, tuple) and hasattr(part, "_fields"):  # a named one
        return type(part)(*(_with(value, change) for value in part))
    if isinstance(part, list | tuple):
        return type(part)(_with(value, change) for value in part)
    return part
