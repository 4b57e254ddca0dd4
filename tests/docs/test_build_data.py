import os
import sys
from types import ModuleType, SimpleNamespace

import build_data
import pytest


@pytest.fixture
def here(monkeypatch):
    """Stand in for the data: what is chosen, and how often it was asked."""
    data = ModuleType("data")
    data.chosen, data.asked = "mnist", 0

    def resolve():
        data.asked += 1
        return os.environ.get("BN_TUTORIAL_DATASET") or data.chosen

    data.resolve = resolve
    data.load = lambda name: SimpleNamespace(
        name=name, title=name.upper(), licence="L", source="S", digest=f"digest of {name}", train=0
    )
    monkeypatch.setitem(sys.modules, "bn_tutorial.data.loading", data)
    for name in (*build_data.FOLDERS, "BN_TUTORIAL_DATASET"):
        monkeypatch.setenv(name, "")  # so that what the build sets is taken back
    return data


def build(last, **wishes):
    """Decide as a new process would: with the user's environment alone."""
    os.environ.update(dict.fromkeys((*build_data.FOLDERS, "BN_TUTORIAL_DATASET"), "") | wishes)
    wished = build_data.wishes()
    return {"wishes": wished, "data": build_data.decide(wished, last)}


def test_choice_is_described_and_exported(here):
    built = build({})
    assert here.asked == 1
    assert built["data"] == {
        "name": "mnist",
        "title": "MNIST",
        "licence": "L",
        "source": "S",
        "digest": "digest of mnist",
    }
    assert os.environ["BN_TUTORIAL_DATASET"] == "mnist"


def test_unchanged_build_asks_nobody_but_exports(here):
    built = build({})
    assert build(built) == built
    assert here.asked == 1
    assert os.environ["BN_TUTORIAL_DATASET"] == "mnist"


def test_after_a_fallback_to_the_digits_mnist_is_looked_for_again(here):
    here.chosen = "digits"
    built = build({})
    here.chosen = "mnist"
    assert build(built)["data"]["name"] == "mnist"


def test_explicit_digits_are_not_looked_for_again(here):
    built = build({}, BN_TUTORIAL_DATASET="digits")
    assert build(built, BN_TUTORIAL_DATASET="digits") == built
    assert here.asked == 1


def test_another_wish_is_asked_for(here, tmp_path):
    built = build({})
    build(built, BN_TUTORIAL_DATA=str(tmp_path))
    assert here.asked == 2
    assert build(built, BN_TUTORIAL_DATASET="digits")["data"]["name"] == "digits"


@pytest.mark.usefixtures("here")
def test_folders_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BN_TUTORIAL_DATA", "mnist")
    assert build_data.wishes() == {"BN_TUTORIAL_DATA": str(tmp_path / "mnist")}
    assert os.environ["BN_TUTORIAL_DATA"] == str(tmp_path / "mnist")
