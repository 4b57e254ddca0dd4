import dataclasses

import pytest
from small_runs import CONFIG

from bn_tutorial.fingerprint import Sources
from bn_tutorial.lab import prune
from bn_tutorial.lab.pool import run_all
from bn_tutorial.lab.real_networks import ConvSpec
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.stepped import FewWeightsSpec, ShiftingSpec, SteppedConvSpec, SteppedSpec
from bn_tutorial.lab.store import Store

PERCEPTRON = {"norm": "batch", "widths": (784, 8, 8, 10), "config": CONFIG}
CONVOLUTIONAL = {"norm": "batch", "channels": (2, 2), "strides": (2, 2), "config": CONFIG}
KINDS = {
    SteppedSpec: (RunSpec, PERCEPTRON),
    FewWeightsSpec: (RunSpec, PERCEPTRON),
    SteppedConvSpec: (ConvSpec, CONVOLUTIONAL),
    ShiftingSpec: (RunSpec, PERCEPTRON),
}
CHANGED = {
    "factors": (2.0, 1.0, 1.0),
    "decays": (0.0, 0.1, 0.0),
    "momentum": 0.9,
    "adam": True,
    "warm_up": 3,
    "shifting": 0.5,
    "per_unit": 2,
}

each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_without_more_settings_the_history_is_that_of_the_plain_run(kind, data):
    plain, settings = KINDS[kind]
    assert kind(**settings).train(data) == plain(**settings).train(data)


@each_kind
def test_each_further_setting_changes_the_history(kind, data):
    plain, settings = KINDS[kind]
    usual = plain(**settings).train(data)
    further = {f.name for f in dataclasses.fields(kind)} - {
        f.name for f in dataclasses.fields(plain)
    }
    assert further
    for name in further:
        assert kind(**settings, **{name: CHANGED[name]}).train(data) != usual, name


@pytest.mark.usefixtures("store_folder")
@each_kind
def test_run_is_kept_found_again_and_known_to_the_pruner(kind, data, request):
    run = kind(**KINDS[kind][1])
    (first,) = run_all([run], data)
    found = prune.contents()
    path = Store(data.digest, Sources()).path(run)
    assert [file.name for file in found.current.files] == [path.name]
    request.getfixturevalue("no_training")
    assert run_all([run], data) == [first]
