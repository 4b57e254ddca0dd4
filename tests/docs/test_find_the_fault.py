"""The pages of *Find the fault*: every symptom has its section, and every section its parts."""

import re

import field_cases
import pytest
import torch
from cases_of_trouble import CASES, DOCS, LABEL, SECTIONS, code_of, plain
from torch import nn
from torch.func import vmap

ENTRANCE = (DOCS / "questions.md").read_text(encoding="utf-8")
CELL = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LIMITS = re.compile(r"^(?:Limits:|\*\*Limits\.\*\*) \S", re.MULTILINE)
# A derivation or a measurement, by its page or by a label in one.
EXPLAINED = re.compile(r"\]\((?:(?:\.\./|/)(?:derivations|gallery)/|momentum-elsewhere\))")
MESSAGE = re.compile(r"\[((?:`[^`]+`(?:, )?)+)\]\((fault-[\w-]+)\)")
QUERIES = DOCS.parent / "tests" / "browser" / "queries.txt"

# What needs no line of limits, and no link, and why.
LIMITS_ELSEWHERE = {
    "fault-batches-not-random": "the remedy goes on to samples that cannot be mixed",
    "fault-depends-on-the-batch": "the one model that must not be in eval mode is named at its end",
}
UNEXPLAINED = {
    "fault-mixed-dtype": "which types go together is PyTorch's decision: nothing to derive",
    "fault-recurrent": "the weights of the steps, all that it needs, are in its own text",
}

# The numbered reports; the tool that examines a model is asked about those in field_cases.py.
NUMBERS = "1 2 4 5 7 9 11 13 15 16 17 19 22 23 24 26 27 29 30 32 35 36 38 39 40"
FIELD = {int(number) for number in NUMBERS.split()}

# What the tool that examines a model calls its findings by.
FINDINGS = (
    *("stale-statistics", "never-gathered", "nan-statistics", "swapped-momentum", "eval-worse"),
    *("contradicting-flags", "frozen-but-moving", "small-batches", "batches-not-random"),
    *("dead-channels", "bias-without-effect", "dropout-in-front", "several-distributions"),
    *("averaged-weights", "gamma-zero"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.met)
def test_symptom_met_in_public_has_a_section_that_shows_fault_and_remedy(case):
    """That they do what they are said to do is run in tests/examine/test_every_case.py."""
    _, own = code_of(case.section)
    assert [own.count(piece) for piece, _ in (case.fault, case.remedy)] == [1, 1]


def test_each_numbered_report_has_one_case():
    numbers = [case.field for case in CASES if case.field is not None]
    assert sorted(numbers) == sorted(FIELD)
    examined = [re.match(r"f(\d\d)_", name) for name in field_cases.CASES]
    assert {int(found[1]) for found in examined if found} <= FIELD


def test_every_section_answers_a_symptom_met_in_public():
    answered = {SECTIONS[case.section] for case in CASES}
    assert [label for label, section in SECTIONS.items() if section not in answered] == []


@pytest.mark.parametrize("finding", FINDINGS)
def test_finding_has_a_section(finding):
    assert f"fault-{finding}" in SECTIONS


def test_the_entrance_leads_to_every_section():
    linked = set(re.findall(r"\]\((fault-[\w-]+)\)", ENTRANCE))
    own = set(LABEL.findall(ENTRANCE))
    assert linked - own <= {*SECTIONS}
    by_section = {}  # which may have several labels
    for label, section in SECTIONS.items():
        by_section.setdefault(section, set()).add(label)
    assert [labels for labels in by_section.values() if not labels & linked] == []


def test_old_addresses_still_lead_somewhere():
    assert {"worse-in-eval-mode", "momentum-direction", "freeze"} <= {
        *re.findall(r"^\(([\w-]+)\)=$", ENTRANCE, re.MULTILINE)
    }


@pytest.mark.parametrize("label", SECTIONS)
def test_section_has_remedy_demonstration_cause_and_the_wrong_advice(label):
    _, section = SECTIONS[label]
    parts = [section.find(f"**{name}**") for name in ("In short.", "Why.")]
    assert 0 < parts[0] < parts[1]
    cells = re.findall(r"^```\{code-cell\}.*?^```$", section, re.MULTILINE | re.DOTALL)
    assert any("assert " in cell for cell in cells)
    assert "import" in cells[0] or label in {"fault-export-training", "fault-stale-statistics"}
    words = len(CELL.sub("", section).split())
    assert words < 270, words


@pytest.mark.parametrize("label", SECTIONS)
def test_section_says_where_its_remedy_ends(label):
    assert LIMITS.search(SECTIONS[label][1]) or label in LIMITS_ELSEWHERE


@pytest.mark.parametrize("label", SECTIONS)
def test_section_leads_to_a_derivation_or_a_measurement(label):
    assert EXPLAINED.search(SECTIONS[label][1]) or label in UNEXPLAINED


def test_exceptions_are_sections_and_few():
    assert {*LIMITS_ELSEWHERE, *UNEXPLAINED} <= {*SECTIONS}
    assert len(LIMITS_ELSEWHERE) + len(UNEXPLAINED) <= 5


WITH_MESSAGES = re.search(r"^\(fault-messages\)=$(.*?)^\(", ENTRANCE, re.MULTILINE | re.DOTALL)[1]
MESSAGES_AT_THE_ENTRANCE = [
    (message, label)
    for several, label in MESSAGE.findall(WITH_MESSAGES)
    for message in re.findall(r"`([^`]+)`", several)
]


def test_each_line_of_messages_is_read():
    lines = [line for line in WITH_MESSAGES.splitlines() if line.startswith("- ")]
    assert len(lines) > 15
    assert [line for line in lines if not MESSAGE.search(line)] == []


@pytest.mark.parametrize(("message", "label"), MESSAGES_AT_THE_ENTRANCE)
def test_message_at_the_entrance_is_asked_of_the_search(message, label):
    """Whole, as one pastes it; what the search answers is tried in tests/browser."""
    page, _ = SECTIONS[label]
    lines = QUERIES.read_text(encoding="utf-8").splitlines()
    rows = [line.split(" | ") for line in lines if line and not line.startswith("#")]
    answers = " ".join(places for query, places in rows if message in query)
    assert f"faults/{page}#{label}" in answers.split()


@pytest.mark.parametrize("label", SECTIONS)
def test_wrong_advice_is_named_as_such(label):
    _, section = SECTIONS[label]
    conventions = {"fault-running-variance", "fault-bessel", "fault-half-buffers"}
    assert "**Often advised, and wrong.**" in section or label in conventions


@pytest.mark.parametrize(
    "label",
    [
        *("fault-mixed-dtype", "fault-skipped-step", "fault-compile", "fault-unfreezing"),
        *("fault-fold-quantize", "fault-onnx-momentum", "fault-export-training", "fault-flax"),
    ],
)
def test_wrong_advice_that_nothing_before_it_refutes_is_tried(label):
    advice = SECTIONS[label][1].partition("**Often advised, and wrong.**")[2]
    assert any("assert " in cell for cell in CELL.findall(advice))


MESSAGES = {
    "fault-one-value": lambda: nn.BatchNorm2d(3)(torch.randn(1, 3, 1, 1)),
    "fault-one-spatial-element": lambda: nn.InstanceNorm2d(3)(torch.randn(32, 3, 1, 1)),
    "fault-layernorm-nchw": lambda: nn.LayerNorm(6)(torch.randn(2, 6, 4, 4)),
    "fault-channels": lambda: nn.BatchNorm2d(16)(torch.randn(2, 10, 4, 4)),
    "fault-mixed-dtype": lambda: nn.BatchNorm1d(4).half()(torch.randn(3, 4)),
    "fault-eps-refused": lambda: nn.BatchNorm1d(4, eps=0.0)(torch.randn(3, 4)),
    "fault-averaged-weights": lambda: torch.tensor(1).add_(torch.tensor(1.0), alpha=0.1),
    "fault-vmap": lambda: vmap(nn.BatchNorm1d(3))(torch.randn(2, 4, 3)),
}


@pytest.mark.parametrize("label", MESSAGES)
def test_heading_is_what_pytorch_says(label):
    with pytest.raises((RuntimeError, ValueError)) as error:
        MESSAGES[label]()
    message = plain(str(error.value).splitlines()[0]).rstrip(".")
    assert message in plain(SECTIONS[label][1].splitlines()[0])
