"""Every section of *Find the fault* runs by itself, and shows its fault and its remedy.

A section's code is run three times, each in a namespace of its own: as it stands, with the fault
taken out, and with the remedy taken out. The first time all its assertions hold; the others, one
does not, or the code fails with the very message that a section is headed by.
"""

from __future__ import annotations

import traceback

import pytest
from cases_of_trouble import CASES, SECTIONS, code_of, plain

HEADINGS = plain("\n".join(section.splitlines()[0] for _, section in SECTIONS.values()))
# As when the site is built, where what a library warns of stops no page.
pytestmark = pytest.mark.filterwarnings("ignore")


def run(label, *without):
    """Run a section, after the cells that its page shares, perhaps with a piece taken out."""
    shared, own = code_of(label)
    if without:
        piece, instead = without
        assert own.count(piece) == 1, piece
        own = own.replace(piece, instead)
    names = {"__name__": "__main__"}  # other processes are sent the functions themselves
    try:
        for code in (shared, own):
            exec(compile(code, label, "exec"), names)
    finally:
        names.clear()  # a folder of its own goes now, not in the midst of another test


def fails_as_it_should(label, *without):
    """Whether an assertion fails, or an error is raised that a section is headed by."""
    try:
        run(label, *without)
    except AssertionError as error:
        return traceback.extract_tb(error.__traceback__)[-1].filename == label  # no library's
    except (RuntimeError, ValueError) as error:
        lines = [plain(line.strip().rstrip(".")) for line in str(error).splitlines()]
        return any(line and line in HEADINGS for line in lines)
    return False


@pytest.mark.parametrize("label", dict.fromkeys(case.section for case in CASES))
def test_section_runs_by_itself(label):
    run(label)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.met)
def test_symptom_is_gone_without_the_fault(case):
    assert fails_as_it_should(case.section, *case.fault)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.met)
def test_symptom_stays_without_the_remedy(case):
    assert fails_as_it_should(case.section, *case.remedy)
