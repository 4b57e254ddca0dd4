import pytest
import torch
from torch import nn

from bn_tutorial.networks.norms import ActNorm1d, GhostBatchNorm1d


class TestGhostBatchNorm1d:
    def test_each_part_is_normalized_as_a_batch_and_tracked_in_the_mean(self):
        x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
        ghost, plain = GhostBatchNorm1d(3, size=4), [nn.BatchNorm1d(3) for _ in range(3)]
        parts = x.split(4)
        expected = [layer(part) for layer, part in zip(plain, parts, strict=True)]
        torch.testing.assert_close(ghost(x), torch.cat(expected))
        for name in ("running_mean", "running_var"):
            mean = torch.stack([layer.get_buffer(name) for layer in plain]).mean(0)
            torch.testing.assert_close(ghost.get_buffer(name), mean)

    def test_evaluation_mode_is_that_of_batch_normalization(self):
        x, y = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
        ghost, plain = GhostBatchNorm1d(3, size=4), nn.BatchNorm1d(3)
        ghost(x)
        plain.load_state_dict(ghost.state_dict())
        assert torch.equal(ghost.eval()(y[:5]), plain.eval()(y[:5]))

    def test_batch_that_cannot_be_parted_is_refused(self):
        with pytest.raises(ValueError, match="got 6 samples, expected a multiple of size=4"):
            GhostBatchNorm1d(3, size=4)(torch.zeros(6, 3))

    def test_part_of_one_sample_is_refused(self):
        with pytest.raises(ValueError, match="size is 1, expected at least 2"):
            GhostBatchNorm1d(3, size=1)


class TestActNorm1d:
    def test_first_batch_decides_for_all_that_follow_in_both_modes(self):
        first, second = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
        layer, plain = ActNorm1d(3), nn.BatchNorm1d(3)
        torch.testing.assert_close(layer(first), plain(first))
        expected = (second - first.mean(0)) / (first.var(0, unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(layer(second), expected)
        assert torch.equal(layer(second), layer.eval()(second))

    def test_no_gradient_flows_through_the_statistics(self):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
        layer = ActNorm1d(3)
        layer(x).sum().backward()
        expected = 1 / (x.detach().var(0, unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(x.grad, expected.expand(8, 3))
