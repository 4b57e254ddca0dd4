"""
Map the gap
===========

**The question.** How much of the gap between training with and without batch normalization depends
on the learning rate and on the scale of the initial weights?

**In short.** Over the choices that the map shows, the gap is anything from
:value:`gap_smallest:+.0f` to :value:`gap_largest:+.0f` points. At the best choice of each arm it is
:finding:`BN - none, each at its best`. How many of the choices train at all differs clearly:
:value:`usable_with:.0%` of the squares with batch normalization, :value:`usable_without:.0%`
without. That depends on the frame of the map, too.

.. lead-figure::

**What was done.** :doc:`The paper's experiment <plot_05_repeat_the_paper>` (binary images, three
hidden layers of 100 sigmoids, batches of 60) was trained for 400 steps (0.4 epochs) at 5 learning
rates by 4 standard deviations of the initial weights, without and with batch normalization: the two
*arms*. 5 seeds judge all squares; 3 other seeds choose each arm's best square on 5,000 images that
are held out.

One pair of curves, one with batch normalization above one without, is how most readers first meet
the layer. Its author had to choose a learning rate and initial weights. Here is what one would have
seen at other choices.

**You need** :doc:`the paper's experiment <plot_05_repeat_the_paper>`.
"""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import compare
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, new_figure
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import judge, study, table, tune
from bn_tutorial.lab.training import Config

data = load().binary().hold_out(5_000)
seeds, tuning_seeds = range(200, 205), range(50, 53)
norms = {"without BN": None, "with BN": "batch"}
network = {"widths": (784, 100, 100, 100, 10), "activation": "sigmoid"}
steps, batch_size = 400, 60
rates = (0.1, 0.3, 1.0, 3.0, 10.0)
sigmas = (0.01, 0.1, 0.3, 1.0)  # standard deviations of the initial weights
smallest, smallest_share = (
    1.0,
    10.0,
)  # percentage points of accuracy, of squares

# %%
# Train in every square
# ---------------------


def run(norm, sigma, lr):
    """Return the settings of one run."""
    config = Config(steps, steps, batch_size, lr)
    return RunSpec(norm, init=sigma, config=config, **network)


squares = [(sigma, lr) for lr in rates for sigma in sigmas]
ladders = {
    arm: {square: run(norm, *square) for square in squares}
    for arm, norm in norms.items()
}
grid = {
    (arm, *square): spec
    for arm in norms
    for square, spec in ladders[arm].items()
}
results = study(grid, data, seeds)
test = {
    arm: {square: results.last((arm, *square)) for square in squares}
    for arm in norms
}
gap = {
    square: test["with BN"][square].mean - test["without BN"][square].mean
    for square in squares
}

# %%

# fold: draw the three maps
figure, axes = new_figure(
    1,
    3,
    lead=True,
    width=7.2,
    height=3.1,
    sharey=True,
    alt="Three maps, of test accuracy without batch normalization, with it, and of the difference, "
    "over the learning rate and the standard deviation of the initial weights. Without it the "
    "accuracy is low for the smallest weights, for the largest rate and where both are small, and "
    "high elsewhere. With it, it is high almost everywhere. So the difference is huge for the "
    "smallest weights and for the largest rate, and about zero in the middle.",
)
signed = LinearSegmentedColormap.from_list(
    "", [COLORS["blue"], "#ffffff", COLORS["orange"]]
)
maps = {
    "without BN (%)": {
        square: outcome.mean for square, outcome in test["without BN"].items()
    },
    "with BN (%)": {
        square: outcome.mean for square, outcome in test["with BN"].items()
    },
    "difference (points)": gap,
}
for ax, (title, by_square) in zip(axes, maps.items(), strict=True):
    cells = np.array(
        [[by_square[sigma, lr] for lr in rates] for sigma in sigmas]
    )
    signed_map = title.startswith("difference")
    look = (
        {"cmap": signed, "vmin": -100}
        if signed_map
        else {"cmap": "cividis", "vmin": 0}
    )
    ax.imshow(cells, vmax=100, aspect="auto", **look)
    for (row, column), mean in np.ndenumerate(cells):
        dark = mean <= 55 and not signed_map
        style = {"color": "white" if dark else "black", "rasterized": True}
        ax.text(column, row, f"{mean:z.0f}", ha="center", va="center", **style)
    ax.set_xticks(range(len(rates)), [f"{lr:g}" for lr in rates], fontsize=9)
    ax.set_yticks(range(len(sigmas)), [f"{sigma:g}" for sigma in sigmas])
    ax.set_title(title, fontsize=12)
    ax.grid(visible=False)
axes[0].set_ylabel("deviation of the weights")
figure.supxlabel("learning rate", fontsize=12)

# %%
# Each square is the mean over the seeds, of test accuracy in percent, or of the difference in
# percentage points. The gap can have almost any size, zero included. Where it is largest, the
# network without batch normalization has not begun to learn, or the rate is too large for it.
#
# Let each arm choose
# -------------------
# On the held-out images each arm chooses its own best square, with seeds of its own.

evidence = Evidence(
    "03_in_training/plot_06_map_the_gap",
    data=data,
    seeds=seeds,
    horizon="400 steps (0.4 epochs)",
    claims={
        "BN - none, each at its best": "BN ahead, both at their best",
    },
)
tuning = tune(ladders, data, tuning_seeds)
judged = judge(tuning, data, seeds)
rows = {}
for arm in norms:
    sigma, lr = tuning.chosen(arm)
    rows[arm] = [sigma, lr, judged.last(arm).mean]
print(table(rows, columns=["deviation", "rate", "test accuracy (%)"]))
best = evidence.compare(
    "BN - none, each at its best",
    judged.last("with BN"),
    judged.last("without BN"),
    unit="points",
    smallest=smallest,
)

# %%
# How many squares train?
# -----------------------
# As in :doc:`raise the learning rate <plot_02_raise_the_learning_rate>`, a square is *usable* for a
# seed if the network ends at least halfway between guessing the most frequent class and no mistake.
# A share of squares says as much about the frame of the map as about the layer. So it is given
# twice: for the whole map, and without the row of the smallest weights and the column of the
# largest rate, which are the two that no one would try first.

majority = (data.test.labels.bincount().max() / len(data.test.labels)).item()
halfway = 100 * (1 + majority) / 2
inner = [
    (sigma, lr)
    for sigma, lr in squares
    if sigma > min(sigmas) and lr < max(rates)
]


def usable(arm, frame):
    """Return the share (%) of the squares of a frame that train, for each seed."""
    return 100 * np.mean(
        [test[arm][square].values >= halfway for square in frame], axis=0
    )


for name, frame in {"whole map": squares, "inner map": inner}.items():
    evidence.compare(
        f"BN - none, usable squares, {name}",
        usable("with BN", frame),
        usable("without BN", frame),
        unit="points",
        smallest=smallest_share,
    )
print(evidence.table())

# %%

# fold: keep the numbers, check what the words claim
evidence.note(
    seeds=len(seeds),
    steps=steps,
    gap_largest=max(gap.values()),
    gap_smallest=min(gap.values()),
    usable_with=usable("with BN", squares).mean() / 100,
    usable_without=usable("without BN", squares).mean() / 100,
    usable_inner_with=usable("with BN", inner).mean() / 100,
    usable_inner_without=usable("without BN", inner).mean() / 100,
)
means = {
    arm: [[test[arm][sigma, lr].mean for lr in rates] for sigma in sigmas]
    for arm in norms
}
evidence.save(  # the maps, to move about in on the page "Why does it work?"
    recording={
        "scales": sigmas,
        "rates": rates,
        "accuracy": means,
        "level": halfway,
        "hidden": len(network["widths"]) - 2,
        "width": network["widths"][1],
    }
)
gaps = [
    compare(
        f"BN - none, {square}",
        test["with BN"][square],
        test["without BN"][square],
        unit="points",
        smallest=smallest,
    )
    for square in squares
]
widest = max(one.low for one in gaps)
assert widest > 20  # a huge gap...
assert min(one.low for one in gaps) < smallest  # ...or none that is sure
assert best.high < widest  # less of it at each arm's best
trains = compare(
    "usable with BN - 80 percent of the squares",
    usable("with BN", squares),
    len(seeds) * [80.0],
    unit="points",
    smallest=smallest_share,
)
assert trains.low > 0  # nearly every square trains...
assert (
    evidence.effects["BN - none, usable squares, whole map"].low > 20
)  # ...and many more

# %%
# One pair of curves shows the gap at one choice of the learning rate and of the weights. Over the
# map the gap has no typical size; what holds is that with the layer more of the map trains.
#
# **Limits.** 400 steps, less than one epoch; sigmoids, which need good initial weights most; the
# frame of the map, beyond which an arm may have a better square.
#
# **Try it.** Take ``0.01`` out of ``sigmas``: the share of usable squares without batch
# normalization grows, although no network has changed.
#
# Next: :doc:`replay a training <plot_10_replay_a_training>`.
