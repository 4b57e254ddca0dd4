"""
Walk to the edge of stability
=============================

**The question.** What limits the learning rate with batch normalization (BN) and without: how sharp
the loss is at the start, or how sharp it may become?

**In short.** Not the start alone: before training the loss is *sharper* with BN (none minus BN is
:effect:`before training, none - BN`), and the largest rate that it bears, minus that without BN, is
:finding:`largest rate, BN - none`. At the rates looked at, both networks start sharper than two
over the rate, fall to it and stay near it. So at one rate BN ends hardly flatter, if at all:
:finding:`sharpness, none - BN`, and in units of the length of the weights
:finding:`scale-free sharpness, none - BN`. At twice the rate the sharpness must be half, 0.30
decades less. In those units BN's falls by :effect:`scale-free, BN, rate 0.1 - rate 0.2`: weights
that grow explain very little of it.

.. lead-figure::

**What was done.** Perceptrons with two hidden layers of 48 tanh units and PyTorch's weights learned
500 images by gradient descent on all of them at once (squared loss, 400 steps). *Varied:* BN or
none; the rate, 0.1 or 0.2 with BN; a decay of 0.01 of the hidden weights, or none. The largest rate
is that with which the loss is lower after 100 steps than before, found by bisection for each of 5
seeds.

**You need** :doc:`how smoothness is measured <plot_04_measure_the_smoothness>`.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import bisect
from torch.nn.functional import one_hot

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_effects, new_figure
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.results import remembered
from bn_tutorial.lab.training import device
from bn_tutorial.networks.curvature import Surface, own_lengths
from bn_tutorial.networks.perceptron import DeepNet

# %%
# The edge
# --------
# Along one direction, near the bottom of a valley, the loss is :math:`\tfrac12 s u^2` with the
# sharpness :math:`s`. A step of gradient descent takes :math:`u` to :math:`u - \eta s u`, that is,
# multiplies it by :math:`1 - \eta s`. It comes closer to the bottom if :math:`|1 - \eta s| < 1`, so
# if :math:`s < 2/\eta`. In a sharper valley it swings ever wider. For a parabola that is all there
# is to say. A network's loss is none: Cohen et al. (2021) found that the sharpness grows until it
# reaches :math:`2/\eta`, the *edge of stability*, and then stays there or just above it, while the
# loss goes on falling.

print("at a rate of 0.5, u goes from 1 to")
for sharpness in (1.0, 3.9, 4.1):
    u = 1.0
    for _ in range(50):
        u -= 0.5 * sharpness * u
    print(f"  {u:8.2g} in 50 steps, where the sharpness is {sharpness}")

# %%
# The settings
# ------------


class Arm(NamedTuple):
    """How one network is trained."""

    norm: str | None
    rate: float
    decay: float = 0.0


ARMS = {
    "none, rate 0.1": Arm(None, 0.1),
    "BN, rate 0.1": Arm("batch", 0.1),
    "BN, rate 0.2": Arm("batch", 0.2),
    "none, decay": Arm(None, 0.1, 0.01),
    "BN, decay": Arm("batch", 0.1, 0.01),
}
IMAGES, STEPS, EVERY, LAST = 500, 400, 50, 3  # LAST: looks that are averaged
TESTED = 100  # steps: to see whether a rate can be borne
JUDGING = range(180, 185)  # seeds
MATTERS = 0.1  # decades

data = load()
evidence = Evidence(
    "06_why_it_works/plot_05_walk_to_the_edge",
    data=data,
    seeds=JUDGING,
    horizon="400 steps (400 epochs)",
    claims={
        "before training, none - BN": "flatter before training",
        "sharpness, none - BN": "flatter at the same rate",
        "largest rate, BN - none": "bears larger rates",
    },
)
images = data.standardize(data.train.images[:IMAGES]).to(device())
targets = one_hot(data.train.labels[:IMAGES], 10).to(images)


# %%
# Gradient descent, and nothing else
# ----------------------------------
# All images at every step, so that nothing is left to chance: what happens is due to the surface.


class Descent:
    """A network that goes down the loss of all images."""

    def __init__(self, norm, seed):
        widths = (784, 48, 48, 10)
        model = DeepNet(norm, widths=widths, activation="tanh", seed=seed)
        self.model = model.to(device()).train()
        self.parameters = list(self.model.parameters())
        self.decayed = [
            p for n, p in self.model.named_parameters() if is_weight(n)
        ]

    def loss(self):
        """Return half the squared error, summed over the classes."""
        return ((self.model(images) - targets) ** 2).sum(dim=1).mean() / 2

    def step(self, rate, decay=0.0):
        """Take one step."""
        gradients = torch.autograd.grad(self.loss(), self.parameters)
        with torch.no_grad():
            for weights in self.decayed:
                weights.mul_(1 - rate * decay)
            for parameter, gradient in zip(
                self.parameters, gradients, strict=True
            ):
                parameter.sub_(rate * gradient)

    def sharpness(self, units=None):
        """Return the decimal logarithm of the sharpness, in raw or other units."""
        surface = Surface(self.loss, self.parameters, units)
        return np.log10(surface.sharpness())


def is_weight(name):
    """Whether these are weights of a hidden layer."""
    return name.startswith("hidden") and name.endswith("linear.weight")


@remembered
def watched(arm, seed):
    """Return losses, raw and scale-free sharpnesses of a training."""
    descent = Descent(arm.norm, seed)
    losses, raw, free = [], [], []
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            losses.append(descent.loss().item())
            raw.append(descent.sharpness())
            if step > STEPS - LAST * EVERY:  # before, it is of no use here
                free.append(descent.sharpness(own_lengths(descent.model)))
        descent.step(arm.rate, arm.decay)
    return losses, raw, free


with one_thread():
    runs = {
        name: [watched(arm, seed) for seed in JUDGING]
        for name, arm in ARMS.items()
    }
losses, raw, free = (
    {name: np.array([run[part] for run in runs[name]]) for name in ARMS}
    for part in range(3)
)


# %%
# Where does the sharpness end?
# -----------------------------
# Compared with the edge, and with each other, in decades: decimal logarithms of ratios, averaged
# over the last three looks, because at the edge it swings.


def end(curves):
    """Return the mean over the last looks, seed by seed."""
    return curves[:, -LAST:].mean(axis=1)


def compare(name, treated, control, **options):
    """Compare two logarithms."""
    return evidence.compare(
        name, treated, control, unit="decades", smallest=MATTERS, **options
    )


def edge(rate):
    """Return where a parabola becomes unstable, for each seed."""
    return np.full(len(JUDGING), np.log10(2 / rate))


for name in ARMS:
    compare(f"sharpness - edge, {name}", end(raw[name]), edge(ARMS[name].rate))
plain, bn, fast, plain_decay, bn_decay = ARMS
compare("sharpness, none - BN", end(raw[plain]), end(raw[bn]))
compare("scale-free sharpness, none - BN", end(free[plain]), end(free[bn]))
compare(
    "before training, none - BN",
    raw[plain][:, 0],
    raw[bn][:, 0],
    horizon="untrained",
)
print(evidence.table())

# %%
# Flatter, or longer weights?
# ---------------------------
# Weights in front of BN have two ways to obey the edge: they can find flatter directions, or grow
# longer, which flattens the raw loss and leaves the function as it is. Scale-free sharpness, in
# units of the lengths of the layers, sees only the first in what stands in front of BN. From the
# rate 0.1 to 0.2 the edge falls by 0.3 decades; how much of that is left in scale-free coordinates?
#
# Lyu, Li and Arora (2022) prove of networks with normalization *and weight decay* that descent
# reaches the edge and then reduces such a sharpness. Decay shortens the weights, so that at the
# same raw sharpness the scale-free one must fall. Is that peculiar to BN?

compare("scale-free, BN, rate 0.1 - rate 0.2", end(free[bn]), end(free[fast]))
compare(
    "scale-free, BN, without - with decay", end(free[bn]), end(free[bn_decay])
)
compare(
    "scale-free, none, without - with decay",
    end(free[plain]),
    end(free[plain_decay]),
)
print(evidence.table(*list(evidence.effects)[-3:]))

# %%
# The last three rows answer both questions. Of the fall by 0.3 decades, that from the rate 0.1 to
# 0.2, :effect:`scale-free, BN, rate 0.1 - rate 0.2` are left when lengths do not count. So weights
# that grow longer explain very little of it, and nearly all is due to flatter directions. And
# decay lowers the scale-free sharpness by :effect:`scale-free, BN, without - with decay` with BN
# and by :effect:`scale-free, none, without - with decay` without; in raw coordinates they end at
# :effect:`sharpness - edge, BN, decay` and :effect:`sharpness - edge, none, decay` from the edge.
# So that decay lowers this number is not peculiar to BN: shorter weights alone do it. Whether the
# slow fall that the theorem promises is there, 400 steps do not show.
#
# The largest rate
# ----------------
# If the surface were a parabola, the sharpness before training would tell the largest rate: two
# over it.


def bears(norm, seed, decade):
    """Return 1 if the loss falls at this rate, else -1."""
    descent = Descent(norm, seed)
    before = descent.loss().item()
    for _ in range(TESTED):
        descent.step(10**decade)
        if not descent.loss().item() < 100 * before:
            return -1.0
    return 1.0 if descent.loss().item() < before else -1.0


@remembered
def largest(norm):
    """Return the logarithm of the largest rate, seed by seed."""
    return np.array(
        [
            bisect(
                lambda decade, seed=seed: bears(norm, seed, decade),
                *np.log10((0.05, 1.6)),
                xtol=1 / 32,  # so differences are known to a sixteenth
            )
            for seed in JUDGING
        ]
    )


with one_thread():
    limits = {norm: largest(norm) for norm in (None, "batch")}
horizon = {"horizon": "100 steps (100 epochs)", "resolution": 1 / 16}
compare("largest rate, BN - none", limits["batch"], limits[None], **horizon)
for name, norm in ((plain, None), (bn, "batch")):
    words = name.split(",")[0]
    predicted = np.log10(2) - raw[name][:, 0]
    compare(
        f"largest rate - predicted, {words}", limits[norm], predicted, **horizon
    )
print(evidence.table(*list(evidence.effects)[-3:]))

# %%

# fold: draw the sharpness along the training, the figure at the top of the page
figure, axes = new_figure(
    2,
    1,
    lead=True,
    width=7.2,
    height=6.4,
    height_ratios=(5, 4),
    alt="Above, the sharpness against the step, logarithmic, for a network without batch "
    "normalization at rate 0.1 and with it at 0.1 and 0.2: each line falls to the dotted line at "
    "two over its rate and stays near it. "
    "Below, intervals in decades.",
)
at = EVERY * np.arange(STEPS // EVERY + 1)
LOOKS = {
    plain: ("blue", "solid"),
    bn: ("orange", "dashed"),
    fast: ("green", "dashdot"),
}
for name, (color, style) in LOOKS.items():
    axes[0].plot(
        at,
        np.median(10 ** raw[name], axis=0),
        color=COLORS[color],
        linestyle=style,
        label=name,
    )
for rate in (0.1, 0.2):
    axes[0].axhline(2 / rate, color=COLORS["grey"], linestyle="dotted")
    axes[0].annotate(
        f"2 / {rate}",
        (0.99, 2 / rate),
        (0, -3),
        xycoords=axes[0].get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=9,
    )
axes[0].set(yscale="log", xlabel="step", ylabel="sharpness")
axes[0].set_ylim(bottom=8)
axes[0].set_yticks([10, 20, 40], ["10", "20", "40"])
axes[0].minorticks_off()
figure.legend(loc="outside upper left", ncols=3)
NAMES = (
    "before training, none - BN",
    "sharpness, none - BN",
    "scale-free sharpness, none - BN",
    "largest rate, BN - none",
)
draw_effects(axes[1], [evidence.effects[name] for name in NAMES])
axes[1].tick_params(axis="y", labelsize=10)

# %%
# Lines are medians over the seeds. At a rate of 0.1 the distance from the edge is
# :effect:`sharpness - edge, none, rate 0.1` without BN and :effect:`sharpness - edge, BN, rate 0.1`
# with BN, at twice the rate :effect:`sharpness - edge, BN, rate 0.2`. All start sharper than the
# edge and fall to it; Cohen et al. started below it, and saw the sharpness grow. So at rates as
# large as these, the sharpness at the end says at which rate was trained, before it says anything
# of the network. What happens at rates whose edge lies above the start, was not tried.
#
# Both networks survive a start that is too sharp for a parabola: the largest rate is above the one
# that it predicts by :effect:`largest rate - predicted, none` without BN and by
# :effect:`largest rate - predicted, BN` with BN. What lets BN survive the sharper one, this page
# does not say. One way is proved: every step makes the weights in front of BN longer, a large one
# by much, :eq:`id-growth`, and so the raw loss flatter. Whether that happens in the first steps was
# not measured; between the two rates, at the end, it explains very little.

# fold: draw all effects
figure, ax = new_figure(
    width=7.2,
    height=5.4,
    alt="Intervals of all comparisons of sharpness and rates, in decades.",
)
draw_effects(ax, list(evidence.effects.values()))
ax.tick_params(axis="y", labelsize=10)

# %%

# fold: keep the numbers, check what the words claim
evidence.note(seeds=len(JUDGING), images=IMAGES)
for name, norm in ((plain, None), (bn, "batch")):
    word = "bn" if norm else "none"
    evidence.note(
        **{
            f"start_{word}": np.median(10 ** raw[name][:, 0]),
            f"largest_{word}": np.median(10 ** limits[norm]),
        }
    )
evidence.save()
for name in ARMS:  # they learn, at the edge or not
    assert (losses[name][:, -1] < losses[name][:, 0] / 3).all()
# From above the edge to near it: within a factor of two.
for name in (plain, bn, fast):
    assert (raw[name][:, 0] > edge(ARMS[name].rate)).all()
    near = evidence.effects[f"sharpness - edge, {name}"]
    assert -0.3 < near.low < near.high < 0.3
assert evidence.effects["largest rate - predicted, BN"].low > 0
assert evidence.effects["largest rate - predicted, none"].low > 0
assert evidence.effects["before training, none - BN"].high < 0
for name in ("sharpness, none - BN", "scale-free sharpness, none - BN"):
    assert evidence.effects[name].low > -MATTERS
    assert evidence.effects[name].high < MATTERS
assert evidence.effects["scale-free, none, without - with decay"].low > 0
# Four fifths of the fall are left, at least, when lengths do not count.
fall = evidence.effects["scale-free, BN, rate 0.1 - rate 0.2"]
assert fall.low > 0.8 * np.log10(2)

# %%
# **Limits.** Full-batch descent with a squared loss, where the edge is plainest, in one small
# network. The verdict on the largest rate is of the first 100 steps.
#
# **Try it.** Give the network without BN a rate at which it starts below the edge,
# ``"none, rate 0.1": Arm(None, 0.03)``: how long does it take to get there?
#
# Next: :doc:`train only gamma and beta <plot_06_train_only_gamma_and_beta>`.
