"""Forward and backward pass of each layer against PyTorch's, and ours against the notebook's.

Ratios of times taken in one run, alternating, on all cores that PyTorch uses by itself.
"""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

from bn_tutorial.scratch import layers

FEATURES = [(128, 256), (1024, 1024), (16384, 1024)]
IMAGES = (32, 64, 28, 28)
ROUNDS = 25


class NotebookBatchNorm:
    """The formulas of the notebook, each as one expression."""

    def __init__(self, features):
        self.gamma, self.beta = np.ones(features, np.float32), np.zeros(features, np.float32)

    def forward(self, x):
        self.std = np.sqrt(np.var(x, axis=0) + 1e-5)
        self.xhat = (x - np.mean(x, axis=0)) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        m, dxhat = len(dy), dy * self.gamma
        np.sum(dy * self.xhat, axis=0)
        np.sum(dy, axis=0)
        along = self.xhat * np.sum(dxhat * self.xhat, axis=0)
        return (1 / (m * self.std)) * (m * dxhat - np.sum(dxhat, axis=0) - along)


def ratio(ours, theirs, rounds=ROUNDS):
    """The shortest time of one over that of the other, taken in turn."""
    times = [], []
    for _ in range(rounds):
        for function, taken in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    return min(times[0]) / min(times[1])


def both_ways(layer, x, dy):
    def run():
        layer.forward(x)
        layer.backward(dy)

    return run


def both_ways_in_torch(layer, x, dy):
    x, dy = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dy)
    leaves = [x, *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x), leaves, dy)


def batch(shape):
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape, dtype=np.float32), rng.standard_normal(
        shape, dtype=np.float32
    )


PAIRS = {
    "BatchNorm2D": (layers.BatchNorm2D(64), nn.BatchNorm2d(64), IMAGES),
    "LayerNorm": (layers.LayerNorm(1024), nn.LayerNorm(1024), (1024, 1024)),
    "InstanceNorm2D": (
        layers.InstanceNorm2D(64, affine=True),
        nn.InstanceNorm2d(64, affine=True),
        IMAGES,
    ),
    "GroupNorm": (layers.GroupNorm(8, 64), nn.GroupNorm(8, 64), IMAGES),
    "RMSNorm": (layers.RMSNorm(1024), nn.RMSNorm(1024), (1024, 1024)),
}


@pytest.mark.parametrize("shape", FEATURES, ids=str)
def test_batch_normalization_against_pytorch_and_the_notebook(shape):
    x, dy = batch(shape)
    ours = both_ways(layers.BatchNorm1D(shape[1]), x, dy)
    theirs = both_ways_in_torch(nn.BatchNorm1d(shape[1]), x, dy)
    notebook = both_ways(NotebookBatchNorm(shape[1]), x, dy)
    against_torch, against_notebook = ratio(ours, theirs), ratio(notebook, ours)
    print(f"\n{shape}: {against_torch:.2f} x PyTorch, notebook {against_notebook:.2f} x ours")
    if x.size >= 1 << 20:
        assert against_notebook > 1  # what a small batch costs is the calls, not the arithmetic


@pytest.mark.parametrize("name", PAIRS)
def test_other_layer_against_pytorch(name):
    ours, theirs, shape = PAIRS[name]
    x, dy = batch(shape)
    found = ratio(both_ways(ours, x, dy), both_ways_in_torch(theirs, x, dy))
    print(f"\n{name} {shape}: {found:.2f} x PyTorch")


@pytest.mark.parametrize("shape", FEATURES[1:], ids=str)
def test_memory_stays_within_three_arrays_of_the_inputs_size(shape):
    x, dy = batch(shape)
    layer = layers.BatchNorm1D(shape[1])
    tracemalloc.start()
    y = layer.forward(x)
    dx = layer.backward(dy)
    peak = tracemalloc.get_traced_memory()[1] / x.nbytes
    tracemalloc.stop()
    print(f"\n{shape}: {peak:.2f} arrays of the input's size")
    assert y.shape == dx.shape == shape
    assert peak < 3.1
