"""Shapes, types and sums."""

import numpy as np
import pytest

from bn_tutorial.scratch.arrays import count, per_channel, pooled_axes, shared_axes, sum_of_products


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (0, 2, 3), (1, 2, 3), (0, 1, 2, 3)])
def test_sum_of_products_is_the_sum_of_the_product(axes):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5))
    found = sum_of_products(a, b, axes)
    np.testing.assert_allclose(found, (a * b).sum(axis=axes, keepdims=True), rtol=1e-12)
    assert found.shape == (a * b).sum(axis=axes, keepdims=True).shape


@pytest.mark.parametrize("axes", [(0,), (0, 2), (1, 2, 3)])
def test_count_is_the_number_of_values_that_share_a_mean(axes):
    x = np.zeros((2, 3, 4, 5))
    assert count(x, axes) == x.size // x.mean(axis=axes).size
    assert isinstance(count(x, axes), int)


def test_batch_normalization_pools_all_but_the_channels():
    assert pooled_axes(np.zeros((2, 3))) == (0,)
    assert pooled_axes(np.zeros((2, 3, 4))) == (0, 2)
    assert pooled_axes(np.zeros((2, 3, 4, 5))) == (0, 2, 3)


def test_shared_axes_are_those_of_size_one():
    assert shared_axes(np.zeros((1, 3, 1, 1))) == (0, 2, 3)
    assert shared_axes(np.zeros((2, 3))) == ()


def test_parameter_broadcasts_along_the_channels_in_the_dtype_of_the_batch():
    x = np.zeros((2, 3, 4, 5), np.float32)
    found = per_channel(np.arange(3.0), x, "gamma")
    assert (found.shape, found.dtype) == ((1, 3, 1, 1), np.float32)
    np.testing.assert_array_equal((x + found)[1, :, 2, 2], [0, 1, 2])
