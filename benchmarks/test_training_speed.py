"""How much faster the training loop is than the notebook's, and how close to its floor.

Absolute times say more about the machine than about the code, so both sides of each ratio are
measured in turn in one process, and the fastest of the rounds counts. Processor time on one thread:
what else the machine does at the time hardly matters.
"""

import dataclasses
import os
import time
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from bn_tutorial.data.dataset import Dataset, Split
from bn_tutorial.data.loading import load
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.side_by_side import train_side_by_side
from bn_tutorial.lab.training import Config, train
from bn_tutorial.networks.bridge import FusedBatchNorm1d
from bn_tutorial.networks.convolutional import ConvNet
from bn_tutorial.networks.perceptron import DeepNet

BATCH = 128
STEPS = 469  # in an epoch of 60,000 images
SAMPLE = 47  # steps that are timed in a round, a tenth of an epoch: they are all alike
ROUNDS = 10


@pytest.fixture(scope="module", autouse=True)
def on_the_processor_in_one_thread():
    with pytest.MonkeyPatch.context() as environment, one_thread():
        environment.setenv("BN_TUTORIAL_DEVICE", "cpu")  # whose time is measured
        yield


@pytest.fixture(scope="module")
def mnist():
    if "BN_TUTORIAL_DATA" not in os.environ:
        pytest.skip("BN_TUTORIAL_DATA names no folder with MNIST")
    return load("mnist")


def notebook_images():
    """The images as the notebook reads them: decoded, converted and scaled one by one."""
    from torchvision import datasets, transforms

    steps = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    root = Path(os.environ["BN_TUTORIAL_DATA"]).expanduser()
    return datasets.MNIST(root, train=True, transform=transforms.Compose(steps))


def notebook_steps(model, loader):
    """Train as the notebook does, and yield the loss of each step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    correct = 0
    for images, labels in loader:
        optimizer.zero_grad()
        logits = model(images.view(-1, 784))
        loss = nn.functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        correct += (logits.argmax(1) == labels).sum().item()
        yield loss.item()


def seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


@pytest.mark.parametrize("norm", [None, "batch"])
def test_epoch_takes_half_of_the_notebooks_or_less(mnist, norm, capsys):
    loader = torch.utils.data.DataLoader(notebook_images(), batch_size=BATCH, shuffle=True)
    # The same share of the training and of the test set, which the notebook does not look at.
    counts = SAMPLE * BATCH, 10_000 * SAMPLE // STEPS
    train_split, test_split = (
        Split(split.images[:count], split.labels[:count])
        for split, count in zip((mnist.train, mnist.test), counts, strict=True)
    )
    data = dataclasses.replace(mnist, train=train_split, test=test_split)
    theirs, ours, cold = [], [], []
    for _ in range(ROUNDS):
        steps = islice(notebook_steps(DeepNet(norm), loader), SAMPLE)
        theirs.append(seconds(lambda steps=steps: list(steps)))
        data = dataclasses.replace(data)  # unknown so far, so it is standardized anew
        for times in (cold, ours):
            times.append(seconds(partial(train, DeepNet(norm), data, Config(SAMPLE, SAMPLE))))
    scale = STEPS / SAMPLE
    ratio = min(theirs) / min(ours)
    with capsys.disabled():
        print(f"\nepoch, norm={norm}: notebook {scale * min(theirs):.1f} s; ours, test included,")
        print(f"{scale * min(ours):.2f} s ({scale * min(cold):.2f} s with standardization):")
        print(f"{ratio:.1f} times faster ({min(theirs) / min(cold):.1f} in the first epoch)")
    # The printed ratio is the result. It was 6 on one machine and 2.6 on another, whose time for
    # decoding and scaling images one by one is a fifth.
    assert ratio >= 2


@pytest.mark.parametrize("norm", [None, "batch"])
def test_five_small_networks_are_sooner_trained_side_by_side(mnist, norm, capsys):
    steps = 300  # as most studies have
    models = partial(small_networks, norm)
    configs = [Config(steps, steps, seed=seed) for seed in range(5)]
    alone, together = [], []
    for _ in range(3):

        def one_by_one():
            for model, config in zip(models(), configs, strict=True):
                train(model, mnist, config)

        alone.append(seconds(one_by_one))
        together.append(seconds(lambda: train_side_by_side(models(), mnist, configs)))
    ratio = min(together) / min(alone)
    with capsys.disabled():
        print(f"\nfive networks, norm={norm}: side by side {ratio:.2f} of the time")
    assert ratio < 1


def small_networks(norm):
    widths = (784, 64, 64, 64, 64, 10)
    return [DeepNet(norm, widths=widths, activation="relu", seed=seed) for seed in range(5)]


@pytest.mark.parametrize("norm", [None, "batch"])
def test_losses_are_those_of_the_notebooks_loop_in_the_same_order(mnist, norm):
    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(0)).tolist()
    loader = torch.utils.data.DataLoader(notebook_images(), batch_size=BATCH, sampler=order)
    theirs = list(islice(notebook_steps(DeepNet(norm), loader), SAMPLE))
    ours = train(DeepNet(norm), mnist, Config(STEPS, STEPS)).step_loss[:SAMPLE]
    # Rounding, and the notebook's mean and deviation, which it states to four places.
    assert ours == pytest.approx(theirs, rel=2e-3)


def network(norm):
    """A perceptron; what is "fused" has our layer."""
    model = DeepNet("batch" if norm == "fused" else norm)
    if norm == "fused":
        for block in list(model)[:-1]:
            block.norm = FusedBatchNorm1d(block.norm.num_features)
    return model


def noise(count):
    """Images for so many steps, with which nothing can be learnt: a step takes as long."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count * BATCH, 28, 28), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.randint(0, 10, (count * BATCH,), generator=generator))
    return Dataset("noise", "noise", "none", "made here", "0", split, split[:1])


@pytest.mark.parametrize(("norm", "aim"), [(None, 1.3), ("batch", 1.4), ("fused", 1.4)])
def test_step_takes_little_longer_than_its_matrix_products(norm, aim, capsys):
    count = 100
    data, generator = noise(count), torch.Generator().manual_seed(0)
    widths = (784, 256, 256, 256, 256, 10)
    inputs = [torch.randn(BATCH, width, generator=generator) for width in widths[:-1]]
    outputs = [torch.randn(BATCH, width, generator=generator) for width in widths[1:]]
    weights = [torch.randn(n, m, generator=generator) for m, n in pairwise(widths)]

    def products():
        for _ in range(count):
            for layer, (x, w, dy) in enumerate(zip(inputs, weights, outputs, strict=True)):
                x @ w.T, dy.T @ x
                if layer:  # nobody asks for the gradient of the images
                    dy @ w

    floor, step = [], []
    for _ in range(ROUNDS):
        floor.append(seconds(products) / count)
        # The first round standardizes the images as well, and is not the fastest.
        step.append(seconds(lambda: train(network(norm), data, Config(count, count))) / count)
    ratio = min(step) / min(floor)
    with capsys.disabled():
        print(f"\nstep, norm={norm}: {1e3 * min(step):.2f} ms, its matrix products alone")
        print(f"{1e3 * min(floor):.2f} ms: {ratio:.2f} times; the aim is {aim}")
    assert ratio <= 2.5


@pytest.mark.parametrize("norm", [None, "batch"])
def test_step_of_a_convolutional_network_against_its_convolutions(norm, capsys):
    count, channels, strides = 20, (8, 16, 16, 16), (2, 2, 2, 1)
    data, generator = noise(count), torch.Generator().manual_seed(0)
    passes, size = [], 28
    for (before, after), stride in zip(pairwise((1, *channels)), strides, strict=True):
        convolution = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        x = torch.randn(BATCH, before, size, size, generator=generator)
        # Nobody asks for the gradient of the images.
        leaves = [convolution.weight, *([x.requires_grad_()] if passes else [])]
        passes.append((convolution, x, leaves, torch.ones_like(convolution(x))))
        size = (size + 1) // stride if stride > 1 else size

    def convolutions():
        for _ in range(count):
            for convolution, x, leaves, dy in passes:
                torch.autograd.grad(convolution(x), leaves, dy)

    floor, step = [], []
    for _ in range(ROUNDS):
        floor.append(seconds(convolutions) / count)
        model = ConvNet(norm, channels=channels, strides=strides)
        step.append(seconds(partial(train, model, data, Config(count, count))) / count)
    with capsys.disabled():
        print(f"\nstep of a convolutional network, norm={norm}: {1e3 * min(step):.2f} ms,")
        print(f"its convolutions alone {1e3 * min(floor):.2f} ms:")
        print(f"{min(step) / min(floor):.2f} times")
    assert min(step) > 0.8 * min(floor)  # else they are not those of the network
