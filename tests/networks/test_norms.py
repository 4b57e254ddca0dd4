import copy

import numpy as np
import pytest
import torch
from torch import nn

from bn_tutorial.networks.norms import NORMS, ActNorm1d, GhostBatchNorm1d, norm_maker, parse_norm

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def batch(*shape, seed=0):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 3 * x + 5


def randomized(layer):
    """Give a layer scales and shifts that are not one and zero, in float64."""
    for parameter, seed in zip(layer.parameters(), (1, 2), strict=False):
        parameter.data = torch.rand(len(parameter), generator=torch.Generator().manual_seed(seed))
    return layer.double()


def gradients(y, x, layer):
    upstream = batch(*y.shape, seed=9)
    return torch.autograd.grad(y, [x, *layer.parameters()], upstream)


class PartByPart:
    """What the ghost layer says it is: BatchNorm1d on each part, from the same statistics.

    The running statistics are the mean over what each part alone would have made of them.
    """

    def __init__(self, ghost, size):
        options = {"momentum": ghost.momentum, "affine": ghost.affine}
        tracked = ghost.running_mean is not None
        self.layer = nn.BatchNorm1d(ghost.num_features, track_running_stats=tracked, **options)
        self.layer.double().load_state_dict(ghost.state_dict())
        self.layer.track_running_stats = ghost.track_running_stats
        self.size = size

    def __call__(self, x):
        copies, outputs = [], []
        for part in x.split(self.size):
            alone = copy.deepcopy(self.layer)
            # The same parameters, so that their gradients add up.
            alone.weight, alone.bias = self.layer.weight, self.layer.bias
            outputs.append(alone(part))
            copies.append(alone)
        for name, buffer in self.layer.named_buffers():
            values = torch.stack([alone.get_buffer(name).double() for alone in copies])
            buffer.copy_(values.mean(0))
        return torch.cat(outputs)


class TestGhostBatchNorm1d:
    @pytest.mark.parametrize("shape", [(12, 3), (12, 3, 5), (12, 3, 1), (4, 3, 4)])
    @pytest.mark.parametrize("momentum", [0.1, 0.7, None])
    @pytest.mark.parametrize("affine", [True, False])
    @pytest.mark.parametrize("tracked", [True, False, "no longer"])
    def test_each_part_is_normalized_as_a_batch_and_tracked_in_the_mean(
        self, shape, momentum, affine, tracked
    ):
        ghost = GhostBatchNorm1d(
            3, 4, momentum=momentum, affine=affine, track_running_stats=bool(tracked)
        )
        randomized(ghost)
        ghost(batch(*shape, seed=7))
        if tracked == "no longer":
            ghost.track_running_stats = False
        reference = PartByPart(ghost, size=4)
        for step in range(3):
            x = batch(*shape, seed=step).requires_grad_()
            y, expected = ghost(x), reference(x)
            assert y.shape == x.shape
            torch.testing.assert_close(y, expected)
            ours, theirs = gradients(y, x, ghost), gradients(expected, x, reference.layer)
            for one, other in zip(ours, theirs, strict=True):
                torch.testing.assert_close(one, other)
        assert dict(ghost.named_buffers()).keys() == dict(reference.layer.named_buffers()).keys()
        for name, buffer in reference.layer.named_buffers():
            torch.testing.assert_close(ghost.get_buffer(name), buffer)

    def test_batches_are_counted_once_each_and_not_in_evaluation_mode(self):
        ghost = GhostBatchNorm1d(3, size=4).double()
        for _ in range(2):
            ghost(batch(12, 3))
        ghost.eval()(batch(12, 3))
        assert ghost.num_batches_tracked == 2

    def test_momentum_can_be_set_to_none_later(self):
        ghost = GhostBatchNorm1d(3, size=4).double()
        ghost.reset_running_stats()
        ghost.momentum = None
        x, y = batch(8, 3, seed=1), batch(8, 3, seed=2)
        ghost(x), ghost(y)
        torch.testing.assert_close(ghost.running_mean, torch.cat([x, y]).mean(0))

    @pytest.mark.parametrize("shape", [(8, 3), (8, 3, 2)])
    @pytest.mark.parametrize("later", [True, False])
    def test_evaluation_mode_is_that_of_batch_normalization(self, shape, later):
        ghost, plain = randomized(GhostBatchNorm1d(3, size=4)), nn.BatchNorm1d(3).double()
        ghost(batch(*shape))
        plain.load_state_dict(ghost.state_dict())
        ghost.track_running_stats = plain.track_running_stats = later
        y = batch(*shape, seed=1)[:5]
        assert torch.equal(ghost.eval()(y), plain.eval()(y))

    def test_without_running_statistics_evaluation_mode_is_as_training_mode(self):
        ghost = randomized(GhostBatchNorm1d(3, size=4, track_running_stats=False))
        x = batch(8, 3)
        expected = ghost(x)
        assert torch.equal(ghost.eval()(x), expected)

    @pytest.mark.parametrize("count", [6, 0])
    def test_batch_that_cannot_be_parted_is_refused_and_not_counted(self, count):
        ghost = GhostBatchNorm1d(3, size=4)
        with pytest.raises(ValueError, match=f"got {count} samples, expected a multiple of size=4"):
            ghost(torch.zeros(count, 3))
        assert ghost.num_batches_tracked == 0

    @pytest.mark.parametrize("size", [1, 0, -2])
    def test_part_of_less_than_two_samples_is_refused(self, size):
        with pytest.raises(ValueError, match=f"size is {size}, expected at least 2"):
            GhostBatchNorm1d(3, size=size)

    @pytest.mark.parametrize("size", [2.0, "2", True])
    def test_size_that_is_no_integer_is_refused(self, size):
        with pytest.raises(TypeError, match=f"size is {size!r}, expected an integer"):
            GhostBatchNorm1d(3, size=size)

    def test_size_may_be_a_number_of_numpy(self):
        ghost = GhostBatchNorm1d(3, size=np.int64(4)).double()
        assert torch.equal(ghost(batch(8, 3)), GhostBatchNorm1d(3, 4).double()(batch(8, 3)))


@pytest.mark.parametrize("layer", [GhostBatchNorm1d(3, size=2), ActNorm1d(3)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(3,), (4, 2), (4, 2, 3), (4, 3, 5, 5), (4, 3, 1, 1)])
def test_input_of_another_shape_is_refused(layer, training, shape):
    layer.train(training)
    with pytest.raises(ValueError, match=r"expected shape \(N, 3\) or \(N, 3, L\), got \("):
        layer(torch.zeros(shape))


class TestActNorm1d:
    @pytest.mark.parametrize("shape", [(8, 3), (8, 3, 5), (8, 3, 3)])
    @pytest.mark.parametrize("affine", [True, False])
    def test_first_batch_decides_for_all_that_follow_in_both_modes(self, shape, affine):
        first, second = batch(*shape), batch(*shape, seed=1)
        layer, plain = (randomized(kind(3, affine=affine)) for kind in (ActNorm1d, nn.BatchNorm1d))
        torch.testing.assert_close(layer(first), plain(first))
        both = plain(torch.cat([first, second]))  # has other statistics: a reference that can fail
        assert not torch.allclose(layer(second), both[8:])
        axes = (0, 2)[: len(shape) - 1]
        plain.running_mean = first.mean(axes)
        plain.running_var = first.var(axes, unbiased=False)
        torch.testing.assert_close(layer(second), plain.eval()(second))
        assert torch.equal(layer(second), layer.eval()(second))

    def test_no_gradient_flows_through_the_statistics(self):
        x = batch(8, 3).requires_grad_()
        layer = ActNorm1d(3).double()
        layer(x).sum().backward()
        expected = 1 / (x.detach().var(0, unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(x.grad, expected.expand(8, 3))

    def test_evaluation_before_the_first_batch_sets_nothing(self):
        layer = ActNorm1d(3).double().eval()
        torch.testing.assert_close(layer(batch(8, 3)), batch(8, 3), rtol=1e-4, atol=0)
        assert layer.num_batches_tracked == 0

    def test_constants_stay_as_they_are_while_the_flag_is_off(self):
        layer = ActNorm1d(3).double()
        layer.track_running_stats = False
        layer(batch(8, 3))
        assert [layer.get_buffer(name).tolist() for name in BUFFERS] == [[0.0] * 3, [1.0] * 3, 0]
        layer.track_running_stats = True
        layer(batch(8, 3))
        torch.testing.assert_close(layer.running_mean, batch(8, 3).mean(0))

    def test_layer_without_constants_is_refused(self):
        with pytest.raises(ValueError, match="track_running_stats is False, expected True"):
            ActNorm1d(3, track_running_stats=False)

    def test_loaded_constants_are_not_set_again(self):
        source, layer = ActNorm1d(3).double(), ActNorm1d(3).double()
        source(batch(8, 3))
        layer.load_state_dict(source.state_dict())
        layer(batch(8, 3, seed=1))
        for name in BUFFERS:
            assert torch.equal(layer.get_buffer(name), source.get_buffer(name))

    def test_state_without_a_counter_holds_constants_all_the_same(self):
        source, model = ActNorm1d(3).double(), nn.Sequential(ActNorm1d(3).double())
        source(batch(8, 3))
        state = {f"0.{name}": value for name, value in source.state_dict().items()}
        del state["0.num_batches_tracked"]
        model.load_state_dict(state)
        model(batch(8, 3, seed=1))
        assert torch.equal(model[0].running_mean, source.running_mean)

    def test_state_without_constants_leaves_them_to_the_first_batch(self):
        layer = ActNorm1d(3).double()
        layer.load_state_dict({"weight": torch.ones(3)}, strict=False)
        layer(batch(8, 3))
        torch.testing.assert_close(layer.running_mean, batch(8, 3).mean(0))

    def test_state_from_before_the_first_batch_leaves_them_to_it(self):
        layer = ActNorm1d(3).double()
        layer.load_state_dict(ActNorm1d(3).state_dict())
        layer(batch(8, 3))
        torch.testing.assert_close(layer.running_mean, batch(8, 3).mean(0))

    def test_feature_without_spread_gives_zero_for_its_value(self):
        x = batch(8, 3)
        x[:, 1] = 4.0
        y = ActNorm1d(3).double()(x)
        assert not y[:, 1].any()
        assert torch.isfinite(y).all()

    @pytest.mark.parametrize("shape", [(1, 3), (0, 3), (1, 3, 1), (8, 3, 0)])
    def test_first_batch_without_spread_of_its_own_is_refused(self, shape):
        layer = ActNorm1d(3)
        with pytest.raises(ValueError, match="in the first batch, expected at least 2"):
            layer(torch.zeros(shape))
        assert layer.num_batches_tracked == 0

    def test_later_batch_may_hold_one_sample_and_a_first_one_of_a_sequence(self):
        layer = ActNorm1d(3).double()
        assert layer(batch(1, 3, 4)).shape == (1, 3, 4)
        assert layer(batch(1, 3)).shape == (1, 3)


class TestNorms:
    EXAMPLES = (None, "batch", "numpy", "actnorm", "layer", "ghost:4", "group:2")

    def test_every_kind_has_an_example_here(self):
        assert {parse_norm(norm)[0] for norm in self.EXAMPLES} == set(NORMS)

    @pytest.mark.parametrize("norm", EXAMPLES)
    def test_name_is_taken_apart_into_a_kind_and_a_number(self, norm):
        kind, number = parse_norm(norm)
        assert norm == (kind if number is None else f"{kind}:{number}")

    @pytest.mark.parametrize(
        "norm",
        [
            *("ghost", "ghost:", "ghost:0", "ghost:-2", "ghost:2.0", "ghost: 2", "ghost:02"),
            *("group:x", "group:²", "group:٣", "batch:2", "none", "Batch", "", ":", 4, ["batch"]),
        ],
    )
    def test_other_names_are_refused(self, norm):
        with pytest.raises(ValueError, match=r"norm is .*, expected one of .*'ghost:<number>'"):
            norm_maker(norm)

    def test_error_in_making_a_norm_names_it(self):
        with pytest.raises(ValueError, match=r"'group:16' cannot be given 40 units: .*divisib"):
            norm_maker("group:16")(40)
        with pytest.raises(ValueError, match="norm 'ghost:1' cannot be given 40 units: size is 1"):
            norm_maker("ghost:1")(40)

    def test_name_may_be_a_string_of_numpy(self):
        assert norm_maker(np.str_("group:2"))(8).num_groups == 2
