import math
import pickle

import pytest
import torch
from torch import nn

from bn_tutorial.models import DeepNet, ScratchBatchNorm1d

NORMS = [None, "batch", "layer", "scratch"]


def random_batch(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def weights(model):
    return [module.weight for module in model.modules() if isinstance(module, nn.Linear)]


def linear_parameters(model):
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return [parameter for linear in linears for parameter in linear.parameters()]


class TestDeepNet:
    @pytest.mark.parametrize("norm", NORMS)
    def test_ten_logits_come_out_for_every_image(self, norm):
        assert DeepNet(norm)(torch.zeros(3, 784)).shape == (3, 10)

    @pytest.mark.parametrize("norm", NORMS)
    def test_blocks_are_linear_norm_activation_by_name(self, norm):
        names = [name for name, _ in DeepNet(norm).hidden_4.named_children()]
        assert names == ["linear", *(["norm"] if norm else []), "activation"]

    def test_default_initialization_is_that_of_pytorch_bit_by_bit(self):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(42)
            theirs = [nn.Linear(784, 256), *(nn.Linear(256, 256) for _ in range(3))]
            theirs.append(nn.Linear(256, 10))
        ours = linear_parameters(DeepNet(seed=42))
        assert all(map(torch.equal, ours, (p for layer in theirs for p in layer.parameters())))

    @pytest.mark.parametrize("init", ["default", "he", "glorot", 0.1])
    @pytest.mark.parametrize("norm", NORMS[1:])
    def test_linear_maps_do_not_depend_on_the_norm(self, norm, init):
        settings = {"widths": (6, 5, 4, 3), "init": init, "seed": 7}
        plain, normed = DeepNet(**settings), DeepNet(norm, **settings)
        assert all(map(torch.equal, linear_parameters(plain), linear_parameters(normed)))

    @pytest.mark.parametrize("init", ["default", "he", "glorot", 0.1])
    def test_seed_decides_the_weights(self, init):
        first, again, other = (DeepNet(widths=(4, 3, 2), init=init, seed=s) for s in (1, 1, 2))
        assert all(map(torch.equal, weights(first), weights(again)))
        assert not torch.equal(weights(first)[0], weights(other)[0])

    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("init", ["default", "he", "glorot", 0.1])
    def test_construction_leaves_the_global_random_state_alone(self, norm, init):
        before = torch.random.get_rng_state()
        DeepNet(norm, init=init, seed=3)
        assert torch.equal(torch.random.get_rng_state(), before)

    @pytest.mark.parametrize(
        ("init", "sigma"),
        [("he", math.sqrt(2 / 784)), ("glorot", math.sqrt(2 / (784 + 256))), (0.3, 0.3)],
    )
    def test_initialization_has_its_standard_deviation_and_no_bias(self, init, sigma):
        linear = DeepNet(init=init).hidden_1.linear
        assert linear.weight.std().item() == pytest.approx(sigma, rel=0.01)
        assert linear.weight.mean().item() == pytest.approx(0, abs=sigma / 100)
        assert not linear.bias.any()

    def test_glorot_is_uniform_within_its_bound(self):
        bound = math.sqrt(6 / (784 + 256))
        assert DeepNet(init="glorot").hidden_1.linear.weight.abs().max().item() == pytest.approx(
            bound, rel=1e-3
        )

    def test_sigma_zero_gives_zero_weights(self):
        assert not any(weight.any() for weight in weights(DeepNet(init=0.0)))

    @pytest.mark.parametrize(
        ("activation", "kind"), [("sigmoid", nn.Sigmoid), ("tanh", nn.Tanh), ("relu", nn.ReLU)]
    )
    def test_activation_is_chosen_by_name(self, activation, kind):
        assert isinstance(DeepNet(activation=activation).hidden_2.activation, kind)

    def test_network_without_hidden_block_is_one_linear_map(self):
        assert [name for name, _ in DeepNet("batch", widths=(4, 2)).named_children()] == ["output"]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"norm": "bacth"}, "norm is 'bacth', expected one of .*'batch'"),
            ({"activation": "gelu"}, "activation is 'gelu', expected one of .*'sigmoid'"),
            ({"init": "zero"}, "init is 'zero', expected 'default'"),
            ({"init": -0.1}, "init is -0.1"),
            ({"init": math.nan}, "init is nan"),
            ({"widths": (784,)}, r"at least two positive widths, got \(784,\)"),
            ({"widths": (784, 0, 10)}, "at least two positive widths"),
        ],
    )
    def test_unknown_choice_is_refused_by_name(self, settings, message):
        with pytest.raises(ValueError, match=message):
            DeepNet(**settings)


def pair(features, dtype, **settings):
    """Our layer and PyTorch's, with the same random scale and shift."""
    ours, theirs = ScratchBatchNorm1d(features, **settings), nn.BatchNorm1d(features, **settings)
    with torch.no_grad():
        theirs.weight.copy_(1 + random_batch(features, seed=2) / 2)
        theirs.bias.copy_(random_batch(features, seed=3))
        theirs.running_mean.copy_(random_batch(features, seed=4))
        theirs.running_var.copy_(random_batch(features, seed=5).exp())
    ours.load_state_dict(theirs.state_dict())
    return ours.to(dtype), theirs.to(dtype)


def passes(layer, x, upstream):
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(upstream)
    return [y.detach(), x.grad, layer.weight.grad, layer.bias.grad, *layer.buffers()]


class TestScratchBatchNorm1d:
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("shape", [(2, 3), (7, 5), (128, 4)])
    @pytest.mark.parametrize("settings", [{}, {"eps": 1e-2, "momentum": 0.3}])
    def test_everything_equals_pytorch_in_float64(self, training, shape, settings):
        ours, theirs = (
            layer.train(training) for layer in pair(shape[1], torch.float64, **settings)
        )
        x, upstream = 3 * random_batch(*shape) + 2, random_batch(*shape, seed=6)
        for mine, reference in zip(
            passes(ours, x, upstream), passes(theirs, x, upstream), strict=True
        ):
            torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("training", [True, False])
    def test_everything_equals_pytorch_in_float32(self, training):
        ours, theirs = (layer.train(training) for layer in pair(5, torch.float32))
        x, upstream = (random_batch(64, 5, seed=s, dtype=torch.float32) for s in (1, 6))
        for mine, reference in zip(
            passes(ours, x, upstream), passes(theirs, x, upstream), strict=True
        ):
            torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-5)

    def test_running_statistics_follow_pytorch_over_many_batches(self):
        ours, theirs = pair(4, torch.float64)
        for seed in range(20):
            ours(random_batch(8, 4, seed=seed)), theirs(random_batch(8, 4, seed=seed))
        for mine, reference in zip(ours.buffers(), theirs.buffers(), strict=True):
            torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-12)

    def test_state_is_interchangeable_with_pytorch(self):
        ours, theirs = ScratchBatchNorm1d(3), nn.BatchNorm1d(3)
        state, reference = ours.state_dict(), theirs.state_dict()
        assert list(state) == list(reference)
        assert all(torch.equal(state[name], reference[name]) for name in state)
        assert (ours.eps, ours.momentum) == (theirs.eps, theirs.momentum)

    @pytest.mark.parametrize("training", [True, False])
    def test_gradient_passes_pytorchs_numerical_check(self, training):
        layer = pair(3, torch.float64)[0].train(training)
        x = random_batch(5, 3).requires_grad_()
        assert torch.autograd.gradcheck(layer, (x,))

    def test_expanded_upstream_gradient_is_accepted(self):
        ours, _ = pair(3, torch.float64)
        ours(random_batch(5, 3)).sum().backward()
        assert ours.bias.grad.tolist() == [5, 5, 5]

    def test_evaluation_mode_changes_no_statistics(self):
        layer = pair(3, torch.float64)[0].eval()
        before = pickle.dumps(layer.state_dict())
        layer(random_batch(5, 3))
        assert pickle.dumps(layer.state_dict()) == before

    def test_one_image_is_enough_in_evaluation_mode_and_refused_in_training(self):
        layer = ScratchBatchNorm1d(3)
        assert layer.eval()(torch.ones(1, 3)).shape == (1, 3)
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            layer.train()(torch.ones(1, 3))

    @pytest.mark.parametrize("shape", [(3,), (4, 2), (4, 3, 1)])
    def test_wrong_shape_is_named(self, shape):
        with pytest.raises(ValueError, match=r"expected shape \(N, 3\), got \("):
            ScratchBatchNorm1d(3)(torch.ones(shape))

    def test_integers_are_refused(self):
        with pytest.raises(TypeError, match="int64"):
            ScratchBatchNorm1d(3)(torch.ones(4, 3, dtype=torch.int64))

    @pytest.mark.parametrize("training", [True, False])
    def test_changing_gamma_between_the_passes_is_refused_as_by_pytorch(self, training):
        layer = pair(3, torch.float64)[0].train(training)
        loss = layer(random_batch(5, 3).requires_grad_()).sum()
        with torch.no_grad():
            layer.weight.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()

    def test_second_derivative_is_refused_rather_than_wrong(self):
        layer, _ = pair(3, torch.float64)
        x = random_batch(5, 3).requires_grad_()
        (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            gradient.sum().backward()

    def test_network_with_our_layer_learns_what_the_network_with_pytorchs_does(self):
        x = random_batch(32, 6)
        losses = {}
        for norm in ("batch", "scratch"):
            model = DeepNet(norm, widths=(6, 5, 5, 2), seed=1).double()
            parameters = list(model.parameters())
            losses[norm] = []
            for _ in range(20):
                loss = nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())
                gradients = torch.autograd.grad(loss, parameters)
                with torch.no_grad():
                    for parameter, gradient in zip(parameters, gradients, strict=True):
                        parameter -= 0.5 * gradient
                losses[norm].append(loss.item())
        assert losses["scratch"] == pytest.approx(losses["batch"], rel=1e-9)
        assert losses["scratch"][-1] < losses["scratch"][0]
