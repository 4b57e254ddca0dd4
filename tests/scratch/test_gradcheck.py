"""The gradient checker itself: right gradients pass, wrong ones are found."""

import numpy as np
import pytest

from bn_tutorial.scratch import functional
from bn_tutorial.scratch.gradcheck import compare, numerical_gradient

RNG = np.random.default_rng(0)
X, DY = RNG.normal(3, 5, (6, 3)), RNG.normal(size=(6, 3))
GAMMA, BETA = np.array([0.5, -2.0, 1.5]), np.array([0.1, 0.2, 0.3])
BUFFER = np.empty_like(X)


def output(x):
    return functional.batch_norm_forward(x, GAMMA, BETA)[0]


def doubled_in_place(x):
    x *= 2
    return x


def squared_into_a_buffer(x):
    return np.square(x, out=BUFFER)


# Functions that hand out their input, work in place, or write every result to the same memory.
SHARING = {
    "returns its input": (lambda x: x, 1),
    "returns a view": (lambda x: x.T.T, 1),
    "works in place": (doubled_in_place, 2),
    "reuses a buffer": (squared_into_a_buffer, 2 * X),
    "returns a list": (lambda x: (3 * x).tolist(), 3),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-3), (np.float64, 1e-9)])
def test_gradient_of_a_known_function_is_found(dtype, tolerance):
    x, dy = X.astype(dtype), DY.astype(dtype)
    numerical = numerical_gradient(np.tanh, x, dy)
    assert numerical.dtype == dtype
    assert compare(dy / np.cosh(x) ** 2, numerical).error < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-2), (np.float64, 1e-8)])
@pytest.mark.parametrize("name", SHARING)
def test_memory_that_a_function_shares_does_not_hide_its_gradient(name, dtype, tolerance):
    f, slope = SHARING[name]
    x = X.astype(dtype)
    numerical = numerical_gradient(f, x, DY.astype(dtype))
    assert compare(numerical, slope * DY).error < tolerance
    np.testing.assert_array_equal(x, X.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("x", "scale"), [([0.5, -0.25], 1.0), ([3.0, -2000.0], 2000.0)])
def test_default_step_grows_with_the_greatest_value_above_one(x, scale, dtype):
    seen = []

    def f(moved):
        seen.append(moved[0])
        return moved

    x = np.array(x, dtype)
    numerical_gradient(f, x, np.ones(2))
    expected = np.cbrt(np.finfo(dtype).eps) * scale
    np.testing.assert_allclose([seen[0] - x[0], x[0] - seen[1]], expected, rtol=1e-3)


def test_input_of_integers_is_refused():
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        numerical_gradient(np.square, np.array([1, 2]), np.ones(2))


def test_output_may_be_a_scalar_or_share_its_elements():
    x = X.copy()
    total = numerical_gradient(np.sum, x, np.array(2.0))
    np.testing.assert_allclose(total, 2.0)
    total = numerical_gradient(np.sum, x, 2.0)
    np.testing.assert_allclose(total, 2.0)
    spread = numerical_gradient(lambda x: np.broadcast_to(x.mean(axis=0), X.shape), x, DY)
    np.testing.assert_allclose(spread, np.broadcast_to(DY.mean(axis=0), X.shape))
    point = numerical_gradient(np.square, np.array(3.0), np.array(1.0))
    assert point.shape == ()
    np.testing.assert_allclose(point, 6.0)


def test_output_of_integers_is_differenced_as_numbers():
    # Unsigned integers would wrap around at a negative difference.
    def falling(x):
        return np.where(x < 0.5, 7, 3).astype(np.uint8)

    found = numerical_gradient(falling, np.array([0.5]), np.array([1]), step=0.25)
    assert found.tolist() == [-8.0]


def test_upstream_gradient_of_another_shape_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"dy has shape \(3,\), expected \(6, 3\)"):
        numerical_gradient(output, X, DY[0])
    with pytest.raises(ValueError, match=r"dy has shape \(6, 3\), expected \(\)"):
        numerical_gradient(np.sum, X, DY)


def test_function_without_an_output_is_refused():
    with pytest.raises(TypeError, match=r"^f returned None, .* its output$"):
        numerical_gradient(lambda _: None, np.array(1.0), np.array(1.0))


def test_step_that_moves_nothing_is_refused():
    for step in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="expected a positive, finite step"):
            numerical_gradient(np.square, X, DY, step)
    with pytest.raises(ValueError, match=r"1e-10 does not change x\[0\] = 10000000.0"):
        numerical_gradient(np.square, np.array([1e7]), np.array([1.0]), 1e-10)
    with pytest.raises(ValueError, match=r"^expected x without nan or infinity$"):
        numerical_gradient(np.square, np.array([np.nan]), np.array([1.0]))


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


def test_error_is_relative_to_the_greatest_value_or_to_one():
    assert compare(np.array([1.0, 8.5]), np.array([1.0, 8.0])).error == 0.5 / 8
    assert compare(np.array([0.0, 0.5]), np.array([0.0, 0.25])).error == 0.25
    assert compare(np.array([0, 255], np.uint8), np.array([1, 255], np.uint8)).error == 1 / 255


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_value_that_is_no_number_is_found_before_a_great_difference(wrong):
    numerical = np.zeros((2, 2))
    found = compare(np.array([[0.0, 9.0], [wrong, 0.0]]), numerical)
    assert (found.worst, found.error) == ((1, 0), np.inf)
    assert str(found) == f"{wrong}, expected 0, at (1, 0): not finite"


def test_infinity_that_both_have_is_no_agreement():
    both = np.array([1.0, np.inf])
    found = compare(both, both)
    assert (found.worst, found.error) == ((1,), np.inf)


def test_comparison_says_in_words_what_it_found():
    found = compare(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
    assert str(found) == "2, expected 2.5, at (1,): off by 2.0e-01"


@pytest.mark.parametrize("error", [None, FloatingPointError])
def test_input_is_left_as_it_was(error):
    def f(moved):
        moved += 1
        if error is not None and moved.sum() > X.sum() + 18:
            raise error
        return moved

    x = X.copy()
    if error is None:
        numerical_gradient(f, x, DY)
    else:
        with pytest.raises(error):
            numerical_gradient(f, x, DY)
    np.testing.assert_array_equal(x, X)


def test_gradients_of_different_or_no_shape_are_refused():
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\)"):
        compare(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match=r"at least one element, got \(0,\)"):
        compare(np.zeros(0), np.zeros(0))
