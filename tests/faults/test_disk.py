"""A disk without room is named, with what can be done."""

import re
import sys
from contextlib import contextmanager

import pytest
from small_runs import make_data, make_run, stamps

from bn_tutorial.lab.pool import run_all

resource = pytest.importorskip("resource", reason="the limit on files is POSIX's")


@contextmanager
def largest_file(size):
    """Let no file of this process and its children grow beyond a size, in bytes.

    None of them writes compiled modules meanwhile: cut, they would spoil what is installed.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path))
    monkeypatch.delenv("BN_TUTORIAL_SCHEDULER", raising=False)
    return tmp_path


@pytest.mark.parametrize("workers", [1, 2])
def test_run_that_finds_no_room_is_named_and_leaves_nothing(cache, workers):
    runs = [make_run(seed=seed) for seed in range(3)]
    with largest_file(100), pytest.raises(OSError, match="make room there; nox -s cache") as error:
        run_all(runs, make_data(), workers=workers)
    assert re.search(rf"{cache}/runs/\w+\.json cannot be written", str(error.value))
    assert not list((cache / "runs").iterdir())
    run_all(runs, make_data(), workers=1)
    assert len(stamps(cache / "runs")) == 3


def test_memory_without_room_for_the_data_is_named_with_the_remedy(cache, monkeypatch):
    folder = cache / "temporary"
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(folder))
    expected = (
        rf"for the workers to {folder} \(\[Errno 27\] .*: make room, or set JOBLIB_TEMP_FOLDER"
    )
    with largest_file(1_000_000), pytest.raises(OSError, match=expected):
        run_all([make_run(seed=seed) for seed in range(2)], make_data(2000), workers=2)


def test_memory_that_cannot_be_made_is_named_with_the_remedy(cache, monkeypatch):
    (cache / "file").write_text("")
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(cache / "file"))
    with pytest.raises(OSError, match="make room, or set JOBLIB_TEMP_FOLDER"):
        run_all([make_run(seed=seed) for seed in range(2)], make_data(2000), workers=2)
