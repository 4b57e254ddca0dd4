"""
Try other optimizers
====================

**The question.** Batch normalization (BN) is said to help because it permits larger learning rates.
Momentum, Adam and a warm-up of the rate are said to do such things, too. Do they take its place?

**In short.** BN with plain descent, minus a network without it, is
:finding:`BN - none with momentum` where that has momentum, :finding:`BN - none with Adam` with Adam
and :finding:`BN - none with warm-up` with a warm-up; with plain descent in both it is
:finding:`BN - none, plain`. Where both have the same, BN minus none is
:finding:`BN - none, momentum`, :finding:`BN - none, Adam` and :finding:`BN - none, warm-up`. Its
largest usable rate minus that of the plain network is :finding:`largest rate, BN - none, plain`; a
warm-up alone changes the latter's by :finding:`largest rate, none, warm-up - plain`.

.. lead-figure::

**What was done.** Perceptrons with four hidden layers of 64 ReLU units and He's weights learned for
240 steps (0.6 epochs) in batches of 128. *Varied:* BN or none; and the optimizer: plain gradient
descent, momentum 0.9, Adam, or a warm-up, in which the rate grows evenly over the first 80 steps.
Each of the eight arms chose its learning rate on 5,000 held-out images with 3 seeds; 5 other seeds
compared them. The largest usable rate is the largest with which 70 % of the test images are right
at the end, found by bisection for each seed.

**You need** :doc:`what larger rates bring
</gallery/03_in_training/plot_02_raise_the_learning_rate>`.
"""

from dataclasses import replace

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import draw_effects, new_figure
from bn_tutorial.lab.stepped import SteppedSpec
from bn_tutorial.lab.study import judge, largest_usable, table, tune
from bn_tutorial.lab.training import Config

# %%
# The settings
# ------------
# An optimizer makes a step out of gradients and a rate. *Momentum* goes on in the direction of the
# steps before; *Adam* also divides each parameter's step by the size that its gradients usually
# have; a *warm-up* starts with small steps.

OPTIMIZERS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "Adam": {"adam": True},
    "warm-up": {"warm_up": 80},
}
NORMS = {"none": None, "BN": "batch"}
RATES = {
    ("none", "plain"): (0.03, 0.1, 0.3),
    ("none", "momentum"): (0.003, 0.01, 0.03),
    ("none", "Adam"): (0.001, 0.003, 0.01),
    ("none", "warm-up"): (0.03, 0.1, 0.3),
    ("BN", "plain"): (0.3, 1.0, 3.0),
    ("BN", "momentum"): (0.03, 0.1, 0.3),
    ("BN", "Adam"): (0.001, 0.003, 0.01),
    ("BN", "warm-up"): (0.3, 1.0, 3.0),
}
SPEC = SteppedSpec(
    widths=(784, 64, 64, 64, 64, 10),
    activation="relu",
    init="he",
    config=Config(steps=240, evaluate_every=240, batch_size=128),
)
TUNING, JUDGING = range(50, 53), range(250, 255)  # seeds
LEVEL, RESOLUTION = 70.0, 1 / 4  # percent; decades
MATTERS, MATTERS_DECADES = 0.5, 0.3  # points; decades: a factor of 2

data = load().hold_out(5_000)
evidence = Evidence(
    "06_why_it_works/plot_07_try_other_optimizers",
    data=data,
    seeds=JUDGING,
    horizon="240 steps (0.6 epochs)",
    claims={
        "BN - none with momentum": "BN beats none with momentum",
        "BN - none with Adam": "BN beats none with Adam",
        "BN - none with warm-up": "BN beats none with warm-up",
        "BN - none, Adam": "BN leads if both have Adam",
        "largest rate, BN - none, plain": "BN bears larger rates",
        "largest rate, BN - none, Adam": "and if both have Adam",
        "largest rate, BN - none with warm-up": "larger than none with warm-up",
    },
)


def run(arm, lr):
    """Return one run."""
    norm, optimizer = arm
    config = replace(SPEC.config, lr=lr)
    return replace(
        SPEC, norm=NORMS[norm], config=config, **OPTIMIZERS[optimizer]
    )


# %%
# Each at its best rate
# ---------------------

tuning = tune(
    {arm: {lr: run(arm, lr) for lr in rates} for arm, rates in RATES.items()},
    data,
    TUNING,
)
judged = judge(tuning, data, JUDGING)
print(judged.table(", ".join))

# %%
# Does BN still lead? And what does an optimizer bring, with BN and without?


def compare(name, treated, control):
    """Compare the test accuracies of two arms."""
    evidence.compare(
        name,
        judged.last(treated),
        judged.last(control),
        unit="points",
        smallest=MATTERS,
    )


others = list(OPTIMIZERS)[1:]
for other in others:
    compare(f"BN - none with {other}", ("BN", "plain"), ("none", other))
for optimizer in OPTIMIZERS:
    compare(f"BN - none, {optimizer}", ("BN", optimizer), ("none", optimizer))
for norm in NORMS:
    for other in others:
        compare(f"{other} - plain, {norm}", (norm, other), (norm, "plain"))
points = list(evidence.effects.values())
print(evidence.table())

# %%
# Which rates can be used?
# ------------------------
# Rates of different optimizers are no more comparable than prices in different currencies: Adam
# moves each parameter by about the rate at most, in whatever unit the gradient is. So Adam is
# compared with Adam. A warm-up, which ends at the plain rate, may be compared with none; Gilmer et
# al. (2022) report that it can stabilize training as much as normalization does.

BRACKETS = {  # decimal logarithms: usable with every seed, with none
    ("none", "plain"): (-0.75, 0.25),
    ("none", "warm-up"): (-0.75, 0.25),
    ("none", "Adam"): (-2.0, -1.0),
    ("BN", "plain"): (0.25, 1.25),
    ("BN", "Adam"): (-1.0, 0.0),
}
limits = {
    arm: largest_usable(
        lambda lr, arm=arm: run(arm, lr),
        data,
        JUDGING,
        level=LEVEL,
        between=between,
        resolution=RESOLUTION,
    )
    for arm, between in BRACKETS.items()
}
rows = {", ".join(arm): [float(np.median(10**v))] for arm, v in limits.items()}
print(table(rows, ["largest usable rate"]))
WIDER = {
    "BN - none, plain": (("BN", "plain"), ("none", "plain")),
    "BN - none, Adam": (("BN", "Adam"), ("none", "Adam")),
    "none, warm-up - plain": (("none", "warm-up"), ("none", "plain")),
    "BN - none with warm-up": (("BN", "plain"), ("none", "warm-up")),
}
for name, (treated, control) in WIDER.items():
    evidence.compare(
        f"largest rate, {name}",
        limits[treated],
        limits[control],
        unit="decades",
        smallest=MATTERS_DECADES,
        resolution=RESOLUTION,
    )
decades = list(evidence.effects.values())[len(points) :]
print(evidence.table(*(effect.name for effect in decades)))

# %%

# fold: draw the effects, the figure at the top of the page
figure, axes = new_figure(
    2,
    1,
    lead=True,
    width=7.2,
    height=6.4,
    height_ratios=(7, 4),
    alt="Above, intervals of the lead of batch normalization over none, in points of accuracy, "
    "for pairs of optimizers. Below, by how many decades one largest usable rate exceeds another.",
)
labels = [  # else two kinds look alike
    f"plain {e.name}" if "with" in e.name else f"both {e.name.split(', ')[1]}"
    for e in points[:7]
]
draw_effects(
    axes[0],
    points[:7],
    labels=labels,
    unit="points of test accuracy, BN \N{MINUS SIGN} none",
)
labels = [effect.name.removeprefix("largest rate, ") for effect in decades]
draw_effects(
    axes[1], decades, labels=labels, unit="decades of the largest usable rate"
)
for ax in axes:
    ax.tick_params(axis="y", labelsize=10)

# %%
# What do the others bring?
# -------------------------

# fold: draw what the optimizers bring
figure, ax = new_figure(
    width=7.2,
    height=3.2,
    alt="Intervals of what momentum, Adam and warm-up bring over plain gradient descent, without "
    "and with batch normalization.",
)
draw_effects(ax, points[7:], unit="points of test accuracy")
ax.tick_params(axis="y", labelsize=10)

# %%
# If BN were only a means to take larger steps, another means would leave less of its lead. To the
# network without BN, momentum brings :finding:`momentum - plain, none`, Adam
# :finding:`Adam - plain, none` and a warm-up :finding:`warm-up - plain, none`; with BN they bring
# :finding:`momentum - plain, BN`, :finding:`Adam - plain, BN` and
# :finding:`warm-up - plain, BN`. And a warm-up changes the largest usable rate without BN by
# :finding:`largest rate, none, warm-up - plain`; BN's minus that is
# :finding:`largest rate, BN - none with warm-up`.
#
# So do they take BN's place? In accuracy not where *BN - none with ...* says *yes*. But the
# argument about larger steps needs a rival that does take larger steps. Of the three, only the
# largest rate of warm-up can be compared with that of plain descent; where it is not larger, BN's
# lead over warm-up does not yet say that BN is more than a means to take larger steps.

# fold: keep the numbers, check what the words claim
evidence.note(seeds=len(JUDGING))
for (norm, optimizer), values in limits.items():
    key = f"largest_{norm}_{optimizer}".lower().replace("-", "_")
    evidence.note(**{key: float(np.median(10**values))})
evidence.save()
assert all(np.isfinite(judged.last(arm).mean) for arm in RATES)
assert evidence.effects["largest rate, BN - none, plain"].low > 0

# %%
# **Limits.** One small perceptron with good weights, 0.6 epochs. Three rates were tried for each
# arm, and more where the best was the first or the last: where the table says so still, a better
# one may lie beyond, for BN as for its rivals. Adam's memories (0.9 and 0.999), the momentum and
# the length of the warm-up were not tuned. That a network does not diverge at a rate does not say
# that it is best used so.
#
# **Try it.** Give Adam a warm-up, too: ``"Adam, warm-up": {"adam": True, "warm_up": 80}`` in
# ``OPTIMIZERS``, and its rates in ``RATES``.
#
# Next: :doc:`why does it work? </why>`
