import pickle

import pytest
import torch
from torch import nn

from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.bridge import NumpyBatchNorm1d


def random_batch(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def pair(features, dtype, **settings):
    """Our layer and PyTorch's, with the same random scale and shift."""
    ours, theirs = NumpyBatchNorm1d(features, **settings), nn.BatchNorm1d(features, **settings)
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


class TestNumpyBatchNorm1d:
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
        ours, theirs = NumpyBatchNorm1d(3), nn.BatchNorm1d(3)
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
        layer = NumpyBatchNorm1d(3)
        assert layer.eval()(torch.ones(1, 3)).shape == (1, 3)
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            layer.train()(torch.ones(1, 3))

    @pytest.mark.parametrize("shape", [(3,), (4, 2), (4, 3, 1)])
    def test_wrong_shape_is_named(self, shape):
        with pytest.raises(ValueError, match=r"expected shape \(N, 3\), got \("):
            NumpyBatchNorm1d(3)(torch.ones(shape))

    def test_integers_are_refused(self):
        with pytest.raises(TypeError, match="int64"):
            NumpyBatchNorm1d(3)(torch.ones(4, 3, dtype=torch.int64))

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
        for norm in ("batch", "numpy"):
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
        assert losses["numpy"] == pytest.approx(losses["batch"], rel=1e-9)
        assert losses["numpy"][-1] < losses["numpy"][0]
