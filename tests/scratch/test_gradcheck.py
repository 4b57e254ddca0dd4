"""The gradient checker itself: right gradients pass, wrong ones are found."""

import numpy as np
import pytest

from bn_tutorial.scratch import functional
from bn_tutorial.scratch.gradcheck import compare, numerical_gradient

RNG = np.random.default_rng(0)
X, DY = RNG.normal(3, 5, (6, 3)), RNG.normal(size=(6, 3))
GAMMA, BETA = np.array([0.5, -2.0, 1.5]), np.array([0.1, 0.2, 0.3])


def output(x):
    return functional.batch_norm_forward(x, GAMMA, BETA)[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-3), (np.float64, 1e-9)])
def test_gradient_of_a_known_function_is_found(dtype, tolerance):
    x, dy = X.astype(dtype), DY.astype(dtype)
    numerical = numerical_gradient(np.tanh, x, dy)
    assert numerical.dtype == dtype
    assert compare(dy / np.cosh(x) ** 2, numerical).error < tolerance


def test_gradient_without_the_variance_term_is_found_wrong_in_its_worst_element():
    _, cache = functional.batch_norm_forward(X, GAMMA, BETA)
    right, dgamma, _ = functional.batch_norm_backward(DY, cache)
    wrong = right + cache.gamma * cache.r * cache.xhat * dgamma / len(X)
    numerical = numerical_gradient(output, X, DY)
    found = compare(wrong, numerical)
    assert found.error > 1e-2
    assert compare(right, numerical).error < 1e-8
    assert found.worst == np.unravel_index(np.abs(wrong - right).argmax(), X.shape)
    assert found.analytic == wrong[found.worst]
    assert found.numerical == numerical[found.worst]


def test_upstream_gradient_of_ones_would_let_a_wrong_gradient_pass():
    ones = np.ones_like(DY)
    _, cache = functional.batch_norm_forward(X, GAMMA, BETA)
    right, dgamma, _ = functional.batch_norm_backward(ones, cache)
    wrong = right + cache.gamma * cache.r * cache.xhat * dgamma / len(X)
    assert compare(wrong, numerical_gradient(output, X, ones)).error < 1e-8


def test_nan_is_found():
    numerical = np.zeros((2, 2))
    analytic = np.array([[0.0, 9.0], [np.nan, 0.0]])
    found = compare(analytic, numerical)
    assert found.worst == (1, 0)
    assert np.isnan(found.error)


def test_input_is_left_as_it_was():
    x = X.copy()
    numerical_gradient(output, x, DY)
    np.testing.assert_array_equal(x, X)


def test_gradients_of_different_or_no_shape_are_refused():
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\)"):
        compare(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="one shape"):
        compare(np.zeros(0), np.zeros(0))
