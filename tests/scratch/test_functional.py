"""The equations against PyTorch, against central differences, and their properties."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bn_tutorial.scratch import functional, normalize
from bn_tutorial.scratch.gradcheck import compare, numerical_gradient

SHAPES = [(8, 4), (3, 4), (5, 4, 6), (4, 4, 3, 2), (3, 4, 2, 1, 3)]
BACKWARDS = [functional.batch_norm_backward, functional.batch_norm_backward_by_steps]


def batch(shape, seed=0, dtype=np.float64):
    """A batch with its parameters and a random upstream gradient: none of them zero or one."""
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(3, 5, shape), rng.normal(size=shape)
    gamma, beta = rng.normal(0.5, 1, shape[1]), rng.normal(size=shape[1])
    return tuple(a.astype(dtype) for a in (x, gamma, beta, dy))


def torch_batch_norm(x, gamma, beta, dy, eps, statistics=(None, None)):
    x, gamma, beta = (torch.tensor(a, requires_grad=True) for a in (x, gamma, beta))
    statistics = [None if a is None else torch.tensor(a) for a in statistics]
    training = statistics[0] is None
    y = torch.nn.functional.batch_norm(x, *statistics, gamma, beta, training, eps=eps)
    y.backward(torch.tensor(dy))
    return [a.detach().numpy() for a in (y, x.grad, gamma.grad, beta.grad)]


@pytest.mark.parametrize("backward", BACKWARDS)
@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_training_mode_agrees_with_pytorch(shape, eps, backward):
    x, gamma, beta, dy = batch(shape)
    y, cache = functional.batch_norm_forward(x, gamma, beta, eps=eps)
    ours = (y, *backward(dy, cache))
    for mine, reference in zip(ours, torch_batch_norm(x, gamma, beta, dy, eps), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.5])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 4)])
def test_evaluation_mode_agrees_with_pytorch(shape, eps):
    x, gamma, beta, dy = batch(shape)
    rng = np.random.default_rng(1)
    statistics = rng.normal(size=4), rng.uniform(0.5, 20, 4)
    y, cache = functional.batch_norm_eval_forward(x, gamma, beta, *statistics, eps=eps)
    ours = (y, *functional.batch_norm_eval_backward(dy, cache))
    reference = torch_batch_norm(x, gamma, beta, dy, eps, statistics)
    for mine, theirs in zip(ours, reference, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_both_backwards_agree(shape):
    x, gamma, beta, dy = batch(shape)
    _, cache = functional.batch_norm_forward(x, gamma, beta)
    for closed, stepwise in zip(*(backward(dy, cache) for backward in BACKWARDS), strict=True):
        np.testing.assert_allclose(closed, stepwise, rtol=1e-12, atol=1e-12)


def test_core_over_the_batch_is_batch_normalization():
    x, gamma, beta, dy = batch((8, 4))
    y, cache = normalize.normalize_forward(x, gamma[None], beta[None], axes=(0,), eps=1e-5)
    y_batch, cache_batch = functional.batch_norm_forward(x, gamma, beta)
    np.testing.assert_array_equal(y, y_batch)
    ours = normalize.normalize_backward(dy, cache)
    for mine, reference in zip(ours, functional.batch_norm_backward(dy, cache_batch), strict=True):
        np.testing.assert_allclose(mine.squeeze(), reference, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("backward", BACKWARDS)
def test_training_gradients_agree_with_central_differences(backward):
    x, gamma, beta, dy = batch((5, 3))
    _, cache = functional.batch_norm_forward(x, gamma, beta)
    dx, dgamma, dbeta = backward(dy, cache)

    def output(x=x, gamma=gamma, beta=beta):
        return functional.batch_norm_forward(x, gamma, beta)[0]

    assert compare(dx, numerical_gradient(output, x, dy)).error < 1e-8
    assert compare(dgamma, numerical_gradient(lambda g: output(gamma=g), gamma, dy)).error < 1e-8
    assert compare(dbeta, numerical_gradient(lambda b: output(beta=b), beta, dy)).error < 1e-8


def test_evaluation_gradient_agrees_with_central_differences():
    x, gamma, beta, dy = batch((5, 3))
    statistics = np.array([1.0, -2.0, 0.5]), np.array([4.0, 9.0, 0.3])

    def output(x):
        return functional.batch_norm_eval_forward(x, gamma, beta, *statistics)[0]

    _, cache = functional.batch_norm_eval_forward(x, gamma, beta, *statistics)
    dx, _, _ = functional.batch_norm_eval_backward(dy, cache)
    assert compare(dx, numerical_gradient(output, x, dy)).error < 1e-8
    wrong, _, _ = functional.batch_norm_backward(dy, cache)
    assert compare(wrong, numerical_gradient(output, x, dy)).error > 1e-2


@pytest.mark.parametrize("eps", [1e-5, 0.1])
@pytest.mark.parametrize("shape", SHAPES)
def test_double_backward_agrees_with_pytorch(shape, eps):
    x, gamma, beta, dy = batch(shape)
    rng = np.random.default_rng(1)
    ddx, ddgamma, ddbeta = rng.normal(size=shape), rng.normal(size=4), rng.normal(size=4)
    _, cache = functional.batch_norm_forward(x, gamma, beta, eps=eps)
    ours = functional.batch_norm_double_backward(ddx, ddgamma, ddbeta, dy, cache)

    tx, tgamma, tbeta, tdy = (torch.tensor(a, requires_grad=True) for a in (x, gamma, beta, dy))
    y = torch.nn.functional.batch_norm(tx, None, None, tgamma, tbeta, training=True, eps=eps)
    first = torch.autograd.grad(y, (tx, tgamma, tbeta), tdy, create_graph=True)
    upstream = [torch.tensor(a) for a in (ddx, ddgamma, ddbeta)]
    for mine, theirs in zip(
        ours, torch.autograd.grad(first, (tdy, tx, tgamma), upstream), strict=True
    ):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-10, atol=1e-11)


def test_double_backward_agrees_with_central_differences_of_the_backward():
    x, gamma, beta, dy = batch((5, 3))
    rng = np.random.default_rng(1)
    ddx, ddgamma, ddbeta = rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=3)

    def second_loss(x=x, gamma=gamma, dy=dy):
        _, cache = functional.batch_norm_forward(x, gamma, beta)
        dx, dgamma, dbeta = functional.batch_norm_backward(dy, cache)
        return np.array((ddx * dx).sum() + ddgamma @ dgamma + ddbeta @ dbeta)

    _, cache = functional.batch_norm_forward(x, gamma, beta)
    grad_dy, grad_x, grad_gamma = functional.batch_norm_double_backward(
        ddx, ddgamma, ddbeta, dy, cache
    )
    one = np.array(1.0)
    assert compare(grad_dy, numerical_gradient(lambda a: second_loss(dy=a), dy, one)).error < 1e-8
    assert compare(grad_x, numerical_gradient(lambda a: second_loss(x=a), x, one)).error < 1e-7
    numerical = numerical_gradient(lambda a: second_loss(gamma=a), gamma, one)
    assert compare(grad_gamma, numerical).error < 1e-8


def test_double_backward_refuses_other_shapes_by_name():
    x, gamma, beta, dy = batch((8, 4))
    _, cache = functional.batch_norm_forward(x, gamma, beta)
    with pytest.raises(ValueError, match=r"ddgamma has shape \(5,\)"):
        functional.batch_norm_double_backward(x, np.ones(5), np.ones(4), dy, cache)
    with pytest.raises(ValueError, match=r"^ddbeta has shape \(5,\)"):
        functional.batch_norm_double_backward(x, np.ones(4), np.ones(5), dy, cache)
    with pytest.raises(ValueError, match=r"shape \(8, 4\), got \(7, 4\)"):
        functional.batch_norm_double_backward(x[1:], np.ones(4), np.ones(4), dy, cache)


def test_root_mean_square_gradient_agrees_with_central_differences():
    x, _, _, dy = batch((5, 3))
    gamma = np.array([[0.5, -2.0, 1.5]])

    def output(x=x, gamma=gamma):
        return normalize.rms_forward(x, gamma, axes=(1,), eps=0.1)[0]

    _, cache = normalize.rms_forward(x, gamma, axes=(1,), eps=0.1)
    dx, dgamma = normalize.rms_backward(dy, cache)
    assert compare(dx, numerical_gradient(output, x, dy)).error < 1e-8
    assert compare(dgamma, numerical_gradient(lambda g: output(gamma=g), gamma, dy)).error < 1e-8


batches = st.builds(
    batch,
    st.tuples(st.integers(2, 12), st.integers(1, 5)),
    seed=st.integers(0, 2**32 - 1),
)


@given(batches)
def test_output_has_mean_beta_and_input_gradient_sums_to_zero_over_the_batch(values):
    x, gamma, beta, dy = values
    y, cache = functional.batch_norm_forward(x, gamma, beta)
    np.testing.assert_allclose(y.mean(axis=0), beta, atol=1e-10)
    dx, _, _ = functional.batch_norm_backward(dy, cache)
    scale = np.abs(gamma * cache.r).max() * np.abs(dy).sum()
    assert np.abs(dx.sum(axis=0)).max() <= 1e-13 * scale


@given(batches, st.floats(1e-12, 1e-2))
def test_input_gradient_is_orthogonal_to_xhat_up_to_eps(values, eps):
    x, gamma, beta, dy = values
    _, cache = functional.batch_norm_forward(x, gamma, beta, eps=eps)
    dx, dgamma, _ = functional.batch_norm_backward(dy, cache)
    # What is left of the component along xhat is exactly eps / (var + eps) of it.
    left = (gamma * cache.r * dgamma) * (eps * cache.r**2)
    scale = np.abs(gamma * cache.r).max() * np.abs(dy).sum()
    np.testing.assert_allclose((dx * cache.xhat).sum(axis=0), left[0], atol=1e-12 * scale)


@given(batches, st.floats(-1e3, 1e3), st.floats(0.1, 1e3))
def test_output_ignores_shift_and_scale_of_a_feature_as_eps_vanishes(values, shift, scale):
    x, gamma, beta, _ = values
    y, _ = functional.batch_norm_forward(x, gamma, beta, eps=0.0)
    moved, _ = functional.batch_norm_forward(scale * x + shift, gamma, beta, eps=0.0)
    # A batch may have, by chance, a tiny spread: rounding is relative to it.
    spread = x.std(axis=0) * scale
    noise = 1e-14 * (np.abs(scale * x) + abs(shift)).max() / spread.min()
    np.testing.assert_allclose(moved, y, atol=1e-10 + 10 * noise * np.abs(gamma).max())


@given(batches, st.randoms(use_true_random=False))
def test_permuting_the_batch_permutes_output_and_gradient(values, random):
    x, gamma, beta, dy = values
    order = list(range(len(x)))
    random.shuffle(order)
    y, cache = functional.batch_norm_forward(x, gamma, beta)
    y_shuffled, cache_shuffled = functional.batch_norm_forward(x[order], gamma, beta)
    np.testing.assert_allclose(y_shuffled, y[order], rtol=1e-9, atol=1e-9)
    dx, *_ = functional.batch_norm_backward(dy, cache)
    dx_shuffled, *_ = functional.batch_norm_backward(dy[order], cache_shuffled)
    np.testing.assert_allclose(dx_shuffled, dx[order], rtol=1e-8, atol=1e-8)


def test_batch_of_two_passes_no_gradient():
    x, gamma, beta, dy = batch((2, 4))
    _, cache = functional.batch_norm_forward(x, gamma, beta, eps=0.0)
    dx, *_ = functional.batch_norm_backward(dy, cache)
    np.testing.assert_allclose(dx, 0, atol=1e-13)


@pytest.mark.parametrize("shape", [(8, 4), (3, 4, 5), (3, 4, 2, 5)])
def test_gradient_at_every_node_is_that_of_autograd(shape):
    x, gamma, beta, dy = batch(shape)
    _, cache = functional.batch_norm_forward(x, gamma, beta)
    found = functional.batch_norm_gradients(dy, cache)

    def channels(parameter):
        return torch.tensor(parameter.reshape(1, -1, *[1] * (len(shape) - 2)))

    nodes = {"x": torch.tensor(x), "gamma": channels(gamma), "beta": channels(beta)}
    for leaf in nodes.values():
        leaf.requires_grad_()
    mean = {"dim": cache.axes, "keepdim": True}
    nodes["mu"] = nodes["x"].mean(**mean)
    nodes["xmu"] = nodes["x"] - nodes["mu"]
    nodes["var"] = (nodes["xmu"] ** 2).mean(**mean)
    nodes["r"] = (nodes["var"] + 1e-5) ** -0.5
    nodes["xhat"] = nodes["xmu"] * nodes["r"]
    for node in nodes.values():
        node.retain_grad()
    (nodes["gamma"] * nodes["xhat"] + nodes["beta"]).backward(torch.tensor(dy))
    assert {f"d{name}" for name in nodes} == set(found._fields)
    for name, node in nodes.items():
        np.testing.assert_allclose(getattr(found, f"d{name}"), node.grad.numpy(), atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_whatever_the_parameters_are(dtype):
    x, _, _, dy = batch((8, 4), dtype=dtype)
    for parameter_dtype in (np.float32, np.float64):
        gamma, beta = np.ones(4, parameter_dtype), np.zeros(4, parameter_dtype)
        y, cache = functional.batch_norm_forward(x, gamma, beta)
        outputs = [y, *functional.batch_norm_backward(dy, cache)]
        outputs += functional.batch_norm_backward_by_steps(dy, cache)
        y, cache = functional.batch_norm_eval_forward(x, gamma, beta, beta, gamma)
        outputs += [y, *functional.batch_norm_eval_backward(dy, cache)]
        assert {a.dtype for a in outputs} == {np.dtype(dtype)}


@pytest.mark.parametrize("eps", [np.float64(1e-5), np.float32(1e-5), 1])
def test_eps_of_any_numeric_kind_leaves_float32_what_it_is(eps):
    x, gamma, beta, dy = batch((8, 4), dtype=np.float32)
    y, cache = functional.batch_norm_eval_forward(x, gamma, beta, beta, gamma**2, eps=eps)
    outputs = [y, cache.r, *functional.batch_norm_eval_backward(dy, cache)]
    y, cache = functional.batch_norm_forward(x, gamma, beta, eps=eps)
    outputs += [y, cache.r, *functional.batch_norm_gradients(dy, cache)]
    y, cache = normalize.rms_forward(x, gamma[None], axes=(1,), eps=eps)
    outputs += [y, cache.r, *normalize.rms_backward(dy, cache)]
    assert {a.dtype for a in outputs} == {np.dtype(np.float32)}


def test_upstream_gradient_of_the_other_dtype_is_taken_as_that_of_the_output():
    x, gamma, beta, dy = batch((8, 4), dtype=np.float32)
    _, trained = functional.batch_norm_forward(x, gamma, beta)
    _, evaluated = functional.batch_norm_eval_forward(x, gamma, beta, beta, gamma**2)
    for backward, cache in (
        *((backward, trained) for backward in BACKWARDS),
        (functional.batch_norm_eval_backward, evaluated),
    ):
        wide = backward(dy.astype(np.float64), cache)
        for mine, narrow in zip(wide, backward(dy, cache), strict=True):
            assert mine.dtype == np.float32
            np.testing.assert_array_equal(mine, narrow)


@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4])
@pytest.mark.parametrize("n", [32, 4096])
def test_float32_variance_is_right_where_the_one_pass_formula_is_not(mean, n):
    x = (mean + np.random.default_rng(0).normal(size=(n, 8))).astype(np.float32)
    *_, mu, var = normalize.standardize(x, (0,), 1e-5)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(var[0], exact.var(axis=0), rtol=2e-6)
    np.testing.assert_allclose(mu[0], exact.mean(axis=0), rtol=1.2e-7, atol=1e-7)
    if mean == 1e4:
        one_pass = np.mean(x * x, axis=0) - np.mean(x, axis=0) ** 2
        assert np.abs(one_pass - exact.var(axis=0)).max() > 0.1


@pytest.fixture(scope="module")
def millions():
    """Two million float32 rows far from zero, with an upstream gradient of tenths."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2_000_000, 2), dtype=np.float32) + np.float32([1e4, -3e4])
    return x, np.full(x.shape, 0.1, np.float32)


def test_millions_of_float32_rows_far_from_zero_come_out_with_deviation_one(millions):
    x, _ = millions
    y, cache = functional.batch_norm_forward(x, np.ones(2), np.zeros(2))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(cache.var[0], exact.var(axis=0), rtol=1e-5)
    np.testing.assert_allclose(y.std(axis=0, dtype=np.float64), 1, atol=1e-4)
    np.testing.assert_allclose(y.mean(axis=0, dtype=np.float64), 0, atol=1e-6)
    right = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    np.testing.assert_allclose(y, right, atol=1e-4)


def test_gradients_of_millions_of_float32_rows_are_right(millions):
    x, dy = millions
    _, cache = functional.batch_norm_forward(x, np.ones(2), np.zeros(2))
    _, evaluated = functional.batch_norm_eval_forward(
        x, np.ones(2), np.zeros(2), cache.mu.ravel(), cache.var.ravel()
    )
    dbeta = dy.sum(axis=0, dtype=np.float64)
    for backward, kept in (
        *((backward, cache) for backward in (*BACKWARDS, normalize.normalize_backward)),
        (functional.batch_norm_eval_backward, evaluated),
    ):
        dx, found_dgamma, found_dbeta = backward(dy, kept)
        np.testing.assert_allclose(found_dbeta.ravel(), dbeta, rtol=2e-6)
        dgamma = np.einsum("nc,nc->c", dy, kept.xhat, dtype=np.float64)
        np.testing.assert_allclose(found_dgamma.ravel(), dgamma, atol=0.1)  # of sums of 160,000
        if kept is cache:  # a constant upstream gradient does not reach the input
            assert np.abs(dx).max() < 1e-6


def test_constant_feature_gives_beta_and_a_finite_gradient():
    x, gamma, beta, dy = batch((8, 4))
    x[:, 2] = 7.0
    y, cache = functional.batch_norm_forward(x, gamma, beta)
    np.testing.assert_array_equal(y[:, 2], beta[2])
    dx, *_ = functional.batch_norm_backward(dy, cache)
    reference = torch_batch_norm(x, gamma, beta, dy, 1e-5)[1]
    np.testing.assert_allclose(dx, reference, rtol=1e-10, atol=1e-10)


def test_float64_input_at_an_offset_of_1e8_keeps_eight_digits():
    x, gamma, beta, _ = batch((64, 4))
    y, _ = functional.batch_norm_forward(x, gamma, beta)
    moved, _ = functional.batch_norm_forward(x + 1e8, gamma, beta)
    np.testing.assert_allclose(moved, y, atol=1e-7)


def test_nan_in_one_sample_spoils_its_feature_alone_as_in_pytorch():
    x, gamma, beta, dy = batch((8, 4))
    x[3, 1] = np.nan
    y, cache = functional.batch_norm_forward(x, gamma, beta)
    dx, *_ = functional.batch_norm_backward(dy, cache)
    reference = torch_batch_norm(x, gamma, beta, dy, 1e-5)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(reference[0]))
    np.testing.assert_array_equal(np.isnan(dx), np.isnan(reference[1]))


@pytest.mark.parametrize("shape", [(1, 4), (0, 4), (1, 4, 1), (1, 4, 1, 1)])
def test_fewer_than_two_values_per_channel_are_refused_in_training(shape):
    with pytest.raises(ValueError, match=r"more than 1 value per channel.*got [01]"):
        functional.batch_norm_forward(np.zeros(shape), np.ones(4), np.zeros(4))


@pytest.mark.parametrize("shape", [(4,), ()])
def test_shape_that_is_no_batch_is_refused_by_name(shape):
    said = r"^expected shape \(N, C\) .*, got \(.*\): one sample needs .*, x\[np\.newaxis\]$"
    for forward, statistics in [
        (functional.batch_norm_forward, ()),
        (functional.batch_norm_eval_forward, (np.zeros(4), np.ones(4))),
    ]:
        with pytest.raises(ValueError, match=said):
            forward(np.zeros(shape), np.ones(4), np.zeros(4), *statistics)


@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.complex128, bool])
def test_dtype_other_than_float32_and_float64_is_refused_by_name(dtype):
    with pytest.raises(TypeError, match=f"got {np.dtype(dtype)}"):
        functional.batch_norm_forward(np.zeros((8, 4), dtype), np.ones(4), np.zeros(4))


def test_list_is_refused_by_name():
    with pytest.raises(TypeError, match="expected a NumPy array, got list"):
        functional.batch_norm_forward([[1.0], [2.0]], np.ones(1), np.zeros(1))


@pytest.mark.parametrize("eps", [-1e-5, np.nan, np.inf])
def test_eps_out_of_range_is_refused(eps):
    x, gamma, beta, _ = batch((8, 4))
    for forward in (
        lambda: functional.batch_norm_forward(x, gamma, beta, eps=eps),
        lambda: functional.batch_norm_eval_forward(x, gamma, beta, beta, gamma**2, eps=eps),
        lambda: normalize.rms_forward(x, gamma[None], axes=(1,), eps=eps),
    ):
        with pytest.raises(ValueError, match=f"expected a finite eps >= 0, got {eps}"):
            forward()


@pytest.mark.parametrize("eps", [None, "1e-5", True])
def test_eps_that_is_no_number_is_refused(eps):
    x, gamma, beta, _ = batch((8, 4))
    with pytest.raises(TypeError, match=f"expected a number for eps, got {eps!r}"):
        functional.batch_norm_forward(x, gamma, beta, eps=eps)


@pytest.mark.parametrize(("negative", "axes"), [((-1,), (1,)), ((-1, -2), (2, 1)), (-3, (0,))])
def test_negative_axes_count_from_the_end(negative, axes):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(5, 4, 3)), rng.normal(size=(5, 4, 3))
    if axes == (1,):
        x, dy = x[:, :, 0], dy[:, :, 0]
    for found, expected in (
        (normalize.center(x, negative), normalize.center(x, axes)),
        (normalize.standardize(x, negative, 0.1), normalize.standardize(x, axes, 0.1)),
    ):
        for mine, reference in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, reference)
    one, none = np.ones((1,) * x.ndim), np.zeros((1,) * x.ndim)
    y, cache = normalize.normalize_forward(x, one, none, axes=negative, eps=0.1)
    y_reference, reference = normalize.normalize_forward(x, one, none, axes=axes, eps=0.1)
    np.testing.assert_array_equal(y, y_reference)
    assert cache.axes == axes
    dx, *_ = normalize.normalize_backward(dy, cache)
    np.testing.assert_array_equal(dx, normalize.normalize_backward(dy, reference)[0])
    y, cache = normalize.rms_forward(x, one, axes=negative, eps=0.1)
    np.testing.assert_array_equal(y, normalize.rms_forward(x, one, axes=axes, eps=0.1)[0])
    assert cache.axes == axes


def test_pooling_no_values_is_refused():
    empty, one = np.zeros((3, 0)), np.ones((1, 1))
    for forward in (
        lambda: normalize.standardize(empty, (1,), 1e-5),
        lambda: normalize.rms_forward(empty, one, axes=(1,), eps=1e-5),
    ):
        with pytest.raises(ValueError, match=r"no values to pool over axes \(1,\).*\(3, 0\)"):
            forward()


def test_upstream_gradient_that_is_no_float_array_is_refused_with_the_remedy():
    x, gamma, beta, dy = batch((8, 4))
    _, cache = functional.batch_norm_forward(x, gamma, beta)
    with pytest.raises(TypeError, match=r"got Tensor: pass dy\.detach\(\)\.cpu\(\)\.numpy\(\)"):
        functional.batch_norm_backward(torch.tensor(dy), cache)
    with pytest.raises(TypeError, match=r"got int64: convert with dy\.astype\(np\.float64\)"):
        functional.batch_norm_backward(dy.astype(np.int64), cache)
    with pytest.raises(ValueError, match=r"expected ddx of the output's shape"):
        functional.batch_norm_double_backward(dy[1:], gamma, beta, dy, cache)


@pytest.mark.parametrize("name", ["gamma", "beta", "running_mean", "running_var"])
def test_parameter_of_another_length_is_refused_by_name(name):
    parameters = dict.fromkeys(("gamma", "beta", "running_mean", "running_var"), np.ones(4))
    parameters[name] = np.ones(5)
    with pytest.raises(ValueError, match=rf"{name} has shape \(5,\), expected \(4,\)"):
        functional.batch_norm_eval_forward(np.zeros((8, 4)), **parameters)


@pytest.mark.parametrize("name", ["gamma", "beta"])
def test_parameter_of_another_length_is_refused_by_name_in_training(name):
    parameters = {"gamma": np.ones(4), "beta": np.ones(4), name: np.ones(5)}
    with pytest.raises(ValueError, match=rf"^{name} has shape \(5,\), expected \(4,\)"):
        functional.batch_norm_forward(np.zeros((8, 4)), **parameters)


def test_default_eps_is_pytorchs_in_both_modes():
    x, gamma, beta, dy = batch((8, 4))
    x *= 1e-3  # so that eps shows
    y, _ = functional.batch_norm_forward(x, gamma, beta)
    np.testing.assert_allclose(y, torch_batch_norm(x, gamma, beta, dy, 1e-5)[0], rtol=1e-12)
    statistics = np.zeros(4), np.full(4, 1e-5)
    y, _ = functional.batch_norm_eval_forward(x, gamma, beta, *statistics)
    reference = torch_batch_norm(x, gamma, beta, dy, 1e-5, statistics)[0]
    np.testing.assert_allclose(y, reference, rtol=1e-12)


def test_cache_tells_the_statistics_that_were_used():
    x, gamma, beta, _ = batch((8, 4))
    _, cache = functional.batch_norm_forward(x, gamma, beta)
    np.testing.assert_allclose(cache.mu, x.mean(axis=0, keepdims=True))
    np.testing.assert_allclose(cache.var, x.var(axis=0, keepdims=True))
    _, cache = functional.batch_norm_eval_forward(x, gamma, beta, beta, gamma**2)
    np.testing.assert_array_equal(cache.mu, beta[None])
    np.testing.assert_array_equal(cache.var, gamma[None] ** 2)
    _, cache = normalize.rms_forward(x, gamma[None], axes=(1,), eps=0.1)
    np.testing.assert_array_equal(cache.mu, np.zeros((8, 1)), strict=True)
    np.testing.assert_allclose(cache.var, (x**2).mean(axis=1, keepdims=True))


def test_core_gives_parameter_gradients_the_shape_of_the_parameters():
    x, gamma, beta, dy = batch((4, 4, 3, 2))
    shape = (1, 4, 1, 1)
    _, cache = normalize.normalize_forward(
        x, gamma.reshape(shape), beta.reshape(shape), axes=(2, 3), eps=1e-5
    )
    _, dgamma, dbeta = normalize.normalize_backward(dy, cache)
    assert dgamma.shape == dbeta.shape == shape


@pytest.mark.parametrize("backward", [*BACKWARDS, normalize.normalize_backward])
def test_upstream_gradient_of_another_shape_is_refused(backward):
    x, gamma, beta, dy = batch((8, 4))
    _, cache = functional.batch_norm_forward(x, gamma, beta)
    with pytest.raises(ValueError, match=r"shape \(8, 4\), got \(7, 4\)"):
        backward(dy[1:], cache)


def test_inputs_are_left_as_they_were():
    values = batch((8, 4))
    copies = [a.copy() for a in values]
    x, gamma, beta, dy = values
    _, cache = functional.batch_norm_forward(x, gamma, beta)
    for backward in BACKWARDS:
        backward(dy, cache)
        backward(dy, cache)
    for value, copy in zip(values, copies, strict=True):
        np.testing.assert_array_equal(value, copy)
