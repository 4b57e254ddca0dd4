"""Shapes, types and sums, and what is refused."""

import numpy as np
import pytest
import torch

from bn_tutorial.scratch import arrays
from bn_tutorial.scratch.arrays import count, per_channel, pooled_axes, shared_axes, sum_of_products

AXES = [(0,), (1,), (0, 2), (0, 2, 3), (1, 2, 3), (0, 1, 2, 3), (-1,), (0, -2), -3, ()]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize(
    "shape", [(2, 3, 4, 5), (700, 3, 2, 2), (3, 2, 2, 1000), (129, 5, 260, 1), (99, 3, 4, 20)]
)
def test_sums_are_those_of_numpy(shape, axes):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=shape), rng.normal(size=shape)
    products = (a * b).sum(axis=axes, keepdims=True)
    for found in (sum_of_products(a, b, axes), arrays.sum_over(a * b, axes)):
        assert found.shape == products.shape
        np.testing.assert_allclose(found, products, rtol=1e-10, atol=1e-10)
    mean = (a * b).mean(axis=axes, keepdims=True)
    np.testing.assert_allclose(arrays.mean_over(a * b, axes), mean, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2_000_000, 2), 0),  # rows: NumPy adds them one after the other
        ((1, 2, 2_000_000), (0, 2)),  # sequences: einsum does so
        ((70_000, 2, 16), (0, 2)),  # many short ones: it sums each, and NumPy those sums
        ((127, 127, 127, 2), (0, 1, 2)),  # many axes, none of them long
        ((100_001, 2, 3), (0, 2)),  # a last piece that is not full
    ],
)
@pytest.mark.parametrize("values", ["tenths", "random"])
def test_sum_of_millions_of_float32_is_right_to_six_digits(shape, axes, values):
    x = np.full(shape, 0.1, np.float32)
    if values == "random":
        x = np.random.default_rng(0).random(shape, np.float32)
    exact = x.astype(np.float64)
    for found, right in (
        (arrays.sum_over(x, axes), exact.sum(axis=axes, keepdims=True)),
        (sum_of_products(x, x, axes), np.square(exact).sum(axis=axes, keepdims=True)),
        (arrays.mean_over(x, axes), exact.mean(axis=axes, keepdims=True)),
    ):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, right, rtol=2e-6)


@pytest.mark.parametrize("dtypes", [("f4", "f4"), ("f4", "f8"), ("f8", "f4"), ("f8", "f8")])
def test_sum_of_products_has_the_wider_dtype_of_the_two(dtypes):
    a, b = (np.ones((3, 2), dtype) for dtype in dtypes)
    assert sum_of_products(a, b, 0).dtype == np.result_type(a, b)


@pytest.mark.parametrize("axes", [(0,), (0, 2), (1, 2, 3), (0, -1), (-4,), 2])
def test_count_is_the_number_of_values_that_share_a_mean(axes):
    x = np.zeros((2, 3, 4, 5))
    assert count(x, axes) == x.size // x.mean(axis=axes).size
    assert isinstance(count(x, axes), int)


@pytest.mark.parametrize("function", [count, arrays.sum_over, arrays.mean_over])
def test_axis_that_is_repeated_or_not_there_is_refused(function):
    x = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"repeated axis in `axes`"):
        function(x, (0, -2))
    with pytest.raises(ValueError, match=r"axis 2 is out of bounds"):
        function(x, (0, 2))


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


def refusal(x, *name):
    with pytest.raises(TypeError) as caught:
        arrays.check_floating(x, *name)
    return str(caught.value)


def test_what_is_no_float_array_is_refused_with_the_remedy():
    tensor = torch.ones(2, requires_grad=True)
    assert refusal(tensor) == ("expected a NumPy array, got Tensor: pass x.detach().cpu().numpy()")
    assert refusal([1.0], "dy") == (
        "expected a NumPy array, got list: pass np.asarray(dy, np.float64)"
    )
    assert refusal(2.0).startswith("expected a NumPy array, got float: pass np.asarray(")
    assert refusal(np.ones(2, np.float16)).endswith(
        "got float16: convert with x.astype(np.float32)"
    )
    assert refusal(np.ones(2, int)).endswith("got int64: convert with x.astype(np.float64)")


@pytest.mark.parametrize(
    ("x", "name"), [(torch.ones(2), "x"), ([1.0, 2.0], "x"), (np.ones(2, np.float16), "dy")]
)
def test_remedy_works(x, name):
    remedy = refusal(x, name).split(": ")[1].removeprefix("pass ").removeprefix("convert with ")
    arrays.check_floating(eval(remedy, {"np": np, name: x}))


def test_wrong_number_of_channels_says_that_they_are_axis_1_and_how_to_bring_them_there():
    x = np.zeros((32, 8, 8, 3))
    with pytest.raises(ValueError, match=r"gamma has shape \(3,\), expected \(8,\)") as caught:
        per_channel(np.ones(3), x, "gamma")
    said, remedy = str(caught.value).split("; if they are axis 3, pass ")
    assert said.endswith("whose channels are axis 1")
    assert eval(remedy, {"np": np, "x": x}).shape == (32, 3, 8, 8)
    for elsewhere in (np.ones(5), np.ones((1, 8))):
        with pytest.raises(ValueError, match=r"channels are axis 1$"):
            per_channel(elsewhere, x[:, :, :, :2], "gamma")
