import math

import numpy as np
import pytest

from bn_tutorial.networks import theory


def relu(z):
    return np.maximum(z, 0.0)


def step(z):
    return 1.0 * (z > 0)


def one_layer(m, activation, slope):
    """Measure the growth in one layer whose inputs and upstream gradient have no direction."""
    rng, units = np.random.default_rng(m), 1_600_000 // m
    z, g = rng.normal(size=(2, m, units))
    z -= z.mean(axis=0)
    g -= g.mean(axis=0)
    xhat = z / z.std(axis=0)
    dxhat = g * slope(xhat)
    dz = dxhat - dxhat.mean(axis=0) - xhat * (dxhat * xhat).mean(axis=0)
    # The activations of this layer have this spread; it is what the next layer would divide by.
    a = activation(xhat)
    spread = np.square(a - a.mean(axis=0)).sum() / ((m - 1) * units)
    squares = np.square(dz / z.std(axis=0)).sum() / np.square(g).sum()
    return squares / spread


@pytest.mark.parametrize("m", [8, 12, 50])
def test_growth_is_that_of_a_layer_with_very_many_units(m):
    rectified = one_layer(m, relu, step)
    assert rectified == pytest.approx(theory.gradient_growth_relu(m), rel=0.01)
    linear = one_layer(m, lambda z: z, np.ones_like)
    assert linear == pytest.approx(theory.gradient_growth_linear(m), rel=0.01)


def test_growth_with_rectifiers_tends_to_that_of_a_large_batch():
    limit = math.pi / (math.pi - 1)
    assert theory.gradient_growth_relu(10**6) == pytest.approx(limit, rel=1e-5)
    assert theory.gradient_growth(relu, step) == pytest.approx(limit, rel=1e-6)


def test_growth_is_one_for_a_line_and_more_for_what_bends():
    assert theory.gradient_growth(lambda z: 3 * z + 2, lambda z: 3 + 0 * z) == pytest.approx(1)
    assert theory.gradient_growth(np.tanh, lambda z: 1 - np.tanh(z) ** 2) > 1.01


def test_growth_of_a_square_is_two():
    # The variance of the square of a normal number is 2, its slope 2z has the mean square 4.
    assert theory.gradient_growth(np.square, lambda z: 2 * z) == pytest.approx(2)


@pytest.mark.parametrize("growth", [theory.gradient_growth_linear, theory.gradient_growth_relu])
def test_batch_without_a_mean_growth_is_refused(growth):
    with pytest.raises(ValueError, match="m is 3, expected a batch of at least 4"):
        growth(3)


def test_gain_is_that_of_the_standard_deviation():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(50, 40))
    w = rng.normal(0, 0.2, size=(40, 20_000))
    measured = np.sqrt((a @ w).var(axis=0).mean() / a.var(axis=0).mean())
    assert measured == pytest.approx(theory.signal_gain(1.0, 40, 0.04), rel=0.01)


def test_square_of_a_stream_grows_by_one_a_block_and_its_variance_by_what_differs():
    a = relu(np.random.default_rng(0).normal(size=1_000_000))
    differs = a.var() / np.square(a).mean()
    np.testing.assert_array_equal(theory.stream_square(3), [1, 2, 3, 4])
    np.testing.assert_allclose(theory.stream_variance(3), 1 + differs * np.arange(4), rtol=0.005)


def test_gradient_along_a_stream_is_multiplied_in_each_block_that_lies_behind():
    blocks = [1 + 1 / 2, 1 + 1 / 5, 1 + 1 / 10]  # the last square belongs to no block
    expected = [math.prod(blocks[place:]) for place in range(4)]
    found = theory.stream_gradient(np.array([2.0, 5.0, 10.0, 99.0]))
    np.testing.assert_allclose(found, expected)


def test_block_on_the_stream_doubles_the_gradient_and_divides_it_by_the_variance():
    assert theory.post_norm_growth() == pytest.approx(2 / theory.stream_variance(1)[1])
