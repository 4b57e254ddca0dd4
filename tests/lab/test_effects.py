import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bn_tutorial.lab.effects import (
    VERDICTS,
    Effect,
    Outcome,
    average,
    compare,
    decimals,
    holm,
    judge,
)


def effect(treated, control, **options):
    return compare("a - b", treated, control, **{"unit": "points", "smallest": 1.0, **options})


class TestCompare:
    treated = (0.97, 0.95, 0.98, 0.96, 0.99)
    control = (0.93, 0.94, 0.95, 0.96, 0.94)

    @pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
    def test_over_seeds_alone_the_interval_is_that_of_scipys_paired_t_test(self, confidence):
        expected = stats.ttest_rel(self.treated, self.control).confidence_interval(confidence)
        found = effect(self.treated, self.control, confidence=confidence)
        assert (found.low, found.high) == pytest.approx(tuple(expected))
        assert found.mean == pytest.approx(0.026)
        assert (found.confidence, found.freedom, found.images) == (confidence, 4, 0)

    def test_spread_that_the_arms_share_does_not_widen_the_interval(self):
        shifts = np.array([0.0, 10.0, -5.0, 3.0, 100.0])
        shifted = effect(np.add(self.treated, shifts), np.add(self.control, shifts))
        alone = effect(self.treated, self.control)
        assert shifted.high - shifted.low == pytest.approx(alone.high - alone.low)

    def test_exchanging_the_arms_mirrors_the_interval(self):
        there, back = (
            effect(*arms) for arms in itertools.permutations((self.treated, self.control))
        )
        assert (back.mean, back.low, back.high) == (-there.mean, -there.high, -there.low)

    def test_equal_differences_give_an_interval_without_width(self):
        found = effect([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
        assert (found.low, found.mean, found.high) == (1.0, 1.0, 1.0)

    def test_grid_widens_the_interval_at_both_ends_by_its_step(self):
        fine, coarse = effect([2, 3, 5], [1, 2, 3]), effect([2, 3, 5], [1, 2, 3], resolution=0.5)
        assert coarse.low == pytest.approx(fine.low - 0.5)
        assert coarse.high == pytest.approx(fine.high + 0.5)

    def test_images_and_choices_widen_the_interval_as_the_formula_says(self):
        rng = np.random.default_rng(0)
        right = [100.0 * (rng.random((5, 400)) < level) for level in (0.9, 0.8)]
        arms = [Outcome(hits.mean(axis=1), hits) for hits in right]
        found = effect(*arms)
        difference = right[0] - right[1]
        over_seeds = difference.mean(axis=1).var(ddof=1) / 5
        over_images = difference.mean(axis=0).var(ddof=1) / 400
        assert found.error**2 == pytest.approx(over_seeds + over_images)
        freedom = (over_seeds + over_images) ** 2 / (over_seeds**2 / 4 + over_images**2 / 399)
        assert found.freedom == pytest.approx(freedom)
        assert (found.images, found.chosen) == (400, False)
        chosen = Outcome(arms[0].values, arms[0].right, choice=2.0, choice_freedom=3)
        wider = effect(chosen, arms[1])
        assert wider.error**2 == pytest.approx(found.error**2 + 2.0)
        assert wider.chosen

    @pytest.mark.parametrize(("by_seed", "by_image"), [(0.3, 0.0), (0.0, 1.0), (0.2, 0.7)])
    def test_interval_covers_the_truth_as_often_as_it_says(self, by_seed, by_image):
        rng, truth, seeds, images = np.random.default_rng(1), 0.5, 5, 50
        covered, trials = 0, 1000
        for _ in range(trials):
            spread = by_seed * rng.normal(size=(seeds, 1)) + by_image * rng.normal(size=images)
            hits = truth + spread + rng.normal(size=(seeds, images))
            found = effect(Outcome(hits.mean(axis=1), hits), Outcome(np.zeros(seeds), 0 * hits))
            covered += found.low < truth < found.high
        assert covered / trials > 0.94

    def test_interval_over_seeds_alone_is_too_narrow_where_images_differ(self):
        rng, covered = np.random.default_rng(2), 0
        for _ in range(300):
            hits = 0.7 * rng.normal(size=50) + 0.3 * rng.normal(size=(5, 50))
            found = effect(hits.mean(axis=1), np.zeros(5))
            covered += found.low < 0 < found.high
        assert covered / 300 < 0.8

    @pytest.mark.parametrize("values", [np.float32(treated), [1, 2, 3]])
    def test_numbers_are_plain(self, values):
        found = effect(values, values[::-1], smallest=1, resolution=2)
        numbers = (found.mean, found.low, found.high, found.p, found.smallest, found.resolution)
        assert {type(v) for v in numbers} == {float}
        assert {type(v) for pair in found.pairs for v in pair} == {float}

    def test_what_is_not_said_is_left_open(self):
        found = compare("a - b", [1, 2, 4], [0, 0, 0], unit="", smallest=0)
        assert (found.seeds, found.confidence, found.resolution) == ((0, 1, 2), 0.95, 0)
        assert (found.data, found.horizon, found.images, found.chosen) == ("", "", 0, False)

    def test_images_count_where_both_arms_have_them(self):
        hits = np.eye(3, 4)
        arms = Outcome(hits.mean(axis=1), hits), Outcome(np.zeros(3))
        assert [effect(*order).images for order in itertools.permutations(arms)] == [0, 0]

    @pytest.mark.parametrize("values", [[], [1.0]])
    def test_fewer_than_two_pairs_are_refused(self, values):
        with pytest.raises(ValueError, match=f"got {len(values)} pairs, expected at least 2"):
            effect(values, values)

    def test_unequal_lengths_and_tables_are_refused(self):
        with pytest.raises(ValueError, match=r"equal length, got shapes \[\(2,\), \(3,\)\]"):
            effect([1, 2], [1, 2, 3])
        with pytest.raises(ValueError, match="equal length"):
            effect(np.ones((2, 2)), np.ones((2, 2)))
        with pytest.raises(ValueError, match="got 3 seeds for 2 pairs"):
            effect([1, 2], [1, 2], seeds=[1, 2, 3])

    @pytest.mark.parametrize(
        ("bad", "why"), [(math.nan, "diverged"), (math.inf, "never reached what was counted")]
    )
    @pytest.mark.parametrize("arm", ["treated", "control"])
    def test_run_without_a_number_is_refused_by_name_and_with_the_reason(self, bad, why, arm):
        arms = {"treated": [1.0, 2.0], "control": [1.0, 2.0]}
        arms[arm] = [1.0, bad]
        with pytest.raises(ValueError, match=rf"{arm} is \[1.0, {bad}\], .* that {why} has none"):
            effect(**arms)

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("confidence", 0),
            ("confidence", 1),
            ("confidence", 95),
            ("smallest", -0.1),
            ("smallest", math.nan),
            ("smallest", math.inf),
            ("resolution", -1),
        ],
    )
    def test_arguments_out_of_range_are_refused_by_name(self, option, value):
        with pytest.raises(ValueError, match=f"{option} is"):
            effect([1, 2], [1, 2], **{option: value})


class TestAverage:
    def test_mean_of_outcomes_keeps_images_and_choices(self):
        rights = [np.eye(3, 4) * 100, np.ones((3, 4)) * 100, np.zeros((3, 4))]
        three = [
            Outcome(r.mean(axis=1), r, choice=3.0, choice_freedom=f)
            for r, f in zip(rights, (3, 2, 4), strict=True)
        ]
        mean = average(three)
        np.testing.assert_allclose(mean.values, 125 / 3)
        np.testing.assert_allclose(mean.right.mean(axis=1), mean.values)
        assert (mean.choice, mean.choice_freedom) == (1.0, 2)

    def test_outcomes_without_images_have_none(self):
        assert average([Outcome(np.zeros(2)), Outcome(np.ones(2), np.ones((2, 3)))]).right is None


ends = st.floats(-10, 10).map(lambda x: round(x, 2))


class TestVerdict:
    @staticmethod  # as hypothesis wants it where a process runs it twice (mutmut)
    @given(ends, ends, st.floats(0, 3).map(lambda x: round(x, 2)))
    def test_verdicts_are_exhaustive_exclusive_and_say_what_holds(a, b, smallest):
        low, high = sorted((a, b))
        holds = {
            "yes": low > smallest,
            "size open": 0 < low <= smallest < high,
            "small": low > 0 and high <= smallest,
            "none": -smallest <= low <= 0 <= high <= smallest,
            "opposite small": -smallest <= low and high < 0,
            "opposite size open": low < -smallest <= high < 0,
            "opposite": high < -smallest,
            "undecided": low <= 0 <= high and (low < -smallest or high > smallest),
        }
        assert holds.keys() == VERDICTS.keys()
        assert [name for name, true in holds.items() if true] == [judge(low, high, smallest)]

    @staticmethod
    @given(ends, ends, st.floats(0, 3))
    def test_claiming_the_reverse_mirrors_the_verdict(a, b, smallest):
        low, high = sorted((a, b))
        mirrored = {"yes": "opposite", "size open": "opposite size open", "small": "opposite small"}
        mirrored |= {there: back for back, there in mirrored.items()}
        there = judge(low, high, smallest)
        assert judge(-high, -low, smallest) == mirrored.get(there, there)

    def test_words_are_different_and_none_calls_a_small_effect_unsupported(self):
        words = [verdict.words for verdict in VERDICTS.values()]
        assert len(set(words)) == len(words)
        assert not any("not" in word for word in words)
        assert VERDICTS["small"].words == "yes, but small"

    @pytest.mark.parametrize(
        "arguments", [(0, 1, -0.1), (0, 1, math.nan), (1, 0, 1), (math.nan, 1, 1)]
    )
    def test_what_is_no_interval_is_refused(self, arguments):
        with pytest.raises(ValueError, match="expected"):
            judge(*arguments)


class TestTippingPoint:
    @staticmethod
    @given(
        st.lists(st.floats(-3, 3).map(lambda x: round(x, 2)), min_size=3, max_size=6),
        st.sampled_from([0.0, 0.5, 1.0]),
        st.sampled_from([0.0, 0.1]),
    )
    def test_verdict_holds_up_to_the_confidence_that_its_p_says(values, smallest, resolution):
        settings = {"smallest": smallest, "resolution": resolution}
        found = effect(values, np.zeros(len(values)), **settings)
        if found.verdict == "undecided" or not 1e-6 < found.p < 0.049:
            return
        held = effect(values, np.zeros(len(values)), confidence=1 - 1.02 * found.p, **settings)
        tipped = effect(values, np.zeros(len(values)), confidence=1 - 0.98 * found.p, **settings)
        assert held.verdict == found.verdict != tipped.verdict

    def test_undecided_has_nothing_to_tip(self):
        assert effect([1.0, -1.0, 2.0], [0.0, 0.0, 0.0]).p == 1

    def test_difference_without_spread_never_tips(self):
        assert effect([2.0, 3.0], [0.0, 1.0]).p == 0


class TestHolm:
    def effects(self, *ps):
        class Known:
            def __init__(self, p):
                self.p = p

        return [Known(p) for p in ps]

    def test_adjustment_is_the_textbooks(self):
        assert holm(self.effects(0.01, 0.04, 0.03, 0.005)) == pytest.approx(
            [0.03, 0.06, 0.06, 0.02]
        )

    def test_no_value_exceeds_one_and_none_is_made_smaller(self):
        ps = [0.5, 0.9, 0.2]
        adjusted = holm(self.effects(*ps))
        assert max(adjusted) <= 1
        assert all(after >= before for after, before in zip(adjusted, ps, strict=True))
        assert holm([]) == []


class TestText:
    @pytest.mark.parametrize(
        ("treated", "expected"),
        [
            ([1.0, 1.3, 1.6], "+1.3 (0.6 to 2.0)"),
            ([-0.11, -0.06, 0.02], "\N{MINUS SIGN}0.05 (\N{MINUS SIGN}0.21 to 0.11)"),
            ([0.0, 0.0, 0.0], "0.00 (0.00 to 0.00)"),
            ([130.0, 170.0, 150.0], "+150 (100 to 200)"),
        ],
    )
    def test_estimate_has_the_digits_that_the_interval_warrants_and_no_minus_zero(
        self, treated, expected
    ):
        assert effect(treated, [0.0, 0.0, 0.0]).estimate() == expected

    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (1.02, 3.25, "+2.13 (1.02 to 3.25)"),  # with one digit less, 1.0 would not be above 1
            (0.3, 6.8, "+3.5 (0.3 to 6.8)"),  # "0 to 7" would not be above zero
            (1.1, 3.1, "+2.1 (1.1 to 3.1)"),
        ],
    )
    def test_estimate_has_the_digits_that_its_verdict_needs(self, low, high, expected):
        found = replace(
            effect([1.0, 2.0], [0.0, 0.0]), low=low, high=high, mean=(low + high) / 2, smallest=1.0
        )
        assert found.estimate() == expected

    @pytest.mark.parametrize(
        ("width", "places"),
        [(0.0, 2), (1e-5, 6), (5e-8, 6), (0.006, 3), (0.0061, 3), (0.06, 2), (0.6, 1), (6, 0)],
    )
    def test_interval_warrants_digits_to_a_third_of_half_its_width(self, width, places):
        assert decimals(-1.0, -1.0 + width) == places

    def test_effect_returns_from_json_as_it_was(self):
        for found in (effect([1.0, 2.5], [0.1, 0.3]), effect([2.0, 3.0], [0.0, 1.0])):
            assert Effect.from_json(found.to_json()) == found

    def test_missing_and_unknown_fields_are_refused(self):
        content = effect([1.0, 2.5], [0.1, 0.3]).to_json()
        for wrong in ({**content, "more": 1}, {k: v for k, v in content.items() if k != "low"}):
            with pytest.raises(ValueError, match="missing or unknown"):
                Effect.from_json(wrong)
