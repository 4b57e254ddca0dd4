import dataclasses
import io
import json
import math
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from bn_tutorial.lab import runs
from bn_tutorial.data.dataset import Dataset, Split
from bn_tutorial.lab.pool import run_all
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.store import fingerprint
from bn_tutorial.lab.study import curves, study
from bn_tutorial.lab.training import Config, train

CONFIG = Config(4, 2, 32)


def make_data(count=64, digest=None):
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 28, 28), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.randint(0, 10, (count,), generator=generator))
    return Dataset("noise", "noise", "none", "made here", digest or f"of {count}", split, split)


def make_run(norm=None, seed=0, **settings):
    config = dataclasses.replace(CONFIG, **settings)
    return RunSpec(norm, widths=(784, 8, 8, 10), model_seed=seed, config=config)


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
        make_run("numpy", seed=1),
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
        studied = [make_run(seed=seed, batch_size=500) for seed in (0, 1)]
        histories = run_all(studied, data, workers=2)
        with runs.one_thread():
            assert histories == [train(run.model(), data, run.config) for run in studied]

    def test_worker_keeps_apart_two_data_sets(self, data):
        studied = [make_run(seed=seed) for seed in (0, 1)]
        first, other, again = (
            run_all(studied, dataset, workers=2) for dataset in (data, make_data(96), data)
        )
        assert first == again != other

    @pytest.mark.parametrize("workers", [1, 2])
    def test_run_that_fails_is_named_and_the_finished_ones_are_kept(self, store, workers):
        data = make_data(65)
        bad = make_run("batch")  # its last batch holds a single image
        # So many before it that some are finished when it fails, however late a process starts.
        fine = [make_run(seed=seed) for seed in range(9)]
        with pytest.raises(ValueError, match="more than 1 value per channel") as failure:
            run_all([*fine[:8], bad, fine[8]], data, workers=workers)
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
            name = f"{runs._key(run, data.digest)}.json"
            runs._remember(store / name, run, data.digest, history)
        for progress, shown in ((None, False), (True, True), (False, False)):
            stderr = io.StringIO()
            monkeypatch.setattr(sys, "stderr", stderr)
            run_all(studied, data, progress=progress)
            assert ("3/3" in stderr.getvalue()) is shown


STUDY = """
from tests_of_runs import make_data, make_run
from bn_tutorial.lab.pool import run_all
run_all([make_run(seed=seed, steps=60) for seed in range(40)], make_data(), workers=1)
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
    studied = [make_run(seed=seed, steps=60) for seed in range(40)]
    assert 3 <= len(finished) < len(studied)
    run_all(studied, data, workers=2)
    assert finished.items() <= stamps(store).items()
    assert len(stamps(store)) == len(studied)


class TestStudy:
    def test_arms_are_paired_by_seed(self, data):
        arms = {"none": make_run(), ("batch", 0.2): make_run("batch", lr=0.2)}
        results = study(arms, data, seeds=(3, 4), workers=1)
        assert list(results) == list(arms)
        for name, arm in arms.items():
            for seed, history in zip((3, 4), results[name], strict=True):
                config = dataclasses.replace(arm.config, seed=seed)
                run = dataclasses.replace(arm, model_seed=seed, config=config)
                assert [history] == run_all([run], data)

    def test_curves_have_a_row_for_each_history(self, data):
        arms = {"slopes": dataclasses.replace(make_run(), measure="slopes")}
        histories = study(arms, data, seeds=range(2), workers=1)["slopes"]
        assert curves(histories, "test_loss").shape == (2, 2)
        assert curves(histories, "step_loss").shape == (2, 4)
        assert curves(histories, "slope 2").shape == (2, 3)
        assert curves(histories, "test_loss")[1].tolist() == list(histories[1].test_loss)
        with pytest.raises(KeyError, match="slope 3"):
            curves(histories, "slope 3")


class TestCluster:
    @pytest.fixture(scope="class")
    def cluster(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other people's code
            from distributed import LocalCluster

            with LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None, protocol="tcp"
            ) as cluster:
                yield cluster

    @pytest.mark.filterwarnings("ignore")
    def test_study_gives_the_same_bits_on_a_cluster_and_is_remembered_here(
        self, cluster, data, monkeypatch, tmp_path, request
    ):
        arms = {norm: make_run(norm) for norm in (None, "batch", "numpy")}
        here = study(arms, data, seeds=range(2), workers=1)
        monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "other"))
        monkeypatch.setenv("BN_TUTORIAL_SCHEDULER", cluster.scheduler_address)
        monkeypatch.setattr(RunSpec, "train", None)  # not in this process
        assert study(arms, data, seeds=range(2)) == here
        assert len(stamps(tmp_path / "other" / "runs")) == 6
        request.getfixturevalue("no_training")
        assert study(arms, data, seeds=range(2)) == here

    @pytest.mark.filterwarnings("ignore")
    def test_worker_with_several_threads_is_refused(self, data, monkeypatch):
        from distributed import LocalCluster

        with LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address=None, processes=False
        ) as cluster:
            monkeypatch.setenv("BN_TUTORIAL_SCHEDULER", cluster.scheduler_address)
            with pytest.raises(ValueError, match="workers with one thread each"):
                run_all([make_run()], data)


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
                {"init_scale": 2.0},
                {"placement": "after"},
                {"bias": False},
                {"measure": "slopes"},
                {"model_seed": 1},
            )
        )
        for change in (
            *({"steps": 8}, {"evaluate_every": 1}),
            *({"batch_size": 33}, {"lr": 0.2}, {"seed": 1}),
        ):
            yield dataclasses.replace(run, config=dataclasses.replace(run.config, **change))

    def test_every_change_of_settings_data_sources_or_device_gives_another_key(self, monkeypatch):
        keys = [runs._key(run, "digest") for run in self.changed_runs()]
        keys += [runs._key(make_run(), "digest"), runs._key(make_run(), "other")]
        with monkeypatch.context() as patch:
            patch.setenv("BN_TUTORIAL_DEVICE", "meta")
            keys += [runs._key(make_run(), "digest")]
        monkeypatch.setattr(runs, "fingerprint", lambda *_: "other sources")
        keys += [runs._key(make_run(), "digest")]
        assert len(set(keys)) == len(keys)

    def test_no_setting_is_forgotten(self):
        # A field that is added to RunSpec or Config must be added to changed_runs above.
        names = {field.name for kind in (RunSpec, Config) for field in dataclasses.fields(kind)}
        changed = set()
        for run in self.changed_runs():
            for ours, default in ((run, make_run()), (run.config, make_run().config)):
                values, others = vars(ours), vars(default)
                changed |= {name for name in values if values[name] != others[name]}
        assert changed == names

    def test_settings_that_are_numpy_scalars_are_settings(self):
        plain, numpy = make_run(lr=0.5, seed=3), make_run(lr=np.float64(0.5), seed=np.int64(3))
        assert runs._key(plain, "d") == runs._key(numpy, "d")

    def test_run_of_changed_sources_or_data_is_not_taken_from_the_store(
        self, data, store, monkeypatch
    ):
        key = runs._key
        with monkeypatch.context() as patch:
            patch.setattr(runs, "_key", lambda run, digest: key(run, f"{digest}, old sources"))
            run_all([make_run()], data, workers=1)
        run_all([make_run()], data, workers=1)
        assert len(stamps(store)) == 2
        run_all([make_run()], make_data(digest="other"), workers=1)
        assert len(stamps(store)) == 3

    def test_worker_with_older_sources_in_memory_refuses(self, data):
        with pytest.raises(RuntimeError, match="changed while it was in use"):
            runs._train(make_run(), data, "newer sources")

    def test_floats_and_nan_return_exactly(self, tmp_path):
        path = tmp_path / "x.json"
        curve = (0.1 + 0.2, 5e-324)
        run = make_run()
        history = runs.History(
            *(curve, curve, (), (), (math.pi, math.nan), curve, (1 / 3, math.nan, math.nan, 0.1)),
            measured={"slope": (0.1 + 0.2, 1e-300, math.nan)},
            seconds=0.7,
            diverged_at=1,
        )
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
            lambda text: text.replace('"validation_loss": [', '"validation_loss": [1.0'),
            lambda text: text.replace('"measured": {"a": [0.5', '"measured": {"a": ["x"'),
            lambda text: text.replace('"measured": {"a": [0.5, 0.25]}', '"measured": []'),
            lambda text: text.replace("{", "\0\xff"),
        ],
    )
    def test_damaged_file_counts_as_nothing_and_is_reported(self, tmp_path, damage, caplog):
        path = tmp_path / "x.json"
        curve = (0.5, 0.25)
        history = runs.History(curve, curve, (), (), curve, curve, 2 * curve, {"a": curve})
        runs._remember(path, make_run(), "d", history)
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

    @staticmethod
    def edit(path):
        path.write_text(path.read_text() + "\n")

    @pytest.mark.parametrize("name", ["runs.py", "models.py", "norms.py", "__init__.py"])
    def test_every_edit_of_a_source_that_trains_counts(self, package, name):
        before = fingerprint()
        self.edit(package / name)
        assert fingerprint() != before

    @pytest.mark.parametrize("name", ["figures.py", "evidence.py", "conformance.py"])
    def test_source_that_takes_no_part_in_training_does_not_count(self, package, name):
        before = fingerprint(), fingerprint("numpy")
        self.edit(package / name)
        assert (fingerprint(), fingerprint("numpy")) == before

    @pytest.mark.parametrize("name", ["scratch.py", "functional.py", "arrays.py", "moments.py"])
    def test_equations_count_for_the_networks_that_use_them_alone(self, package, name):
        run = make_run(), make_run("numpy")
        before = [runs._key(run, "digest") for run in run]
        self.edit(package / name)
        after = [runs._key(run, "digest") for run in run]
        assert before[0] == after[0]
        assert before[1] != after[1]

    @pytest.mark.parametrize("norm", [None, "numpy"])
    def test_sources_are_the_modules_that_a_process_which_trains_has_loaded(self, norm):
        program = (
            "import sys, bn_tutorial.lab.runs as runs\n"
            f"runs.RunSpec({norm!r}).model()\n"
            "loaded = {m for m in sys.modules if m.partition('.')[0] == 'bn_tutorial'}\n"
            f"paths = runs._sources({[norm] if norm else []})\n"
            "named = {f'bn_tutorial.{path.stem}' for path in paths}\n"
            "assert loaded - {'bn_tutorial'} == named - {'bn_tutorial.__init__'}, loaded ^ named"
        )
        subprocess.run([sys.executable, "-c", program], check=True)

    @pytest.mark.parametrize(
        "how", ["from bn_tutorial import new", "from bn_tutorial.new import x"]
    )
    def test_new_source_counts_once_it_is_imported(self, package, how):
        seen = [fingerprint()]
        (package / "new.py").write_text("x = 1\n")
        assert fingerprint() == seen[0]
        models = package / "models.py"
        models.write_text(f"{models.read_text()}\n{how}\n")
        seen.append(fingerprint())
        (package / "new.py").write_text("x = 2\n")
        seen.append(fingerprint())
        assert len(set(seen)) == 3

    @pytest.mark.parametrize("module", [torch, np])
    def test_versions_of_pytorch_and_numpy_count(self, module, monkeypatch):
        before = fingerprint()
        monkeypatch.setattr(module, "__version__", "0.0")
        assert fingerprint() != before
