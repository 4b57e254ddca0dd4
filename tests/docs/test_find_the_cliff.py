"""The figure of signal and cliff computes the package's formulas, and shows what was recorded."""

import numpy as np
import pytest
import torch
import widget
import widget_data

from bn_tutorial.networks import theory
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import watch

pytestmark = pytest.mark.usefixtures("recorded")
SIGMAS = (0.01, 0.1, 0.3, 1.0)


def js(expression, **values):
    return widget.interpreter().evaljs(f"bnWidgets.{expression}", **values)


def gain(net, width, scale):
    return js("gain(dukpy.net, dukpy.width, dukpy.scale)", net=net, width=width, scale=scale)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_gain_of_sigmoids_is_the_formula_of_the_package(sigma):
    ours = gain("sigmoid", 100, sigma)
    assert ours == pytest.approx(widget_data.sigmoid_gain(100, sigma), rel=1e-12)
    at_zero = theory.signal_gain(0.25, fan=100, weight_var=sigma**2)
    assert ours < at_zero  # a sigmoid is steepest at zero


@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_gain_of_relu_is_the_factor_on_hes_weights(factor):
    right = theory.signal_gain(0.5**0.5, fan=128, weight_var=factor**2 * 2 / 128)
    assert gain("relu", 128, factor) == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize(
    ("net", "functions"),
    [
        ("sigmoid", (widget_data.sigmoid, widget_data.sigmoid_slope)),
        ("relu", (lambda z: np.maximum(z, 0), lambda z: 1.0 * (z > 0))),
    ],
)
def test_growth_of_the_gradient_is_the_formula_of_the_package(net, functions):
    squared = theory.gradient_growth(*functions)
    assert js("growth(dukpy.net)", net=net) ** 2 == pytest.approx(squared, rel=1e-6)


def passed_on(activation, width, **weights):
    """By how much a layer of a real network changes the signal, on average over ten."""
    x = torch.randn(200, 784, generator=torch.Generator().manual_seed(0))
    factors = []
    for seed in range(10):
        net = DeepNet(
            widths=(784, width, width, width, 10), activation=activation, seed=seed, **weights
        )
        with watch(net, type(net.hidden_1.activation)) as seen, torch.no_grad():
            net(x)
        first, *_, last = seen.outputs.values()
        if activation == "sigmoid":  # what differs between the samples
            first, last = first - first.mean(dim=0), last - last.mean(dim=0)
        factors.append((last.square().mean() / first.square().mean()).item() ** 0.25)
    return np.mean(factors)


@pytest.mark.parametrize("sigma", [0.01, 0.1])
def test_gain_is_what_a_network_of_sigmoids_does(sigma):
    assert passed_on("sigmoid", 100, init=sigma) == pytest.approx(
        gain("sigmoid", 100, sigma), rel=0.1
    )


def test_gain_is_what_a_network_of_relu_does():
    for factor in (0.1, 10.0):
        found = passed_on("relu", 128, init="he", init_scale=factor)
        assert found == pytest.approx(gain("relu", 128, factor), rel=0.1)


def test_every_square_of_both_maps_is_what_was_recorded():
    data, _ = widget_data.find_the_cliff()
    for net, study in data["studies"].items():
        for i, scale in enumerate(study["scales"]):
            for j in range(len(study["rates"])):
                state = {"net": net, "scale": i, "rate": j, "depth": 7}
                shown = js("numbersOf('find-the-cliff', dukpy.s, dukpy.d)", s=state, d=data)
                right = [rows[i][j] for rows in study["accuracy"].values()]
                assert shown["accuracy"] == right
                factor = gain(net, study["width"], scale)
                assert shown["signal"] == pytest.approx([factor**6, 1.0])
                assert shown["gradient"][0] == pytest.approx(factor**6)


@pytest.mark.parametrize(
    ("net", "scale", "rate", "fates"),
    [
        ("sigmoid", 0, 1, ("the signal has died", "it trains")),
        ("sigmoid", 1, 0, ("the step is too small", "it trains")),
        ("sigmoid", 1, 1, ("it trains", "it trains")),
        ("sigmoid", 1, 2, ("the step is too large", "it trains")),
        ("relu", 0, 1, ("it diverged, the step is too large", "it trains")),
        ("relu", 1, 0, ("it diverged, no rate here is right", "it trains")),
    ],
)
def test_sentence_says_why_a_training_failed(net, scale, rate, fates):
    data, _ = widget_data.find_the_cliff()
    state = {"net": net, "scale": scale, "rate": rate, "depth": 9}
    said = js("saidOf('find-the-cliff', dukpy.s, dukpy.d)", s=state, d=data)
    without, with_bn = said.split("without BN")[1].split("; with BN")
    assert fates[0] in without
    assert fates[1] in with_bn


def test_signal_is_not_called_dead_where_something_is_learned_from_what_is_left():
    data, _ = widget_data.find_the_cliff()
    study = data["studies"]["sigmoid"]
    guessing = 2 * data["level"] - 100
    study["accuracy"]["without BN"][0] = [guessing + 1, guessing + 25]
    died, learned = (
        js("saidOf('find-the-cliff', dukpy.s, dukpy.d)", s=state, d=data)
        for state in ({"net": "sigmoid", "scale": 0, "rate": rate, "depth": 9} for rate in (0, 1))
    )
    assert "the signal has died" in died
    left = f"{gain('sigmoid', study['width'], study['scales'][0]) ** (study['hidden'] - 1):.0e}"
    written = left.replace("e-0", "e\N{MINUS SIGN}")
    assert f"it learns a little, from the {written} of the signal that is left" in learned
