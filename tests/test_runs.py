import dataclasses
import io
import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from bn_tutorial import runs
from bn_tutorial.data import Dataset, Split
from bn_tutorial.runs import Run, fingerprint, run_all
from bn_tutorial.training import Config, train

CONFIG = Config(epochs=2, batch_size=32)


def make_data(count=64, digest=None):
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 28, 28), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.randint(0, 10, (count,), generator=generator))
    return Dataset("noise", "noise", "none", "made here", digest or f"of {count}", split, split)


def make_run(norm=None, seed=0, **settings):
    config = dataclasses.replace(CONFIG, **settings)
    return Run(norm, widths=(784, 8, 8, 10), model_seed=seed, config=config)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path))
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def data():
    return make_data()


@pytest.fixture
def no_training(monkeypatch):
    def refuse(missing, *_):
        assert not missing, "trained again"
        return iter(())

    monkeypatch.setattr(runs, "_train_all", refuse)


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}


class TestRunAll:
    studied = (
        make_run(),
        make_run("batch"),
        make_run("scratch", seed=1),
        make_run("batch", lr=1e38),  # diverges
        make_run("layer"),
    )

    def test_histories_are_those_of_train_in_order_whatever_the_number_of_workers(
        self, data, monkeypatch, tmp_path
    ):
        before = torch.get_num_threads(), torch.random.get_rng_state()
        two = run_all(self.studied, data, workers=2)
        monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "other"))
        one = run_all(self.studied[::-1], data, workers=1)[::-1]
        assert torch.get_num_threads() == before[0]
        assert torch.equal(torch.random.get_rng_state(), before[1])

        with runs.one_thread():
            direct = [train(run.model(), data, run.config) for run in self.studied]
        assert one == two == direct
        assert len(set(two)) == len(two)
        assert two[3].diverged_at is not None

    def test_what_is_remembered_is_what_was_trained_bit_by_bit(self, data, store, request):
        trained = run_all(self.studied, data, workers=2)
        assert len(stamps(store)) == len(self.studied)
        request.getfixturevalue("no_training")
        remembered = run_all(self.studied, data)
        assert remembered == trained
        assert [history.seconds for history in remembered] == [h.seconds for h in trained]

    def test_equal_runs_are_trained_once(self, data, store):
        first, second = run_all([make_run(), make_run()], data, workers=2)
        assert first == second
        assert len(stamps(store)) == 1

    def test_no_runs_give_no_histories(self, data):
        assert run_all([], data) == []

    def test_large_data_reach_the_workers_too(self):
        data = make_data(2_000)  # joblib maps what is above a megabyte into shared memory
        studied = [make_run(seed=seed, epochs=1, batch_size=500) for seed in (0, 1)]
        histories = run_all(studied, data, workers=2)
        with runs.one_thread():
            assert histories == [train(run.model(), data, run.config) for run in studied]

    def test_worker_keeps_apart_two_data_sets(self, data):
        studied = [make_run(seed=seed) for seed in (0, 1)]
        for dataset, steps in ((data, 4), (make_data(96), 6), (data, 4)):
            histories = run_all(studied, dataset, workers=2)
            assert [len(history.step_loss) for history in histories] == [steps, steps]

    @pytest.mark.parametrize("workers", [1, 2])
    def test_run_that_fails_is_named_and_the_finished_ones_are_kept(self, store, workers):
        data = make_data(65)
        bad = make_run("batch")  # its last batch holds a single image
        fine = [make_run(seed=seed) for seed in range(3)]
        with pytest.raises(ValueError, match="more than 1 value per channel") as failure:
            run_all([*fine[:2], bad, fine[2]], data, workers=workers)
        assert any("norm='batch'" in note for note in failure.value.__notes__)
        kept = stamps(store)
        assert len(kept) >= 1
        run_all(fine, data, workers=workers)
        assert kept.items() <= stamps(store).items()

    def test_number_of_workers_must_be_positive(self, data):
        with pytest.raises(ValueError, match="workers is 0, expected at least 1"):
            run_all([make_run()], data, workers=0)

    @pytest.mark.usefixtures("no_training")
    def test_one_bar_counts_all_runs_where_it_is_wanted(self, data, monkeypatch, store):
        studied = [make_run(seed=seed) for seed in range(3)]
        store.mkdir()
        history = train(studied[0].model(), data, CONFIG)
        for run in studied:
            name = f"{runs._key(run, data.digest, fingerprint())}.json"
            runs._remember(store / name, run, data.digest, history)
        for progress, shown in ((None, False), (True, True), (False, False)):
            stderr = io.StringIO()
            monkeypatch.setattr(sys, "stderr", stderr)
            run_all(studied, data, progress=progress)
            assert ("3/3" in stderr.getvalue()) is shown


STUDY = """
from tests_of_runs import make_data, make_run
from bn_tutorial.runs import run_all
run_all([make_run(seed=seed, epochs=30) for seed in range(40)], make_data(), workers=1)
"""


def test_killed_study_goes_on_where_it_was(tmp_path, store, data):
    shutil.copy(__file__, tmp_path / "tests_of_runs.py")
    study = subprocess.Popen([sys.executable, "-c", STUDY], cwd=tmp_path)
    deadline = time.monotonic() + 120
    while len(stamps(store)) < 3:
        assert study.poll() is None, "the study ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    study.kill()  # no chance to clean up
    study.wait()

    finished = stamps(store)
    studied = [make_run(seed=seed, epochs=30) for seed in range(40)]
    assert 3 <= len(finished) < len(studied)
    run_all(studied, data, workers=2)
    assert finished.items() <= stamps(store).items()
    assert len(stamps(store)) == len(studied)


class TestStore:
    def changed_runs(self):
        run = make_run()
        yield from (
            dataclasses.replace(run, **change)
            for change in (
                {"norm": "batch"},
                {"widths": (784, 8, 10)},
                {"activation": "tanh"},
                {"init": "he"},
                {"init": 0.1},
                {"model_seed": 1},
            )
        )
        for change in ({"epochs": 3}, {"batch_size": 33}, {"lr": 0.2}, {"seed": 1}):
            yield dataclasses.replace(run, config=dataclasses.replace(run.config, **change))

    def test_every_change_of_settings_data_or_sources_gives_another_key(self):
        keys = [runs._key(run, "digest", "sources") for run in self.changed_runs()]
        keys += [runs._key(make_run(), "digest", "sources")]
        keys += [runs._key(make_run(), "other", "sources")]
        keys += [runs._key(make_run(), "digest", "other")]
        assert len(set(keys)) == len(keys)

    def test_no_setting_is_forgotten(self):
        # A field that is added to Run or Config must be added to changed_runs above.
        names = {field.name for kind in (Run, Config) for field in dataclasses.fields(kind)}
        changed = set()
        for run in self.changed_runs():
            for ours, default in ((run, make_run()), (run.config, make_run().config)):
                values, others = vars(ours), vars(default)
                changed |= {name for name in values if values[name] != others[name]}
        assert changed == names

    def test_settings_that_are_numpy_scalars_are_settings(self):
        plain, numpy = make_run(lr=0.5, seed=3), make_run(lr=np.float64(0.5), seed=np.int64(3))
        assert runs._key(plain, "d", "s") == runs._key(numpy, "d", "s")

    def test_run_of_changed_sources_or_data_is_not_taken_from_the_store(
        self, data, store, monkeypatch
    ):
        key = runs._key
        with monkeypatch.context() as patch:
            patch.setattr(runs, "_key", lambda run, digest, _: key(run, digest, "old sources"))
            run_all([make_run()], data, workers=1)
        run_all([make_run()], data, workers=1)
        assert len(stamps(store)) == 2
        run_all([make_run()], make_data(digest="other"), workers=1)
        assert len(stamps(store)) == 3

    def test_worker_with_older_sources_in_memory_refuses(self, data, store):
        with pytest.raises(RuntimeError, match="changed while it was in use"):
            runs._train_and_remember(store / "x", make_run(), data, "newer sources")

    def test_floats_and_nan_return_exactly(self, tmp_path):
        path = tmp_path / "x.json"
        curve = (0.1 + 0.2, 5e-324)
        run = make_run()
        history = runs.History(curve, curve, (math.pi, math.nan), curve, (1 / 3, math.nan), 0.7, 1)
        runs._remember(path, run, "digest", history)
        recalled = runs._recall(path)
        assert recalled == history
        assert math.isnan(recalled.test_loss[1])
        assert "NaN" not in path.read_text()
        assert json.loads(path.read_text())["run"]["model_seed"] == 0

    @pytest.mark.parametrize(
        "damage",
        [
            lambda _: "",
            lambda text: text[: len(text) // 2],
            lambda _: "[]",
            lambda _: "null",
            lambda text: text.replace("train_loss", "training_loss"),
            lambda text: text.replace('"step_loss": [', '"step_loss": ["x", '),
            lambda text: text.replace('"test_loss": [', '"test_loss": [1.0, '),
            lambda text: text.replace('"step_loss": [', '"step_loss": [1.0, '),
            lambda text: text.replace("{", "\0\xff"),
        ],
    )
    def test_damaged_file_counts_as_nothing_and_is_reported(self, tmp_path, damage, caplog):
        path = tmp_path / "x.json"
        curve = (0.5, 0.25)
        runs._remember(path, make_run(), "d", runs.History(curve, curve, curve, curve, curve, 1.0))
        assert runs._recall(path) is not None
        path.write_bytes(damage(path.read_text()).encode("latin-1"))
        assert runs._recall(path) is None
        assert "is damaged" in caplog.text

    def test_damaged_file_is_trained_anew(self, data, store):
        histories = run_all([make_run()], data, workers=1)
        (path,) = store.glob("*.json")
        whole = json.loads(path.read_text())["history"]["step_loss"]
        path.write_text(path.read_text()[:100])
        assert run_all([make_run()], data, workers=1) == histories
        assert json.loads(path.read_text())["history"]["step_loss"] == whole


class TestFingerprint:
    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        copy = tmp_path / "bn_tutorial"
        shutil.copytree(
            Path(runs.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__")
        )
        original = fingerprint()
        monkeypatch.setattr(runs, "__file__", str(copy / "runs.py"))
        assert fingerprint() == original
        return copy

    def test_place_of_the_package_and_other_files_do_not_count(self, package):
        before = fingerprint()
        (package / "notes.txt").write_text("x")
        assert fingerprint() == before

    @pytest.mark.parametrize("name", ["models.py", "functional.py", "__init__.py"])
    def test_every_edit_of_a_source_counts(self, package, name):
        before = fingerprint()
        path = package / name
        path.write_text(path.read_text() + "\n")
        assert fingerprint() != before

    def test_new_moved_and_removed_sources_count(self, package):
        seen = [fingerprint()]
        (package / "part").mkdir()
        (package / "part" / "new.py").write_text("")
        seen.append(fingerprint())
        (package / "part" / "new.py").rename(package / "part" / "other.py")
        seen.append(fingerprint())
        (package / "models.py").unlink()
        seen.append(fingerprint())
        assert len(set(seen)) == 4

    @pytest.mark.parametrize("module", [torch, np])
    def test_versions_of_pytorch_and_numpy_count(self, module, monkeypatch):
        before = fingerprint()
        monkeypatch.setattr(module, "__version__", "0.0")
        assert fingerprint() != before
