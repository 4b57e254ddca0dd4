import pytest
import torch
from torch import nn

from bn_tutorial.networks.sequences import NORMS, FrameNorm, MaskedBatchNorm1d, SequenceNet


@pytest.fixture
def batch():
    """Frames of three sequences, and where they are."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(9) < torch.tensor([[9], [4], [2]])
    return torch.randn(3, 28, 9, generator=generator) * mask[:, None] + 3 * mask[:, None], mask


def padded(batch, more):
    x, mask = batch
    return nn.functional.pad(x, (0, more)), nn.functional.pad(mask, (0, more))


class TestMaskedBatchNorm1d:
    def test_statistics_are_those_of_the_real_frames_in_a_row(self, batch):
        x, mask = batch
        masked, plain = MaskedBatchNorm1d(28), nn.BatchNorm1d(28)
        expected = plain(x.transpose(1, 2)[mask])
        torch.testing.assert_close(masked(x, mask).transpose(1, 2)[mask], expected)
        assert torch.equal(masked.running_var, plain.running_var)
        assert torch.equal(masked.running_mean, plain.running_mean)

    def test_more_padding_changes_nothing_in_either_mode(self, batch):
        layer = MaskedBatchNorm1d(28)
        for training in (True, False):
            y, longer = (layer.train(training)(*padded(batch, more)) for more in (0, 40))
            torch.testing.assert_close(longer[..., :9], y)
            assert not longer[..., 9:].any()

    def test_what_stands_in_the_padding_plays_no_part(self, batch):
        x, mask = batch
        layer = MaskedBatchNorm1d(28)
        y = layer(x, mask)
        other = torch.where(mask[:, None], x, torch.tensor(torch.nan))
        assert torch.equal(layer(other, mask), y)

    def test_without_a_mask_it_is_batch_normalization(self, batch):
        x, _ = batch
        assert torch.equal(MaskedBatchNorm1d(28)(x), nn.BatchNorm1d(28)(x))

    def test_mask_of_another_shape_is_refused(self, batch):
        x, mask = batch
        with pytest.raises(ValueError, match=r"mask \(3, 8\)"):
            MaskedBatchNorm1d(28)(x, mask[:, 1:])


def test_frame_norm_is_layer_normalization_of_each_frame(batch):
    x, _ = batch
    expected = nn.functional.layer_norm(x.transpose(1, 2), (28,)).transpose(1, 2)
    torch.testing.assert_close(FrameNorm(28)(x), expected)


class TestSequenceNet:
    @pytest.mark.parametrize("norm", NORMS)
    def test_padding_changes_nothing_in_evaluation_mode(self, norm, batch):
        model = SequenceNet(norm, channels=(28, 8, 8))
        model(*batch)  # so that the running statistics are not at their start
        model.eval()
        torch.testing.assert_close(model(*padded(batch, 20)), model(*batch))

    @pytest.mark.parametrize(("norm", "pooled"), [("batch", True), ("masked", False)])
    def test_in_training_mode_it_does_where_it_is_pooled(self, norm, pooled, batch):
        model = SequenceNet(norm, channels=(28, 8, 8))
        moved = (model(*padded(batch, 20)) - model(*batch)).abs().max().item()
        assert (moved > 0.1) == pooled

    def test_arms_share_their_initial_weights_and_leave_the_global_generator_alone(self):
        before = torch.random.get_rng_state()
        first, second = SequenceNet("batch", seed=1), SequenceNet("layer", seed=1)
        other = SequenceNet("batch", seed=2)
        assert torch.equal(torch.random.get_rng_state(), before)
        for one, same, unlike in zip(first.blocks, second.blocks, other.blocks, strict=True):
            assert torch.equal(one.linear.weight, same.linear.weight)
            assert not torch.equal(one.linear.weight, unlike.linear.weight)
        assert torch.equal(first.output.weight, second.output.weight)

    def test_a_sequence_without_padding_is_read_as_in_a_padded_batch(self, batch):
        x, mask = batch
        model = SequenceNet("masked", channels=(28, 8, 8)).eval()
        alone = model(x[1:2, :, :4], mask[1:2, :4])
        torch.testing.assert_close(alone, model(x, mask)[1:2])

    def test_arguments_that_are_none_of_these_are_refused(self):
        with pytest.raises(ValueError, match="norm is 'group'"):
            SequenceNet("group")
        with pytest.raises(ValueError, match="two or more"):
            SequenceNet("batch", channels=(28,))
