"""The race in the page trains as PyTorch does, from the same weights and on the same batches."""

import base64
import json

import numpy as np
import pytest
import race
from raced import STEPS

from bn_tutorial.networks.perceptron import DeepNet

SETTINGS = {"activation": "tanh", "rate": 0.3, "scale": 2, "depth": 2, "batch": 4, "seed": 3}
FRAMES = f"""(({{values, labels, count, settings, norm, steps}}) =>
  ({STEPS})(bnRace.images(values, labels, count), settings, norm, steps))(dukpy)"""


@pytest.fixture
def few(monkeypatch):
    """Images so small and few that an interpreter trains on them in no time."""
    rng = np.random.default_rng(0)
    content = rng.integers(0, 16, (60, 8), dtype=np.uint8), rng.integers(0, 10, 60)
    monkeypatch.setattr(race, "digits", lambda: content)
    monkeypatch.setattr(race, "TRAIN", 40)
    return content


@pytest.mark.parametrize(
    ("norm", "activation"),
    [("none", "sigmoid"), ("batch", "tanh"), ("layer", "relu"), ("weights", "sigmoid")],
)
def test_script_trains_as_pytorch_does(few, norm, activation):
    settings = SETTINGS | {"activation": activation}
    values, labels = (array.ravel().tolist() for array in few)
    ours = race.engine().evaljs(
        FRAMES,
        settings=settings,
        norm=norm,
        values=values,
        labels=labels,
        count=race.TRAIN,
        steps=12,
    )
    theirs = race.frames(settings, norm, 12)
    assert len(ours) == len(theirs) == 13
    for frame, expected in zip(ours, theirs, strict=True):
        assert frame.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(frame[name], value, rtol=1e-8, atol=1e-10)
    assert theirs[-1]["loss"] != pytest.approx(theirs[0]["loss"], rel=0.01)


def beginning(norm, **changes):
    weights, _ = race.beginning(SETTINGS | changes, norm, 0)
    return [np.array(weight) for weight, _ in weights]


@pytest.mark.usefixtures("few")
def test_networks_of_a_race_begin_with_the_same_weights():
    plain, batch, good = (beginning(norm) for norm in ("none", "batch", "weights"))
    for a, b in zip(plain, batch, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(plain[:-1], good[:-1], strict=True):
        np.testing.assert_allclose(a * np.sqrt(3) / SETTINGS["scale"], b)
    np.testing.assert_array_equal(plain[-1], good[-1])
    assert not np.allclose(beginning("none", seed=4)[0], plain[0])


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.usefixtures("few")
def test_first_weights_are_distributed_as_those_of_the_package(activation):
    deep = {"activation": activation, "depth": 8}
    ours = np.concatenate(beginning("none", **deep, scale=1)[1:-1]) * np.sqrt(32)
    assert np.abs(ours).max() <= 1
    assert ours.var() == pytest.approx(1 / 3, rel=0.05)
    good = np.concatenate(beginning("weights", **deep)[1:-1])
    net = DeepNet(widths=(32, 256, 10), activation=activation, init="unit gain")
    expected = next(net.parameters()).var().item()
    assert good.var() == pytest.approx(expected, rel=0.06)


@pytest.mark.usefixtures("few")
def test_each_epoch_takes_every_image_once_in_another_order():
    _, batches = race.beginning(SETTINGS, "none", 20)
    epochs = np.reshape(batches, (2, 40))
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs.tolist())
    assert (epochs[0] != epochs[1]).any()


def test_script_of_digits_is_small_names_its_source_and_holds_the_images():
    text = race.script()
    assert len(text) < 170_000
    assert "E. Alpaydin and C. Kaynak" in text
    assert "CC BY 4.0" in text
    content = json.loads(text.split("bnDigits = ")[1].rstrip(";\n"))
    packed = np.frombuffer(base64.b64decode(content["pixels"]), np.uint8)
    greys, labels = race.digits()
    unpacked = np.stack([packed >> 4, packed & 15], axis=1).reshape(greys.shape)
    np.testing.assert_array_equal(unpacked, greys)
    assert content["labels"] == "".join(map(str, labels))
    assert greys.max() == 15
    assert labels[race.TRAIN :][:10].tolist() == list(range(10))
