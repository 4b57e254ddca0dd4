"""What each check of batches finds, word for word, in trials that are made up to the last digit."""

import math
from collections import Counter

import pytest
import torch
from torch import nn, tensor

from bn_tutorial.networks.batches import Origin, Score
from bn_tutorial.networks.checks_with_data import (
    EXPLODED,
    UPDATE,
    as_huge,
    constant,
    dropped,
    far,
    few_values,
    gain,
    huge,
    idle,
    lost,
    mended,
    not_finite,
    not_random,
    random_ratio,
    refused,
    rounded,
    several,
    shifted_by_dropout,
    stale,
    worse_in_batch,
    worse_in_eval,
)
from bn_tutorial.networks.gather import Between, Moments, Seen
from bn_tutorial.networks.report import Finding
from bn_tutorial.networks.trials import Offset, Trials

NAN = math.nan


def score(loss, right=None, batches=4):
    """The same loss, and so many right of 20, in each batch."""
    losses = [] if loss is None else [loss] * batches
    return Score(losses, [] if right is None else [right] * batches, [20] * batches)


BAD, GOOD = score(2.0, 10), score(0.5, 15)
BETTER = "accuracy 50.0 % -> 75.0 %, loss 2 -> 0.5"
CURED = {"eval": BAD, "regathered": GOOD, "batch": GOOD}
UNCURED = {"eval": BAD, "regathered": BAD, "batch": GOOD}
LARGER = (
    "loader = torch.utils.data.DataLoader(loader.dataset, batch_size=32, shuffle=True, "
    "drop_last=True)"
)
SHUFFLED = LARGER.replace("32", "loader.batch_size")


def moments(mean=(0.0, 0.0), var=(1.0, 1.0)):
    found = Moments()
    for _ in range(4):
        found.add(tensor(mean, dtype=torch.float64), tensor(var, dtype=torch.float64))
    return found


def seen(mean=(0.0, 0.0), var=(1.0, 1.0), **others):
    return Seen(moments(mean, var), **{"values": 64, "samples": 64, **others})


def trials(layers=None, batch=(), evaluation=(), training=(), **others):
    """Trials of layers named by letters: what reached them in each of the modes."""
    made = Trials({name: nn.BatchNorm1d(2) for name in "abcd"} | (layers or {}), **others)
    for gathered, known in (
        (made.in_batch, batch),
        (made.in_eval, evaluation),
        (made.in_training, training),
    ):
        gathered.layers.update(known)
    return made


class TestGain:
    @pytest.mark.parametrize(
        ("before", "after", "words"),
        [
            (BAD, GOOD, BETTER),
            (score(None, 10), score(None, 15), "accuracy 50.0 % -> 75.0 %"),
            (score(1.0), score(0.5), "loss 1 -> 0.5"),
            (None, GOOD, ""),
            (BAD, None, ""),
        ],
    )
    def test_words_are_of_what_is_known(self, before, after, words):
        found = gain(before, after)
        assert found.words == words
        assert found.matters is bool(words)

    @pytest.mark.parametrize(
        ("counts", "before", "after", "matters"),
        [
            ([50] * 4, [25] * 4, [26] * 4, True),  # two points
            ([51] * 4, [25] * 4, [26] * 4, False),
            ([34] * 3, [20] * 3, [21] * 3, True),  # three samples
            ([25] * 2, [20] * 2, [21] * 2, False),
            ([20] * 4, [10] * 4, [14, 10, 14, 10], False),  # by chance
            ([20] * 3, [10] * 3, [12, 10, 12], False),
            ([20] * 2, [10] * 2, [14, 10], True),  # of two, no chance can be told
            ([20] * 4, [10] * 4, [6] * 4, False),
        ],
    )
    def test_accuracy_must_gain_points_and_samples_for_certain(
        self, counts, before, after, matters
    ):
        assert gain(Score([], before, counts), Score([], after, counts)).matters == matters

    @pytest.mark.parametrize(
        ("before", "after", "matters"),
        [
            ([1.0] * 4, [0.79] * 4, True),
            ([1.0] * 4, [0.81] * 4, False),
            ([-1.0] * 4, [-1.21] * 4, True),
            ([-1.0] * 4, [-1.19] * 4, False),
            ([0.01] * 4, [0.001] * 4, True),  # of numbers, without a chance to compare with
            ([2.0] * 4, [0.0, 2.0, 0.0, 2.0], False),
            ([2.0] * 36, [0.0, 2.0] * 18, True),
            ([NAN] * 4, [NAN] * 4, False),
            ([NAN] * 4, [9.0] * 4, True),
            ([1.0] * 4, [NAN] * 4, False),
        ],
    )
    def test_loss_must_fall_by_a_share_for_certain(self, before, after, matters):
        counts = [20] * len(before)
        assert gain(Score(before, [], counts), Score(after, [], counts)).matters == matters

    @pytest.mark.parametrize(
        ("before", "after", "matters"),
        [
            (1.06, 1.08, False),  # as once of a healthy DenseNet
            (1.06, 1.06, True),
            (1.06, 1.05, True),
            (1.06, NAN, False),
            (NAN, NAN, True),  # of which nothing is known
        ],
    )
    def test_accuracy_counts_only_where_the_loss_does_not_rise(self, before, after, matters):
        found = gain(score(before, 12), score(after, 15))
        assert found.matters is matters
        assert found.words == f"accuracy 60.0 % -> 75.0 %, loss {before:.3g} -> {after:.3g}"

    def test_small_loss_of_classes_must_fall_by_what_matters_in_nats(self):
        before, after = score(0.1, 20), (score(0.04, 20), score(0.06, 20))
        assert [gain(before, one).matters for one in after] == [True, False]


class TestMended:
    def test_statistics_of_the_batch_tell_where_new_ones_failed(self):
        failed = trials(scores={"eval": BAD, "batch": GOOD}, failed={"regathered": "Error: no"})
        assert (mended(failed).matters, mended(failed).words) == (True, BETTER)

    @pytest.mark.parametrize(("change", "matters"), [(0.25, True), (0.05, False)])
    def test_outputs_are_compared_where_nothing_is_known_of_loss_and_accuracy(
        self, change, matters
    ):
        found = mended(trials(change=change))
        words = f"they change the outputs by {100 * change:.0f} % of their spread"
        assert (found.matters, found.words) == (matters, words)
        assert mended(trials(change=change, scores=CURED)).words == BETTER


OFF = {
    "a": Offset(0.03, 0.03, 1.1, 0.001),  # as far as healthy ones are
    "b": Offset(3.0, 4.0, 0.5, 0.1),
    "c": Offset(1.0, 0.0, 2.0, 0.1),
    "d": Offset(0.6, 0.8, 2.25, 0.4),  # as far as chance takes few batches
}


class TestStale:
    @pytest.fixture
    def layers(self):
        made = {name: nn.BatchNorm1d(2) for name in OFF}
        made["b"].num_batches_tracked.fill_(3)
        made["c"].num_batches_tracked.fill_(500)
        return made

    def found(self, layers, offsets=OFF, model=None, known=(), **others):
        return [
            *stale(model or nn.Sequential(), trials(layers, offsets=offsets, **others), {*known})
        ]

    def test_off_is_what_noise_does_not_explain(self):
        assert [name for name, one in OFF.items() if far(one)] == ["b", "c"]

    def test_costliest_layer_comes_first_and_the_cause_is_that_of_the_one_furthest_off(
        self, layers
    ):
        details = (
            "c: mean off 1.00 sigma, var x 2, alone costs 1.2 loss",
            "3 batches counted at momentum 0.1: the initial 0 and 1 still weigh 73 %, unless "
            "update_bn counted; 44 would do",
            "b: mean off 3.00 sigma, var x 0.5, alone costs 0.5 loss",
        )
        summary = f"2 of 4 over 0.05 sigma; new ones: {BETTER}"
        assert self.found(layers, scores=CURED, alone={"b": 0.5, "c": 1.25}) == [
            Finding("error", "stale-statistics", summary, ("b", "c"), details, UPDATE)
        ]

    def test_one_furthest_off_comes_first_where_costs_are_not_known(self, layers):
        details = (
            "b: mean off 3.00 sigma, var x 0.5",
            "3 batches counted at momentum 0.1: the initial 0 and 1 still weigh 73 %, unless "
            "update_bn counted; 44 would do",
            "c: mean off 1.00 sigma, var x 2",
        )
        summary = (
            "2 of 4 over 0.05 sigma; new ones: they change the outputs by 25 % of their spread"
        )
        average = torch.optim.swa_utils.AveragedModel(nn.Linear(2, 2))
        assert self.found(layers, model=average, change=0.25) == [
            Finding("error", "averaged-weights", summary, ("b", "c"), details, UPDATE)
        ]

    def test_three_layers_are_named_with_what_each_costs(self):
        layers = {name: nn.BatchNorm1d(2) for name in "abcde"}
        offsets = {name: Offset(number, 0.0, 1.0, 0.0) for number, name in enumerate(layers, 1)}
        (found,) = self.found(layers, offsets, scores=CURED)
        assert [line.partition(":")[0] for line in found.details if "mean off" in line] == [
            *("e", "d", "c")
        ]
        assert found.layers == (*"abcde",)

    @pytest.mark.parametrize(
        ("name", "momentum", "why"),
        [
            (
                "c",
                0.1,
                "500 batches counted, 44 would do, so not too few: rate not decayed, weights "
                "averaged, other data?",
            ),
            ("", None, "other data, weights that changed since, or padding?"),
        ],
    )
    def test_cause_is_what_the_counter_tells(self, layers, name, momentum, why):
        layers = {name: layers["c"]}
        layers[name].momentum = momentum
        (found,) = self.found(layers, {name: OFF["c"]}, scores=CURED)
        assert found.summary == f"1 of 1 over 0.05 sigma; new ones: {BETTER}"
        assert found.details == (f"{name or 'the layer'}: mean off 1.00 sigma, var x 2", why)

    @pytest.mark.parametrize(("ratio", "exploded"), [(2e4, True), (9e3, False)])
    def test_variance_that_is_far_too_large_is_no_matter_of_rates(self, layers, ratio, exploded):
        offsets = {"c": Offset(1.0, 5.0, ratio, 0.1)}
        (found,) = self.found(layers, offsets, scores=CURED)
        why = "variances over 1e+04 times too large: a batch exploded, or other units?"
        assert (found.details[1] == why) is exploded

    @pytest.mark.parametrize(
        ("scores", "tail"),
        [
            (
                dict.fromkeys(CURED, GOOD),
                "; new ones gain nothing (accuracy 75.0 % -> 75.0 %, loss 0.5 -> 0.5)",
            ),
            ({}, ""),
        ],
    )
    def test_statistics_that_cost_nothing_are_noted_where_they_are_far_off(
        self, layers, scores, tail
    ):
        summary = f"2 of 4 over 0.05 sigma, b 5.00{tail}"
        note = Finding("note", "stale-statistics", summary, ("b", "c"))
        assert self.found(layers, scores=scores) == [note]
        assert self.found(layers, {"c": Offset(0.2, 0.0, 1.0, 0.0)}, scores=scores) == []

    @pytest.mark.parametrize(("costs", "count"), [((0.09, 0.01), 0), ((0.11, 0.01), 1)])
    def test_what_is_broken_already_explains_the_loss_if_the_others_cost_nothing(
        self, layers, costs, count
    ):
        alone = dict(zip("bc", costs, strict=True))  # against a fifth of a loss of 0.5
        assert len(self.found(layers, known="d", scores=CURED, alone=alone)) == count
        assert len(self.found(layers, scores=CURED, alone=alone)) == 1
        assert not self.found(layers, known="bcd", scores=CURED)

    def test_layers_of_which_no_cost_is_known_are_not_cheap(self, layers):
        assert self.found(layers, known="d", scores=CURED)

    def test_statistics_of_training_with_dropout_are_not_stale(self, layers):
        with torch.no_grad():
            layers["b"].running_var.fill_(2.0)
            layers["c"].running_mean.fill_(1.0)
        reached = {"b": seen(), "c": seen()}
        training = {"b": seen(var=(2.0, 2.0)), "c": seen()}
        offsets = {"b": Offset(0.0, math.log(2) / 2, 2.0, 0.0), "c": OFF["c"]}
        options = {"batch": reached, "training": training, "scores": CURED}
        assert self.found(layers, offsets, **options)[0].layers == ("c",)
        options["failed"] = {"training": "Error: no"}
        assert self.found(layers, offsets, **options)[0].layers == ("b", "c")


class TestHuge:
    @pytest.mark.parametrize(
        ("mean", "var", "right"),
        [
            (1e6, 1.0, True),
            (1e6, 99.0, True),
            (1e6, 101.0, False),
            (1.009e6, 1.0, True),
            (1.02e6, 1.0, False),
            (-1e6, 1.0, False),
        ],
    )
    def test_statistics_are_right_near_inputs_as_huge(self, mean, var, right):
        layer = nn.BatchNorm1d(2)
        with torch.no_grad():
            layer.running_mean.fill_(mean)
            layer.running_var.fill_(var)
        made = trials({"a": layer}, {"a": seen((1e6, 1e6))})
        assert as_huge(made, ["a"]) == right
        assert not as_huge(made, ["b", "a"])  # which nothing has reached

    @pytest.mark.parametrize(
        ("var", "reached", "size"),
        [
            ((2e10, 2e10), (1.0, 1.0), "2e+10"),
            ((9e9, 9e9), (1.0, 1.0), ""),  # as other units may make it
            ((3e10, 4e10, 1.0), (1.0,) * 3, "4e+10"),
            ((3e10, 1.0, 1.0), (1.0,) * 3, ""),  # of which the other channels tell
            ((9e6, 9e6), (0.0, 0.0), ""),  # of channels that are dead
            ((1e22, 1e22), (1e20, 1e20), ""),
        ],
    )
    def test_statistics_are_huge_against_what_reaches_the_layer(self, var, reached, size):
        layer = nn.BatchNorm1d(len(var))
        with torch.no_grad():
            layer.running_var.copy_(tensor(var))
        made = trials({"a": layer}, {"a": channels(*reached)}, offsets={"a": OFF["c"]})
        summary = f"a: up to {size}, over 1e+10 times the variance that reaches it"
        expected = Finding("error", "huge-statistics", summary, ("a",), (EXPLODED,), UPDATE)
        assert [*huge(made, set())] == ([expected] if size else [])
        assert not [*huge(made, {"a"})]
        assert not [*huge(trials(offsets={"a": OFF["c"]}), set())]


UNLIKE = {"eval": score(0.9, 18), "batch": score(1.1, 6)}


class TestModes:
    def test_gap_that_new_statistics_do_not_mend(self):
        why = ("is this the loader of the training? Is there padding, do samples belong together?",)
        summary = f"eval mode -> batch statistics: {BETTER}; new statistics do not mend it"
        note = Finding("note", "gamma-zero", "")
        assert [*worse_in_eval(trials(scores=UNCURED), [note])] == [
            Finding("error", "eval-worse", summary, (), why)
        ]

    @pytest.mark.parametrize(
        ("scores", "level"),
        [(CURED, "note"), (dict.fromkeys(CURED, BAD), "note"), (UNCURED, "warning")],
    )
    def test_gap_that_is_mended_or_explained_or_none(self, scores, level):
        known = [Finding(level, "gamma-zero", "")]
        assert not [*worse_in_eval(trials(scores=scores), known)]

    def test_batches_unlike_those_of_the_training(self):
        summary = (
            "eval mode -> batch statistics: accuracy 90.0 % -> 30.0 %, loss 0.9 -> 1.1 "
            "(20 points matter)"
        )
        why = ("batches unlike those of the training: in some order, smaller, of other data?",)
        made, others = trials(scores=UNLIKE), [Finding("error", "never-gathered", "")]
        assert [*worse_in_batch(made, others)] == [
            Finding("note", "batches-not-random", summary, (), why)
        ]

    @pytest.mark.parametrize("code", ["batches-not-random", "small-batches", "batch-of-one"])
    def test_batches_of_which_it_is_known_why_they_are_unlike(self, code):
        assert not [*worse_in_batch(trials(scores=UNLIKE), [Finding("warning", code, "")])]

    @pytest.mark.parametrize(
        ("before", "after", "matters"),
        [
            ([16] * 4, [12] * 4, True),  # twenty points
            ([15] * 4, [12] * 4, False),
            ([15] * 4, [15, 15, 15, 0], False),  # by chance
            ([], [], False),
        ],
    )
    def test_accuracy_is_lost_by_many_points_for_certain(self, before, after, matters):
        scores = {"eval": Score([], before, [20] * 4), "batch": Score([], after, [20] * 4)}
        assert lost(trials(scores=scores)) is matters
        assert not lost(trials(scores={"eval": scores["eval"]}))


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "layer", "in_eval", "error", "code", "said", "remedy"),
        [
            (
                *("a", nn.BatchNorm1d(2), False, "Expected more than 1 value", "one-value"),
                *("a (BatchNorm1d) raises in train mode", LARGER),
            ),
            (
                *("", nn.InstanceNorm1d(2), True, "Expected more than 1 value", "one-value"),
                *("the model (InstanceNorm1d) raises in eval mode, too", ""),
            ),
            (
                *("a", nn.BatchNorm1d(2), True, "the shapes differ", "layer-refuses"),
                *("a (BatchNorm1d) raises in eval mode, too", ""),
            ),
        ],
    )
    def test_layer_that_raises_an_error(self, name, layer, in_eval, error, code, said, remedy):
        made = trials({name: layer}, refused=(name, ValueError(error), in_eval))
        one = ("a value minus its own mean is zero, whatever it was",)
        details = one if code == "one-value" else ()
        assert [*refused(made)] == [
            Finding("error", code, f"{said}: {error}", (name,), details, remedy)
        ]
        assert not [*few_values(made, 1)]

    def test_nothing_is_said_where_all_layers_took_their_inputs(self):
        assert not [*refused(trials())]


class TestFinite:
    def test_parameters_are_named(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
        with torch.no_grad():
            model[0].weight[0, 0], model[1].bias[1] = math.inf, NAN
        summary = "parameters are NaN or infinite: 0.weight, 1.bias"
        expected = Finding("error", "nan-activations", summary, ("0.weight", "1.bias"))
        made = trials(batch={"a": seen(sound=False)})
        assert [*not_finite(model, made)] == [expected]

    @pytest.mark.parametrize("name", ["b", ""])
    def test_first_layer_is_named(self, name):
        batch = {"a": seen(), name: seen(sound=False), "c": seen(sound=False)}
        summary = (
            f"{name or 'the layer'} is the first layer whose input is NaN, infinite or too large"
        )
        assert [*not_finite(nn.Linear(2, 2), trials(batch=batch))] == [
            Finding("error", "nan-activations", summary, (name,), ("look at the batches first",))
        ]


class TestFewValues:
    @pytest.mark.parametrize(
        ("scores", "level", "words"),
        [(UNCURED, "error", BETTER), (CURED, "warning", BETTER), ({}, "warning", "")],
    )
    def test_one_sample_a_batch(self, scores, level, words):
        batch = {"a": seen(samples=1, values=9), "b": seen()}
        summary = (
            "one sample a batch in a: trained as instance normalization, which eval mode is not "
            f"({words})"
        )
        why = ("make the layers nn.InstanceNorm2d(C, affine=True), with the same gamma and beta",)
        assert [*few_values(trials(batch=batch, scores=scores), None)] == [
            Finding(level, "batch-of-one", summary, ("a",), why)
        ]

    @pytest.mark.parametrize(
        ("values", "scores", "level", "why"),
        [
            (8, {}, "warning", ()),
            (8, UNCURED, "error", ()),
            (2, {}, "error", ("two values become +1 and -1, whatever they were",)),
        ],
    )
    @pytest.mark.parametrize("name", ["b", ""])
    def test_few_values_a_mean(self, values, scores, level, why, name):
        reached = {"a": seen(values=15), name: seen(values=values), "d": seen(values=16)}
        made = trials({name: nn.BatchNorm1d(2)}, reached, scores=scores)
        summary = (
            f"{values} values share a mean in {name or 'the layer'} (few: under 16), 2 such layers"
        )
        assert [*few_values(made, 32)] == [
            Finding(level, "small-batches", summary, ("a", name), why, LARGER)
        ]

    def test_last_batch_of_one_sample(self):
        # A layer of images pools many values of the one sample.
        batch = {"a": seen(), "b": seen(values=640), "c": seen()}
        made = trials({"c": nn.InstanceNorm1d(2)}, batch)
        summary = "the last batch of each epoch has one sample: a will raise an error"
        assert [*few_values(made, 1)] == [
            Finding("warning", "last-batch", summary, ("a",), remedy=SHUFFLED)
        ]
        assert not [*few_values(made, 2)]

    def test_layer_that_pools_one_value_of_each_sample(self):
        layers = {"b": nn.InstanceNorm1d(2), "c": nn.GroupNorm(2, 2)}
        evaluation = {"a": seen(values=1), "b": seen(values=1), "c": seen(values=2)}
        summary = "b pools a single value: its output is beta for every input"
        assert [*few_values(trials(layers, evaluation=evaluation), None)] == [
            Finding("error", "one-value", summary, ("b",))
        ]

    def test_layers_that_hold_their_statistics_or_were_given_nothing_do_not_count(self):
        few = seen(values=2, samples=2)
        nothing = Seen(values=2, samples=1)
        made = trials(batch={"a": few, "b": few, "c": nothing}, frozen={"a"}, constant={"b"})
        assert not [*few_values(made, 1)]


def between(shift, batches=6):
    """Batches of eight samples, of which every other one is shifted."""
    found, generator = Between(), torch.Generator().manual_seed(0)
    for number in range(batches):
        found.add(torch.randn(8, 2, generator=generator) + shift * (number % 2))
    return seen(between=found)


class TestRandom:
    def test_layer_of_the_largest_ratio_is_named(self):
        evaluation = {"a": between(1.0), "b": between(3.0), "c": between(9.0), "d": seen()}
        made = trials({"c": nn.LayerNorm(2)}, evaluation=evaluation)
        ratio, batches, name = random_ratio(made)
        assert (round(ratio, 1), batches, name) == (16.4, 6, "b")
        assert random_ratio(trials()) is None

    @pytest.mark.parametrize(
        ("scores", "level", "harm"),
        [(CURED, "error", f": eval -> batch {BETTER}"), ({}, "warning", "")],
    )
    @pytest.mark.parametrize("name", ["a", ""])
    def test_batches_that_are_no_random_samples(self, scores, level, harm, name):
        made = trials({name: nn.BatchNorm1d(2)}, evaluation={name: between(3.0)}, scores=scores)
        where = name or "the layer"
        summary = f"F 16.4 between batches in {where} (random: 1, too much: 3){harm}"
        why = ("sorted by class, or several views of one scene: a batch betrays its members",)
        assert [*not_random(made)] == [
            Finding(level, "batches-not-random", summary, (name,), why, SHUFFLED)
        ]

    @pytest.mark.parametrize(("shift", "batches"), [(0.0, 6), (9.0, 3), (1.2, 6)])
    def test_random_batches_and_a_few_that_may_be(self, shift, batches):
        assert not [*not_random(trials(evaluation={"a": between(shift, batches)}))]
        assert not [*not_random(trials())]

    def test_four_batches_are_enough(self):
        assert [*not_random(trials(evaluation={"a": between(9.0, 4)}))]


def of_classes(*batches, **scores):
    """Scores of batches of so many samples of each class."""
    scores = {"eval": score(0.5, 15), **scores}
    scores["eval"].classes = [Counter(dict(enumerate(batch))) for batch in batches]
    return scores


SORTED = "a batch of one class loses it with its mean; was the model trained with this loader?"


class TestClasses:
    @pytest.mark.parametrize(
        ("batches", "pure", "most"),
        [
            ([(32, 0), (0, 32)] * 2, 100, 50),
            ([(32, 0, 0), (3, 29, 0), (0, 1, 31), (0, 0, 32)], 97, 49),
            ([(16, 0), (16, 0), (2, 14), (0, 16)], 97, 53),
        ],
    )
    def test_batches_of_one_class_each(self, batches, pure, most):
        made = trials(scores=of_classes(*batches))
        summary = f"{pure} % of a batch are of one class (90 matter), of all batches {most} %"
        assert [*not_random(made)] == [
            Finding("warning", "batches-not-random", summary, (), (SORTED,), SHUFFLED)
        ]

    @pytest.mark.parametrize(
        "batches",
        [
            [(32, 0), (0, 32), (32, 0)],  # too few
            [(15, 0), (0, 15), (15, 0), (0, 15)],  # too small
            [(28, 4), (4, 28)] * 2,
            [(32, 0)] * 4,  # of a class that is all there is
            [(32, 0), (32, 0), (32, 0), (3, 29)],
            [(16, 16)] * 4,
            [],
        ],
    )
    def test_batches_of_which_that_may_be_chance(self, batches):
        assert not [*not_random(trials(scores=of_classes(*batches)))]

    @pytest.mark.parametrize(
        ("batches", "later", "said"),
        [
            ([(32,)] * 4, [1] * 9 + [0], "all 128 samples are of class 0, but 9 of 10"),
            ([(32,)] * 20, [0] * 8 + [1] * 2, "all 640 samples are of class 0, but 2 of 10"),
            ([(32,), (30, 2)] * 2, [1] * 10, "124 of 128 samples are of class 0, but 10 of 10"),
            ([(32,)] * 20, [0] * 9 + [1], ""),  # of a class that is rare
            ([(8,)], [1, 1, 1, 0, 0], ""),
            ([(32,), (30, 2)] * 2, [0] * 8 + [1] * 2, ""),
            ([(32,)] * 20, [0] * 10, ""),
            ([(32,)] * 20, [], ""),
            ([], [1] * 10, ""),
        ],
    )
    def test_one_class_behind_which_come_others(self, batches, later, said):
        made = trials(scores=of_classes(*batches), origin=Origin(ordered=True, later=later))
        summaries = [found.summary for found in not_random(made)]
        assert summaries == ([f"{said} behind them are not"] if said else [])
        made.origin.ordered = False
        assert not [*not_random(made)]

    @pytest.mark.parametrize(
        ("batch", "later", "found"),
        [(score(1.5, 3), [], 1), (score(1.5, 14), [], 0), (score(1.5, 3), [0] * 10, 0)],
    )
    def test_one_class_that_is_lost_with_the_mean_where_nothing_can_be_looked_up(
        self, batch, later, found
    ):
        scores = of_classes(*[(20,)] * 4, batch=batch)
        made = trials(scores=scores, origin=Origin("", ordered=True, later=later))
        words = "accuracy 75.0 % -> 15.0 %, loss 0.5 -> 1.5"
        summary = f"all 80 samples are of class 0, and eval -> batch {words}"
        why = (SORTED, "make the loader anew, of samples in random order")
        expected = Finding("warning", "batches-not-random", summary, (), why)
        assert [*not_random(made)] == [expected] * found


class TestRemade:
    LIST = Origin("[row for batch in loader for row in batch]", "", "20")

    def test_line_is_made_of_what_the_loader_has(self):
        scores = of_classes(*[(32, 0), (0, 32)] * 2)
        (found,) = not_random(trials(scores=scores, origin=self.LIST))
        assert found.remedy == (
            f"loader = torch.utils.data.DataLoader({self.LIST.samples}, batch_size=20, "
            "shuffle=True, drop_last=True)"
        )
        few = trials(batch={"a": seen(values=8)}, origin=Origin(options=", collate_fn=f"))
        (found,) = few_values(few, None)
        assert found.remedy == LARGER.replace("True)", "True, collate_fn=f)")

    def test_sentence_takes_the_place_of_a_line_where_there_is_none(self):
        origin = Origin("")
        error = ValueError("Expected more than 1 value")
        refusing = trials(refused=("a", error, False), origin=origin)
        few = trials(batch={"a": seen(values=2)}, origin=origin)
        for found in (*refused(refusing), *few_values(few, None)):
            assert found.remedy == ""
            assert found.details[1:] == ("make the loader anew, of samples in random order",)


class TestSeveral:
    @pytest.mark.parametrize(("scores", "level"), [(CURED, "error"), ({}, "warning")])
    @pytest.mark.parametrize("name", ["b", ""])
    def test_layer_that_is_called_on_inputs_that_differ(self, scores, level, name):
        calls = [moments(), moments((2.0, 2.0))]
        batch = {"a": seen(most_calls=1, calls=calls[:1]), name: seen(most_calls=2, calls=calls)}
        batch["c"] = seen(most_calls=3, calls=[moments(), moments(), moments((0.5, 0.5))])
        made = trials({name: nn.BatchNorm1d(2)}, batch, scores=scores)
        summary = (
            f"{name or 'the layer'} is called 2 times a pass, on inputs up to 2.0 sigma apart "
            "(0.5 matter): one running average fits none"
        )
        (found,) = several(made)
        assert (found.level, found.code, found.layers) == (level, "several-distributions", (name,))
        assert found.summary == summary
        start = "a layer of its own for each use, with one gamma and beta"
        assert found.details == (f"{start}; {BETTER}" if scores else start,)

    def test_layer_without_statistics_may_be_called_on_anything(self):
        calls = [moments(), moments((2.0, 2.0))]
        made = trials({"a": nn.LayerNorm(2)}, {"a": seen(most_calls=2, calls=calls)})
        assert not [*several(made)]


TRAINED = {"a": seen(var=(1.5, 1.5)), "b": seen(var=(0.25, 0.25)), "c": seen(var=(1.2, 1.2))}
REACHED = {"a": seen(), "b": seen(), "c": seen()}


class TestDropped:
    def test_layers_with_another_variance_in_training(self):
        made = trials(batch=REACHED, training=TRAINED)
        assert shifted_by_dropout(made) == {
            "a": pytest.approx(1.5, abs=1e-4),
            "b": pytest.approx(0.25, abs=1e-4),
        }

    def test_what_cannot_be_compared_is_passed_over(self):
        unsound = seen(var=(9.0, 9.0), sound=False)
        training = {"x": seen(), "a": unsound, "d": seen(var=(9.0, 9.0)), **TRAINED}
        training["a"] = unsound
        made = trials(batch={**REACHED, "d": seen()}, training=training, frozen={"d"})
        assert [*shifted_by_dropout(made)] == ["b"]
        made.failed["training"] = "Error: no"
        assert shifted_by_dropout(made) == {}

    @pytest.mark.parametrize(
        ("before", "scores", "level", "said"),
        [(["x", "y"], CURED, "error", "x, y"), ([], {}, "warning", "something")],
    )
    def test_dropout_before_layers(self, before, scores, level, said):
        made = trials(batch=REACHED, training=TRAINED, scores=scores)
        made.in_training.dropped["a"] = before
        summary = f"{said} before a, b: variance x 0.25 in train mode (1.3 matter)"
        details = (f"with the statistics of evaluation: {BETTER}",) if scores else ()
        remedy = f"for name in {before}: model.get_submodule(name).p = 0.0" if before else ""
        assert [*dropped(made)] == [
            Finding(level, "dropout-in-front", summary, ("a", "b"), details, remedy)
        ]

    def test_remedy_takes_away_the_dropouts_before_every_layer(self):
        made = trials(batch=REACHED, training=TRAINED)
        made.in_training.dropped.update(a=["x"], b=["x", "y"], c=["x", "y", "z"])
        (found,) = dropped(made)
        assert found.remedy == "for name in ['x', 'y']: model.get_submodule(name).p = 0.0"

    def test_no_dropout(self):
        assert not [*dropped(trials(batch=REACHED, training=REACHED))]


def channels(*var):
    return seen((0.0,) * len(var), var)


class TestConstant:
    @pytest.mark.parametrize(
        ("name", "var", "said", "details", "remedy"),
        [
            (
                "a",
                (1e-5, 1e-6),
                "2 of 2 channels of a with variance up to eps (1.0e-06",
                1,
                "1e-08",
            ),
            (
                "",
                (1e-13, 1e-13),
                "2 of 2 channels of the layer with variance up to eps (1.0e-13",
                1,
                "",
            ),
            ("a", (0.0, 0.0, 1.0), "2 of 3 channels of a with variance up to eps (0.0e+00", 0, ""),
            ("a", (0.0, 1.0), "1 of 2 channels of a with variance up to eps (0.0e+00", 0, ""),
        ],
    )
    def test_channels_that_eps_decides(self, name, var, said, details, remedy):
        made = trials({name: nn.BatchNorm1d(2)}, {name: channels(*var)})
        details = ("scale the input up, or make eps smaller",) * details
        remedy = remedy and f"model.get_submodule({name!r}).eps = {remedy}"
        assert [*constant(made)] == [
            Finding(
                *("warning", "dead-channels", f"{said} <= 1e-05): eps decides"),
                *((name,), details, remedy),
            )
        ]

    def test_a_few_dead_channels(self):
        batch = {"a": channels(0.0, 1.0, 1.0), "b": channels(1.0, 1.0)}
        batch["c"] = channels(0.0, 1e-6, 1.0, 1.0, 1.0)
        summary = "3 channels with variance up to eps, in a, c"
        assert [*constant(trials(batch=batch))] == [
            Finding("note", "dead-channels", summary, ("a", "c"), ("eps decides their scale",))
        ]

    @pytest.mark.parametrize(("name", "share"), [("a", 0.5), ("", 0.75)])
    def test_samples_whose_values_hardly_differ(self, name, share):
        made = trials(
            {name: nn.LayerNorm(2)}, {name: Seen(constant=share), "b": Seen(constant=0.4)}
        )
        summary = (
            f"{name or 'the layer'}: {100 * share:.0f} % of its means are over values that differ "
            "by less than the root of eps (1e-05)"
        )
        assert [*constant(made)] == [Finding("warning", "dead-channels", summary, (name,))]

    def test_layer_of_constants_is_not_decided_by_eps(self):
        batch = {"a": channels(0.0, 0.0), "b": channels(0.0, 0.0), "c": channels(0.0, 0.0)}
        made = trials(batch=batch, frozen={"a"}, constant={"b"})
        assert [found.layers for found in constant(made)] == [("c",)]

    def test_mean_of_one_value_has_no_variance_to_be_small(self):
        one = seen((0.0, 0.0), (0.0, 0.0), values=1)
        made = trials(batch={"a": one, "b": Seen(), "c": channels(0.0, 0.0)})
        assert [found.layers for found in constant(made)] == [("c",)]


class TestRounded:
    @pytest.mark.parametrize(
        ("name", "one", "said"),
        [
            (
                "a",
                seen((1e6, 0.0, -3e6), (1.0,) * 3),
                "2 of 3 channels of a (0, 2): the mean, 3e+06",
            ),
            ("", seen((1e6,), (1.0,)), "1 of 1 channels of the layer (0): the mean, 1e+06"),
            (
                "a",
                seen((1e3, 0.0), (1.0, 1.0), dtype=torch.float16),
                "1 of 2 channels of a (0): the mean, 1e+03",
            ),
        ],
    )
    def test_channels_whose_mean_is_rounded(self, name, one, said):
        double = seen((1e6, 1e6), dtype=torch.float64)
        made = trials({name: nn.BatchNorm1d(2)}, {"b": Seen(), "c": double, name: one})
        why = ("subtract a typical value before the layer, or compute in float32",)
        summary = f"{said}, is rounded by more than 0.1 sigma"
        assert [*rounded(made)] == [Finding("warning", "lost-digits", summary, (name,), why)]

    @pytest.mark.parametrize(
        ("mean", "var", "values", "count"),
        [
            (1e6, 1.0, 1, 1),
            (8e5, 1.0, 1, 0),
            (2e5, 1.0, 16, 0),
            (3e5, 1.0, 16, 1),
            (1e6, 1e8, 64, 0),
        ],
    )
    def test_sums_of_many_values_lose_more_and_a_wide_spread_less(self, mean, var, values, count):
        batch = {"a": seen((mean,), (var,), values=values)}
        assert len([*rounded(trials(batch=batch))]) == count

    def test_numbers_that_are_whole_are_not_rounded(self):
        batch = {"a": seen((1e6,), (1.0,), dtype=torch.int64), "b": seen((1e6,), (1.0,))}
        assert [found.layers for found in rounded(trials(batch=batch))] == [("b",)]


def test_biases_that_a_mean_takes_away():
    summary = "the bias of x, y, moved by 1, changes no output: a mean takes it away"
    why = ("bias=False in the next model; in this one it does no harm",)
    assert [*idle(trials(idle=[("x", "a"), ("y", "b")]))] == [
        Finding("note", "bias-without-effect", summary, ("x", "y"), why)
    ]
    assert not [*idle(trials())]
