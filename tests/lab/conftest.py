import pytest
from small_runs import make_data

from bn_tutorial.lab.prune import SPECS


@pytest.fixture
def store_folder(tmp_path, monkeypatch):
    """Where finished runs go in this test."""
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path))
    monkeypatch.delenv("BN_TUTORIAL_SCHEDULER", raising=False)
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def data():
    return make_data()


@pytest.fixture
def no_training(monkeypatch):
    """From here on, every run must be one that is kept already."""

    def refuse(run, *_, **__):
        raise AssertionError(f"trained again: {run}")

    for kind in SPECS:
        monkeypatch.setattr(kind, "train", refuse)
