from __future__ import annotations

import pytest
import torch
from torch import nn

from bn_tutorial.networks.adaptation import entropy, tent, with_batch_statistics
from bn_tutorial.networks.perceptron import DeepNet


@pytest.fixture
def model():
    return DeepNet("batch", widths=(6, 5, 3), activation="relu", seed=1).eval()


@pytest.fixture
def batches():
    return torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).split(8)


def same(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("run", [with_batch_statistics, lambda *given: tent(*given, lr=1.0)])
def test_the_model_is_left_as_it_was(model, batches, run):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    run(model, batches)
    assert same(model, state)
    assert not any(module.training for module in model.modules())


def test_a_batch_is_normalized_by_itself(model, batches):
    together = with_batch_statistics(model, batches)
    alone = torch.cat([with_batch_statistics(model, [batch]) for batch in batches])
    assert torch.equal(together, alone)
    assert not torch.allclose(together, model(torch.cat(batches)))


def test_a_brighter_batch_gets_the_same_answers(model, batches):
    brighter = [3 * batch + 5 for batch in batches]
    found = with_batch_statistics(model, brighter)
    assert torch.allclose(found, with_batch_statistics(model, batches), atol=1e-3)


def test_without_steps_tent_answers_as_batch_statistics_do(model, batches):
    assert torch.equal(tent(model, batches, lr=0.0), with_batch_statistics(model, batches))


def test_the_first_batch_is_answered_before_the_first_step(model, batches):
    found = tent(model, batches, lr=1.0)
    plain = with_batch_statistics(model, batches)
    assert torch.equal(found[:8], plain[:8])
    assert not torch.allclose(found[8:], plain[8:])


def test_tent_makes_answers_surer(model, batches):
    again = list(batches) * 20  # a hundred steps
    surer = entropy(tent(model, again, lr=1.0)[-40:])
    assert surer < 0.95 * entropy(with_batch_statistics(model, batches))


def test_tent_refuses_a_model_with_nothing_to_adapt(batches):
    with pytest.raises(ValueError, match="no batch normalization with gamma and beta"):
        tent(nn.Sequential(nn.BatchNorm1d(6, affine=False), nn.Linear(6, 2)), batches, lr=1.0)


def test_entropy_agrees_with_its_definition_and_is_finite_for_sure_answers():
    logits = torch.tensor([[1.0, 2.0, 4.0]])
    p = logits.softmax(dim=1)
    assert torch.allclose(entropy(logits), -(p * p.log()).sum())
    assert entropy(torch.tensor([[1000.0, 0.0]])).item() == 0
