"""Remedies tried on a copy: each as the report prints it, on models that are sick by it."""

import copy

import pytest
import torch
from small_problem import loader, train
from torch import nn

from bn_tutorial.networks.batches import Batches
from bn_tutorial.networks.examine import examine
from bn_tutorial.networks.proofs import passes, prove
from bn_tutorial.networks.report import Finding
from bn_tutorial.networks.trials import FORWARDS, Trials


def net(*before):
    return nn.Sequential(
        *before, nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)
    )


def trained_on_the_loader(model):
    return train(model, 3 * [*loader()])


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    return trained_on_the_loader(net())


@pytest.fixture
def model(trained):
    torch.manual_seed(0)  # of the loaders
    return copy.deepcopy(trained)


def tried(model, code, batches=None, **options):
    """Return what the remedy of a code did, and see that the report says it."""
    report = examine(model, loader() if batches is None else batches, **options)
    (found,) = (one for one in report.findings if one.code == code)
    said = f"     tried on a copy: {found.tried}" if found.tried else "(not tried)"
    assert said in str(report)
    return found.tried


def numbers(text):
    """Return the two numbers about the first arrow of a text."""
    before, after = text.split(" -> ", 1)
    return float(before.split()[-1]), float(after.split()[0].rstrip(","))


def test_new_statistics_are_said_with_what_they_gain_on_all_batches(model):
    model[1].running_mean += 3 * model[1].running_var.sqrt()
    report = examine(model, loader())
    (found,) = report.errors
    rows = {row.name: row for row in report.rows}
    before, after = rows["eval mode"], rows["statistics gathered anew"]
    assert found.tried == (
        f"accuracy {100 * before.accuracy:.1f} % -> {100 * after.accuracy:.1f} %, "
        f"loss {before.loss:.3g} -> {after.loss:.3g}"
    )


def test_statistics_that_were_not_gathered_anew_are_not_said_to_be_tried(model):
    model[1].eval().requires_grad_(False)
    model[1].running_mean[0] = torch.nan  # of a frozen layer
    assert tried(model, "nan-statistics") == ""


def test_frozen_layer_in_eval_mode_moves_no_more(model):
    model[1].requires_grad_(False)
    text = tried(model, "frozen-but-moving")
    assert text.startswith("with one batch: statistics that a pass moves 1 -> 0, loss ")
    without_targets = tried(model, "frozen-but-moving", [x for x, _ in loader()])
    assert without_targets == "with one batch: statistics that a pass moves 1 -> 0"


def test_layer_left_in_train_mode_moves_no_more_in_eval_mode(model):
    model.eval()[1].train()
    text = tried(model, "depends-on-the-batch")
    assert text.startswith("with one batch: statistics that a pass moves 1 -> 0, loss ")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("setting", "value"), [("momentum", 0.0), ("track_running_stats", False)])
def test_statistics_that_stood_still_move(model, training, setting, value):
    setattr(model[1], setting, value)
    text = tried(model.train(training), "track-running-stats")
    assert text.startswith("with one batch: statistics that a pass moves 0 -> 1, loss ")


def test_right_statistics_stay_nearly_right_with_the_momentum_that_was_meant(model):
    model[1].momentum = 0.99
    text = tried(model.eval(), "swapped-momentum")
    assert text.startswith("one batch takes statistics that were right ")
    assert text.endswith(" sigma off")
    before, after = numbers(text)
    assert before > 0.1
    assert after == pytest.approx(before / 99, rel=0.2)


def test_variance_without_dropout_is_that_of_evaluation():
    torch.manual_seed(0)
    model = trained_on_the_loader(net(nn.Dropout(0.5)))
    assert tried(model, "dropout-in-front") == "with one batch: variance x 1.00 in train mode"


def test_remedy_that_is_none_is_seen_to_be_none():
    class Hidden(nn.Dropout):
        """Drops by a setting of its own."""

        def forward(self, x):
            return nn.functional.dropout(x, 0.5, self.training)

    torch.manual_seed(0)
    text = tried(trained_on_the_loader(net(Hidden(0.5))), "dropout-in-front")
    assert float(text.removeprefix("with one batch: variance x ").split()[0]) > 1.3


def test_larger_eps_is_tried_in_evaluation_mode(model):
    half = model.half()
    half[1].eps = 1e-8
    half[1].running_var[0], half[0].weight.data[0] = 0, 0
    before, after = numbers(tried(half, "eps-underflow").partition("loss")[2])
    assert after == pytest.approx(before, rel=0.1)
    text = tried(half, "eps-underflow", [x for x, _ in loader()])
    assert text.startswith("with one batch: changes the outputs by ")
    assert text.endswith(" % of their spread")


def test_smaller_eps_is_tried_with_the_statistics_of_the_batch():
    small = nn.Sequential(nn.BatchNorm1d(8))
    inputs = [1e-4 * x for x, _ in loader()]
    for x in inputs:
        small(x)
    share = float(tried(small, "dead-channels", inputs).split(" by ")[1].split()[0])
    assert share > 100  # the outputs, nearly zero, have spread one now


def test_remedies_that_need_another_loader_or_training_are_not_tried(model):
    assert tried(model, "small-batches", loader(8)) == ""
    model[1].eval()
    assert tried(model, "half-frozen") == ""
    model[1].train().weight.data.zero_()
    assert tried(model, "gamma-zero") == ""


def test_settings_and_modes_are_as_before_after_remedies_and_after_errors_in_them(model):
    model[1].momentum = 0.99
    model[1].requires_grad_(False)
    settings = {name: vars(module).copy() for name, module in model.named_modules()}
    state = {name: value.clone() for name, value in model.state_dict().items()}

    def forward(net, batch):
        if net[1].momentum < 0.5:
            raise ValueError("not with this momentum")
        return net(batch[0]), batch[1]

    report = examine(model, loader(), forward=forward)
    assert report.failed == ["a remedy: swapped-momentum: ValueError: not with this momentum"]
    assert "# swapped-momentum (not tried)" in str(report)
    assert {name: vars(module) for name, module in model.named_modules()} == settings
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("batches", [1, 2, 3, 20])
@pytest.mark.parametrize("target", [True, False])
def test_passes_are_left_for_remedies_and_never_more_than_six_a_batch(batches, target):
    torch.manual_seed(0)
    sick = trained_on_the_loader(net(nn.Dropout(0.5), nn.Linear(8, 8), nn.BatchNorm1d(8)))
    sick[4].momentum = 0.99
    sick[2].requires_grad_(False)
    sick[2].running_mean += 3
    count = []
    sick.register_forward_pre_hook(lambda *_: count.append(1))
    given = loader() if target else [x for x, _ in loader()]
    report = examine(sick, given, batches=batches)
    assert len(count) <= FORWARDS * batches
    assert f"{len(count)} passes" in report.seen
    codes = ("frozen-but-moving", "swapped-momentum", "dropout-in-front")
    done = [one.code for one in report.findings if one.tried and one.code in codes]
    assert len(done) == {1: 0, 2: int(target), 3: 1 + target, 20: 3}[batches]


def test_passes_are_counted_by_remedies_and_limited():
    findings = [
        Finding("warning", "dead-channels", "", (), (), remedy) for remedy in ("a", "a", "b", "")
    ]
    assert passes(findings) == 4
    assert passes([Finding("warning", "small-batches", "", (), (), "c")]) == 0
    assert passes([Finding("warning", "dead-channels", "", (), (), r) for r in "abcdefg"]) == 8


def test_nothing_is_tried_where_a_layer_has_refused_its_input(model):
    trials = Trials({"1": model[1]}, refused=("1", ValueError(), True), batches=5)
    found = [Finding("warning", "frozen-but-moving", "", ("1",), (), "raise")]
    assert prove(model, found, trials, Batches(loader(), 5), None, None) == found
    assert not trials.failed
