"""The layers against PyTorch's: what they compute, hold, exchange and refuse."""

import inspect
import itertools
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bn_tutorial
from bn_tutorial.scratch import layers
from bn_tutorial.scratch.conformance import differences
from bn_tutorial.scratch.gradcheck import compare, numerical_gradient
from bn_tutorial.scratch.layers import (
    BatchNorm1D,
    BatchNorm2D,
    BatchNorm3D,
    GroupNorm,
    InstanceNorm1D,
    InstanceNorm2D,
    InstanceNorm3D,
    LayerNorm,
    RMSNorm,
)

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}

STATISTICS = {"affine": True, "track_running_stats": True}

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
    "BatchNorm3D": (BatchNorm3D, nn.BatchNorm3d, (3,), {}, (4, 3, 2, 3, 2)),
    "InstanceNorm1D": (InstanceNorm1D, nn.InstanceNorm1d, (3,), STATISTICS, (5, 3, 4)),
    "InstanceNorm3D": (InstanceNorm3D, nn.InstanceNorm3d, (3,), STATISTICS, (4, 3, 2, 3, 2)),
    "InstanceNorm1D, unbatched": (InstanceNorm1D, nn.InstanceNorm1d, (3,), STATISTICS, (3, 4)),
    "InstanceNorm2D, unbatched": (InstanceNorm2D, nn.InstanceNorm2d, (3,), STATISTICS, (3, 4, 2)),
    "InstanceNorm3D, unbatched": (InstanceNorm3D, nn.InstanceNorm3d, (3,), {}, (3, 4, 2, 2)),
    "LayerNorm, one sample": (LayerNorm, nn.LayerNorm, (3,), {}, (3,)),
    "LayerNorm, one image": (LayerNorm, nn.LayerNorm, ((3, 4, 2),), {}, (3, 4, 2)),
    "LayerNorm, no shift": (LayerNorm, nn.LayerNorm, (7,), {"bias": False}, (5, 7)),
    "RMSNorm, one sample": (RMSNorm, nn.RMSNorm, (3,), {}, (3,)),
}


FUSED = pytest.mark.parametrize("fused", [False, True], ids=["NumPy", "fused"])


@pytest.mark.parametrize(
    ("dtype", "fused"), [*((dtype, False) for dtype in TOLERANCE), (torch.float64, True)]
)
@pytest.mark.parametrize("name", PAIRS)
def test_layer_agrees_with_pytorch_in_both_modes(name, dtype, fused):
    ours, theirs, arguments, options, shape = PAIRS[name]
    reference = theirs(*arguments, **options, dtype=dtype)
    found = differences(ours(*arguments, **options, fused=fused), reference, shape, seed=3)
    assert max(found.values()) < TOLERANCE[dtype], found
    quantities = {quantity for _, quantity in found}
    assert {"y", "dx"} <= quantities
    assert ("dgamma" in quantities) == bool(list(reference.parameters()))
    assert ("running_var" in quantities) == bool(list(reference.buffers()))


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", PAIRS)
@FUSED
def test_gradients_of_every_layer_and_mode_agree_with_central_differences(name, training, fused):
    ours, _, arguments, options, shape = PAIRS[name]
    rng = np.random.default_rng(0)
    layer = ours(*arguments, **options, fused=fused)
    layer.forward(rng.normal(3, 5, shape))  # statistics that are not fresh
    for parameter in (layer.gamma, layer.beta):
        if parameter is not None:
            parameter[...] = rng.normal(0.5, 1, parameter.shape)
    few = (min(3, shape[0]), *shape[1:])
    x, dy = rng.normal(1, 2, few), rng.normal(size=few)
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


@pytest.mark.parametrize(("ours", "theirs"), sorted({pair[:2] for pair in PAIRS.values()}, key=str))
def test_arguments_have_the_names_and_defaults_of_pytorch_and_are_kept(ours, theirs):
    mine, reference = (dict(inspect.signature(layer).parameters) for layer in (ours, theirs))
    assert mine.keys() - {"fused"} == reference.keys() - {"device"}
    sizes = [2, 6] if ours is GroupNorm else [6]
    assert ours(*sizes).fused is False
    for name in [*mine][len(sizes) :]:
        if name not in ("dtype", "fused"):
            assert getattr(ours(*sizes), name) == reference[name].default
        other = {"eps": 0.5, "momentum": 0.7, "dtype": np.float32}.get(name, not mine[name].default)
        assert getattr(ours(*sizes, **{name: other}), name) == other


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
    with pytest.raises(ValueError, match=r"missing \[\], unexpected \['scale'\]"):
        layer.load_state_dict({**state, "scale": 1})
    del state["bias"]
    with pytest.raises(ValueError, match=r"missing \['bias'\], unexpected \[\]"):
        layer.load_state_dict(state)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(BatchNorm1D, nn.BatchNorm1d), (InstanceNorm1D, nn.InstanceNorm1d)]
)
def test_state_without_a_counter_is_taken_as_in_pytorch(ours, theirs):
    mine = ours(2, track_running_stats=True, affine=True)
    reference = theirs(2, track_running_stats=True, affine=True)
    x = np.random.default_rng(0).normal(3, 5, (8, 2, 5)).astype(np.float32)
    mine.forward(x)
    reference(torch.from_numpy(x))
    old = dict(theirs(2, track_running_stats=True, affine=True).state_dict())
    del old["num_batches_tracked"]
    mine.load_state_dict(old)
    reference.load_state_dict(old)
    assert mine.num_batches_tracked == reference.num_batches_tracked.item()
    np.testing.assert_array_equal(mine.running_mean, 0)


def test_state_that_is_refused_changes_nothing():
    layer = BatchNorm1D(2)
    state = {**layer.state_dict(), "weight": np.full(2, 7.0), "running_var": np.ones(3)}
    with pytest.raises(ValueError, match="running_var has shape"):
        layer.load_state_dict(state)
    np.testing.assert_array_equal(layer.gamma, 1)


BUFFERS = {
    "as built": (),
    "no statistics": ("running_mean", "running_var"),
    "no mean": ("running_mean",),
    "no variance": ("running_var",),
    "no counter": ("num_batches_tracked",),
}
SITUATIONS = list(itertools.product((True, False), (None, True, False), BUFFERS))
MODES = list(itertools.product((True, False), (0.1, None)))


def in_situation(layer, later, buffers, training):
    """Bring a layer, ours or PyTorch's, into a situation."""
    if later is not None:
        layer.track_running_stats = later
    for name in BUFFERS[buffers]:
        setattr(layer, name, None)
    return layer.train(training)


def outcome(layer, x):
    """The output and the statistics afterwards, or None where the layer refuses."""
    try:
        y = layer(x)
    except (ValueError, RuntimeError):
        return None
    after = (y, layer.running_mean, layer.running_var, layer.num_batches_tracked)
    return [a.detach().numpy().copy() if isinstance(a, torch.Tensor) else a for a in after]


def assert_same_outcome(found, expected):
    assert (found is None) == (expected is None)
    for mine, theirs in zip(found or (), expected or (), strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("built", "later", "buffers"), SITUATIONS)
def test_flag_and_buffers_decide_as_in_pytorch(built, later, buffers):
    x = np.random.default_rng(0).normal(3, 5, (8, 2))
    for training, momentum in MODES:
        options = {"momentum": momentum, "track_running_stats": built}
        mine = in_situation(BatchNorm1D(2, **options), later, buffers, training)
        theirs = nn.BatchNorm1d(2, **options, dtype=torch.float64)
        theirs = in_situation(theirs, later, buffers, training)
        assert_same_outcome(outcome(mine, x), outcome(theirs, torch.from_numpy(x)))


@pytest.mark.parametrize("missing", ["running_mean", "running_var"])
def test_one_running_statistic_without_the_other_is_refused(missing):
    layer = BatchNorm1D(2).eval()
    setattr(layer, missing, None)
    said = "^expected running_mean and running_var to be both arrays or both None$"
    with pytest.raises(ValueError, match=said):
        layer.forward(np.zeros((8, 2)))


@pytest.mark.parametrize(("built", "later", "buffers"), SITUATIONS)
def test_flag_and_buffers_decide_in_instance_normalization_but_for_a_fault_of_pytorchs(
    built, later, buffers
):
    x = np.random.default_rng(0).normal(3, 5, (8, 2, 4))
    for training, momentum in MODES:
        options = {"momentum": momentum, "track_running_stats": built}
        mine = in_situation(InstanceNorm1D(2, **options), later, buffers, training)
        theirs = nn.InstanceNorm1d(2, **options, dtype=torch.float64)
        theirs = in_situation(theirs, later, buffers, training)
        found, expected = outcome(mine, x), outcome(theirs, torch.from_numpy(x))
        if not (built and later is False):
            assert_same_outcome(found, expected)
            continue
        # The flag does not keep PyTorch from moving the statistics, even in evaluation mode, nor
        # from refusing one without the other; it keeps us.
        for statistic, fresh in zip(found[1:3], (0, 1), strict=True):
            assert statistic is None or np.all(statistic == fresh)
        if buffers in ("no mean", "no variance"):
            assert expected is None
        else:
            assert_same_outcome(found[:1], expected[:1])
            has_moved = expected[1] is not None and bool(np.all(expected[1] != 0))
            assert has_moved == (buffers != "no statistics" and momentum is not None)


def test_flag_set_to_false_in_training_stops_moving_the_statistics():
    layer = BatchNorm1D(2)
    x = np.random.default_rng(0).normal(3, 5, (8, 2))
    layer.forward(x)
    before = layer.state_dict()
    layer.track_running_stats = False
    layer.forward(x + 1)
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


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
    layer = ours(*arguments, **options, dtype=np.float32)
    layer.forward(x)  # of the other dtype
    for value in layer.state_dict().values():
        assert value.dtype in (np.float32, np.int64)
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
    with pytest.raises(ValueError, match="expected"):
        layer.forward(np.zeros([size + 1 for size in shape]))
    with pytest.raises(ValueError, match="expected"):
        layer.forward(np.zeros(()))
    with pytest.raises(TypeError, match="got int64"):
        layer.forward(np.zeros(shape, np.int64))
    layer.forward(np.random.default_rng(0).normal(size=shape))
    with pytest.raises(ValueError, match="expected dy of the output's shape"):
        layer.backward(np.zeros(shape[1:]))


@pytest.mark.parametrize("name", ["gamma", "beta"])
def test_parameter_of_another_shape_is_refused_by_name(name):
    for layer, x in ((LayerNorm((3, 2)), np.ones((5, 3, 2))), (BatchNorm1D(3), np.ones((5, 3)))):
        shape = getattr(layer, name).shape
        setattr(layer, name, np.ones((*shape[:-1], 1)))  # would broadcast
        with pytest.raises(ValueError, match=rf"^{name} has shape .*, expected \({shape[0]},"):
            layer.forward(x)


def test_backward_before_forward_is_refused():
    with pytest.raises(RuntimeError, match=r"^backward needs a forward pass first$"):
        BatchNorm1D(2).backward(np.zeros((8, 2)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: BatchNorm1D(0), "positive num_features, got 0"),
        (lambda: BatchNorm1D(2, eps=-1.0), "eps >= 0, got -1.0"),
        (lambda: BatchNorm1D(2, eps=np.nan), "eps >= 0, got nan"),
        (lambda: RMSNorm(2, eps=np.inf), "eps >= 0, got inf"),
        (lambda: BatchNorm1D(2, momentum=1.5), r"momentum in \[0, 1\], got 1.5"),
        (lambda: InstanceNorm2D(2, momentum=np.nan), r"momentum in \[0, 1\], got nan"),
        (lambda: GroupNorm(4, 6), "cannot divide 6 channels into 4 groups"),
        (lambda: GroupNorm(0, 6), "positive num_groups, got 0"),
        (lambda: LayerNorm(()), r"at least one size in normalized_shape, got \(\)"),
        (lambda: RMSNorm((3, -1)), "positive normalized_shape, got -1"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: BatchNorm1D("3"), r"an int for num_features, got '3' \(str\)"),
        (lambda: BatchNorm2D(3.0), r"an int for num_features, got 3.0 \(float\)"),
        (lambda: InstanceNorm2D(True), r"an int for num_features, got True \(bool\)"),
        (lambda: BatchNorm1D(None), r"an int for num_features, got None"),
        (lambda: LayerNorm("34"), r"an int for normalized_shape, got '34' \(str\)"),
        (lambda: LayerNorm((3, 4.0)), r"an int for normalized_shape, got 4.0 \(float\)"),
        (lambda: RMSNorm(np.bool_(True)), r"an int for normalized_shape, got .*True.* \(bool"),
        (lambda: GroupNorm(2, "6"), r"an int for num_channels, got '6' \(str\)"),
        (lambda: GroupNorm(2.0, 6), r"an int for num_groups, got 2.0 \(float\)"),
        (lambda: BatchNorm1D(2, eps=None), r"a number for eps, got None \(NoneType\)"),
        (lambda: BatchNorm1D(2, momentum="0.1"), r"a number for momentum, got '0.1' \(str\)"),
        (lambda: BatchNorm1D(2, dtype=np.float16), "dtype float32 or float64, got float16"),
    ],
)
def test_arguments_of_another_kind_are_refused_by_name(build, message):
    with pytest.raises(TypeError, match=message):
        build()


def test_sizes_may_be_integers_of_numpys():
    three, two = np.int64(3), np.int32(2)
    for mine, same, shape in (
        (BatchNorm1D(three), BatchNorm1D(3), (5, 3)),
        (InstanceNorm2D(three), InstanceNorm2D(3), (5, 3, 2, 2)),
        (LayerNorm(three), LayerNorm(3), (5, 3)),
        (LayerNorm([three, two]), LayerNorm((3, 2)), (5, 3, 2)),
        (RMSNorm(three), RMSNorm(3), (5, 3)),
        (GroupNorm(two, np.uint8(6)), GroupNorm(2, 6), (5, 6)),
    ):
        x = np.random.default_rng(0).normal(size=shape)
        np.testing.assert_array_equal(mine(x), same(x))
        assert repr(mine) == repr(same)


def refusal(layer, shape):
    with pytest.raises(ValueError, match="expected") as caught:
        layer.forward(np.zeros(shape))
    return str(caught.value)


@pytest.mark.parametrize(
    ("layer", "shape", "fitting"),
    [
        (BatchNorm1D(3), (5, 3, 4, 2), BatchNorm2D),
        (BatchNorm1D(3), (5, 3, 4, 2, 2), BatchNorm3D),
        (BatchNorm2D(3), (5, 3), BatchNorm1D),
        (BatchNorm2D(3), (5, 3, 4), BatchNorm1D),
        (BatchNorm3D(3), (5, 3, 4, 2), BatchNorm2D),
        (InstanceNorm1D(3), (5, 3, 4, 2), InstanceNorm2D),
        (InstanceNorm2D(3), (5, 3, 4, 2, 2), InstanceNorm3D),
        (InstanceNorm3D(3), (5, 3, 4), InstanceNorm1D),
    ],
)
def test_input_with_more_or_fewer_axes_names_the_class_that_takes_it(layer, shape, fitting):
    assert refusal(layer, shape).endswith(f"got {shape}: {fitting.__name__} takes it")
    fitting(3)(np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (BatchNorm1D(3), (3, 8)),
        (BatchNorm1D(3), (5, 8, 3)),
        (BatchNorm2D(3), (5, 8, 8, 3)),
        (InstanceNorm2D(3), (5, 8, 8, 3)),
        (InstanceNorm2D(3), (8, 8, 3)),
        (GroupNorm(1, 3), (5, 8, 8, 3)),
        (LayerNorm(3), (5, 3, 8, 8)),
        (RMSNorm(3), (5, 3, 8, 8)),
    ],
)
def test_channels_that_stand_elsewhere_are_refused_with_the_move_that_brings_them(layer, shape):
    remedy = refusal(layer, shape).split(", pass ")[1]
    x = np.random.default_rng(0).normal(size=shape)
    assert layer(eval(remedy, {"np": np, "x": x})).size == x.size


def test_number_of_channels_that_is_nowhere_says_where_they_are_looked_for():
    assert refusal(BatchNorm2D(3), (5, 4, 8, 8)).endswith("the channels are axis 1")
    assert refusal(InstanceNorm2D(3), (4, 8, 8)).endswith("the channels are axis 0")


def test_input_with_so_many_axes_that_no_class_takes_it_is_refused_without_naming_one():
    expected = "expected shape (N, C, H, W) with C = 3, got (3,)"
    assert refusal(BatchNorm2D(3), (3,)) == expected


def test_last_axes_of_another_shape_are_told_without_a_move_that_no_single_axis_could_make():
    expected = "expected an input whose last axes are (3, 2), got (3, 8, 2)"
    assert refusal(LayerNorm((3, 2)), (3, 8, 2)) == expected


def test_instance_normalization_without_the_statistics_that_it_tracks_says_how_to_get_them():
    layer = InstanceNorm1D(3, track_running_stats=True).eval()
    layer.running_mean = layer.running_var = None
    with pytest.raises(ValueError, match="needs running statistics") as caught:
        layer.forward(np.zeros((5, 3, 4)))
    assert str(caught.value) == (
        "evaluation mode with track_running_stats needs running statistics: "
        "call reset_running_stats and train, or set track_running_stats to False"
    )


def test_tensor_and_list_are_refused_with_the_remedy():
    for ours, _, arguments, options, shape in PAIRS.values():
        layer = ours(*arguments, **options)
        with pytest.raises(TypeError, match=r"got Tensor: pass x\.detach\(\)\.cpu\(\)\.numpy\(\)"):
            layer.forward(torch.zeros(shape))
        with pytest.raises(TypeError, match=r"got list: pass np\.asarray\(x, np\.float64\)"):
            layer.forward(np.zeros(shape).tolist())
        layer.forward(np.random.default_rng(0).normal(size=shape))
        with pytest.raises(TypeError, match=r"got Tensor: pass dy\.detach\(\)"):
            layer.backward(torch.zeros(shape))


def test_no_samples_do_not_spoil_the_statistics_of_instance_normalization():
    layer = InstanceNorm1D(3, track_running_stats=True)
    with pytest.raises(ValueError, match=r"no values to pool over axes 0 .*\(0, 3, 1\)"):
        layer.forward(np.zeros((0, 3, 4)))  # PyTorch's become NaN
    np.testing.assert_array_equal(layer.running_mean, 0)
    assert layer.eval().forward(np.zeros((0, 3, 4))).shape == (0, 3, 4)
    assert InstanceNorm1D(3).forward(np.zeros((0, 3, 4))).shape == (0, 3, 4)


def test_one_pixel_per_channel_is_refused_by_instance_normalization():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        InstanceNorm2D(3).forward(np.zeros((5, 3, 1, 1)))


def test_repr_shows_the_arguments_and_the_mode():
    assert repr(BatchNorm1D(3)) == "BatchNorm1D(3, eps=1e-05, momentum=0.1)  # training mode"
    layer = BatchNorm1D(3, track_running_stats=False)
    assert repr(layer).startswith(
        "BatchNorm1D(3, eps=1e-05, momentum=0.1, track_running_stats=False)"
    )
    assert repr(LayerNorm((3, 2))) == "LayerNorm((3, 2), eps=1e-05)  # training mode"
    assert repr(RMSNorm(3, eps=0.5)) == "RMSNorm(3, eps=0.5)  # training mode"
    layer = GroupNorm(2, 6, affine=False).eval()
    assert repr(layer) == "GroupNorm(2, 6, eps=1e-05, affine=False)  # evaluation mode"
    assert repr(RMSNorm((3, 2))) == "RMSNorm((3, 2))  # training mode"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PAIRS)
def test_repr_builds_the_layer_again(name, dtype):
    ours, _, arguments, options, _ = PAIRS[name]
    layer = ours(*arguments, **options, dtype=dtype)
    again = eval(repr(layer), vars(layers))
    assert repr(again) == repr(layer)
    state = again.state_dict()
    assert {key: (value.shape, value.dtype) for key, value in layer.state_dict().items()} == {
        key: (value.shape, value.dtype) for key, value in state.items()
    }


def test_layers_are_importable_from_the_top():
    for name in bn_tutorial.__all__:
        if name != "__version__":
            assert getattr(bn_tutorial, name) is getattr(layers, name)
    public = {
        name
        for name, value in vars(layers).items()
        if isinstance(value, type) and value.__module__ == layers.__name__ and name[0] != "_"
    }
    assert public == set(bn_tutorial.__all__) - {"__version__"}


def test_importing_the_layers_needs_numpy_alone():
    code = "import sys, bn_tutorial; print([m for m in sys.modules if m.split('.')[0] in %r])"
    heavy = ("torch", "scipy", "matplotlib", "sklearn", "joblib")
    command = [sys.executable, "-c", code % (heavy,)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_version_is_written_once():
    root = Path(bn_tutorial.__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert "version" not in project["project"]
    assert (root / project["tool"]["hatch"]["version"]["path"]).samefile(bn_tutorial.__file__)
    assert bn_tutorial.__version__[0].isdigit()
