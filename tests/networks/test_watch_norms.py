import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bn_tutorial.networks.watch_norms import watch_norms


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))


@pytest.fixture
def optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.01)


def train(model, optimizer, step, steps=5):
    with watch_norms(model, optimizer) as seen:
        for _ in range(steps):
            optimizer.zero_grad()
            step(torch.randn(16, 4))
            optimizer.step()
    return seen


def test_plain_training_is_healthy(model, optimizer):
    seen = train(model, optimizer, lambda x: model(x).square().mean().backward())
    assert not seen.findings
    assert (seen.steps, seen.forwards, seen.first_nan) == (5, 1, None)
    assert str(seen).startswith("HEALTHY")
    assert "1 layers, 5 steps, 1 passes in train mode a step" in str(seen)


def test_gradient_accumulation_is_healthy(model, optimizer):
    def step(x):
        for part in x.chunk(2):
            model(part).square().mean().backward()

    seen = train(model, optimizer, step)
    assert not seen.findings
    assert seen.forwards == 2


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_is_seen_to_count_twice(model, optimizer, reentrant):
    def step(x):
        y = checkpoint(model, x.requires_grad_(), use_reentrant=reentrant)
        y.square().mean().backward()

    (found,) = train(model, optimizer, step).findings
    assert (found.code, found.layers) == ("double-counting", ("1",))
    assert "5 batches" in found.summary
    momentum = model[1].momentum
    exec(found.remedy, {"report": train(model, optimizer, step).report, "model": model})
    assert (1 - model[1].momentum) ** 2 == pytest.approx(1 - momentum, abs=1e-3)


def test_validation_without_eval_is_seen(model, optimizer):
    def step(x):
        model(x).square().mean().backward()
        with torch.no_grad():
            model(torch.randn(16, 4))

    assert train(model, optimizer, step).report.codes == ["no-grad-is-not-eval"]


def test_validation_in_eval_mode_is_healthy(model, optimizer):
    def step(x):
        model.train()(x).square().mean().backward()
        with torch.no_grad():
            model.eval()(torch.randn(16, 4))

    assert not train(model, optimizer, step).findings


def test_two_distributions_are_seen(model, optimizer):
    def step(x):
        (model(x) - model(x * 2 + 3)).square().mean().backward()

    assert train(model, optimizer, step).report.codes == ["several-distributions"]


def test_frozen_layer_that_moves_is_seen(model, optimizer):
    model[1].requires_grad_(False)
    seen = train(model, optimizer, lambda x: model(x).square().mean().backward())
    assert seen.report.codes == ["frozen-but-moving"]
    model[1].eval()
    seen = train(model, optimizer, lambda x: model(x).square().mean().backward())
    assert not seen.findings


def test_first_nan_is_named_with_its_step(model, optimizer):
    count = []

    def step(x):
        count.append(1)
        x[0, 0] = torch.inf if len(count) == 3 else 0.0
        model(x).square().mean().backward()

    seen = train(model, optimizer, step)
    assert seen.first_nan == (3, "1")
    assert "first in step 3, at the input of 1" in seen.findings[0].summary


def test_backward_with_later_statistics_is_seen(model):
    def gradient(between):
        x = torch.randn(4, 4, requires_grad=True)
        with watch_norms(model) as seen:
            y = model.eval()(x)
            if between:
                model.train()(torch.randn(16, 4))
            y.sum().backward()
        return seen.report.codes

    assert gradient(between=False) == []
    assert gradient(between=True) == ["eval-backward"]


def test_nothing_is_left_behind_after_an_error(model, optimizer):
    with pytest.raises(ZeroDivisionError), watch_norms(model, optimizer):
        raise ZeroDivisionError
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not optimizer._optimizer_step_post_hooks


def test_model_without_statistics_is_refused():
    with pytest.raises(ValueError, match="the Linear has no layer"), watch_norms(nn.Linear(2, 2)):
        pass
