import fractions
import inspect
import math

import numpy as np
import pytest
import torch

from bn_tutorial.networks.convolutional import ConvNet
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.residual import ResidualNet
from bn_tutorial.networks.settings import real, whole


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.int32(3)])
def test_integer_becomes_a_plain_one(value):
    result = whole(value, "size")
    assert result == 3
    assert type(result) is int


@pytest.mark.parametrize("value", [3, np.int8(3), 3.0, np.float16(3), fractions.Fraction(3)])
def test_number_becomes_a_plain_one(value):
    result = real(value, "lr")
    assert result == 3.0
    assert type(result) is float


def test_single_precision_keeps_its_value():
    assert real(np.float32(0.1), "lr") == 0.10000000149011612


def test_nan_and_infinity_are_left_to_those_who_ask():
    assert math.isnan(real(np.float32("nan"), "lr"))
    assert real(math.inf, "lr") == math.inf


@pytest.mark.parametrize("value", [300.0, np.float64(300), True, np.True_, "3", None, 3j, [3]])
def test_what_is_no_integer_is_refused_by_name(value):
    with pytest.raises(TypeError) as error:
        whole(value, "steps")
    assert str(error.value) == f"steps is {value!r}, expected an integer"


@pytest.mark.parametrize("value", [True, np.True_, "0.1", None, 3j, [0.1], torch.tensor(0.1)])
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(TypeError) as error:
        real(value, "lr")
    assert str(error.value) == f"lr is {value!r}, expected a number"


WRONG = {"int": "3", "float": "3", "Sequence[int]": ("3", "3")}
PARTS = {"widths": "a width", "channels": "a number of channels", "strides": "a stride"}
NUMBERS = [
    (network, name, WRONG[parameter.annotation])
    for network in (ConvNet, DeepNet, ResidualNet)
    for name, parameter in inspect.signature(network).parameters.items()
    if parameter.annotation in WRONG
]


@pytest.mark.parametrize(("network", "name", "wrong"), NUMBERS)
def test_setting_of_a_network_that_is_no_number_is_refused_by_name(network, name, wrong):
    with pytest.raises(TypeError, match=f"^{PARTS.get(name, name)} is '3', expected"):
        network(**{name: wrong})
