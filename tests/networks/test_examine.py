import copy
import itertools
import random
import threading
import warnings

import numpy as np
import pytest
import torch
from accelerator import accelerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_problem import X, Y, in_order, loader, train
from torch import nn

from bn_tutorial.networks.checks_without_data import GATHER, UPDATE
from bn_tutorial.networks.examine import examine, examine_state
from bn_tutorial.networks.norms import ActNorm1d, GhostBatchNorm1d
from bn_tutorial.networks.trials import FORWARDS


def perceptron(norm=nn.BatchNorm1d):
    return nn.Sequential(
        *(nn.Linear(8, 16, bias=False), norm(16), nn.ReLU()),
        *(nn.Linear(16, 16, bias=False), norm(16), nn.ReLU(), nn.Linear(16, 4)),
    )


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    return train(perceptron())


@pytest.fixture
def model(trained):
    return copy.deepcopy(trained)


def alarms(model, batches=None, **options):
    report = examine(model, loader() if batches is None else batches, **options)
    return {found.code: found.level for found in report.alarms}


# ---------------------------------------------------------------------------------------------
# Healthy models
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_healthy_model_is_found_healthy(model, training):
    report = examine(model.train(training), loader())
    assert not report.findings
    assert str(report).startswith("HEALTHY: nothing to mend")
    assert [row.name for row in report.rows] == [
        "eval mode",
        "batch statistics",
        "statistics gathered anew",
    ]


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm, lambda n: nn.GroupNorm(4, n)])
def test_other_normalizations_are_found_healthy(norm):
    torch.manual_seed(0)
    assert not examine(train(perceptron(norm)), loader()).findings


@pytest.mark.parametrize("norm", [ActNorm1d, lambda n: GhostBatchNorm1d(n, 16)])
def test_variants_of_batch_normalization_are_found_healthy(norm):
    torch.manual_seed(0)
    assert not alarms(train(perceptron(norm)))


def test_frozen_layers_may_have_any_statistics(model):
    for layer in (model[1], model[4]):
        layer.eval().requires_grad_(False)
        layer.running_mean += 1
    assert not alarms(model)
    assert not alarms(model, loader(2))


def test_layers_frozen_by_the_models_own_train_are_known():
    class Tuned(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            return self.body(x)

        def train(self, mode=True):
            super().train(mode)
            for layer in (self.body[1], self.body[4]):
                layer.eval()
            return self

    torch.manual_seed(0)
    net = Tuned(perceptron())
    for layer in (net.body[1], net.body[4]):
        layer.running_mean += 1
        layer.requires_grad_(False)
    assert not alarms(train(net).eval())


# ---------------------------------------------------------------------------------------------
# Nothing is touched
# ---------------------------------------------------------------------------------------------


def picture(model):
    return [
        (name, module.training, {k: id(v) for k, v in vars(module).items()}, list(module._buffers))
        for name, module in model.named_modules()
    ]


def generators():
    """Return what the generators of all three libraries hold."""
    kind, words, *rest = np.random.get_state()  # noqa: NPY002  (others draw from it)
    return [torch.get_rng_state().tolist(), random.getstate(), kind, words.tolist(), *rest]


class Noisy(nn.Module):
    """Draws from all three generators in each pass, as augmentations do."""

    def forward(self, x):
        return x + random.random() + np.random.rand() + torch.rand(())  # noqa: NPY002


LAYERS = st.sampled_from(
    [
        lambda: nn.BatchNorm1d(8),
        lambda: nn.BatchNorm1d(8, momentum=None),
        lambda: nn.BatchNorm1d(8, track_running_stats=False),
        lambda: nn.SyncBatchNorm(8),
        lambda: nn.LayerNorm(8),
        lambda: nn.GroupNorm(2, 8),
        lambda: nn.Dropout(0.5),
        lambda: nn.Linear(8, 8),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)),
        nn.ReLU,
        Noisy,
    ]
)


class StopError(Exception):
    pass


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    made=st.lists(LAYERS, min_size=1, max_size=5),
    modes=st.lists(st.booleans(), min_size=8, max_size=8),
    error=st.sampled_from([None, StopError, KeyboardInterrupt]),
    after=st.integers(0, 12),
)
def test_model_buffers_gradients_hooks_and_generators_are_untouched(made, modes, error, after):
    torch.manual_seed(0)
    model = nn.Sequential(*(make() for make in made), nn.BatchNorm1d(8), nn.Linear(8, 4))
    for module, mode in zip(model, modes, strict=False):
        module.training = mode
    calls = []

    def count(*_):
        calls.append(1)
        if error and len(calls) > after:
            raise error

    model[-1].register_forward_pre_hook(count)
    model[-1].weight.grad = torch.ones(4, 8)
    batches = loader(16, generator=torch.Generator())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    before, order = picture(model), batches.generator.get_state().tolist()
    draw = generators()
    try:
        examine(model, batches, batches=3)
        # An error of the model in a trial may be said in the report; an interrupt never is.
        assert error is not KeyboardInterrupt or len(calls) <= after
    except (StopError, KeyboardInterrupt):
        assert error
    assert picture(model) == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(model[-1].weight.grad, torch.ones(4, 8))
    assert generators() == draw
    assert batches.generator.get_state().tolist() == order


@pytest.mark.parametrize("batches", [1, 3, 20])
@pytest.mark.parametrize("sick", [False, True])
@pytest.mark.parametrize("target", [True, False])
def test_each_batch_is_run_at_most_six_times(model, batches, sick, target):
    if sick:
        model[1].running_mean += 3
    passes = []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    examine(model, loader() if target else [x for x, _ in loader()], batches=batches)
    assert 3 * batches <= len(passes) <= FORWARDS * batches


@pytest.mark.parametrize("batches", [1, 2, 20])
@pytest.mark.parametrize("target", [True, False])
def test_bias_and_outputs_without_target_take_no_seventh_pass(batches, target):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4))
    passes = []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    given = loader() if target else [x for x, _ in loader()]
    report = examine(train(model), given, batches=batches)
    assert "bias-without-effect" in report.codes
    assert f"{len(passes) - 60} passes" in report.seen  # the others were the training's
    assert len(passes) - 60 <= FORWARDS * batches


def test_same_examination_gives_the_same_report(model):
    model[1].running_mean += 3
    batches = loader(generator=torch.Generator())
    assert str(examine(model, batches)) == str(examine(model, batches))


# ---------------------------------------------------------------------------------------------
# The diagnosis is proved
# ---------------------------------------------------------------------------------------------


def test_new_statistics_are_tried_and_each_layer_blamed_for_its_part(model):
    model[1].running_mean += 3 * model[1].running_var.sqrt()
    model[4].running_var *= 1.3
    report = examine(model, loader())
    (error,) = report.errors
    assert error.code == "stale-statistics"
    assert report.verdict.startswith("SICK (1 error): the weights are fine, the running stat")
    accuracy = {row.name: row.accuracy for row in report.rows}
    assert accuracy["eval mode"] < 0.9 < accuracy["statistics gathered anew"]
    assert error.details[0].startswith("1: mean off")
    assert "alone costs" in error.details[0]
    assert report.shifts["1"] == pytest.approx(3, abs=0.2)
    assert report.shifts["4"] == pytest.approx(0.13, abs=0.05)


def test_cost_of_each_layer_alone_is_told_and_layers_without_one_are_named(model):
    model[1].running_mean += 3 * model[1].running_var.sqrt()
    report = examine(model, loader())
    assert [*report.costs] == ["1", "4"]  # the costliest first
    assert report.costs["1"] > 0.1 > abs(report.costs["4"])
    assert "these layers alone cost" not in str(report)
    torch.manual_seed(0)
    deep = [part for _ in range(6) for part in (nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8))]
    report = examine(train(nn.Sequential(*deep, nn.Linear(8, 4)), in_order(5)), loader(), batches=5)
    assert len(report.costs) == 2
    names = [name for name in report.shifts if name not in report.costs]
    few = f"{', '.join(names[:3])} and 1 more"
    assert report.unchecked[0] == f"what these layers alone cost: {few}"
    untold = examine(model, [x for x, _ in loader()])
    assert (untold.costs, untold.unchecked[0]) == ({}, "accuracy and loss (no targets)")


def test_statistics_that_are_off_and_cost_nothing_are_a_note(model):
    model[-1].weight.data.zero_()  # nothing that comes before matters
    model[1].running_mean += 3 * model[1].running_var.sqrt()
    report = examine(model, loader())
    assert not report.alarms
    assert "gain nothing" in report.findings[0].summary


def test_outputs_are_compared_where_there_is_no_target(model):
    inputs = [x for x, _ in loader()]
    assert not examine(model, inputs).findings
    model[1].running_mean += 3 * model[1].running_var.sqrt()
    (error,) = examine(model, inputs).errors
    assert "they change the outputs by" in error.summary


def test_remedy_is_a_line_that_mends(model):
    model[4].reset_running_stats()
    report = examine(model, loader())
    (error,) = report.errors
    assert error.code == "never-gathered"
    exec(error.remedy, {"torch": torch, "loader": loader(), "model": model})
    assert not examine(model, loader()).alarms


def test_bias_that_does_nothing_is_noted_and_one_that_does_is_not():
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self, used):
            super().__init__()
            self.first, self.norm, self.last = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)
            self.used = used

        def forward(self, x):
            y = self.first(x)
            return self.last(self.norm(y) + (y if self.used else 0))

    codes = [examine(train(Net(used)), loader()).codes for used in (False, True)]
    assert codes == [["bias-without-effect"], []]


# ---------------------------------------------------------------------------------------------
# What it is given
# ---------------------------------------------------------------------------------------------


def test_dictionaries_tuples_and_what_forward_understands_give_one_report(model):
    model[1].running_mean += 3
    batches = [(x, y) for x, y in loader()]
    same = str(examine(model, batches))
    assert f"fix  {UPDATE}  # stale" in same
    same = same.replace(UPDATE, GATHER)  # for update_bn can read none of these
    assert str(examine(model, [{"image": x, "label": y} for x, y in batches])) == same
    assert str(examine(model, iter(batches))) == same
    triples = [(x, "name", y) for x, y in batches]
    with pytest.raises(TypeError, match="tuple of 3"):
        examine(model, triples)
    assert str(examine(model, triples, forward=lambda m, b: (m(b[0]), b[2]))) == same


def test_loss_of_ones_own_decides(model):
    report = examine(
        model, loader(), loss=lambda output, target: (output.argmax(1) != target).sum()
    )
    assert report.rows[0].loss < 2


def test_empty_loader_and_model_without_normalization_are_refused(model):
    with pytest.raises(ValueError, match="the loader yields no batch"):
        examine(model, [])
    with pytest.raises(ValueError, match="the Linear has no normalization layer"):
        examine(nn.Linear(8, 4), loader())
    with pytest.raises(ValueError, match="batches is 0"):
        examine(model, loader(), batches=0)
    with pytest.raises(TypeError, match="model is a dict"):
        examine({}, loader())


def test_lazy_and_scripted_models_and_those_without_values_are_refused(model):
    with pytest.raises(ValueError, match="lazy"):
        examine(nn.Sequential(nn.LazyLinear(3), nn.BatchNorm1d(3)), loader())
    with pytest.raises(ValueError, match="'meta'"):
        examine(copy.deepcopy(model).to("meta"), loader())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is on its way out
        scripted = torch.jit.script(model)
    with pytest.raises(TypeError, match="the model is scripted"):
        examine(scripted, loader())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_examined(model, dtype):
    assert not alarms(model.to(dtype))
    model[1].running_mean += 3 * model[1].running_var.sqrt()
    assert alarms(model) == {"stale-statistics": "error"}


def test_model_is_examined_on_a_device_that_does_not_know_double_precision(model, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_DEVICE", "mps")
    model[1].running_mean += 3 * model[1].running_var.sqrt()
    with accelerator("mps") as there:
        batches = [(x.to(there), y.to(there)) for x, y in itertools.islice(loader(), 3)]
        assert alarms(model.to(there), batches) == {"stale-statistics": "error"}


def test_error_of_the_model_comes_through_and_that_of_a_layer_is_a_finding(model):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        examine(model, loader(x=X[:, :5]))
    net = nn.Sequential(
        nn.Unflatten(1, (8, 1)), nn.InstanceNorm1d(8), nn.Flatten(), nn.Linear(8, 4)
    )
    report = examine(net, loader())
    assert report.codes == ["one-value"]
    assert "in eval mode, too" in report.errors[0].summary
    assert not {"statistics", "channels", "dropout"} & {*report.sound}
    flat = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(12), nn.Linear(16, 4))
    assert examine(flat, loader()).codes[0] == "layer-refuses"


class Fussy(nn.Module):
    """Raises an error under a condition on its first layer."""

    def __init__(self, body, refuses, error):
        super().__init__()
        self.body, self.refuses, self.error = body, refuses, error

    def forward(self, x):
        if self.refuses(self):
            raise self.error
        return self.body(x)


def test_error_of_a_plain_pass_reaches_the_user_as_it_is(model):
    mine = StopError("nobody else's")
    with pytest.raises(StopError) as caught:
        examine(Fussy(model, lambda _: True, mine), loader())
    assert caught.value is mine
    passes = itertools.count()  # of which the first batch takes one in evaluation mode
    later = Fussy(model, lambda m: not m.body[1].training and next(passes) > 3, mine)
    with pytest.raises(StopError) as caught:
        examine(later, loader())
    assert caught.value is mine


def test_error_in_the_trial_of_the_remedy_is_said_and_what_is_known_stays(model):
    model[1].running_mean += 3 * model[1].running_var.sqrt()
    own = model[1].running_mean.clone()
    fussy = Fussy(
        model,
        lambda m: not m.body[1].training and not torch.equal(m.body[1].running_mean, own),
        ValueError("these are not my statistics"),
    )
    report = examine(fussy, loader())
    line = "statistics gathered anew: ValueError: these are not my statistics"
    assert report.failed == [line]
    assert f"TRIAL FAILED  {line}" in str(report)
    assert [row.name for row in report.rows] == ["eval mode", "batch statistics"]
    (error,) = report.errors  # those of the batch tell as much
    assert error.code == "stale-statistics"


def test_error_with_the_statistics_of_the_batch_is_said_and_nothing_called_sound(model):
    odd = Fussy(
        model,
        lambda m: m.body[1].training and not m.training,
        RuntimeError("half of me is in train mode"),
    )
    report = examine(odd, loader())
    assert report.failed == [
        "the statistics of the batch: RuntimeError: half of me is in train mode"
    ]
    assert not report.findings
    assert {"statistics", "channels"} <= {*report.unchecked}
    assert not {"shared layers", "channels"} & {*report.sound}


def test_part_that_training_alone_runs_is_no_harm(model):
    class Loud(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = model

        def forward(self, x):
            if self.training:
                raise TypeError("expected targets")
            return self.body(x)

    report = examine(Loud(), loader())
    assert not report.findings
    assert report.failed == ["training mode: TypeError: expected targets"]
    assert "dropout" in report.unchecked
    assert "dropout" not in report.sound


def test_layers_that_no_batch_reaches_are_named(model):
    model.register_module("spare", nn.BatchNorm1d(3))
    model.forward = lambda x: nn.Sequential(*[*model][:-1])(x)
    report = examine(model, loader())
    assert not report.alarms
    assert "layers that no batch reached: spare" in str(report)


def test_two_threads_do_not_share_what_they_see(model):
    texts, batches = {}, [*zip(X.split(32), Y.split(32), strict=True)]

    def work(number):
        texts[number] = examine(copy.deepcopy(model), batches).codes

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {0: [], 1: []}


# ---------------------------------------------------------------------------------------------
# A state alone
# ---------------------------------------------------------------------------------------------


def test_state_of_a_healthy_model_is_healthy(model):
    assert not examine_state(model.state_dict()).findings
    assert not examine_state({"epoch": 3, "state_dict": model.state_dict()}).findings


def test_state_shows_what_is_broken_in_it(model):
    state = model.state_dict()
    state["1.running_mean"][2] = torch.nan
    state["4.running_var"][:] = 1
    state["4.num_batches_tracked"].zero_()
    state["4.weight"].zero_()
    assert {*examine_state(state).codes} >= {"nan-statistics", "never-gathered"}
    state["4.num_batches_tracked"].fill_(9)
    assert {*examine_state(state).codes} >= {"gamma-zero", "uneven-counters", "stale-statistics"}
    averaged = torch.optim.swa_utils.AveragedModel(model)
    assert "averaged-weights" in examine_state(averaged.state_dict()).codes


def test_state_without_statistics_is_refused():
    with pytest.raises(ValueError, match="no running_mean"):
        examine_state(nn.Linear(2, 2).state_dict())
