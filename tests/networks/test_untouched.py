import random

import numpy as np
import pytest
import torch
from torch import nn

from bn_tutorial.networks.untouched import untouched


class Greedy(nn.Module):
    """Changes all that a forward pass can change."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("seen", torch.zeros(2), persistent=False)
        self.calls, self.last, self.history, self.names = 0, None, [0], {"a": 1}
        self.plain = torch.zeros(2)
        self.own = torch.Generator()

    def forward(self, x):
        self.calls += 1
        self.last = x
        self.history.append(1)
        self.names["b"] = 2
        self.plain += 1
        self.seen = x.sum(0)
        self.new = "attribute"
        torch.rand(1, generator=self.own)
        return self.norm(x) + torch.rand(1) + random.random() + np.random.rand()  # noqa: NPY002


@pytest.fixture
def model():
    return Greedy()


def picture(model):
    """All that can be compared, and the identities of tensors."""
    return [
        (name, module.training, {k: id(v) for k, v in vars(module).items()}, list(module._buffers))
        for name, module in model.named_modules()
    ]


def generators(model):
    numpy = np.random.get_state()  # noqa: NPY002
    own = model.own.get_state().tolist()
    return torch.get_rng_state().tolist(), random.getstate(), numpy[1].tolist(), numpy[2], own


def test_model_and_generators_are_as_before(model):
    before, random_before = picture(model), generators(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    versions = [buffer._version for buffer in model.buffers()]
    with untouched(model):
        model.eval().train()(torch.ones(4, 2))
        assert model.norm.num_batches_tracked == 1
        model.norm.register_forward_hook(lambda *_: None)
    assert picture(model) == before
    assert generators(model) == random_before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [buffer._version for buffer in model.buffers()] == versions  # never written to
    assert (model.history, model.names, model.calls, model.last) == ([0], {"a": 1}, 0, None)
    assert not hasattr(model, "new")
    assert torch.equal(model.plain, torch.zeros(2))
    assert not model.norm._forward_hooks


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_model_is_as_before_when_interrupted(model, error):
    before = picture(model)
    with pytest.raises(error), untouched(model):  # noqa: PT012
        model(torch.ones(4, 2))
        raise error
    assert picture(model) == before


def test_shared_buffer_stays_shared(model):
    model.twin = nn.BatchNorm1d(2)
    model.twin.running_mean = model.norm.running_mean
    with untouched(model):
        assert model.twin.running_mean is model.norm.running_mean
        model.norm(torch.ones(4, 2))
        assert model.twin.running_mean[0] > 0
    assert model.twin.running_mean is model.norm.running_mean
    assert model.norm.running_mean[0] == 0


def test_backward_of_before_is_not_disturbed(model):
    x = torch.randn(4, 2, requires_grad=True)
    y = model.norm.eval()(x)
    with untouched(model):
        model.norm.train()(torch.randn(4, 2))
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.full((4, 2), (1 + 1e-5) ** -0.5))


def test_generators_of_others_come_back_and_can_be_rewound(model):
    sampler = type("Sampler", (), {})()
    sampler.generator, sampler.rng = torch.Generator(), np.random.default_rng(0)
    sampler.plain = random.Random(0)

    def draw():
        return (
            torch.rand(1, generator=sampler.generator).item(),
            sampler.rng.random(),
            sampler.plain.random(),
        )

    with untouched(model, sampler) as rewind:
        first = draw()
        assert draw() != first
        rewind()
        assert draw() == first
    assert draw() == first
