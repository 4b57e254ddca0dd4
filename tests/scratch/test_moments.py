"""Moments of batches, their merging, and running averages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bn_tutorial.scratch.moments import merge, moments, running_average, unbiased


def values(count, seed, mean=3.0):
    return np.random.default_rng(seed).normal(mean, 5, (count, 4))


def assert_same(a, b):
    assert a.count == b.count
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-12)
    np.testing.assert_allclose(a.m2, b.m2, rtol=1e-10, atol=1e-10)


counts = st.integers(1, 50)


@given(counts, counts, st.integers(0, 1000))
def test_merging_two_batches_describes_both_together(m, n, seed):
    a, b = values(m, seed), values(n, seed + 1, mean=-40.0)
    together = moments(np.concatenate([a, b]), (0,))
    assert_same(merge(moments(a, (0,)), moments(b, (0,))), together)


@given(counts, counts, counts, st.integers(0, 1000))
def test_merging_is_associative_and_commutative(l, m, n, seed):  # noqa: E741
    a, b, c = (moments(values(k, seed + i), (0,)) for i, k in enumerate((l, m, n)))
    assert_same(merge(merge(a, b), c), merge(a, merge(b, c)))
    assert_same(merge(a, b), merge(b, a))


def test_moments_over_batch_and_space_keep_one_value_per_channel():
    x = np.random.default_rng(0).normal(size=(5, 3, 4, 2))
    found = moments(x, (0, 2, 3))
    assert found.count == 40
    np.testing.assert_allclose(found.mean, x.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(found.var, x.var(axis=(0, 2, 3)))


def test_moments_of_one_channel_keep_its_axis():
    found = moments(np.array([[1.0], [3.0]]), (0,))
    assert found.mean.shape == found.m2.shape == (1,)


def test_nothing_to_pool_is_refused():
    with pytest.raises(ValueError, match=r"no values to pool over axes \(0,\).*\(0, 4\)"):
        moments(np.zeros((0, 4)), (0,))


@pytest.mark.parametrize("count", [2, 3, 100])
def test_unbiased_variance_divides_by_one_less(count):
    x = values(count, 0)
    np.testing.assert_allclose(unbiased(x.var(axis=0), count), x.var(axis=0, ddof=1))


@pytest.mark.parametrize("count", [0, 1])
def test_unbiased_variance_of_fewer_than_two_values_is_refused(count):
    with pytest.raises(ValueError, match=f"at least 2 values, got {count}"):
        unbiased(np.ones(1), count)


def test_momentum_is_the_weight_of_the_new_value():
    old, new = np.array([1.0]), np.array([11.0])
    assert running_average(old, new, momentum=0.0) == 1.0
    assert running_average(old, new, momentum=1.0) == 11.0
    np.testing.assert_allclose(running_average(old, new, momentum=0.1), 2.0)
