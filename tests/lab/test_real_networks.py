import dataclasses

import pytest
from small_runs import CONFIG

from bn_tutorial.fingerprint import Sources
from bn_tutorial.lab import prune
from bn_tutorial.lab.pool import run_all
from bn_tutorial.lab.real_networks import ConvSpec, ResidualSpec
from bn_tutorial.lab.store import Store, code_of

CONV = ConvSpec("group:2", channels=(2, 2), strides=(2, 2), config=CONFIG)
RESIDUAL = ResidualSpec("batch", blocks=1, width=4, config=CONFIG)


@pytest.mark.usefixtures("store_folder")
@pytest.mark.parametrize("run", [CONV, RESIDUAL])
def test_run_is_trained_kept_and_found_again(run, data, request):
    (first,) = run_all([run], data)
    request.getfixturevalue("no_training")
    (again,) = run_all([run], data)
    assert first.test_accuracy == again.test_accuracy
    assert len(first.step_loss) == CONFIG.steps


@pytest.mark.parametrize("run", [CONV, RESIDUAL])
def test_each_setting_of_a_run_reaches_its_network(run):
    skipped = {"model_seed", "config", "measure"}
    others = {
        "norm": "layer",
        "channels": (2, 4),
        "strides": (1, 2),
        "weights": "scaled",
        "init_scale": 2.0,
        "shift": 1,
        "placement": "peri",
        "scaling": "skipinit",
        "blocks": 2,
        "width": 6,
        "convolutional": True,
    }
    base = {name: str(part) for name, part in run.model().named_modules()}
    state = {name: value.tolist() for name, value in run.model().state_dict().items()}
    for setting in {field.name for field in dataclasses.fields(run)} - skipped:
        changed = dataclasses.replace(run, **{setting: others[setting]}).model()
        new = {name: str(part) for name, part in changed.named_modules()}
        values = {name: value.tolist() for name, value in changed.state_dict().items()}
        assert (new, values) != (base, state), setting


def test_code_of_a_run_is_that_of_its_network_and_norm_alone():
    sources = Sources()
    runs = [CONV, dataclasses.replace(CONV, norm="batch"), RESIDUAL]
    assert len({code_of(run, sources) for run in runs}) == len(runs)
    other = dataclasses.replace(CONV, norm="group:1")  # the same kind
    assert code_of(other, sources) == code_of(CONV, sources)


@pytest.mark.usefixtures("store_folder")
@pytest.mark.parametrize("run", [CONV, RESIDUAL])
def test_remembered_run_is_known_to_the_pruner(run, data):
    run_all([run], data)
    found = prune.contents()
    path = Store(data.digest, Sources()).path(run)
    assert [file.name for file in found.current.files] == [path.name]
