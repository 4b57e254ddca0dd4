"""Every marked line has its equation on a page, and the reverse; every identity has its check.

Labels ``eq-...`` are equations that the package computes, labels ``id-...`` identities that a page
checks itself.
"""

import re
from pathlib import Path

import pytest
from marked_code import PACKAGE, marked_lines

ROOT = Path(__file__).parents[1]

MARKERS = [
    label
    for module in sorted(PACKAGE.rglob("*.py"))
    for label in re.findall(r"^ *# \[(eq-[\w-]+)\]$", module.read_text(), re.MULTILINE)
]
PLAIN = [
    label
    for module in sorted(PACKAGE.rglob("*.py"))
    for label in re.findall(r"^ *# \[read (eq-[\w-]+)\]$", module.read_text(), re.MULTILINE)
]
DOCS = ROOT / "docs"
TEXTS = {
    page.relative_to(DOCS).with_suffix("").as_posix(): page.read_text()
    for page in sorted(DOCS.glob("**/*.md"))
}
PAGES = "\n".join(TEXTS.values())
LABELS = re.findall(r"^\$\$ \((eq-[\w-]+)\)$", PAGES, re.MULTILINE)
SHOWN = re.findall(r"^```\{equation-code\} (eq-[\w-]+)$", PAGES, re.MULTILINE)


def cited_in_code():
    """The equations that docstrings and scripts cite."""
    sources = [*PACKAGE.rglob("*.py"), *(ROOT / "tutorial_src").glob("*/*.py")]
    text = "\n".join(source.read_text() for source in sources)
    return set(re.findall(r":eq:`(eq-[\w-]+)`", text))


def identities(text):
    """The identities that a page numbers."""
    return re.findall(r"^\$\$ \((id-[\w-]+)\)$", text, re.MULTILINE)


def checked(text):
    """The identities that a comment names in a cell of the page that makes a check."""
    cells = re.findall(r"^```\{code-cell\}.*?^```$", text, re.MULTILINE | re.DOTALL)
    comments = [
        comment
        for cell in cells
        if re.search(r"\bchecks\.(holds|is_zero)\(", cell)
        for comment in re.findall(r"# (.*)$", cell, re.MULTILINE)
    ]
    return set(re.findall(r"\bid-[\w-]+", "\n".join(comments)))


NUMBERED = {name: labels for name, text in TEXTS.items() if (labels := identities(text))}


def test_there_are_equations():
    assert len(MARKERS) > 15
    assert NUMBERED


def test_each_marker_and_each_label_is_unique():
    assert len(set(MARKERS)) == len(MARKERS)
    assert len(set(LABELS)) == len(LABELS)
    assert len(set(SHOWN)) == len(SHOWN)


def test_each_marked_line_has_an_equation_that_shows_it_and_the_reverse():
    assert set(MARKERS) == set(LABELS)
    assert set(MARKERS) == set(SHOWN)


def test_each_plain_line_is_of_one_equation_that_the_package_computes():
    assert len(set(PLAIN)) == len(PLAIN) > 15
    assert set(PLAIN) <= set(MARKERS)


@pytest.mark.parametrize("label", PLAIN)
def test_plain_lines_are_as_few_as_the_equations_signs(label):
    _, _, code = marked_lines(f"read {label}", PACKAGE)
    (equation,) = re.findall(rf"^\$\$\n([^$]+)\n\$\$ \({label}\)$", PAGES, re.MULTILINE)
    parts = max(1, equation.count(r"\qquad") + 1)
    assert len(code.splitlines()) <= parts


def test_each_identity_has_one_number():
    labels = [label for page in NUMBERED.values() for label in page]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("page", NUMBERED)
def test_each_identity_is_checked_on_its_page_and_no_check_names_another(page):
    assert checked(TEXTS[page]) == set(NUMBERED[page])


def test_identity_without_a_check_is_found():
    identity = "$$\na = b\n$$ (id-a)\n"
    cell = "```{code-cell} python\n%s\n```\n"
    assert identities(identity) == ["id-a"]
    assert checked(identity + cell % "# id-a\nprint(checks.holds('a', 0, broken=b))") == {"id-a"}
    assert checked(identity + cell % "# id-a\nprint('a')") == set()
    assert checked(identity + cell % "checks.holds('id-a', 0, broken=b)") == set()
    assert checked(identity + "Text, # id-a, checks.holds(\n") == set()


def test_each_equation_that_code_cites_exists():
    assert cited_in_code() <= set(LABELS)


def test_code_follows_its_equation_directly():
    for label in LABELS:
        assert f"$$ ({label})\n\n```{{equation-code}} {label}\n" in PAGES, label


@pytest.mark.parametrize("label", MARKERS)
def test_marker_stands_above_a_statement(label):
    _, _, code = marked_lines(label, PACKAGE)
    assert " = " in code
