"""
Stack residual blocks
=====================

**The question.** A residual network adds what each block computes to a stream that passes through
all of them. Where does batch normalization (BN) belong: in front of what a block computes, or on
the stream?

**In short.** With 16 blocks, the test accuracy with BN in front of what a block computes (its
*branch*) minus that with BN on the stream is :finding:`BN in front - BN on the stream, 16 blocks`;
with layer normalization (LN) the same difference is
:finding:`LN in front - LN on the stream, 16 blocks`. Twelve more blocks change the accuracy by
:finding:`16 - 4 blocks, BN in front` with BN in front, and by
:finding:`16 - 4 blocks, BN on the stream` with BN on the stream. Before training, BN on the stream
lets the gradient grow from block to block on its way back, and LN lets it shrink.

.. lead-figure::

**What was done.** A linear map makes a stream of 64 numbers of each image. A block returns
*stream + branch*, where the branch is a linear map, a ReLU and a linear map; another linear map
reads the stream at the end. *Varied:* the number of blocks, 4 or 16; the normalization, none, BN or
LN; and its place: in front of the branch (called *pre-norm*), on the stream behind the addition
(*post-norm*), or, with LN, in front of the branch and at its end (*Peri-LN*).
Each arm chose its learning rate for each depth on 5,000 held-out images, with 3 seeds of its own;
then 5 other seeds compared them after 150 steps (0.35 epochs) in batches of 128.

**You need** :doc:`what a residual block adds to the stream </derivations/residual>`.
"""

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import (
    COLORS,
    draw_effects,
    new_figure,
)
from bn_tutorial.lab.real_networks import ResidualSpec
from bn_tutorial.lab.study import judge, study, table, tune
from bn_tutorial.lab.training import Config, device
from bn_tutorial.networks import theory

ARMS = {  # by the name on this page: norm, placement, colour
    "BN in front": ("batch", "pre", "orange"),
    "BN on the stream": ("batch", "post", "pink"),
    "LN in front": ("layer", "pre", "green"),
    "LN on the stream": ("layer", "post", "purple"),
    "Peri-LN": ("layer", "peri", "grey"),
}
DEPTHS = (4, 16)  # blocks
RATES = {
    "BN in front": (0.1, 0.3, 1.0),
    "BN on the stream": (0.03, 0.1, 0.3),
    "LN in front": (0.03, 0.1, 0.3, 1.0),
    "LN on the stream": (0.01, 0.03, 0.1, 0.3),
    "Peri-LN": (0.03, 0.1, 0.3, 1.0),
}
TUNING, JUDGING = range(50, 53), range(250, 255)  # seeds
CONFIG = Config(steps=150, evaluate_every=150, batch_size=128)
MATTERS, MATTERS_DECADES = 1.0, 0.5  # percentage points, decades

data = load().hold_out(5_000)
evidence = Evidence(
    "04_in_real_networks/plot_04_stack_residual_blocks",
    data=data,
    seeds=JUDGING,
    horizon="150 steps (0.35 epochs)",
    claims={
        "BN in front - BN on the stream, 16 blocks": "BN in front of deep branches",
        "LN in front - LN on the stream, 16 blocks": "LN in front of deep branches",
        "16 - 4 blocks, BN in front": "more blocks, BN in front",
    },
)


def run(arm, blocks, lr=0.1):
    """Return the settings of one run."""
    norm, placement, _ = ARMS[arm]
    return ResidualSpec(
        norm,
        placement=placement,
        blocks=blocks,
        config=replace(CONFIG, lr=lr),
    )


# %%
# Before training
# ---------------
# :doc:`The derivation </derivations/residual>` predicts what becomes of the gradient on its way
# from the last block to the first. In front of the branch, each block adds the same amount to the
# stream, so that later blocks are almost the identity and the gradient grows slowly; BN on the
# stream lets it grow by a constant factor in each block. It speaks of a random gradient. Here is
# that of the loss, with respect to the first weights of each of 32 blocks.

images = data.standardize(data.train.images[:256]).to(device())
labels = data.train.labels[:256].to(device())
BLOCKS = 32


def gradients(arm, seed):
    """Return the norm of the gradient of each block's first map."""
    model = replace(run(arm, BLOCKS), model_seed=seed).model().to(device())
    cross_entropy(model.train()(images), labels).backward()
    maps = [
        model.get_submodule(f"block_{number}.branch.linear_1")
        for number in range(1, BLOCKS + 1)
    ]
    return torch.stack([layer.weight.grad.norm() for layer in maps]).cpu()


norms = {
    arm: np.array([gradients(arm, seed) for seed in JUDGING]) for arm in ARMS
}
growth = {arm: np.log10(norms[arm][:, 0] / norms[arm][:, -1]) for arm in ARMS}
for name, (treated, control) in {
    "BN - LN, on the stream": ("BN on the stream", "LN on the stream"),
    "BN on the stream - in front": ("BN on the stream", "BN in front"),
}.items():
    evidence.compare(
        f"growth of the gradient, {name}",
        growth[treated],
        growth[control],
        unit="decades",
        smallest=MATTERS_DECADES,
        horizon="before training",
    )
print(
    table(
        {arm: [float(10 ** growth[arm].mean())] for arm in ARMS},
        ["gradient of the first block / of the last"],
    )
)
print(evidence.table())

# %%

# fold: draw the gradient along the blocks
figure, ax = new_figure(
    width=7.2,
    height=3.8,
    alt="Norm of the gradient of each block's weights before training, relative to the last "
    "block, logarithmic, against the number of the block. With batch normalization on the "
    "stream it falls steadily from the first block to the last by an order of magnitude; with "
    "layer normalization on the stream it rises; with the layer in front of the branch, or "
    "Peri-LN, it falls less. A thin dotted line is predicted for batch normalization on the "
    "stream.",
)
number = np.arange(1, BLOCKS + 1)
for arm, (_, _, color) in ARMS.items():
    relative = np.exp(np.log(norms[arm] / norms[arm][:, -1:]).mean(axis=0))
    ax.plot(number, relative, color=COLORS[color], label=arm)
predicted = theory.post_norm_growth() ** ((BLOCKS - number) / 2)
ax.plot(
    *(number, predicted),
    color=COLORS["pink"],
    linewidth=1,
    linestyle="dotted",
    label="BN on the stream, predicted",
)
ax.set(yscale="log", xlabel="block", xlim=(1, BLOCKS))
ax.set_ylabel("gradient, relative to the last")
figure.legend(
    *ax.get_legend_handles_labels(), loc="outside upper left", ncols=3
)

# %%
# Tune each arm at each depth
# ---------------------------
# The table says where a rate lies at an end of what was tried.

arms = [(arm, blocks) for arm in ARMS for blocks in DEPTHS]
ladders = {key: {lr: run(*key, lr) for lr in RATES[key[0]]} for key in arms}
tuning = tune(ladders, data, TUNING)
judged = judge(tuning, data, JUDGING)
print(judged.table(lambda arm: "{}, {} blocks".format(*arm)))

# %%
# This is what they chose from: the accuracy (%) on the held-out images at each rate, the mean over
# the seeds of the tuning. If two rates cannot be told apart, the smaller one is taken. (Of a rate
# that is far behind with the first seed there is that seed alone. The held-out images are not as
# hard as the test images: compare within a row.)

rates = sorted({lr for ladder in tuning.ladders.values() for lr in ladder})


def scored(arm, lr):
    """Return what a rate of an arm was chosen by, in words."""
    if lr not in tuning.scores[arm]:
        return "-"
    score = tuning.scores[arm][lr].mean()
    return f"{score:.1f}" if np.isfinite(score) else "diverges"


rows = {
    "{}, {} blocks".format(*arm): [scored(arm, lr) for lr in rates]
    for arm in arms
}
print(table(rows, [f"rate {lr:g}" for lr in rates]))

# %%
# Compare where the layer stands
# ------------------------------

deep, shallow = max(DEPTHS), min(DEPTHS)
PAIRS = {
    "BN in front - BN on the stream": ("BN in front", "BN on the stream"),
    "LN in front - LN on the stream": ("LN in front", "LN on the stream"),
    "BN - LN, in front": ("BN in front", "LN in front"),
}
for name, (treated, control) in PAIRS.items():
    evidence.compare(
        f"{name}, {deep} blocks",
        judged.last((treated, deep)),
        judged.last((control, deep)),
        unit="points",
        smallest=MATTERS,
    )
for arm in ("BN in front", "BN on the stream"):
    evidence.compare(
        f"{deep} - {shallow} blocks, {arm}",
        judged.last((arm, deep)),
        judged.last((arm, shallow)),
        unit="points",
        smallest=MATTERS,
    )
trained = [e for e in evidence.effects.values() if e.unit == "points"]
print(evidence.table(*(effect.name for effect in trained)))

# %%

# fold: draw the error of each arm at both depths, the figure at the top of the page
figure, ax = new_figure(
    lead=True,
    width=7.2,
    height=3.4,
    alt="Test error of five arms, logarithmic, with 4 and with 16 blocks: a stroke for each seed, "
    "a mark for the mean.",
)
errors = {key: 100 - judged.last(key).values for key in arms}
for row, (arm, (_, _, color)) in enumerate(ARMS.items()):
    means = [errors[arm, blocks].mean() for blocks in DEPTHS]
    heights = (row - 0.15, row + 0.15)
    ax.plot(means, heights, color=COLORS[color], linewidth=1.5)
    for blocks, mean, height, marker in zip(
        DEPTHS, means, heights, ("o", "s"), strict=True
    ):
        values = errors[arm, blocks]
        ax.plot(values, 0 * values + height, "|", color=COLORS[color])
        ax.plot(
            *([mean], [height], marker),
            color=COLORS[color],
            markersize=8,
            markerfacecolor=COLORS[color] if marker == "s" else "none",
        )
ax.plot(
    [], [], "o", color=COLORS["grey"], markerfacecolor="none", label="4 blocks"
)
ax.plot([], [], "s", color=COLORS["grey"], label="16 blocks")
ax.set(xscale="log", xlabel="test error (%)", ylim=(len(ARMS) - 0.5, -0.5))
ax.set_yticks(range(len(ARMS)), ARMS)
low, high = (end([*errors.values()]) for end in (np.min, np.max))
ticks = (2, 3, 5, 7, 10, 15, 20, 30, 50, 90)
ticks = [tick for tick in ticks if low / 1.2 < tick < high * 1.2]
ax.set_xticks(ticks, [f"{tick}" for tick in ticks])
ax.minorticks_off()
figure.legend(
    *ax.get_legend_handles_labels(), loc="outside upper left", ncols=2
)

# %%

# fold: draw the differences
figure, ax = new_figure(
    width=7.2,
    height=3.0,
    alt="Intervals of five differences of test accuracy, in points: the layer in front of the "
    "branch minus on the stream, batch minus layer normalization in front, and 16 minus 4 "
    "blocks for batch normalization in front and on the stream.",
)
draw_effects(ax, trained, unit="difference of test accuracy (points)")

# %%
# And without normalization?
# --------------------------
# There every block doubles the mean square of the stream: with 16 blocks it is multiplied by
# 65,536 before anything is learned. The table counts the seeds that diverge at each rate.

TINY = (0.00001, 0.0001, 0.001, 0.01, 0.1)
plain = {
    (blocks, lr): ResidualSpec(blocks=blocks, config=replace(CONFIG, lr=lr))
    for blocks in DEPTHS
    for lr in TINY
}
results = study(plain, data, JUDGING)
print(
    table(
        {
            f"none, {blocks} blocks, rate {lr:g}": [
                f"{results.diverged((blocks, lr))} of {len(JUDGING)}",
                f"{results.last((blocks, lr)).mean:.1f}",
            ]
            for blocks, lr in plain
        },
        ["diverged", "test (%)"],
    )
)

# %%

# fold: keep the numbers, check what the words claim
diverged = [results.diverged((deep, lr)) for lr in TINY]
evidence.note(seeds=len(JUDGING), steps=CONFIG.steps, blocks=deep)
evidence.note(diverged_without=sum(diverged) / len(TINY) / len(JUDGING))
for arm in ARMS:
    key = arm.lower().replace(" ", "_").replace("-", "_")
    evidence.note(**{f"growth_{key}": float(10 ** growth[arm].mean())})
    for blocks in DEPTHS:
        last = judged.last((arm, blocks)).mean
        evidence.note(**{f"{key}_{blocks}": last / 100})
evidence.save()
effects = evidence.effects
assert effects["growth of the gradient, BN - LN, on the stream"].low > 0
assert growth["BN on the stream"].min() > 0 > growth["LN on the stream"].max()

# %%
# **Limits.** Perceptron blocks of width 64 without a normalization between the two maps of the
# branch, 150 steps (0.35 epochs) of plain gradient descent at a constant rate, without the warm-up
# that deep networks with LN on the stream are given. Images of digits.
#
# **Try it.** Set ``DEPTHS = (4, 32)``, or add ``"Peri-BN": ("batch", "peri", "blue")`` to ``ARMS``:
# tables and figures follow.
#
# Next: :doc:`do without normalization <plot_05_do_without_normalization>`.
