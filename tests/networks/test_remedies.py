import pytest
import torch
from torch import nn

from bn_tutorial.networks.norms import ActNorm1d, GhostBatchNorm1d
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.remedies import (
    REMEDIES,
    GatheredBatchNorm1d,
    TwoPassBatchNorm1d,
    set_remedy,
)


def draw(*shape, seed=0):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 1


def changed(layer):
    """Give a layer a gamma and a beta that show."""
    with torch.no_grad():
        layer.weight.copy_(draw(layer.num_features, seed=8))
        layer.bias.copy_(draw(layer.num_features, seed=9))
    return layer


class TestGatheredBatchNorm1d:
    def test_a_batch_is_normalized_with_the_last_ones_together(self):
        layer = changed(GatheredBatchNorm1d(5, batches=3))
        batches = draw(20, 5).split(4)
        for count, batch in enumerate(batches, 1):
            y = layer(batch)
            window = torch.cat(batches[max(count - 3, 0) : count])
            plain = changed(nn.BatchNorm1d(5))(window)[-4:]
            torch.testing.assert_close(y, plain)

    def test_running_statistics_follow_those_of_the_window(self):
        layer = GatheredBatchNorm1d(5, batches=2, momentum=1.0)
        plain = nn.BatchNorm1d(5, momentum=1.0)
        first, second = draw(8, 5).split(4)
        layer(first)
        layer(second)
        plain(torch.cat([first, second]))
        torch.testing.assert_close(layer.running_mean, plain.running_mean)
        torch.testing.assert_close(layer.running_var, plain.running_var)
        torch.testing.assert_close(layer.eval()(first), plain.eval()(first))

    def test_gradient_flows_through_the_statistics_of_this_batch_and_not_the_ones_before(self):
        layer = GatheredBatchNorm1d(5, batches=2)
        before = draw(4, 5).requires_grad_()
        layer(before)
        x = draw(4, 5, seed=1).requires_grad_()
        y = layer(x)
        weights = draw(4, 5, seed=2)
        (y * weights).sum().backward()
        both = torch.cat([before.detach(), x]).detach().requires_grad_()
        whole = (nn.BatchNorm1d(5)(both)[4:] * weights).sum()
        (expected,) = torch.autograd.grad(whole, both)
        assert before.grad is None
        torch.testing.assert_close(x.grad, expected[4:])

    def test_of_one_batch_it_is_batch_normalization(self):
        x = draw(6, 5)
        torch.testing.assert_close(GatheredBatchNorm1d(5, batches=1)(x), nn.BatchNorm1d(5)(x))

    def test_what_it_cannot_do_is_refused(self):
        with pytest.raises(ValueError, match="expected at least 1"):
            GatheredBatchNorm1d(5, batches=0)
        with pytest.raises(TypeError):
            GatheredBatchNorm1d(5, batches=2.0)


class TestTwoPassBatchNorm1d:
    @pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
    def test_outputs_and_running_statistics_are_those_of_the_whole_batch(self, shape):
        layer, plain = changed(TwoPassBatchNorm1d(5)), changed(nn.BatchNorm1d(5))
        x = draw(*shape)
        torch.testing.assert_close(layer(x), plain(x))
        torch.testing.assert_close(layer.running_mean, plain.running_mean)
        torch.testing.assert_close(layer.running_var, plain.running_var)
        torch.testing.assert_close(layer.eval()(x), plain.eval()(x))

    def test_gradient_is_what_two_passes_over_the_parts_accumulate(self):
        x, weights = draw(12, 5), draw(12, 5, seed=1)
        whole = nn.Sequential(nn.Linear(5, 5), TwoPassBatchNorm1d(5))
        (whole(x) * weights).sum().backward()
        wanted = whole[0].weight.grad.clone()
        with torch.no_grad():  # the first pass
            z = whole[0](x)
        mean, var = z.mean(0), z.var(0, correction=0)
        whole.zero_grad()
        for part, some in zip(x.split(3), weights.split(3), strict=True):  # the second
            xhat = (whole[0](part) - mean) / (var + whole[1].eps).sqrt()
            (xhat * some).sum().backward()
        torch.testing.assert_close(whole[0].weight.grad, wanted)

    def test_it_is_not_the_gradient_of_batch_normalization(self):
        x = draw(6, 5).requires_grad_()
        gradients = [
            torch.autograd.grad((layer(x) * draw(6, 5, seed=1)).sum(), x)[0]
            for layer in (TwoPassBatchNorm1d(5), nn.BatchNorm1d(5))
        ]
        assert not torch.allclose(*gradients, atol=1e-2)


def test_accumulating_pairs_is_normalizing_pairs_within_a_batch():
    x, weights = draw(8, 5), draw(8, 5, seed=1)
    gradients = []
    for size, parts in ((2, 1), (2, 4)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 5), GhostBatchNorm1d(5, size))
        for part, some in zip(x.chunk(parts), weights.chunk(parts), strict=True):
            (model(part) * some).sum().backward()
        gradients.append(model[0].weight.grad)
    torch.testing.assert_close(*gradients)


class TestSetRemedy:
    @pytest.mark.parametrize("remedy", REMEDIES)
    def test_each_hidden_layer_gets_one_in_front_of_its_activation(self, remedy):
        model = DeepNet(widths=(6, 5, 4, 3), activation="relu", seed=1)
        set_remedy(model, remedy)
        kind = type(REMEDIES[remedy](5))
        for block in (model.hidden_1, model.hidden_2):
            assert [name for name, _ in block.named_children()] == ["linear", "norm", "activation"]
            assert type(block.norm) is kind
        assert model(draw(4, 6)).shape == (4, 3)

    def test_weights_are_those_that_it_had(self):
        plain, model = (DeepNet(widths=(6, 5, 3), seed=1) for _ in range(2))
        set_remedy(model, "frozen")
        assert isinstance(model.hidden_1.norm, ActNorm1d)
        assert torch.equal(model.hidden_1.linear.weight, plain.hidden_1.linear.weight)
        assert torch.equal(model.output.weight, plain.output.weight)

    def test_unknown_remedy_is_refused(self):
        with pytest.raises(ValueError, match="remedy is 'rest'"):
            set_remedy(DeepNet(widths=(6, 5, 3)), "rest")
