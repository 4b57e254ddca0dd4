"""One training loop for every experiment: plain stochastic gradient descent.

The data are standardized once and held in memory, and a batch is a selection of rows. So a step
takes little longer than its matrix products: no image is decoded and scaled in every epoch.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from bn_tutorial.data.dataset import Dataset, Split
from bn_tutorial.lab.history import CURVES, History, Measured, Period, Score, put_together
from bn_tutorial.networks.settings import real, whole

__all__ = ["CURVES", "Config", "History", "Measure", "device", "train"]

EVALUATION_BATCH = 500  # images; with 2,000 what a convolution gives leaves the nearer caches
FINITE_EVERY = 20  # steps, after which it is seen whether a loss is finite
_MEASURED = 2_000  # images; enough for a percentile

Measure = Callable[[nn.Module, Tensor], Mapping[str, float | NDArray[np.float64]]]


@dataclass(frozen=True)
class Config:
    """How a network is trained.

    Parameters
    ----------
    steps, evaluate_every : int
        How many times the weights are changed, by default ten passes through the 60,000 training
        images of MNIST; the steps between two evaluations, a divisor of it.
    batch_size : int
        Images per step. The last batch of a pass through the images holds what is left.
    lr : float
        Learning rate: the step is ``-lr`` times the gradient of the batch's mean loss.
    weight_decay : float
        Added to the gradient is so many times the weight: of the weight matrices, not of biases,
        gamma and beta. At least zero.
    seed : int
        Seed of the order of the images, which is drawn anew for every pass.

    Raises
    ------
    TypeError, ValueError
        If one is no such number; those but ``seed`` and ``weight_decay`` are more than zero.
    """

    steps: int = 4690
    evaluate_every: int = 469
    batch_size: int = 128
    lr: float = 0.1
    seed: int = 0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that train nothing, and keep the others as plain numbers."""
        for name in ("steps", "evaluate_every", "batch_size", "seed"):
            object.__setattr__(self, name, whole(getattr(self, name), name))
        for name in ("lr", "weight_decay"):
            object.__setattr__(self, name, real(getattr(self, name), name))
        for name in ("steps", "evaluate_every", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.steps % self.evaluate_every:
            raise ValueError(
                f"evaluate_every is {self.evaluate_every}, expected a divisor of {self.steps} steps"
            )
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}, expected a positive number")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(
                f"weight_decay is {self.weight_decay}, expected a number of at least 0"
            )

    @property
    def evaluations(self) -> int:
        """How often the network is evaluated."""
        return self.steps // self.evaluate_every

    def alike(self) -> Config:
        """Return the settings that networks share which are trained side by side."""
        return replace(self, lr=1.0, weight_decay=0.0, seed=0)


def device() -> torch.device:
    """Return the device to train on: ``BN_TUTORIAL_DEVICE``, else the processor.

    Raises
    ------
    ValueError
        If PyTorch cannot compute on it here.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, BN_TUTORIAL_DEVICE="cpu"):
    ...     device()
    device(type='cpu')
    """
    name = os.environ.get("BN_TUTORIAL_DEVICE") or "cpu"
    try:
        named = torch.device(name)
        torch.zeros(1, device=named).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # PyTorch raises all of them
        raise ValueError(
            f"BN_TUTORIAL_DEVICE is {name!r}, expected a device that PyTorch can compute on here, "
            "such as 'cpu' or 'cuda'"
        ) from error
    return named


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
        From a float32 Tensor, shape (N, 784), to logits, shape (N, number of classes). It is moved
        to :func:`device`, trained in place, except for parameters that require no gradient, and
        left in evaluation mode.
    data : Dataset
        What to train and to test on.
    config : Config, optional
        How to train; by default ``Config()``.
    measure : callable, optional
        Called with the model and the first 2,000 test images, shape (N, 784), before the first step
        and after each evaluation: returns numbers or arrays by name, always of the same shapes, and
        leaves the model as it was, except for its mode. See ``bn_tutorial.networks.probes``.
    progress : bool, optional
        Whether to show a progress bar on standard error; by default only on a terminal.

    Returns
    -------
    History
        A loss that is nan or infinite is an outcome, not an error: the training stops soon after.

    Raises
    ------
    ValueError
        From batch normalization, if a batch holds a single image; if a measure changes its shapes.

    Notes
    -----
    The order of the images depends on ``config.seed`` alone; PyTorch's global random state is
    neither used nor changed. On the same device, with the same number of threads, the same
    arguments give the same history, bit by bit.

    Examples
    --------
    >>> images = torch.arange(4 * 784).view(4, 28, 28).to(torch.uint8)
    >>> split = Split(images, torch.tensor([0, 1, 0, 1]))
    >>> data = Dataset("stripes", "stripes", "none", "made here", "0", split, split)
    >>> model = nn.Linear(784, 2)
    >>> history = train(model, data, Config(steps=6, evaluate_every=2, batch_size=2))
    >>> len(history.test_accuracy), len(history.step_loss), history.diverged_at
    (3, 6, None)
    """
    config = config or Config()
    where = device()
    model.to(where)
    tensors = tensors_of(data, where)
    batches = batches_of(tensors, config)

    start = time.perf_counter()
    course = Course(model, tensors, config, measure)
    # tqdm takes disable=None to mean "unless this is a terminal".
    disable = None if progress is None else not progress
    with tqdm(total=config.evaluations, unit="evaluation", disable=disable, leave=False) as bar:
        while not course.over:
            some = islice(batches, config.evaluate_every)
            score = course.close(*_train_period(model, some, config))
            bar.update()
            bar.set_postfix(test_accuracy=f"{score.accuracy:.1%}")
    model.eval()
    return course.history(time.perf_counter() - start)


class Course:
    """What was seen of a network while it is trained: one period after the other.

    Parameters
    ----------
    model, config, measure
        As of :func:`train`.
    tensors : tuple
        What :func:`tensors_of` returns.
    """

    def __init__(
        self, model: nn.Module, tensors: Tensors, config: Config, measure: Measure | None
    ) -> None:
        self.model, self.tensors, self.config, self.measure = model, tensors, config, measure
        self.periods: list[Period] = []
        self.measured: list[Measured] = []
        self._look()

    @property
    def over(self) -> bool:
        """Whether there is nothing more to train: all is done, or it has diverged."""
        if not self.periods:
            return False
        diverged = self.periods[-1].first_not_finite() is not None
        return diverged or len(self.periods) == self.config.evaluations

    def close(self, losses: list[float], train_accuracy: float) -> Score:
        """Keep the loss of each step of a period and its accuracy; evaluate, and return how well.

        The network is in evaluation mode afterwards.
        """
        validation, test = _evaluate(self.model, self.tensors)
        self.periods.append(Period(losses, train_accuracy, validation, test))
        self._look()
        return test

    def history(self, seconds: float) -> History:
        """Return all that was seen."""
        return put_together(
            self.periods,
            self.measured,
            evaluations=self.config.evaluations,
            steps=self.config.steps,
            seconds=seconds,
        )

    def _look(self) -> None:
        """Measure once more, and refuse other shapes than at first."""
        if self.measure is None:
            return
        values = self.measure(self.model, self.tensors.test.images[:_MEASURED])
        looks = self.measured
        looks.append({name: np.array(value, dtype=np.float64) for name, value in values.items()})
        first, last = (
            {name: value.shape for name, value in look.items()} for look in (looks[0], looks[-1])
        )
        if last != first:
            raise ValueError(f"measured {last}, expected {first} as at first")


class _Images(NamedTuple):
    """Images as the network reads them, shape (N, 784), and their labels, shape (N,)."""

    images: Tensor
    labels: Tensor


class Tensors(NamedTuple):
    """A data set where networks are trained on it."""

    data: Dataset
    train: Split
    validation: _Images | None
    test: _Images

    def batch(self, rows: Tensor) -> _Images:
        """Return these images of the training set as the network reads them, and their labels."""
        # Gathered as bytes: where the rows of a batch are far apart in memory, to read four times
        # as much takes longer than to standardize.
        rows = rows.to(self.train.labels.device)
        images = self.data.standardize(self.train.images.index_select(0, rows))
        return _Images(images, self.train.labels[rows])


@lru_cache(maxsize=1)
def tensors_of(data: Dataset, device: torch.device) -> Tensors:
    """Put the data where they are trained on once for all runs, not once for each run."""

    def tensors(split: Split) -> _Images:
        return _Images(data.standardize(split.images).to(device), split.labels.to(device))

    validation = None if data.validation is None else tensors(data.validation)
    train = Split(data.train.images.to(device), data.train.labels.to(device))
    return Tensors(data, train, validation, tensors(data.test))


def orders_of(count: int, config: Config) -> Iterator[Tensor]:
    """Yield without end which of so many images are next; each pass has an order of its own."""
    generator = torch.Generator().manual_seed(config.seed)
    while True:
        yield from torch.split(torch.randperm(count, generator=generator), config.batch_size)


def batches_of(tensors: Tensors, config: Config) -> Iterator[_Images]:
    """Yield batches without end, in the order of :func:`orders_of`."""
    return map(tensors.batch, orders_of(len(tensors.train), config))


def _train_period(
    model: nn.Module, batches: Iterator[_Images], config: Config
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
        descend(parameters, loss, config)
        losses.append(loss.detach())
        outputs.append(logits.detach())
        labels.append(targets)
        # What has diverged stays so. Not at each step, because a look lets a GPU run idle.
        if len(losses) % FINITE_EVERY == 0 and not losses[-1].isfinite():
            break
    return torch.stack(losses).tolist(), accuracy(torch.cat(outputs), torch.cat(labels))


def descend(parameters: Sequence[Tensor], loss: Tensor, config: Config) -> None:
    """Take one step against the gradient of a loss."""
    # Not torch.optim.SGD: it is no faster, and importing it takes each process some seconds.
    gradients = torch.autograd.grad(loss, parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        change(parameter, gradient, config, decays=parameter.ndim > 1)


@torch.no_grad()
def change(values: Tensor, gradient: Tensor, config: Config, decays: bool) -> None:
    """Change some parameters in place, by the learning rate times their gradient."""
    if config.weight_decay and decays:
        gradient = gradient + config.weight_decay * values
    values.sub_(gradient, alpha=config.lr)


def _evaluate(model: nn.Module, data: Tensors) -> tuple[Score | None, Score]:
    """Return how well it does on the validation set, if there is one, and on the test set."""
    model.eval()
    validation = None if data.validation is None else _score(model, data.validation)
    return validation, _score(model, data.test)


@torch.inference_mode()
def _score(model: nn.Module, data: _Images) -> Score:
    logits = torch.cat([model(images) for images in torch.split(data.images, EVALUATION_BATCH)])
    logits, labels = logits.cpu(), data.labels.cpu()  # not every device knows float64
    loss = cross_entropy(logits.double(), labels).item()
    return Score(loss, accuracy(logits, labels), (logits.argmax(1) == labels).numpy())


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the share of images whose class has the greatest logit."""
    return int((logits.argmax(1) == labels).sum()) / len(labels)
