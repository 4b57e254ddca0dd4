"""
Follow the slope through training
=================================

**The question.** Does batch normalization keep the sigmoids where they are steep, while the network
learns?

**Varied:** batch normalization; the initial weights: PyTorch's default, small, large, and *unit
gain*; the seed of the weights and of the order of the images, which the arms share.

**Held fixed:** the notebook's network, learning rate and batch size; the number of steps.

The notebook lists as a benefit: "Activations stay in high-gradient regime". Before training
:doc:`that was false of default weights </gallery/02_inside_a_network/plot_02_follow_the_signal>`
and :doc:`true of large ones </gallery/02_inside_a_network/plot_03_saturate_on_purpose>`. But to
stay is to be there later, too.
"""

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import paired_interval, verdict
from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.figures import COLORS, draw_spread, new_figure
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import curves, study
from bn_tutorial.lab.training import Config

data = load()
seeds = range(5)
config = Config(steps=400, evaluate_every=100, batch_size=128, lr=0.1)
inits = {  # as RunSpec calls them; a number is a standard deviation
    "default": "default",
    "small": 0.01,
    "large": 1.0,
    "unit gain": "unit gain",
}
norms = {"without BN": None, "with BN": "batch"}
smallest = 0.0  # any increase of the slope counts

# %%
# Train every pair
# ----------------
# The slope of a sigmoid is greatest, one quarter, where its input is zero. It is averaged over two
# thousand test images, the units and the hidden layers, before the first step and at every
# evaluation. The batch-normalized network gets these images as one batch and takes that batch's
# statistics. So the slopes mean something before there are running averages.
#
# *Unit gain* would keep a small signal if every sigmoid sat at its centre. Their outputs average
# one half, which moves the next ones off it, so some of the signal is lost in each layer; over four
# layers enough is left. Of the networks without batch normalization, it is the fairest rival.

arms = {
    (init, name): RunSpec(norm, init=value, config=config, measure="slopes")
    for init, value in inits.items()
    for name, norm in norms.items()
}
results = study(arms, data, seeds)
by_layer = {  # shape (seeds, points, layers)
    arm: curves(runs, "slope") for arm, runs in results.items()
}
slope = {arm: values.mean(axis=-1) for arm, values in by_layer.items()}
accuracy = {
    arm: curves(runs, "test_accuracy")[:, -1] for arm, runs in results.items()
}

figure, axes = new_figure(
    2,
    2,
    width=7.2,
    height=5.6,
    sharex=True,
    sharey=True,
    alt="Four panels, one for each kind of initial weights: the mean slope of the sigmoids against "
    "the step, with and without batch normalization. With it the slope is level at about four "
    "fifths of the greatest possible, in all panels. Without it the slope is greater than that for "
    "default and small weights, less for unit gain, and far less for large weights.",
)
steps = config.evaluate_every * np.arange(config.evaluations + 1)
for ax, init in zip(axes.flat, inits, strict=True):
    for name, color in zip(norms, ("blue", "orange"), strict=True):
        draw_spread(ax, steps, slope[init, name], color=color, label=name)
    ax.axhline(0.25, color=COLORS["grey"], linestyle="dotted", label="greatest")
    ax.set(ylim=(0, 0.27), xticks=steps, title=init)
figure.supxlabel("step", fontsize=12)
figure.supylabel("mean slope", fontsize=12)
handles = ax.get_legend_handles_labels()
figure.legend(*handles, loc="outside upper left", ncols=3)

# %%
# The level with batch normalization is no accident. It is the mean slope of a sigmoid whose input
# has a normal distribution of mean zero and variance one, printed here. It can move only as the
# learned scale and shift move, or the shape of the distribution; in so few steps, hardly.

z, weights = np.polynomial.hermite_e.hermegauss(50)
normal_slope = weights @ (1 / (2 + 2 * np.cosh(z))) / weights.sum()
print(f"mean slope for a standard normal input: {normal_slope:.4f}")

# %%
# Answer the claim
# ----------------
# Is the slope greater with batch normalization than without: at the start, averaged over the
# evaluations during training, and at the end?

parts = {"start": slice(1), "mean": slice(1, None), "end": slice(-1, None)}
answers = {}
print("slope with BN minus without, interval; accuracy at the end")
for init in inits:
    for part, points in parts.items():
        pair = [slope[init, name][:, points].mean(axis=1) for name in norms]
        steeper = paired_interval(*reversed(pair))
        answer = verdict(steeper, smallest)
        answers[init, part] = steeper, answer
        ends = f"{steeper.low:+.4f} to {steeper.high:+.4f}"
        print(f"{init:<9} {part:<5} {steeper.mean:+.4f}, {ends}: {answer}")
    for name in norms:
        print(f"{init:<9} accuracy {accuracy[init, name].mean():.1%} {name}")

# %%
# The claim holds, from start to end, for large weights and for those of unit gain. For default and
# small weights the reverse holds, from start to end. The sign is decided before the first step.
#
# Why a steep slope is not the point
# ----------------------------------
# The steepest sigmoids of all belong to a network that does not learn. With small weights next to
# nothing reaches them, so they sit in the middle, where they are steep. What the gradient meets on
# its way back is a *product*: the slope times the weights. Small weights make it small, however
# steep the sigmoid. Batch normalization gives up some slope and gains far more by dividing by the
# small standard deviation of its input.

figure, ax = new_figure(
    width=7.2,
    height=3.9,
    alt="Test accuracy at the end against the mean slope at the end, a point for each run. Without "
    "batch normalization the steepest networks, with default and small weights, have the lowest "
    "accuracy, and those of unit gain, less steep, learn. With batch normalization all have about "
    "the same slope and learn.",
)
for (init, name), marker in zip(arms, "oossDD^^", strict=True):
    color = COLORS["blue" if name == "without BN" else "orange"]
    ax.plot(
        slope[init, name][:, -1],
        accuracy[init, name],
        marker=marker,
        markersize=7,
        linestyle="none",
        color=color,
        markerfacecolor="none" if name == "without BN" else color,
        label=f"{init}, {name}",
    )
ax.set(xlabel="mean slope at the end", ylabel="test accuracy", ylim=(0, 1))
figure.legend(loc="outside right center")

# %%
# Does the top layer drift into saturation?
# -----------------------------------------
# :cite:t:`glorot2010understanding` found that random initial weights can drive especially the top
# hidden layer of a sigmoid network into saturation. With large weights it does drift there: its
# slope falls in every run, and batch normalization prevents that. With unit gain there is no drift
# to prevent, the top layer becomes steeper. With the default weights, which are the kind that they
# used, this network has not begun to learn, and nothing has moved. They trained far longer.

top = {init: by_layer[init, "without BN"][..., -1] for init in inits}
drift = {init: runs[:, -1] / runs[:, 0] for init, runs in top.items()}
for init, ratios in drift.items():
    print(f"{init:<9} top layer's slope, end over start: {ratios.round(3)}")

# %%
# The fairest rival tells it best. With unit gain, batch normalization makes the sigmoids much
# steeper. In accuracy, at this learning rate, that is not worth a percentage point.

d = paired_interval(*(accuracy["unit gain", name] for name in reversed(norms)))
worth = verdict(d, smallest=0.01)
ends = f"{100 * d.low:+.2f} to {100 * d.high:+.2f}: {worth}"
print(f"accuracy with BN minus without: {100 * d.mean:+.2f} points, {ends}")

# %%
# All this is early in training at *one* learning rate, the notebook's. It answers a claim about
# slopes. It does not show that a network learns *because* its sigmoids are steep, or flat.

values = {"seeds": len(seeds), "steps": config.steps, "normal": normal_slope}
values |= {"worth": d.mean, "worth_low": d.low, "worth_high": d.high}
values["worth_verdict"] = worth
for init in inits:
    key = init.replace(" ", "_")
    for arm in norms:
        name = arm.removesuffix(" BN")
        values[f"{key}_slope_{name}"] = slope[init, arm][:, 1:].mean()
        values[f"{key}_accuracy_{name}"] = accuracy[init, arm].mean()
    for part in parts:
        steeper, values[f"{key}_{part}_verdict"] = answers[init, part]
        values[f"{key}_{part}"] = steeper.mean
        values[f"{key}_{part}_low"] = steeper.low
        values[f"{key}_{part}_high"] = steeper.high
    values[f"{key}_top_layer_kept"] = drift[init].mean()
record("03_in_training/plot_04_follow_the_slope", values, data=data)

for (init, _), (_, answer) in answers.items():
    holds = init in {"large", "unit gain"}
    assert answer == ("supported" if holds else "not supported")
steepest = accuracy["small", "without BN"].max()
for init in inits:
    assert np.abs(slope[init, "with BN"] - normal_slope).max() < 0.01
    assert steepest < accuracy[init, "with BN"].min()
assert max(slope, key=lambda one: slope[one].mean())[0] == "small"
assert d.mean < 0.01  # no percentage point
assert drift["large"].max() < 0.7  # it drifts towards saturation...
assert drift["unit gain"].min() > 1  # ...and here away from it
assert np.abs(drift["default"] - 1).max() < 0.02

# %%
# **What to notice.** Batch normalization does not keep sigmoids steep. It keeps them at one slope,
# whatever the initial weights are: more than large weights give, less than small ones do. What is
# worth having is a signal, forward and backward. Next:
# :doc:`repeat the paper's experiment <plot_05_repeat_the_paper>`.
