import dataclasses
import importlib.metadata
import json
import logging
import math
import os
import shutil
from pathlib import Path

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

RUN = dataclasses.replace(make_run(steps=4, evaluate_every=2), measure="slopes")


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
    curve = (0.1 + 0.2, 2 / 3)
    steps = (1 / 3, math.pi, 5e-324, 1e300)
    slopes = np.array([[0.25, 0.1 + 0.2], [1e-300, math.inf], [math.nan, -1.0]])
    known = History(
        *(curve, curve, (), (), curve, curve, steps),
        measured={"slope": slopes, "level": np.array([1.0, 0.5, math.nan])},
        test_right=np.array([True, False, True] * 5),
        seconds=0.7,
    )
    return dataclasses.replace(known, **changes)


def diverged():
    """What the same run may have left if its last step failed."""
    curve = (0.1 + 0.2, math.nan)
    return history(
        **dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "test_accuracy"), curve),
        step_loss=(1 / 3, math.pi, 5e-324, math.nan),
        measured={"level": np.array([1.0, 0.5, math.nan])},
        test_right=np.zeros(15, dtype=np.bool_),
        diverged_at=3,
    )


def found(store):
    return store.find([RUN]).get(RUN)


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
        before, version = key(make_run()), importlib.metadata.version
        monkeypatch.setattr(
            "importlib.metadata.version", lambda name: "0" if name == library else version(name)
        )
        assert key(make_run()) != before

    @pytest.mark.parametrize(
        ("old", "new", "touched"),
        [
            ("GhostBatchNorm1d(units, size", "GhostBatchNorm1d(units + 0, size", "ghost:8"),
            ('"percentiles": percentiles,', '"percentiles": weight_norms,', "percentiles"),
        ],
    )
    def test_code_of_another_normalization_or_measure_does_not_count(
        self, tmp_path, old, new, touched
    ):
        package = tmp_path / "bn_tutorial"
        shutil.copytree(PACKAGE, package)
        for path in (package / "networks").glob("*.py"):
            path.write_text(path.read_text().replace(old, new))
        same = [make_run(), make_run("batch"), dataclasses.replace(make_run(), measure="slopes")]
        other = (
            make_run(touched)
            if ":" in touched
            else dataclasses.replace(make_run(), measure=touched)
        )
        now, before = Sources(package), Sources()
        assert [key(run, sources=now) for run in same] == [key(run, sources=before) for run in same]
        assert key(other, sources=now) != key(other, sources=before)

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
        assert found(store) is None
        store.keep(RUN, history())
        kept = found(store)
        assert kept == history()
        assert kept.seconds == 0.7
        assert kept.test_right.tolist() == [True, False, True] * 5
        assert kept.validation_right.shape == (0,)
        assert kept.measured["slope"].shape == (3, 2)
        assert kept.measured["slope"][1, 1] == math.inf
        assert type(kept.test_loss) is tuple
        assert "NaN" not in store.path(RUN).read_text()

    def test_run_that_diverged_is_found_as_it_was(self):
        store = Store("digest", Sources())
        store.keep(RUN, diverged())
        assert found(store) == diverged()

    def test_store_of_another_device_has_runs_of_its_own(self, monkeypatch):
        store, other = Store("digest", Sources()), Store("digest", Sources(), "meta")
        store.keep(RUN, history())
        assert found(other) is None
        monkeypatch.setenv("BN_TUTORIAL_DEVICE", "meta")
        assert Store("digest", Sources()).path(RUN) == other.path(RUN)

    def test_run_is_one_file_that_any_program_for_json_can_read(self, store_folder):
        store = Store("digest", Sources())
        store.keep(RUN, diverged())
        path = store.path(RUN)
        assert (path.parent, path.suffix) == (store_folder, ".json")
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
        assert sorted(content) == ["data", "history", "run", "sha256"]
        assert content["data"] == "digest"
        assert content["run"]["config"]["steps"] == 4
        assert content["history"]["test_loss"] == [0.1 + 0.2, "nan"]
        assert content["history"]["test_right"] == {"count": 15, "bits": "0000"}

    def test_numpy_settings_find_what_plain_ones_kept(self):
        config = dataclasses.replace(RUN.config, lr=np.float64(RUN.config.lr))
        numpy = dataclasses.replace(RUN, config=config, model_seed=np.int64(0), bias=np.bool_(True))
        store = Store("digest", Sources())
        store.keep(RUN, history())
        assert store.find([make_run(), numpy]) == {numpy: history()}
        store.keep(numpy, history())
        assert found(store) == history()

    def test_run_of_other_data_is_not_taken(self, data):
        run_all([make_run()], data, workers=1)
        store = Store("other", Sources())
        assert not store.find([make_run()])

    def test_damaged_file_is_trained_anew(self, data, store_folder, caplog):
        histories = run_all([make_run()], data, workers=1)
        (path,) = stamps(store_folder)
        whole = json.loads(path.read_text())["history"]["step_loss"]
        path.write_text(path.read_text()[:100])
        assert run_all([make_run()], data, workers=1) == histories
        assert json.loads(path.read_text())["history"]["step_loss"] == whole
        assert path.name in caplog.text

    @pytest.mark.usefixtures("no_training")
    def test_folder_that_cannot_be_written_to_is_noticed_before_training(
        self, data, store_folder, monkeypatch
    ):
        monkeypatch.setattr(os, "access", lambda path, _: path != store_folder)
        with pytest.raises(OSError, match="runs may not be written to: set BN_TUTORIAL_CACHE"):
            run_all([make_run()], data, workers=1)


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
            lambda text: text.replace('"diverged_at": null', '"diverged_at": 3'),
            lambda text: text.replace("{", "\0\xff"),
        ],
    )
    def test_file_that_is_not_what_was_written_counts_as_nothing(self, store, damage, caplog):
        path = store.path(RUN)
        path.write_bytes(damage(path.read_text()).encode("latin-1"))
        assert found(store) is None
        assert path.name in caplog.text

    def test_no_digit_that_changed_gives_another_history(self, store):
        path = store.path(RUN)
        text = path.read_text()
        digits = [at for at, letter in enumerate(text) if letter.isdigit()]
        for at in digits[::4]:
            path.write_text(f"{text[:at]}{(int(text[at]) + 1) % 10}{text[at + 1 :]}")
            assert found(store) in (None, history()), text[at - 20 : at + 20]
        assert len(digits) > 200

    def test_what_only_looks_like_a_number_counts_as_nothing(self, store):
        path = store.path(RUN)
        for wrong in ("NaN", "Infinity", "null", "true", '"x"', "[0.5]", "9" * 5000, "9" * 400):
            for right in ("0.5", "3.141592653589793", "0.7", "15"):
                text = path.read_text()
                assert f" {right}" in text
                path.write_text(text.replace(f" {right}", f" {wrong}", 1))
                assert found(store) is None, (right, wrong)
                path.write_text(text)

    def test_all_damaged_files_of_a_folder_are_one_warning(self, store, caplog):
        others = [dataclasses.replace(RUN, model_seed=seed) for seed in (1, 2)]
        for run in others:
            store.path(run).write_text("")
        assert list(store.find([*others, RUN])) == [RUN]
        (record,) = caplog.records
        assert f"2 remembered runs in {store.folder} are damaged" in record.getMessage()

    def test_file_of_another_run_or_of_other_data_under_this_name_counts_as_nothing(self, store):
        other = dataclasses.replace(RUN, model_seed=1)
        shutil.copyfile(store.path(RUN), store.path(other))
        assert not store.find([other])
        elsewhere = Store("other", Sources())
        shutil.copyfile(store.path(RUN), elsewhere.path(RUN))
        assert not elsewhere.find([RUN])

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (set_in("history", "test_loss", to=[0.5]), "its test_loss has 1 values, expected 2"),
            (
                set_in("history", "step_loss", to=[0.5] * 5),
                "its step_loss has 5 values, expected 4",
            ),
            (
                set_in("history", "validation_loss", to=[0.5]),
                "its validation_loss has 1 values, expected 0",
            ),
            (set_in("history", "train_loss", to=["a", "b"]), "could not convert string to float"),
            (set_in("history", "train_loss", to=None), "'float' object is not iterable"),
            (set_in("history", "measured", to=[]), "'list' object has no attribute 'items'"),
            (set_in("history", "measured", to={}), "it measured [], expected slopes"),
            (
                set_in("history", "measured", "slope", to=[[1.0, 2.0]]),
                "its slope has other rows than 3 of 3",
            ),
            (set_in("history", "measured", "slope", to=[[1.0, 2.0], [1.0], [1.0]]), "sequence"),
            (set_in("run", "norm", to="batch"), "it is not what was written, or of another run"),
            (set_in("run", "config", "steps", to=6), "or of another run or other data"),
            (set_in("data", to="other data"), "or of another run or other data"),
            (set_in("history", "test_loss", 0, to=-0.1), "its test_loss is out of range"),
            (set_in("history", "test_loss", 0, to="nan"), "its test_loss is out of range"),
            (set_in("history", "train_loss", 1, to="inf"), "its train_loss is out of range"),
            (set_in("history", "test_accuracy", 0, to=1.1), "its test_accuracy is out of range"),
            (
                set_in("history", "test_accuracy", 1, to=0.5),
                "its test_right does not fit its test_accuracy",
            ),
            (set_in("history", "step_loss", 2, to="nan"), "its step_loss is out of range"),
            (set_in("history", "seconds", to=-1.0), "it took -1.0 seconds"),
            (set_in("history", "seconds", to="nan"), "not JSON compliant"),
            (set_in("history", "seconds", to="inf"), "not JSON compliant"),
            (set_in("history", "diverged_at", to=3), "its train_loss goes on after it diverged"),
            (
                set_in("history", "diverged_at", to="x"),
                "its diverged_at is 'x', expected one of 4 steps",
            ),
            (set_in("history", "diverged_at", to=True), "its diverged_at is True, expected one of"),
            (set_in("history", "diverged_at", to=4), "its diverged_at is 4, expected one of"),
            (set_in("history", "diverged_at", to=-1), "its diverged_at is -1, expected one of"),
            (set_in("history", "test_right", "count", to=14), "it is not what was written"),
            (
                set_in("history", "test_right", "count", to=10**12),
                "it has 16 bits, expected 1000000000000",
            ),
            (set_in("history", "test_right", "count", to=-1), "it has 16 bits, expected -1"),
            (
                set_in("history", "test_right", to={"count": 0, "bits": ""}),
                "its test_right does not fit its test_accuracy",
            ),
        ],
    )
    def test_what_this_run_cannot_have_left_counts_as_nothing_even_with_its_digest(
        self, store, change, said, caplog
    ):
        path = store.path(RUN)
        path.write_text(rewritten(path.read_text(), change))
        assert found(store) is None
        (record,) = caplog.records
        start = f"1 remembered runs in {store.folder} are damaged and are trained anew, such as "
        assert record.getMessage().startswith(f"{start}{path.name}: ")
        assert said in record.getMessage()

    @pytest.mark.parametrize(
        "changes",
        [
            {"test_accuracy": (0.0, 1.0), "test_right": np.ones(15, dtype=np.bool_)},
            {"test_loss": (0.0, 0.0), "train_accuracy": (1.0, 0.0), "seconds": 0.0},
            {
                "validation_loss": (0.5, 0.25),
                "validation_accuracy": (1.0, 0.5),
                "validation_right": np.array([True, False]),
            },
        ],
    )
    def test_greatest_and_least_that_a_run_can_have_left_count(self, store, changes):
        store.keep(RUN, history(**changes))
        assert found(store) == history(**changes)

    def test_run_that_diverged_in_its_first_step_counts(self, store):
        nothing = (math.nan, math.nan)
        names = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
        lost = history(
            **dict.fromkeys(names, nothing),
            step_loss=(math.nan,) * 4,
            measured={"level": np.array([1.0, math.nan, math.nan])},
            test_right=np.zeros(15, dtype=np.bool_),
            diverged_at=0,
        )
        store.keep(RUN, lost)
        assert found(store) == lost

    def test_last_of_three_evaluations_is_that_of_the_bits(self, store):
        run = dataclasses.replace(RUN, config=dataclasses.replace(RUN.config, steps=6))
        curve = (0.5, 0.25, 2 / 3)
        known = history(
            **dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "test_accuracy"), curve),
            step_loss=(0.5,) * 6,
            measured={"level": np.ones(4)},
        )
        store.keep(run, known)
        assert store.find([run]) == {run: known}

    @pytest.mark.parametrize(
        "change",
        [
            set_in("history", "test_loss", 1, to=0.5),
            set_in("history", "step_loss", 3, to=0.5),
            set_in("history", "step_loss", 2, to="nan"),
            set_in("history", "measured", "level", 2, to=0.5),
            set_in("history", "diverged_at", to=1),
            set_in("history", "diverged_at", to=None),
            set_in("history", "test_right", "bits", to="8000"),
        ],
    )
    def test_numbers_from_after_the_step_that_failed_count_as_nothing(self, store, change):
        store.keep(RUN, diverged())
        path = store.path(RUN)
        path.write_text(rewritten(path.read_text(), change))
        assert found(store) is None

    def test_rewritten_file_without_a_change_counts(self, store, caplog):
        caplog.set_level(logging.WARNING)
        path = store.path(RUN)
        path.write_text(rewritten(path.read_text(), lambda _: None))
        assert found(store) == history()
        assert not caplog.records

    def test_folder_in_the_place_of_a_file_counts_as_nothing_and_gives_way(self, store):
        path = store.path(RUN)
        path.unlink()
        (path / "folder").mkdir(parents=True)
        assert found(store) is None
        store.keep(RUN, history())
        assert found(store) == history()

    def test_file_that_may_not_be_read_counts_as_nothing(self, store, monkeypatch):
        def refuse(*_, **__):
            raise PermissionError(13, "Permission denied")

        # Not by taking the right away: root, as which tests may run, has it all the same.
        monkeypatch.setattr(Path, "read_text", refuse)
        assert found(store) is None
