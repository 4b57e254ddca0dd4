import pytest
import torch

from bn_tutorial.networks.few_weights import train_few_weights
from bn_tutorial.networks.perceptron import DeepNet

IMAGES = torch.randn(20, 784, generator=torch.Generator().manual_seed(0))


def gradients(model):
    names = [name for name, _ in model.named_parameters()]
    loss = model(IMAGES).square().mean()
    return dict(zip(names, torch.autograd.grad(loss, list(model.parameters())), strict=True))


def network():
    return DeepNet("batch", widths=(784, 6, 5, 3), activation="tanh", seed=1)


def test_so_many_weights_of_each_unit_learn_as_they_did():
    full, model = gradients(network()), network()
    train_few_weights(model, 2, seed=0)
    few = gradients(model)
    for name in ("hidden_1.linear.weight", "hidden_2.linear.weight"):
        learns = few[name] != 0
        assert (learns.sum(dim=1) == 2).all()
        assert torch.equal(few[name][learns], full[name][learns])


def test_hidden_biases_stay_and_the_rest_learns_as_before():
    full, model = gradients(network()), network()
    train_few_weights(model, 2, seed=0)
    few = gradients(model)
    assert not few["hidden_1.linear.bias"].any()
    rest = [name for name in full if "linear" not in name]
    assert "output.weight" in rest
    assert all(torch.equal(few[name], full[name]) for name in rest)


def test_seed_decides_which_weights_learn():
    def learning(seed):
        model = network()
        train_few_weights(model, 2, seed)
        return gradients(model)["hidden_1.linear.weight"] != 0

    assert torch.equal(learning(3), learning(3))
    assert not torch.equal(learning(3), learning(4))


@pytest.mark.parametrize("per_unit", [1, 5])
def test_as_few_as_one_and_as_many_as_a_unit_has_may_learn(per_unit):
    model = DeepNet("batch", widths=(784, 5, 5, 3), activation="tanh", seed=1)
    train_few_weights(model, per_unit, seed=0)
    learns = gradients(model)["hidden_2.linear.weight"] != 0
    assert (learns.sum(dim=1) == per_unit).all()


@pytest.mark.parametrize("per_unit", [0, 7])
def test_a_number_of_weights_that_a_unit_does_not_have_is_refused(per_unit):
    with pytest.raises(ValueError, match="expected from 1 to the"):
        train_few_weights(network(), per_unit, seed=0)
    with pytest.raises(TypeError, match=r"^per_unit is 1\.5"):
        train_few_weights(network(), 1.5, seed=0)
