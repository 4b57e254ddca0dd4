import os
import shutil
import time

import pytest
from small_runs import make_run, stamps

from bn_tutorial.fingerprint import PACKAGE, Sources
from bn_tutorial.lab import prune
from bn_tutorial.lab.pool import run_all
from bn_tutorial.lab.store import Store

RUNS = [make_run(), make_run("batch"), make_run(seed=1)]


@pytest.fixture
def kept(store_folder, data):
    """The files of three runs."""
    run_all(RUNS, data, workers=1)
    return sorted(stamps(store_folder))


def test_runs_of_the_code_that_is_there_are_current(kept):
    found = prune.contents()
    assert list(found.current.files) == kept
    assert found.current.size == sum(path.stat().st_size for path in kept)
    assert not found.outdated.files


def test_runs_of_other_code_are_outdated(kept, tmp_path):
    package = tmp_path / "bn_tutorial"
    shutil.copytree(PACKAGE, package)
    norms = package / "networks" / "norms.py"
    norms.write_text(norms.read_text().replace("nn.BatchNorm1d", "nn.SyncBatchNorm"))
    batch = Store("of 64", Sources()).path(RUNS[1])
    found = prune.contents(Sources(package))
    assert found.outdated.files == (batch,)
    assert list(found.current.files) == sorted({*kept} - {batch})


@pytest.mark.parametrize(
    "damage", ["", "[]", "[" * 100_000, '{"run": {"lr": 1}}', '{"data": [], "run": {"config": {}}}']
)
def test_what_cannot_be_read_is_outdated(kept, damage):
    kept[0].write_text(damage)
    assert prune.contents().outdated.files == (kept[0],)


def test_run_under_a_name_that_is_not_its_own_is_outdated(kept):
    other = kept[0].with_name("0" * 64 + ".json")
    kept[0].rename(other)
    assert prune.contents().outdated.files == (other,)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("device", ["cuda", "meta"])
def test_runs_of_a_graphics_processor_are_current_and_so_are_those_of_the_device_in_use(
    monkeypatch, device
):
    for run in RUNS:
        store = Store("of 64", Sources())
        store.path(run).rename(Store("of 64", Sources(), device).path(run))
    assert len(prune.contents().current.files) == (3 if device == "cuda" else 0)
    monkeypatch.setenv("BN_TUTORIAL_DEVICE", device)
    assert len(prune.contents().current.files) == 3


def test_half_written_file_is_unfinished_when_nobody_writes_to_it_any_more(kept, tmp_path):
    old, new = tmp_path / ".digits.npz.0.partial", kept[0].with_name(".x.json.1.partial")
    for path in (old, new):
        path.write_bytes(b"123")
    os.utime(old, (0, 0))
    found = prune.contents()
    assert found.unfinished == prune.Room((old,), 3)


@pytest.mark.usefixtures("store_folder")
def test_result_that_no_script_has_asked_for_in_a_month_is_outdated(tmp_path):
    (folder := tmp_path / "results").mkdir()
    used, forgotten = folder / "a.pickle", folder / "b.pickle"
    for path, days in ((used, 20), (forgotten, 40)):
        path.write_bytes(b"123")
        os.utime(path, (0, time.time() - 86400 * days))
    found = prune.contents()
    assert (found.current.files, found.outdated.files) == ((used,), (forgotten,))


def test_pruning_deletes_what_is_not_current_and_says_what_that_was(kept, tmp_path, capsys):
    kept[0].write_text("damaged")
    shutil.copytree(tmp_path / "runs", kept[0].with_name("folder.json"))
    (old := tmp_path / ".digits.npz.0.partial").write_bytes(b"123")
    (other := tmp_path / "digits.npz").write_bytes(b"123")
    for path in (old, other):
        os.utime(path, (0, 0))
    prune.main([])
    assert kept[0].exists()
    assert "deleted" not in capsys.readouterr().out
    prune.main(["--prune"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(tmp_path / "runs")
    assert [line.split()[:2] for line in lines[1:]] == [
        *(["current", "2"], ["outdated", "2"], ["unfinished", "1"], ["deleted", "3"])
    ]
    assert sorted((tmp_path / "runs").iterdir()) == kept[1:]
    assert not old.exists()
    assert other.exists()


def test_empty_cache_folder_holds_nothing(store_folder):
    found = prune.contents()
    assert found.current == found.outdated == found.unfinished == prune.Room((), 0)
    assert not store_folder.exists()
