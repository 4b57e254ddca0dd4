import dataclasses
import itertools
import math

import numpy as np
import pytest
from small_runs import make_data, make_run

from bn_tutorial.lab import study as study_module
from bn_tutorial.lab.effects import Outcome
from bn_tutorial.lab.pool import run_all
from bn_tutorial.lab.study import (
    BracketError,
    choose,
    curves,
    judge,
    largest_usable,
    steps_to,
    study,
    table,
    tune,
    without_diverged,
)

pytestmark = pytest.mark.usefixtures("store_folder")


@pytest.fixture(scope="module")
def held_out():
    return make_data(128).hold_out(48)


class TestStudy:
    def test_arms_are_paired_by_seed(self, data):
        arms = {"none": make_run(), ("batch", 0.2): make_run("batch", lr=0.2)}
        results = study(arms, data, seeds=(3, 4), workers=1)
        assert list(results.histories) == list(arms)
        assert results.seeds == (3, 4)
        for name, arm in arms.items():
            for seed, history in zip((3, 4), results.histories[name], strict=True):
                config = dataclasses.replace(arm.config, seed=seed)
                run = dataclasses.replace(arm, model_seed=seed, config=config)
                assert [history] == run_all([run], data)

    def test_curves_have_a_row_for_each_history(self, data):
        arms = {"slopes": dataclasses.replace(make_run(), measure="slopes")}
        results = study(arms, data, seeds=range(2), workers=1)
        assert results.curve("slopes", "test_loss").shape == (2, 2)
        assert results.curve("slopes", "step_loss").shape == (2, 4)
        assert results.curve("slopes", "slope").shape == (2, 3, 2)
        histories = results.histories["slopes"]
        assert curves(histories, "test_loss")[1].tolist() == list(histories[1].test_loss)
        with pytest.raises(KeyError, match="loop"):
            results.curve("slopes", "loop")

    def test_last_evaluation_is_in_percent_with_the_images_that_were_right(self, held_out):
        results = study({"a": make_run("batch")}, held_out, seeds=range(2), workers=1)
        outcome = results.last("a")
        expected = 100 * results.curve("a", "test_accuracy")[:, -1]
        assert outcome.values.tolist() == expected.tolist()
        np.testing.assert_allclose(outcome.right.mean(axis=1), expected, rtol=1e-5)
        assert results.last("a", "test_loss").right is None
        assert results.last("a", "train_accuracy").right is None
        assert results.last("a", "train_accuracy").values.max() > 1

    def test_comparison_makes_no_use_of_the_images_that_settings_are_chosen_by(self, held_out):
        results = study({"a": make_run("batch")}, held_out, seeds=range(2), workers=1)
        assert results.curve("a", "validation_accuracy").size == 0

    def test_diverged_runs_are_counted_and_have_no_number(self, data):
        results = study({"a": make_run("batch", lr=1e38)}, data, seeds=range(2), workers=1)
        assert results.diverged("a") == 2
        assert math.isnan(results.last("a").mean)


class TestResampled:
    def test_shares_are_those_of_all_ways_to_draw_the_seeds(self):
        scores = np.array([[90.0, 92.0, 91.0], [95.0, 94.0, 89.0], [99.0, math.nan, 99.0]])
        ways = [*itertools.product(range(3), repeat=3)]
        picks = [choose(scores[:2, way]) for way in ways]
        first = picks.count(0) / len(ways)
        assert 0.1 < first < 0.9
        found = study_module._resampled(scores, None)
        np.testing.assert_allclose(found, [first, 1 - first, 0], atol=0.07)

    def test_images_are_drawn_too(self):
        # The first setting knows one image, the second the other. Of two that are drawn, both are
        # the other's in a quarter of the cases; else the first is as good or better.
        right = np.repeat(np.float32([[[100, 0]], [[0, 100]]]), 3, axis=1)
        found = study_module._resampled(right.mean(axis=2), right)
        np.testing.assert_allclose(found, [0.75, 0.25], atol=0.07)

    def test_with_images_that_are_alike_the_seeds_decide(self):
        scores = np.array([[90.0, 92.0, 91.0], [95.0, 94.0, 89.0]])
        right = np.repeat(np.float32(scores)[..., None], 7, axis=2)
        ways = [*itertools.product(range(3), repeat=3)]
        first = [choose(scores[:, way]) for way in ways].count(0) / len(ways)
        found = study_module._resampled(scores, right)
        np.testing.assert_allclose(found, [first, 1 - first], atol=0.07)


class TestChoose:
    def test_smallest_within_one_standard_error_of_the_best_is_taken(self):
        scores = np.array([[90.0, 91.0], [95.0, 96.0], [94.8, 98.2], [90.0, 90.0]])
        assert choose(scores) == 1  # the best is 96.5, give or take 1.7
        assert choose(scores[:, :1]) == 1  # one seed has no standard error
        assert choose(np.array([[94.0, 94.0], [96.0, 96.0]])) == 1

    def test_setting_that_diverged_once_is_not_chosen(self):
        assert choose(np.array([[60.0, 60.0], [99.0, math.nan]])) == 0
        assert choose(np.array([[99.0, math.nan], [60.0, 60.0]])) == 1


def ladders():
    return {
        norm: {lr: make_run(norm, lr=lr) for lr in (0.01, 0.3, 1e38)} for norm in (None, "batch")
    }


class TestTune:
    def test_scores_are_those_of_the_validation_images(self, held_out):
        tuning = tune(ladders(), held_out, (7, 8), workers=1)
        runs = [study_module._seeded(make_run("batch", lr=0.3), seed) for seed in (7, 8)]
        expected = [100 * h.validation_accuracy[-1] for h in run_all(runs, held_out, workers=1)]
        assert tuning.scores["batch"][0.3].tolist() == expected
        assert math.isnan(tuning.scores["batch"][1e38].mean())
        assert tuning.chosen("batch") in (0.01, 0.3)

    def test_test_images_are_not_looked_at(self, held_out):
        other = dataclasses.replace(held_out, test=held_out.test[:1], digest="of other test images")
        scores = [tune(ladders(), data, (7, 8), workers=1).scores for data in (held_out, other)]
        np.testing.assert_equal(*scores)

    def test_data_without_a_validation_set_are_refused(self, data):
        with pytest.raises(ValueError, match="noise has no validation set"):
            tune(ladders(), data, (7, 8))

    def test_by_loss_the_lowest_is_chosen(self, held_out):
        tuning = tune(ladders(), held_out, (7, 8), quantity="loss", workers=1)
        scores = tuning.scores[None]
        place = choose(study_module._filled(scores))
        assert tuning.chosen(None) == list(scores)[place]
        assert np.nanmax(np.concatenate([*scores.values()])) < 0

    @pytest.mark.parametrize(("quantity", "far"), [("accuracy", 20.0), ("loss", 0.4)])
    def test_setting_far_behind_with_the_first_seed_is_spared_the_others(
        self, held_out, monkeypatch, quantity, far
    ):
        """Of five settings: the best, one just near enough, one just not, a late and a lost one."""
        ends = {0.1: [50, 50], 0.2: [50 - far, 90], 0.3: [50 - 1.01 * far, 90], 0.4: [50, math.nan]}
        ends[0.5] = [math.nan, 50]
        asked = []

        class Pretended(study_module.Study):
            def last(self, key, quantity="test_accuracy"):
                values = [ends[key[1]][seed - 7] for seed in self.histories[key]]
                if quantity == "test_loss":
                    return Outcome(-np.array(values))
                return Outcome(np.array(values), np.array(values)[:, None].repeat(3, axis=1))

        def study(arms, _data, seeds, **_):
            asked.extend((key[1], seed) for key in arms for seed in seeds)
            return Pretended({key: list(seeds) for key in arms}, seeds)

        monkeypatch.setattr(study_module, "Study", Pretended)
        monkeypatch.setattr(study_module, "study", study)
        tuning = tune({"a": dict.fromkeys(ends, make_run())}, held_out, (7, 8), quantity=quantity)
        assert asked == [*((lr, 7) for lr in ends), (0.1, 8), (0.2, 8), (0.4, 8)]
        assert [len(scores) for scores in tuning.scores["a"].values()] == [2, 2, 1, 2, 1]
        assert tuning.chosen("a") == 0.1  # within a standard error of the best
        assert tuning.shares["a"][0.3] == 0
        assert tuning.shares["a"][0.1] + tuning.shares["a"][0.2] == pytest.approx(1)

    def test_without_a_race_every_setting_is_tried_with_every_seed(self, held_out):
        tunings = [
            tune(ladders(), held_out, (7, 8), race=race, workers=1) for race in (True, False)
        ]
        raced, full = ([len(s) for s in t.scores["batch"].values()] for t in tunings)
        assert min(raced) == 1
        assert set(full) == {2}

    @pytest.mark.parametrize(
        ("best", "rates", "tried"),
        [
            (0.2, (0.1, 0.2, 0.5), []),
            (1e-5, (0.1, 0.3, 1.0), [0.03, 0.01, 0.003]),
            (0.02, (0.1, 0.3, 1.0), [0.03, 0.01]),
            (30.0, (0.3, 1.0), [3.0, 10.0, 30.0]),
            (0.1, (0.02, 0.03, 0.05), [0.1, 0.2]),
            (7.0, (0.1,), []),
        ],
    )
    @pytest.mark.parametrize("beside", [(), (None,), (0.5,)])
    def test_ladder_of_rates_grows_until_the_best_is_inside(
        self, held_out, monkeypatch, best, rates, tried, beside
    ):
        def score(_study, key, _quantity):
            (*_, lr) = key[1] if beside else (key[1],)
            return np.repeat(-abs(math.log(lr / best)), 2)

        def study(arms, _data, seeds, **_):
            return study_module.Study({key: [None] * len(seeds) for key in arms}, seeds)

        monkeypatch.setattr(study_module, "_score", score)
        monkeypatch.setattr(study_module, "study", study)
        monkeypatch.setattr(study_module.Study, "last", lambda *_: Outcome(np.zeros(2)))
        ladder = {(*beside, lr) if beside else lr: make_run(lr=lr) for lr in rates}
        grown = tune({"a": ladder}, held_out, (7, 8), quantity="loss").ladders["a"]
        assert [*grown] == sorted([*ladder, *((*beside, lr) if beside else lr for lr in tried)])
        for setting, run in grown.items():
            assert run == make_run(lr=setting[-1] if beside else setting)

    def test_ladder_grows_in_every_number_of_a_setting_if_it_is_told_how(
        self, held_out, monkeypatch
    ):
        def score(_study, key, _quantity):
            decay, lr = key[1]
            return np.repeat(-abs(math.log(lr / 0.3)) - abs(math.log(decay / 1e-5)), 2)

        def run(arm, setting):
            decay, lr = setting
            return make_run(arm, lr=lr, weight_decay=decay)

        def study(arms, _data, seeds, **_):
            return study_module.Study({key: [None] * len(seeds) for key in arms}, seeds)

        monkeypatch.setattr(study_module, "_score", score)
        monkeypatch.setattr(study_module, "study", study)
        settings = [(0.0001, 0.1), (0.0001, 0.3), (0.001, 0.3)]
        ladder = {setting: run("batch", setting) for setting in settings}
        for told, added in ((None, []), (run, [(1e-5, 0.3), (1e-6, 0.3)])):
            grown = tune({"batch": ladder}, held_out, (7, 8), "loss", run=told).ladders["batch"]
            assert [*grown] == sorted([*settings, (0.0001, 1.0), *added])
            assert all(spec == run("batch", setting) for setting, spec in grown.items())

    def test_ladder_of_something_else_does_not_grow(self, held_out):
        ladder = {scale: make_run("batch", lr=0.3) for scale in (1.0, 2.0)}
        assert [*tune({"a": ladder}, held_out, (7, 8), workers=1).ladders["a"]] == [1.0, 2.0]

    def test_setting_that_was_given_up_is_not_said_to_diverge(self):
        scores = {"a": {1: np.array([9.0, 9.0]), 2: np.array([1.0])}}
        tuning = study_module.Tuning({}, scores, {}, (0, 1))
        assert tuning.chosen("a") == 1
        assert tuning.remarks("a") == ["the smallest that was tried"]

    def test_shares_sum_to_one_and_never_fall_to_what_diverged(self, held_out):
        tuning = tune(ladders(), held_out, (7, 8), workers=1)
        for arm in (None, "batch"):
            assert sum(tuning.shares[arm].values()) == pytest.approx(1)
            assert tuning.shares[arm][1e38] == 0
            assert tuning.chosen(arm) not in tuning.alternatives(arm)
            assert 1e38 not in tuning.alternatives(arm)
        assert tune(ladders(), held_out, (7, 8)).shares == tuning.shares

    def test_remarks_say_where_on_its_ladder_a_choice_lies(self):
        def remarks(*rows):
            scores = {"a": {lr: np.array(row) for lr, row in enumerate(rows)}}
            return study_module.Tuning({}, scores, {}, (0, 1)).remarks("a")

        low, high, lost = [1.0, 1.0], [9.0, 9.0], [math.nan, 1.0]
        assert remarks(low, high, low) == []
        assert remarks(high, low) == ["the smallest that was tried"]
        assert remarks(low, high) == ["the largest that was tried"]
        assert remarks(low, high, lost) == ["the next one diverges"]

    def test_remarks_on_a_pair_of_settings_speak_of_each_along_its_own_line(self):
        def remarks(best, lost=None):
            scores = {
                pair: np.array([1.0, 1.0]) for pair in study_module.cross((1, 2, 3), (7, 8, 9))
            }
            scores[best] = np.array([9.0, 9.0])
            if lost:
                scores[lost] = np.array([math.nan, 1.0])
            return study_module.Tuning({}, {"a": scores}, {}, (0, 1)).remarks("a", "decay", "rate")

        assert remarks((2, 8)) == []
        assert remarks((2, 8), lost=(2, 9)) == ["the next rate diverges"]
        assert remarks((2, 9)) == ["the largest rate that was tried"]
        assert remarks((1, 8)) == ["the smallest decay that was tried"]

    def test_ladder_that_diverges_as_a_whole_is_refused(self, held_out):
        with pytest.raises(ValueError, match="every setting of a diverged"):
            tune({"a": {1e38: make_run("batch", lr=1e38)}}, held_out, (7, 8), workers=1)


class TestJudge:
    def test_arms_train_at_what_could_have_been_chosen_with_other_seeds(self, held_out):
        tuning = tune(ladders(), held_out, (7, 8), workers=1)
        judged = judge(tuning, held_out, (1, 2, 3, 4), workers=1)
        assert judged.seeds == (1, 2, 3, 4)
        assert judged.others.seeds == (1, 2, 3)
        for arm in (None, "batch"):
            chosen = tuning.chosen(arm)
            outcome = judged.last(arm)
            assert outcome.values.tolist() == judged.runs.last(arm).values.tolist()
            assert judged.curve(arm, "test_loss").shape == (4, 2)
            means = {s: judged.others.last((arm, s)).mean for s in tuning.alternatives(arm)}
            means[chosen] = outcome.values[:3].mean()
            shares = {s: tuning.shares[arm][s] for s in means}
            spread = sum(shares[s] * (means[s] - means[chosen]) ** 2 for s in means)
            total = sum(shares.values())
            assert outcome.choice == pytest.approx(spread / total if total else 0)
            assert outcome.choice_freedom == 1

    def test_seeds_with_which_an_arm_diverges_are_left_out_for_all(self, held_out):
        lost = {None: [2], "batch": [4], "layer": [1]}
        tuning = tune(ladders(), held_out, (7, 8), workers=1)
        whole = judge(tuning, held_out, (1, 2, 3, 4), workers=1)

        class Unlucky(study_module.Judged):
            def last(self, arm, quantity="test_accuracy"):
                found = super().last(arm, quantity)
                return Outcome(np.where(np.isin(self.seeds, lost[arm]), np.nan, found.values))

        unlucky = Unlucky(whole.tuning, whole.runs, whole.others)
        for arms, seeds in (((None, "batch"), (1, 3)), (["batch"], (1, 2, 3))):
            kept = without_diverged(unlucky, arms, held_out, workers=1)
            assert kept.seeds == seeds
            assert [*kept.runs.histories] == [*arms]
            for arm in arms:
                values = whole.runs.last(arm).values
                assert kept.last(arm).values.tolist() == [values[seed - 1] for seed in seeds]

    def test_table_names_each_arm_with_its_rate_its_accuracy_and_the_remarks(self, held_out):
        tuning = tune(ladders(), held_out, (7, 8), workers=1)
        judged = judge(tuning, held_out, (1, 2), workers=1)
        head, *rows = judged.table(lambda arm: f"norm {arm}").splitlines()
        assert head.split() == ["rate", "test", "(%)", "remark"]
        for arm, row in zip((None, "batch"), rows, strict=True):
            rate, mean = f"{tuning.chosen(arm):.3g}", f"{judged.last(arm).mean:.3g}"
            remarks = "; ".join(tuning.remarks(arm))
            assert row.split() == ["norm", str(arm), rate, mean, *remarks.split()]

    @pytest.mark.parametrize(
        ("ends", "variance"),
        [
            ([[1.0, 3.0], [2.0, 6.0]], 0.25 * 2.0**2),
            ([[1.0, 3.0], [2.0, math.nan]], 0.25 * 1.0**2),  # of the seeds that both have
            ([[math.nan, 3.0], [2.0, 6.0]], 0.25 * 3.0**2),
            ([[1.0, 3.0], [math.nan, math.nan]], 0.0),
        ],
    )
    def test_seed_that_diverges_at_one_setting_leaves_the_choice_its_variance(self, ends, variance):
        class Runs:
            @staticmethod
            def last(key, _quantity):
                return Outcome(np.array(ends[0 if key == "a" else key[1]]))

        scores = {"a": {0: np.array([9.0, 9.0]), 1: np.array([8.0, 8.0])}}
        tuning = study_module.Tuning({}, scores, {"a": {0: 0.75, 1: 0.25}}, (7, 8))
        outcome = study_module.Judged(tuning, Runs(), Runs()).last("a")
        assert outcome.choice == pytest.approx(variance)
        np.testing.assert_array_equal(outcome.values, ends[0])

    def test_seeds_of_the_tuning_are_refused(self, held_out):
        tuning = tune(ladders(), held_out, (7, 8), workers=1)
        with pytest.raises(ValueError, match=r"seeds \[8\] were used for tuning"):
            judge(tuning, held_out, (8, 9))


LIMITS = {0: -0.4, 1: 0.3, 2: 0.9}  # of each seed


class TestLargestUsable:
    @pytest.fixture
    def pretend(self, monkeypatch):
        """Runs that are usable up to the limit of their seed, and those that were asked for."""
        asked = []

        def run_all(runs, _data, **_):
            asked.extend((run.model_seed, math.log10(run.config.lr)) for run in runs)

            class Result:
                def __init__(self, run):
                    good = math.log10(run.config.lr) <= LIMITS[run.model_seed]
                    self.test_accuracy = [0.9 if good else math.nan]

            return [Result(run) for run in runs]

        monkeypatch.setattr(study_module, "run_all", run_all)
        return asked

    def find(self, **options):
        return largest_usable(
            lambda lr: make_run(lr=lr),
            make_data(8),
            (0, 1, 2),
            **{"level": 50, "between": (-1, 1)} | options,
        )

    @pytest.mark.usefixtures("pretend")
    @pytest.mark.parametrize("resolution", [0.5, 1 / 16])
    def test_limit_lies_within_half_the_resolution(self, resolution):
        found = self.find(resolution=resolution)
        assert np.abs(found - [*LIMITS.values()]).max() <= resolution / 2

    @pytest.mark.usefixtures("pretend")
    @pytest.mark.parametrize("between", [(-1, 0.5), (0, 1), (0.2, 0.4)])
    def test_bracket_is_widened_for_seeds_whose_limit_lies_outside(self, between):
        found = self.find(between=between, resolution=1 / 8)
        assert np.abs(found - [*LIMITS.values()]).max() <= 1 / 16

    def test_ends_are_tried_only_where_halving_comes_to_them(self, pretend):
        self.find(between=(-1, 1), resolution=0.5)
        # Of the last seed all middles are usable: whether its upper end is not, must be seen.
        tried = {seed: [lr for s, lr in pretend if s == seed] for seed in LIMITS}
        expected = {0: [0, -0.5], 1: [0, 0.5], 2: [0, 0.5, 1]}
        assert {seed: pytest.approx(lrs, abs=1e-9) for seed, lrs in tried.items()} == expected

    @pytest.mark.usefixtures("pretend")
    def test_limit_far_outside_the_bracket_is_refused_with_its_seeds(self):
        with pytest.raises(
            BracketError, match=r"seeds \[1, 2\] are still usable at 10 to the -0.2"
        ):
            self.find(between=(-1.7, -1.2))
        with pytest.raises(BracketError, match=r"seeds \[0, 1\] are not usable at 10 to the 0.5"):
            self.find(between=(1.5, 2))


class TestStepsTo:
    def test_first_evaluation_at_or_above_the_level_counts(self):
        accuracies = np.array([[0.9, 0.1, 0.95], [0.1, 0.8999, 0.9], [0.1, 0.2, 0.3]])
        assert steps_to(0.9, accuracies, evaluate_every=50).tolist() == [50, 150, math.inf]

    def test_diverged_run_has_reached_what_it_reached_before(self):
        accuracies = np.array([[0.9, math.nan], [math.nan, math.nan]])
        assert steps_to(0.9, accuracies, evaluate_every=1).tolist() == [1, math.inf]


def test_table_aligns_words_and_numbers():
    text = table({"a": [0.5, "smallest"], "longer": [12, "-"]}, ["rate", "remark"])
    assert text.splitlines() == [
        "        rate    remark",
        "a        0.5  smallest",
        "longer    12         -",
    ]
