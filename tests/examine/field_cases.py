"""Sick models as they were reported in public threads, each with the codes that name its fault.

A case returns the report of `examine` or of `watch_norms`. The codes are chosen by what is wrong,
any of them will do; none is expected of what is no fault. Where one layer is sick, it is named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from bn_tutorial.networks.examine import examine, examine_state
from bn_tutorial.networks.report import Report
from bn_tutorial.networks.watch_norms import watch_norms

CASES = {}


@dataclass(frozen=True)
class Case:
    what: str
    codes: tuple[str, ...]
    layer: str | None  # None where not one layer is sick, but the batches, the loop, or nothing
    report: Callable[[], Report]


def collector(cases):
    """Return what keeps a function as a case."""

    def case(what, *codes, layer=None):
        def keep(function):
            cases[function.__name__] = Case(what, codes, layer, function)
            return function

        return keep

    return case


case = collector(CASES)


def noise(*shape, count=20, scale=1.0, shift=0.0):
    return [torch.randn(*shape) * scale + shift for _ in range(count)]


@case("slow averages, thirty steps: val loss in the thousands", "stale-statistics", layer="1")
def f01_too_few_steps():
    x, y = 3 * torch.randn(2, 8) + 5, torch.tensor([[0.0], [1.0]])
    norm = nn.BatchNorm1d(16, momentum=0.01)
    net = nn.Sequential(nn.Linear(8, 16), norm, nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        mse_loss(net(x), y).backward()
        optimizer.step()
    return examine(net, [(x, y)] * 5)


@case("one image a batch: eval mode is another function", "batch-of-one", layer="0")
def f02_batch_of_one():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    images = [torch.randn(1, 3, 16, 16) * (0.2 + 4 * torch.rand(1)) for _ in range(50)]
    for image in images:
        net(image)
    return examine(net, images)


@case("eval-mode gradient with later statistics", "eval-backward", layer="")
def f04_backward_after_a_train_pass():
    norm = nn.BatchNorm1d(1)
    with watch_norms(norm) as seen:
        y = norm.eval()(torch.randn(4, 1, requires_grad=True))
        norm.train()(5 * torch.randn(64, 1))
        y.sum().backward()
    return seen.report


@case("a teacher under no_grad drifts", "no-grad-is-not-eval", layer="1")
def f05_teacher_moves():
    teacher = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    with watch_norms(teacher) as seen, torch.no_grad():
        for x in noise(8, 4):
            teacher(x)
    return seen.report


@case("frozen as in Keras up to 2.1.2", "frozen-but-moving", layer="")
def f07_frozen_but_moving():
    return examine(_gathered(nn.BatchNorm1d(4).requires_grad_(False)), noise(64, 4, shift=5))


@case(
    "frozen as in Keras 2.1.3: the batch normalizes, nothing moves", "track-running-stats", layer=""
)
def f07_momentum_zero():
    norm = nn.BatchNorm1d(4, momentum=0.0).requires_grad_(False)
    return examine(norm, noise(64, 4, shift=5))


@case("one value a channel after pooling", "one-value", layer="2")
def f09_one_value():
    return examine(_pooled_branch(), noise(1, 8, 64, 64))


@case("two values a channel: plus and minus one", "small-batches", layer="2")
def f09_two_values():
    return examine(_pooled_branch(), noise(2, 8, 64, 64))


@case("instance normalization of one pixel, in eval mode, too", "one-value", layer="0")
def f11_one_pixel():
    return examine(nn.Sequential(nn.InstanceNorm2d(8)).eval(), noise(32, 8, 1, 1))


@case("LayerNorm(C) on images", "layer-refuses", layer="0")
def f13_layer_norm_on_images():
    return examine(nn.Sequential(nn.LayerNorm(6)), noise(2, 6, 4, 4))


@case("eps 1e-12 in half precision", "eps-underflow", layer="")
def f15_eps_underflow():
    return examine(nn.LayerNorm(4, eps=1e-12).half(), noise(8, 4))


@case("small inputs are not brought to variance one", "dead-channels", layer="")
def f16_small_inputs():
    return examine(_gathered(nn.BatchNorm1d(4, eps=1e-3), 0.01), noise(64, 4, scale=0.01))


@case("eps zero is refused", "eps-underflow", layer="")
def f17_eps_zero():
    return examine(nn.BatchNorm1d(2, eps=0.0), noise(8, 2))


@case("a constant channel becomes plus or minus one", "lost-digits", "dead-channels", layer="0")
def f23_constant_channel():
    x = torch.randn(64, 8, 32, 32)
    x[:, 3] = 100.1
    net = nn.Sequential(nn.BatchNorm2d(8))
    x = x.contiguous(memory_format=torch.channels_last)
    for _ in range(200):
        net[0].running_mean.lerp_(x.mean((0, 2, 3)), 0.1)
        net[0].running_var.lerp_(x.var((0, 2, 3)), 0.1)
    return examine(net, [x] * 4)


@case("exported in training mode: no statistics", "depends-on-the-batch", layer="")
def f27_no_statistics():
    return examine(nn.BatchNorm1d(3, track_running_stats=False), noise(16, 3))


@case("an average of the parameters alone", "never-gathered", layer="1")
def f29_parameters_averaged():
    trained, average = _classifier(), _net()
    for mean, own in zip(average.parameters(), trained.parameters(), strict=True):
        mean.data.copy_(own)
    return examine(average, _classes())


@case("the variances of clients averaged", "stale-statistics", layer="0")
def f29_variances_averaged():
    net = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1))
    net[0].running_mean.fill_(2.0)  # of clients around 0 and 4, each of variance one
    clients = torch.tensor([0.0, 4.0]).repeat(16)[:, None]
    return examine(net, [clients + torch.randn(32, 1) for _ in range(20)])


@case("strict=False without running_var", "never-gathered", layer="1")
def f30_variance_missing():
    state = _classifier().state_dict()
    del state["1.running_var"]
    net = _net()
    net.load_state_dict(state, strict=False)
    return examine(net, _classes())


@case("the same, of a file alone", "never-gathered", layer="1")
def f30_variance_missing_in_a_state():
    state = _classifier().state_dict()
    net = _net()
    net.load_state_dict({k: v for k, v in state.items() if "running_var" not in k}, strict=False)
    return examine_state(net.state_dict())


@case("padded frames, evaluated without padding", "stale-statistics", layer="0")
def f32_padding():
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Conv1d(4, 4, 3))
    for _ in range(100):
        net(torch.cat([torch.randn(8, 4, 20) + 3, torch.zeros(8, 4, 180)], dim=2))
    return examine(net, noise(8, 4, 20, shift=3))


class Recurrent(nn.Module):
    """A cell whose state grows from zero, with one layer for all steps."""

    def __init__(self):
        super().__init__()
        self.norm, self.out = nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x):
        for t, scale in enumerate(torch.linspace(0.05, 2, 20)):
            h = self.norm(scale * x[:, t])
        return self.out(h)


@case("one layer for all steps of a recurrent cell", "several-distributions", layer="norm")
def f36_recurrent():
    net, batches = Recurrent(), noise(32, 20, 4)
    for x in batches:
        net(x)
    return examine(net, batches)


@case("source and target in two passes", "several-distributions", layer="")
def f38_two_passes():
    norm = nn.BatchNorm1d(4)
    optimizer = torch.optim.SGD(norm.parameters(), lr=0.1)
    with watch_norms(norm, optimizer) as seen:
        for _ in range(20):
            optimizer.zero_grad()
            (norm(torch.randn(64, 4)) + norm(torch.randn(64, 4) + 5)).square().mean().backward()
            optimizer.step()
    return seen.report


@case("updates dropped: statistics stay at 0 and 1", "never-gathered", layer="1")
def f39_updates_dropped():
    trained = _classifier()
    trained[1].reset_running_stats()
    return examine(trained, _classes())


@case("checkpointing counts each batch twice", "double-counting", layer="1")
def checkpointing():
    net = _net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with watch_norms(net, optimizer) as seen:
        for x, y in _classes()[:5]:
            optimizer.zero_grad()
            h = torch.utils.checkpoint.checkpoint(net, x.requires_grad_(), use_reentrant=False)
            cross_entropy(h, y).backward()
            optimizer.step()
    return seen.report


@case("momentum 0.99, as elsewhere", "swapped-momentum", layer="1")
def momentum_swapped():
    net = _classifier()
    net[1].momentum = 0.99
    return examine(net, _classes())


@case("raised in eval mode in the seventh digit: no fault")
def f40_rounding():
    return examine(_classifier().eval(), _classes())


@case("synchronized layers on a CPU: no fault")
def f22_synchronized():
    return examine(nn.SyncBatchNorm.convert_sync_batchnorm(_classifier()), _classes())


@case("frozen as in TensorFlow 2: no fault")
def f07_frozen():
    return examine(_gathered(nn.BatchNorm1d(4)).requires_grad_(False).eval(), noise(64, 4, shift=5))


# What an examination cannot show: F19 F24 F26 F35 and, of files and other frameworks, the rest.


def _gathered(norm, scale=1.0):
    for x in noise(64, 4, count=100, scale=scale, shift=5 * (scale == 1)):
        norm(x)
    return norm


def _pooled_branch():
    pool, mix = nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1, bias=False)
    return nn.Sequential(pool, mix, nn.BatchNorm2d(4), nn.Flatten())


def _net():
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


def _classes():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(4, (640,), generator=generator)
    centres = 3 * torch.randn(4, 8, generator=generator)
    x = centres[y] + torch.randn(640, 8, generator=generator) + 5
    return [*zip(x.split(32), y.split(32), strict=True)]


def _classifier():
    torch.manual_seed(1)
    net = _net()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 60)
    for x, y in 3 * _classes():
        optimizer.zero_grad()
        cross_entropy(net(x), y).backward()
        optimizer.step()
        schedule.step()
    return net
