"""The list of the mutants that may survive is of the code as it is."""

import inspect
from importlib import import_module

import pytest
from survivors import Mutant, change, read_list, wrong

MODULES, LISTED = read_list()
ONE = Mutant("bn_tutorial.lab.store", "Store.find", "a = 1 -> a = 2", noticed=False)
SOUND = [Mutant(ONE.module, "f", "", noticed=True)] * 20


@pytest.mark.parametrize("line", LISTED)
def test_listed_mutant_is_of_a_line_that_is_there(line):
    place, _, changed = line.partition(": ")
    function = place_in_package(place)
    source = " ".join(inspect.getsource(function).split())
    old = changed.partition(" -> ")[0]
    assert " ".join(old.split()) in source


def place_in_package(name):
    """The function of this name, which is at the top of a module or in a class."""
    parts = name.split(".")
    for count in (len(parts) - 1, len(parts) - 2):
        try:
            found = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = inspect.getattr_static(found, part)
        return inspect.unwrap(getattr(found, "__func__", found))
    raise AssertionError(f"there is no {name}")


def test_listed_mutants_are_of_modules_that_were_gone_through():
    assert {line.partition(": ")[0] for line in LISTED if not of_module(line)} == set()


def of_module(line):
    return any(line.startswith(f"{module}.") for module in MODULES)


def test_each_reason_is_a_sentence():
    for why in LISTED.values():
        assert why[0].isupper(), why
        assert why.endswith("."), why


def test_survivor_is_wrong_unless_it_is_listed():
    assert wrong([ONE, *SOUND], {ONE.module}, {}) == [f"It survives, and is not listed: {ONE}"]
    assert wrong([ONE, *SOUND], {ONE.module}, {str(ONE): "It is equal."}) == []
    assert wrong([ONE, *SOUND], set(), {}) == []  # nobody has gone through them yet


def test_listed_mutant_that_was_tried_and_noticed_is_wrong():
    listed = {str(ONE): "It is equal."}
    noticed = Mutant(ONE.module, ONE.function, "", noticed=True)
    assert wrong([noticed], {ONE.module}, listed) == [f"It is listed, and does not survive: {ONE}"]
    assert wrong(SOUND, {ONE.module}, listed) == []  # its function was not tried


def test_too_many_survivors_are_wrong_even_if_they_are_listed():
    listed = {str(ONE): "It is equal."}
    assert wrong([ONE, *SOUND[:8]], {ONE.module}, listed) == ["8 of 9 are noticed, expected 90%"]
    equations = [Mutant("bn_tutorial.scratch.layers", "f", "", noticed=True)] * 30
    other = Mutant("bn_tutorial.scratch.layers", "g", "a -> b", noticed=False)
    assert wrong([other, *equations], set(), {}) == ["30 of 31 are noticed, expected 97%"]


def test_mutant_is_known_by_the_lines_that_it_changes():
    diff = "--- a.py\n+++ a.py\n@@ -1,4 +1,4 @@\n def f():\n-    a = (1,\n-      2)\n+    a = 3\n"
    assert change(diff) == "a = (1, 2) -> a = 3"
