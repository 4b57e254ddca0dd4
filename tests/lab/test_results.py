import dataclasses
import importlib.metadata
import importlib.util

import pytest

from bn_tutorial.data import loading
from bn_tutorial.fingerprint import Sources
from bn_tutorial.lab.results import measured_once
from bn_tutorial.storage import cache_folder

SCRIPT = """
from bn_tutorial.lab.results import remembered

calls = []
scale = {last}


@remembered
def scaled(value, by=2):
    calls.append(value)
    return {{"all": [scale * value * by], value: None}}


@remembered
def negated(value):
    return -value


def measure():
    calls.append(1)
    return [[1.0, 0.1 + 0.2], [3.0, {last}]]
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A function that imports a script anew, as another build does."""
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "cache"))

    def write(last=4.0, words=""):
        path = tmp_path / "script.py"
        path.write_text(SCRIPT.format(last=last) + words)
        spec = importlib.util.spec_from_file_location("script", path)
        module = importlib.util.module_from_spec(spec)
        exec(compile(path.read_text(), path, "exec"), vars(module))
        return module

    return write


def test_times_are_measured_once(script):
    first = script()
    assert measured_once(first.measure) == [[1.0, 0.1 + 0.2], [3.0, 4.0]]
    second = script()
    assert measured_once(second.measure) == measured_once(first.measure)
    assert (first.calls, second.calls) == ([1], [])


def test_edited_script_measures_anew(script):
    measured_once(script().measure)
    assert measured_once(script(last=5.0).measure)[1] == [3.0, 5.0]


def another_node(monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "another")


def another_machine(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "another")


def another_number_of_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1000)


def another_device(monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_DEVICE", "meta")


def other_code(monkeypatch):
    monkeypatch.setattr(Sources, "of_script", lambda _self, text: f"reached by {text}")


def another_version(library):
    version = importlib.metadata.version

    def change(monkeypatch):
        monkeypatch.setattr(
            "importlib.metadata.version", lambda name: "0" if name == library else version(name)
        )

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(another_node, another_machine, another_number_of_cores, another_device, other_code),
        *(another_version("numpy"), another_version("torch")),
    ],
)
def test_what_times_depend_on_measures_anew(script, monkeypatch, change):
    measured_once(script().measure)
    change(monkeypatch)
    other = script()
    measured_once(other.measure)
    assert other.calls == [1]


@pytest.mark.parametrize(("old", "new"), [(b"?", b"@"), (b"\n", b""), (b"", b"x")])
def test_altered_times_are_measured_anew(script, caplog, old, new):
    times = measured_once(script().measure)
    (kept,) = cache_folder().glob("results/*.pickle")
    assert old in kept.read_bytes()
    kept.write_bytes(kept.read_bytes().replace(old, new, 1))
    other = script()
    assert measured_once(other.measure) == times
    assert other.calls == [1]
    assert f"{kept} is damaged" in caplog.text


def test_function_of_no_file_measures_each_time():
    known = {}
    exec("calls = []\ndef measure():\n    calls.append(1)\n    return [[1.0]]", known)
    for _ in range(2):
        assert measured_once(known["measure"]) == [[1.0]]
    assert known["calls"] == [1, 1]


def test_result_is_computed_once_for_each_function_and_set_of_arguments(script):
    first, second = script(), script()
    for module in (first, second):
        assert module.scaled(1) == {"all": [8.0], 1: None}
        assert module.scaled(2) == {"all": [16.0], 2: None}
        assert module.scaled(2, by=1) == {"all": [8.0], 2: None}
        assert module.negated(1) == -1
    assert (first.calls, second.calls) == ([1, 2, 2], [])


def test_words_of_a_script_may_change_but_not_its_statements(script):
    script().scaled(1)
    reworded = script(words="# other words")
    reworded.scaled(1)
    edited = script(last=5.0)
    assert edited.scaled(1)["all"] == [10.0]
    assert (reworded.calls, edited.calls) == ([], [1])


def test_other_data_are_computed_with_anew(script, monkeypatch):
    script().scaled(1)
    other = dataclasses.replace(loading.load("digits"), digest="another")
    monkeypatch.setattr(loading, "load", lambda: other)
    module = script()
    module.scaled(1)
    assert module.calls == [1]
