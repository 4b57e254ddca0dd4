"""The plain lines compute what the package does."""

import numpy as np
import pytest

from bn_tutorial.scratch import equations, folding, functional, moments, normalize


def same(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.fixture
def batch():
    """A batch, an upstream gradient, parameters and statistics, none of them special."""
    rng = np.random.default_rng(0)
    x, dy = rng.normal(3, 5, (7, 4)), rng.normal(size=(7, 4))
    gamma, beta, mean = rng.normal(size=(3, 4))
    return x, dy, gamma, beta, mean, rng.uniform(0.5, 2, 4)


def test_forward_and_both_backward_passes_are_the_packages(batch):
    x, dy, gamma, beta, *_ = batch
    y, xmu, xhat, r = equations.forward(x, gamma, beta, eps=0.5)
    expected, cache = functional.batch_norm_forward(x, gamma, beta, eps=0.5)
    same(y, expected)
    dx, dgamma, dbeta = functional.batch_norm_backward(dy, cache)
    for found in (
        equations.backward_by_steps(dy, xmu, xhat, r, gamma),
        equations.backward(dy, xhat, r, gamma),
    ):
        for ours, theirs in zip(found, (dx, dgamma, dbeta), strict=True):
            same(ours, theirs)


def test_evaluation_and_folding_are_the_packages(batch):
    x, dy, *given = batch
    gamma, beta, mean, var = given
    y, cache = functional.batch_norm_eval_forward(x, *given, eps=0.5)
    dx, _, _ = functional.batch_norm_eval_backward(dy, cache)
    for ours, theirs in zip(equations.evaluate(x, dy, *given, eps=0.5), (y, dx), strict=True):
        same(ours, theirs)
    weight, bias = np.random.default_rng(1).normal(size=(4, 3)), beta + 1
    found = equations.fold(weight, bias, gamma, beta, mean, var, eps=0.5)
    for ours, theirs in zip(found, folding.fold(weight, bias, *given, eps=0.5), strict=True):
        same(ours, theirs)
    same(equations.unbiased(var, 7), moments.unbiased(var, 7))


def test_other_axes_are_the_packages(batch):
    x, dy, gamma, *_ = batch
    gamma, axes = gamma[np.newaxis], (1,)
    _, cache = normalize.normalize_forward(x, gamma, gamma, axes=axes, eps=0.5)
    dx, dgamma, dbeta = normalize.normalize_backward(dy, cache)
    same(equations.backward_over(gamma * dy, cache.xhat, cache.r, axes), dx)
    for ours, theirs in zip(
        equations.parameters_backward(dy, cache.xhat, (0,)), (dgamma, dbeta), strict=True
    ):
        same(ours, theirs)


def test_rms_normalization_is_the_packages(batch):
    x, dy, gamma, *_ = batch
    gamma, axes = gamma[np.newaxis], (1,)
    _, cache = normalize.rms_forward(x, gamma, axes=axes, eps=0.5)
    xhat, r = equations.rms(x, axes, eps=0.5)
    same(xhat, cache.xhat)
    dx, _ = normalize.rms_backward(dy, cache)
    same(equations.rms_backward(gamma * dy, xhat, r, axes), dx)


def test_second_order_is_the_packages(batch):
    x, dy, gamma, beta, *_ = batch
    ddx, zero = np.random.default_rng(1).normal(size=x.shape), np.zeros(4)
    _, cache = functional.batch_norm_forward(x, gamma, beta, eps=0.0)
    *_, expected = functional.batch_norm_double_backward(ddx, zero, zero, dy, cache)
    p_dy, found = equations.double_backward_of_gamma(ddx, dy, cache.xhat, cache.r.ravel())
    same(found, expected)
    same(gamma * cache.r * p_dy, functional.batch_norm_backward(dy, cache)[0])
