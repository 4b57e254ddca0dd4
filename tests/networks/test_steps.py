import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.steps import PARTS, Steps, part_of, set_steps, watch_steps

LR, COUNT = 0.05, 12


def small():
    """A small network in float64."""
    return DeepNet("batch", widths=(6, 5, 4, 3), activation="tanh").double()


def batches():
    """Yield some batches of images and labels."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(COUNT):
        x = torch.randn(16, 6, generator=generator, dtype=torch.float64)
        yield x, torch.randint(3, (16,), generator=generator)


def descend(model, schedule=lambda _: 1.0):
    """Train by plain gradient descent, as the loop of the lab does."""
    parameters = list(model.parameters())
    for step, (x, y) in enumerate(batches()):
        gradients = torch.autograd.grad(cross_entropy(model(x), y), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=LR * schedule(step))
    return model


def optimized(make):
    """Train the same network with an optimizer of PyTorch."""
    model = small()
    optimizer = make(model)
    for x, y in batches():
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def stepped(**settings):
    model = small()
    set_steps(model, Steps(**settings))
    return model


def apart(a, b):
    """The largest difference between the parameters of two networks."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max((x - y).abs().max().item() for x, y in pairs)


def groups(model, **settings):
    """The parameters by part, as an optimizer takes them; a setting has a value for each part."""
    return [
        {
            "params": [p for name, p in model.named_parameters() if part_of(name) == part],
            **{name: values[place] for name, values in settings.items()},
        }
        for place, part in enumerate(PARTS)
    ]


def sgd(**settings):
    return lambda model: torch.optim.SGD(groups(model, **settings), lr=LR)


FACTORS, DECAYS = (0.5, 3.0, 0.0), (0.1, 0.0, 0.2)
OPTIMIZERS = {
    "factors": ({"factors": FACTORS}, sgd(lr=[LR * factor for factor in FACTORS])),
    "decays": ({"decays": DECAYS}, sgd(weight_decay=DECAYS)),
    "momentum": ({"momentum": 0.9}, sgd(momentum=[0.9] * 3)),
    "momentum and decay": (
        {"momentum": 0.8, "decays": DECAYS},
        sgd(momentum=[0.8] * 3, weight_decay=DECAYS),
    ),
    "adam": ({"adam": True}, lambda model: torch.optim.Adam(model.parameters(), lr=LR)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_the_optimizer_of_pytorch(name):
    settings, optimizer = OPTIMIZERS[name]
    expected = optimized(optimizer)
    assert apart(descend(stepped(**settings)), expected) < 1e-6
    assert apart(descend(small()), expected) > 1e-3


def test_rate_grows_in_equal_parts_while_it_warms_up():
    warm = descend(stepped(warm_up=5))
    assert apart(warm, descend(small(), lambda step: min(1, (step + 1) / 5))) < 1e-12
    assert apart(warm, descend(small())) > 1e-3


def test_without_settings_the_bits_are_those_of_the_plain_network():
    assert apart(descend(stepped()), descend(small())) == 0


def test_two_networks_do_not_share_what_their_steps_remember():
    first = descend(stepped(momentum=0.9))
    assert apart(first, descend(stepped(momentum=0.9))) == 0


def test_momentum_and_adam_together_are_refused():
    with pytest.raises(ValueError, match="of its own"):
        Steps(momentum=0.9, adam=True)


def test_steps_are_recorded_as_they_are_taken():
    model = stepped(factors=(2.0, 1.0, 1.0), decays=(0.3, 0.0, 0.0))
    with watch_steps(model, LR) as moved:
        before = [p.detach().clone() for p in model.hidden_2.linear.parameters()]
        lengths = [torch.linalg.vector_norm(model.hidden_2.linear.weight.detach(), dim=1)]
        descend(model)
    linear = moved("linear")
    assert linear.length.shape == linear.angle.shape == (COUNT, 5 + 4)
    np.testing.assert_allclose(linear.length[0, 5:], lengths[0], rtol=1e-12)
    again = stepped(factors=(2.0, 1.0, 1.0), decays=(0.3, 0.0, 0.0))
    x, y = next(batches())
    parameters = list(again.parameters())
    directions = torch.autograd.grad(cross_entropy(again(x), y), parameters)
    step = (
        LR
        * directions[[name for name, _ in again.named_parameters()].index("hidden_2.linear.weight")]
    )
    cosine = nn.functional.cosine_similarity(before[0], before[0] - step)
    np.testing.assert_allclose(np.cos(linear.angle[0, 5:]), cosine, rtol=1e-9)
    # In front of normalization all of the gradient is sideways, and none of the decay.
    np.testing.assert_allclose(
        (LR * linear.sideways[0, 5:]) ** 2 + (LR * 2 * 0.3 * linear.length[0, 5:]) ** 2,
        step.square().sum(1),
        rtol=1e-3,
    )


def test_relative_step_is_of_all_parameters_of_a_part():
    model = small()
    with watch_steps(model, LR) as moved:
        before = [p.detach().clone() for p in model.output.parameters()]
        x, y = next(batches())
        gradients = torch.autograd.grad(cross_entropy(model(x), y), list(model.parameters()))[-2:]
    sizes = [torch.cat([x.flatten() for x in found]).norm() for found in (gradients, before)]
    np.testing.assert_allclose(moved("output").relative, [LR * sizes[0] / sizes[1]], rtol=1e-12)
    assert moved("norm").relative.shape == (1,)
    assert moved("norm").length.shape == (1, 0)


def test_nothing_is_recorded_after_the_block():
    model = small()
    with watch_steps(model, LR) as moved:
        descend(model)
    descend(model)
    assert len(moved("linear").relative) == COUNT
