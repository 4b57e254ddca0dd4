"""Predictions in evaluation mode that depend on the batch, though no setting shows it."""

import pytest
import torch
from small_problem import X, Y, loader, train
from torch import nn
from torch.nn.functional import batch_norm, dropout

from bn_tutorial.networks.examine import examine


class OfTheBatch(nn.Module):
    """A function that takes the batch's statistics in every mode."""

    def forward(self, x):
        return batch_norm(x, None, None, training=True)


class DeafToEval(nn.Module):
    """A layer of one's own that keeps running statistics, and does not use them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(16))
        self.register_buffer("running_var", torch.ones(16))

    def forward(self, x):
        mean, var = x.mean(0), x.var(0)
        self.running_mean.lerp_(mean.detach(), 0.1)
        self.running_var.lerp_(var.detach(), 0.1)
        return (x - mean) / (var + 1e-5).sqrt()


class InAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = [nn.BatchNorm1d(16)]

    def forward(self, x):
        return self.hidden[0](x)


class AtRandom(nn.Module):
    def forward(self, x):
        return dropout(x, 0.5, training=True)


class Alike(nn.Module):
    """How alike the samples of a batch are: an output for each pair."""

    def forward(self, x):
        return x @ x.T


def network(part):
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), part, nn.Linear(16, 4)))


def found(model, batches=None):
    report = examine(model, loader() if batches is None else batches)
    return [one for one in report.findings if one.code == "depends-on-the-batch"]


@pytest.mark.parametrize("part", [OfTheBatch(), DeafToEval(), InAList()])
def test_what_takes_the_statistics_of_the_batch_is_found(part):
    model = train(network(part))
    (one,) = found(model.eval())
    assert one.level == "error"
    assert one.summary.startswith("in eval mode, outputs for half a batch differ by ")
    alone = [{"image": x, "label": y} for x, y in loader()]
    assert [same.level for same in found(model, alone)] == ["error"]


@pytest.mark.parametrize("part", [nn.Identity(), nn.Dropout(0.5), AtRandom(), nn.GroupNorm(4, 16)])
def test_what_does_not_or_is_random_is_not(part):
    assert not found(train(network(part)).eval())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_is_not_taken_for_it(dtype):
    model = train(network(nn.Identity())).to(dtype).eval()
    model[-1].bias.data += 100
    assert not found(model)


def test_what_a_setting_shows_is_said_once():
    (one,) = found(train(network(nn.BatchNorm1d(16, track_running_stats=False))))
    assert one.level == "warning"
    model = train(network(nn.Identity())).eval()
    model[1].train()
    assert [one.level for one in found(model)] == ["error"]


def test_outputs_that_cannot_be_compared_say_nothing():
    pairs = nn.Sequential(*list(train(network(nn.Identity())))[:3], Alike())
    assert not found(pairs, [X[:32], X[32:64]])
    assert not found(train(network(nn.Identity())), [(X[:1], Y[:1])])
    single = nn.Sequential(*train(network(OfTheBatch())), nn.Flatten(0))
    assert not found(single, [X[:32]])
