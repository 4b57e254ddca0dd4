"""The layers against PyTorch's: what they compute, hold, exchange and refuse."""

import numpy as np
import pytest
import torch
from torch import nn

from bn_tutorial.scratch.conformance import differences
from bn_tutorial.scratch.gradcheck import compare, numerical_gradient
from bn_tutorial.scratch.layers import (
    BatchNorm1D,
    BatchNorm2D,
    GroupNorm,
    InstanceNorm2D,
    LayerNorm,
    RMSNorm,
)

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}

PAIRS = {
    "BatchNorm1D, features": (BatchNorm1D, nn.BatchNorm1d, (4,), {}, (16, 4)),
    "BatchNorm1D, sequences": (BatchNorm1D, nn.BatchNorm1d, (4,), {}, (8, 4, 5)),
    "BatchNorm1D, large eps": (BatchNorm1D, nn.BatchNorm1d, (4,), {"eps": 0.1}, (16, 4)),
    "BatchNorm1D, cumulative": (BatchNorm1D, nn.BatchNorm1d, (4,), {"momentum": None}, (16, 4)),
    "BatchNorm1D, momentum": (BatchNorm1D, nn.BatchNorm1d, (4,), {"momentum": 0.7}, (16, 4)),
    "BatchNorm1D, not affine": (BatchNorm1D, nn.BatchNorm1d, (4,), {"affine": False}, (16, 4)),
    "BatchNorm1D, no statistics": (
        *(BatchNorm1D, nn.BatchNorm1d, (4,)),
        *({"track_running_stats": False}, (16, 4)),
    ),
    "BatchNorm2D": (BatchNorm2D, nn.BatchNorm2d, (3,), {}, (4, 3, 5, 2)),
    "LayerNorm": (LayerNorm, nn.LayerNorm, (7,), {}, (5, 7)),
    "LayerNorm, images": (LayerNorm, nn.LayerNorm, ((3, 4, 2),), {}, (5, 3, 4, 2)),
    "LayerNorm, last axis": (LayerNorm, nn.LayerNorm, (6,), {"eps": 0.1}, (5, 4, 6)),
    "LayerNorm, not affine": (
        *(LayerNorm, nn.LayerNorm, (7,)),
        *({"elementwise_affine": False}, (5, 7)),
    ),
    "GroupNorm": (GroupNorm, nn.GroupNorm, (2, 6), {}, (5, 6, 4, 2)),
    "GroupNorm, one group": (GroupNorm, nn.GroupNorm, (1, 6), {}, (5, 6, 4, 2)),
    "GroupNorm, features": (GroupNorm, nn.GroupNorm, (3, 6), {"affine": False}, (5, 6)),
    "InstanceNorm2D": (InstanceNorm2D, nn.InstanceNorm2d, (3,), {}, (5, 3, 4, 2)),
    "InstanceNorm2D, statistics": (
        *(InstanceNorm2D, nn.InstanceNorm2d, (3,)),
        *({"affine": True, "track_running_stats": True, "momentum": 0.3}, (5, 3, 4, 2)),
    ),
    "InstanceNorm2D, no momentum": (
        *(InstanceNorm2D, nn.InstanceNorm2d, (3,)),
        *({"track_running_stats": True, "momentum": None}, (5, 3, 4, 2)),
    ),
    "RMSNorm": (RMSNorm, nn.RMSNorm, (7,), {}, (5, 7)),
    "RMSNorm, images": (RMSNorm, nn.RMSNorm, ((3, 4, 2),), {"eps": 0.1}, (5, 3, 4, 2)),
    "RMSNorm, not affine": (RMSNorm, nn.RMSNorm, (7,), {"elementwise_affine": False}, (5, 7)),
    "InstanceNorm2D, affine": (
        *(InstanceNorm2D, nn.InstanceNorm2d, (3,)),
        *({"affine": True}, (5, 3, 4, 2)),
    ),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", PAIRS)
def test_layer_agrees_with_pytorch_in_both_modes(name, dtype):
    ours, theirs, arguments, options, shape = PAIRS[name]
    reference = theirs(*arguments, **options, dtype=dtype)
    found = differences(ours(*arguments, **options), reference, shape, seed=3)
    assert max(found.values()) < TOLERANCE[dtype], found
    quantities = {quantity for _, quantity in found}
    assert {"y", "dx"} <= quantities
    assert ("dgamma" in quantities) == bool(list(reference.parameters()))
    assert ("running_var" in quantities) == bool(list(reference.buffers()))


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", PAIRS)
def test_gradients_of_every_layer_and_mode_agree_with_central_differences(name, training):
    ours, _, arguments, options, shape = PAIRS[name]
    rng = np.random.default_rng(0)
    layer = ours(*arguments, **options)
    layer.forward(rng.normal(3, 5, shape))  # statistics that are not fresh
    for parameter in (layer.gamma, layer.beta):
        if parameter is not None:
            parameter[...] = rng.normal(0.5, 1, parameter.shape)
    x, dy = rng.normal(1, 2, (3, *shape[1:])), rng.normal(size=(3, *shape[1:]))
    layer.train(training).forward(x)
    dx = layer.backward(dy)
    assert compare(dx, numerical_gradient(layer.forward, x, dy)).error < 1e-7

    for parameter, gradient in ((layer.gamma, layer.dgamma), (layer.beta, layer.dbeta)):
        if parameter is not None:

            def output(values, parameter=parameter):
                before = parameter.copy()
                parameter[...] = values
                y = layer.forward(x)
                parameter[...] = before
                return y

            numerical = numerical_gradient(output, parameter.copy(), dy)
            assert compare(gradient, numerical).error < 1e-7


@pytest.mark.parametrize("name", PAIRS)
def test_state_is_exchanged_with_pytorch_key_by_key(name):
    ours, theirs, arguments, options, shape = PAIRS[name]
    mine, reference = ours(*arguments, **options), theirs(*arguments, **options)
    x = np.random.default_rng(0).normal(3, 5, shape).astype(np.float32)
    mine.forward(x)
    assert list(mine.state_dict()) == list(reference.state_dict())
    state = {key: torch.from_numpy(np.array(value)) for key, value in mine.state_dict().items()}
    reference.load_state_dict(state)
    again = ours(*arguments, **options)
    again.load_state_dict(reference.state_dict())
    with torch.no_grad():
        y = reference.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(again.eval().forward(x), y, rtol=1e-5, atol=1e-5)


def test_state_is_a_copy():
    layer = BatchNorm1D(2)
    layer.state_dict()["weight"][:] = 9.0
    np.testing.assert_array_equal(layer.gamma, 1.0)


def test_state_with_wrong_keys_or_shapes_is_refused_by_name():
    layer = BatchNorm1D(2)
    state = layer.state_dict()
    with pytest.raises(ValueError, match=r"missing \['running_var'\], unexpected \['scale'\]"):
        layer.load_state_dict({"scale": 1, **{k: state[k] for k in state if k != "running_var"}})
    with pytest.raises(ValueError, match=r"weight has shape \(3,\), expected \(2,\)"):
        layer.load_state_dict({**state, "weight": np.ones(3)})


def test_evaluation_before_any_training_is_nearly_the_identity():
    x = np.random.default_rng(0).normal(3, 5, (8, 2))
    np.testing.assert_allclose(BatchNorm1D(2).eval().forward(x), x, rtol=1e-5)


def test_evaluation_does_not_depend_on_the_rest_of_the_batch_nor_change_the_statistics():
    layer = BatchNorm1D(2)
    x = np.random.default_rng(0).normal(3, 5, (8, 2))
    layer.forward(x)
    before = layer.state_dict()
    y = layer.eval().forward(x)
    np.testing.assert_allclose(layer.forward(x[:1]), y[:1])
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_backward_follows_the_mode_of_the_last_forward():
    rng = np.random.default_rng(0)
    layer, x, dy = BatchNorm1D(2), rng.normal(size=(8, 2)), rng.normal(size=(8, 2))
    layer.forward(x)
    layer.eval()
    assert np.abs(layer.backward(dy).sum(axis=0)).max() < 1e-12
    layer.forward(x)
    layer.train()
    np.testing.assert_allclose(layer.backward(dy), dy / np.sqrt(layer.running_var + layer.eps))


def test_gradients_are_none_without_parameters():
    layer = BatchNorm1D(2, affine=False)
    layer.backward(layer.forward(np.random.default_rng(0).normal(size=(8, 2))))
    assert (layer.gamma, layer.beta, layer.dgamma, layer.dbeta) == (None, None, None, None)


def test_resetting_forgets_what_was_gathered():
    layer = BatchNorm1D(2)
    layer.forward(np.random.default_rng(0).normal(size=(8, 2)))
    layer.reset_running_stats()
    assert layer.num_batches_tracked == 0
    np.testing.assert_array_equal(layer.running_mean, 0)
    np.testing.assert_array_equal(layer.running_var, 1)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layer_keeps_the_dtype_of_its_input(name, dtype):
    ours, _, arguments, options, shape = PAIRS[name]
    layer = ours(*arguments, **options)
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    for mode in (True, False):
        y = layer.train(mode).forward(x)
        assert y.dtype == layer.backward(y).dtype == dtype


@pytest.mark.parametrize("name", PAIRS)
def test_parameters_and_statistics_have_the_dtype_that_was_asked_for(name):
    ours, theirs, arguments, options, shape = PAIRS[name]
    x = np.random.default_rng(0).normal(size=shape)
    for dtype in (np.float32, np.float64):
        layer = ours(*arguments, **options, dtype=dtype)
        layer.forward(x.astype(dtype))
        state = layer.state_dict()
        dtypes = {value.dtype for key, value in state.items() if key != "num_batches_tracked"}
        assert dtypes <= {np.dtype(dtype)}
        layer.load_state_dict(theirs(*arguments, **options).state_dict())
        assert {key: value.dtype for key, value in layer.state_dict().items()} == {
            key: value.dtype for key, value in state.items()
        }
    default = ours(*arguments, **options)
    for parameter in (default.gamma, default.beta):
        assert parameter is None or parameter.dtype == np.float64


def test_smallest_sizes_and_extreme_momenta_are_accepted():
    x = np.array([[1.0], [3.0]])
    for momentum, mean in ((0, 0.0), (1, 2.0)):
        layer = BatchNorm1D(1, momentum=momentum)
        layer.forward(x)
        assert layer.running_mean.tolist() == [mean]
    two_pixels = InstanceNorm2D(1)(np.array([[[[1.0, 3.0]]]]))
    np.testing.assert_allclose(two_pixels.ravel(), [-1, 1], rtol=1e-4)


def test_switching_the_mode_returns_the_layer():
    layer = BatchNorm1D(2)
    assert layer.eval() is layer
    assert layer.training is False
    assert layer.train() is layer
    assert layer.training is True


def test_number_of_batches_stays_a_number_through_an_exchange():
    layer = BatchNorm1D(2)
    layer.load_state_dict(nn.BatchNorm1d(2).state_dict())
    assert type(layer.num_batches_tracked) is int


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_default_eps_of_rms_normalization_is_that_of_the_dtype(dtype):
    x = 1e-5 * torch.randn(5, 7, dtype=dtype, generator=torch.Generator().manual_seed(0))
    expected = nn.RMSNorm(7, dtype=dtype)(x).detach().numpy()
    np.testing.assert_allclose(RMSNorm(7)(x.numpy()), expected, rtol=1e-5)


@pytest.mark.parametrize("name", PAIRS)
def test_layer_refuses_other_shapes_and_integers(name):
    ours, _, arguments, options, shape = PAIRS[name]
    layer = ours(*arguments, **options)
    wrong_channels = [shape[0], *(size + 1 for size in shape[1:])]
    with pytest.raises(ValueError, match="expected"):
        layer.forward(np.zeros(wrong_channels))
    with pytest.raises(ValueError, match="expected"):
        layer.forward(np.zeros(()))
    with pytest.raises(TypeError, match="got int64"):
        layer.forward(np.zeros(shape, np.int64))
    layer.forward(np.random.default_rng(0).normal(size=shape))
    with pytest.raises(ValueError, match="expected dy of the output's shape"):
        layer.backward(np.zeros(shape[1:]))


def test_backward_before_forward_is_refused():
    with pytest.raises(RuntimeError, match=r"^backward needs a forward pass first$"):
        BatchNorm1D(2).backward(np.zeros((8, 2)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: BatchNorm1D(0), "positive sizes"),
        (lambda: BatchNorm1D(2, eps=-1.0), "eps >= 0, got -1.0"),
        (lambda: BatchNorm1D(2, momentum=1.5), r"momentum in \[0, 1\] or None, got 1.5"),
        (lambda: GroupNorm(4, 6), "cannot divide 6 channels into 4 groups"),
        (lambda: GroupNorm(0, 6), "cannot divide 6 channels into 0 groups"),
        (lambda: LayerNorm(()), "positive sizes"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_one_pixel_per_channel_is_refused_by_instance_normalization():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        InstanceNorm2D(3).forward(np.zeros((5, 3, 1, 1)))


def test_repr_shows_the_arguments_and_the_mode():
    assert repr(BatchNorm1D(3)) == "BatchNorm1D(3, eps=1e-05, momentum=0.1)  # training mode"
    layer = BatchNorm1D(3, track_running_stats=False)
    assert repr(layer).startswith(
        "BatchNorm1D(3, eps=1e-05, momentum=0.1, track_running_stats=False)"
    )
    assert repr(LayerNorm((3, 2))) == "LayerNorm(3, 2, eps=1e-05)  # training mode"
    assert repr(RMSNorm(3, eps=0.5)) == "RMSNorm(3, eps=0.5)  # training mode"
    layer = GroupNorm(2, 6, affine=False).eval()
    assert repr(layer) == "GroupNorm(2, 6, eps=1e-05, affine=False)  # evaluation mode"
    assert repr(RMSNorm((3, 2))) == "RMSNorm(3, 2)  # training mode"
