"""What the checks of settings and statistics say, word for word: it is all that a reader gets."""

import pytest
import torch
from torch import nn, tensor

from bn_tutorial.networks.checks_without_data import (
    EXPLODED,
    UPDATE,
    Kept,
    at_odds,
    broken,
    collapsed,
    contradictory,
    kept_by,
    kept_in,
    left,
    never_gathered,
    never_loaded,
    unevenly_counted,
)
from bn_tutorial.networks.report import Finding

NAN, INF = torch.nan, torch.inf


def kept(name="a", mean=(0.0, 0.5), var=(1.0, 2.0), counted=None, weight=None):
    return Kept(name, tensor(mean), tensor(var), counted, weight)


def gammas(*values, counted=3, name="a"):
    return kept(name, counted=counted, weight=tensor(values))


def for_all(code, what):
    """A remedy that mends each layer of a finding."""
    return f'for name in report.layers("{code}"): {what}'


NONE_OF_THEM = ("training cannot show it: find what overflowed, then gather the statistics anew",)


@pytest.mark.parametrize(
    ("layers", "summary"),
    [
        (
            [kept("a", (NAN, 0.0, 0.0, 0.0), (1.0, 1.0, -1.0, 1.0)), kept("b", var=(1.0, INF))],
            "2 of 4 channels of a (0, 2) and of 1 more layers: eval mode is NaN from there on",
        ),
        (
            [kept("", (0.0,) * 4, (-1.0,) * 4)],
            "4 of 4 channels of the layer (0, 1, 2 and 1 more): eval mode is NaN from there on",
        ),
        (  # whatever is divided by infinity is zero
            [kept("a", var=(1.0, INF)), kept("b", (INF, 0.0), (1.0, 1.0))],
            "1 of 2 channels of a (1) and of 1 more layers: eval mode is NaN from there on",
        ),
        (
            [kept("a", var=(1.0, INF)), kept("b", var=(INF, INF))],
            "1 of 2 channels of a (1) and of 1 more layers: eval mode is beta for every input "
            "there",
        ),
    ],
)
def test_statistics_that_are_none(layers, summary):
    names = tuple(one.name for one in layers)
    expected = Finding("error", "nan-statistics", summary, names, NONE_OF_THEM, UPDATE)
    assert [*broken(layers)] == [expected]


@pytest.mark.parametrize(
    ("layers", "summary"),
    [
        (
            [kept("a", (0.0, 4e5), (1.0, 1.0)), kept("b", (0.0,) * 3, (1.0, 1.0, 2e10))],
            "a, b: 2e+11",
        ),
        ([kept("a", (0.0, 1e25), (1.0, 1.0))], "a: 1e+50"),  # more than single precision holds
        ([kept("a", (0.0,) * 3, (1e-9, 1e-9, 2e7))], "a: 2e+07"),
        ([kept("a", (0.0,) * 3, (2e16, 3e16, 4e16))], "a: 4e+16"),  # in every channel
    ],
)
def test_huge_statistics(layers, summary):
    names, _, size = summary.partition(": ")
    summary = f"{names}: up to {size}, over 1e+10 times a layer's variance"
    names = tuple(one.name for one in layers)
    expected = Finding("error", "huge-statistics", summary, names, (EXPLODED,), UPDATE)
    assert [*broken(layers)] == [expected]


def test_layer_with_huge_statistics_is_found_behind_one_with_none():
    layers = [kept("a", (NAN, 0.0)), kept("b", (0.0, 4e5), (1.0, 1.0))]
    assert [(found.code, found.layers) for found in broken(layers)] == [
        ("nan-statistics", ("a",)),
        ("huge-statistics", ("b",)),
    ]


def test_variance_of_zero_and_large_values_of_small_ones_are_not_broken():
    assert not [*broken([kept(var=(0.0, 0.0)), kept("b", (0.0,) * 3, (1e-9, 1e-9, 9e6))])]
    assert not [*broken([kept(mean=(1e12, 1e12), var=(9e15, 9e15))])]


def test_statistics_of_new_layers():
    new = kept("a", (0.0,), (1.0,))
    chance = kept("b", (5.0,), (1.0,), 0)  # of one channel, any number is possible
    lost = kept("c", (5.0, 5.0), (1.0, 1.0), 0)
    summary = "running_var is 1 in every channel of c, a"
    why = ("never in train mode, or loaded or averaged without its buffers",)
    assert [*never_gathered([new, chance, lost])] == [
        Finding("error", "never-gathered", summary, ("c", "a"), why, UPDATE)
    ]


def test_statistics_that_were_lost_after_batches_were_counted():
    layers = [kept("a", (1.0,), (1.0,), 7), kept("b", (5.0, 1.0), (1.0, 1.0), 9)]
    summary = "running_var is 1 in every channel of all layers"
    why = ("9 batches were counted, though: the buffers were lost afterwards",)
    assert [*never_gathered(layers)] == [
        Finding("error", "never-gathered", summary, ("a", "b"), why, UPDATE)
    ]


@pytest.mark.parametrize(
    ("momenta", "why"),
    [
        ((0.0, 0.0), "momentum is 0: no batch moves them"),
        ((0.0, 0.1), "9 batches were counted, though: the buffers were lost afterwards"),
    ],
)
def test_statistics_that_momentum_never_moves_were_not_lost(momenta, why):
    layers = [kept(name, var=(1.0, 1.0), counted=9) for name in "ab"]
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    (found,) = never_gathered(layers)
    assert found.details == (why,)
    assert found.remedy == UPDATE  # which sets the momentum to None meanwhile


def test_layers_that_count_nothing_may_hold_constants():
    (found,) = never_gathered([kept(mean=(0.0, 0.0), var=(1.0, 1.0))])
    assert found.details == (
        "never in train mode, or loaded or averaged without its buffers",
        "or constants (FrozenBatchNorm), as no counter: these update_bn does not move",
    )


def test_constants_that_were_never_loaded():
    new = kept("a", (0.0, 0.0), (1.0, 1.0))
    loaded = [kept("b"), kept("c", (0.0, 0.5), (1.0, 1.0)), kept("d", (0.0, 0.0), (1.0, 2.0))]
    summary = "constants still 0 and 1, never loaded, so nothing is normalized: a"
    why = ("update_bn does not move constants: load sound ones, or take another norm_layer",)
    assert [*never_loaded([new, *loaded])] == [
        Finding("warning", "never-gathered", summary, ("a",), why)
    ]
    assert not [*never_loaded(loaded)]


def test_gammas_that_let_nothing_pass():
    passing = [
        kept("without"),
        kept("matrix", counted=3, weight=torch.zeros(2, 2)),
        gammas(0.0, 0.0, counted=0, name="new"),
        gammas(0.0, -1.0, 2e-3, 1.0, name="few"),
    ]
    layers = [
        *passing,
        gammas(0.0, 1e-3, -1e-3, 0.0, name="all"),
        gammas(0.0, -1.0, 1e-4, 1.0, counted=None, name="half"),
        gammas(0.0, 0.0, 0.0, counted=1, name="once"),
    ]
    why = ("no gradient reaches what comes before; was gamma decayed?",)
    cure = for_all("gamma-zero", "nn.init.ones_(model.get_submodule(name).weight)")
    whole, half = (
        "all 4 gammas of all are at most 0.001: beta alone passes",
        "2 of 4 gammas of half are at most 0.001",
    )
    once = "all 3 gammas of once are at most 0.001: beta alone passes"
    assert [*collapsed(layers)] == [
        Finding("warning", "gamma-zero", whole, ("all",), why, cure),
        Finding("note", "gamma-zero", half, ("half",)),
        Finding("warning", "gamma-zero", once, ("once",), why, cure),
    ]


def test_layers_that_counted_other_numbers_of_batches():
    counts = {"a": None, "b": 5, "c": 10, "d": 10, "e": 0, "f": 5}
    layers = [kept(name, counted=count) for name, count in counts.items()]
    layers.append(kept("g", counted=10))
    why = ("a multiple: called several times, or recomputed by checkpointing; less: frozen or new",)
    summary = "b, f counted 5 batches, most layers 10"
    expected = Finding("note", "uneven-counters", summary, ("b", "f"), why)
    assert [*unevenly_counted(layers)] == [expected]
    (wider,) = unevenly_counted([*layers, kept("h", counted=40), kept("i", counted=10)])
    assert wider.summary == "b, f, h counted 5 to 40 batches, most layers 10"
    assert not [*unevenly_counted([kept("a"), kept("b", counted=0), kept("c", counted=5)])]


def norm(**changes):
    layer = nn.BatchNorm1d(3)
    for name, value in changes.items():
        setattr(layer, name, value)
    return layer


def contradictions(frozen=(), **layers):
    return [*contradictory(layers, set(frozen))]


@pytest.mark.parametrize(
    ("momentum", "said", "why"),
    [(0.9, "0.9", "0.9 elsewhere is 0.1 here"), (1.0, "1", "the usual is 0.1")],
)
def test_momentum_of_another_library(momentum, said, why):
    code = "swapped-momentum"
    expected = Finding(
        "warning",
        code,
        f"{said} in a, b (over 0.5): the last batch alone counts",
        ("a", "b"),
        (f"PyTorch's weighs the new value: {why}",),
        for_all(code, "model.get_submodule(name).momentum = 0.1"),
    )
    layers = {"a": norm(momentum=momentum), "b": norm(momentum=0.7), "c": norm(momentum=None)}
    assert contradictions(**layers) == [expected]


def test_momentum_of_zero():
    code = "track-running-stats"
    expected = Finding(
        "warning",
        code,
        "momentum 0 in a, c: statistics are tracked and never move",
        ("a", "c"),
        ("in train mode the batch normalizes all the same",),
        for_all(code, "model.get_submodule(name).momentum = 0.1"),
    )
    layers = {name: norm(momentum=0.0) for name in "abc"}
    assert contradictions("b", **layers, d=norm(momentum=None)) == [expected]


def test_statistics_that_are_not_tracked():
    code = "track-running-stats"
    old = Finding(
        "warning",
        code,
        "track_running_stats is False in a, which has statistics: eval mode uses old ones",
        ("a",),
        remedy=for_all(code, "model.get_submodule(name).track_running_stats = True"),
    )
    without = Finding(
        "warning",
        "depends-on-the-batch",
        "b without running statistics: the batch normalizes in eval mode",
        ("b",),
        ("made with track_running_stats=False? Make the layer with True and gather them",),
    )
    layers = {
        "a": norm(track_running_stats=False),
        "b": nn.BatchNorm1d(3, track_running_stats=False),
        "c": nn.InstanceNorm1d(3),  # which normalizes each sample by itself
    }
    assert contradictions(**layers) == [old, without]


def test_eps_that_is_zero():
    layers = {
        "a": nn.LayerNorm(3, eps=0),
        "b": nn.GroupNorm(3, 3, eps=2e-8).half(),
        "c": nn.LayerNorm(3, eps=2e-8),
        "d": nn.LayerNorm(3, eps=4e-8).half(),
        "e": nn.LayerNorm(3, eps=-1.0),
    }
    code = "eps-underflow"
    expected = Finding(
        "warning",
        code,
        "eps 0 in a, b, e is zero in its precision: a constant channel is 0/0",
        ("a", "b", "e"),
        remedy=for_all(code, "model.get_submodule(name).eps = 1e-5"),
    )
    assert contradictions(**layers) == [expected]


@pytest.mark.parametrize(
    ("layer", "harm"),
    [
        (nn.BatchNorm1d(3, eps=2e-8), "a constant channel is 0/0"),
        (nn.LayerNorm(3, eps=2e-8), "of constants, the gradient overflows"),
    ],
)
def test_eps_that_is_zero_in_half_precision(layer, harm):
    (found,) = contradictions(a=layer.half())
    assert found.summary == f"eps 2e-08 in a is zero in its precision: {harm}"


def odds(model):
    return [*at_odds(model, dict(model.named_children()))]


def test_layer_in_train_mode_of_a_model_in_eval_mode():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3), nn.LayerNorm(3)).eval()
    model[0].train()
    model[2].train()  # which makes no difference to it
    summary = (
        "0 in train mode, the model in eval mode: predictions depend on the batch, and move the "
        "statistics"
    )
    expected = Finding("error", "depends-on-the-batch", summary, ("0",), remedy="model.eval()")
    assert odds(model) == [expected]


def test_layers_that_are_frozen_by_half():
    model = nn.Sequential(*(nn.BatchNorm1d(3) for _ in range(5)), nn.LayerNorm(3))
    model[0].requires_grad_(False)
    model[1].eval()
    model[1].bias.requires_grad_(False)
    model[2].eval().requires_grad_(False)  # wholly
    model[3].weight.requires_grad_(False)  # meant, as beta learns
    model[5].eval()
    moving = Finding(
        "warning",
        "frozen-but-moving",
        "0: requires_grad is False, but train mode moves the statistics",
        ("0",),
        ("and the batch normalizes; model.train() undoes eval(), so repeat it after each",),
        for_all("frozen-but-moving", "model.get_submodule(name).eval()"),
    )
    half = Finding(
        "warning",
        "half-frozen",
        "1: in eval mode, but gamma and beta learn",
        ("1",),
        remedy=for_all("half-frozen", "model.get_submodule(name).requires_grad_(False)"),
    )
    assert odds(model) == [moving, half]


def test_layer_without_gamma_and_beta_is_not_frozen():
    assert not odds(nn.Sequential(nn.BatchNorm1d(3, affine=False)))


@pytest.mark.parametrize(
    "read", [lambda net: kept_by(dict(net.named_children())), lambda net: kept_in(net.state_dict())]
)
def test_what_a_layer_keeps_is_read_from_it_and_from_its_state(read):
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False))
    with torch.no_grad():
        for name, value in (("running_mean", 3.0), ("running_var", 4.0), ("weight", 5.0)):
            getattr(net[0], name).fill_(value)
    net[0].num_batches_tracked += 7
    net[2].num_batches_tracked = None
    first, second = read(net)
    assert (first.name, first.counted, second.name, second.counted) == ("0", 7, "2", None)
    values = (first.mean, first.var, first.weight)
    assert [one.tolist() for one in values] == [[3.0] * 2, [4.0] * 2, [5.0] * 2]
    assert second.weight is None
    assert not any(one.requires_grad for one in values)


def test_initial_values_weigh_nothing_under_a_momentum_that_is_none():
    assert [left(momentum, 3) for momentum in (0.0, -0.1, 1.0, 1.1)] == [0, 0, 0, 0]
    assert left(0.5, 1) == 0.5
