"""Conversion between the conventions of the frameworks."""

import math

import numpy as np
import pytest
import torch

from bn_tutorial.scratch.frameworks import FRAMEWORKS, convert_momentum, convert_state
from bn_tutorial.scratch.moments import running_average, unbiased

M = 8  # samples in each batch


def gather(name, momentum, batches):
    """Gather statistics as a framework's documentation says, from mean zero and variance one."""
    framework = FRAMEWORKS[name]
    weight = momentum if framework.momentum_weighs == "new" else 1 - momentum
    mean, var = np.zeros(3), np.ones(3)
    for x in batches:
        mean = running_average(mean, x.mean(axis=0), weight)
        batch_var = x.var(axis=0)
        if framework.running_var == "unbiased":
            batch_var = unbiased(batch_var, M)
        var = running_average(var, batch_var, weight)
    return dict(zip(framework.names[2:], (mean, var), strict=True))


BATCHES = np.random.default_rng(0).normal(3.0, 5.0, (200, M, 3))


@pytest.mark.parametrize("source", FRAMEWORKS)
@pytest.mark.parametrize("target", FRAMEWORKS)
def test_converted_statistics_are_those_that_the_target_would_have_gathered(source, target):
    momentum = 0.1 if FRAMEWORKS[source].momentum_weighs == "new" else 0.9
    converted = convert_state(gather(source, momentum, BATCHES), source, target, count=M)
    expected = gather(target, convert_momentum(momentum, source, target), BATCHES)
    assert converted.keys() == expected.keys()
    for key, value in expected.items():
        # What is left of the initial one after 200 batches is far below this.
        np.testing.assert_allclose(converted[key], value, rtol=1e-8)


def test_pytorchs_own_statistics_are_described_rightly():
    layer = torch.nn.BatchNorm1d(3, dtype=torch.float64)
    framework = FRAMEWORKS["pytorch"]
    assert (layer.momentum, layer.eps) == (framework.momentum, framework.eps)
    for x in BATCHES:
        layer(torch.from_numpy(x))
    for key, value in gather("pytorch", layer.momentum, BATCHES).items():
        np.testing.assert_allclose(layer.state_dict()[key].numpy(), value)
    assert set(framework.names) <= set(layer.state_dict())


@pytest.mark.parametrize("source", FRAMEWORKS)
@pytest.mark.parametrize("target", FRAMEWORKS)
def test_conversion_there_and_back_changes_nothing(source, target):
    state = dict(zip(FRAMEWORKS[source].names, np.arange(1.0, 13.0).reshape(4, 3), strict=True))
    there = convert_state(state, source, target, count=M)
    back = convert_state(there, target, source, count=M)
    assert list(there) == list(FRAMEWORKS[target].names)
    for key, value in state.items():
        np.testing.assert_allclose(back[key], value)
    momentum = convert_momentum(0.3, source, target)
    assert convert_momentum(momentum, target, source) == pytest.approx(0.3)


def test_infinite_count_renames_without_rescaling_and_copies():
    state = {"running_mean": np.ones(3), "running_var": np.full(3, 2.0), "num_batches_tracked": 7}
    converted = convert_state(state, "pytorch", "flax", count=math.inf)
    assert list(converted) == ["mean", "var"]
    np.testing.assert_array_equal(converted["var"], 2.0)
    converted["var"] += 1
    np.testing.assert_array_equal(state["running_var"], 2.0)


def test_unknown_frameworks_missing_statistics_and_small_batches_are_refused():
    state = {"running_mean": np.ones(3), "running_var": np.ones(3)}
    with pytest.raises(ValueError, match="unknown framework 'caffe', expected one of pytorch"):
        convert_state(state, "pytorch", "caffe", count=M)
    with pytest.raises(ValueError, match=r"lacks \['running_var'\]"):
        convert_state({"running_mean": np.ones(3)}, "pytorch", "keras", count=M)
    with pytest.raises(ValueError, match="at least 2 values per channel, got 1"):
        convert_state(state, "pytorch", "keras", count=1)
    with pytest.raises(ValueError, match=r"momentum in \[0, 1\], got 1.5"):
        convert_momentum(1.5, "pytorch", "keras")
