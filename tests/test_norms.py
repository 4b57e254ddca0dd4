import pytest
import torch
from torch import nn

from bn_tutorial.norms import ConstantNorm1d, GhostBatchNorm1d


class TestGhostBatchNorm1d:
    @pytest.mark.parametrize(("count", "parts"), [(12, [4, 4, 4]), (14, [4, 4, 6]), (7, [7])])
    def test_each_part_is_normalized_and_tracked_as_a_batch(self, count, parts):
        x = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
        ghost, plain = GhostBatchNorm1d(3, size=4), nn.BatchNorm1d(3)
        expected = torch.cat([plain(part) for part in x.split(parts)])
        assert torch.equal(ghost(x), expected)
        for name, buffer in plain.named_buffers():
            assert torch.equal(ghost.get_buffer(name), buffer)
        assert torch.equal(ghost.eval()(x), plain.eval()(x))

    def test_part_of_one_sample_is_refused(self):
        with pytest.raises(ValueError, match="size is 1, expected at least 2"):
            GhostBatchNorm1d(3, size=1)


class TestConstantNorm1d:
    def test_first_batch_decides_for_all_that_follow_in_both_modes(self):
        first, second = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
        layer, plain = ConstantNorm1d(3), nn.BatchNorm1d(3)
        torch.testing.assert_close(layer(first), plain(first))
        expected = (second - first.mean(0)) / (first.var(0, unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(layer(second), expected)
        assert torch.equal(layer(second), layer.eval()(second))

    def test_no_gradient_flows_through_the_statistics(self):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
        layer = ConstantNorm1d(3)
        layer(x).sum().backward()
        expected = 1 / (x.detach().var(0, unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(x.grad, expected.expand(8, 3))
