"""The comparison with PyTorch catches each deliberate fault, where it should."""

import pytest
import torch
from torch import nn

from bn_tutorial.scratch.conformance import FAULTS, differences, relative_difference
from bn_tutorial.scratch.layers import BatchNorm1D

# The quantities that each fault changes, and no other.
CHANGES = {
    "variance term dropped": {("training", "dx")},
    "mean term dropped": {("training", "dx")},
    "statistics detached": {("training", "dx")},
    "training gradient in evaluation": {("evaluation", "dx")},
    "biased running variance": {
        *(("training", "running_var"), ("evaluation", "running_var")),
        *(("evaluation", quantity) for quantity in ("y", "dx", "dgamma")),
    },
    "momentum swapped": {
        *((mode, f"running_{q}") for mode in ("training", "evaluation") for q in ("mean", "var")),
        *(("evaluation", quantity) for quantity in ("y", "dx", "dgamma")),
    },
    "eps outside the root": {
        (mode, quantity)
        for mode in ("training", "evaluation")
        for quantity in ("y", "dx", "dgamma")
    },
    "batch statistics in evaluation": {
        ("evaluation", quantity) for quantity in ("y", "dx", "dgamma")
    },
}


def deviating(layer, tolerance=1e-12):
    found = differences(layer, nn.BatchNorm1d(4, dtype=torch.float64), (16, 4))
    return {key for key, difference in found.items() if not difference < tolerance}


def test_correct_layer_deviates_nowhere():
    assert deviating(BatchNorm1D(4)) == set()


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_caught_in_what_it_changes_and_nowhere_else(fault):
    assert deviating(FAULTS[fault](4)) == CHANGES[fault]


def test_nan_missing_and_misshapen_values_are_infinitely_different():
    reference = torch.ones(2).numpy()
    assert relative_difference(None, reference) == float("inf")
    assert relative_difference(reference[:1], reference) == float("inf")
    assert relative_difference(reference * float("nan"), reference) == float("inf")
    assert relative_difference(reference, reference) == 0
