"""The commands of the project: an audit leaves no pinned version out."""

import importlib.util
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def commands(monkeypatch):
    """The noxfile, which sets how signals end it: here they go on as before."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    spec = importlib.util.spec_from_file_location("commands", ROOT / "noxfile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Session:
    """One that notes which versions pip-audit is to ask for, call by call."""

    def __init__(self, folder):
        self.folder, self.asked = folder, []

    def install(self, *_):
        pass

    def create_tmp(self):
        return str(self.folder)

    def run(self, *words):
        assert "--strict" in words
        self.asked.append(Path(words[-1]).read_text().splitlines())


def test_an_audit_asks_for_every_pin_of_every_python_and_for_a_package_once_a_call(
    commands, tmp_path
):
    session = Session(tmp_path)
    commands.audit(session)
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    assert any(";" in pin for pin in pinned)  # those of some Pythons or systems
    asked = [pin for call in session.asked for pin in call]
    assert sorted(asked) == sorted(pin.split(" ;")[0] for pin in pinned)
    for call in session.asked:
        assert len({pin.split("==")[0] for pin in call}) == len(call)
