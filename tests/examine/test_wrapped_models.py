"""Compiled and distributed models: slow to make, so not among the quick tests."""

from pathlib import Path

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


def test_compiled_part_is_run_in_plain_python_and_stays_compiled(model):
    expected = examine(model, batches())
    compiled = []

    def backend(graph, _):
        compiled.append(graph)
        return graph

    whole = nn.Sequential(torch.compile(model, backend=backend), nn.Identity())
    right = whole(batches()[0])
    count = len(compiled)
    found = examine(whole, batches())
    assert len(compiled) == count > 0  # each mode and hook would have it compiled anew
    assert (found.codes, found.seen) == (expected.codes, expected.seen)
    torch.testing.assert_close(whole(batches()[0]), right)
    assert len(compiled) == count


def test_sick_layer_of_a_compiled_part_is_named(model):
    model[1].running_mean[2] = torch.nan
    whole = nn.Sequential(torch.compile(model, backend="eager"), nn.Identity())
    (found,) = examine(whole, batches()).errors
    assert found.code == "nan-statistics"
    assert whole.get_submodule(found.layers[0]) is model[1]


def process(rank, folder):
    """Examine a wrapped model in one of two processes, the other of which only waits."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU())
    wrapped = nn.parallel.DistributedDataParallel(net)
    for x in 20 * batches():
        wrapped(x).sum().backward()
    if rank == 1:  # one process alone: to wait for the other would take for ever
        net[1].running_mean[3] = torch.nan
        text = str(examine(wrapped, batches()))
        Path(folder, "report").write_text(text, encoding="utf-8")
    torch.distributed.barrier()
    wrapped.train()(batches()[0]).sum().backward()  # both are in step still
    torch.distributed.destroy_process_group()


def test_one_of_two_processes_examines_its_own_model(tmp_path):
    torch.multiprocessing.spawn(process, (str(tmp_path),), nprocs=2)
    text = (tmp_path / "report").read_text(encoding="utf-8")
    assert "ERROR nan-statistics: 1 of 16 channels of 1 (3)" in text
