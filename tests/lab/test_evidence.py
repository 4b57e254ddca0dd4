import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats

from bn_tutorial.data.dataset import Dataset, Split
from bn_tutorial.lab.effects import Interval, paired_interval, verdict
from bn_tutorial.lab.evidence import recall, record
from bn_tutorial.lab.study import best, steps_to

PAGE = "03_in_training/plot_01_compare_training"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(tmp_path))
    return tmp_path


class TestPairedInterval:
    treated = (0.97, 0.95, 0.98, 0.96, 0.99)
    control = (0.93, 0.94, 0.95, 0.96, 0.94)

    @pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
    def test_interval_is_that_of_scipys_paired_t_test(self, confidence):
        expected = stats.ttest_rel(self.treated, self.control).confidence_interval(confidence)
        interval = paired_interval(self.treated, self.control, confidence)
        assert (interval.low, interval.high) == pytest.approx(tuple(expected))
        assert interval.mean == pytest.approx(0.026)
        assert (interval.confidence, interval.count) == (confidence, 5)

    def test_spread_that_the_arms_share_does_not_widen_the_interval(self):
        shifts = np.array([0.0, 10.0, -5.0, 3.0, 100.0])
        shifted = paired_interval(np.add(self.treated, shifts), np.add(self.control, shifts))
        alone = paired_interval(self.treated, self.control)
        assert shifted.high - shifted.low == pytest.approx(alone.high - alone.low)

    def test_exchanging_the_arms_mirrors_the_interval(self):
        there, back = (
            paired_interval(*arms)
            for arms in ((self.treated, self.control), (self.control, self.treated))
        )
        assert (back.mean, back.low, back.high) == (-there.mean, -there.high, -there.low)

    def test_equal_differences_give_an_interval_without_width(self):
        interval = paired_interval([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
        assert (interval.low, interval.mean, interval.high) == (1.0, 1.0, 1.0)

    def test_interval_covers_the_truth_as_often_as_it_says(self):
        samples = np.random.default_rng(0).normal(0.3, 1.0, size=(2000, 5))
        intervals = [paired_interval(sample, np.zeros(5), 0.8) for sample in samples]
        share = np.mean([interval.low < 0.3 < interval.high for interval in intervals])
        assert share == pytest.approx(0.8, abs=0.03)

    def test_numbers_are_plain(self):
        interval = paired_interval(np.float32(self.treated), np.float32(self.control))
        assert {type(v) for v in (interval.mean, interval.low, interval.high)} == {float}

    @pytest.mark.parametrize("values", [[], [1.0]])
    def test_fewer_than_two_pairs_are_refused(self, values):
        with pytest.raises(ValueError, match=f"got {len(values)} pairs, expected at least 2"):
            paired_interval(values, values)

    def test_unequal_lengths_are_refused(self):
        with pytest.raises(ValueError, match=r"equal length, got shapes \[\(2,\), \(3,\)\]"):
            paired_interval([1, 2], [1, 2, 3])

    def test_tables_are_refused(self):
        with pytest.raises(ValueError, match="equal length"):
            paired_interval(np.ones((2, 2)), np.ones((2, 2)))

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    @pytest.mark.parametrize("arm", ["treated", "control"])
    def test_run_that_diverged_is_refused_by_name(self, bad, arm):
        arms = {"treated": [1.0, 2.0], "control": [1.0, 2.0]}
        arms[arm] = [1.0, bad]
        with pytest.raises(ValueError, match=rf"{arm} is \[1.0, {bad}\], expected finite numbers"):
            paired_interval(**arms)

    @pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
    def test_confidence_is_a_share(self, confidence):
        with pytest.raises(ValueError, match="confidence is"):
            paired_interval([1, 2], [1, 2], confidence)


class TestVerdict:
    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (0.2, 0.3, "supported"),
            (0.1, 0.3, "undecided"),
            (0.0, 0.3, "undecided"),
            (-0.1, 0.1, "undecided"),
            (-0.1, 0.05, "not supported"),
            (-0.3, -0.2, "not supported"),
        ],
    )
    def test_rule_compares_the_whole_interval_with_the_smallest_difference(
        self, low, high, expected
    ):
        assert verdict(Interval((low + high) / 2, low, high, 0.95, 5), smallest=0.1) == expected

    def test_smallest_difference_may_be_zero(self):
        assert verdict(Interval(0.1, 0.05, 0.15, 0.95, 5), smallest=0) == "supported"

    @pytest.mark.parametrize("smallest", [-0.1, math.nan])
    def test_smallest_difference_is_not_negative(self, smallest):
        with pytest.raises(ValueError, match="smallest is"):
            verdict(Interval(0.1, 0.05, 0.15, 0.95, 5), smallest)


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


class TestRecord:
    def test_what_was_recorded_is_recalled_exactly(self):
        values = {"a": 0.1 + 0.2, "b": 3, "c": True, "d": "ja, unterstützt", "e": 5e-324}
        record(PAGE, values)
        recalled = recall(PAGE)
        assert recalled == values
        assert [type(v) for v in recalled.values()] == [type(v) for v in values.values()]

    @pytest.mark.parametrize(
        ("value", "plain"),
        [
            (np.float32(0.5), 0.5),
            (np.int64(3), 3),
            (np.bool_(True), True),
            (np.str_("yes"), "yes"),
            (np.array(2.5), 2.5),
            (torch.tensor(0.25), 0.25),
            (torch.tensor(7), 7),
            (torch.tensor(False), False),
            (Fraction(1, 4), 0.25),
        ],
    )
    def test_scalars_of_numpy_and_pytorch_become_plain(self, value, plain):
        record(PAGE, {"value": value})
        assert recall(PAGE)["value"] == plain
        assert type(recall(PAGE)["value"]) is type(plain)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, np.float32("nan"), torch.tensor(math.inf)])
    def test_number_that_is_not_finite_is_refused(self, bad):
        with pytest.raises(ValueError, match=r"gap is (nan|inf), expected a finite number"):
            record(PAGE, {"gap": bad})

    @pytest.mark.parametrize("bad", [None, [1.0], np.ones(1), torch.ones(1), 1j, {}])
    def test_value_of_another_type_is_refused(self, bad):
        with pytest.raises(TypeError, match=r"gap is a .*, expected a number, a string or a bool"):
            record(PAGE, {"gap": bad})

    def test_name_must_be_a_string(self):
        with pytest.raises(TypeError, match="name of a value is 3"):
            record(PAGE, {3: 1.0})

    def test_refused_record_leaves_the_old_one(self):
        record(PAGE, {"gap": 1.0})
        with pytest.raises(ValueError, match="gap is nan"):
            record(PAGE, {"gap": math.nan})
        assert recall(PAGE) == {"gap": 1.0}

    def test_later_record_replaces_the_whole(self, folder):
        record(PAGE, {"a": 1})
        record(PAGE, {"b": 2})
        assert recall(PAGE) == {"b": 2}
        assert [path.name for path in folder.rglob("*.*")] == ["plot_01_compare_training.json"]

    def test_recording_is_kept_beside_the_values(self, folder):
        recording = {"steps": [0, 1], "arms": {"a": [[0.5], [0.25]]}}
        record(PAGE, {"a": 1}, recording=recording)
        assert json.loads((folder / f"{PAGE}.json").read_text())["recording"] == recording
        assert recall(PAGE) == {"a": 1}

    @pytest.mark.parametrize(
        ("recording", "message"),
        [({"x": [0.25] * 20_000}, "at most 60000"), ({"x": [math.nan]}, "JSON compliant")],
    )
    def test_recording_that_no_page_could_hold_is_refused(self, recording, message):
        with pytest.raises(ValueError, match=message):
            record(PAGE, {"a": 1}, recording=recording)

    def test_file_says_where_the_values_come_from(self, folder):
        split = Split(torch.zeros(1, 28, 28, dtype=torch.uint8), torch.tensor([0]))
        data = Dataset("mnist", "MNIST", "none", "here", "abc", split, split)
        record(PAGE, {"a": 1.5}, data=data)
        content = json.loads((folder / f"{PAGE}.json").read_text())
        assert content["page"] == PAGE
        assert content["data"] == {"name": "mnist", "title": "MNIST", "digest": "abc"}
        assert content["versions"]["numpy"] == np.__version__
        assert {"python", "torch", "scipy", "bn-tutorial"} <= content["versions"].keys()
        assert content["values"] == {"a": 1.5}

    def test_without_data_the_file_says_so(self, folder):
        record(PAGE, {})
        assert json.loads((folder / f"{PAGE}.json").read_text())["data"] is None

    def test_cache_folder_is_used_where_no_other_is_named(self, tmp_path, monkeypatch):
        monkeypatch.delenv("BN_TUTORIAL_EVIDENCE")
        monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "cache"))
        record("plot_01", {"a": 1})
        assert (tmp_path / "cache" / "evidence" / "plot_01.json").is_file()

    @pytest.mark.parametrize(
        "page", ["", "/etc/x", "../x", "a/../x", "a//b", "a/", "a.py", ".x", "a\\b", "a\n", "-a"]
    )
    def test_page_that_is_no_such_path_is_refused(self, page):
        with pytest.raises(ValueError, match="expected a script's path below tutorial_src"):
            record(page, {})
        with pytest.raises(ValueError, match="expected a script's path below tutorial_src"):
            recall(page)

    def test_missing_record_says_which_script_must_run(self):
        with pytest.raises(LookupError, match=rf"run tutorial_src/{PAGE}\.py first"):
            recall(PAGE)

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", "\xff"])
    def test_damaged_record_says_which_script_must_run(self, folder, content):
        record(PAGE, {"a": 1})
        (folder / f"{PAGE}.json").write_bytes(content.encode("latin-1"))
        with pytest.raises(LookupError, match=rf"damaged .*: run tutorial_src/{PAGE}\.py again"):
            recall(PAGE)
