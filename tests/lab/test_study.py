import dataclasses
import math

import numpy as np
import pytest
from small_runs import make_run

from bn_tutorial.lab.pool import run_all
from bn_tutorial.lab.study import best, curves, steps_to, study


@pytest.mark.usefixtures("store_folder")
class TestStudy:
    def test_arms_are_paired_by_seed(self, data):
        arms = {"none": make_run(), ("batch", 0.2): make_run("batch", lr=0.2)}
        results = study(arms, data, seeds=(3, 4), workers=1)
        assert list(results) == list(arms)
        for name, arm in arms.items():
            for seed, history in zip((3, 4), results[name], strict=True):
                config = dataclasses.replace(arm.config, seed=seed)
                run = dataclasses.replace(arm, model_seed=seed, config=config)
                assert [history] == run_all([run], data)

    def test_curves_have_a_row_for_each_history(self, data):
        arms = {"slopes": dataclasses.replace(make_run(), measure="slopes")}
        histories = study(arms, data, seeds=range(2), workers=1)["slopes"]
        assert curves(histories, "test_loss").shape == (2, 2)
        assert curves(histories, "step_loss").shape == (2, 4)
        assert curves(histories, "slope").shape == (2, 3, 2)
        assert curves(histories, "test_loss")[1].tolist() == list(histories[1].test_loss)
        with pytest.raises(KeyError, match="loop"):
            curves(histories, "loop")


class TestBest:
    def test_highest_mean_wins_whatever_the_single_scores(self):
        assert best({"a": [0.1, 0.99], "b": [0.6, 0.6], "c": [0.5, 0.5]}) == "b"

    def test_setting_that_diverged_once_is_not_chosen(self):
        assert best({"a": [1.0, math.nan], "b": [0.6, 0.6]}) == "b"

    def test_nothing_to_choose_is_an_error(self):
        for scores in ({}, {"a": [math.nan, 1.0]}):
            with pytest.raises(ValueError, match="no setting to choose"):
                best(scores)


class TestStepsTo:
    def test_first_evaluation_at_or_above_the_level_counts(self):
        accuracies = np.array([[0.9, 0.1, 0.95], [0.1, 0.8999, 0.9], [0.1, 0.2, 0.3]])
        assert steps_to(0.9, accuracies, evaluate_every=50).tolist() == [50, 150, math.inf]

    def test_diverged_run_has_reached_what_it_reached_before(self):
        accuracies = np.array([[0.9, math.nan], [math.nan, math.nan]])
        assert steps_to(0.9, accuracies, evaluate_every=1).tolist() == [1, math.inf]
