"""Faults planted in a healthy convolutional network, each in a few lines.

The network has learnt the digits. Its three normalizations are `one`, `two` and `three`.
"""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict

import torch
from field_cases import collector
from healthy_models import digits, loader, trained
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import FrozenBatchNorm2d

from bn_tutorial.networks.examine import examine, examine_state
from bn_tutorial.networks.watch_norms import watch_norms

CASES = {}
case = collector(CASES)


def net(norm=nn.BatchNorm2d, before=nn.Identity, **options):
    parts = OrderedDict(small=nn.AvgPool2d(2))
    for name, inputs, outputs in (("one", 3, 8), ("two", 8, 16), ("three", 16, 16)):
        parts[f"conv_{name}"] = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        parts[f"before_{name}"] = before()
        parts[name] = norm(outputs, **options)
        parts[f"relu_{name}"] = nn.ReLU()
    parts["output"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    return nn.Sequential(parts)


IMAGES, LABELS = digits()
IMAGES, LABELS = IMAGES[:1440], LABELS[:1440]


def batches(images=IMAGES, labels=LABELS, **options):
    return loader(images, labels, **options)


def taught(make=net, **options):
    return trained(make, IMAGES, LABELS, rate=1e-2, **options)


@functools.cache
def _healthy():
    return taught()


def healthy():
    return copy.deepcopy(_healthy())


def go_on(model, examples, lr=0.01):
    """Train a model on, a step for each batch, in the mode that it is in."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for x, y in examples:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()


# ---------------------------------------------------------------------------------------------
# Statistics
# ---------------------------------------------------------------------------------------------


@case("means of one layer half a deviation off", "stale-statistics", layer="two")
def mean_moved():
    model = healthy()
    model.two.running_mean += 0.5 * model.two.running_var.sqrt()
    return examine(model, batches())


@case("variances of one layer four times too large", "stale-statistics", layer="three")
def variance_scaled():
    model = healthy()
    model.three.running_var *= 4
    return examine(model, batches())


@case("statistics of another training, loaded by mistake", "stale-statistics")
def statistics_of_another():
    model, other = healthy(), taught(seed=1)
    buffers = {name: b for name, b in other.state_dict().items() if "running" in name}
    model.load_state_dict(buffers, strict=False)
    return examine(model, batches())


@case("twenty steps with a momentum of 0.01", "stale-statistics")
def slow_averages():
    model = net(momentum=0.01)
    go_on(model, [*batches()][:20])
    return examine(model, batches())


@case("a rate that stays high to the end", "stale-statistics")
def rate_not_decayed():
    model = healthy()
    go_on(model, batches(), lr=0.1)
    return examine(model, batches())


@case("images as bytes, the training had them standardized", "stale-statistics")
def images_not_standardized():
    return examine(healthy(), batches(60 * IMAGES + 80))


@case("fine-tuned on inverted images, with slow averages", "stale-statistics")
def fine_tuned_briefly():
    model, inverted = healthy(), -IMAGES
    for name in ("one", "two", "three"):
        model.get_submodule(name).momentum = 0.01
    go_on(model, batches(inverted), lr=5e-3)
    return examine(model, batches(inverted))


@case("one layer made anew after training", "never-gathered", layer="two")
def statistics_reset():
    model = healthy()
    model.two.reset_running_stats()
    return examine(model, batches())


@case("trained in eval mode from the first step on", "never-gathered")
def trained_in_eval_mode():
    model = net().eval()
    go_on(model, batches())
    return examine(model, batches())


@case("a moving average of the parameters alone", "never-gathered")
def parameters_averaged_by_hand():
    model, average = healthy(), net()
    for mean, own in zip(average.parameters(), model.parameters(), strict=True):
        mean.data.copy_(own)
    return examine(average, batches())


@case("averaged weights, statistics of before", "averaged-weights")
def averaged_weights():
    model = net()
    average = AveragedModel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(2):
        for x, y in batches():
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
            average.update_parameters(model)
    return examine(average, batches())


@case("NaN in one channel", "nan-statistics", layer="two")
def nan_in_a_mean():
    model = healthy()
    model.two.running_mean[3] = torch.nan
    return examine(model, batches())


@case("a skipped step left an infinite variance", "nan-statistics", layer="one")
def infinite_variance():
    model = healthy()
    model.one.running_var[0] = torch.inf
    return examine(model, batches())


@case("negative variances, by a difference of averages", "nan-statistics", layer="three")
def negative_variance():
    model = healthy()
    model.three.running_var[:2] *= -1
    return examine(model, batches())


@case("a batch that exploded once", "huge-statistics", layer="two")
def huge_mean():
    model = healthy()
    model.two.running_mean[1] = 1e9
    return examine(model, batches())


@case("a batch that exploded: all variances huge", "huge-statistics", layer="one")
def huge_variances():
    model = healthy()
    with torch.no_grad():
        model.train()(1e15 * IMAGES[:32])
        for x, _ in batches():
            model(x)
    return examine(model, batches())


@case("a file: all variances of a layer huge", "huge-statistics", layer="one")
def huge_variances_in_a_state():
    model = healthy()
    model.one.running_var *= 1e22
    return examine_state(model.state_dict())


@case("frozen constants that were never loaded", "never-gathered")
def constants_never_loaded():
    return examine(taught(functools.partial(net, FrozenBatchNorm2d)), batches())


@case("momentum 0 in all layers from the first step on", "never-gathered")
def momentum_zero_from_scratch():
    model = net(momentum=0.0)
    go_on(model, batches())
    return examine(model, batches())


@case("a file: NaN in one channel", "nan-statistics", layer="two")
def nan_in_a_state():
    model = healthy()
    model.two.running_mean[3] = torch.nan
    return examine_state({"epoch": 3, "model": model.state_dict()})


@case("a file: averaged weights", "averaged-weights")
def averaged_weights_in_a_state():
    return examine_state(AveragedModel(healthy()).state_dict())


@case("a file: nine batches counted", "stale-statistics")
def young_state():
    model = net()
    for x, _ in [*batches()][:9]:
        model(x)
    return examine_state(model.state_dict())


# ---------------------------------------------------------------------------------------------
# Settings and modes
# ---------------------------------------------------------------------------------------------


@case("momentum 0.9, as elsewhere", "swapped-momentum")
def momentum_of_elsewhere():
    model = healthy()
    for name in ("one", "two", "three"):
        model.get_submodule(name).momentum = 0.9
    return examine(model, batches())


@case("momentum 0 in one layer, to freeze it", "track-running-stats", layer="two")
def momentum_zero():
    model = healthy()
    model.two.momentum = 0.0
    return examine(model, batches())


@case("track_running_stats switched off later", "track-running-stats", layer="one")
def tracking_switched_off():
    model = healthy()
    model.one.track_running_stats = False
    return examine(model, batches())


@case("a layer without running statistics", "depends-on-the-batch", layer="three")
def no_statistics():
    model = healthy()
    model.three = nn.BatchNorm2d(16, track_running_stats=False)
    return examine(model, batches())


@case("one layer in train mode, the model in eval mode", "depends-on-the-batch", layer="two")
def left_in_train_mode():
    model = healthy().eval()
    model.two.train()
    return examine(model, batches())


@case("parameters frozen, statistics moving", "frozen-but-moving", layer="one")
def frozen_but_moving():
    model = healthy()
    model.one.requires_grad_(False)
    return examine(model, batches())


@case("statistics frozen, parameters learning", "half-frozen", layer="one")
def half_frozen():
    model = healthy()
    model.one.eval()
    return examine(model, batches())


@case("eps 1e-8 in half precision", "eps-underflow", layer="two")
def eps_in_half_precision():
    model = healthy()
    model.two.eps = 1e-8
    return examine(model.half(), batches())


@case("gamma decayed to zero", "gamma-zero", layer="two")
def gamma_collapsed():
    model = healthy()
    model.two.weight.data.mul_(1e-5)
    return examine(model, batches())


@case("half of the gammas decayed to zero", "gamma-zero", layer="two")
def half_of_gamma_collapsed():
    model = healthy()
    model.two.weight.data[:9] = 0
    return examine(model, batches())


# ---------------------------------------------------------------------------------------------
# Batches
# ---------------------------------------------------------------------------------------------


@case("batches of one image", "batch-of-one")
def single_images():
    return examine(healthy(), batches(batch=1))


@case("two values a mean, after a pooling", "small-batches", layer="1")
def two_values_a_mean():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * 32 * 32))
    for x, _ in batches():
        model(x)
    return examine(model, batches(batch=2))


@case("a last batch of one vector", "last-batch", layer="1")
def last_batch_of_one():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * 32 * 32))
    for x, _ in batches():
        model(x)
    data = torch.utils.data.TensorDataset(IMAGES[:641], LABELS[:641])
    return examine(model, torch.utils.data.DataLoader(data, 32, shuffle=True))


@case("batches sorted by class", "batches-not-random")
def sorted_by_class():
    order = LABELS.argsort()
    data = torch.utils.data.TensorDataset(IMAGES[order], LABELS[order])
    by_class = torch.utils.data.DataLoader(data, 32)
    model = net()
    go_on(model, by_class)
    return examine(model, torch.utils.data.DataLoader(data, 32, sampler=_blocks(len(data))))


def _in_order(rows, batch=32):
    data = torch.utils.data.TensorDataset(IMAGES[rows], LABELS[rows])
    return torch.utils.data.DataLoader(data, batch)


@case("sorted by class, and the first class alone looked at", "batches-not-random")
def sorted_throughout():
    by_class = _in_order(LABELS.argsort())
    model = taught()
    go_on(model, by_class)
    return examine(model, by_class, batches=4)


@case("a list sorted by class, the first class alone looked at", "batches-not-random")
def sorted_list():
    return examine(healthy(), [*_in_order(LABELS.argsort())], batches=4)


@case("a stream sorted by class, the first class alone looked at", "batches-not-random")
def sorted_stream():
    return examine(healthy(), iter(_in_order(LABELS.argsort())), batches=4)


@case("eight views of each of four images in a batch", "batches-not-random")
def views_of_one_image():
    views = [
        (x.repeat_interleave(8, 0) + 0.1 * torch.randn(32, 3, 32, 32), y.repeat_interleave(8))
        for x, y in zip(IMAGES.split(4), LABELS.split(4), strict=True)
    ]
    return examine(healthy(), views)


def _blocks(count):
    """Whole batches in random order, so that the first twenty are of many classes."""
    starts = 32 * torch.randperm(count // 32)
    return [row for start in starts.tolist() for row in range(start, start + 32)]


# ---------------------------------------------------------------------------------------------
# What reaches the layers
# ---------------------------------------------------------------------------------------------


@case("dropout before each normalization", "dropout-in-front")
def dropout_in_front():
    return examine(taught(lambda: net(before=lambda: nn.Dropout(0.5))), batches())


@case("dropout of channels before one normalization", "dropout-in-front", layer="three")
def dropout_of_channels():
    def make():
        model = net()
        model.before_three = nn.Dropout2d(0.5)
        return model

    return examine(taught(make), batches())


@case("one layer for two levels of a pyramid", "several-distributions", layer="shared")
def shared_by_two_levels():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.shared, self.output = net(), nn.BatchNorm2d(3), nn.Linear(10, 10)

        def forward(self, x):
            levels = (self.shared(x), self.shared(3 * nn.functional.avg_pool2d(x, 8) + 4))
            levels = levels[0] + nn.functional.interpolate(levels[1], scale_factor=8)
            return self.output(self.body(levels))

    return examine(taught(Pyramid), batches())


@case("most units of a layer dead", "dead-channels", layer="two")
def dead_units():
    model = healthy()
    model.conv_two.weight.data[:12] = 0
    return examine(model, batches())


@case("inputs a million times too small", "dead-channels", layer="one")
def tiny_inputs():
    model, tiny = healthy(), batches(1e-6 * IMAGES)
    update_bn(tiny, model)
    return examine(model.train(), tiny)


@case("time stamps as inputs", "lost-digits", layer="0")
def large_mean():
    x = 1.7e9 + 60 * torch.randn(640, 4)
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 10))
    update_bn(x.split(32), model)
    return examine(model, [*x.split(32)])


@case("NaN in the weights before a layer", "nan-activations")
def nan_in_weights():
    model = healthy()
    model.conv_two.weight.data[0, 0] = torch.nan
    return examine(model, batches())


@case("overflow in half precision", "nan-activations", layer="two")
def overflow_in_half_precision():
    model = healthy().half()
    model.conv_two.weight.data.mul_(6e4)
    return examine(model, batches())


@case("a bias before the layer", "bias-without-effect", layer="conv_two")
def redundant_bias():
    def make():
        model = net()
        model.conv_two = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        return model

    return examine(taught(make), batches())


@case("one layer counted twice as many batches", "uneven-counters", layer="two")
def counted_twice():
    model = healthy()
    model.two.num_batches_tracked *= 2
    return examine(model, batches())


@case("a tracking instance normalization, trained image by image", "eval-worse", "stale-statistics")
def instance_statistics():
    contrast = 0.2 + 3 * torch.rand(len(IMAGES), 1, 1, 1)
    images = IMAGES * contrast + 3 * contrast
    make = functools.partial(net, nn.InstanceNorm2d, track_running_stats=True, affine=True)
    model = trained(make, images, LABELS, rate=1e-2)
    return examine(model, batches(images))


@case("norm refuses: another number of channels", "layer-refuses", layer="two")
def wrong_channels():
    model = healthy()
    model.two = nn.BatchNorm2d(12)
    return examine(model, batches())


# ---------------------------------------------------------------------------------------------
# The training loop
# ---------------------------------------------------------------------------------------------


def watched(model, step, steps=10):
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with watch_norms(model, optimizer) as seen:
        for _, (x, y) in zip(range(steps), batches(), strict=False):
            optimizer.zero_grad()
            step(model, x, y)
            optimizer.step()
    return seen.report


@case("checkpointing", "double-counting")
def loop_with_checkpoints():
    def step(model, x, y):
        y_hat = checkpoint(model, x.requires_grad_(), use_reentrant=False)
        cross_entropy(y_hat, y).backward()

    return watched(healthy(), step)


@case("validation under no_grad, in train mode", "no-grad-is-not-eval")
def loop_with_validation():
    def step(model, x, y):
        cross_entropy(model(x), y).backward()
        with torch.no_grad():
            model(IMAGES[-64:])

    return watched(healthy(), step)


@case("real and generated images in two passes", "several-distributions")
def loop_of_a_discriminator():
    def step(model, x, _):
        fake = 0.3 * torch.randn_like(x) - 1
        (model(x).mean() - model(fake).mean()).backward()

    return watched(healthy(), step)


@case("train() undoes the frozen layer's eval()", "frozen-but-moving", layer="one")
def loop_that_thaws():
    def step(model, x, y):
        model.train()
        cross_entropy(model(x), y).backward()

    model = healthy()
    model.one.requires_grad_(False).eval()
    return watched(model, step)


@case("the weights explode in the fourth step", "nan-activations", layer="two")
def loop_that_explodes():
    count = []

    def step(model, x, y):
        count.append(1)
        if len(count) == 4:
            model.conv_two.weight.data[0] = torch.inf
        cross_entropy(model(x), y).backward()

    return watched(healthy(), step)


@case("an attack in eval mode, its backward after a training pass", "eval-backward")
def loop_with_an_attack():
    def step(model, x, y):
        attack = cross_entropy(model.eval()(x.requires_grad_()), y)
        (cross_entropy(model.train()(x), y) + attack).backward()

    return watched(healthy(), step)


# ---------------------------------------------------------------------------------------------
# No fault
# ---------------------------------------------------------------------------------------------


@case("an average of weights whose statistics were gathered: no fault")
def averaged_and_updated():
    average = AveragedModel(healthy())
    update_bn(batches(), average)
    return examine(average.train(), batches())


@case("statistics gathered with momentum None: no fault")
def cumulative_statistics():
    model = healthy()
    for name in ("one", "two", "three"):
        model.get_submodule(name).momentum = None
    update_bn(batches(), model)
    return examine(model, batches())


@case("a frozen backbone, both ways: no fault")
def frozen_backbone():
    model = healthy()
    for name in ("one", "two"):
        model.get_submodule(name).eval().requires_grad_(False)
    return examine(model, batches())


@case("images in an order that is random, not shuffled again: no fault")
def not_shuffled():
    return examine(healthy(), _in_order(torch.arange(len(LABELS))))


@case("images of one class, as there are no others: no fault")
def one_class():
    model, fours = healthy(), (LABELS == 4).nonzero().flatten()
    return examine(model, _in_order(fours, batch=16), batches=4)


@case("one of two classes is rare, and not shuffled: no fault")
def rare_class():
    model = healthy()
    model.output = nn.Sequential(model.output, nn.Linear(10, 2))
    rare = (torch.arange(len(LABELS)) == 799).long()  # which is looked up
    data = torch.utils.data.TensorDataset(IMAGES, rare)
    return examine(model, torch.utils.data.DataLoader(data, 32))


@case("constants that were loaded: no fault")
def constants_loaded():
    model = net(FrozenBatchNorm2d)
    model.load_state_dict(healthy().state_dict())
    return examine(model, batches())


@case("inputs that are as huge as their statistics: no fault")
def huge_inputs():
    model, far = healthy(), batches(1e10 * IMAGES)
    update_bn(far, model)
    return examine(model.train(), far)


@case("dropout behind the last normalization: no fault")
def dropout_behind():
    def make():
        model = net()
        model.relu_three = nn.Sequential(nn.ReLU(), nn.Dropout(0.3))
        return model

    return examine(taught(make), batches())


@case("instance normalization: no fault")
def instance_normalization():
    return examine(taught(functools.partial(net, nn.InstanceNorm2d, affine=True)), batches())


@case("gradient accumulation: no fault")
def loop_that_accumulates():
    def step(model, x, y):
        for rows in torch.arange(len(x)).chunk(2):
            cross_entropy(model(x[rows]), y[rows]).backward()

    return watched(healthy(), step)


@case("validation in eval mode: no fault")
def loop_with_eval_mode():
    def step(model, x, y):
        cross_entropy(model.train()(x), y).backward()
        with torch.no_grad():
            model.eval()(IMAGES[-64:])

    return watched(healthy(), step)
