from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import CONFIG, make_data
from torch import nn
from torch.nn.functional import cross_entropy

from bn_tutorial.lab.gradient_shift import gradient_shift, shifts_in_training
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.training import train
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.shifting import add_shifting

WIDTHS = (784, 8, 7, 6, 10)


@pytest.fixture(autouse=True)
def in_one_thread():
    with one_thread():
        yield


def hidden(model):
    return list(model.children())[:-1]


def batch(count=16):
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 10, (count,), generator=generator)
    return torch.randn(count, 784, generator=generator), labels


def noisy(norm="batch"):
    model = DeepNet(norm, widths=WIDTHS, activation="relu", init="he").train()
    add_shifting(model, 0.5, seed=0)
    return model


def test_shift_of_two_layers_is_that_computed_by_hand():
    """h = w1 x and y = w2 h, so that the gradient of w2 is (y - 0) h: its direction is that of h.

    With w1 = (1, 0), w2 = (1, 1), x = 1 the error is 1, the gradient of w1 is w2, that of w2 is
    (1, 0). A step of rate 1 takes w1 to (0, -1): then the error is -1, the gradient of w2 (0, 1).
    """
    first, second = nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)
    model = nn.Sequential(first, second).double()
    with torch.no_grad():
        first.weight[:] = torch.tensor([[1.0], [0.0]])
        second.weight[:] = 1.0

    def loss():
        return model(torch.ones(1, 1).double()).square().sum() / 2

    found = gradient_shift(model, loss, [first, second], lr=1.0)
    assert found == pytest.approx(np.array([[2**0.5, 0.0]]))


def test_each_layer_meets_all_layers_before_it_moved_and_no_other():
    model = DeepNet("batch", widths=WIDTHS, activation="relu", init="he").train()
    (x, labels), lr = batch(), 0.3

    def gradients(model):
        parameters = list(model.parameters())
        found = torch.autograd.grad(cross_entropy(model(x), labels), parameters)
        return dict(zip(dict(model.named_parameters()), found, strict=True))

    found = gradient_shift(model, lambda: cross_entropy(model(x), labels), hidden(model), lr)
    before, wanted = gradients(model), []
    for number in (2, 3):
        moved = DeepNet("batch", widths=WIDTHS, activation="relu", init="he").train()
        with torch.no_grad():
            for name, parameter in moved.named_parameters():
                if name.split(".")[0] in [f"hidden_{before}" for before in range(1, number)]:
                    parameter -= lr * before[name]
        own = f"hidden_{number}.linear.weight"
        was, now = before[own].ravel(), gradients(moved)[own].ravel()
        cosine = torch.cosine_similarity(was, now, dim=0).item()
        wanted.append([((now - was).norm() / was.norm()).item(), cosine])
    assert found == pytest.approx(np.array(wanted), rel=1e-4)
    assert wanted[0][0] > 0.01


@pytest.mark.parametrize("norm", [None, "batch"])
def test_nothing_shifts_without_a_step_though_there_is_noise(norm):
    model, (x, labels) = noisy(norm), batch()
    found = gradient_shift(model, lambda: cross_entropy(model(x), labels), hidden(model), 0.0)
    assert np.array_equal(found[:, 0], [0, 0])
    assert found[:, 1] == pytest.approx([1, 1])


def test_only_the_shift_of_the_gradient_that_a_step_takes_is_found():
    """The first layer's own gradient never shifts, and one layer alone has none before it."""
    model, (x, labels) = noisy(), batch()
    alone = gradient_shift(model, lambda: cross_entropy(model(x), labels), hidden(model)[:1], 1.0)
    assert alone.shape == (0, 2)


def test_looking_changes_nothing():
    models = [noisy(), noisy()]
    x, labels = batch()
    gradient_shift(models[0], lambda: cross_entropy(models[0](x), labels), hidden(models[0]), 0.5)
    outputs = [model(x) for model in models]
    assert torch.equal(*outputs)
    states = [model.state_dict() for model in models]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert models[0].training


def test_model_is_put_back_when_a_loss_fails():
    model, (x, labels) = noisy(), batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls = []

    def loss():
        calls.append(None)
        if len(calls) == 3:
            raise FloatingPointError
        return cross_entropy(model(x), labels)

    with pytest.raises(FloatingPointError):
        gradient_shift(model, loss, hidden(model), 0.5)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_shifts_in_training_are_those_of_its_steps_and_leave_it_as_it_is():
    data, config = make_data(), replace(CONFIG, lr=0.3)  # 4 steps, of 32 of 64 images
    watched, plain = noisy(), noisy()
    looks = shifts_in_training(watched, data, config, [0, 3])
    train(plain, data, config, progress=False)
    states = [model.state_dict() for model in (watched, plain)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert looks.shape == (2, 2, 2)

    model = noisy()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(config.seed))[:32]
    x, labels = data.standardize(data.train.images[order]), data.train.labels[order]
    first = gradient_shift(model, lambda: cross_entropy(model(x), labels), hidden(model), 0.3)
    assert np.array_equal(looks[0], first)
    model = noisy()  # the first three steps, then the look before the fourth
    train(model, data, replace(config, steps=3, evaluate_every=3), progress=False)
    generator = torch.Generator().manual_seed(config.seed)
    order = [torch.randperm(64, generator=generator) for _ in range(2)][1][32:]
    x, labels = data.standardize(data.train.images[order]), data.train.labels[order]
    last = gradient_shift(model, lambda: cross_entropy(model(x), labels), hidden(model), 0.3)
    assert np.array_equal(looks[1], last)
    assert not np.allclose(looks[0], looks[1])


def test_steps_that_are_not_trained_or_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"the steps are \[0, 4\], expected some of 4"):
        shifts_in_training(noisy(), make_data(), CONFIG, [4, 0])
    with pytest.raises(ValueError, match="the weights decay"):
        shifts_in_training(noisy(), make_data(), replace(CONFIG, weight_decay=0.1), [0])
