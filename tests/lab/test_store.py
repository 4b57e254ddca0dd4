import dataclasses
import json
import logging
import math
import shutil

import numpy as np
import pytest
from small_runs import make_run, stamps

from bn_tutorial import fingerprint
from bn_tutorial.fingerprint import PACKAGE, Sources
from bn_tutorial.lab.pool import run_all
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.store import Store
from bn_tutorial.lab.training import Config, History

pytestmark = pytest.mark.usefixtures("store_folder")

RUN = make_run(steps=4, evaluate_every=2)


def changed_runs():
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
            {"dropout": 0.5},
            {"placement": "after"},
            {"bias": False},
            {"measure": "slopes"},
            {"model_seed": 1},
        )
    )
    for change in (
        *({"steps": 8}, {"evaluate_every": 1}),
        *({"batch_size": 33}, {"lr": 0.2}, {"seed": 1}, {"weight_decay": 0.1}),
    ):
        yield dataclasses.replace(run, config=dataclasses.replace(run.config, **change))


def key(run, digest="digest", sources=None):
    return Store(digest, sources or Sources()).path(run).name


def history(**changes):
    """What a run of four steps and two evaluations may have left."""
    curve = (0.1 + 0.2, math.nan)
    steps = (1 / 3, math.pi, 5e-324, math.nan)
    slopes = np.array([[0.25, 0.1 + 0.2], [1e-300, math.inf], [math.nan, math.nan]])
    known = History(
        *(curve, curve, (), (), curve, curve, steps),
        measured={"slope": slopes, "level": np.array([1.0, 0.5, math.nan])},
        test_right=np.array([True, False, True] * 5),
        seconds=0.7,
        diverged_at=3,
    )
    return dataclasses.replace(known, **changes)


class TestKey:
    def test_every_change_of_settings_data_or_device_gives_another_key(self, monkeypatch):
        keys = [key(run) for run in (make_run(), *changed_runs())]
        keys.append(key(make_run(), "other data"))
        monkeypatch.setenv("BN_TUTORIAL_DEVICE", "meta")
        keys.append(key(make_run()))
        assert len(set(keys)) == len(keys)

    def test_changed_code_gives_another_key(self, tmp_path):
        package = tmp_path / "bn_tutorial"
        shutil.copytree(PACKAGE, package)
        assert key(make_run(), sources=Sources(package)) == key(make_run())
        training = package / "lab" / "training.py"
        training.write_text(training.read_text().replace("2_000", "3_000"))
        assert key(make_run(), sources=Sources(package)) != key(make_run())

    @pytest.mark.parametrize("library", ["numpy", "torch"])
    def test_another_version_of_a_library_gives_another_key(self, library, monkeypatch):
        before, versions = key(make_run()), fingerprint.versions
        monkeypatch.setattr(
            fingerprint, "versions", lambda *names: {**versions(*names), library: "0.0"}
        )
        assert key(make_run()) != before

    def test_no_setting_is_forgotten(self):
        # A field that is added to RunSpec or Config must be added to changed_runs above.
        names = {field.name for kind in (RunSpec, Config) for field in dataclasses.fields(kind)}
        changed = set()
        for run in changed_runs():
            for ours, default in ((run, make_run()), (run.config, make_run().config)):
                values, others = vars(ours), vars(default)
                changed |= {name for name in values if values[name] != others[name]}
        assert changed == names

    def test_settings_that_are_numpy_scalars_are_settings(self):
        plain, numpy = make_run(lr=0.5, seed=3), make_run(lr=np.float64(0.5), seed=np.int64(3))
        assert key(plain) == key(numpy)

    def test_unknown_normalization_is_refused(self):
        with pytest.raises(ValueError, match="norm is 'btach'"):
            key(make_run("btach"))


class TestKeep:
    def test_what_is_found_is_what_was_kept_bit_by_bit(self):
        store = Store("digest", Sources())
        assert store.find(RUN) is None
        store.keep(RUN, history())
        found = store.find(RUN)
        assert found == history()
        assert found.seconds == 0.7
        assert found.test_right.tolist() == [True, False, True] * 5
        assert found.validation_right.shape == (0,)
        assert found.measured["slope"].shape == (3, 2)
        assert found.measured["slope"][1, 1] == math.inf
        assert type(found.test_loss) is tuple
        assert "NaN" not in store.path(RUN).read_text()

    def test_run_of_other_data_is_not_taken(self, data):
        run_all([make_run()], data, workers=1)
        store = Store("other", Sources())
        assert store.find(make_run()) is None

    def test_damaged_file_is_trained_anew(self, data, store_folder, caplog):
        histories = run_all([make_run()], data, workers=1)
        (path,) = stamps(store_folder)
        whole = json.loads(path.read_text())["history"]["step_loss"]
        path.write_text(path.read_text()[:100])
        assert run_all([make_run()], data, workers=1) == histories
        assert json.loads(path.read_text())["history"]["step_loss"] == whole
        assert str(path) in caplog.text


def rewritten(text, change):
    """Another content, with the digest that belongs to it."""
    content = json.loads(text)
    del content["sha256"]
    change(content)
    return json.dumps({**content, "sha256": fingerprint.of(content)})


def set_in(*path, to):
    def change(content):
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = to

    return change


class TestDamage:
    @pytest.fixture
    def store(self):
        store = Store("digest", Sources())
        store.keep(RUN, history())
        return store

    @pytest.mark.parametrize(
        "damage",
        [
            lambda _: "",
            lambda text: text[: len(text) // 2],
            lambda _: "[]",
            lambda _: "null",
            lambda _: "[" * 100_000,
            lambda text: text.replace("train_loss", "training_loss"),
            lambda text: text.replace("0.30000000000000004", "0.3", 1),
            lambda text: text.replace('"diverged_at": 3', '"diverged_at": 2'),
            lambda text: text.replace("{", "\0\xff"),
        ],
    )
    def test_file_that_is_not_what_was_written_counts_as_nothing(self, store, damage, caplog):
        path = store.path(RUN)
        path.write_bytes(damage(path.read_text()).encode("latin-1"))
        assert store.find(RUN) is None
        assert f"{path} is damaged" in caplog.text

    @pytest.mark.parametrize(
        "change",
        [
            set_in("history", "test_loss", to=[0.5]),
            set_in("history", "step_loss", to=[0.5] * 5),
            set_in("history", "validation_loss", to=[0.5]),
            set_in("history", "train_loss", to=["a", "b"]),
            set_in("history", "train_loss", to=None),
            set_in("history", "measured", to=[]),
            set_in("history", "measured", "slope", to=[[1.0, 2.0]]),
            set_in("history", "measured", "slope", to=[[1.0, 2.0], [1.0], [1.0]]),
            set_in("run", "norm", to="batch"),
            set_in("run", "config", "steps", to=6),
            set_in("data", to="other data"),
        ],
    )
    def test_curves_of_the_wrong_length_and_other_runs_count_as_nothing(
        self, store, change, caplog
    ):
        path = store.path(RUN)
        path.write_text(rewritten(path.read_text(), change))
        assert store.find(RUN) is None
        assert f"{path} is damaged" in caplog.text

    def test_rewritten_file_without_a_change_counts(self, store, caplog):
        caplog.set_level(logging.WARNING)
        path = store.path(RUN)
        path.write_text(rewritten(path.read_text(), lambda _: None))
        assert store.find(RUN) == history()
        assert not caplog.records

    def test_folder_in_the_place_of_a_file_counts_as_nothing(self, store):
        path = store.path(RUN)
        path.unlink()
        path.mkdir()
        assert store.find(RUN) is None
