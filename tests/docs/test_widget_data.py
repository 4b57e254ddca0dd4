"""The scripts of the widgets compute what the package does."""

import numpy as np
import pytest
import widget
import widget_data

from bn_tutorial.scratch import functional
from bn_tutorial.scratch.frameworks import FRAMEWORKS, convert_momentum
from bn_tutorial.scratch.layers import BatchNorm2D, GroupNorm, InstanceNorm2D, LayerNorm, RMSNorm
from bn_tutorial.scratch.moments import running_average


def js(expression, **values):
    return widget.interpreter().evaljs(f"bnWidgets.{expression}", **values)


def column(values):
    return np.array(values)[:, np.newaxis]


@pytest.mark.parametrize("seed", range(20))
def test_move_a_sample_computes_what_the_package_does_in_both_modes(seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(rng.normal(0, 3), 2, size=(2, rng.integers(2, 9)))
    gamma, beta, mean = rng.normal(size=3)
    var, eps = rng.uniform(0.1, 3), 10.0 ** rng.integers(-8, 1)
    parameters = np.array([gamma]), np.array([beta])
    given = {"x": x.tolist(), "dy": dy.tolist(), "gamma": gamma, "beta": beta, "eps": eps}

    y, cache = functional.batch_norm_forward(column(x), *parameters, eps=eps)
    dx, _, _ = functional.batch_norm_backward(column(dy), cache)
    ours = js("forward(dukpy.x, dukpy.gamma, dukpy.beta, dukpy.eps)", **given)
    gradient = js("backward(dukpy.dy, dukpy.cache)", dy=dy.tolist(), cache=ours)
    np.testing.assert_allclose(ours["y"], y.ravel(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours["mu"], cache.mu.item(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ours["variance"], cache.var.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, dx.ravel(), rtol=1e-10, atol=1e-12)

    statistics = np.array([mean]), np.array([var])
    y, cache = functional.batch_norm_eval_forward(column(x), *parameters, *statistics, eps=eps)
    dx, _, _ = functional.batch_norm_eval_backward(column(dy), cache)
    call = "standardized(dukpy.x, dukpy.gamma, dukpy.beta, dukpy.eps, dukpy.mean, dukpy.var)"
    ours = js(call, **given, mean=mean, var=var)
    gradient = js("evalBackward(dukpy.dy, dukpy.cache)", dy=dy.tolist(), cache=ours)
    np.testing.assert_allclose(ours["y"], y.ravel(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gradient, dx.ravel(), rtol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_walk_the_graph_computes_every_node_and_its_gradient_as_the_package_does(seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(rng.normal(0, 3), 2, size=(2, 4))
    (gamma, beta), exponent = rng.normal(size=2), int(rng.integers(-5, 1))
    state = {"x": x.tolist(), "dy": dy.tolist(), "gamma": gamma, "beta": beta, "exponent": exponent}
    ours = js("numbersOf('walk-the-graph', dukpy.s)", s=state)
    parameters = np.array([gamma]), np.array([beta])
    y, cache = functional.batch_norm_forward(column(x), *parameters, eps=10.0**exponent)
    gradients = functional.batch_norm_gradients(column(dy), cache)
    right = {"mu": cache.mu, "var": cache.var, "r": cache.r, "xhat": cache.xhat, "y": y}
    right |= gradients._asdict() | {"xmu": column(x) - cache.mu}
    for name, value in right.items():
        np.testing.assert_allclose(ours[name], np.squeeze(value), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(np.add(ours["direct"], ours["spread"]), ours["dxmu"], rtol=1e-12)


def layers(channels, groups, height, width):
    return {
        "Batch": BatchNorm2D(channels),
        "Layer": LayerNorm((channels, height, width)),
        "Instance": InstanceNorm2D(channels),
        "Group": GroupNorm(groups, channels),
        "RMS": RMSNorm((channels, height, width)),
    }


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("kind", ["Batch", "Layer", "Instance", "Group", "RMS"])
def test_share_a_mean_pools_what_the_layer_pools(kind, groups):
    """With dy one at a single number, its gradient reaches all that share its statistics."""
    samples, channels, height, width = shape = (4, 6, 2, 2)
    x = np.random.default_rng(0).normal(size=shape)
    data = {"values": x.reshape(samples, channels, -1).tolist()}
    for n, c in [(0, 0), (3, 2), (1, 5)]:
        layer = layers(channels, groups, height, width)[kind]
        layer.forward(x)
        dy = np.zeros(shape)
        dy[n, c, 1, 0] = 1.0
        reached = (layer.backward(dy) != 0).all(axis=(2, 3))
        state = {"kind": kind, "groups": groups, "n": n, "c": c}
        numbers = js("numbersOf('share-a-mean', dukpy.s, dukpy.d)", s=state, d=data)
        np.testing.assert_array_equal(numbers["pooled"], reached)
        values = x[reached]
        assert numbers["m"] == values.size
        assert numbers["sets"] == x.size // values.size
        np.testing.assert_allclose(
            [numbers["mean"], numbers["variance"], numbers["square"]],
            [values.mean(), values.var(), np.square(values).mean()],
            rtol=1e-12,
        )


@pytest.mark.parametrize("alpha", [0.001, 0.013, 0.1, 0.5, 1.0])
def test_set_momentum_computes_what_the_package_does(alpha):
    left = np.array(1.0)
    for k in range(30):
        assert js("left(dukpy.a, dukpy.k)", a=alpha, k=k) == pytest.approx(left, rel=1e-12)
        left = running_average(left, np.array(0.0), alpha)
    weights = alpha * (1 - alpha) ** np.arange(40_000)
    window = 1 / np.square(weights).sum()
    assert js("effectiveWindow(dukpy.a)", a=alpha) == pytest.approx(window, rel=1e-9)
    for name, framework in FRAMEWORKS.items():
        ours = js("written(dukpy.a, dukpy.w)", a=alpha, w=framework.momentum_weighs)
        assert ours == convert_momentum(alpha, "pytorch", name)


@pytest.mark.usefixtures("recorded")
def test_replay_shows_the_chosen_frame():
    recording, _ = widget_data.replay_a_training()
    arms = recording["arms"].values()
    assert len(recording["steps"]) > 1
    for i, step in enumerate(recording["steps"]):
        numbers = js("numbersOf('replay-a-training', {i: dukpy.i}, dukpy.d)", i=i, d=recording)
        assert numbers.pop("step") == step
        assert numbers == {quantity: [arm[quantity][i] for arm in arms] for quantity in numbers}
        assert set(numbers) == {"accuracy", "activations", "gradients"}


def test_frameworks_default_is_a_position_of_the_slider():
    for name, framework in FRAMEWORKS.items():
        alpha = round(convert_momentum(framework.momentum, name, "pytorch"), 12)
        assert js("toAlpha(bnWidgets.toPosition(dukpy.a))", a=alpha) == alpha
