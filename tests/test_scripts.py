"""Every script of the gallery keeps to the form that readers rely on."""

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "tutorial_src"
SCRIPTS = {
    path.relative_to(FOLDER).with_suffix("").as_posix(): path
    for path in sorted(FOLDER.glob("*/*.py"))
}

each_script = pytest.mark.parametrize("name", SCRIPTS)


def parsed(name):
    return ast.parse(SCRIPTS[name].read_text())


def calls(tree, function):
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == function
    ]


def prose(name):
    """The words that a reader sees: docstring and text cells, without code, roles and formulas."""
    source = SCRIPTS[name].read_text()
    docstring = ast.get_docstring(parsed(name))
    cells = re.findall(r"^# %%\n((?:#.*\n)+)", source, re.MULTILINE)
    text = docstring + "\n" + "\n".join(re.sub(r"^# ?", "", cell, flags=re.M) for cell in cells)
    text = re.sub(r"^\.\. math::.*$", "", text, flags=re.MULTILINE)
    return re.sub(r":[\w:]+:`[^`]*`|``[^`]*``", "", text)


def test_there_are_scripts_in_three_sections():
    assert len({name.split("/")[0] for name in SCRIPTS}) == 3
    for section in FOLDER.glob("[0-9]*"):
        assert (section / "GALLERY_HEADER.rst").is_file()


@each_script
def test_script_is_named_by_its_order_and_a_verb(name):
    assert re.fullmatch(r"\d\d_[a-z_]+/plot_\d\d_[a-z_]+", name)


@each_script
def test_docstring_has_title_question_and_what_is_varied_and_held_fixed(name):
    lines = ast.get_docstring(parsed(name)).splitlines()
    assert set(lines[1]) == {"="}
    assert len(lines[1]) >= len(lines[0])
    text = "\n".join(lines)
    for heading in ("**The question.**", "**Varied:**", "**Held fixed:**"):
        assert heading in text


@each_script
def test_script_is_short(name):
    lines = [line for line in SCRIPTS[name].read_text().splitlines() if line.strip(" #%")]
    assert 60 <= len(lines) <= 180


@each_script
def test_prose_carries_no_digits(name):
    assert re.findall(r".*\d.*", prose(name)) == []


@each_script
def test_every_figure_is_described(name):
    figures = calls(parsed(name), "new_figure")
    assert figures
    for call in figures:
        assert "alt" in {keyword.arg for keyword in call.keywords}
    assert "plt." not in SCRIPTS[name].read_text()


@each_script
def test_script_records_under_its_own_name_then_checks_at_module_level(name):
    tree = parsed(name)
    record = calls(tree, "record")
    assert len(record) == 1
    page = record[0].args[0]
    if isinstance(page, ast.Name):  # a constant of the script
        page = next(
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and node.targets[0].id == page.id
        )
    assert page.value == name
    last = tree.body[-1]
    assert isinstance(last, ast.Assert) or (
        isinstance(last, ast.For) and any(isinstance(n, ast.Assert) for n in ast.walk(last))
    )
    assert last.lineno > record[0].lineno


@each_script
def test_script_ends_with_what_to_notice_and_a_link(name):
    ending = SCRIPTS[name].read_text().split("# %%\n")[-1]
    assert ending.startswith("# **What to notice.**")
    assert ":doc:`" in ending
