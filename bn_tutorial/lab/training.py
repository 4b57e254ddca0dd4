"""One training loop for every experiment: plain stochastic gradient descent.

The data are standardized once and held in memory; a batch is a selection of rows. That is the whole
difference from a loop that decodes and scales every image in every epoch, and it is why a step
takes little longer than its matrix products.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from bn_tutorial.data.dataset import Dataset, Split

_EVALUATION_BATCH = 2_000  # images; the activations of so many stay in the processor's cache
_MEASURED = 2_000  # images; enough for a percentile

Measure = Callable[[nn.Module, Tensor], Mapping[str, float]]


@dataclass(frozen=True)
class Config:
    """How a network is trained.

    Parameters
    ----------
    steps : int
        How many times the weights are changed. The default is ten passes through the 60,000
        training images of MNIST.
    evaluate_every : int
        Steps between two evaluations; a divisor of ``steps``.
    batch_size : int
        Images per step. The last batch of a pass through the images holds what is left.
    lr : float
        Learning rate: the step is ``-lr`` times the gradient of the batch's mean loss.
    seed : int
        Seed of the order of the images, which is drawn anew for every pass.

    Raises
    ------
    ValueError
        If ``steps``, ``evaluate_every`` or ``batch_size`` is less than one, ``evaluate_every`` does
        not divide ``steps``, or ``lr`` is not a positive number.

    Examples
    --------
    >>> Config(lr=0.5)
    Config(steps=4690, evaluate_every=469, batch_size=128, lr=0.5, seed=0)
    """

    steps: int = 4690
    evaluate_every: int = 469
    batch_size: int = 128
    lr: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that train nothing."""
        for name in ("steps", "evaluate_every", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.steps % self.evaluate_every:
            raise ValueError(
                f"evaluate_every is {self.evaluate_every}, expected a divisor of {self.steps} steps"
            )
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}, expected a positive number")

    @property
    def evaluations(self) -> int:
        """How often the network is evaluated."""
        return self.steps // self.evaluate_every


@dataclass(frozen=True, eq=False)
class History:
    """What was measured while a network was trained.

    The lengths depend on the configuration and the data alone: where a run has diverged, what
    could not be measured is nan. Two histories are equal if all their numbers are, nan to nan;
    ``seconds`` does not count.

    Attributes
    ----------
    train_loss, train_accuracy : tuple of float, one per evaluation
        Mean over the batches since the evaluation before of the cross-entropy (nat), and share of
        their images that were classified correctly. Both in training mode and while the weights
        move, each batch just before the step that learns from it.
    validation_loss, validation_accuracy : tuple of float, one per evaluation
        Mean cross-entropy (nat) over the validation set and share classified correctly, in
        evaluation mode. Empty where the data have no validation set.
    test_loss, test_accuracy : tuple of float, one per evaluation
        The same over the test set.
    step_loss : tuple of float, one per step
        The cross-entropy (nat) of each batch, before the step that learns from it.
    measured : dict of str to tuple of float, one before the first step and one per evaluation
        What else was to be measured, by name.
    seconds : float
        Duration of the training, in seconds, evaluations included.
    diverged_at : int or None
        The first step, counted from zero, whose loss was not finite. If it was a loss of an
        evaluation that was not finite, the last step before it. From that step on, and for the
        whole time between two evaluations in which it lies, every number is nan.
    """

    train_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    validation_loss: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    test_loss: tuple[float, ...]
    test_accuracy: tuple[float, ...]
    step_loss: tuple[float, ...]
    measured: dict[str, tuple[float, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    diverged_at: int | None = None

    def __eq__(self, other: object) -> bool:
        """Whether all numbers but the seconds are the same; nan is the same as nan."""
        if not isinstance(other, History):
            return NotImplemented
        return self._counted() == other._counted()

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(self._counted())

    def _counted(self) -> tuple[object, ...]:
        """Return all that counts for equality, with None for nan, which does not equal itself."""
        curves = {name: getattr(self, name) for name in CURVES} | self.measured
        known = ((name, *(None if v != v else v for v in curve)) for name, curve in curves.items())
        return *known, self.diverged_at


CURVES = tuple(curve.name for curve in fields(History))[:7]


def device() -> torch.device:
    """Return the device that networks are trained on: ``BN_TUTORIAL_DEVICE``, else the processor.

    Raises
    ------
    RuntimeError
        If PyTorch does not know such a device.

    Examples
    --------
    >>> import os
    >>> os.environ["BN_TUTORIAL_DEVICE"] = "cpu"
    >>> device()
    device(type='cpu')
    """
    return torch.device(os.environ.get("BN_TUTORIAL_DEVICE") or "cpu")


def train(
    model: nn.Module,
    data: Dataset,
    config: Config | None = None,
    *,
    measure: Measure | None = None,
    progress: bool | None = None,
) -> History:
    """Train a network by stochastic gradient descent on the cross-entropy.

    Parameters
    ----------
    model : Module
        Maps a float32 Tensor, shape (N, 784), to logits, shape (N, number of classes). It is
        moved to :func:`device`, trained in place and left in evaluation mode. Parameters that
        require no gradient stay as they are.
    data : Dataset
        What to train and to test on.
    config : Config, optional
        How to train; by default ``Config()``.
    measure : callable, optional
        Called with the model and the first 2,000 test images, shape (N, 784), before the first step
        and after each evaluation; returns numbers by name. It must leave the model as it was, but
        for its mode. ``bn_tutorial.networks.probes.MEASURES`` holds some.
    progress : bool, optional
        Whether to show a progress bar on standard error; by default only where a person watches,
        that is on a terminal.

    Returns
    -------
    History
        The losses and accuracies of every evaluation, and the loss of every step.

    Raises
    ------
    ValueError
        From batch normalization, if a batch holds a single image.

    Notes
    -----
    The order of the images depends on ``config.seed`` alone; PyTorch's global random state is
    neither used nor changed. On the same processor, with the same number of threads, the same
    arguments give the same history, bit by bit.

    A loss that is nan or infinite is an outcome, not an error: the training stops soon after, and
    the history says at which step it happened.

    Examples
    --------
    >>> from bn_tutorial.data.dataset import Dataset, Split
    >>> images = torch.arange(4 * 784).view(4, 28, 28).to(torch.uint8)
    >>> split = Split(images, torch.tensor([0, 1, 0, 1]))
    >>> data = Dataset("stripes", "stripes", "none", "made here", "0", split, split)
    >>> model = nn.Linear(784, 2)
    >>> history = train(model, data, Config(steps=6, evaluate_every=2, batch_size=2))
    >>> len(history.test_accuracy), len(history.step_loss), history.diverged_at
    (3, 6, None)
    """
    config = config or Config()
    model.to(device())
    tensors = _tensors(data, device())
    batches = _batches(tensors.train, config)

    start = time.perf_counter()
    shown = tensors.test.images[:_MEASURED]
    measured = [dict(measure(model, shown))] if measure else []
    periods: list[_Period] = []
    diverged_at = None
    # tqdm takes disable=None to mean "unless this is a terminal".
    disable = None if progress is None else not progress
    with tqdm(total=config.evaluations, unit="evaluation", disable=disable, leave=False) as bar:
        while len(periods) < config.evaluations and diverged_at is None:
            losses, accuracy = _train_period(
                model, islice(batches, config.evaluate_every), config.lr
            )
            periods.append(_Period(losses, accuracy, *_evaluate(model, tensors)))
            if measure:
                measured.append(dict(measure(model, shown)))
            if (broken := periods[-1].first_not_finite()) is not None:
                diverged_at = config.evaluate_every * (len(periods) - 1) + broken
            bar.update()
            bar.set_postfix(test_accuracy=f"{periods[-1].test[1]:.1%}")
    model.eval()
    return _history(periods, measured, config, diverged_at, time.perf_counter() - start)


class _Images(NamedTuple):
    """Images as the network reads them, shape (N, 784), and their labels, shape (N,)."""

    images: Tensor
    labels: Tensor


class _Tensors(NamedTuple):
    train: _Images
    validation: _Images | None
    test: _Images


@lru_cache(maxsize=1)
def _tensors(data: Dataset, device: torch.device) -> _Tensors:
    """Standardize once for all runs on the same data, not once for each run."""

    def tensors(split: Split) -> _Images:
        return _Images(data.standardize(split.images).to(device), split.labels.to(device))

    validation = None if data.validation is None else tensors(data.validation)
    return _Tensors(tensors(data.train), validation, tensors(data.test))


def _batches(data: _Images, config: Config) -> Iterator[_Images]:
    """Yield batches without end; every pass through the images has an order of its own."""
    generator = torch.Generator().manual_seed(config.seed)
    while True:
        order = torch.randperm(len(data.labels), generator=generator).to(data.labels.device)
        labels = data.labels[order]
        for chosen, targets in zip(
            torch.split(order, config.batch_size),
            torch.split(labels, config.batch_size),
            strict=True,
        ):
            yield _Images(data.images.index_select(0, chosen), targets)


class _Period(NamedTuple):
    """What was measured between two evaluations, and at the second one; see History."""

    step_loss: list[float]
    train_accuracy: float
    validation: tuple[float, float] | None  # loss and accuracy
    test: tuple[float, float]

    def first_not_finite(self) -> int | None:
        """Return the first step without a finite loss; the last if only an evaluation shows it."""
        for step, loss in enumerate(self.step_loss):
            if not math.isfinite(loss):
                return step
        losses = [result[0] for result in (self.validation, self.test) if result]
        return None if all(map(math.isfinite, losses)) else len(self.step_loss) - 1


def _train_period(
    model: nn.Module, batches: Iterator[_Images], lr: float
) -> tuple[list[float], float]:
    """Take one step for each batch; return each step's loss, and the accuracy."""
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Losses and logits are looked at when the period is over: whatever a step does besides its
    # matrix products is felt, for it takes a few milliseconds in all.
    losses, outputs, labels = [], [], []
    for images, targets in batches:
        logits = model(images)
        loss = cross_entropy(logits, targets)
        # Not torch.optim.SGD: it is no faster, and importing it takes each process some seconds.
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=lr)
        losses.append(loss.detach())
        outputs.append(logits.detach())
        labels.append(targets)
        # What has diverged stays so. Not at each step, because a look lets a GPU run idle.
        if len(losses) % 20 == 0 and not losses[-1].isfinite():
            break
    return torch.stack(losses).tolist(), _accuracy(torch.cat(outputs), torch.cat(labels))


def _evaluate(
    model: nn.Module, data: _Tensors
) -> tuple[tuple[float, float] | None, tuple[float, float]]:
    """Return loss and accuracy on the validation set, if there is one, and on the test set."""
    model.eval()
    validation = None if data.validation is None else _score(model, data.validation)
    return validation, _score(model, data.test)


@torch.inference_mode()
def _score(model: nn.Module, data: _Images) -> tuple[float, float]:
    logits = torch.cat([model(images) for images in torch.split(data.images, _EVALUATION_BATCH)])
    loss = cross_entropy(logits.double(), data.labels)
    return loss.item(), _accuracy(logits, data.labels)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return int((logits.argmax(1) == labels).sum()) / len(labels)


def _history(
    periods: list[_Period],
    measured: list[dict[str, float]],
    config: Config,
    diverged_at: int | None,
    seconds: float,
) -> History:
    """Put the periods together, with nan for all that divergence has left without a meaning."""
    sound = periods if diverged_at is None else periods[:-1]
    step_loss = [loss for period in periods for loss in period.step_loss][:diverged_at]
    validations = [period.validation for period in sound if period.validation]
    count = config.evaluations if periods[0].validation else 0

    def padded(values: list[float], length: int = config.evaluations) -> tuple[float, ...]:
        return *values, *[math.nan] * (length - len(values))

    kept = measured[: len(sound) + 1]
    return History(
        train_loss=padded([math.fsum(p.step_loss) / len(p.step_loss) for p in sound]),
        train_accuracy=padded([p.train_accuracy for p in sound]),
        validation_loss=padded([loss for loss, _ in validations], count),
        validation_accuracy=padded([accuracy for _, accuracy in validations], count),
        test_loss=padded([p.test[0] for p in sound]),
        test_accuracy=padded([p.test[1] for p in sound]),
        step_loss=padded(step_loss, config.steps),
        measured={
            name: padded([values[name] for values in kept], config.evaluations + 1)
            for name in (measured[0] if measured else ())
        },
        seconds=seconds,
        diverged_at=diverged_at,
    )
