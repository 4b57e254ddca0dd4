import pytest
import torch
from small_runs import CONFIG

from bn_tutorial.fingerprint import Sources
from bn_tutorial.lab import prune
from bn_tutorial.lab.pool import run_all
from bn_tutorial.lab.remedied import RemediedSpec
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.store import Store
from bn_tutorial.networks.remedies import REMEDIES

PERCEPTRON = {"widths": (784, 8, 8, 10), "config": CONFIG}


def test_without_a_remedy_the_history_is_that_of_the_plain_run(data):
    found = RemediedSpec("batch", **PERCEPTRON).train(data)
    assert found == RunSpec("batch", **PERCEPTRON).train(data)


def test_each_remedy_gives_another_history(data):
    runs = [RemediedSpec(**PERCEPTRON), *(RemediedSpec(**PERCEPTRON, remedy=r) for r in REMEDIES)]
    histories = [run.train(data) for run in runs]
    for number, history in enumerate(histories):
        assert all(history != other for other in histories[:number]), runs[number]


def test_frozen_statistics_are_those_of_the_images_that_are_shown_first(data, monkeypatch):
    models = []

    def keep(model, *_given, **_options):
        models.append(model)

    monkeypatch.setattr("bn_tutorial.lab.remedied.train", keep)
    RemediedSpec(**PERCEPTRON, remedy="frozen", shown=7).train(data)
    (model,) = models
    x = data.standardize(data.train.images[:7])
    z = model.hidden_1.linear(x)
    torch.testing.assert_close(model.hidden_1.norm.running_mean, z.mean(dim=0))
    torch.testing.assert_close(model.hidden_1.norm.running_var, z.var(dim=0, correction=0))


@pytest.mark.usefixtures("store_folder")
def test_run_is_kept_found_again_and_known_to_the_pruner(data, request):
    run = RemediedSpec(**PERCEPTRON, remedy="renorm")
    (first,) = run_all([run], data)
    found = prune.contents()
    path = Store(data.digest, Sources()).path(run)
    assert [file.name for file in found.current.files] == [path.name]
    request.getfixturevalue("no_training")
    assert run_all([run], data) == [first]
