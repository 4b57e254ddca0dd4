import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from bn_tutorial.networks.curvature import Surface, own_lengths
from bn_tutorial.networks.perceptron import DeepNet


@pytest.fixture
def network():
    """A small network with batch normalization in double precision, and its loss on a batch."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(30, 784, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (30,), generator=generator)
    model = DeepNet("batch", widths=(784, 4, 4, 3), activation="tanh", init="glorot").double()

    def loss():
        return cross_entropy(model(images), labels)

    return model, loss


def small(model):
    """The parameters without the first weights, which are too many for a whole matrix."""
    return [p for name, p in model.named_parameters() if name != "hidden_1.linear.weight"]


def hessian(loss, parameters, units):
    """All second derivatives, one row after the other."""
    gradients = torch.autograd.grad(loss(), parameters, create_graph=True)
    flat = torch.cat([u * g.flatten() for u, g in zip(units, gradients, strict=True)])
    rows = []
    for one in flat:
        row = torch.autograd.grad(one, parameters, retain_graph=True)
        rows.append(torch.cat([u * r.flatten() for u, r in zip(units, row, strict=True)]))
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("scaled", [False, True])
def test_sharpness_is_the_largest_eigenvalue_of_the_matrix_of_second_derivatives(network, scaled):
    model, loss = network
    parameters = small(model)
    units = [float(number + 1) for number in range(len(parameters))] if scaled else None
    expected = np.linalg.eigvalsh(hessian(loss, parameters, units or [1.0] * len(parameters)))
    found = Surface(loss, parameters, units).sharpness(1e-6)
    assert found == pytest.approx(expected[-1], rel=1e-5)


def test_sharpness_is_the_largest_eigenvalue_though_a_negative_one_is_greater_in_size():
    w = torch.nn.Parameter(torch.tensor([1.0, 1.0, 1.0, 1.0]))
    surface = Surface(lambda: (torch.tensor([-9.0, 2.0, 1.0, 0.0]) * w**2).sum(), [w])
    assert surface.sharpness() == pytest.approx(4.0, rel=0.02)


def test_scale_free_sharpness_ignores_the_length_of_weights_before_the_layer(network):
    model, loss = network

    def both():
        parameters = list(model.parameters())
        units = own_lengths(model)
        return Surface(loss, parameters).sharpness(), Surface(loss, parameters, units).sharpness()

    raw, free = both()
    with torch.no_grad():
        model.hidden_2.linear.weight.mul_(0.1)
    raw_of_short, free_of_short = both()
    assert free_of_short == pytest.approx(free, rel=0.03)
    assert raw_of_short > 5 * raw


def test_walk_meets_the_losses_and_gradients_that_lie_on_its_way():
    w = torch.nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    walk = Surface(lambda: w.square().sum() / 2, [w]).walk([1.0, 5.0])
    np.testing.assert_allclose(walk.loss, [12.5, 8.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(walk.turned, [1.0, 5.0])
    assert w.tolist() == [3.0, 4.0]


def test_walk_in_units_goes_down_the_gradient_of_these_units():
    w = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    v = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    # In units of 2 and 1 the gradient is (2, 1): a way of sqrt 5 moves w by 4 and v by 1.
    walk = Surface(lambda: (w + v).sum(), [w, v], [2.0, 1.0]).walk([math.sqrt(5)])
    np.testing.assert_allclose(walk.loss, [2.0, -3.0])


def test_walk_leaves_the_network_as_it_was(network):
    model, loss = network
    before = [p.detach().clone() for p in model.parameters()]
    Surface(loss, list(model.parameters()), own_lengths(model)).walk([0.1])
    assert all(map(torch.equal, before, model.parameters()))


def test_lengths_are_of_whole_layers_in_the_order_of_the_parameters(network):
    model, _ = network
    with torch.no_grad():
        model.output.bias.fill_(1.0)
    names = [name for name, _ in model.named_parameters()]
    lengths = dict(zip(names, own_lengths(model), strict=True))
    assert lengths["hidden_1.norm.weight"] == lengths["hidden_1.norm.bias"] == 2.0  # gamma is one
    own = torch.cat([model.output.weight.detach().flatten(), model.output.bias.detach()]).norm()
    assert lengths["output.weight"] == lengths["output.bias"] == pytest.approx(own.item())
