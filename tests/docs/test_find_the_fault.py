"""The pages of *Find the fault*: every symptom has its section, and every section its parts."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import vmap

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "faults").glob("*.md")}
ENTRANCE = (DOCS / "questions.md").read_text(encoding="utf-8")
CELL = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LABEL = re.compile(r"^\((fault-[\w-]+)\)=$", re.MULTILINE)


def sections():
    """The text of each section, from its heading on, by each of its labels."""
    found = {}
    for name, text in PAGES.items():
        for labels, section in re.findall(
            r"((?:^\(fault-[\w-]+\)=\n)+)(## .*?)(?=^\(fault-|\Z)", text, re.MULTILINE | re.DOTALL
        ):
            for label in LABEL.findall(labels):
                assert label not in found, label
                found[label] = name, section
    return found


SECTIONS = sections()

# What was met in public, and the section that has to answer it.
CASES = {
    "loss 0.03 in training, huge in validation, on the same images": "fault-eval-worse",
    "pix2pix good in train mode, blurred in eval mode": "fault-batch-of-one",
    "gradient of an eval-mode output wrong after a batch in train mode": "fault-eval-gradient",
    "teacher under no_grad still drifts": "fault-no-grad-is-not-eval",
    "Keras trainable=False": "fault-keras-trainable",
    "one value per channel behind a pooling": "fault-one-value",
    "instance norm on one pixel, in eval mode too": "fault-one-spatial-element",
    "layer norm of channels refuses an image": "fault-layernorm-nchw",
    "eps 1e-12 is NaN in half precision": "fault-eps-underflow",
    "small inputs are not brought to variance one": "fault-eps",
    "eps of zero refused": "fault-eps-refused",
    "RMSNorm's default eps, type and order of casts": "fault-rmsnorm",
    "SyncBatchNorm on a CPU": "fault-sync-cpu",
    "constant channel gives plus or minus one": "fault-constant-channel",
    "gradient penalty with batch norm in the critic": "fault-gradient-penalty",
    "accuracy lost after folding and quantizing": "fault-fold-quantize",
    "ONNX momentum 1.0, training_mode": "fault-onnx-momentum",
    "averaging states: Float to Long": "fault-averaged-weights",
    "keys of instance norm and of the counter": "fault-missing-keys",
    "padding changes the output": "fault-padding",
    "contrastive loss suspiciously low": "fault-contrastive",
    "batch norm in a recurrent cell": "fault-recurrent",
    "source and target domain, one batch or two": "fault-domain",
    "Flax batch_stats immutable, or dropped": "fault-flax",
    "seventh digit changes with the batch size": "fault-seventh-digit",
    "statistics differ from rank to rank": "fault-ranks-differ",
    "SyncBatchNorm waits for ever, or counts wrongly": "fault-sync-counts",
    "two forwards in DDP": "fault-two-forwards",
    "real and fake in separate batches": "fault-real-and-fake",
    "attack in train mode": "fault-adversarial",
    "momentum=0, yet the batch normalizes": "fault-swapped-momentum",
    "MXNet's fix_gamma, Caffe's third blob": "fault-mxnet-caffe",
    "compile fails with momentum=None": "fault-compile",
    "own layer off by 2 %": "fault-own-layer",
    "target network without statistics": "fault-target-network",
    "folded layer differs": "fault-fold-differs",
}

# What the tool that examines a model calls its findings by.
FINDINGS = (
    *("stale-statistics", "never-gathered", "nan-statistics", "swapped-momentum", "eval-worse"),
    *("contradicting-flags", "frozen-but-moving", "small-batches", "batches-not-random"),
    *("dead-channels", "bias-without-effect", "dropout-in-front", "several-distributions"),
    *("averaged-weights", "gamma-zero"),
)


@pytest.mark.parametrize("case", CASES)
def test_symptom_met_in_public_has_a_section(case):
    assert CASES[case] in SECTIONS


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


def plain(text):
    """A message without its numbers, which are those of one case."""
    return re.sub(r"[\d*]+(, [\d*]+)*", "#", text)


@pytest.mark.parametrize("label", MESSAGES)
def test_heading_is_what_pytorch_says(label):
    with pytest.raises((RuntimeError, ValueError)) as error:
        MESSAGES[label]()
    message = plain(str(error.value).splitlines()[0]).rstrip(".")
    assert message in plain(SECTIONS[label][1].splitlines()[0])
