"""Folding, against PyTorch's own and against the two layers that it replaces."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from bn_tutorial.scratch.folding import fold

LAYERS = {
    "linear": (lambda bias: nn.Linear(5, 4, bias=bias), nn.BatchNorm1d, (8, 5)),
    "convolution": (lambda bias: nn.Conv2d(5, 4, 3, 2, 1, bias=bias), nn.BatchNorm2d, (8, 5, 6, 6)),
    "grouped": (
        lambda bias: nn.Conv2d(6, 4, 3, groups=2, bias=bias), nn.BatchNorm2d, (8, 6, 5, 5),
    ),
}  # fmt: skip
FUSE = {nn.Linear: fuse_linear_bn_eval, nn.Conv2d: fuse_conv_bn_eval}


def array(tensor):
    return None if tensor is None else tensor.detach().numpy()


def trained(name, *, bias=True, dtype=torch.float64):
    """Both layers after a few batches in training mode: nothing is zero, nothing is one."""
    torch.manual_seed(0)
    make, norm, shape = LAYERS[name]
    layer, bn = make(bias).to(dtype), norm(4, eps=1e-2, dtype=dtype)
    nn.init.normal_(bn.weight)
    nn.init.normal_(bn.bias)
    for _ in range(5):
        bn(layer(torch.randn(shape, dtype=dtype) + 1))
    return layer.eval(), bn.eval(), torch.randn(shape, dtype=dtype)


def folded(layer, bn):
    state = (bn.weight, bn.bias, bn.running_mean, bn.running_var)
    return fold(array(layer.weight), array(layer.bias), *map(array, state), eps=bn.eps)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_folded_parameters_are_those_of_pytorchs_fusion(name, bias):
    layer, bn, _ = trained(name, bias=bias)
    weight, shift = folded(layer, bn)
    fused = FUSE[type(layer)](layer, bn)
    np.testing.assert_allclose(weight, array(fused.weight), rtol=1e-12)
    np.testing.assert_allclose(shift, array(fused.bias), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", LAYERS)
def test_one_layer_computes_what_two_computed(name):
    layer, bn, x = trained(name)
    expected = array(bn(layer(x)))
    weight, shift = folded(layer, bn)
    layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(shift)
    np.testing.assert_allclose(array(layer(x)), expected, atol=1e-12)


def test_dtype_is_that_of_the_weight():
    layer, bn, _ = trained("linear", dtype=torch.float32)
    assert [a.dtype for a in folded(layer, bn.double())] == [np.float32, np.float32]


def test_nothing_given_is_changed():
    layer, bn, _ = trained("linear")
    before = array(layer.weight).copy(), array(layer.bias).copy()
    folded(layer, bn)
    np.testing.assert_array_equal(array(layer.weight), before[0])
    np.testing.assert_array_equal(array(layer.bias), before[1])


@pytest.mark.parametrize("wrong", range(5))
def test_parameter_of_another_size_is_refused_by_name(wrong):
    names = ("bias", "gamma", "beta", "running_mean", "running_var")
    given = [np.ones(3 if i == wrong else 4) for i in range(5)]
    with pytest.raises(ValueError, match=rf"{names[wrong]} has shape \(3,\), expected \(4,\)"):
        fold(np.ones((4, 2)), *given)


def test_weight_without_inputs_or_of_integers_is_refused():
    with pytest.raises(ValueError, match=r"shape \(K, C, ...\), got \(4,\)"):
        fold(np.ones(4), None, *[np.ones(4)] * 4)
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        fold(np.ones((4, 2), np.int64), None, *[np.ones(4)] * 4)
