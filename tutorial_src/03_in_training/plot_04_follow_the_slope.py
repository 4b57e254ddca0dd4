"""
Follow the slope through training
=================================

**The question.** Does batch normalization keep the sigmoids where they are steep, while the network
learns?

**In short.** It keeps them at *one* slope, from all initial weights. It changes the slope by
:finding:`BN - none, in training, large` from large weights and by
:finding:`BN - none, in training, unit gain` from those of unit gain, but by
:finding:`BN - none, in training, default` from PyTorch's default: there the network without is
steeper. And the steepest networks of all do not learn.

.. lead-figure::

**What was done.** A network of four hidden layers of 256 sigmoids was trained without and with
batch normalization, the two *arms*, from four kinds of initial weights: PyTorch's default; small
(drawn with standard deviation 0.01); large (with standard deviation 1); and *unit gain*, drawn so
that a small signal would pass a layer undiminished if every sigmoid sat at its centre. Learning
rate 0.1, batches of 128, 400 steps (0.9 epochs), 5 seeds that the arms share.

The teaching notebook that this site began as lists as a benefit: "Activations stay in high-gradient
regime". Before training
:doc:`that was false of default weights </gallery/02_inside_a_network/plot_02_follow_the_signal>`
and :doc:`true of large ones </gallery/02_inside_a_network/plot_03_saturate_on_purpose>`. Here it is
tested during training.

**You need** :doc:`saturation </gallery/02_inside_a_network/plot_03_saturate_on_purpose>`.
"""

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_spread, new_figure
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import study, table
from bn_tutorial.lab.training import Config

data = load()
seeds = range(100, 105)
config = Config(steps=400, evaluate_every=100, batch_size=128, lr=0.1)
inits = {  # as RunSpec calls them; a number is a standard deviation
    "default": "default",
    "small": 0.01,
    "large": 1.0,
    "unit gain": "unit gain",
}
norms = {"without BN": None, "with BN": "batch"}
smallest_slope = 0.01  # the greatest slope of a sigmoid is 0.25
smallest_points = 1.0

# %%
# Train every pair
# ----------------
# The slope of a sigmoid is greatest, 1/4, where its input is zero. It is averaged over 2,000 test
# images, the units and the hidden layers, before the first step and at every evaluation. The
# batch-normalized network gets these images as one batch and takes that batch's statistics. So the
# slopes mean something before there are running averages.

arms = {
    (init, arm): RunSpec(norm, init=value, config=config, measure="slopes")
    for init, value in inits.items()
    for arm, norm in norms.items()
}
results = study(arms, data, seeds)
by_layer = {
    arm: results.curve(arm, "slope") for arm in arms
}  # (seeds, evaluations + 1, layers)
slope = {arm: values.mean(axis=2) for arm, values in by_layer.items()}
accuracy = {arm: results.last(arm) for arm in arms}

# %%

# fold: draw the slope against the step
figure, axes = new_figure(
    1,
    len(inits),
    lead=True,
    width=7.2,
    height=3.0,
    sharey=True,
    alt="Four panels, one for each kind of initial weights: the mean slope of the sigmoids against "
    "the step, with and without batch normalization. With it the slope is level at about four "
    "fifths of the greatest possible, in all panels. Without it the slope is greater than that for "
    "default and small weights, less for unit gain, and far less for large weights.",
)
steps = config.evaluate_every * np.arange(config.evaluations + 1)
for ax, init in zip(axes, inits, strict=True):
    for arm, color in zip(norms, ("blue", "orange"), strict=True):
        draw_spread(ax, steps, slope[init, arm], color=color, label=arm)
    ax.axhline(0.25, color=COLORS["grey"], linestyle="dotted", label="greatest")
    ax.set(ylim=(0, 0.27), xticks=steps[::2], title=init)
figure.supxlabel("step", fontsize=12)
axes[0].set_ylabel("mean slope")
figure.legend(
    *axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3
)

# %%
# The level with batch normalization can be computed: it is the mean slope of a sigmoid whose input
# has a normal distribution of mean zero and variance one. It can move only as the learned scale and
# shift move, or the shape of the distribution; in so few steps, hardly.

z, weights = np.polynomial.hermite_e.hermegauss(50)
normal_slope = weights @ (1 / (2 + 2 * np.cosh(z))) / weights.sum()
print(f"mean slope for a standard normal input: {normal_slope:.4f}")

# %%
# Test the claim
# --------------
# Is the slope greater with batch normalization than without: at the start, averaged over the
# evaluations during training, and at the end? A difference of less than 0.01 does not matter.

evidence = Evidence(
    "03_in_training/plot_04_follow_the_slope",
    data=data,
    seeds=seeds,
    horizon="400 steps (0.9 epochs)",
)
times = {
    "at the start": slice(1),
    "in training": slice(1, None),
    "at the end": slice(-1, None),
}
for init in inits:
    for time, evaluations in times.items():
        with_bn, without = (
            slope[init, arm][:, evaluations].mean(axis=1)
            for arm in ("with BN", "without BN")
        )
        evidence.compare(
            f"BN - none, {time}, {init}",
            with_bn,
            without,
            unit="slope",
            smallest=smallest_slope,
        )
print(evidence.table())

# %%
# The sign of each difference is there before the first step, and stays.
#
# Why a steep slope is not the point
# ----------------------------------
# The steepest sigmoids of all belong to a network that does not learn. With small weights almost
# nothing reaches them, so they sit in the middle, where they are steep. What the gradient meets on
# its way back is a *product*: the slope times the weights. Small weights make it small, however
# steep the sigmoid. Batch normalization gives up some slope and gains far more by dividing by the
# small standard deviation of its input.

# fold: draw accuracy against slope
figure, ax = new_figure(
    width=7.2,
    height=3.6,
    alt="Test accuracy at the end against the mean slope at the end, a point for each run. Without "
    "batch normalization the steepest networks, with default and small weights, have the lowest "
    "accuracy, and those of unit gain, less steep, learn. With batch normalization all have about "
    "the same slope and learn.",
)
markers = dict(zip(inits, "osD^vPX", strict=False))
for init, arm in arms:
    marker = markers[init]
    color = COLORS["blue" if arm == "without BN" else "orange"]
    ax.plot(
        slope[init, arm][:, -1],
        accuracy[init, arm].values,
        marker=marker,
        markersize=7,
        linestyle="none",
        color=color,
        markerfacecolor="none" if arm == "without BN" else color,
        label=f"{init}, {arm}",
    )
ax.set(
    xlabel="mean slope at the end", ylabel="test accuracy (%)", ylim=(0, 100)
)
figure.legend(loc="outside right center")

# %%
# Does the top layer drift into saturation?
# -----------------------------------------
# :cite:t:`glorot2010understanding` found that random initial weights can drive especially the top
# hidden layer of a sigmoid network into saturation. With large weights it does drift there: its
# slope falls in every run, and batch normalization prevents that. With unit gain there is no drift
# to prevent, the top layer becomes steeper. With the default weights, which are the kind that they
# used, this network has not begun to learn, and nothing has moved. They trained far longer.

top = {init: by_layer[init, "without BN"][:, :, -1] for init in inits}
drift = {init: runs[:, -1] / runs[:, 0] for init, runs in top.items()}
rows = {
    init: [f"{ratio:.3f}" for ratio in ratios] for init, ratios in drift.items()
}
print("slope of the top layer without BN, end over start")
print(table(rows, columns=[f"seed {seed}" for seed in seeds]))

# %%
# The fairest comparison is that from weights of unit gain, with which the network trains without
# batch normalization, too. Batch normalization makes its sigmoids much steeper. By how much does
# the accuracy differ, at this learning rate?

worth = evidence.compare(
    "BN - none, accuracy, unit gain",
    accuracy["unit gain", "with BN"],
    accuracy["unit gain", "without BN"],
    unit="points",
    smallest=smallest_points,
)
print(worth)

# %%

# fold: keep the numbers, check what the words claim
evidence.note(seeds=len(seeds), steps=config.steps, normal=normal_slope)
for init in inits:
    key = init.replace(" ", "_")
    for arm in norms:
        name = arm.removesuffix(" BN")
        evidence.note(**{f"{key}_slope_{name}": slope[init, arm][:, 1:].mean()})
        evidence.note(
            **{f"{key}_accuracy_{name}": accuracy[init, arm].mean / 100}
        )
    evidence.note(**{f"{key}_top_layer_kept": drift[init].mean()})
evidence.save()
for init, sign in {
    "large": 1,
    "unit gain": 1,
    "default": -1,
    "small": -1,
}.items():
    for time in times:
        effect = evidence.effects[f"BN - none, {time}, {init}"]
        assert min(sign * effect.low, sign * effect.high) > 0  # the sign stays
    assert (
        np.abs(slope[init, "with BN"] - normal_slope).max() < 0.01
    )  # at one slope
steepest = accuracy["small", "without BN"].values.max()
assert all(steepest < accuracy[init, "with BN"].values.min() for init in inits)
assert max(slope, key=lambda arm: slope[arm].mean())[0] == "small"
assert drift["large"].max() < 0.7  # it drifts towards saturation...
assert drift["unit gain"].min() > 1  # ...and here away from it
assert np.abs(drift["default"] - 1).max() < 0.02

# %%
# Batch normalization does not keep sigmoids steep. It keeps them at one slope, from all initial
# weights: more than large weights give, less than small ones do.
#
# **Limits.** One network, one learning rate, less than one epoch. It answers a claim about slopes.
# It does not show that a network learns *because* its sigmoids are steep, or flat.
#
# **Try it.** Add a line ``"medium": 0.1,`` to ``inits``: another panel appears.
#
# Next: :doc:`repeat the paper's experiment <plot_05_repeat_the_paper>`.
