"""The fused functions against NumPy's at length: many shapes, both precisions, any axes.

A quick selection is in tests/scratch; here both precisions are compiled, which takes seconds.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bn_tutorial.scratch import functional, fused, normalize
from bn_tutorial.scratch.conformance import differences
from bn_tutorial.scratch.layers import BatchNorm1D, BatchNorm2D, GroupNorm, LayerNorm, RMSNorm

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-11}


def batch(shape, dtype=np.float32, offset=3.0, seed=0):
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(offset, 1, shape), rng.normal(size=shape)
    gamma, beta = rng.normal(0.5, 1, shape[1]), rng.normal(size=shape[1])
    return tuple(a.astype(dtype) for a in (x, gamma, beta, dy))


def passes(code, x, gamma, beta, dy, eps=1e-5):
    y, cache = code.batch_norm_forward(x, gamma, beta, eps=eps)
    return [y, *code.batch_norm_backward(dy, cache), cache.mu, cache.var]


def assert_close(found, expected, tolerance):
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == theirs.shape
        assert mine.dtype == theirs.dtype
        scale = tolerance * max(1, np.abs(theirs).max(initial=0))
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=scale)


@pytest.fixture(autouse=True, scope="module")
def _small_parts():
    """Small arrays have several parts too, and threads share them."""
    with pytest.MonkeyPatch.context() as patch:
        for layout in (fused._columns, fused._rows):
            layout.cache_clear()
        patch.setattr(fused, "PART", 64)
        patch.setattr(fused, "SHARE", 1)
        yield
    for layout in (fused._columns, fused._rows):
        layout.cache_clear()


sizes = st.lists(st.integers(1, 9), min_size=0, max_size=2)
thorough = settings(max_examples=100, deadline=None)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.float32, np.float64])
counts = st.sampled_from([1, 2, 3])


@thorough
@given(st.integers(2, 140), st.integers(1, 9), sizes, dtypes, seeds, counts)
def test_batch_normalization_agrees_with_numpy(n, c, space, dtype, seed, threads):
    values = batch((n, c, *space), dtype, seed=seed)
    with fused.threads(threads):
        found = passes(fused, *values, eps=0.1)
    assert_close(found, passes(functional, *values, eps=0.1), TOLERANCE[dtype])


@thorough
@given(st.lists(st.integers(2, 7), min_size=2, max_size=4), st.data(), dtypes, seeds)
def test_any_axes_agree_with_numpy(shape, data, dtype, seed):
    """Gamma shared along any axes, pooled along any: what has no kernel is NumPy's."""
    every = range(len(shape))
    axes = tuple(sorted(data.draw(st.sets(st.sampled_from(every), min_size=1))))
    shared = data.draw(st.sets(st.sampled_from(every)))
    rng = np.random.default_rng(seed)
    x, dy = (rng.normal(3, 1, shape).astype(dtype) for _ in range(2))
    of_gamma = [1 if axis in shared else size for axis, size in enumerate(shape)]
    gamma, beta = (rng.normal(size=of_gamma).astype(dtype) for _ in range(2))
    found, expected = [], []
    for code, results in ((fused, found), (normalize, expected)):
        y, cache = code.normalize_forward(x, gamma, beta, axes=axes, eps=0.1)
        results += [y, *code.normalize_backward(dy, cache)]
        y, cache = code.rms_forward(x, gamma, axes=axes, eps=0.1)
        results += [y, *code.rms_backward(dy, cache)]
    assert_close(found, expected, 10 * TOLERANCE[dtype])


LAYERS = [
    (BatchNorm1D, torch.nn.BatchNorm1d, (5,), (130, 5)),
    (BatchNorm2D, torch.nn.BatchNorm2d, (5,), (7, 5, 11, 3)),
    (LayerNorm, torch.nn.LayerNorm, (1100,), (67, 1100)),
    (RMSNorm, torch.nn.RMSNorm, (1100,), (67, 1100)),
    (GroupNorm, torch.nn.GroupNorm, (2, 6), (7, 6, 11, 3)),
]


@pytest.mark.parametrize(("ours", "theirs", "arguments", "shape"), LAYERS)
def test_layers_of_single_precision_agree_with_pytorch(ours, theirs, arguments, shape):
    found = differences(ours(*arguments, dtype=np.float32, fused=True), theirs(*arguments), shape)
    assert max(found.values()) < 1e-5, found


@pytest.mark.parametrize(
    ("layer", "arguments", "shape"),
    [
        (LayerNorm, (1100,), (9, 1100)),
        (RMSNorm, (1100,), (9, 1100)),
        (GroupNorm, (2, 4), (9, 4, 25, 11)),
    ],
)
def test_mean_of_a_row_is_not_rounded_to_single_precision(layer, arguments, shape):
    x, *_, dy = batch(shape, offset=1e4)
    found = []
    for dtype in (np.float32, np.float64):
        norm = layer(*arguments, fused=True)
        y = norm.forward(x.astype(dtype))
        found.append([y, norm.backward(dy.astype(dtype)), norm.dgamma])
    for mine, exact in zip(*found, strict=True):
        assert np.abs(mine - exact).max() < 5e-6 * max(1, np.abs(exact).max())


@pytest.mark.parametrize("rows", [129, 16384])
def test_error_in_single_precision_is_no_larger_than_pytorchs(rows):
    x, gamma, beta, dy = values = batch((rows, 8), offset=1000.0)
    exact = passes(functional, *(a.astype(np.float64) for a in values))
    tx = torch.from_numpy(x).requires_grad_()
    y = torch.nn.functional.batch_norm(
        tx, None, None, torch.from_numpy(gamma), torch.from_numpy(beta), training=True
    )
    y.backward(torch.from_numpy(dy))
    found = passes(fused, *values)
    reference = y.detach().numpy(), tx.grad.numpy()
    for mine, theirs, right in zip(found[:2], reference, exact[:2], strict=True):
        error, of_pytorch = (np.abs(a - right).max() for a in (mine, theirs))
        assert error <= max(of_pytorch, 1e-6)


def test_mean_of_ten_thousand_leaves_single_precision_its_digits():
    values = batch((3000, 4), offset=1e4)
    exact = passes(functional, *(a.astype(np.float64) for a in values))
    found = passes(fused, *values)
    y, dx = (np.abs(found[k] - exact[k]).max() for k in (0, 1))
    assert y < 2e-6
    assert dx < 2e-6
    assert np.abs(found[5] / exact[5] - 1).max() < 1e-6


def test_two_million_rows_are_summed_to_rounding_in_single_precision():
    x = np.full((2_000_000, 1), np.float32(0.1))
    x[::2] += 1
    dy = np.full_like(x, 0.1)
    y, cache = fused.batch_norm_forward(x, np.ones(1), np.zeros(1))
    _, dgamma, dbeta = fused.batch_norm_backward(dy, cache)
    assert cache.mu.item() == pytest.approx(0.6, rel=1e-7)
    assert cache.var.item() == pytest.approx(0.25, rel=1e-6)
    assert dbeta.item() == pytest.approx(200_000, rel=1e-6)
    assert abs(dgamma.item()) < 0.1
    assert y.std() == pytest.approx(1, rel=1e-4)


def test_constant_channel_has_variance_zero_and_becomes_beta():
    x = np.full((100, 2), np.float32(1e4 + 0.1))
    y, cache = fused.batch_norm_forward(x, np.ones(2), np.array([3.0, 4.0]))
    np.testing.assert_array_equal(cache.var, 0)
    np.testing.assert_allclose(y, np.broadcast_to([3, 4], y.shape), atol=1e-6)
