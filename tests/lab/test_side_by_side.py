"""Networks that are trained side by side are those that would have been trained alone."""

import dataclasses

import numpy as np
import pytest
import torch
from small_runs import make_data, make_run
from torch import nn

from bn_tutorial.lab import side_by_side
from bn_tutorial.lab.pool import _side_by_side as groups_of
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.real_networks import ConvSpec, ResidualSpec
from bn_tutorial.lab.remedied import RemediedSpec
from bn_tutorial.lab.side_by_side import SideBySide, train_side_by_side
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.stepped import FewWeightsSpec, ShiftingSpec, SteppedSpec
from bn_tutorial.lab.training import Config, train
from bn_tutorial.networks.probes import MEASURES


@pytest.fixture(autouse=True)
def in_one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def data():
    return make_data(200)


def several(run, lrs=(0.1, 0.1, 0.5), **config):
    """The run with other seeds and rates."""
    return [
        dataclasses.replace(
            run,
            model_seed=seed,
            config=dataclasses.replace(run.config, lr=lr, seed=seed, **config),
        )
        for seed, lr in enumerate(lrs)
    ]


def together(runs, data, measure=None):
    models, configs = [run.model() for run in runs], [run.config for run in runs]
    return models, train_side_by_side(models, data, configs, measure=measure)


CONFIG = Config(24, 12, 32)  # seven steps are a pass
MLP = RunSpec(widths=(784, 32, 32, 10), config=CONFIG)
RELU = dataclasses.replace(MLP, activation="relu")
RUNS = {
    "sigmoids": MLP,
    "no units of whole lanes": dataclasses.replace(MLP, norm="batch", widths=(784, 20, 20, 10)),
    "BN": dataclasses.replace(MLP, norm="batch", activation="relu"),
    "BN behind": dataclasses.replace(MLP, norm="batch", placement="after", bias=False),
    "layer": dataclasses.replace(MLP, norm="layer", activation="tanh"),
    "group": dataclasses.replace(MLP, norm="group:4"),
    "ghost": dataclasses.replace(MLP, norm="ghost:4"),
    "actnorm": dataclasses.replace(MLP, norm="actnorm"),
    "dropout": dataclasses.replace(MLP, norm="batch", dropout=0.5),
    "numpy": dataclasses.replace(MLP, norm="numpy"),
    "residual, in front": ResidualSpec("batch", blocks=2, width=32, config=CONFIG),
    "residual, behind": ResidualSpec("batch", "post", blocks=2, width=32, config=CONFIG),
    "skipinit": ResidualSpec(scaling="skipinit", blocks=2, width=32, config=CONFIG),
    "fixup": ResidualSpec(scaling="fixup", blocks=2, width=32, config=CONFIG),
    "steps of its own": SteppedSpec(
        "batch", MLP.widths, "relu", config=CONFIG, factors=(1.0, 10.0, 0.0), decays=(0.1, 0.0, 0.2)
    ),
    "momentum": SteppedSpec(None, MLP.widths, config=CONFIG, momentum=0.9, warm_up=10),
    "Adam": SteppedSpec("layer", MLP.widths, config=CONFIG, adam=True),
    "few weights": FewWeightsSpec("batch", MLP.widths, config=CONFIG, per_unit=2),
    "shifting": ShiftingSpec("batch", MLP.widths, config=CONFIG, shifting=0.5),
}

# Of these a product of several networks' may differ by a bit: they may be trained alone then.
OTHERS = {
    "ghost batches of the whole last batch": dataclasses.replace(MLP, norm="ghost:8"),
    "few units, in front": ResidualSpec("batch", blocks=2, width=16, config=CONFIG),
    "few units, behind": ResidualSpec("batch", "post", blocks=2, width=16, config=CONFIG),
    "few units, skipinit": ResidualSpec(scaling="skipinit", blocks=2, width=16, config=CONFIG),
    "few units, fixup": ResidualSpec(scaling="fixup", blocks=2, width=16, config=CONFIG),
}


@pytest.mark.parametrize("kind", [*RUNS, *OTHERS])
def test_each_history_and_network_is_that_of_training_alone_bit_by_bit(data, kind, monkeypatch):
    if kind in RUNS:
        monkeypatch.setattr(side_by_side, "train", None)  # they are indeed trained side by side
    first, *others = several((RUNS | OTHERS)[kind])
    decays = dataclasses.replace(first, config=dataclasses.replace(first.config, weight_decay=0.1))
    runs = [decays, *others]
    assert len({run.alike() for run in runs}) == 1
    models, histories = together(runs, data)
    for run, model, history in zip(runs, models, histories, strict=True):
        alone = run.model()
        assert history == train(alone, data, run.config, progress=False)
        for (name, one), other in zip(
            alone.state_dict().items(), model.state_dict().values(), strict=True
        ):
            assert torch.equal(one, other), name
        assert not model.training
    assert len({history.step_loss for history in histories}) == len(runs)


def test_one_that_diverges_harms_no_other(data):
    # That is seen at step 20, in the middle of a period, or at the next evaluation.
    for every in (24, 8):
        runs = several(RELU, (0.1, 1e30, 0.1, 1e38), evaluate_every=every)
        _, histories = together(runs, data)
        assert [history.diverged_at is None for history in histories] == [True, False, True, False]
        for run, history in zip(runs, histories, strict=True):
            assert history == train(run.model(), data, run.config, progress=False)


def test_all_may_diverge(data):
    runs = several(RELU, (1e30, 1e38))
    _, histories = together(runs, data)
    assert histories == [train(run.model(), data, run.config, progress=False) for run in runs]


def test_measures_are_those_of_each_network(data):
    runs = several(dataclasses.replace(RUNS["BN"], measure="slopes", activation="sigmoid"))
    _, histories = together(runs, data, MEASURES["slopes"])
    assert histories == [run.train(data) for run in runs]
    first, other = (next(iter(history.measured.values())) for history in histories[:2])
    assert not np.array_equal(first, other)


def test_where_products_of_several_matrices_round_otherwise_each_is_trained_alone(
    data, monkeypatch
):
    product = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda x, y: product(x, y) * (1 + 1e-6))
    assert together(several(RUNS["sigmoids"]), data)[1] == [
        train(run.model(), data, run.config, progress=False) for run in several(RUNS["sigmoids"])
    ]


def test_batch_of_one_image_is_refused_as_alone():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        together(several(RUNS["BN"], batch_size=1), make_data(64))


def test_a_subclass_of_a_layer_computes_as_it_is_defined():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    models, x = [nn.Sequential(Doubled(3, 2)) for _ in range(2)], torch.randn(2, 5, 3)
    expected = torch.stack([model(own) for model, own in zip(models, x, strict=True)])
    assert torch.equal(SideBySide(models)(x), expected)


class TestAlike:
    def test_seeds_rates_decay_and_initial_weights_may_differ(self):
        run = make_run("batch")
        other = dataclasses.replace(make_run("batch", 3, lr=2.0, weight_decay=0.1), init="he")
        assert run.alike() == other.alike()

    @pytest.mark.parametrize(
        "setting",
        [
            {"norm": "layer"},
            {"widths": (784, 9, 10)},
            {"activation": "relu"},
            {"placement": "after"},
            {"bias": False},
            {"measure": "slopes"},
            {"config": Config(8, 2, 32)},
            {"config": Config(4, 2, 16)},
        ],
    )
    def test_nothing_else_may(self, setting):
        run = make_run("batch")
        assert dataclasses.replace(run, **setting).alike() != run.alike()

    def test_steps_of_its_own_may_not_differ_either(self):
        run = SteppedSpec("batch")
        assert (
            dataclasses.replace(run, adam=True).alike() != run.alike() != RunSpec("batch").alike()
        )

    @pytest.mark.parametrize(
        "run",
        [
            ConvSpec("batch"),
            ResidualSpec("batch", convolutional=True),
            RemediedSpec(remedy="frozen", shown=100),
        ],
    )
    def test_what_convolves_or_sees_images_beforehand_is_trained_alone(self, run):
        assert run.alike() is None


class TestGroups:
    def test_every_run_is_in_one_group_with_such_as_are_alike(self):
        runs = [make_run(norm, seed) for seed in range(13) for norm in (None, "batch")]
        groups = groups_of([*runs, RemediedSpec()], least=2)
        assert sorted(map(len, groups)) == [1, 6, 6, 7, 7]
        assert {run for group in groups for run in group} == {*runs, RemediedSpec()}
        assert all(len({run.alike() for run in group}) == 1 for group in groups)

    def test_there_are_as_many_groups_as_are_wanted_where_there_are_runs_enough(self):
        runs = [make_run(seed=seed) for seed in range(6)]
        assert len(groups_of(runs, least=4)) >= 3
        assert len(groups_of(runs, least=6)) == 6
        assert groups_of([], least=0) == []

    def test_those_of_one_rate_stand_beside_each_other(self):
        runs = [make_run(seed=seed, lr=lr) for seed in range(3) for lr in (0.1, 1.0)]
        (group,) = groups_of(runs, least=1)
        assert [run.config.lr for run in group] == 3 * [0.1] + 3 * [1.0]
