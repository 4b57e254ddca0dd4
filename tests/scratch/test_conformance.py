"""The comparison with PyTorch finds what differs, and says in words how."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from bn_tutorial.scratch.conformance import differences, relative_difference
from bn_tutorial.scratch.layers import BatchNorm1D, LayerNorm, RMSNorm


def compared(layer, shape=(16, 4)):
    return differences(layer, nn.BatchNorm1d(4, dtype=torch.float64), shape)


@pytest.mark.parametrize("shape", [(16, 4), (8, 4, 3)])
def test_correct_layer_differs_nowhere(shape):
    assert max(compared(BatchNorm1D(4), shape).values()) < 1e-12


class IgnoresScaleAndShift(BatchNorm1D):
    def forward(self, x):
        return (super().forward(x) - self.beta) / self.gamma


def test_layer_that_ignores_scale_and_shift_is_caught():
    found = compared(IgnoresScaleAndShift(4))
    assert {key for key, value in found.items() if value > 1e-3} == {
        ("training", "y"),
        ("evaluation", "y"),
    }


class CutsTheBatch(BatchNorm1D):
    """Returns less than it was given, in evaluation mode, as a layer that reshapes wrongly."""

    def forward(self, x):
        y = super().forward(x)
        return y if self.training else y[1:]


class GivesNan(BatchNorm1D):
    def forward(self, x):
        y = super().forward(x)
        y[1, 2] = np.nan
        return y


def test_output_of_another_shape_is_described_and_leaves_nothing_to_compare():
    found = compared(CutsTheBatch(4))
    for quantity, words in {
        "y": "shape (15, 4), expected shape (16, 4)",
        "dx": "nothing, expected shape (16, 4)",
        "dgamma": "nothing, expected shape (4,)",
        "dbeta": "nothing, expected shape (4,)",
    }.items():
        difference = found["evaluation", quantity]
        assert (difference, difference.words) == (np.inf, words)


def test_output_that_is_not_a_number_is_described():
    y = compared(GivesNan(4))["training", "y"]
    assert y == np.inf
    assert y.words.startswith("nan, expected ")
    assert y.words.endswith(" at (1, 2): not finite")


def test_what_pytorch_has_not_is_a_difference_too():
    class KeepsAGradient(LayerNorm):
        def backward(self, dy):
            dx = super().backward(dy)
            self.dbeta = dy.sum(axis=0)
            return dx

    reference = nn.LayerNorm(4, elementwise_affine=False, dtype=torch.float64)
    found = differences(KeepsAGradient(4, elementwise_affine=False), reference, (5, 4))
    assert found["training", "dbeta"].words == "shape (4,), expected nothing"
    assert ("training", "dgamma") not in found


def test_difference_is_a_number_that_shows_its_words():
    difference = relative_difference(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    assert (difference, f"{difference:.0e}") == (0.5, "5e-01")
    assert repr(difference) == "5.0e-01 (2, expected 4, at (1,): off by 5.0e-01)"
    assert json.dumps(difference) == "0.5"
    again = copy.deepcopy(difference)
    assert (again, again.words) == (difference, difference.words)


def test_nan_missing_and_misshapen_values_are_infinitely_different():
    reference = torch.ones(2).numpy()
    assert relative_difference(None, reference) == float("inf")
    assert relative_difference(reference[:1], reference) == float("inf")
    assert relative_difference(reference * float("nan"), reference) == float("inf")
    assert relative_difference(reference, reference) == 0


def test_quantity_that_agrees_to_the_last_bit_is_told_too():
    layer, reference = BatchNorm1D(4, momentum=0.0), nn.BatchNorm1d(4, momentum=0.0).double()
    assert differences(layer, reference, (16, 4))["training", "running_mean"] == 0


def test_worst_of_several_batches_is_kept_with_its_words():
    class WrongOnce(BatchNorm1D):
        def forward(self, x):
            y = super().forward(x)
            return y + 1000 * (self.num_batches_tracked == 2)

    found = compared(WrongOnce(4))["training", "y"]
    assert found > 1
    assert found.words.endswith(f"off by {found:.1e}")


def test_layers_without_statistics_or_a_shift_are_compared_in_what_they_have():
    found = differences(RMSNorm(4), nn.RMSNorm(4, dtype=torch.float64), (5, 3, 4))
    assert {quantity for _, quantity in found} == {"y", "dx", "dgamma"}
    assert max(found.values()) < 1e-12


def test_seed_decides_what_is_compared():
    first, again, other = (
        differences(
            IgnoresScaleAndShift(4), nn.BatchNorm1d(4, dtype=torch.float64), (16, 4), seed=seed
        )
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_layers_of_single_precision_are_compared_in_it():
    found = differences(BatchNorm1D(4, dtype=np.float32), nn.BatchNorm1d(4), (16, 4))
    assert 0 < max(found.values()) < 1e-5
