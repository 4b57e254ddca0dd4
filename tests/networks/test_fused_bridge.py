"""The fused layer in PyTorch's place, as its NumPy sibling in test_bridge."""

import pytest
import torch
from torch import nn

from bn_tutorial.networks.bridge import FusedBatchNorm1d

SETTINGS = [
    {},
    {"eps": 1e-2, "momentum": None},
    {"affine": False},
    {"affine": False, "track_running_stats": False},
]


def random_batch(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(features, **settings):
    """Ours and PyTorch's, with the same random scale, shift and statistics."""
    ours = FusedBatchNorm1d(features, **settings, dtype=torch.float64)
    theirs = nn.BatchNorm1d(features, **settings, dtype=torch.float64)
    for seed, (name, value) in enumerate(theirs.state_dict().items(), 2):
        if value.is_floating_point():
            random = random_batch(features, seed=seed)
            value.copy_(random.exp() if name == "running_var" else random)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def passes(layer, x, upstream):
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(upstream)
    return [y.detach(), x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(7, 5), (1, 3, 4), (6, 2, 5)])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_everything_equals_pytorch(training, shape, settings):
    ours, theirs = (layer.train(training) for layer in pair(shape[1], **settings))
    for seed in (1, 2):  # the second batch finds the statistics moved
        x, upstream = 3 * random_batch(*shape, seed=seed) + 2, random_batch(*shape, seed=6)
        for mine, reference in zip(
            passes(ours, x, upstream), passes(theirs, x, upstream), strict=True
        ):
            torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_gradient_passes_pytorchs_numerical_check(training):
    layer = pair(3)[0].train(training)
    assert torch.autograd.gradcheck(layer, (random_batch(5, 3).requires_grad_(),))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("changed", ["x", "gamma"])
def test_changing_what_the_backward_pass_reads_again_is_refused_as_by_pytorch(training, changed):
    layer, _ = pair(3)
    x = random_batch(5, 3)
    loss = layer.train(training)(x).sum()
    with torch.no_grad():
        (x if changed == "x" else layer.weight).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_second_derivative_is_refused_rather_than_wrong():
    layer, _ = pair(3)
    x = random_batch(5, 3)
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), layer.weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_another_dtype_than_the_layers_is_refused_with_the_remedy(dtype):
    with pytest.raises(TypeError, match="convert with"):
        pair(3)[0](torch.ones(4, 3, dtype=dtype))
