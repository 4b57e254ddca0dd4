import pickle

import numpy as np
import pytest
import torch
from accelerator import accelerator
from torch import nn

from bn_tutorial.networks.bridge import FusedBatchNorm1d, NumpyBatchNorm1d
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.scratch import functional

SETTINGS = [
    {},
    {"eps": 1e-2, "momentum": 0.3},
    {"momentum": None},
    {"affine": False},
    {"track_running_stats": False},
    {"affine": False, "track_running_stats": False},
]


def random_batch(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def pair(features, dtype, kind=NumpyBatchNorm1d, **settings):
    """Our layer and PyTorch's, with the same random scale, shift and statistics."""
    ours, theirs = kind(features, **settings), nn.BatchNorm1d(features, **settings)
    seeds = {"weight": 2, "bias": 3, "running_mean": 4, "running_var": 5}
    for name, value in theirs.state_dict().items():
        if name in seeds:
            random = random_batch(features, seed=seeds[name])
            value.copy_(random.exp() if name == "running_var" else random)
    ours.load_state_dict(theirs.state_dict())
    return ours.to(dtype), theirs.to(dtype)


def passes(layer, x, upstream):
    """All that both passes give: output, gradients and statistics."""
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(upstream)
    return [y.detach(), x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()]


def assert_equal(ours, theirs, training, shape):
    """Both passes of two batches are the same in float64, and the statistics that they move."""
    for layer in (ours, theirs):
        layer.train(training)
    for seed in (1, 2):  # the second batch finds the statistics moved
        x, upstream = 3 * random_batch(*shape, seed=seed) + 2, random_batch(*shape, seed=6)
        for mine, reference in zip(
            passes(ours, x, upstream), passes(theirs, x, upstream), strict=True
        ):
            torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-10)


class TestNumpyBatchNorm1d:
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("shape", [(2, 3), (7, 5), (128, 4), (1, 3, 4), (6, 2, 5), (6, 2, 1)])
    @pytest.mark.parametrize("settings", SETTINGS, ids=str)
    def test_everything_equals_pytorch_in_float64(self, training, shape, settings):
        assert_equal(*pair(shape[1], torch.float64, **settings), training, shape)

    @pytest.mark.parametrize("training", [True, False])
    def test_everything_equals_pytorch_in_float32(self, training):
        ours, theirs = (layer.train(training) for layer in pair(5, torch.float32))
        x, upstream = (random_batch(64, 5, seed=s, dtype=torch.float32) for s in (1, 6))
        for mine, reference in zip(
            passes(ours, x, upstream), passes(theirs, x, upstream), strict=True
        ):
            torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("training", [True, False])
    def test_layer_without_a_shift_equals_pytorchs(self, training):
        ours, theirs = (layer.train(training) for layer in pair(5, torch.float64))
        ours.bias = theirs.bias = None
        x, upstream = random_batch(8, 5), random_batch(8, 5, seed=6)
        for mine, reference in zip(
            passes(ours, x, upstream), passes(theirs, x, upstream), strict=True
        ):
            torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-10)

    def test_statistics_stay_when_tracking_is_switched_off(self):
        ours, theirs = pair(3, torch.float64)
        before = pickle.dumps(ours.state_dict())
        ours.track_running_stats = theirs.track_running_stats = False
        x = random_batch(8, 3)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)
        assert pickle.dumps(ours.state_dict()) == before

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

    @pytest.mark.parametrize("shape", [(3,), (4, 2), (4, 2, 3), (4, 3, 1, 1)])
    def test_wrong_shape_is_named(self, shape):
        with pytest.raises(ValueError, match=r"expected shape \(N, 3\) or \(N, 3, L\), got \("):
            NumpyBatchNorm1d(3)(torch.ones(shape))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
    @pytest.mark.parametrize("layer", [NumpyBatchNorm1d(3), NumpyBatchNorm1d(3).bfloat16()])
    def test_half_precision_and_integers_are_refused_with_the_remedy(self, layer, dtype):
        with pytest.raises(TypeError, match=rf"got {dtype}: convert with x\.float\(\)"):
            layer(torch.ones(4, 3, dtype=dtype))

    def test_half_precision_from_autocast_is_refused_with_the_remedy(self):
        model = nn.Sequential(nn.Linear(2, 3), NumpyBatchNorm1d(3))
        with (
            torch.autocast("cpu", dtype=torch.bfloat16),
            pytest.raises(TypeError, match=r"bfloat16.*autocast"),
        ):
            model(torch.ones(4, 2))

    @pytest.mark.parametrize("settings", [{}, {"affine": False}])
    def test_another_dtype_than_the_layers_is_refused_with_the_remedy(self, settings):
        layer = NumpyBatchNorm1d(3, **settings)
        with pytest.raises(TypeError, match=r"layer's torch.float32, got torch.float64: convert"):
            layer(random_batch(4, 3))

    def test_on_the_processor_nothing_is_copied(self, monkeypatch):
        seen = []

        def watched(name):
            function = getattr(functional, name)

            def call(*arrays, **settings):
                results = function(*arrays, **settings)
                seen.extend([*arrays[: 3 if "forward" in name else 1], *results])
                return results

            monkeypatch.setattr(functional, name, call)

        watched("batch_norm_forward"), watched("batch_norm_backward")
        layer = NumpyBatchNorm1d(3)
        x = random_batch(4, 3, dtype=torch.float32).requires_grad_()
        y = layer(x)
        upstream = random_batch(4, 3, seed=2, dtype=torch.float32)
        y.backward(upstream)
        passed = [x, layer.weight, layer.bias, y, None, upstream, x.grad]
        for array, tensor in zip(seen, passed, strict=False):
            assert tensor is None or np.shares_memory(array, tensor.detach().numpy())
        assert layer.weight.grad.tolist() == seen[7].tolist()

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


class TestFusedBatchNorm1d:
    """As its NumPy sibling, in what its functions decide."""

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("shape", [(7, 5), (1, 3, 4), (6, 2, 5)])
    @pytest.mark.parametrize("settings", SETTINGS, ids=str)
    def test_everything_equals_pytorch(self, training, shape, settings):
        assert_equal(*pair(shape[1], torch.float64, FusedBatchNorm1d, **settings), training, shape)

    @pytest.mark.parametrize("training", [True, False])
    def test_gradient_passes_pytorchs_numerical_check(self, training):
        layer = pair(3, torch.float64, FusedBatchNorm1d)[0].train(training)
        assert torch.autograd.gradcheck(layer, (random_batch(5, 3).requires_grad_(),))

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("changed", ["x", "gamma"])
    def test_changing_what_the_backward_pass_reads_again_is_refused(self, training, changed):
        layer, _ = pair(3, torch.float64, FusedBatchNorm1d)
        x = random_batch(5, 3)
        loss = layer.train(training)(x).sum()
        with torch.no_grad():
            (x if changed == "x" else layer.weight).mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


class TestOnAnotherDevice:
    @pytest.fixture(autouse=True)
    def device(self):
        with accelerator() as device:
            yield device

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("shape", [(7, 5), (6, 2, 5)])
    @pytest.mark.parametrize("settings", SETTINGS, ids=str)
    def test_everything_stays_there_and_has_the_processors_bits(
        self, device, training, shape, settings
    ):
        layer, _ = pair(shape[1], torch.float32, **settings)
        moved = pickle.loads(pickle.dumps(layer)).to(device)
        x, upstream = (random_batch(*shape, seed=s, dtype=torch.float32) for s in (1, 6))
        expected = passes(layer.train(training), x, upstream)
        found = passes(moved.train(training), x.to(device), upstream.to(device))
        assert {tensor.device for tensor in found} == {device}
        for mine, reference in zip(found, expected, strict=True):
            assert torch.equal(mine.cpu(), reference)

    def test_input_on_another_device_than_the_layer_is_refused(self, device):
        layer, x = NumpyBatchNorm1d(3), torch.ones(4, 3)
        with pytest.raises(ValueError, match="layer's device cpu, got one on cuda:0: move"):
            layer(x.to(device))
        with pytest.raises(ValueError, match="layer's device cuda:0, got one on cpu: move"):
            layer.to(device)(x)

    def test_state_is_interchangeable_with_pytorch_across_devices(self, device):
        ours, theirs = pair(3, torch.float32)
        for here, there in [(ours, nn.BatchNorm1d(3)), (theirs, NumpyBatchNorm1d(3))]:
            there.to(device).load_state_dict(here.state_dict())
            assert list(there.state_dict()) == list(here.state_dict())
            for name, value in there.state_dict().items():
                assert torch.equal(value.cpu(), here.state_dict()[name])
        assert ours.weight.device.type == "cpu"

    @pytest.mark.parametrize("training", [True, False])
    def test_changing_gamma_between_the_passes_is_refused_as_by_pytorch(self, device, training):
        layer = NumpyBatchNorm1d(3).to(device).train(training)
        loss = layer(torch.ones(4, 3, device=device, requires_grad=True)).sum()
        with torch.no_grad():
            layer.weight.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()

    def test_network_with_our_layer_learns_there(self, device):
        model = DeepNet("numpy", widths=(6, 5, 5, 2), seed=1).to(device)
        x = random_batch(32, 6, dtype=torch.float32).to(device)
        labels, losses = (x[:, 0] > 0).long(), []
        for _ in range(20):
            loss = nn.functional.cross_entropy(model(x), labels)
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                    parameter -= 0.5 * gradient
            losses.append(loss.item())
        assert losses[-1] < 0.9 * losses[0]
