import math

import numpy as np
import pytest
from scipy import stats

from bn_tutorial.lab.effects import Interval, paired_interval, verdict


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

    @pytest.mark.parametrize(
        ("bad", "why"), [(math.nan, "diverged"), (math.inf, "never reached what was counted")]
    )
    @pytest.mark.parametrize("arm", ["treated", "control"])
    def test_run_without_a_number_is_refused_by_name_and_with_the_reason(self, bad, why, arm):
        arms = {"treated": [1.0, 2.0], "control": [1.0, 2.0]}
        arms[arm] = [1.0, bad]
        with pytest.raises(ValueError, match=rf"{arm} is \[1.0, {bad}\], .* that {why} has none"):
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
