"""The solution of an exercise can be copied and run: it needs nothing but what it shows."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
CELL = re.compile(
    r"^```\{code-cell\} python\n---\n(?P<options>.*?)^---\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PAGES = [DOCS / "exercises.md", *sorted(DOCS.glob("derivations/*.md"))]
SOLUTIONS = [
    pytest.param(found["code"], id=f"{page.stem}-{number}")
    for page in PAGES
    for number, found in enumerate(
        (cell for cell in CELL.finditer(page.read_text()) if "Solution," in cell["options"]), 1
    )
]


def test_each_page_with_hints_has_solutions_that_run():
    hinted = {page.stem for page in PAGES if ":::{dropdown} Hint\n" in page.read_text()}
    assert {solution.id.partition("-")[0] for solution in SOLUTIONS} == hinted
    assert len(hinted) > 8


@pytest.mark.parametrize("code", SOLUTIONS)
def test_solution_runs_alone(code, capsys):
    exec(compile(code, "solution", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out
