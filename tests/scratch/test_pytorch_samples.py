"""All inputs with which PyTorch tests its own normalizations, run through ours.

Whatever is refused stands in a table with its reason; nothing is left out silently.
"""

import importlib.util
import inspect
import itertools
import re
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from bn_tutorial.scratch import functional, fused, layers
from bn_tutorial.scratch.moments import running_average, unbiased

TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}


def defined(module, name, given):
    """A function of a module of PyTorch's own tests, without running the module.

    That takes seconds, freezes PyTorch's flags and leaves an environment variable behind, while the
    functions that make sample inputs need a handful of names.
    """
    source = Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8")
    found = re.search(rf"^def {name}\(.*?(?=^\S)", source, re.MULTILINE | re.DOTALL)
    assert found, f"{module} has no function {name}"
    scope = dict(given)
    exec(found.group(), scope)
    return scope[name]


def call(*args, **kwargs):
    return SimpleNamespace(args=args, kwargs=kwargs)


def sample(x, *args, **kwargs):
    """PyTorch's SampleInput: the arguments as such, or in a tuple and a dictionary."""
    if kwargs.keys() <= {"args", "kwargs"} and not args:
        args, kwargs = kwargs.get("args", ()), kwargs.get("kwargs", {})
    return call(x, *args, **kwargs)


GIVEN = {
    "itertools": itertools,
    "torch": torch,
    "partial": partial,
    "make_tensor": torch.testing.make_tensor,
    "S": 5,  # PyTorch's usual size
    "SampleInput": sample,
    "ErrorInput": lambda sample, **_: sample,
    "FunctionInput": call,
    "ModuleInput": SimpleNamespace,
    "no_batch_dim_reference_fn": None,
}


def operator_inputs(kind, name, **options):
    """The arguments, by name, that PyTorch tests a function of ``nn.functional`` with."""
    module = "torch.testing._internal.common_methods_invocations"
    make = defined(module, f"{kind}_inputs_{name}", GIVEN)
    signature = inspect.signature(getattr(nn.functional, name.removeprefix("native_")))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for made in make(None, "cpu", **options):
            bound = signature.bind(*made.args, **made.kwargs)
            bound.apply_defaults()
            yield bound.arguments


def module_inputs(name, training):
    """The constructor's and the input's arguments that PyTorch tests a layer with."""
    kind = re.sub(r"(?<=InstanceNorm)\dd", "Nd", name)  # codespell:ignore
    make = defined(
        "torch.testing._internal.common_modules", f"module_inputs_torch_nn_{kind}", GIVEN
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {"N": int(name[-2])} if kind != name else {}
        made = make(None, "cpu", torch.float64, False, training, **options)
    return [(one.constructor_input, one.forward_input.args[0]) for one in made]


def plain(arguments):
    return {
        name: value.detach().numpy().copy() if isinstance(value, torch.Tensor) else value
        for name, value in arguments.items()
    }


def with_parameters(layer, gamma, beta, x, dy):
    layer.gamma, layer.beta = gamma, beta
    y = layer.forward(x)
    dx = layer.backward(dy(y))
    return {"y": y, "input": dx, "weight": layer.dgamma, "bias": layer.dbeta}


def batch_norm(
    code, dy, input, running_mean, running_var, weight, bias, training, momentum, eps  # noqa: A002
):  # fmt: skip
    ones = np.ones(input.shape[1:2])
    gamma, beta = ones if weight is None else weight, 0 * ones if bias is None else bias
    if training:
        y, cache = code.batch_norm_forward(input, gamma, beta, eps=eps)
        backward = code.batch_norm_backward
        if running_mean is not None:
            m = input.size // input.shape[1]
            running_mean = running_average(running_mean, cache.mu.ravel(), momentum)
            var = unbiased(cache.var.ravel(), m)
            running_var = running_average(running_var, var, momentum)
    else:
        y, cache = code.batch_norm_eval_forward(
            input, gamma, beta, running_mean, running_var, eps=eps
        )
        backward = code.batch_norm_eval_backward
    dx, dgamma, dbeta = backward(dy(y), cache)
    statistics = {"running_mean": running_mean, "running_var": running_var}
    return {"y": y, "input": dx, "weight": dgamma, "bias": dbeta, **statistics}


def instance_norm(
    code, dy, input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps  # noqa: A002
):  # fmt: skip
    build = getattr(layers, f"InstanceNorm{input.ndim - 2}D")
    tracks = running_mean is not None
    layer = build(input.shape[1], eps, momentum, track_running_stats=tracks, fused=code is fused)
    layer.train(use_input_stats)
    layer.running_mean, layer.running_var = running_mean, running_var
    found = with_parameters(layer, weight, bias, input, dy)
    return {**found, "running_mean": layer.running_mean, "running_var": layer.running_var}


def group_norm(code, dy, input, num_groups, weight, bias, eps):  # noqa: A002
    # A sample without two axes has no channels; GroupNorm says so when it is given one.
    channels = input.shape[1] if input.ndim > 1 else num_groups
    layer = layers.GroupNorm(num_groups, channels, eps, fused=code is fused)
    return with_parameters(layer, weight, bias, input, dy)


def layer_norm(code, dy, input, normalized_shape, weight, bias, eps):  # noqa: A002
    layer = layers.LayerNorm(normalized_shape, eps, fused=code is fused)
    return with_parameters(layer, weight, bias, input, dy)


def rms_norm(code, dy, input, normalized_shape, weight, eps):  # noqa: A002
    layer = layers.RMSNorm(normalized_shape, eps, fused=code is fused)
    return with_parameters(layer, weight, None, input, dy)


OURS = {f.__name__: f for f in (batch_norm, instance_norm, group_norm, layer_norm, rms_norm)}

NO_CHANNELS = "expected shape (N, C)"
NO_SAMPLES = "expected more than 1 value per channel in training, got 0"
MOMENTUM = "expected momentum in [0, 1], got -1."
EPS = "expected a finite eps >= 0, got -0.5"
# By function: how many inputs are refused for a reason, and on what shape.
REFUSED = {
    "batch_norm": {(NO_CHANNELS, (0,)): 2, (MOMENTUM, (3, 2, 3, 4)): 1},
    "instance_norm": {(MOMENTUM, (3, 2, 4)): 1, (MOMENTUM, (3, 2, 3, 4)): 2},
    "group_norm": {(EPS, (2, 6, 3)): 4},  # PyTorch gives NaN where the variance is below 0.5
    "layer_norm": {(EPS, (2, 2, 3)): 1},
    "rms_norm": {(EPS, (2, 2, 3)): 1},
    "BatchNorm1d": {(NO_SAMPLES, (0, 5, 9)): 1},
    "BatchNorm2d": {(NO_SAMPLES, (0, 5, 2, 2)): 1},
    "BatchNorm3d": {(NO_SAMPLES, (0, 5, 2, 2, 2)): 1},
}
AGREED = {"batch_norm": 9, "instance_norm": 6, "group_norm": 21, "layer_norm": 5, "rms_norm": 5}


def reason_of(error):
    """The listed reason for which an input was refused; another error is none."""
    reasons = [r for r in (NO_CHANNELS, NO_SAMPLES, MOMENTUM, EPS) if str(error).startswith(r)]
    if len(reasons) != 1:
        raise error
    return reasons[0]


def assert_agree(found, expected):
    """Compare what PyTorch computes; what it does not, such as a gradient, ours need not."""
    for quantity, theirs in expected.items():
        if theirs is not None:
            theirs = theirs.detach().numpy()
            np.testing.assert_allclose(found[quantity], theirs, err_msg=quantity, **TOLERANCE)


@pytest.mark.parametrize("code", [functional, fused], ids=["NumPy", "fused"])
@pytest.mark.parametrize("name", OURS)
def test_every_sample_input_agrees_with_pytorch_or_is_refused_for_a_listed_reason(name, code):
    agreed, refused = 0, Counter()
    for arguments in operator_inputs("sample", name, dtype=torch.float64, requires_grad=True):
        values, upstream = plain(arguments), {}

        def dy(y, upstream=upstream):
            upstream["dy"] = np.random.default_rng(1).normal(size=y.shape)
            return upstream["dy"]

        try:
            found = OURS[name](code, dy, **values)
        except ValueError as error:
            refused[reason_of(error), values["input"].shape] += 1
            continue
        leaves = ("input", "weight", "bias")
        for leaf in leaves:  # which samples may share
            if isinstance(arguments.get(leaf), torch.Tensor):
                arguments[leaf].grad = None
        y = getattr(nn.functional, name)(**arguments)
        y.backward(torch.from_numpy(upstream["dy"]))
        expected = {key: getattr(arguments.get(key), "grad", None) for key in leaves}
        expected |= {key: arguments.get(key) for key in ("running_mean", "running_var")}
        assert_agree(found, {"y": y, **expected})
        agreed += 1
    assert refused == REFUSED[name]
    assert agreed == AGREED[name]


@pytest.mark.parametrize("name", ["group_norm", "native_layer_norm", "rms_norm"])
def test_every_input_that_pytorch_expects_an_error_for_is_refused(name):
    refused = 0
    for arguments in operator_inputs("error", name):
        name = name.removeprefix("native_")
        with pytest.raises(RuntimeError):
            getattr(nn.functional, name)(**arguments)
        with pytest.raises(ValueError, match=r"expected|cannot divide|no values to pool"):
            OURS[name](functional, np.ones_like, **plain(arguments))
        refused += 1
    assert refused >= 3


LAYERS = [
    *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d"),
    *("InstanceNorm3d", "LayerNorm", "RMSNorm", "GroupNorm"),
]


def in_mode(training, ours, theirs, x, dy):
    """Run both layers on one batch; give what each computes, and the state that it is left with."""
    ours.train(training)
    theirs.train(training).zero_grad()
    x = x.detach().clone().requires_grad_()
    y = ours.forward(x.detach().numpy())
    dx = ours.backward(dy)
    found = {"y": y, "dx": dx, "weight": ours.dgamma, "bias": ours.dbeta}
    y = theirs(x)
    y.backward(torch.from_numpy(dy))
    gradients = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    assert {key for key in ("weight", "bias") if found[key] is not None} == gradients.keys()
    found |= {f"state, {key}": value for key, value in ours.state_dict().items()}
    state = {f"state, {key}": value for key, value in theirs.state_dict().items()}
    return found, {"y": y, "dx": x.grad, **gradients, **state}


@pytest.mark.parametrize("code", [functional, fused], ids=["NumPy", "fused"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", LAYERS)
def test_every_input_of_pytorchs_layers_agrees_or_is_refused_for_a_listed_reason(
    name, training, code
):
    agreed, refused = 0, Counter()
    for constructor, x in module_inputs(name, training):
        rng = np.random.default_rng(1)
        theirs = getattr(nn, name)(*constructor.args, **constructor.kwargs, dtype=torch.float64)
        options = {**constructor.kwargs, "fused": code is fused}
        ours = getattr(layers, re.sub("d$", "D", name))(*constructor.args, **options)
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter.copy_(torch.from_numpy(rng.normal(0.5, 1, parameter.shape)))
        ours.load_state_dict(theirs.state_dict())
        try:
            # In evaluation too, unless there are no samples, a batch in training comes first.
            for mode in [True, training] if len(x) else [training]:
                assert_agree(*in_mode(mode, ours, theirs, x, rng.normal(size=x.shape)))
        except ValueError as error:
            refused[reason_of(error), tuple(x.shape)] += 1
            continue
        agreed += 1
    assert refused == (REFUSED.get(name, {}) if training else {})
    assert agreed >= 6 - len(refused)
