"""Moments of batches, their merging, and running averages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bn_tutorial.scratch.moments import Moments, merge, moments, running_average, unbiased


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


def test_negative_axes_count_from_the_end():
    x = np.random.default_rng(0).normal(size=(5, 3, 4))
    assert_same(moments(x, (0, -1)), moments(x, (0, 2)))
    assert moments(x, -1).mean.shape == (5, 3)
    with pytest.raises(ValueError, match="repeated axis"):
        moments(x, (2, -1))


def test_moments_of_millions_of_float32_far_from_zero_are_right():
    x = np.random.default_rng(0).standard_normal((2_000_000, 2), dtype=np.float32) + np.float32(1e4)
    exact = x.astype(np.float64)
    for dtype, digits in ((None, 6e-7), (np.float64, 1e-11)):
        found = moments(x, (0,), dtype)
        assert found.mean.dtype == found.m2.dtype == (dtype or x.dtype)
        np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=digits)
        np.testing.assert_allclose(found.var, exact.var(axis=0), rtol=digits)


def test_merging_a_thousand_float32_batches_in_float64_loses_nothing():
    x = np.random.default_rng(0).standard_normal((1000, 32, 2), dtype=np.float32) + np.float32(1e4)
    found = moments(x[0], (0,), np.float64)
    for batch in x[1:]:
        found = merge(found, moments(batch, (0,), np.float64))
    assert_same(found, moments(x.reshape(-1, 2).astype(np.float64), (0,)))


def test_unequal_shapes_are_refused_with_both_named():
    a, b = Moments(3, np.zeros(4), np.ones(4)), Moments(3, np.zeros(1), np.ones(1))
    for first, second, shapes in ((a, b, r"\(4,\) and \(1,\)"), (b, a, r"\(1,\) and \(4,\)")):
        with pytest.raises(ValueError, match=f"{shapes}.*: expected the same channels in both$"):
            merge(first, second)
    with pytest.raises(ValueError, match=r"mean has shape \(4,\), m2 \(1,\)"):
        Moments(3, np.zeros(4), np.ones(1))


weights = st.floats(0.01, 100)


@given(weights, weights, weights, st.integers(0, 1000))
def test_merging_with_weights_gives_the_weighted_mean_and_variance(u, v, w, seed):
    parts = [values(n, seed + n, mean=10.0 * n) for n in (3, 7, 20)]
    a, b, c = (
        moments(x, (0,)).counted_as(weight) for x, weight in zip(parts, (u, v, w), strict=True)
    )
    found = merge(merge(a, b), c)
    each = np.concatenate(
        [np.full(len(x), weight / len(x)) for x, weight in zip(parts, (u, v, w), strict=True)]
    )
    x = np.concatenate(parts)
    mean = np.average(x, axis=0, weights=each)
    np.testing.assert_allclose(found.count, u + v + w)
    np.testing.assert_allclose(found.mean, mean)
    np.testing.assert_allclose(found.var, np.average((x - mean) ** 2, axis=0, weights=each))


def test_merging_with_the_weights_of_momentum_is_a_running_average_of_the_mean():
    old, new = moments(values(5, 0), (0,)), moments(values(9, 1, mean=-2.0), (0,))
    found = merge(old.counted_as(0.9), new.counted_as(0.1))
    np.testing.assert_allclose(found.mean, running_average(old.mean, new.mean, 0.1))
    # What the running average of variances leaves out: how far the means are apart.
    between = 0.9 * 0.1 * (old.mean - new.mean) ** 2
    np.testing.assert_allclose(found.var, running_average(old.var, new.var, 0.1) + between)


def test_description_of_nothing_changes_nothing():
    nothing, some = Moments(0, np.zeros(4), np.zeros(4)), moments(values(5, 0), (0,))
    assert_same(merge(nothing, some), some)
    assert_same(merge(some, nothing), some)
    with pytest.raises(ValueError, match=r"^cannot merge two descriptions of no values$"):
        merge(nothing, nothing)
    for variance in (lambda: nothing.var, lambda: nothing.counted_as(1)):
        with pytest.raises(ValueError, match="no values, so no variance"):
            variance()


@pytest.mark.parametrize("count", [-1, np.nan, np.inf])
def test_count_that_is_none_is_refused(count):
    with pytest.raises(ValueError, match=f"expected a finite count >= 0, got {count}"):
        Moments(count, np.zeros(4), np.zeros(4))


def test_nothing_to_pool_is_refused():
    with pytest.raises(ValueError, match=r"no values to pool over axes \(0,\).*\(0, 4\)"):
        moments(np.zeros((0, 4)), (0,))


@pytest.mark.parametrize("count", [2, 3, 100])
def test_unbiased_variance_divides_by_one_less(count):
    x = values(count, 0)
    np.testing.assert_allclose(unbiased(x.var(axis=0), count), x.var(axis=0, ddof=1))


@pytest.mark.parametrize("count", [0, 1, 1.5, np.nan, np.inf])
def test_unbiased_variance_of_fewer_than_two_values_is_refused(count):
    with pytest.raises(ValueError, match=f"at least 2 values, got {count}"):
        unbiased(np.ones(1), count)


def test_momentum_is_the_weight_of_the_new_value():
    old, new = np.array([1.0]), np.array([11.0])
    assert running_average(old, new, momentum=0.0) == 1.0
    assert running_average(old, new, momentum=1.0) == 11.0
    np.testing.assert_allclose(running_average(old, new, momentum=0.1), 2.0)


@pytest.mark.parametrize(
    ("momentum", "error"),
    [
        *((-1.0, ValueError), (1.5, ValueError), (np.nan, ValueError)),
        *((None, TypeError), ("0.1", TypeError), (True, TypeError)),
    ],
)
def test_momentum_out_of_range_or_of_another_kind_is_refused(momentum, error):
    with pytest.raises(error, match=f"momentum.*got {momentum!r}"):
        running_average(np.zeros(1), np.ones(1), momentum)


def test_momentum_of_numpy_leaves_float32_what_it_is():
    old = np.zeros(1, np.float32)
    assert running_average(old, old, np.float64(0.1)).dtype == np.float32
