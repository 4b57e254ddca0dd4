"""What was measured while a network was trained, and what is left of it where it diverged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Measured = dict[str, NDArray[np.float64]]
Right = NDArray[np.bool_]

_NONE = np.zeros(0, dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class History:
    """What was measured while a network was trained.

    The shapes depend on the configuration and the data alone: where a run has diverged, what could
    not be measured is nan. Histories are equal if all numbers but ``seconds`` are, bit by bit, and
    nan to nan.

    Attributes
    ----------
    train_loss, train_accuracy : tuple of float, one per evaluation
        Mean over the batches since the evaluation before of the cross-entropy (nat), and share of
        their images classified correctly: in training mode, each batch just before its step.
    validation_loss, validation_accuracy, test_loss, test_accuracy : tuple of float
        The same in evaluation mode over the validation set (empty without one) and the test set.
    step_loss : tuple of float, one per step
        The cross-entropy (nat) of each batch, before the step that learns from it.
    measured : dict of str to ndarray, float64, shape (evaluations + 1, ...)
        What else was to be measured, by name: before the first step and at each evaluation.
    validation_right, test_right : ndarray of bool, shape (images,)
        Which images were classified correctly at the last evaluation; none where the run diverged.
    seconds : float
        Duration of the training, in seconds, evaluations included.
    diverged_at : int or None
        The first step, counted from zero, whose loss was not finite, or the last step before an
        evaluation whose loss was not. From that step on, and for the whole time between two
        evaluations in which it lies, every number is nan.
    """

    train_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    validation_loss: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    test_loss: tuple[float, ...]
    test_accuracy: tuple[float, ...]
    step_loss: tuple[float, ...]
    measured: Measured = field(default_factory=dict)
    validation_right: Right = field(default_factory=lambda: _NONE)
    test_right: Right = field(default_factory=lambda: _NONE)
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
        curves = [_bits(getattr(self, name)) for name in CURVES]
        measured = {(name, _bits(values)) for name, values in self.measured.items()}
        right = self.validation_right.tobytes(), self.test_right.tobytes()
        return *curves, frozenset(measured), right, self.diverged_at


def _bits(values: ArrayLike) -> tuple[tuple[int, ...], bytes]:
    """Return what two arrays share if they are the same, with one nan for all."""
    array = np.array(values, dtype=np.float64)
    array[np.isnan(array)] = np.nan
    return array.shape, array.tobytes()


CURVES = tuple(curve.name for curve in fields(History))[:7]


class Score(NamedTuple):
    """How well a network does on a set of images: loss (nat), accuracy, and where it was right."""

    loss: float
    accuracy: float
    right: Right


class Period(NamedTuple):
    """What was measured between two evaluations, and at the second one, as in a History.

    ``validation`` is None where the data have no such set.
    """

    step_loss: list[float]
    train_accuracy: float
    validation: Score | None
    test: Score

    def first_not_finite(self) -> int | None:
        """Return the first step without a finite loss; the last if only an evaluation shows it."""
        for step, loss in enumerate(self.step_loss):
            if not math.isfinite(loss):
                return step
        losses = [result.loss for result in (self.validation, self.test) if result]
        return None if all(map(math.isfinite, losses)) else len(self.step_loss) - 1


def put_together(
    periods: Sequence[Period],
    measured: Sequence[Measured],
    *,
    evaluations: int,
    steps: int,
    seconds: float,
) -> History:
    """Make a history of its periods, of which only the last may have diverged.

    ``measured`` is what was measured besides, before the first period and after each; it is empty
    if nothing was. Without divergence there would be as many ``evaluations`` and ``steps``.
    """
    diverged_at = periods[-1].first_not_finite()
    sound = periods if diverged_at is None else periods[:-1]
    if diverged_at is not None:
        diverged_at += steps // evaluations * len(sound)
    step_loss = [loss for period in periods for loss in period.step_loss][:diverged_at]
    validations = [period.validation for period in sound if period.validation]
    validated = evaluations if periods[0].validation else 0

    def padded(values: list[float], length: int = evaluations) -> tuple[float, ...]:
        return *values, *[math.nan] * (length - len(values))

    def filled(name: str) -> NDArray[np.float64]:
        rows = np.full((evaluations + 1, *measured[0][name].shape), np.nan)
        rows[: len(sound) + 1] = [values[name] for values in measured[: len(sound) + 1]]
        return rows

    last, kept = periods[-1], np.bool_(diverged_at is None)
    return History(
        train_loss=padded([math.fsum(p.step_loss) / len(p.step_loss) for p in sound]),
        train_accuracy=padded([p.train_accuracy for p in sound]),
        validation_loss=padded([score.loss for score in validations], validated),
        validation_accuracy=padded([score.accuracy for score in validations], validated),
        test_loss=padded([p.test.loss for p in sound]),
        test_accuracy=padded([p.test.accuracy for p in sound]),
        step_loss=padded(step_loss, steps),
        measured={name: filled(name) for name in (measured[0] if measured else ())},
        validation_right=last.validation.right & kept if last.validation else _NONE,
        test_right=last.test.right & kept,
        seconds=seconds,
        diverged_at=diverged_at,
    )
