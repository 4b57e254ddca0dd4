"""Compiled and distributed models: slow to make, so not among the quick tests."""

import pytest
import torch
from torch import nn

from bn_tutorial.networks.examine import examine


def batches():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(16, 8, generator=generator) + 3 for _ in range(5)]


@pytest.fixture
def model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU())
    for _ in range(20):
        for x in batches():
            net(x)
    return net


def test_compiled_and_wrapped_models_are_looked_into(model):
    expected = str(examine(model, batches()))
    for wrapped in (torch.compile(model, backend="eager"), nn.DataParallel(model)):
        assert str(examine(wrapped, batches())) == expected
    model.compile(backend="eager")
    assert str(examine(model, batches())) == expected
    assert model._compiled_call_impl is not None


def test_model_in_distributed_training_is_examined_by_one_process(model, tmp_path):
    expected = str(examine(model, batches()))
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        wrapped = nn.parallel.DistributedDataParallel(model)
        assert str(examine(wrapped, batches())) == expected
        synchronized = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # refuses to train on a CPU
        assert not examine(synchronized, batches()).findings
    finally:
        torch.distributed.destroy_process_group()
