"""The line that gathers statistics anew does what was tried, where update_bn would not."""

import copy
from collections.abc import Iterator

import pytest
import torch
from small_problem import X, Y, in_order, loader, train
from torch import nn
from torch.nn.functional import cross_entropy, dropout

from bn_tutorial.networks.checks_without_data import GATHER, UPDATE
from bn_tutorial.networks.examine import examine
from bn_tutorial.networks.regather import gather_anew


def network(*middle):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), *middle, nn.Linear(16, 16),
        *(nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)),
    )  # fmt: skip


class Functional(nn.Module):
    def forward(self, x):
        return dropout(x, 0.5, self.training)


def norms(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm1d)]


def spoil(model):
    for layer in norms(model):
        layer.reset_running_stats()
    return model


def loss_of(model):
    with torch.no_grad():
        return cross_entropy(copy.deepcopy(model).eval()(X), Y).item()


def claimed(report, line):
    """Return the loss that a line was tried to give."""
    (found,) = {(one.remedy, one.tried) for one in report.errors if one.remedy == line}
    return float(found[1].rpartition("-> ")[2])


def carry_out(line, report, model, batches):
    exec(line, {"report": report, "model": model, "loader": batches, "torch": torch})


FIRST = [(x, y) for x, y in loader(shuffle=False)]


@pytest.mark.parametrize("mode", [True, False])
def test_plain_model_gets_the_line_of_pytorch_and_both_lines_do_the_same(mode):
    model = spoil(train(network())).train(mode)
    report, other = examine(model, FIRST), copy.deepcopy(model)
    claim = claimed(report, UPDATE)
    carry_out(UPDATE, report, model, FIRST)
    gather_anew(other, FIRST)
    for layer, twin in zip(norms(model), norms(other), strict=True):
        # update_bn lets the second layer see what the first makes with its own batch, as this does.
        torch.testing.assert_close(layer.running_mean, twin.running_mean)
        torch.testing.assert_close(layer.running_var, twin.running_var)
        assert layer.num_batches_tracked == twin.num_batches_tracked == len(FIRST)
    assert loss_of(model) == pytest.approx(claim, rel=0.02)
    assert all(module.training == mode for module in other.modules())


@pytest.mark.parametrize("drop", [nn.Dropout(0.5), Functional()])
def test_dropout_stays_off(drop):
    model = spoil(train(network(drop)))
    report = examine(model, FIRST)
    with_dropout = copy.deepcopy(model)
    carry_out(UPDATE, report, with_dropout, FIRST)
    carry_out(GATHER, report, model, FIRST)
    assert loss_of(model) == pytest.approx(claimed(report, GATHER), rel=0.02)
    assert loss_of(with_dropout) > 1.2 * loss_of(model)


def test_frozen_layers_keep_their_statistics():
    model = train(network())
    norms(model)[0].eval()
    kept = copy.deepcopy(norms(model)[0].state_dict())
    norms(model)[1].reset_running_stats()
    report = examine(model, FIRST)
    carry_out(GATHER, report, model, FIRST)
    assert loss_of(model) == pytest.approx(claimed(report, GATHER), rel=0.02)
    now = norms(model)[0].state_dict()
    assert all(torch.equal(now[name], value) for name, value in kept.items())
    assert not norms(model)[0].training


@pytest.mark.parametrize(
    ("batches", "forward"),
    [
        (lambda: [{"image": x, "label": y} for x, y in FIRST], None),
        (lambda: iter(FIRST), None),
        (lambda: [(x.double(), y) for x, y in FIRST], None),
        (lambda: [(y, x) for x, y in FIRST], lambda model, batch: (model(batch[1]), batch[0])),
    ],
    ids=["dictionaries", "iterator", "other precision", "forward"],
)
def test_batches_that_update_bn_cannot_read(batches, forward):
    model = spoil(train(network()))
    report = examine(model, batches(), forward=forward)
    if not isinstance(batches(), Iterator):  # of which nothing would be left
        with pytest.raises((AttributeError, RuntimeError, TypeError)):
            carry_out(UPDATE, report, copy.deepcopy(model), batches())
    carry_out(GATHER, report, model, batches())
    assert loss_of(model) == pytest.approx(claimed(report, GATHER), rel=0.02)


def test_model_is_as_it_was_when_a_batch_fails():
    model = train(network())
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError):
        gather_anew(model, [FIRST[0], (torch.zeros(4, 7), FIRST[0][1])])
    with pytest.raises(ValueError, match="yields no batch"):
        gather_anew(model, [])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_line_that_does_harm_is_not_printed():
    """A model that learnt in evaluation mode: its constants are part of it."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    model.eval()
    for x, y in in_order(200):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():  # what it has learnt does not fit a normalized input
        model[0].weight.mul_(3)
        model[3].weight.div_(3)
    report = examine(model, FIRST)
    (found,) = [one for one in report.findings if one.code == "never-gathered"]
    assert not report.errors
    assert (found.level, found.remedy) == ("warning", "")
    assert found.details[0].startswith("trained in eval mode? Then they are part of the model; ")
