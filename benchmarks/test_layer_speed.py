"""Forward and backward pass of each layer against PyTorch's, and ours against the notebook's.

Ratios of times taken in one run, alternating, on all cores that PyTorch uses by itself. What is
aimed at is printed beside what is found; nothing is asserted that a busy machine could not keep.
"""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

from bn_tutorial.scratch import fused, layers

FEATURES = [(128, 256), (1024, 1024), (16384, 1024)]
IMAGES = (32, 64, 28, 28)
ROUNDS = 25
FIRST, MORE = 0.8, 1.0  # of PyTorch's time: the aims for batch normalization and for the others


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


def shortest(functions, rounds=ROUNDS):
    """The shortest time of each, taken in turn."""
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: min(taken) for name, taken in times.items()}


def ratio(ours, theirs, rounds=ROUNDS):
    found = shortest({"ours": ours, "theirs": theirs}, rounds)
    return found["ours"] / found["theirs"]


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


def pair(name, *arguments, **options):
    """Our layer in NumPy, the same fused, and PyTorch's."""
    ours, theirs = getattr(layers, name), getattr(nn, name.replace("D", "d"))
    return (
        ours(*arguments, **options),
        ours(*arguments, **options, fused=True),
        theirs(*arguments, **options),
    )


# Layer, shape, how many moves of an array the two passes need at least, and what is aimed at.
CASES = [
    *((pair("BatchNorm1D", shape[1]), shape, 3 + 5, FIRST) for shape in FEATURES),
    (pair("BatchNorm2D", 64), IMAGES, 3 + 5, FIRST),
    *((pair("LayerNorm", shape[1]), shape, 2 + 3, MORE) for shape in FEATURES),
    *((pair("RMSNorm", shape[1]), shape, 2 + 3, MORE) for shape in FEATURES),
    (pair("GroupNorm", 8, 64), IMAGES, 2 + 3, MORE),
    (pair("InstanceNorm2D", 64, affine=True), IMAGES, 2 + 3, MORE),
]


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


def test_every_layer_against_pytorch_and_the_copy(capsys):
    lines, reached = [], []
    with fused.threads(torch.get_num_threads()):
        for (numpy, compiled, theirs), shape, moves, aim in CASES:
            x, dy = batch(shape)
            source, target = torch.from_numpy(x), torch.empty(shape)
            passes = {
                "numpy": both_ways(numpy, x, dy),
                "fused": both_ways(compiled, x, dy),
                "PyTorch": both_ways_in_torch(theirs, x, dy),
                "copy": lambda source=source, target=target: target.copy_(source),
            }
            for function in passes.values():
                function()  # which compiles, and finds its memory
            found = shortest(passes)
            against = {code: found[code] / found["PyTorch"] for code in ("numpy", "fused")}
            share = moves * found["copy"] / 2 / found["fused"]
            reached.append(against["fused"])
            name = type(compiled).__name__
            lines.append(
                f"{name:15} {shape!s:17} {against['numpy']:8.2f} {against['fused']:8.2f}"
                f" {aim:6.1f} {share:9.0%}"
            )
    with capsys.disabled():
        print("\nforward and backward, over PyTorch's time; share of the speed of a copy")
        print(f"{'layer':15} {'shape':17} {'NumPy':>8} {'fused':>8} {'aim':>6} {'share':>9}")
        print(*lines, sep="\n")
    assert sum(reached) / len(reached) < 1


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
