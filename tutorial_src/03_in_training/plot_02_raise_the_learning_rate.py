"""
Raise the learning rate
=======================

**The question.** Does batch normalization permit larger learning rates, by which factor, and what
are they good for?

**Varied:** the learning rate; the arm (no normalization, layer normalization, batch normalization;
the first and the last also with well chosen initial weights); the activation, rectifier or
sigmoid; the initial weights and the order of the images, over several seeds that all arms share.

**Held fixed:** depth and width, plain stochastic gradient descent, batch size, number of steps,
and PyTorch's default initialization in all arms but those that say otherwise.
"""

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import paired_interval, verdict
from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.study import best
from bn_tutorial.lab.figures import COLORS, MARKERS, draw_spread, new_figure
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import curves, study
from bn_tutorial.lab.training import Config

data = load().hold_out(5_000)  # for choosing rates
seeds = range(5)
steps, batch_size = 300, 128
grid_step = 0.5  # decades: neighbouring rates differ by a factor of about three
nets = {"relu": "he", "sigmoid": "unit gain"}  # activation: good weights
arms = {
    "none": "none",
    "good": "none, good weights",
    "layer": "LayerNorm",
    "batch": "BN",
    "both": "BN, good weights",
}
ladders = {  # decades of the rates, from and to, for each arm
    "relu": [(-1.5, 0.5), (-2, 0.5), (-2, 1), (-2, 1), (-1.5, 1)],
    "sigmoid": [(-1, 1), (-1, 1), (-2, 0.5), (-1.5, 2), (-1.5, 2)],
}
rivals = {"none": "batch", "layer": "batch", "good": "both"}  # of equal weights
majority = (data.test.labels.bincount().max() / len(data.test.labels)).item()
level = (1 + majority) / 2  # accuracy from which on a rate counts as usable

# %%
# Train at every rate
# -------------------
# A network without normalization has a fair chance only with initial weights that keep the signal
# alive: He's for the rectifier; for the sigmoid, weights that make up for its small slope, which
# keep :doc:`more of it </gallery/02_inside_a_network/plot_02_follow_the_signal>`. That arm is the
# rival to watch, and batch normalization meets it with the same weights. For what acts with it is
# the rate over the square of their length: smaller weights alone would be a larger rate. The
# notebook had only the arms without good weights.


def rates(net, arm):
    """Return the learning rates to try: so many that the last one fails."""
    low, high = ladders[net][list(arms).index(arm)]
    return 10 ** np.arange(low, high + grid_step, grid_step)


def run(net, arm, lr):
    """Return the settings of one run."""
    norm = {"layer": "layer", "batch": "batch", "both": "batch"}.get(arm)
    init = nets[net] if arm in ("good", "both") else "default"
    config = Config(steps, steps, batch_size, lr=float(lr))
    return RunSpec(norm, activation=net, init=init, config=config)


keys = [(n, arm, lr) for n in nets for arm in arms for lr in rates(n, arm)]
grid = {key: run(*key) for key in keys}
grid["patient"] = RunSpec(activation="sigmoid", config=Config(2000, 2000, lr=1.0))
results = study(grid, data, seeds)


def end(net, arm, lr, part="test"):
    """Return the accuracy after the last step, (seeds,); nan where it diverged."""
    return curves(results[net, arm, lr], f"{part}_accuracy")[:, -1]


def ends(net, arm):
    """Return the test accuracy at every rate, (seeds, rates)."""
    return np.stack([end(net, arm, lr) for lr in rates(net, arm)], axis=1)


# %%
# Draw the whole range
# --------------------
# The line is the mean over the seeds, the band reaches from the lowest to the highest. A line
# stops where a seed diverges, that is where its loss is no longer a number. Such rates have a mark
# below the axis, in the row of their arm; seeds that did not diverge there are single points.

hues = ("blue", "green", "pink", "orange", "purple")
colors = dict(zip(arms, hues, strict=True))
alt = (
    "Two panels, rectifier and sigmoid: test accuracy against the learning rate, one line for "
    "each of five arms. In both, the lines of batch normalization reach about as high as any "
    "other and stay high up to rates at which the networks without normalization have diverged "
    "or guess. Diverged runs are marked below the axis. The sigmoid network with default weights "
    "and no normalization stays low at every rate."
)
figure, axes = new_figure(1, 2, width=7.2, height=4.2, sharey=True, alt=alt)
for ax, net in zip(axes, nets, strict=True):
    for row, (arm, color) in enumerate(colors.items()):
        runs, lrs = ends(net, arm), rates(net, arm)
        draw_spread(ax, lrs, runs, color=color, label=arms[arm])
        lost = np.isnan(runs).any(axis=0)
        look = {"color": COLORS[color], "linestyle": "none"}
        ax.plot(lrs[lost], runs[:, lost].T, marker=MARKERS[color], **look)
        ax.plot(lrs[lost], 0 * lrs[lost] - 0.06 - 0.045 * row, "x", **look)
    ax.axhline(level, color=COLORS["grey"], linestyle="dotted", label="usable")
    ax.set(xscale="log", xlabel="learning rate", ylim=(-0.28, 1.02))
    ax.set_title(f"4 x 256, {net}", fontsize=12)
axes[0].set(ylabel="test accuracy", yticks=np.arange(0, 1.1, 0.2))
handles = axes[0].get_legend_handles_labels()
figure.legend(*handles, loc="outside upper left", ncols=3)

# %%
# How much larger?
# ----------------
# Fixed before these runs: a rate is *usable* for a seed if the network ends at least halfway
# between guessing the most frequent class and making no mistake. For each seed and arm this gives
# the largest usable rate of the grid. A ratio of rates is a difference of their logarithms, so the
# factor has a paired interval like any other difference, in *decades*: one decade is a factor of
# ten. Where two arms differ by one step of the grid, their true limits may almost touch. So the
# smallest difference worth mentioning is one step, and an interval of no width means only that all
# seeds fell onto the same points of the grid. An arm that has no usable rate gets several times as
# many steps, at one rate.


def largest_usable(net, arm):
    """Return the logarithm of each seed's largest usable rate; -inf if none is."""
    usable = ends(net, arm) >= level  # nan is not
    decades = np.log10(rates(net, arm)).round(1)
    return np.where(usable, decades, -np.inf).max(axis=1)


patient = curves(results["patient"], "test_accuracy").mean()
values = {"level": level, "patient": patient}


def compare(name, treated, control, smallest):
    """Give the interval and the verdict of a paired difference, and keep both."""
    d = paired_interval(treated, control)
    answer = verdict(d, smallest)
    print(f"{name:<26} {d.mean:6.2f}, {d.low:.2f} to {d.high:.2f}: {answer}")
    values.update({name: d.mean, f"{name}_verdict": answer})
    values.update({f"{name}_low": d.low, f"{name}_high": d.high})


print(f"{data.title}, largest usable rate: BN over the others, in decades")
for net in nets:
    limit = {arm: largest_usable(net, arm) for arm in arms}
    for arm in arms:
        count = values[f"{net}_{arm}_usable"] = np.isfinite(limit[arm]).sum()
        if count < len(seeds):
            print(f"{net}_{arm}: {count} seeds; with more steps {patient:.1%}")
            continue
        values[f"{net}_{arm}_limit"] = 10 ** limit[arm].mean()
        if arm in rivals:
            name = f"{net}_{arm}_decades"
            compare(name, limit[rivals[arm]], limit[arm], grid_step)

# %%
# What are they good for?
# -----------------------
# Each arm now gets the rate that is best for it on the validation images, and all have the same
# number of steps. Less than one percentage point of accuracy is not worth mentioning. The last two
# lines for each network take the lead over the fair rival apart: batch normalization at its own
# best rate against itself at the rival's best rate, and there against the rival. What a larger rate
# adds to the lead is the first.

print("test accuracy at the best rate: BN minus the others, in points")
for net in nets:
    chosen, final = {}, {}
    for arm in arms:
        tried = {lr: end(net, arm, lr, "validation") for lr in rates(net, arm)}
        lr = chosen[arm] = values[f"{net}_{arm}_lr"] = best(tried)
        final[arm] = 100 * end(net, arm, lr)
        mean = values[f"{net}_{arm}_test"] = final[arm].mean() / 100
        print(f"{net}, {arms[arm]}: {mean:.1%} at {lr:.2g}")
    for arm, own in rivals.items():
        compare(f"{net}_{arm}_points", final[own], final[arm], 1.0)
    same = 100 * end(net, "both", chosen["good"])
    compare(f"{net}_own_rate_points", final["both"], same, 1.0)
    compare(f"{net}_same_rate_points", same, final["good"], 1.0)

# %%
# Record and check
# ----------------

decades = [n for n in values if "decades" in n and "verdict" not in n]
values |= {n.replace("decades", "factor"): 10 ** values[n] for n in decades}
values |= {"seeds": len(seeds), "steps": steps}
record("03_in_training/plot_02_raise_the_learning_rate", values, data=data)
for net, arm in [(net, arm) for net in nets for arm in arms]:
    if values[f"{net}_{arm}_usable"]:  # the grid encloses what is
        assert values[f"{net}_{arm}_limit"] < rates(net, arm)[-1]
assert values["relu_none_decades_low"] > 0  # larger rates are usable...
if data.name == "digits":  # ...which the findings say of the other data
    assert values["relu_none_decades_verdict"] == "supported"
assert values["relu_good_decades_verdict"] == "supported"
assert values["sigmoid_good_decades_verdict"] == "supported"
assert values["sigmoid_none_usable"] == 0  # this arm needs more steps...
assert values["patient"] > level  # ...and then trains
assert values["relu_good_points_low"] > 0  # there is a lead...
assert values["relu_own_rate_points"] > 0  # ...by the larger rate...
assert values["relu_same_rate_points_low"] > 0  # ...and without it
at_same = values["sigmoid_same_rate_points_high"]
assert values["sigmoid_own_rate_points_low"] > at_same  # here by the rate alone
assert values["sigmoid_layer_points_low"] > 0

# %%
# **What to notice.** Batch normalization permits larger learning rates, also next to a network that
# needs no help to train. :doc:`The next page <plot_03_scale_the_initial_weights>` shows why: a step
# that is too large makes the weights before it longer, and longer weights learn more slowly. And
# the larger rate is worth having. On the sigmoid network the whole lead over the fair rival goes
# with it; on the rectifier network a part, and the rest is there at the rival's rate. (Layer
# normalization, with PyTorch's weights, brings back only a part of a lost signal: it divides by the
# spread over the units of *one* image, most of which is the same for all images.) In the networks
# that :cite:t:`bjorck2018understanding` studied, most of the benefit came with larger rates, too.
