"""The pages of *Find the fault*: every symptom has its section, and every section its parts."""

import re

import pytest
import torch
from cases_of_trouble import CASES, DOCS, LABEL, SECTIONS, code_of, plain
from torch import nn
from torch.func import vmap

ENTRANCE = (DOCS / "questions.md").read_text(encoding="utf-8")
CELL = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

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
def test_wrong_advice_is_named_as_such(label):
    _, section = SECTIONS[label]
    conventions = {"fault-running-variance", "fault-bessel", "fault-half-buffers"}
    assert "**Often advised, and wrong.**" in section or label in conventions


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
