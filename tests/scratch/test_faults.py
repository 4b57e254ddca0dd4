"""Each deliberate fault is caught, where it should be, and deviates as it says."""

import numpy as np
import pytest
import torch
from torch import nn

from bn_tutorial.scratch.conformance import differences
from bn_tutorial.scratch.faults import FAULTS
from bn_tutorial.scratch.layers import BatchNorm1D, LayerNorm

TRAINING = {("training", q) for q in ("y", "dx", "dgamma")}
EVALUATION = {("evaluation", q) for q in ("y", "dx", "dgamma")}
VARIANCE = {(mode, "running_var") for mode in ("training", "evaluation")}
# The quantities that each fault changes, and no other.
CHANGES = {
    "variance term dropped": {("training", "dx")},
    "mean term dropped": {("training", "dx")},
    "statistics detached": {("training", "dx")},
    "training gradient in evaluation": {("evaluation", "dx")},
    "biased running variance": VARIANCE | EVALUATION,
    "momentum swapped": VARIANCE | EVALUATION | {(mode, "running_mean") for mode, _ in VARIANCE},
    "eps outside the root": TRAINING | EVALUATION,
    "batch statistics in evaluation": EVALUATION,
}
SHAPES = [(16, 4), (8, 4, 3)]


def compared(layer, shape=(16, 4), **options):
    return differences(layer, nn.BatchNorm1d(4, dtype=torch.float64), shape, **options)


def deviating(found, tolerance=1e-12):
    return {key for key, difference in found.items() if not difference < tolerance}


def test_every_fault_is_listed_here():
    assert FAULTS.keys() == CHANGES.keys()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_caught_in_what_it_changes_and_nowhere_else(fault, shape):
    assert deviating(compared(FAULTS[fault](4), shape)) == CHANGES[fault]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"eps": 0.5, "momentum": 0.3}], ids=["default", "other"])
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_deviates_by_exactly_what_it_predicts(fault, options, shape):
    kind = FAULTS[fault]
    reference = nn.BatchNorm1d(4, **options, dtype=torch.float64)
    found = differences(kind(4, **options), reference, shape, expected=kind.predict)
    assert deviating(found) == set(), found


@pytest.mark.parametrize("fault", FAULTS)
def test_prediction_of_one_fault_fits_no_other(fault):
    for other, kind in FAULTS.items():
        found = compared(FAULTS[fault](4), batches=1, expected=kind.predict)
        assert (max(found.values()) < 1e-12) == (other == fault), (fault, other, found)


class HalfTheVarianceTerm(FAULTS["variance term dropped"]):
    """Still wrong, and still in dx alone."""

    def backward(self, dy):
        dx = super().backward(dy)
        right = BatchNorm1D(4)
        right.load_state_dict(self.state_dict())
        right.forward(self.x)
        return dx if not self.training else (dx + right.backward(dy)) / 2

    def forward(self, x):
        self.x = x
        return super().forward(x)


def test_changed_fault_is_noticed_though_it_deviates_in_the_same_places():
    fault = "variance term dropped"
    assert deviating(compared(HalfTheVarianceTerm(4))) == CHANGES[fault]
    found = compared(HalfTheVarianceTerm(4), expected=FAULTS[fault].predict)
    assert deviating(found) == CHANGES[fault]


def test_variance_term_dropped_leaves_the_part_along_xhat():
    x, dy = np.random.default_rng(0).normal(3.0, 5.0, (2, 16, 4))
    right, wrong = BatchNorm1D(4, eps=0.0), FAULTS["variance term dropped"](4, eps=0.0)
    xhat = right.forward(x)
    wrong.forward(x)
    off = wrong.backward(dy) - right.backward(dy)
    along = (off * xhat).sum(axis=0) / (xhat**2).sum(axis=0) * xhat
    np.testing.assert_allclose(off, along, atol=1e-14)
    assert np.abs(off).max() > 1e-3


def test_biased_running_variance_gains_too_little_by_one_part_in_m():
    x = np.random.default_rng(0).normal(3.0, 5.0, (16, 4))
    right, wrong = BatchNorm1D(4, momentum=1.0), FAULTS["biased running variance"](4, momentum=1.0)
    right.forward(x)
    wrong.forward(x)
    np.testing.assert_allclose(wrong.running_var / right.running_var, 15 / 16)
    assert wrong.num_batches_tracked == 1


def test_swapped_momentum_exchanges_what_is_kept_and_what_is_new():
    x = np.random.default_rng(0).normal(3.0, 5.0, (16, 4))
    wrong, exchanged = FAULTS["momentum swapped"](4, momentum=0.1), BatchNorm1D(4, momentum=0.9)
    for layer in (wrong, exchanged):
        layer.forward(x)
    np.testing.assert_allclose(wrong.running_mean, exchanged.running_mean)
    np.testing.assert_allclose(wrong.running_var, exchanged.running_var)
    assert wrong.momentum == 0.1


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_has_a_form_to_be_shown(fault):
    assert "->" in FAULTS[fault].form


def test_prediction_for_a_layer_that_has_no_faults_is_refused():
    predict = FAULTS["mean term dropped"].predict
    with pytest.raises(TypeError, match="BatchNorm1D with a momentum, got LayerNorm"):
        differences(LayerNorm(4), nn.LayerNorm(4).double(), (5, 4), expected=predict)
