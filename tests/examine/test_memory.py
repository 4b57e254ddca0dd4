"""Nothing is kept between two passes but a few numbers a channel."""

import gc

import pytest
import torch
from torch import nn

from bn_tutorial.networks.examine import examine


def bytes_held():
    """Return how many bytes all tensors hold together."""
    found = [one for one in gc.get_objects() if type(one) in (torch.Tensor, nn.Parameter)]
    held = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in found}
    return sum(held.values())


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d, lambda n: nn.GroupNorm(2, n)])
def test_nothing_is_kept_but_a_few_numbers_a_channel(norm):
    torch.manual_seed(0)
    wide = nn.Sequential(
        *(nn.Conv2d(2, 8, 1), norm(8), nn.ReLU(), nn.Conv2d(8, 8, 1), norm(8)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    )
    batches = [(torch.randn(4, 2, 64, 64), torch.arange(4)) for _ in range(4)]
    held = []
    wide.register_forward_pre_hook(lambda *_: held.append(bytes_held()))
    gc.collect()
    before = bytes_held()
    examine(wide, batches)
    assert len(held) >= 12
    # Two layers of eight channels: mean, variance and scatter in eight bytes each, of all calls,
    # of each and between batches, in three modes; a few running statistics; and copies of them.
    numbers = (max(held) - before) / (2 * 8 * 8)
    assert 5 < numbers < 100
    assert 4 * 8 * 64 * 64 * 4 > 30 * 100 * (2 * 8 * 8)  # one activation would be seen
