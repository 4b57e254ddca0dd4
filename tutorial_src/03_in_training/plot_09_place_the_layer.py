"""
Place the layer
===============

**The question.** Does batch normalization belong before the nonlinearity or after it, and does the
linear map need its bias?

**Varied:** the placement; the bias of the hidden layers; the nonlinearity; the learning rate; the
seed of the weights and of the order of the images, which the arms share.

**Held fixed:** the widths, PyTorch's initial weights, the batch size and the number of steps.

:cite:t:`ioffe2015batch` put the layer before the nonlinearity, where they expected the more stable
distribution. Soon others reported better results with the layer after it, and the forums have not
agreed since. Many of the answers rest on one run for each placement, at one learning rate.
"""

from dataclasses import replace

import numpy as np
from torch.nn.functional import cross_entropy

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import paired_interval, verdict
from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.study import best
from bn_tutorial.lab.figures import COLORS, draw_spread, new_figure
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import curves, study
from bn_tutorial.lab.training import Config, device

data = load().hold_out(5_000)  # for validation
seeds = range(10)
config = Config(steps=300, evaluate_every=300, batch_size=128)
rates = {"relu": (0.03, 0.1, 0.3), "sigmoid": (0.03, 0.1, 0.3, 1.0, 3.0)}
placements = {"before": "blue", "after": "orange"}
smallest = 0.5  # percentage points

# %%
# What becomes of the bias
# ------------------------
# Before the nonlinearity, the layer subtracts the mean of a sum that holds the bias. The bias
# shifts that mean by itself and is gone: :doc:`no gradient reaches it </derivations/weights>`, and
# its task is that of the shift that the layer learns. After the nonlinearity it decides how much
# of its input a unit cuts off, and nothing takes that away.

images = data.standardize(data.train.images[:128]).to(device())
labels = data.train.labels[:128].to(device())
ratio = {}
for place in placements:
    model = DeepNet("batch", activation="relu", placement=place).train()
    cross_entropy(model.to(device())(images), labels).backward()
    linear = model.get_submodule("hidden_1.linear")
    ratio[place] = (linear.bias.grad.norm() / linear.weight.grad.norm()).item()
    print(f"{place:<6} gradient of bias over weights: {ratio[place]:.0e}")

# %%
# Tune each placement
# -------------------
# The learning rate is chosen for each arm by its accuracy on held-out images, which are neither
# trained nor tested on. The chosen rates are ringed. A cross at the bottom marks a rate at which at
# least one run diverged.


def arm(activation, place, lr, bias=True):
    """Return the settings of one arm."""
    layer = {"activation": activation, "placement": place, "bias": bias}
    return RunSpec("batch", **layer, config=replace(config, lr=lr))


def final(runs, part):
    """Return the accuracy after the last step, shape (seeds,)."""
    return curves(runs, f"{part}_accuracy")[:, -1]


both = [(activation, place) for activation in rates for place in placements]
arms = {(*one, lr): arm(*one, lr) for one in both for lr in rates[one[0]]}
results = study(arms, data, seeds)
scores = {key: final(runs, "validation") for key, runs in results.items()}
chosen = {
    one: best({lr: scores[*one, lr] for lr in rates[one[0]]}) for one in both
}

figure, axes = new_figure(
    1,
    2,
    width=7.2,
    height=3.7,
    alt="Test accuracy against the learning rate, with bands over the seeds, for relu and for "
    "sigmoid. With relu the two placements lie close together. With sigmoid the layer after the "
    "nonlinearity is better at every rate but the greatest, where a cross says that it diverged.",
)
for activation, place in both:
    ax, color = axes[list(rates).index(activation)], placements[place]
    lrs, ring = rates[activation], chosen[activation, place]
    runs = [final(results[activation, place, lr], "test") for lr in lrs]
    means = dict(zip(lrs, np.mean(runs, axis=1), strict=True))
    draw_spread(ax, lrs, np.transpose(runs), color=color, label=place)
    ax.plot(ring, means[ring], "o", ms=13, mfc="none", color=COLORS[color])
    style = {"color": COLORS[color], "transform": ax.get_xaxis_transform()}
    for lr in (lr for lr in lrs if np.isnan(means[lr])):
        ax.plot(lr, 0.03, "x", ms=9, **style)
    ax.set(xscale="log", xlabel="learning rate", title=activation)
    ax.set_xticks(lrs, [f"{lr:g}" for lr in lrs])
    ax.minorticks_off()
axes[0].set_ylabel("test accuracy")
axes[0].legend()

# %%
# Measure the differences
# -----------------------
# Each placement is taken at its chosen rate. The arms without bias train at the rate that was
# chosen with it.

bare = study(
    {one: arm(*one, lr, bias=False) for one, lr in chosen.items()}, data, seeds
)
full = {one: results[*one, lr] for one, lr in chosen.items()}
pairs = {}
for activation in rates:
    before, after = (full[activation, place] for place in placements)
    pairs[f"{activation}: after minus before"] = after, before
    for place in placements:
        one = activation, place
        pairs[f"{activation}: bias minus none, {place}"] = full[one], bare[one]

answers = {}
for name, pair in pairs.items():
    points = [100 * final(runs, "test") for runs in pair]
    d, reverse = paired_interval(*points), paired_interval(*points[::-1])
    answers[name] = d, verdict(d, smallest), verdict(reverse, smallest)
    print(f"{name:<32} {d.mean:+.2f} points, {d.low:+.2f} to {d.high:+.2f}")
    print(f"{'':<32} better: {answers[name][1]}; worse: {answers[name][2]}")

figure, ax = new_figure(
    width=7.2,
    height=3.4,
    alt="Intervals of six differences of test accuracy, in percentage points. After minus before "
    "is close to zero for relu and far above half a point for sigmoid. Bias minus none is close "
    "to zero in all four cases.",
)
for row, (name, (d, *_)) in enumerate(answers.items()):
    color = COLORS["orange" if "after minus" in name else "grey"]
    ax.plot([d.low, d.mean, d.high], [row] * 3, "|-", ms=9, color=color)
for line in (-smallest, 0, smallest):
    ax.axvline(line, color=COLORS["grey"], lw=1, ls="dotted")
ax.set_yticks(range(len(answers)), list(answers))
ax.invert_yaxis()
ax.set_xlabel("difference of test accuracy (percentage points)")

# %%
# With rectifiers the layer after the nonlinearity is not better by half a point. With sigmoids it
# is better, by more than that. A likely reason, which was not tested: what a sigmoid passes on is
# positive, so the next linear map, and the output, work on inputs whose mean is far from zero. The
# layer after it takes that mean away.
#
# Are the networks with and without bias the same?
# ------------------------------------------------
# With the layer before the nonlinearity they are the same function, and the same gradients lead
# them the same way. All that differs is rounding: a sum that was rounded with the bias is not quite
# the one that was rounded without it. Sigmoids leave the difference as small as it was. Rectifiers
# enlarge it, because a unit whose input is all but zero falls on the other side of the kink. What
# is left at the end is no effect of the bias; but a single pair of runs would take it for one.

figure, axes = new_figure(
    1,
    2,
    width=7.2,
    height=3.5,
    sharey=True,
    alt="Greatest difference over the seeds of the training loss with and without bias, "
    "logarithmic, against the step. With the layer after the nonlinearity it is large from the "
    "first step on. With the layer before, it starts at the size of rounding errors; there it "
    "stays with sigmoids, and with relu it grows by several orders of magnitude.",
)
apart = {}
for activation, place in both:
    ax, color = axes[list(rates).index(activation)], placements[place]
    one = activation, place
    losses = [curves(runs[one], "step_loss") for runs in (full, bare)]
    apart[one] = np.abs(losses[0] - losses[1]).max(axis=0)
    line = np.arange(config.steps), apart[one][np.newaxis]
    draw_spread(ax, *line, color=color, label=place, marker=False)
    ax.set(yscale="log", xlabel="step", title=activation)
axes[0].set_ylabel("difference of the loss (nat)")
axes[1].legend()

# %%
# These are small networks, few steps, and one data set. Where convolutions, residual connections or
# long schedules are at stake, this is no evidence.

values = {"seeds": len(seeds), "steps": config.steps, "smallest": smallest}
for one, lr in chosen.items():
    key = "_".join(one)
    values |= {key: final(full[one], "test").mean(), f"{key}_lr": lr}
    values |= {f"{key}_apart_at_end": apart[one][-1]}
    values[f"bias_gradient_{one[1]}"] = ratio[one[1]]
for name, (d, better, worse) in answers.items():
    key = name.replace(":", "").replace(",", "").replace(" ", "_")
    values |= {key: d.mean, f"{key}_low": d.low, f"{key}_high": d.high}
    values |= {f"{key}_better": better, f"{key}_worse": worse}
record("03_in_training/plot_09_place_the_layer", values, data=data)

assert answers["sigmoid: after minus before"][1] == "supported"
assert answers["relu: after minus before"][1] == "not supported"
assert answers["relu: bias minus none, before"][1] == "not supported"
assert ratio["before"] < 1e-5 < 1e-3 < ratio["after"]
assert apart["sigmoid", "before"].max() < 1e-5  # nothing but rounding...
assert apart["relu", "before"][0] < 1e-5 < 1e-3 < apart["relu", "before"][-1]
for one, lr in chosen.items():  # the best rate is not at an end of the grid
    assert min(rates[one[0]]) < lr < max(rates[one[0]])

# %%
# **What to notice.** Where the layer goes is a question about the nonlinearity. With rectifiers the
# place after it was no better, with sigmoids it was. The bias of a linear map that feeds the
# layer is idle: leave it out. What else this site measured stands in
# :doc:`the findings </findings>`.
