import importlib.metadata
import importlib.util

import pytest

from bn_tutorial.fingerprint import Sources
from bn_tutorial.lab.timing import measured_once
from bn_tutorial.storage import cache_folder

SCRIPT = """
calls = []


def measure():
    calls.append(1)
    return [[1.0, 0.1 + 0.2], [3.0, {last}]]
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A function that imports a script anew, as another build does."""
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "cache"))

    def write(last=4.0):
        path = tmp_path / "script.py"
        path.write_text(SCRIPT.format(last=last))
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
        *(another_node, another_device, other_code),
        *(another_version("numpy"), another_version("torch")),
    ],
)
def test_what_times_depend_on_measures_anew(script, monkeypatch, change):
    measured_once(script().measure)
    change(monkeypatch)
    other = script()
    measured_once(other.measure)
    assert other.calls == [1]


@pytest.mark.parametrize(("old", "new"), [("4.0", "5.0"), ("content", "c"), ("{", "")])
def test_altered_times_are_measured_anew(script, old, new):
    times = measured_once(script().measure)
    (kept,) = cache_folder().glob("timings/*.json")
    kept.write_text(kept.read_text().replace(old, new))
    other = script()
    assert measured_once(other.measure) == times
    assert other.calls == [1]


def test_function_of_no_file_measures_each_time():
    known = {}
    exec("calls = []\ndef measure():\n    calls.append(1)\n    return [[1.0]]", known)
    for _ in range(2):
        assert measured_once(known["measure"]) == [[1.0]]
    assert known["calls"] == [1, 1]
