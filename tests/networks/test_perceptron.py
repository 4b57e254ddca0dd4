import math

import numpy as np
import pytest
import torch
from torch import nn

from bn_tutorial.networks.perceptron import DeepNet, Dropout

NORMS = [None, "batch", "layer", "numpy", "actnorm", "ghost:4", "group:2"]


def weights(model):
    return [module.weight for module in model.modules() if isinstance(module, nn.Linear)]


def linear_parameters(model):
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return [parameter for linear in linears for parameter in linear.parameters()]


class TestDeepNet:
    @pytest.mark.parametrize("norm", NORMS)
    def test_ten_logits_come_out_for_every_image(self, norm):
        assert DeepNet(norm)(torch.zeros(8, 784)).shape == (8, 10)

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

    @pytest.mark.parametrize("init", ["default", "he", "glorot", "unit gain", 0.1])
    @pytest.mark.parametrize("norm", NORMS[1:])
    def test_linear_maps_do_not_depend_on_the_norm(self, norm, init):
        settings = {"widths": (6, 8, 4, 3), "init": init, "seed": 7}
        plain, normed = DeepNet(**settings), DeepNet(norm, **settings)
        assert all(map(torch.equal, linear_parameters(plain), linear_parameters(normed)))

    @pytest.mark.parametrize("norm", ["batch", "layer"])
    def test_norm_stands_before_the_activation_or_after_it(self, norm):
        for placement, names in (
            ("before", ["linear", "norm", "activation"]),
            ("after", ["linear", "activation", "norm"]),
        ):
            block = DeepNet(norm, widths=(4, 3, 2), placement=placement).hidden_1
            assert [name for name, _ in block.named_children()] == names

    def test_hidden_blocks_without_biases_have_the_same_weights(self):
        with_, without = (DeepNet(widths=(6, 5, 4, 3), bias=bias, seed=1) for bias in (True, False))
        assert all(map(torch.equal, weights(with_), weights(without)))
        assert without.hidden_1.linear.bias is None
        assert without.output.bias is not None
        assert without(torch.zeros(2, 6)).shape == (2, 3)

    def test_scale_multiplies_the_weights_of_the_hidden_blocks_alone(self):
        one, ten = (DeepNet(widths=(6, 5, 4, 3), init_scale=scale) for scale in (1.0, 10.0))
        for name, value in ten.named_parameters():
            factor = 10 if name.startswith("hidden") and name.endswith("weight") else 1
            assert torch.equal(value, factor * one.get_parameter(name))

    @pytest.mark.parametrize(
        ("activation", "slope"), [("sigmoid", 0.25), ("tanh", 1.0), ("relu", 0.5**0.5)]
    )
    def test_unit_gain_is_one_over_the_slope_and_the_root_of_the_inputs(self, activation, slope):
        model = DeepNet(widths=(400, 500, 2), activation=activation, init="unit gain")
        assert weights(model)[0].std().item() == pytest.approx(1 / (slope * 20), rel=0.01)
        assert not model.hidden_1.linear.bias.any()

    def test_norm_that_does_not_go_with_the_units_is_refused_by_name(self):
        with pytest.raises(ValueError, match="norm 'group:16' cannot be given 40 units"):
            DeepNet("group:16", widths=(4, 40, 2))

    @pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
    def test_scale_must_be_a_positive_number(self, scale):
        with pytest.raises(ValueError, match="init_scale is"):
            DeepNet(init_scale=scale)

    def test_numbers_in_the_name_are_groups_and_sizes(self):
        assert DeepNet("group:4", widths=(4, 8, 2)).hidden_1.norm.num_groups == 4
        assert DeepNet("ghost:4", widths=(4, 8, 2)).hidden_1.norm.size == 4

    @pytest.mark.parametrize("init", ["default", "he", "glorot", "unit gain", 0.1])
    def test_seed_decides_the_weights(self, init):
        first, again, other = (DeepNet(widths=(4, 3, 2), init=init, seed=s) for s in (1, 1, 2))
        assert all(map(torch.equal, weights(first), weights(again)))
        assert not torch.equal(weights(first)[0], weights(other)[0])

    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("init", ["default", "he", "glorot", "unit gain", 0.1])
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
            ({"init": "zero"}, "init is 'zero', expected one of .*'default'"),
            ({"init": -0.1}, "init is -0.1"),
            ({"init": math.nan}, "init is nan"),
            ({"init": math.inf}, "init is inf"),
            ({"init": False}, "init is False, expected one of .* or a sigma >= 0"),
            ({"init": None}, "init is None, expected one of .* or a sigma >= 0"),
            ({"init": np.float32(-0.1)}, "init is .*-0.1"),
            ({"widths": (784,)}, r"at least two positive widths, got \(784,\)"),
            ({"widths": (784, 0, 10)}, "at least two positive widths"),
        ],
    )
    def test_unknown_choice_is_refused_by_name(self, settings, message):
        with pytest.raises(ValueError, match=message):
            DeepNet(**settings)

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"widths": (784, 256.0, 10)}, "a width is 256.0, expected an integer"),
            ({"widths": (784, True, 10)}, "a width is True, expected an integer"),
            ({"seed": 1.0}, "seed is 1.0, expected an integer"),
            ({"init_scale": "2"}, "init_scale is '2', expected a number"),
            ({"init_scale": True}, "init_scale is True, expected a number"),
        ],
    )
    def test_what_is_no_such_number_is_refused_by_name(self, setting, message):
        with pytest.raises(TypeError, match=message):
            DeepNet(**setting)

    @pytest.mark.parametrize("real", [np.float32, np.float64, np.float16])
    @pytest.mark.parametrize("whole", [np.int64, np.int32, np.uint8])
    def test_numbers_of_numpy_are_numbers(self, real, whole):
        plain = {"widths": (6, 5, 3), "init": float(real(0.1)), "init_scale": 0.5, "seed": 7}
        theirs = {
            "widths": np.array((6, 5, 3), dtype=whole),
            "init": real(0.1),
            "init_scale": real(0.5),
            "seed": whole(7),
        }
        ours, same = DeepNet("batch", **plain), DeepNet("batch", **theirs)
        assert all(map(torch.equal, ours.state_dict().values(), same.state_dict().values()))

    def test_sigma_may_be_an_integer(self):
        assert torch.equal(weights(DeepNet(init=np.int64(1)))[0], weights(DeepNet(init=1.0))[0])


class TestDropout:
    def test_units_are_left_out_in_training_alone_and_the_rest_made_up_for(self):
        layer, x = Dropout(0.25, seed=0), torch.ones(10_000, dtype=torch.float64)
        y = layer(x)
        assert set(y.unique().tolist()) == {0.0, 1 / 0.75}
        assert (y == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
        assert torch.equal(layer.eval()(x), x)

    def test_two_of_one_seed_leave_out_alike_and_the_global_generator_is_not_touched(self):
        state, x = torch.random.get_rng_state(), torch.ones(100)
        one, two, other = Dropout(0.5, seed=1), Dropout(0.5, seed=1), Dropout(0.5, seed=2)
        first = one(x)
        assert torch.equal(first, two(x))
        assert not torch.equal(first, other(x))
        assert not torch.equal(first, one(x))
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_blocks_of_a_network_leave_out_other_units_and_weights_stay_the_same(self):
        plain, ours = (DeepNet(widths=(784, 50, 50, 10), dropout=p) for p in (0.0, 0.5))
        for name, value in plain.named_parameters():
            assert torch.equal(value, ours.get_parameter(name))
        assert not hasattr(plain.hidden_1, "dropout")
        x = torch.ones(1, 50)
        assert not torch.equal(ours.hidden_1.dropout(x), ours.hidden_2.dropout(x))

    @pytest.mark.parametrize("p", [-0.1, 1.0, math.nan])
    def test_share_out_of_range_is_refused(self, p):
        with pytest.raises(ValueError, match="dropout is"):
            DeepNet(dropout=p)
