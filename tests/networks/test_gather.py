import math

import pytest
import torch
from scipy import stats
from torch import nn

from bn_tutorial.networks.gather import Between, Gathered, Moments, apart, look
from bn_tutorial.networks.trials import offset


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moments_of(batches):
    found = Moments()
    for batch in batches:
        found.add(batch.mean(0), batch.var(0))
    return found


class TestMoments:
    def test_they_are_means_over_the_batches_and_the_scatter_of_their_means(self):
        batches = draw(5, 8, 3) * 2 + 7
        found = moments_of(batches)
        assert found.count == 5
        torch.testing.assert_close(found.mean, batches.mean((0, 1)))
        torch.testing.assert_close(found.var, batches.var(1).mean(0))
        torch.testing.assert_close(found.scatter, batches.mean(1).var(0))

    def test_one_batch_has_no_scatter(self):
        assert not moments_of(draw(1, 8, 3)).scatter.any()


class TestApart:
    def test_shift_and_spread_count_in_standard_deviations_and_the_furthest_call_decides(self):
        batches = draw(6, 50, 40)
        calls = [moments_of(x) for x in (batches, batches + 0.5, batches + 3)]
        sigma = calls[0].var.sqrt()
        distance, _ = apart(calls)
        assert distance == pytest.approx((3 / sigma).square().mean().sqrt().item())
        wide, _ = apart([moments_of(x) for x in (batches, 2 * (batches - batches.mean((0, 1))))])
        assert wide == pytest.approx(math.log(2), abs=0.02)

    def test_noise_is_how_far_calls_on_samples_of_one_kind_are_apart(self):
        calls = [moments_of(draw(10, 20, 400, seed=seed)) for seed in (0, 1)]
        distance, noise = apart(calls)
        mean = ((calls[1].mean - calls[0].mean).square().mean() / calls[0].var.mean()).sqrt()
        assert noise == pytest.approx(mean.item(), rel=0.1)
        assert distance > mean


class TestBetween:
    @pytest.mark.parametrize("shift", [0.0, 1.0])
    def test_ratio_is_that_of_an_analysis_of_variance(self, shift):
        batches = draw(6, 12, 1) + shift * torch.arange(6)[:, None, None]
        found = Between()
        for batch in batches:
            found.add(batch)
        found.add(draw(5, 1) + 100)  # a last one that is smaller
        expected = stats.f_oneway(*batches[..., 0].numpy()).statistic
        assert found.f_ratio == (pytest.approx(expected), 6)

    def test_there_is_none_of_one_batch_of_single_samples_or_of_constants(self):
        for batches in (draw(1, 8, 3), draw(9, 1, 3), torch.ones(4, 8, 3, dtype=torch.float64)):
            found = Between()
            for batch in batches:
                found.add(batch)
            assert found.f_ratio is None


def seen_by(layer, *inputs):
    """What is seen of a layer in one pass."""
    found = Gathered()
    with look(layer, {"": layer}, found):
        found.begin(len(inputs[0]))
        for x in inputs:
            layer(x)
    return found.layers[""]


class TestLook:
    @pytest.mark.parametrize(
        ("layer", "shape", "values", "samples"),
        [
            (nn.BatchNorm1d(6), (9, 6), 9, 9),
            (nn.BatchNorm2d(6), (9, 6, 4, 5), 180, 9),
            (nn.InstanceNorm2d(6), (9, 6, 4, 5), 20, 1),
            (nn.InstanceNorm1d(6), (6, 7), 7, 1),  # one sample
            (nn.GroupNorm(2, 6), (9, 6, 4, 5), 60, 1),
            (nn.LayerNorm((4, 5)), (9, 6, 4, 5), 20, 1),
            (nn.RMSNorm(5), (9, 5), 5, 1),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
    )
    def test_so_many_values_and_samples_share_a_mean(self, layer, shape, values, samples):
        seen = seen_by(layer, draw(*shape).float())
        assert (seen.values, seen.samples, seen.most_calls) == (values, samples, 1)
        assert (seen.sound, seen.dtype, seen.constant) == (True, torch.float32, 0.0)

    def test_moments_are_those_of_each_channel_and_of_each_call(self):
        x, y = draw(9, 6, 4, 5), draw(9, 6, 4, 5, seed=1) + 2
        seen = seen_by(nn.BatchNorm2d(6).double(), x, y)
        assert (seen.most_calls, len(seen.calls), seen.all.count) == (2, 2, 2)
        for found, given in zip(seen.calls, (x, y), strict=True):
            torch.testing.assert_close(found.mean, given.mean((0, 2, 3)))
            torch.testing.assert_close(found.var, given.var((0, 2, 3)))
        torch.testing.assert_close(seen.all.mean, (x + y).mean((0, 2, 3)) / 2)

    def test_variance_that_pools_one_sample_is_the_mean_of_the_samples(self):
        x = draw(9, 6, 4, 5) * torch.arange(1, 10)[:, None, None, None]
        seen = seen_by(nn.InstanceNorm2d(6).double(), x)
        torch.testing.assert_close(seen.all.var, x.var((2, 3)).mean(0))

    def test_variance_of_two_samples_is_unbiased_and_that_of_one_is_zero(self):
        for layer in (nn.BatchNorm1d(3).double(), nn.BatchNorm1d(3).double().eval()):
            x = draw(2, 3)
            torch.testing.assert_close(seen_by(layer, x).all.var, x.var(0))
        assert not seen_by(layer, x[:1]).all.var.any()

    @pytest.mark.parametrize("layer", [nn.LayerNorm(4), nn.RMSNorm(4, eps=1e-5)])
    def test_share_of_means_over_values_that_hardly_differ_is_seen(self, layer):
        x = draw(8, 4).float()
        x[:3] *= 1e-4
        assert seen_by(layer, x).constant == 3 / 8

    @pytest.mark.parametrize("layer", [nn.BatchNorm1d(4), nn.LayerNorm(4)])
    def test_one_infinite_value_is_seen(self, layer):
        x = draw(8, 4).float()
        x[2, 1] = math.inf
        assert not seen_by(layer, x).sound

    def test_bias_and_dropout_in_front_are_named(self):
        model = nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.0))
        model.append(nn.BatchNorm1d(4))
        found = Gathered()
        with look(model, {"2": model[2], "4": model[4]}, found):
            found.begin(8)
            model(draw(8, 4).float())
        assert [found.layers[name].bias for name in "24"] == ["1", ""]
        assert found.dropped == {"2": ["0"], "4": ["0"]}
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model)


class TestOffset:
    @pytest.fixture
    def layer(self):
        return nn.BatchNorm1d(3, eps=0.0, momentum=0.5)

    def test_it_is_in_standard_deviations_of_what_reaches_the_layer(self, layer):
        moments = moments_of(4 * draw(6, 50, 3) + 9)
        sigma = moments.var.sqrt()
        found = offset(layer, moments, (moments.mean + 2 * sigma, math.e**2 * moments.var))
        assert (found.mean, found.scale) == pytest.approx((2, 1))
        assert found.ratio == pytest.approx(math.e**2)
        assert found.off == pytest.approx(math.sqrt(5))

    def test_its_noise_is_that_of_both_averages(self, layer):
        moments = moments_of(draw(6, 50, 3))
        found = offset(layer, moments, (moments.mean, moments.var))
        one = (moments.scatter / moments.var).mean().item()
        # An exponential average with momentum a keeps a / (2 - a) of the variance of one batch.
        assert found.noise == pytest.approx(math.sqrt(one * (1 / 6 + 0.5 / 1.5)))
        layer.momentum = None
        found = offset(layer, moments, (moments.mean, moments.var))
        assert found.noise == pytest.approx(math.sqrt(one / 6))

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_statistics_that_are_none_are_off_without_end(self, layer, bad):
        moments = moments_of(draw(6, 50, 3))
        for mean, var in ((moments.mean * bad, moments.var), (moments.mean, moments.var * bad)):
            assert offset(layer, moments, (mean, var)).off == math.inf
