"""A student changes a study by editing its block of settings: the rest of the script follows."""

import functools
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from bn_tutorial.data.dataset import Dataset, Split
from bn_tutorial.lab import evidence
from bn_tutorial.lab.figures import is_lead
from bn_tutorial.lab.history import History
from bn_tutorial.networks.perceptron import DeepNet

PAGE = "03_in_training/plot_02_raise_the_learning_rate"
SCRIPT = Path(__file__).parents[1] / "tutorial_src" / f"{PAGE}.py"
SIGMOID = '    "sigmoid": Activation("sigmoid", good_weights="unit gain"),\n'
TANH = '    "tanh": Activation("tanh", good_weights="unit gain"),\n'
LIMITS = {  # of the stand-in, in decades, by norm and whether the weights are PyTorch's
    (None, True): 0.2,
    (None, False): -0.3,
    ("layer", True): 0.3,
    ("batch", True): 0.8,
    ("batch", False): 0.8,
}


@functools.cache
def check(norm, activation, init):
    """Refuse what is no network."""
    DeepNet(norm, activation=activation, init=init, widths=(784, 4, 10))


def stand_in(run, images):
    """What training might have given, in no time: its error is least below a limit of the rate."""
    check(run.norm, run.activation, run.init)
    rng = np.random.default_rng([run.config.seed, run.config.steps])
    decade = np.log10(run.config.lr) - rng.normal(0, 0.05)
    limit = LIMITS[run.norm, run.init == "default"]
    hopeless = run.activation == "sigmoid" and run.norm is None and run.init == "default"
    if decade > limit or (hopeless and run.config.steps < 1000):
        share = 0.1
    else:
        share = 0.96 - 0.02 * (decade - limit + 0.8) ** 2
    right = rng.random(images) < share
    accuracy, diverged = float(right.mean()), decade > 1.2 and run.norm is None
    if diverged:
        accuracy, right = np.nan, np.zeros(images, dtype=bool)
    return History(
        *6 * ((accuracy,),),
        step_loss=(accuracy,) * run.config.steps,
        validation_right=right,
        test_right=right,
        diverged_at=3 if diverged else None,
    )


@pytest.fixture
def stand_ins(monkeypatch, tmp_path):
    """Blank images, and what stands for training with them."""
    images = torch.zeros(1200, 28, 28, dtype=torch.uint8)
    split = Split(images, torch.arange(1200) % 10)
    data = Dataset("blank", "blank images", "none", "made here", "0", split, split[:600])
    monkeypatch.setattr("bn_tutorial.data.loading.load", lambda: data)
    monkeypatch.setattr(
        "bn_tutorial.lab.study.run_all",
        lambda runs, data, **_: [stand_in(run, len(data.test)) for run in runs],
    )
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(tmp_path))
    with mpl.rc_context({"backend": "agg", "figure.max_open_warning": 0}):
        yield
    plt.close("all")


@pytest.mark.usefixtures("stand_ins")
def test_an_activation_is_added_to_the_learning_rates_by_one_line(capsys):
    source = SCRIPT.read_text()
    words = source.split("**Try it.**")[1].replace("\n#", "")  # as the page shows them
    assert TANH.strip() in words
    for old, new in {SIGMOID: SIGMOID + TANH, "HELD_OUT = 5_000": "HELD_OUT = 600"}.items():
        assert source.count(old) == 1
        source = source.replace(old, new)
    known = {"__name__": "__main__"}
    exec(compile(source, str(SCRIPT), "exec"), known)

    lead = next(f for f in map(plt.figure, plt.get_fignums()) if is_lead(f))
    titles = [ax.get_title("left") or ax.get_title() for ax in lead.axes[:3]]
    assert titles == ["ReLU", "sigmoid", "tanh"]
    found = evidence.recall(PAGE).effects
    for name in ("BN - none, tanh", "BN at its own rate - BN at the rival's rate, tanh"):
        assert name in found
    assert len([name for name in found if name.endswith("10 epochs")]) == 3
    assert "none, good weights, tanh" in capsys.readouterr().out

    for (name, _), decades in known["limits"].items():  # what the stand-in has, is found
        arm = known["ARMS"][name]
        assert np.all(np.abs(decades - LIMITS[arm.norm, arm.weights == "default"]) < 0.25)
    assert ("none", "sigmoid") not in known["limits"]
    assert ("none", "tanh") in known["limits"]
