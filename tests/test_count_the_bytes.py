"""How *Count the bytes* measures, with a clock of ours in place of a machine that may be busy."""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).parents[1] / "tutorial_src/01_by_hand/plot_06_count_the_bytes.py"
PASSES = [(code, way) for code in ("ours", "PyTorch") for way in ("forward", "backward")]


@pytest.fixture
def script():
    """What the script defines until it measures; what it needs of the lab is left out."""
    namespace = {"table": lambda *_, **__: "", "print": lambda *_: None}
    for node in ast.parse(SCRIPT.read_text(encoding="utf-8")).body:
        if "measured_once(" in ast.unparse(node):
            break
        if not (isinstance(node, ast.ImportFrom) and node.module.startswith("bn_tutorial.lab")):
            exec(compile(ast.Module([node], []), SCRIPT.name, "exec"), namespace)
    return namespace


class Machine:
    """Its copy takes two seconds and each pass three times its bound, when nothing disturbs it."""

    def __init__(self, script, slowed=lambda _what, _call: 1.0):
        self.now, self.calls, self.slowed = 0.0, [], slowed
        self.bound = script["bound"]
        script["time"] = SimpleNamespace(process_time=lambda: self.now)

    def does(self, what, seconds):
        def call():
            self.calls.append(what)
            self.now += seconds * self.slowed(what, self.calls.count(what))

        return call

    def measure(self, script):
        passes = {key: self.does(key, 3 * self.bound[key[1]]) for key in PASSES}
        return script["in_moves"](self.does("copy", 2), passes)

    @property
    def right(self):
        return {(code, way): 3 * self.bound[way] for code, way in PASSES}


def test_time_is_in_moves_of_one_array_where_nothing_disturbs(script):
    machine = Machine(script)
    assert machine.measure(script) == machine.right
    assert len(machine.calls) == script["rounds"] * (1 + len(PASSES))


def test_copy_takes_turns_with_the_passes(script):
    machine = Machine(script)
    machine.measure(script)
    assert machine.calls[: 2 * (1 + len(PASSES))] == 2 * ["copy", *PASSES]


def test_disturbance_that_spares_one_round_does_no_harm(script):
    machine = Machine(script, lambda _, call: 1.0 if call == 4 else 10.0)
    assert machine.measure(script) == machine.right


def test_times_below_the_bound_are_measured_again(script):
    """The published fault: the copies were slow, so the passes seemed faster than is possible."""
    rounds = script["rounds"]
    machine = Machine(script, lambda what, call: 7.0 if what == "copy" and call <= rounds else 1.0)
    assert machine.measure(script) == machine.right
    assert machine.calls.count("copy") == 2 * rounds


def test_measuring_ends_where_copies_stay_slow(script):
    machine = Machine(script, lambda what, _: 7.0 if what == "copy" else 1.0)
    machine.measure(script)
    assert machine.calls.count("copy") == script["attempts"] * script["rounds"]
