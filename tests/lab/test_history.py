import dataclasses
import math
import pickle

import numpy as np
import pytest

from bn_tutorial.lab.history import History, Period, Score, put_together


class TestHistory:
    loss, accuracy = (1.0, math.nan), (0.5, math.nan)
    history = History(
        *(loss, accuracy, loss, accuracy, loss, accuracy, (1.0,)),
        measured={"slope": np.array([[0.1, 0.2], [math.nan, 0.0]]), "norm": np.array([1.0, 2.0])},
        seconds=3.0,
    )

    def measuring(self, **changed):
        measured = self.history.measured | changed
        return dataclasses.replace(self.history, measured=measured)

    def test_histories_with_nan_can_be_equal_also_after_pickling(self):
        copy = pickle.loads(pickle.dumps(self.history))
        assert copy == self.history
        assert hash(copy) == hash(self.history)

    def test_duration_does_not_count(self):
        assert dataclasses.replace(self.history, seconds=9.0) == self.history

    @pytest.mark.parametrize(
        "name",
        [
            *("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"),
            *("test_loss", "test_accuracy", "step_loss"),
        ],
    )
    def test_every_curve_counts(self, name):
        assert dataclasses.replace(self.history, **{name: (0.25,)}) != self.history

    @pytest.mark.parametrize(
        "slope",
        [
            [[0.1, 0.2], [0.3, 0.0]],
            [[0.1, np.nextafter(0.2, 1)], [math.nan, 0.0]],
            [[0.1, 0.2], [math.nan, -0.0]],
            [0.1, 0.2, math.nan, 0.0],
        ],
    )
    def test_all_that_was_measured_counts_bit_by_bit(self, slope):
        assert self.measuring(slope=np.array(slope)) != self.history

    @pytest.mark.parametrize("names", [{}, {"slope": "norm", "norm": "slope"}, {"slope": "slope"}])
    def test_names_of_what_was_measured_count(self, names):
        measured = {new: self.history.measured[old] for new, old in names.items()}
        assert dataclasses.replace(self.history, measured=measured) != self.history

    def test_order_and_layout_of_what_was_measured_do_not_count(self):
        measured = {
            name: np.asfortranarray(self.history.measured[name]) for name in ("norm", "slope")
        }
        other = dataclasses.replace(self.history, measured=measured)
        assert other == self.history
        assert hash(other) == hash(self.history)

    def test_one_nan_is_as_good_as_another(self):
        slope = self.history.measured["slope"].copy()
        slope.view(np.int64)[1, 0] |= 1  # the bits of a nan that do not make it one
        other = self.measuring(slope=slope)
        assert other == self.history
        assert hash(other) == hash(self.history)

    def test_measure_with_the_name_of_a_curve_does_not_stand_for_it(self):
        one, other = (
            dataclasses.replace(self.history, test_loss=loss, measured={"test_loss": np.ones(2)})
            for loss in (self.loss, (2.0, math.nan))
        )
        assert one != other

    def test_history_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            self.history.seconds = 1.0

    def test_divergence_counts(self):
        assert dataclasses.replace(self.history, diverged_at=3) != self.history

    def test_history_equals_nothing_else(self):
        assert self.history != dataclasses.asdict(self.history)


def score(loss):
    return Score(loss, 0.5, np.array([True, False]))


class TestPutTogether:
    sound = Period([4.0, 3.0], 0.25, score(3.0), score(2.0))

    def of(self, *periods):
        return put_together(periods, [], evaluations=3, steps=6, seconds=1.0)

    def test_loss_that_is_finite_again_does_not_count(self):
        history = self.of(self.sound, Period([math.inf, 1.0], 0.5, score(1.0), score(1.0)))
        assert history.diverged_at == 2
        assert history.step_loss[:2] == (4.0, 3.0)
        assert np.isnan(history.step_loss[2:]).all()

    @pytest.mark.parametrize("losses", [(math.nan, 1.0), (1.0, math.inf)])
    def test_evaluation_that_is_not_finite_counts_as_the_last_step_before_it(self, losses):
        history = self.of(self.sound, Period([2.0, 1.0], 0.5, *map(score, losses)))
        assert history.diverged_at == 3
        assert history.step_loss[:3] == (4.0, 3.0, 2.0)
        assert np.isnan(history.step_loss[3:]).all()

    def test_without_divergence_all_is_kept(self):
        history = self.of(*[self.sound] * 3)
        assert history.diverged_at is None
        assert history.step_loss == (4.0, 3.0) * 3
        assert history.train_loss == (3.5,) * 3
        assert history.validation_loss == (3.0,) * 3
        assert history.test_loss == (2.0,) * 3
