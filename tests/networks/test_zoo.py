from pathlib import Path

import pytest
import torch
from torch import nn

from bn_tutorial.networks import zoo

PAGE = Path(__file__).parents[2] / "docs/derivations/zoo.md"
BY_NAME = {norm.name: norm for norm in zoo.ZOO}


@pytest.mark.parametrize("name", BY_NAME)
def test_page_gives_the_formula_and_the_code_of_each(name):
    norm = BY_NAME[name]
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith(f"| {name} ")]
    assert any(row.endswith(f"| ${norm.formula}$ | `{norm.code}` |") for row in rows)


@pytest.mark.parametrize("name", BY_NAME)
def test_line_of_code_computes_what_the_layer_does(name):
    norm = BY_NAME[name]
    torch.manual_seed(0)
    x = torch.randn(zoo.SAMPLES, zoo.CHANNELS, zoo.POSITIONS, dtype=torch.float64)
    linear = nn.Conv1d(zoo.CHANNELS, zoo.CHANNELS, 1, bias=False).double()
    w, z = linear.weight.detach()[:, :, 0].clone(), linear(x).detach()
    expected = norm.make(linear).double().train()(x).detach()

    def group_std(z):
        parts = z.view(len(z), 2, -1)
        std = (parts.var(2, correction=0) + zoo.EPS).sqrt()
        return std.repeat_interleave(zoo.CHANNELS // 2, 1).unsqueeze(2)

    one = torch.tensor(1.0, dtype=torch.float64)
    names = {
        "torch": torch,
        "nn": nn,
        "F": nn.functional,
        "z": z,
        "x": x,
        "eps": zoo.EPS,
        "alpha": one / 2,
        "s": 0 * one if "erf" in norm.code else one,
        "v": one,
        "C": zoo.CHANNELS,
        "n": zoo.CHANNELS,
        "group_std": group_std,
        "GhostBatchNorm1d": zoo.GhostBatchNorm1d,
        "BatchRenorm": zoo.BatchRenorm,
    }
    if "(w - " in norm.code:
        names["w"] = w
        code = norm.code.replace("(1)", "(1, keepdim=True)").replace("=0)", "=0, keepdim=True)")
        computed = nn.functional.conv1d(x, eval(code, names).unsqueeze(2))
    elif "linear" in norm.code:
        names["linear"] = again = nn.Conv1d(zoo.CHANNELS, zoo.CHANNELS, 1, bias=False).double()
        again.weight = nn.Parameter(w.unsqueeze(2))
        computed = eval(norm.code, names)(x)
    else:
        names["w"] = w.unsqueeze(2)
        found = eval(norm.code, names)
        computed = found.double()(z) if isinstance(found, nn.Module) else found
    torch.testing.assert_close(computed.detach(), expected, atol=2e-3, rtol=2e-3)


def test_batch_normalization_couples_samples_and_layer_normalization_does_not():
    batch, layer = (zoo.properties(BY_NAME[name]) for name in ("Batch", "Layer"))
    assert batch["depends on the batch"]
    assert not layer["depends on the batch"]
    assert batch["scale of a channel"]
    assert not layer["scale of a channel"]
    assert layer["sum over a sample"]
    assert not batch["sum over a sample"]


def test_of_what_normalizes_weights_nothing_is_told_that_was_tried_on_no_layer():
    on_z = {"shift of a sample", "scale of a sample", "scale of a channel"}
    on_z |= {"sum over the batch", "sum over a sample"}
    untried = {
        name: {key for key, value in zoo.properties(norm).items() if value is None}
        for name, norm in BY_NAME.items()
    }
    weights = {"Weight norm", "Weight standardization", "Scaled weight standardization"}
    assert untried == {name: on_z if name in weights else set() for name in BY_NAME}


def test_whole_model_is_asked_whether_it_knows_its_batch_or_has_two_modes():
    class Noisy(nn.Conv1d):
        """Weights that the batch sets, and in training alone."""

        def forward(self, x):
            return super().forward(x) * (x.std() if self.training else 1)

    def make(linear):
        noisy = Noisy(zoo.CHANNELS, zoo.CHANNELS, 1, bias=False)
        noisy.weight = linear.weight
        return noisy

    found = zoo.properties(zoo.Normalization("noisy", "", "", make))
    assert found["depends on the batch"]
    assert not found["same in evaluation"]


def test_weights_cost_no_pass_and_elementwise_two():
    passes = {name: zoo.properties(norm)["passes"] for name, norm in BY_NAME.items()}
    assert passes["Weight norm"] == 0
    assert passes["DyT"] == 2
    assert passes["RMS"] == 3
