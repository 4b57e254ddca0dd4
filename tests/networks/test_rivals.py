import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from bn_tutorial.networks.rivals import (
    RIVALS,
    BatchRenorm,
    DynamicErf,
    DynamicTanh,
    RMSNorm,
    rival_maker,
)

NAMES = ["batch", "layer", "instance", "rms", "renorm", "group:2", "dyt:0.5", "derf:0.5"]
IMAGES = torch.randn(6, 4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_every_kind_is_tried_here():
    assert {name.partition(":")[0] for name in NAMES} == set(RIVALS) - {None}


class TestAll:
    @pytest.mark.parametrize("name", NAMES)
    def test_output_has_the_shape_of_the_input(self, name):
        assert rival_maker(name, axes=2)(4).double()(IMAGES).shape == IMAGES.shape

    @pytest.mark.parametrize("name", sorted(set(NAMES) - {"instance"}))
    def test_units_are_taken_as_well(self, name):
        x = IMAGES[:, :, 0, 0]
        assert rival_maker(name, axes=0)(4).double()(x).shape == x.shape

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("training", [True, False])
    def test_gradient_is_the_one_of_differences(self, name, training):
        layer = rival_maker(name, axes=2)(4).double()
        if name == "renorm":  # r and d stand still where they are cut off, as differences need it
            layer.r_max, layer.d_max = 1.0, 0.0
        nn.init.normal_(layer.weight, 1, 0.1)
        layer.train(training)
        assert gradcheck(layer, IMAGES[:2, :, :2, :2].clone().requires_grad_())

    @pytest.mark.parametrize("name", NAMES)
    def test_gamma_and_beta_scale_and_shift_each_channel(self, name):
        layer = rival_maker(name, axes=2)(4).double().train()
        plain = layer(IMAGES)
        with torch.no_grad():
            layer.weight.copy_(torch.arange(4.0) + 2)
            layer.bias.copy_(torch.arange(4.0))
        if name == "renorm":  # the first pass has moved its running statistics
            layer.running_mean.zero_()
            layer.running_std.fill_(1)
        by_channel = (torch.arange(4.0, dtype=torch.float64)).view(1, 4, 1, 1)
        torch.testing.assert_close(layer(IMAGES), (by_channel + 2) * plain + by_channel)


class TestRMSNorm:
    def test_agrees_with_pytorch_where_both_pool_alike(self):
        x = IMAGES[:, :, 0, 0]
        theirs = nn.RMSNorm(4, eps=1e-5).double()(x)
        torch.testing.assert_close(RMSNorm(4).double()(x), theirs)

    def test_mean_square_of_a_sample_is_one(self):
        square = RMSNorm(4).double()(100 * IMAGES).square().mean((1, 2, 3))
        torch.testing.assert_close(square, torch.ones_like(square), atol=1e-4, rtol=0)


class TestDynamic:
    def test_tanh_and_erf_are_what_the_formulas_say(self):
        tanh, erf = DynamicTanh(4, 0.7).double(), DynamicErf(4, 0.7).double()
        with torch.no_grad():
            erf.shift.fill_(0.2)
        alpha = torch.tensor(0.7).double()
        torch.testing.assert_close(tanh(IMAGES), torch.tanh(alpha * IMAGES))
        torch.testing.assert_close(erf(IMAGES), torch.erf(alpha * IMAGES + torch.tensor(0.2)))

    def test_alpha_is_one_number_that_is_learned(self):
        layer = DynamicTanh(4).double()
        layer(IMAGES).sum().backward()
        assert layer.alpha.shape == ()
        assert layer.alpha.grad.abs() > 0


class TestBatchRenorm:
    def test_without_room_it_is_batch_normalization(self):
        ours = BatchRenorm(4, r_max=1.0, d_max=0.0).double()(IMAGES)
        torch.testing.assert_close(ours, nn.BatchNorm2d(4).double()(IMAGES))

    def test_within_its_limits_it_normalizes_with_the_running_statistics(self):
        layer = BatchRenorm(4, r_max=100.0, d_max=100.0).double()
        mean, std = layer.running_mean.clone() + 0.3, layer.running_std.clone() * 1.7
        layer.running_mean.copy_(mean)
        layer.running_std.copy_(std)
        training = layer.train()(IMAGES)
        layer.running_mean.copy_(mean)
        layer.running_std.copy_(std)
        torch.testing.assert_close(training, layer.eval()(IMAGES))

    def test_limits_cut_what_the_running_statistics_may_do(self):
        layer = BatchRenorm(1, r_max=2.0, d_max=1.0)
        x = torch.tensor([[90.0], [110.0]])  # mean 100, deviation 10, against 0 and 1
        torch.testing.assert_close(layer(x), torch.tensor([[-2.0], [2.0]]) + 1)

    def test_running_statistics_are_moved_by_the_momentum_and_only_in_training(self):
        layer = BatchRenorm(1, momentum=0.25)
        layer(torch.tensor([[9.0], [11.0]]))
        assert layer.running_mean.item() == pytest.approx(2.5)
        assert layer.running_std.item() == pytest.approx(1.0, abs=1e-4)
        layer.eval()(torch.tensor([[9.0], [11.0]]))
        assert layer.running_mean.item() == pytest.approx(2.5)


class TestNames:
    def test_none_makes_nothing(self):
        assert rival_maker(None, axes=2)(4) is None

    @pytest.mark.parametrize(
        "name", ["bacth", "dyt", "group", "group:0", "group:1.5", "batch:2", "dyt:x", "", ":4"]
    )
    def test_unknown_name_is_refused_with_those_that_are_known(self, name):
        with pytest.raises(ValueError, match=r"norm is .*, expected one of .*'group:<number>'"):
            rival_maker(name, axes=2)

    def test_norm_that_does_not_go_with_the_channels_is_refused_by_name(self):
        with pytest.raises(ValueError, match="norm 'group:3' cannot be given 4 channels"):
            rival_maker("group:3", axes=2)(4)

    def test_instance_of_units_is_refused(self):
        with pytest.raises(ValueError, match="needs images"):
            rival_maker("instance", axes=0)(4)
