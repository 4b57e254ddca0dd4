"""The reading version is the layer: outputs, gradients and statistics, step by step."""

import numpy as np
import pytest

from bn_tutorial.scratch import functional
from bn_tutorial.scratch.layers import BatchNorm1D
from bn_tutorial.scratch.reading import BatchNorm

NAMES = ("dgamma", "dbeta", "running_mean", "running_var")


@pytest.mark.parametrize("given", [(), (0.5, 0.7)], ids=["defaults", "others"])
def test_reading_version_computes_what_the_package_does_in_both_modes(given):
    rng = np.random.default_rng(0)
    reading, layer = BatchNorm(3, *given), BatchNorm1D(3, *given)
    reading.gamma, reading.beta = rng.normal(0.5, 1, 3), rng.normal(size=3)
    layer.gamma, layer.beta = reading.gamma.copy(), reading.beta.copy()
    for step, training in enumerate((True, True, False, True, False)):
        x, dy = rng.normal(3, 5, (6 + step, 3)), rng.normal(size=(6 + step, 3))
        y, expected = reading.forward(x, training=training), layer.train(training).forward(x)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
        dx, expected = reading.backward(dy), layer.backward(dy)
        np.testing.assert_allclose(dx, expected, rtol=1e-11, atol=1e-13)
        for name in NAMES:
            mine, theirs = getattr(reading, name), getattr(layer, name)
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-13, err_msg=name)
        # A step of training, so that the next one starts elsewhere.
        for norm in (reading, layer):
            norm.gamma -= 0.1 * norm.dgamma
            norm.beta -= 0.1 * norm.dbeta


def test_reading_version_agrees_with_the_backward_pass_by_steps():
    rng = np.random.default_rng(0)
    x, dy, reading = rng.normal(3, 5, (6, 3)), rng.normal(size=(6, 3)), BatchNorm(3)
    reading.gamma = rng.normal(size=3)
    reading.forward(x, training=True)
    _, cache = functional.batch_norm_forward(x, reading.gamma, reading.beta)
    expected, dgamma, dbeta = functional.batch_norm_backward_by_steps(dy, cache)
    np.testing.assert_allclose(reading.backward(dy), expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(reading.dgamma, dgamma, rtol=1e-11)
    np.testing.assert_allclose(reading.dbeta, dbeta, rtol=1e-11)


def test_statistics_that_were_handed_out_do_not_change_later():
    reading = BatchNorm(2)
    before = reading.running_mean
    reading.forward(np.array([[1.0, 2.0], [3.0, 4.0]]), training=True)
    np.testing.assert_array_equal(before, 0)
