"""What the widgets start with, and the same numbers from the package, to compare with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import race

from bn_tutorial.lab import evidence
from bn_tutorial.networks import theory
from bn_tutorial.scratch.arrays import Array
from bn_tutorial.scratch.frameworks import FRAMEWORKS, convert_momentum
from bn_tutorial.scratch.functional import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_gradients,
)
from bn_tutorial.scratch.moments import moments, running_average, unbiased

#: Where a widget, or a part of it, shows what an experiment has recorded, the experiment.
RECORDED = {
    "replay-a-training": "03_in_training/plot_10_replay_a_training",
    "sigmoid": "03_in_training/plot_06_map_the_gap",
    "relu": "03_in_training/plot_03_scale_the_initial_weights",
}

#: Where a widget shows equations of the derivations with their code, the equation of each piece.
PIECES = {
    "walk-the-graph": {
        "mu": "eq-mean",
        "xmu": "eq-center",
        "var": "eq-variance",
        "r": "eq-r",
        "xhat": "eq-xhat",
        "y": "eq-y",
        "dbeta": "eq-dbeta",
        "dgamma": "eq-dgamma",
        "dxhat": "eq-dxhat",
        "dr": "eq-dr",
        "dvar": "eq-dvar",
        "dxmu": "eq-dxmu",
        "dmu": "eq-dmu",
        "dx": "eq-dx-steps",
    }
}

# What a script starts with, and what it must then compute.
Start = tuple[dict[str, Any], dict[str, Any]]


def move_a_sample() -> Start:
    """Return a batch of six, and running statistics that are those of this very batch."""
    x, gamma, beta, exponent = np.array([[2.4], [-1.6], [0.3], [1.1], [-0.7], [0.9]]), 1.0, 0.0, -5
    y, cache = batch_norm_forward(x, np.array([gamma]), np.array([beta]), eps=10.0**exponent)
    dx, _, _ = batch_norm_backward(np.eye(len(x))[:, :1], cache)  # dy is 1 for the first sample
    mu, var = cache.mu.item(), cache.var
    data = {
        "x": x.ravel().tolist(),
        "gamma": gamma,
        "beta": beta,
        "exponent": exponent,
        "running_mean": mu,
        "running_var": unbiased(var, len(x)).item(),
    }
    columns = {"y": y.ravel().tolist(), "dx": dx.ravel().tolist()}
    return data, {"mu": mu, "variance": var.item(), **columns}


def share_a_mean() -> Start:
    """Return a block of small whole numbers, (samples, channels, pixels)."""
    values = np.random.default_rng(0).integers(-4, 10, size=(4, 6, 4))
    channels = values.shape[1]
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]
    data = {"values": values.tolist(), "divisors": divisors, "groups": 2, "kind": "Batch"}
    pooled = moments(values.astype(float), (0, 2))
    one = {"mean": pooled.mean[0].item(), "variance": pooled.var[0].item()}
    return data, {"m": pooled.count, "sets": channels, **one}


def set_momentum() -> Start:
    """Return PyTorch's default, and how each framework would write it."""
    alpha, k = FRAMEWORKS["pytorch"].momentum, 20
    frameworks = [
        {
            "title": framework.title.split(",")[0],
            "momentum": framework.momentum,
            "weighs": framework.momentum_weighs,
            "running_var": framework.running_var,
            "standard": round(convert_momentum(framework.momentum, name, "pytorch"), 12),
        }
        for name, framework in FRAMEWORKS.items()
    ]
    left, new = np.array(1.0), np.array(0.0)  # the initial value carries all of the weight
    for _ in range(k):
        left = running_average(left, new, alpha)
    weights = alpha * (1 - alpha) ** np.arange(1000)  # of the last batch, the one before, ...
    written = [convert_momentum(alpha, "pytorch", name) for name in FRAMEWORKS]
    expected = {"weight": left.item(), "window": 1 / np.square(weights).sum().item()}
    return {"alpha": alpha, "k": k, "frameworks": frameworks}, {**expected, "written": written}


def walk_the_graph() -> Start:
    """Return a batch of four with its upstream gradient, and the gradient of each node."""
    x, dy = np.array([[0.0], [1.0], [1.5], [5.5]]), np.array([[-1.0], [0.5], [0.5], [1.0]])
    gamma, beta, exponent = 1.5, 0.5, -5
    y, cache = batch_norm_forward(x, np.array([gamma]), np.array([beta]), eps=10.0**exponent)
    parameters = {"gamma": gamma, "beta": beta, "exponent": exponent}
    found = batch_norm_gradients(dy, cache)._asdict()
    found |= {"mu": cache.mu, "var": cache.var, "r": cache.r, "xhat": cache.xhat, "y": y}
    expected = {
        name: value.item() if value.size == 1 else value.ravel().tolist()
        for name, value in found.items()
    }
    return {"x": x.ravel().tolist(), "dy": dy.ravel().tolist(), **parameters}, expected


def recording_of(name: str) -> dict[str, Any]:
    """Return what an experiment has recorded, as it has left it."""
    page = RECORDED[name]
    recording = evidence.recall(page).recording
    if recording is None:
        raise LookupError(f"{page!r} has saved no recording")
    return recording


def replay_a_training() -> Start:
    """Return the recording."""
    recording = recording_of("replay-a-training")
    arms = recording["arms"].values()
    return recording, {q: [arm[q][0] for arm in arms] for q in ("accuracy", "gradients")}


def race_two_networks() -> Start:
    """Return what can be chosen, and what PyTorch says before the first step."""
    first = race.first_frame(race.settings_of(race.PRESETS[0]))
    data = {
        "presets": race.PRESETS,
        "steps": race.STEPS,
        "tests": race.TEST,
        "strip": race.strip(),
        "first": first,
    }
    return data, {name: first[name] for name in ("loss", "accuracy", "signal", "gradient")}


def find_the_cliff() -> Start:
    """Return two maps of accuracy over weights and rate; what the formula says of the first row."""
    studies = {name: recording_of(name) for name in ("sigmoid", "relu")}
    data = {"studies": studies, "level": studies["sigmoid"]["level"]}
    first = studies["sigmoid"]
    passes = first["hidden"] - 1  # from one hidden layer to the next
    gain = sigmoid_gain(first["width"], first["scales"][0])
    growth = theory.gradient_growth(sigmoid, sigmoid_slope)  # of the square
    expected = {
        "signal": [gain**passes, 1.0],
        "gradient": [gain**passes, growth ** (passes / 2)],
        "accuracy": [rows[0][0] for rows in first["accuracy"].values()],
    }
    return data, expected


def sigmoid(z: Array) -> Array:
    """Return the logistic function of z."""
    return 1 / (1 + np.exp(-z))


def sigmoid_slope(z: Array) -> Array:
    """Return its derivative."""
    return sigmoid(z) * (1 - sigmoid(z))


def sigmoid_gain(width: int, sigma: float) -> float:
    """Return the factor on the signal of a layer of sigmoids, with weights of this deviation.

    Where the layer before puts out about 1/2, and there are no biases: the slope is the root of the
    mean square over units, whose inputs lie around means that are spread like a normal number.
    """
    z = (np.arange(20_000) + 0.5) / 1_000 - 10
    density = np.exp(-(z**2) / 2)
    squares = sigmoid_slope(z * sigma * np.sqrt(width) / 2) ** 2
    slope = float(np.sqrt(density @ squares / density.sum()))
    return theory.signal_gain(slope, fan=width, weight_var=sigma**2)


def turn_a_batch() -> Start:
    """Return a batch of three; what becomes of it, and of a gradient on its way back."""
    x, gamma, exponent = np.array([[0.3], [0.7], [1.7]]), 1.3, -5
    dy = np.array([[0.8], [-0.2], [0.9]])
    y, cache = batch_norm_forward(x, np.array([gamma]), np.zeros(1), eps=10.0**exponent)
    dx, _, _ = batch_norm_backward(dy, cache)
    data = {"x": x.ravel().tolist(), "gamma": gamma, "exponent": exponent}
    columns = {"xhat": cache.xhat, "y": y, "dy": dy, "dx": dx}
    return data, {name: column.ravel().tolist() for name, column in columns.items()}


STARTS: dict[str, Callable[[], Start]] = {
    "move-a-sample": move_a_sample,
    "share-a-mean": share_a_mean,
    "set-momentum": set_momentum,
    "walk-the-graph": walk_the_graph,
    "replay-a-training": replay_a_training,
    "race": race_two_networks,
    "turn-a-batch": turn_a_batch,
    "find-the-cliff": find_the_cliff,
}

# Scripts that a widget asks for when it is used, by their places in the folder of static files.
LATER: dict[str, dict[str, Callable[[], str]]] = {"race": {"race/digits.js": race.script}}
