from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from bn_tutorial.networks.batches import Batches, Score, run, size, tensor_of

Output = namedtuple("Output", ["aux", "logits"])


def test_loader_comes_again_and_an_iterator_is_kept():
    for loader in ([1, 2, 3], iter([1, 2, 3])):
        batches = Batches(loader, 2)
        assert [*batches] == [*batches] == [1, 2]


@pytest.mark.parametrize("loader", [[], iter([])])
def test_empty_loader_is_refused(loader):
    with pytest.raises(ValueError, match="the loader yields no batch"):
        list(Batches(loader, 3))


def test_what_is_no_loader_is_refused():
    with pytest.raises(TypeError, match="loader is a int"):
        Batches(3, 1)
    with pytest.raises(TypeError, match=r"such as \[tensor\]"):
        Batches(torch.zeros(3, 2), 1)


@pytest.mark.parametrize(
    "batch", ["(x, y)", "[x, y]", "{'image': x, 'label': y}", "{'input': x, 'labels': y}"]
)
def test_inputs_and_targets_are_told_apart(batch):
    x, y = torch.randn(3, 2), torch.tensor([0, 1, 0])
    model = nn.Linear(2, 2)
    output, target = run(model, eval(batch, {"x": x, "y": y}), None)
    assert torch.equal(output, model(x))
    assert torch.equal(target, y)


@pytest.mark.parametrize("batch", ["x", "(x,)", "{'input': x}"])
def test_inputs_may_come_without_target(batch):
    inputs = {"x": torch.randn(3, 2)}
    assert run(nn.Linear(2, 2), eval(batch, inputs), None)[1] is None


def test_several_inputs_go_by_name():
    class Sum(nn.Module):
        def forward(self, a, b):
            return a - b

    output, target = run(Sum(), {"b": torch.ones(2), "a": 3 * torch.ones(2), "y": 5}, None)
    assert output.tolist() == [2, 2]
    assert target == 5


@pytest.mark.parametrize("batch", ["text", (1, 2, 3), 7])
def test_batch_of_another_kind_asks_for_forward(batch):
    with pytest.raises(TypeError, match="give forward=lambda"):
        run(nn.Linear(2, 2), batch, None)
    assert run(nn.Linear(2, 2), batch, lambda _, b: b if b == 7 else (b, 1)) in [
        (7, None),
        (batch, 1),
    ]


def test_inputs_take_the_precision_of_the_model_and_targets_stay_whole():
    output, target = run(nn.Linear(2, 2).double(), (torch.ones(3, 2), torch.ones(3).long()), None)
    assert output.dtype == torch.float64
    assert target.dtype == torch.int64


def test_predictions_are_found_in_what_models_return():
    y = torch.ones(2, 3)
    for output in (y, (y, 1), {"logits": y, "other": 0 * y}, Output(0 * y, y), {"x": y}):
        assert torch.equal(tensor_of(output), y)
    assert tensor_of(None) is None


def test_size_is_that_of_the_first_tensor():
    x = torch.ones(5, 2)
    assert [size(b) for b in (x, (x, 1), {"a": 3, "b": x}, "text", 7)] == [5, 5, 5, 0, 0]


def scored(output, target, loss=None):
    score = Score()
    score.add(output, target, loss)
    return score


def test_classes_are_scored_by_cross_entropy_and_accuracy():
    y, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    score = scored(y, target)
    assert score.loss == pytest.approx(cross_entropy(y, target).item())
    assert score.accuracy == (y.argmax(1) == target).double().mean().item()
    pixels = scored(torch.randn(2, 3, 4, 4), torch.zeros(2, 4, 4).long())
    assert pixels.counts == [32]


def test_numbers_and_yes_and_no_are_scored():
    y = torch.randn(6, 1)
    numbers, truth = torch.randn(6), torch.tensor([0, 1, 0, 1, 1, 1])
    assert scored(y, numbers).loss == pytest.approx(mse_loss(y[:, 0], numbers).item())
    assert scored(y, numbers).accuracy is None
    expected = binary_cross_entropy_with_logits(y[:, 0], truth.float()).item()
    assert scored(y, truth).loss == pytest.approx(expected)
    assert scored(y, truth).accuracy == ((y[:, 0] > 0) == (truth > 0)).double().mean().item()


def test_loss_of_ones_own_is_taken():
    score = scored(torch.randn(4, 3), torch.zeros(4).long(), lambda y, _: (y * 0).sum() + 7)
    assert score.loss == 7
    assert score.accuracy is not None


def test_nothing_is_scored_without_target():
    score = scored(torch.randn(4, 3), None)
    assert (score.loss, score.accuracy) == (None, None)


def test_losses_are_weighed_by_samples():
    score = Score([1.0, 4.0], [], [3, 1])
    assert score.loss == 1.75
