"""
Scale the initial weights
=========================

**The question.** Does batch normalization make training less sensitive to the initial weights, and
why not insensitive?

.. predict:: cost of a factor of 100, BN
   :scale: 0 80 2
   :axis: points of test accuracy that are lost

   In front of batch normalization the length of the weights does not matter for the output: with
   hidden weights a hundred times as large, the untrained network computes the same. Train it from
   there for 300 steps, at the learning rate that was best without the factor. How many points of
   test accuracy does the factor cost?

   yes
      It is tempting to say none, because both networks start as the same function. But weights a
      hundred times as long have a gradient a hundred times as small, so a step turns them by a
      ten-thousandth of the angle. The hidden layers hardly learn in 300 steps, and gamma, beta and
      the output layer must do with what they find.

**In short.** Less sensitive: with it, harmless factors on the weights span
:finding:`BN - none, harmless factors` more. Not insensitive: weights a hundred times as large cost
it :finding:`cost of a factor of 100, BN`. What the network computes does not depend on the factor,
but its training does: the factor acts like a change of the learning rate.

.. lead-figure::

**What was done.** All initial weights of the hidden layers were multiplied by a factor, from 0.01
to 100, without and with batch normalization (the two *arms*). The network has four hidden layers of
64 ReLU units and He's initial weights (after Kaiming He; their variance is 2 divided by the number
of inputs), so that the factor 1 suits the network *without* normalization. Each arm chose its
learning rate at factor 1, on 5,000 *held-out* images, from which no network learns, with 3 seeds of
its own; then 5 other seeds compared them after 300 steps (0.7 epochs) in batches of 128.

**You need** :doc:`what the length of the weights does </derivations/weights>`.
"""

import numpy as np
import torch

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_spread, label_lines, new_figure
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import study, table, tune
from bn_tutorial.lab.training import Config
from bn_tutorial.networks.perceptron import DeepNet

data = load().hold_out(5_000)
seeds, tuning_seeds = range(270, 275), range(50, 53)
norms = {"without BN": None, "with BN": "batch"}
network = {"widths": (784, *[64] * 4, 10), "activation": "relu", "init": "he"}
steps, batch_size = 300, 128
grid_step = 0.5  # decades between neighbouring factors
scales = 10 ** np.arange(-2, 2 + grid_step, grid_step)
rates = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
shown_scales = (0.1, 1.0, 10.0)  # factors that are drawn at all rates
tolerance = 5.0  # points that a harmless factor may cost
smallest_decades, smallest_points = 0.5, 1.0

# %%
# The output does not depend on the factor
# ----------------------------------------
# A factor on the weights in front of batch normalization multiplies the deviations from the mean
# and the standard deviation alike, and cancels. Only the small constant under the root prevents
# that: relative to the variance it grows as the inverse square of the factor. Below are
# the logits (the outputs before the softmax) of the untrained network, compared with those at
# factor 1 and without the constant.

x = data.standardize(data.train.images[:500]).double()
no_eps = 1e-300  # as good as zero, which PyTorch refuses
unit = list(scales).index(1.0)


@torch.no_grad()
def logits(scale, seed, eps):
    """Return the output of the untrained network, in double precision."""
    model = DeepNet("batch", seed=seed, **network).double()
    for block in list(model)[:-1]:
        block.linear.weight *= scale
        block.norm.eps = eps
    return model(x)


def change(scale, eps):
    """Return the greatest change of a logit relative to the greatest logit."""
    pairs = [(logits(scale, s, eps), logits(1.0, s, no_eps)) for s in seeds]
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


exact = max(change(scale, no_eps) for scale in scales[[0, -1]])
by_eps = np.array([change(scale, 1e-5) for scale in scales])
rows = {
    f"factor {scale:.3g}": [f"{value:.0e}"]
    for scale, value in zip(scales, by_eps, strict=True)
}
print(
    table(
        {"without eps, both ends": [f"{exact:.0e}"], **rows},
        ["change of the logits"],
    )
)

# %%
# The training does
# -----------------
# If the output does not depend on the factor, the gradient with respect to the weights is
# *inversely* proportional to it: weights ten times as large have a gradient ten times as small, and
# relative to their size the step is a hundred times as small. Only the direction of the weights
# matters, and it changes at the *effective rate*: the learning rate over the square of the factor.
# :doc:`The derivation </derivations/weights>` shows that two such trainings would be the same, step
# by step, if gamma, beta and the output layer did not see the learning rate itself.


def run(arm, scale, lr):
    """Return the settings of one run."""
    config = Config(steps, steps, batch_size, lr=float(lr))
    known = {"config": config, "measure": "weight norms", **network}
    return RunSpec(norms[arm], init_scale=float(scale), **known)


tuning = tune(
    {arm: {lr: run(arm, 1.0, lr) for lr in rates} for arm in norms},
    data,
    tuning_seeds,
)
grid = {
    (arm, s): run(arm, s, tuning.chosen(arm)) for arm in norms for s in scales
}
results = study(grid, data, seeds)
final = {
    arm: np.array([results.last((arm, s)).values for s in scales]).T
    for arm in norms
}
rows = {
    arm: [tuning.chosen(arm), ", ".join(tuning.remarks(arm))] for arm in norms
}
print(table(rows, columns=["rate at factor 1", "it is"]))

# %%
# How many decades are harmless?
# ------------------------------
# A factor is *harmless* for a seed if the network ends at most 5 points below its own accuracy from
# factor 1. The harmless part of the grid, in *decades* (one decade is a factor of ten), is compared
# seed by seed. Its true ends lie up to one step of the grid farther out, so the difference is known
# to two steps: one decade.


def harmless_decades(arm, points):
    """Return how many decades of factors cost at most so many points, (seeds,)."""
    harmless = final[arm] >= final[arm][:, [unit]] - points  # nan is not
    return grid_step * (harmless.sum(axis=1) - 1)


evidence = Evidence(
    "03_in_training/plot_03_scale_the_initial_weights",
    data=data,
    seeds=seeds,
    horizon="300 steps (0.7 epochs)",
    claims={
        "BN - none, harmless factors": "more initial scales train",
    },
)
evidence.compare(
    "BN - none, harmless factors",
    harmless_decades("with BN", tolerance),
    harmless_decades("without BN", tolerance),
    unit="decades",
    smallest=smallest_decades,
    resolution=2 * grid_step,
)
at_unit = results.last(("with BN", 1.0))
for factor in (scales[0], scales[-1]):
    evidence.compare(
        f"cost of a factor of {factor:g}, BN",
        at_unit,
        results.last(("with BN", factor)),
        unit="points",
        smallest=smallest_points,
    )
print(evidence.table())

# %%

# fold: draw accuracy against the factor, and decades against the tolerance
figure, (reach, span) = new_figure(
    1,
    2,
    lead=True,
    width=7.2,
    height=3.4,
    alt="Two panels. Test error, logarithmic, against the factor on the weights: without batch "
    "normalization low only just below and at factor one, with it lowest near factor one and "
    "rising at both ends. Decades of harmless factors against the points that they may "
    "cost: more with batch normalization at every tolerance.",
)
for arm, color in zip(norms, ("blue", "orange"), strict=True):
    draw_spread(reach, scales, 100 - final[arm], color=color, label=arm)
    points = np.linspace(0.5, 20, 40)
    decades = np.array([harmless_decades(arm, p) for p in points]).T
    draw_spread(span, points, decades, color=color, label=arm, marker=False)
reach.set(
    xscale="log",
    yscale="log",
    xlabel="factor on the weights",
    title="test error (%)",
)
reach.set_yticks([3, 5, 10, 20, 50, 90], ["3", "5", "10", "20", "50", "90"])
reach.minorticks_off()
span.axvline(tolerance, color=COLORS["grey"], linestyle="dotted")
span.set(
    xlabel="points that a factor may cost",
    title="harmless factors (decades)",
    ylim=(0, None),
)
label_lines(span)

# %%
# A line stops where a seed diverges, that is where its loss is no longer a number.
#
# Look for the effective rate
# ---------------------------
# Why do small factors do less harm than large ones? (The smallest costs BN
# :effect:`cost of a factor of 0.01, BN`, the largest :effect:`cost of a factor of 100, BN`.) The
# first panel below answers for the weights of the first layer. The gradient of small weights is
# large and at a right angle to them, so the first steps make them longer, and the effective rate
# smaller; the smallest end longer than those from factor 1. Large weights have a small gradient and
# stay as they were.
#
# The other panels show the same runs twice, three factors at many rates. To the left, where the
# hidden weights learn slowly, the factors 0.1 and 1 differ widely at one learning rate and hardly
# at one effective rate. (With factor 10, at the same effective rate, the other parts learn a
# hundred times as fast and do more of the work.) To the right all factors fail from the same
# *learning rate* on, as they should if the parts that have no factor set that limit.

norm = np.array(
    [results.curve(("with BN", s), "norm")[:, -1, 0] for s in scales]
).T
before = results.curve(("with BN", 1.0), "norm")[:, 0, 0]
after = (
    norm / before[:, None]
)  # of the first layer, where 1 is its length at factor 1
sweep = {
    (arm, s, lr): run(arm, s, lr)
    for arm in norms
    for s in shown_scales
    for lr in rates
}
swept = study(sweep, data, seeds)


def at_rates(arm, scale):
    """Return the test accuracy (%) at every rate, (seeds, rates)."""
    return np.array([swept.last((arm, scale, lr)).values for lr in rates]).T


# %%

# fold: draw the length of the weights, and accuracy against both rates
figure, (growth, plain, effective) = new_figure(
    1,
    3,
    width=7.2,
    height=3.3,
    subplot_kw={"xscale": "log"},
    alt="Three panels. Scale of the weights after training against the factor: small ones have "
    "grown, the smallest most; large ones have not. Test accuracy with batch normalization for "
    "three factors: against the learning rate the lines end together on the right, against the "
    "effective rate two of them meet on the left.",
)
draw_spread(growth, scales, after, color="orange", label="with BN")
growth.plot(scales, scales, ":", color=COLORS["grey"], label="unchanged")
for s, color in zip(shown_scales, ("green", "orange", "purple"), strict=True):
    look = {"color": color, "label": f"factor {s:g}"}
    draw_spread(plain, rates, at_rates("with BN", s), **look)
    draw_spread(
        effective, np.array(rates) / s**2, at_rates("with BN", s), **look
    )
growth.set(title="factor afterwards", xlabel="factor before", yscale="log")
plain.set(title="test accuracy (%)", xlabel="learning rate")
effective.set(title="test accuracy (%)", xlabel="effective rate")
growth.legend(fontsize=10)
figure.legend(
    *plain.get_legend_handles_labels(), loc="outside upper right", ncols=3
)

# %%
# Does a learning rate for each factor rescue the network without batch normalization? The best mean
# test accuracy of these rates, in percent (without BN, a large factor takes the smallest of them):

rows = {
    f"{arm}, factor {s:g}": [np.nanmax(at_rates(arm, s).mean(axis=0))]
    for arm in norms
    for s in shown_scales
}
print(table(rows, columns=["at its best rate"]))

# %%

# fold: keep the numbers, check what the words claim
slow = at_rates("with BN", 0.1)[:, :3], at_rates("with BN", 1.0)
apart = (
    np.abs(slow[0] - slow[1][:, :3]).mean() / 100
)  # at the same learning rates
aligned = (
    np.abs(slow[0] - slow[1][:, 2:5]).mean() / 100
)  # at the same effective rates
evidence.note(
    seeds=len(seeds),
    steps=steps,
    smallest=scales[0],
    largest=scales[-1],
    with_decades=harmless_decades("with BN", tolerance).mean(),
    without_decades=harmless_decades("without BN", tolerance).mean(),
    apart=apart,
    aligned=aligned,
    grown_to=after[:, 0].mean(),
    exact=exact,
    by_eps=by_eps[0],
    by_eps_unit=by_eps[unit],
)
means = {
    arm: [at_rates(arm, s).mean(axis=0) for s in shown_scales] for arm in norms
}
evidence.save(  # all rates, to move about in on the page "Why does it work?"
    recording={
        "scales": shown_scales,
        "rates": rates,
        "accuracy": {
            arm: [[None if np.isnan(v) else v for v in row] for row in rows]
            for arm, rows in means.items()
        },
        "hidden": len(network["widths"]) - 2,
        "width": network["widths"][1],
    }
)
assert (
    exact < 1e-12
)  # the function ignores the factor, except for the constant...
assert np.abs(by_eps[:-2] / by_eps[2:] / 100 - 1).max() < 0.2
assert (
    evidence.effects["BN - none, harmless factors"].low > 0
)  # ...the training less sensitive...
assert (
    evidence.effects["cost of a factor of 100, BN"].low > 0
)  # ...and not insensitive
assert after[:, 0].min() > after[:, unit].max()  # small weights grow...
assert after[:, -1].max() < 1.01 * scales[-1]  # ...large ones do not
assert aligned < apart / 2

# %%
# With batch normalization, the scale of the weights does not change the output of the network, but
# it changes the training, as another learning rate would. Weights that are too small grow, and the
# smallest grow too far: they end :value:`grown_to:.0f` times as long as He's. Nothing makes large
# ones shrink.
#
# **Limits.** Only the *scale* of the weights was varied, not their distribution; one perceptron of
# ReLU units; 300 steps (0.7 epochs) at a constant rate. Where the smallest factor is still harmless
# the range reaches beyond those that were tried, and the difference of the ranges is a lower bound.
# The interval does not cover that another rate could have been chosen.
#
# **Try it.** Change ``tolerance`` in the settings to 1.0, and compare with the second panel.
#
# Next: :doc:`raise the learning rate <plot_02_raise_the_learning_rate>` instead.
