import math

import pytest
import torch
from torch import nn

from bn_tutorial.networks.standardized import RELU_GAIN, standardize


def test_gain_makes_the_variance_behind_a_relu_one():
    z = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    assert (RELU_GAIN * z.relu()).var().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("layer", [nn.Linear(50, 4), nn.Conv2d(3, 4, 3)])
def test_weights_of_each_output_have_mean_zero_and_deviation_one(layer):
    standardize(layer, "standardized")
    rows = layer.weight.detach().flatten(1)
    torch.testing.assert_close(rows.mean(1), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(rows.std(1, correction=0), torch.ones(4))


def test_scaled_weights_keep_the_size_of_a_signal_through_many_layers():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 256, generator=generator).relu()  # as if behind a layer of variance one
    for _ in range(10):
        layer = nn.Linear(256, 256, bias=False)
        nn.init.normal_(layer.weight, 3, 5, generator=generator)  # neither matters
        standardize(layer, "scaled")
        z = layer(x)
        x = z.relu()
    assert z.square().mean().item() == pytest.approx(1, rel=0.25)


def test_factor_and_fan_in_are_those_of_the_layer():
    layer = nn.Linear(100, 3)
    standardize(layer, "scaled", factor=2.0)
    norms = layer.weight.norm(dim=1)
    torch.testing.assert_close(norms, torch.full((3,), 2.0))
    assert math.isclose(RELU_GAIN, 1.7129, abs_tol=1e-4)


@pytest.mark.parametrize(("kind", "learned"), [("standardized", 1), ("scaled", 2)])
def test_trained_are_the_weights_beneath_and_the_gain(kind, learned):
    layer = nn.Linear(5, 3, bias=False)
    standardize(layer, kind)
    layer(torch.randn(4, 5)).square().sum().backward()
    parameters = list(layer.parameters())
    assert len(parameters) == learned
    assert all(parameter.grad.abs().sum() > 0 for parameter in parameters)


def test_scale_and_mean_of_the_weights_beneath_do_nothing():
    layer = nn.Linear(5, 3)
    standardize(layer, "scaled")
    x = torch.randn(4, 5)
    before = layer(x)
    with torch.no_grad():
        layer.parametrizations.weight.original.mul_(7).add_(2)
    torch.testing.assert_close(layer(x), before)


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="weights is 'scalded', expected one of"):
        standardize(nn.Linear(2, 2), "scalded")
