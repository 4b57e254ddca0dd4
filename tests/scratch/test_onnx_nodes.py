"""The cases with which ONNX tests implementations of its normalizations, run through ours.

ONNX differs in two conventions: its momentum is the weight of the old average, and its average
takes the biased variance of a batch.
"""

import importlib
import pkgutil
import re
import sys
from unittest import mock

import numpy as np
import pytest

from bn_tutorial.scratch import layers, normalize
from bn_tutorial.scratch.frameworks import FRAMEWORKS, convert_momentum

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}  # in float32; ONNX asks for 1e-3


@pytest.fixture(scope="module")
def cases():
    """By operator: the name, the attributes, the inputs and the outputs of each case.

    The modules of these operators alone are run: ONNX collects all of its operators, for seconds.
    """
    onnx = importlib.import_module("onnx")
    node = importlib.import_module("onnx.backend.test.case.node")
    found = {}

    def record(made, inputs, outputs, name, **_):
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in made.attribute}
        found.setdefault(made.op_type, []).append((name, attributes, inputs, outputs))

    wanted = re.compile(r"(batch|group|instance|layer|rms)_?normalization")
    random = np.random.get_state()  # noqa: NPY002  # which the cases seed
    # Each time anew: a module that is loaded already records nothing.
    with mock.patch.object(node, "expect", record), mock.patch.dict(sys.modules):
        for module in pkgutil.iter_modules(node.__path__):
            if wanted.fullmatch(module.name):
                importlib.import_module(f"{node.__name__}.{module.name}")
    np.random.set_state(random)  # noqa: NPY002
    return found


def with_parameters(layer, gamma, beta=None):
    layer.gamma, layer.beta = gamma, beta
    return layer


def batch(attributes, x, scale, bias, mean, var):
    momentum = convert_momentum(attributes.get("momentum", 0.9), "onnx", "pytorch")
    assert FRAMEWORKS["onnx"].running_var == "biased"
    layer = layers.BatchNorm2D(len(scale), attributes.get("epsilon", 1e-5), momentum)
    layer = with_parameters(layer, scale, bias).train(bool(attributes.get("training_mode")))
    layer.running_mean, layer.running_var = mean, var
    y = layer.forward(x)
    if not layer.training:
        return [y]
    # What this batch added to the running variance was unbiased.
    m = x.size // len(scale)
    kept = (1 - momentum) * var
    return [y, layer.running_mean, kept + (layer.running_var - kept) * (m - 1) / m]


def instance(attributes, x, scale, bias):
    layer = layers.InstanceNorm2D(len(scale), attributes.get("epsilon", 1e-5))
    return [with_parameters(layer, scale, bias).forward(x)]


def group(attributes, x, scale, bias):
    layer = layers.GroupNorm(attributes["num_groups"], len(scale), attributes.get("epsilon", 1e-5))
    return [with_parameters(layer, scale, bias).forward(x)]


def layer(attributes, x, scale, bias):
    axes, eps = last_axes(attributes, x), attributes.get("epsilon", 1e-5)
    _, cache = normalize.normalize_forward(x, scale, bias, axes=axes, eps=eps)
    made = layers.LayerNorm([x.shape[axis] for axis in axes], eps)
    return [with_parameters(made, scale, bias).forward(x), cache.mu, cache.r]


def rms(attributes, x, scale):
    shape = [x.shape[axis] for axis in last_axes(attributes, x)]
    made = layers.RMSNorm(shape, attributes.get("epsilon", 1e-5))
    return [with_parameters(made, scale).forward(x)]


def last_axes(attributes, x):
    return range(attributes.get("axis", -1) % x.ndim, x.ndim)


OURS = {
    "BatchNormalization": (batch, 4),
    "InstanceNormalization": (instance, 2),
    "GroupNormalization": (group, 2),
    "LayerNormalization": (layer, 19),
    "RMSNormalization": (rms, 19),
}


@pytest.mark.parametrize("operator", OURS)
def test_every_case_of_onnx_agrees(operator, cases):
    ours, count = OURS[operator]
    for name, attributes, inputs, outputs in cases[operator]:
        found = ours(attributes, *inputs)
        for mine, expected in zip(found, outputs, strict=True):
            assert mine.shape == expected.shape
            np.testing.assert_allclose(mine, expected, err_msg=name, **TOLERANCE)
    assert len(cases[operator]) >= count


def test_conventions_of_onnx_are_not_those_of_pytorch(cases):
    in_training = [case for case in cases["BatchNormalization"] if len(case[3]) == 3]
    for _, attributes, inputs, (_, mean, var) in in_training:
        swapped = {**attributes, "momentum": 0.1}
        assert np.abs(batch(swapped, *inputs)[1] - mean).max() > 1e-2
        layer = layers.BatchNorm2D(3, momentum=0.1)
        layer.running_var = inputs[4]
        layer.forward(inputs[0])
        assert np.abs(layer.running_var - var).max() > 1e-3
