"""One training loop for every experiment: plain stochastic gradient descent.

The data are standardized once and held in memory; a batch is a selection of rows. That is the whole
difference from a loop that decodes and scales every image in every epoch, and it is why an epoch
takes little longer than its matrix products.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from bn_tutorial.data import Dataset

_EVALUATION_BATCH = 2_000  # images; the activations of so many stay in the processor's cache


@dataclass(frozen=True)
class Config:
    """How a network is trained.

    Parameters
    ----------
    epochs : int
        How many times the training set is passed through.
    batch_size : int
        Images per step. The last batch of an epoch holds what is left, and is used too.
    lr : float
        Learning rate: the step is ``-lr`` times the gradient of the batch's mean loss.
    seed : int
        Seed of the order of the images, which is drawn anew in every epoch.

    Raises
    ------
    ValueError
        If ``epochs`` or ``batch_size`` is less than one, or ``lr`` is not a positive number.

    Examples
    --------
    >>> Config(lr=0.5)
    Config(epochs=10, batch_size=128, lr=0.5, seed=0)
    """

    epochs: int = 10
    batch_size: int = 128
    lr: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that train nothing."""
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}, expected a positive number")


@dataclass(frozen=True, eq=False)
class History:
    """What was measured while a network was trained.

    The lengths depend on the configuration and the data alone: where a run has diverged, what
    could not be measured is nan. Two histories are equal if all their numbers are, nan to nan;
    ``seconds`` does not count.

    Attributes
    ----------
    train_loss, train_accuracy : tuple of float, one per epoch
        Mean over the epoch's batches of the cross-entropy (nat), and share of the epoch's images
        that were classified correctly. Both in training mode and while the weights move, each
        batch just before the step that learns from it.
    test_loss, test_accuracy : tuple of float, one per epoch
        Mean cross-entropy (nat) over the test set and share classified correctly, in evaluation
        mode, after the epoch.
    step_loss : tuple of float, one per step
        The cross-entropy (nat) of each batch, before the step that learns from it.
    seconds : float
        Duration of the training, in seconds, evaluations included.
    diverged_at : int or None
        The first step, counted from zero over all epochs, whose loss was not finite. If it was the
        test loss that was not finite, the last step of that epoch. From that step on, and for its
        whole epoch and all that follow, every number is nan.
    """

    train_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    test_loss: tuple[float, ...]
    test_accuracy: tuple[float, ...]
    step_loss: tuple[float, ...]
    seconds: float
    diverged_at: int | None = None

    def __eq__(self, other: object) -> bool:
        """Whether all numbers but the seconds are the same; nan is the same as nan."""
        if not isinstance(other, History):
            return NotImplemented
        return self._measured() == other._measured()

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(self._measured())

    def _measured(self) -> tuple[object, ...]:
        """Return all that counts for equality, with None for nan, which does not equal itself."""
        names = [field.name for field in fields(self)[:5]]
        curves = (getattr(self, name) for name in names)
        known = (tuple(None if math.isnan(v) else v for v in curve) for curve in curves)
        return *known, self.diverged_at


def train(
    model: nn.Module, data: Dataset, config: Config | None = None, *, progress: bool | None = None
) -> History:
    """Train a network by stochastic gradient descent on the cross-entropy.

    Parameters
    ----------
    model : Module
        Maps a float32 Tensor, shape (N, 784), to logits, shape (N, number of classes). It is
        trained in place and left in evaluation mode. Parameters that require no gradient stay as
        they are.
    data : Dataset
        What to train and to test on.
    config : Config, optional
        How to train; by default ``Config()``.
    progress : bool, optional
        Whether to show a progress bar on standard error; by default only where a person watches,
        that is on a terminal.

    Returns
    -------
    History
        The loss and accuracy of every epoch, and the loss of every step.

    Raises
    ------
    ValueError
        From batch normalization, if the last batch of an epoch holds a single image.

    Notes
    -----
    The order of the images depends on ``config.seed`` alone; PyTorch's global random state is
    neither used nor changed. With the same number of threads, the same arguments give the same
    history, bit by bit.

    A loss that is nan or infinite is an outcome, not an error: the training stops at the end of
    that epoch, and the history says at which step it happened.

    Examples
    --------
    >>> from bn_tutorial.data import Dataset, Split
    >>> images = torch.arange(4 * 784).view(4, 28, 28).to(torch.uint8)
    >>> split = Split(images, torch.tensor([0, 1, 0, 1]))
    >>> data = Dataset("stripes", "stripes", "none", "made here", "0", split, split)
    >>> model = nn.Linear(784, 2)
    >>> history = train(model, data, Config(epochs=3, batch_size=2))
    >>> len(history.test_accuracy), len(history.step_loss), history.diverged_at
    (3, 6, None)
    """
    config = config or Config()
    tensors = _tensors(data)
    generator = torch.Generator().manual_seed(config.seed)
    steps = math.ceil(len(tensors.train_labels) / config.batch_size)

    epochs: list[_Epoch] = []
    diverged_at = None
    start = time.perf_counter()
    # tqdm takes disable=None to mean "unless this is a terminal".
    disable = None if progress is None else not progress
    with tqdm(total=config.epochs, unit="epoch", disable=disable, leave=False) as bar:
        while len(epochs) < config.epochs and diverged_at is None:
            order = torch.randperm(len(tensors.train_labels), generator=generator)
            losses, train_accuracy = _train_epoch(model, tensors, order, config)
            test_loss, test_accuracy = _evaluate(model, tensors)
            epochs.append(_Epoch(losses, train_accuracy, test_loss, test_accuracy))
            if (broken := epochs[-1].first_not_finite()) is not None:
                diverged_at = steps * (len(epochs) - 1) + broken
            bar.update()
            bar.set_postfix(test_accuracy=f"{test_accuracy:.1%}")
    return _history(epochs, config.epochs, steps, diverged_at, time.perf_counter() - start)


class _Tensors(NamedTuple):
    """What the loop reads: standardized images (N, 784) and labels (N,)."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@lru_cache(maxsize=1)
def _tensors(data: Dataset) -> _Tensors:
    """Standardize once for all runs on the same data, not once for each run."""
    train, test = data.train, data.test
    images = data.standardize(train.images), data.standardize(test.images)
    return _Tensors(images[0], train.labels, images[1], test.labels)


class _Epoch(NamedTuple):
    """What one epoch has measured; see History for the meaning."""

    step_loss: list[float]
    train_accuracy: float
    test_loss: float
    test_accuracy: float

    def first_not_finite(self) -> int | None:
        """Return the first step without a finite loss; the last one if only the test shows it."""
        for step, loss in enumerate(self.step_loss):
            if not math.isfinite(loss):
                return step
        return None if math.isfinite(self.test_loss) else len(self.step_loss) - 1


def _train_epoch(
    model: nn.Module, data: _Tensors, order: Tensor, config: Config
) -> tuple[list[float], float]:
    """Pass once through the images in this order; return each step's loss, and the accuracy."""
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    labels = data.train_labels[order]
    batches = (torch.split(indices, config.batch_size) for indices in (order, labels))
    # Losses and logits are looked at when the epoch is over: whatever a step does besides its
    # matrix products is felt, for it takes a few milliseconds in all.
    losses, outputs = [], []
    for indices, targets in zip(*batches, strict=True):
        logits = model(data.train_images.index_select(0, indices))
        loss = cross_entropy(logits, targets)
        # Not torch.optim.SGD: it is no faster, and importing it takes each process some seconds.
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=config.lr)
        losses.append(loss.detach())
        outputs.append(logits.detach())
    return torch.stack(losses).tolist(), _accuracy(torch.cat(outputs), labels)


@torch.inference_mode()
def _evaluate(model: nn.Module, data: _Tensors) -> tuple[float, float]:
    """Return mean loss and accuracy over the test set, in evaluation mode."""
    model.eval()
    batches = torch.split(data.test_images, _EVALUATION_BATCH)
    logits = torch.cat([model(images) for images in batches])
    loss = cross_entropy(logits.double(), data.test_labels)
    return loss.item(), _accuracy(logits, data.test_labels)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return int((logits.argmax(1) == labels).sum()) / len(labels)


def _history(
    epochs: list[_Epoch], count: int, steps: int, diverged_at: int | None, seconds: float
) -> History:
    """Put the epochs together, with nan for all that divergence has left without a meaning."""
    sound = epochs if diverged_at is None else epochs[:-1]
    step_loss = [loss for epoch in epochs for loss in epoch.step_loss][:diverged_at]

    def padded(values: list[float], length: int) -> tuple[float, ...]:
        return *values, *[math.nan] * (length - len(values))

    return History(
        train_loss=padded([math.fsum(e.step_loss) / steps for e in sound], count),
        train_accuracy=padded([e.train_accuracy for e in sound], count),
        test_loss=padded([e.test_loss for e in sound], count),
        test_accuracy=padded([e.test_accuracy for e in sound], count),
        step_loss=padded(step_loss, count * steps),
        seconds=seconds,
        diverged_at=diverged_at,
    )
