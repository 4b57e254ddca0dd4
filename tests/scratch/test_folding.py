"""Folding, against PyTorch's own and against the two layers that it replaces."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from bn_tutorial.scratch.folding import fold

NORMS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
CONVOLUTIONS = {
    False: {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d},
    True: {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d},
}
# Input channels, output channels and groups. With equal channels the axes of a transposed
# convolution can be mistaken for each other without an error.
CHANNELS = {
    "plain": (6, 4, 1),
    "equal channels": (4, 4, 1),
    "groups": (6, 4, 2),
    "equal channels in groups": (4, 4, 2),
    "depthwise": (4, 4, 4),
    "depthwise, two outputs each": (3, 6, 3),
}
# Dimensions of the kernel, whether transposed, channels.
CASES = {
    "Linear": (0, False, (5, 4, 1)),
    "Linear, equal channels": (0, False, (4, 4, 1)),
    **{
        f"{CONVOLUTIONS[transpose][dims].__name__}, {name}": (dims, transpose, CHANNELS[name])
        for transpose, dims, name in itertools.product((False, True), (1, 2, 3), CHANNELS)
    },
}


def array(tensor):
    return None if tensor is None else tensor.detach().numpy()


def make(name, *, bias):
    dims, transpose, (inputs, outputs, groups) = CASES[name]
    if not dims:
        return nn.Linear(inputs, outputs, bias=bias)
    arguments = {"stride": 2, "padding": 1, "dilation": 2, "groups": groups, "bias": bias}
    return CONVOLUTIONS[transpose][dims](inputs, outputs, 3, **arguments)


def trained(name, *, bias=True, affine=True, dtype=torch.float64):
    """Both layers after a few batches in training mode: nothing is zero, nothing is one."""
    torch.manual_seed(0)
    dims, _, (inputs, outputs, _) = CASES[name]
    layer = make(name, bias=bias).to(dtype)
    bn = NORMS[dims](outputs, eps=1e-2, affine=affine, dtype=dtype)
    for parameter in bn.parameters():
        nn.init.normal_(parameter)
    shape = (4, inputs, *[5] * dims)
    for _ in range(2):
        bn(layer(torch.randn(shape, dtype=dtype) + 1))
    return layer.eval(), bn.eval(), torch.randn(shape, dtype=dtype)


def folded(layer, bn, **options):
    state = (bn.weight, bn.bias, bn.running_mean, bn.running_var)
    return fold(array(layer.weight), array(layer.bias), *map(array, state), eps=bn.eps, **options)


@pytest.mark.parametrize(
    ("bias", "affine"), [(True, True), (False, False)], ids=["all given", "neither bias nor affine"]
)
@pytest.mark.parametrize("name", CASES)
def test_one_layer_computes_what_two_computed(name, bias, affine):
    layer, bn, x = trained(name, bias=bias, affine=affine)
    _, transpose, (_, _, groups) = CASES[name]
    one = make(name, bias=True).double()
    parameters = folded(layer, bn, transpose=transpose, groups=groups)
    one.weight.data, one.bias.data = map(torch.from_numpy, parameters)
    np.testing.assert_allclose(array(one(x)), array(bn(layer(x))), atol=1e-12)


def test_transposed_convolution_folded_as_an_ordinary_one_is_off():
    layer, bn, _ = trained("ConvTranspose2d, equal channels")
    wrong, _ = folded(layer, bn)
    right, _ = folded(layer, bn, transpose=True)
    assert np.abs(wrong - right).max() > 0.1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", [n for n, (_, _, (*_, groups)) in CASES.items() if groups == 1])
def test_folded_parameters_are_those_of_pytorchs_fusion(name, bias):
    layer, bn, _ = trained(name, bias=bias)
    dims, transpose, _ = CASES[name]
    options = {"transpose": True} if transpose else {}
    fused = (fuse_conv_bn_eval if dims else fuse_linear_bn_eval)(layer, bn, **options)
    weight, shift = folded(layer, bn, **options)
    np.testing.assert_allclose(weight, array(fused.weight), rtol=1e-12)
    np.testing.assert_allclose(shift, array(fused.bias), rtol=1e-12, atol=1e-14)


def test_dtype_is_that_of_the_weight():
    layer, bn, _ = trained("Linear", dtype=torch.float32)
    bn.eps = np.float64(1e-5)
    assert [a.dtype for a in folded(layer, bn.double())] == [np.float32, np.float32]
    layer.bias = bn.weight = bn.bias = None
    assert [a.dtype for a in folded(layer, bn)] == [np.float32, np.float32]


def test_nothing_given_is_changed():
    layer, bn, _ = trained("Linear")
    before = array(layer.weight).copy(), array(layer.bias).copy()
    folded(layer, bn)
    np.testing.assert_array_equal(array(layer.weight), before[0])
    np.testing.assert_array_equal(array(layer.bias), before[1])


def test_groups_may_be_numpy_integers_and_statistics_integers():
    ones = np.ones(4, int)
    options = {"eps": np.float32(0), "transpose": np.True_, "groups": np.int64(2)}
    weight, shift = fold(np.ones((2, 2)), ones, None, None, ones, 4 * ones, **options)
    np.testing.assert_array_equal(weight, 0.5)
    np.testing.assert_array_equal(shift, 0.0)


NAMES = ("bias", "gamma", "beta", "running_mean", "running_var")


@pytest.mark.parametrize("wrong", range(5))
def test_parameter_of_another_size_is_refused_by_name(wrong):
    given = [np.ones(3 if i == wrong else 4) for i in range(5)]
    with pytest.raises(ValueError, match=rf"{NAMES[wrong]} has shape \(3,\), expected \(4,\)"):
        fold(np.ones((4, 2)), *given)


@pytest.mark.parametrize("missing", [3, 4])
def test_normalization_without_statistics_is_refused(missing):
    given = [None if i == missing else np.ones(4) for i in range(5)]
    with pytest.raises(ValueError, match=f"^{NAMES[missing]} is None.*no constants to fold$"):
        fold(np.ones((4, 2)), *given)


def test_channels_on_the_other_axis_are_pointed_out():
    def one_each(outputs):
        return None, *[np.ones(outputs)] * 4

    transposed = r"expected \(6,\).*shape \(6, 4, 3\).*transposed.*transpose=True, groups={}$"
    with pytest.raises(ValueError, match=transposed.format(1)):
        fold(np.ones((6, 4, 3)), *one_each(4))
    with pytest.raises(ValueError, match=transposed.format(3)):
        fold(np.ones((6, 4, 3)), *one_each(12))
    with pytest.raises(ValueError, match=r"expected \(4,\).*transpose=True, groups=3$"):
        fold(np.ones((6, 4, 3)), *one_each(12), transpose=True)
    with pytest.raises(ValueError, match=r"expected \(4,\).*\? Then leave transpose out$"):
        fold(np.ones((6, 4, 3)), *one_each(6), transpose=True)
    # Four groups of four would be sixteen, but four do not divide six.
    for nowhere in (5, 6 * 5, 16):
        with pytest.raises(ValueError, match=r"expected \(6,\).*of shape \(6, 4, 3\)$"):
            fold(np.ones((6, 4, 3)), *one_each(nowhere))


def test_hint_is_given_only_where_it_helps():
    with pytest.raises(ValueError, match=r"expected \(4,\).*of shape \(6, 4, 3\)$"):
        fold(np.ones((6, 4, 3)), None, *[np.ones(5)] * 4, transpose=True)


def test_dead_channel_is_folded_with_the_default_eps_of_pytorch():
    one, zero = np.ones(1), np.zeros(1)
    weight, shift = fold(np.ones((1, 2)), None, one, zero, one, zero)
    assert nn.BatchNorm1d(1).eps == 1e-5
    np.testing.assert_allclose(weight, 1 / np.sqrt(1e-5))
    np.testing.assert_allclose(shift, -1 / np.sqrt(1e-5))


def test_groups_that_do_not_divide_the_channels_are_refused():
    four, six = [np.ones(4)] * 4, [np.ones(6)] * 4
    with pytest.raises(ValueError, match=r"3 groups do not divide the 4 channels.*\(4, 2, 3\)"):
        fold(np.ones((4, 2, 3)), None, *four, groups=3)
    with pytest.raises(ValueError, match=r"3 groups do not divide the 4 channels.*\(4, 2, 3\)"):
        fold(np.ones((4, 2, 3)), None, *six, transpose=True, groups=3)


@pytest.mark.parametrize("groups", [0, -2])
def test_fewer_than_one_group_is_refused(groups):
    with pytest.raises(ValueError, match=f"expected a positive groups, got {groups}"):
        fold(np.ones((4, 2)), None, *[np.ones(4)] * 4, groups=groups)


@pytest.mark.parametrize("groups", [2.0, "2", None, True])
def test_groups_that_are_no_whole_number_are_refused(groups):
    with pytest.raises(TypeError, match="expected an int for groups, got"):
        fold(np.ones((4, 2)), None, *[np.ones(4)] * 4, groups=groups)


def test_variance_or_eps_without_a_root_is_refused():
    ones, var = np.ones(3), np.array([1.0, 4.0, 2.0])
    for wrong in (-0.5, np.nan):
        var[1] = wrong
        with pytest.raises(ValueError, match=rf"running_var\[1\] = {wrong}.*expected a variance"):
            fold(np.ones((3, 2)), None, ones, ones, ones, var, eps=1.0)
    for eps in (-1e-5, float("nan")):
        with pytest.raises(ValueError, match=f"expected a finite eps >= 0, got {eps}"):
            fold(np.ones((3, 2)), None, *[ones] * 4, eps=eps)
    with pytest.raises(ValueError, match=r"running_var\[0\] = 0.0 and eps = 0.0.*positive"):
        fold(np.ones((3, 2)), None, ones, ones, ones, np.array([0.0, 1.0, 1.0]), eps=0.0)


def test_weight_without_inputs_or_of_integers_is_refused():
    with pytest.raises(ValueError, match=r"shape \(K, C, ...\), got \(4,\)"):
        fold(np.ones(4), None, *[np.ones(4)] * 4)
    with pytest.raises(TypeError, match=r"got int64: convert with weight\.astype"):
        fold(np.ones((4, 2), np.int64), None, *[np.ones(4)] * 4)
