"""The table of popular statements: each has an answer, what it rests on, and a place to look."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "often_said.md").read_text(encoding="utf-8")
LINK = re.compile(r"\[[^]]+\]\(([^)]+)\)")
ROLE = re.compile(r"\{\w+\}`[^`]+`")
KINDS = ("*Measured", "*By derivation", "*By definition", "*Not measurable here, because*")


def rows(page):
    """Return the cells of each statement's row: said, what is so, where."""
    lines = [line for line in page.splitlines() if line.startswith('| "')]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


ROWS = rows(PAGE)


def what_is_wrong(said, so, where):
    """Return what a row lacks."""
    answered = [kind for kind in KINDS if kind in so]
    found = []
    if not answered or not so.startswith(KINDS):
        found.append("what it rests on")
    if not LINK.search(where) and "*Not measurable here, because*" not in so:
        found.append("where to look")
    if ("*Measured" in so) != bool(ROLE.search(so)):
        found.append("a measurement where it says so, and only there")
    if len(ROLE.sub("", f"{said} {so}").split()) > 30:
        found.append("brevity")
    return found


def test_there_are_statements_of_each_kind():
    assert len(ROWS) >= 20
    assert all(any(kind in so for _, so, _ in ROWS) for kind in KINDS)
    assert len({said for said, _, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_statement_has_an_answer_its_ground_and_a_place_in_few_words(row):
    assert len(row) == 3
    assert what_is_wrong(*row) == []


@pytest.mark.parametrize(
    ("row", "lack"),
    [
        (('"A."', "It is so.", "[x](y)"), "what it rests on"),
        (('"A."', "*By definition* yes.", "there"), "where to look"),
        (('"A."', "*Measured:* yes.", "[x](y)"), "a measurement where it says so, and only there"),
        (('"A."', "*By derivation* " + 30 * "so ", "[x](y)"), "brevity"),
    ],
)
def test_row_that_lacks_something_is_found(row, lack):
    assert what_is_wrong(*row) == [lack]


def test_row_that_cannot_be_measured_needs_no_place():
    assert what_is_wrong('"A."', "*Not measurable here, because* it is large.", "") == []


def test_no_number_of_a_measurement_is_typed():
    """Settings, definitions and the claims themselves are numbers, too: these are all of them."""
    plain = [re.sub(r"\$[^$]*\$", "", ROLE.sub("", so)) for _, so, _ in ROWS]
    numbers = {number for so in plain for number in re.findall(r"\d[\d,.]*\d|\d", so)}
    assert numbers == {"0", "1", "128", "512", "90"}


def test_links_lead_somewhere():
    labels = {
        label
        for path in DOCS.rglob("*.md")
        if not path.is_relative_to(DOCS / "_build")
        for label in re.findall(r"^\(([\w-]+)\)=$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    for target in LINK.findall(PAGE):
        if target.startswith("gallery/"):
            script = DOCS.parent / "tutorial_src" / f"{target.removeprefix('gallery/')}.py"
            assert script.is_file(), target
        else:
            assert (DOCS / target).is_file() or target in labels, target


def test_the_page_is_reached_from_the_explanations():
    assert "](often_said.md)" in (DOCS / "why.md").read_text(encoding="utf-8")
    assert "often_said" in (DOCS / "index.md").read_text(encoding="utf-8").split("toctree")[1]
