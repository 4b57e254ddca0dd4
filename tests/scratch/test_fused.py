"""The fused functions against NumPy's, in what is particular to them: parts, threads, the cache.

That they agree with PyTorch is tested with the layers and with PyTorch's own samples; over many
shapes, in both precisions, in tests/device.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bn_tutorial.scratch import functional, fused, kernels, normalize
from bn_tutorial.scratch.conformance import differences
from bn_tutorial.scratch.faults import FAULTS
from bn_tutorial.scratch.layers import BatchNorm1D, BatchNorm2D, GroupNorm, LayerNorm, RMSNorm


def batch(shape):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(3, 5, shape), rng.normal(size=shape)
    gamma, beta = rng.normal(0.5, 1, shape[1]), rng.normal(size=shape[1])
    return x, gamma, beta, dy


def passes(code, x, gamma, beta, dy):
    y, cache = code.batch_norm_forward(x, gamma, beta)
    return [y, *code.batch_norm_backward(dy, cache), cache.mu, cache.var]


def assert_same(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def assert_close(found, expected, tolerance=1e-12):
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == theirs.shape
        assert mine.dtype == theirs.dtype
        scale = tolerance * max(1, np.abs(theirs).max(initial=0))
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=scale)


@pytest.fixture
def _small_parts(monkeypatch):
    """Small arrays have several parts too, and threads share them."""
    for layout in (fused._columns, fused._rows):
        layout.cache_clear()
    monkeypatch.setattr(fused, "PART", 16)
    monkeypatch.setattr(fused, "SHARE", 1)
    yield
    for layout in (fused._columns, fused._rows):
        layout.cache_clear()


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize(
    "shape", [(7, 5), (67, 3), (3, 40), (1100, 2), (1, 3, 5), (9, 3, 5), (2, 3, 1100)]
)
def test_sizes_that_parts_and_blocks_do_not_divide_agree_with_numpy(shape):
    values = batch(shape)
    assert_close(passes(fused, *values), passes(functional, *values))


@pytest.mark.parametrize("rows", [63, 64, 65, 200])
def test_small_batch_of_several_blocks_agrees_with_numpy(rows):
    values = batch((rows, 3))
    assert_close(passes(fused, *values), passes(functional, *values))


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("shape", [(67, 6), (9, 6, 5)])
def test_any_number_of_threads_gives_the_same_bits(shape):
    x, _gamma, _beta, dy = values = batch(shape)
    others = LayerNorm(shape[1:], fused=True), GroupNorm(3, 6, fused=True)
    found = []
    for number in (1, 2, 3, 16):
        fused._columns.cache_clear(), fused._rows.cache_clear()
        with fused.threads(number):
            found.append(passes(fused, *values))
            for layer in others:
                found[-1] += [layer.forward(x), layer.backward(dy), layer.dgamma]
    for other in found[1:]:
        assert_same(other, found[0])


def test_what_is_not_worth_a_thread_is_given_to_none(monkeypatch):
    asked = []
    monkeypatch.setattr(fused, "_pool", lambda *given: asked.append(given) or pool)
    with fused.threads(2), ThreadPoolExecutor(1) as pool:
        passes(fused, *batch((3000, 512)))
        assert asked == []
        passes(fused, *batch((6144, 512)))  # worth three, of which two are allowed
        assert set(asked) == {(os.getpid(), 2)}


@pytest.mark.usefixtures("_small_parts")
def test_several_callers_at_once_do_not_disturb_each_other():
    values = batch((67, 6))
    expected = passes(fused, *values)
    with fused.threads(2), ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: passes(fused, *values), range(20)):
            assert_same(found, expected)


def test_threads_within_a_block_are_as_many_as_it_says(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert fused._threads() == 3
    with fused.threads(2):
        assert fused._threads() == 2
    with pytest.raises(ValueError, match="positive number, got 0"), fused.threads(0):
        pass


def test_threads_are_as_many_as_there_are_cores_for_them_where_no_number_is_said(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    for said in ("many", "0", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert fused._threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert fused._threads() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    for cores, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert fused._threads() == expected


def test_nan_stays_in_its_channel():
    x, gamma, beta, dy = batch((9, 3, 5))
    x[4, 1, 2] = np.nan
    found, expected = (passes(code, x, gamma, beta, dy) for code in (fused, functional))
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert np.isnan(found[0]).sum() == 45


def test_batch_of_no_channels_has_no_output():
    y, dx, dgamma, *_ = passes(fused, *batch((8, 0)))
    assert (y.shape, dx.shape, dgamma.shape) == ((8, 0), (8, 0), (0,))


@pytest.fixture
def _not_compiled(monkeypatch):
    """Kernels run as Python: nobody waits until they are compiled for one more dtype."""

    def plain(kind, what):
        return getattr(kernels, f"{kind.replace('rms', 'layer')}_{what}")

    monkeypatch.setattr(fused, "_compiled", plain)


X, FOUR, FIVE = np.ones((6, 4)), np.ones(4), np.ones(5)
ROW, INTEGERS, EMPTY = np.ones((1, 4)), np.ones((6, 4), int), np.ones((6, 0))


def evaluated(code, x=X, eps=0.1, **others):
    parameters = dict.fromkeys(("gamma", "beta", "running_mean", "running_var"), FOUR) | others
    return code.batch_norm_eval_forward(x, **parameters, eps=eps)


# By what is wrong: NumPy's module, and a call that it refuses.
REFUSED = {
    "no batch": (functional, lambda code: code.batch_norm_forward(FOUR, FOUR, FOUR)),
    "one sample": (functional, lambda code: code.batch_norm_forward(X[:1], FOUR, FOUR)),
    "no sample": (functional, lambda code: code.batch_norm_forward(X[:0], FOUR, FOUR)),
    "no space": (functional, lambda code: code.batch_norm_forward(np.ones((3, 4, 0)), FOUR, FOUR)),
    "gamma": (functional, lambda code: code.batch_norm_forward(X, FIVE, FOUR)),
    "beta": (functional, lambda code: code.batch_norm_forward(X, FOUR, FIVE)),
    "eps": (functional, lambda code: code.batch_norm_forward(X, FOUR, FOUR, eps=-1)),
    "given, no batch": (functional, lambda code: evaluated(code, FOUR)),
    "given, gamma": (functional, lambda code: evaluated(code, gamma=FIVE)),
    "given, beta": (functional, lambda code: evaluated(code, beta=FIVE)),
    "given, mean": (functional, lambda code: evaluated(code, running_mean=FIVE)),
    "given, variance": (functional, lambda code: evaluated(code, running_var=FIVE)),
    "given, eps": (functional, lambda code: evaluated(code, eps=-1)),
    "given, dy": (
        functional,
        lambda code: code.batch_norm_eval_backward(X[1:], evaluated(code)[1]),
    ),
    "any axes, integers": (
        normalize,
        lambda code: code.normalize_forward(INTEGERS, ROW, ROW, axes=1, eps=0.1),
    ),
    "any axes, none": (
        normalize,
        lambda code: code.normalize_forward(EMPTY, EMPTY[:1], EMPTY[:1], axes=-1, eps=0.1),
    ),
    "any axes, eps": (normalize, lambda code: code.normalize_forward(X, ROW, ROW, axes=1, eps=-1)),
    "rms, integers": (normalize, lambda code: code.rms_forward(INTEGERS, ROW, axes=1, eps=0.1)),
    "rms, none": (normalize, lambda code: code.rms_forward(EMPTY, EMPTY[:1], axes=-1, eps=0.1)),
    "rms, eps": (normalize, lambda code: code.rms_forward(X, ROW, axes=1, eps=-1)),
    "rms, dy": (
        normalize,
        lambda code: code.rms_backward(X[1:], code.rms_forward(X, ROW, axes=1, eps=0.1)[1]),
    ),
}


@pytest.mark.usefixtures("_not_compiled")
@pytest.mark.parametrize("name", REFUSED)
def test_what_numpys_functions_refuse_is_refused_in_the_same_words(name):
    numpys, call = REFUSED[name]
    said = []
    for code in (numpys, fused):
        with pytest.raises((TypeError, ValueError)) as caught:
            call(code)
        said.append((caught.type, str(caught.value)))
    assert said[0] == said[1]


# A layer for each kind of kernel, its sizes, and the shape of a batch.
KINDS = {
    "column": (BatchNorm1D, (4,), (5, 4)),
    "row": (BatchNorm1D, (4,), (5, 4, 3)),
    "group": (GroupNorm, (2, 4), (5, 4, 3)),
    "layer": (LayerNorm, (4,), (5, 4)),
    "rms": (RMSNorm, (4,), (5, 4)),
}


@pytest.mark.usefixtures("_not_compiled")
@pytest.mark.parametrize("kind", KINDS)
def test_layer_finds_the_kernels_that_are_made_for_it(kind):
    build, sizes, shape = KINDS[kind]
    layer = build(*sizes, fused=True)
    layer.forward(np.random.default_rng(0).normal(size=shape))
    assert layer._cache.layout.kind == kind


@pytest.mark.usefixtures("_not_compiled")
@pytest.mark.parametrize("kind", KINDS)
def test_float32_gives_what_it_gives_in_numpy_with_parameters_of_float64(kind):
    (build, sizes, shape), rng = KINDS[kind], np.random.default_rng(0)
    x, dy = rng.normal(0, 5, (2, *shape)).astype(np.float32)
    x += 30_000  # a mean that float32 rounds by a thousandth
    results = []
    for layer in (build(*sizes, fused=True), build(*sizes)):
        found = []
        for training in (True, False):
            layer.gamma *= 1.5
            found += [layer.train(training).forward(x), layer.backward(dy), layer.dgamma]
            kept = layer._cache
            found += [kept.xhat, kept.r, kept.gamma, kept.mu, kept.var]
        results.append(found)
    assert_close(*results, 1e-5)


@pytest.mark.parametrize("shape", [(1, 4), (1, 4, 3)])
def test_one_sample_is_enough_in_evaluation(shape):
    x, gamma, beta, dy = batch(shape)
    statistics = np.arange(4.0), np.arange(1.0, 5.0)
    found = []
    for code in (fused, functional):
        y, cache = code.batch_norm_eval_forward(x, gamma, beta, *statistics)
        found.append([y, *code.batch_norm_eval_backward(dy, cache), cache.xhat])
    assert_close(*found)


LAYOUTS = {
    "columns first": lambda x: np.asfortranarray(x),
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "not aligned": lambda x: np.frombuffer(b"0" + x.tobytes(), np.uint8)[1:].view(x.dtype),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_input_may_lie_in_memory_in_any_way(name):
    x, gamma, beta, dy = batch((6, 3, 4))
    other, upstream = (LAYOUTS[name](a).reshape(x.shape) for a in (x, dy))
    np.testing.assert_array_equal(other, x)
    assert_same(passes(fused, other, gamma, beta, upstream), passes(fused, x, gamma, beta, dy))


def test_channels_may_be_the_last_axis_of_all():
    x, gamma, beta, dy = batch((5, 6, 2, 6))
    found = []
    for code in (fused, normalize):
        y, cache = code.normalize_forward(x, gamma, beta, axes=(0, 1, 2), eps=0.1)
        found.append([y, *code.normalize_backward(dy, cache)])
    assert isinstance(cache, normalize.Cache)
    assert_close(found[0][:2], found[1][:2])


@pytest.mark.usefixtures("_not_compiled")
@pytest.mark.parametrize(
    ("axes", "shape", "kind"),
    [
        ((0,), (1, 4, 3), "column"),
        ((0,), (1, 1, 3), "column"),  # of which several share a gamma
        ((0, 1), (1, 1, 3), "column"),
        ((0, 2), (1, 4, 1), "row"),
        ((2,), (1, 4, 1), "group"),
        ((1, 2), (1, 4, 1), "group"),
        ((2,), (1, 1, 3), "layer"),
        ((1, 2), (1, 4, 3), "layer"),
    ],
)
def test_axes_with_a_kernel_are_given_to_it_and_agree_with_numpy(axes, shape, kind):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(0.3, 0.5, (2, 5, 4, 3))
    gamma, beta = rng.normal(1, 0.5, (2, *shape))
    results = []
    for code in (fused, normalize):
        y, cache = code.normalize_forward(x, gamma, beta, axes=axes, eps=0.1)
        results.append([y, *code.normalize_backward(dy, cache), cache.xhat, cache.mu, cache.var])
        if code is fused:
            assert (cache.layout.kind, cache.axes) == (kind, axes)
    assert_close(*results)


@pytest.mark.parametrize(
    ("axes", "shape"), [((1,), (1, 1, 1)), ((0, 2), (1, 1, 3)), ((0, 1), (5, 1, 1))]
)
def test_axes_without_a_kernel_are_left_to_numpy(axes, shape):
    x, *_, dy = batch((5, 4, 3))
    one = np.ones(shape)
    y, cache = fused.normalize_forward(x, one, 0 * one, axes=axes, eps=0.1)
    expected, reference = normalize.normalize_forward(x, one, 0 * one, axes=axes, eps=0.1)
    assert_close([y], [expected])
    assert_close(fused.normalize_backward(dy, cache), normalize.normalize_backward(dy, reference))
    y, cache = fused.rms_forward(x, one, axes=axes, eps=0.1)
    expected, reference = normalize.rms_forward(x, one, axes=axes, eps=0.1)
    assert_same(
        [y, *fused.rms_backward(dy, cache)], [expected, *normalize.rms_backward(dy, reference)]
    )


def test_numpys_functions_take_the_cache_of_the_fused_ones_and_these_theirs():
    x, gamma, beta, dy = batch((8, 4))
    _, cache = fused.batch_norm_forward(x, gamma, beta)
    _, reference = functional.batch_norm_forward(x, gamma, beta)
    for backward in (functional.batch_norm_backward, functional.batch_norm_backward_by_steps):
        assert_close(backward(dy, cache), backward(dy, reference))
    second = dy[::-1], gamma, beta, dy
    assert_close(
        functional.batch_norm_double_backward(*second, cache),
        functional.batch_norm_double_backward(*second, reference),
    )
    for name in ("batch_norm_backward", "batch_norm_eval_backward"):
        assert_close(getattr(fused, name)(dy, reference), getattr(functional, name)(dy, reference))


def test_inputs_are_left_as_they_were():
    values = batch((8, 4, 3))
    copies = [a.copy() for a in values]
    passes(fused, *values)
    assert_same(values, copies)


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_caught_in_a_fused_layer_too(name):
    fault = FAULTS[name]
    found = differences(fault(4, fused=True), nn.BatchNorm1d(4, dtype=torch.float64), (16, 4))
    assert max(found.values()) > 1e-6
    told = differences(
        fault(4, fused=True),
        nn.BatchNorm1d(4, dtype=torch.float64),
        (16, 4),
        expected=fault.predict,
    )
    assert max(told.values()) < 1e-9


def test_upstream_gradient_of_another_shape_is_refused():
    layer = BatchNorm2D(3, fused=True)
    layer.forward(batch((4, 3, 2, 2))[0])
    with pytest.raises(ValueError, match="expected dy of the output's shape"):
        layer.backward(np.zeros((4, 3, 4)))


def test_layer_shows_that_it_is_fused():
    assert repr(BatchNorm1D(3, fused=True)).startswith("BatchNorm1D(3, eps=1e-05, momentum=0.1, fu")
    assert "fused" not in repr(BatchNorm1D(3))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (BatchNorm1D(4, fused=True), (5, 4)),
        (BatchNorm1D(4, fused=True), (5, 4, 3)),
        (GroupNorm(2, 4, fused=True), (5, 4, 3)),
        (LayerNorm(4, fused=True), (5, 4)),
    ],
    ids=["column", "row", "group", "layer"],
)
def test_kernels_compute_in_plain_python_what_they_do_compiled(layer, shape, monkeypatch):
    x, *_, dy = batch(shape)
    expected = [layer.forward(x), layer.backward(dy), layer.dgamma, layer.dbeta]
    monkeypatch.setattr(fused, "_compiled", lambda kind, what: getattr(kernels, f"{kind}_{what}"))
    found = [layer.forward(x), layer.backward(dy), layer.dgamma, layer.dbeta]
    assert_close(found, expected, 1e-13)


def run(program, **environment):
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_who_does_not_use_them_does_not_import_numba():
    program = (
        "import sys, numpy as np, bn_tutorial\n"
        "bn_tutorial.BatchNorm1D(2).forward(np.eye(2))\n"
        "assert 'numba' not in sys.modules\n"
    )
    found = run(program)
    assert found.returncode == 0, found.stderr


def test_without_numba_a_fused_layer_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    fused._numba.cache_clear()
    fused._compiled.cache_clear()
    with pytest.raises(ImportError, match="pip install numba"):
        BatchNorm1D(2, fused=True).forward(np.eye(2))


def test_what_was_compiled_lies_in_the_cache_folder_and_nowhere_else(own_cache):
    passes(fused, *batch((8, 4)))
    compiled = list((own_cache / "numba").rglob("kernels.column_forward*.nbc"))
    assert compiled
    beside = Path(kernels.__file__).parent
    assert not list(beside.rglob("*.nb?"))
