"""
Compute a variance that stays positive
======================================

**The question.** Why does the way of computing a variance matter, when all ways are equal on paper?

**In short.** Because a computer rounds. Where the mean is 10,000 times the spread, the mean of
squares minus the square of the mean is wrong by :value:`one_pass_at_1e4:.1g` times the variance,
and two passes over the data by :value:`two_pass_at_1e4:.0e`. In :value:`negative` of
:value:`trials` trials the one-pass result was even negative. No way helps when the input itself was
rounded too coarsely.

.. lead-figure::

**What was done.** Five algorithms computed the variance of 4,096 numbers in single precision, with
5 seeds. The spread of the numbers, their standard deviation, is one; their mean goes from 0 to
100,000. The exact value is the variance of the same rounded numbers, in double precision.

The merging of batches is derived in :doc:`/derivations/statistics`.

**You need** :doc:`the forward pass </derivations/forward>`.
"""

from functools import reduce

import numpy as np
import torch

from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import (
    COLORS,
    MARKERS,
    label_lines,
    new_figure,
)
from bn_tutorial.lab.study import table
from bn_tutorial.scratch.moments import merge, moments

count = 4096  # numbers, of standard deviation one
means = [0.0, 1.0, 10.0, 100.0, 1e3, 3e3, 1e4, 1e5]
seeds = range(5)
batches = 16  # for the way that merges batches


# %%
# Five ways
# ---------
# On paper they are the same number. In single precision each step keeps about seven digits.


def one_pass(x):
    """Mean of squares minus square of the mean: the difference of two large numbers."""
    return np.mean(x * x) - np.mean(x) ** 2


def two_pass(x):
    """Mean of squared deviations from the mean."""
    return np.mean((x - np.mean(x)) ** 2)


def shifted(x):
    """One pass again, but over deviations from the first value, which lies near the mean."""
    return one_pass(x - x[0])


def welford(x):
    """One value at a time: move the mean, and add the product of old and new deviation."""
    mean, m2 = x.dtype.type(0), x.dtype.type(0)
    for k, value in enumerate(x, 1):
        old = value - mean
        mean += old / x.dtype.type(k)
        m2 += old * (value - mean)
    return m2 / x.dtype.type(len(x))


def merged(x):
    """Describe batches on their own, then merge the descriptions."""
    return reduce(
        merge, (moments(part, (0,)) for part in x.reshape(batches, -1))
    ).var


ways = {
    "one pass": one_pass,
    "two passes": two_pass,
    "shifted": shifted,
    "Welford": welford,
    "merged": merged,
}

# %%
# The error of each
# -----------------
# The exact value is the variance of the *same* single-precision numbers, in double precision.

errors = {name: np.zeros((len(seeds), len(means))) for name in ways}
negative = dict.fromkeys(ways, 0)
for row, seed in enumerate(seeds):
    noise = np.random.default_rng(seed).normal(size=count)
    for column, mean in enumerate(means):
        x = (mean + noise).astype(np.float32)
        exact = x.astype(np.float64).var()
        for name, way in ways.items():
            variance = way(x)
            errors[name][row, column] = abs(variance - exact) / exact
            negative[name] += int(variance < 0)
rows = {
    name: [f"{error:.0e}" for error in np.median(values, axis=0)]
    for name, values in errors.items()
}
print("relative error, median over the seeds, at mean")
print(table(rows, columns=[f"{mean:g}" for mean in means]))
print(f"negative variances, one pass: {negative['one pass']}")

# %%
# The one-pass formula squares first. So it loses two digits for each factor of ten by which the
# mean exceeds the spread. Where none are left, its result may be negative, and the root is not a
# number. The dotted line is the rule of thumb: rounding, times one plus the squared ratio of mean
# and spread.

# fold: draw the errors
figure, ax = new_figure(
    lead=True,
    width=7.2,
    height=4.2,
    alt="The relative error of five variance algorithms in single precision against the mean of "
    "the data, both logarithmic. The one-pass formula rises steeply along a dotted line, and is "
    "wrong by more than the variance itself at the right. The other four stay low at the left and "
    "in the middle; Welford's and the merged one rise slowly towards the right.",
)
families = {  # a colour and a line style for each: those of a colour are alike
    "one pass": ("pink", "dotted"),
    "two passes": ("green", "solid"),
    "shifted": ("green", "dashed"),
    "Welford": ("purple", "solid"),
    "merged": ("purple", "dashed"),
}
x = np.maximum(means, 0.3)  # zero has no place on a logarithmic axis
for name, values in errors.items():
    color, line = families[name]
    median = np.maximum(np.median(values, axis=0), 1e-9)
    style = {
        "color": COLORS[color],
        "linestyle": line,
        "marker": MARKERS[color],
    }
    ax.plot(x, median, label=name, **style)
rounding = np.finfo(np.float32).eps / 2
ax.plot(
    x,
    rounding * (1 + np.square(x)),
    color=COLORS["grey"],
    linestyle="dotted",
    zorder=0,
    label="rule of thumb",
)
ax.set(
    xscale="log",
    yscale="log",
    xlabel="mean (in units of the spread)",
    ylabel="relative error",
)
ax.set_ylim(1e-9, 1e5)
label_lines(ax)

# %%
# Rounded before anyone computes
# ------------------------------
# No algorithm helps when the *input* has lost its digits. The format ``bfloat16`` keeps about three
# of them: far from zero its neighbours lie further apart than the spread of the data.

rounded = {}
for mean in means:
    values = torch.from_numpy(
        mean + np.random.default_rng(seeds[0]).normal(size=count)
    )
    rounded[mean] = values.to(torch.bfloat16).double().var(correction=0).item()
rows = {f"mean {mean:g}": [f"{rounded[mean]:.3f}"] for mean in means}
print(table(rows, columns=["variance after rounding"]))

# %%

# fold: keep the numbers, check what the words claim
at = {mean: column for column, mean in enumerate(means)}
stable = [name for name in ways if name != "one pass"]
evidence = Evidence("01_by_hand/plot_05_compute_a_variance", seeds=seeds)
evidence.note(
    one_pass_at_1e4=np.median(errors["one pass"][:, at[1e4]]),
    two_pass_at_1e4=np.median(errors["two passes"][:, at[1e4]]),
    negative=negative["one pass"],
    trials=errors["one pass"].size,
    bfloat16_at_1e4=rounded[1e4],
)
evidence.save()
assert negative["one pass"] > 0  # some variances are negative...
assert (
    np.median(errors["one pass"][:, at[1e4]]) > 0.5
)  # ...where no digit is left
assert (
    np.median(errors["one pass"][:, at[100.0]])
    > 100 * errors["two passes"][:, at[100.0]].max()
)
for name in stable:
    assert negative[name] == 0, name
    assert errors[name][:, : at[1e4]].max() < 1e-3, name
assert abs(rounded[0.0] - 1) < 0.1  # bfloat16 does no harm near zero...
assert abs(rounded[1e4] - 1) > 0.5  # ...and destroys the variance far from it

# %%
# Such means occur: the input of a layer need not be centered. Two passes cost one more reading of
# the data and are safe; that is what :func:`~bn_tutorial.scratch.normalize.standardize` does.
#
# **Limits.** 4,096 normally distributed numbers, in single precision: numbers of another kind, or
# added in another order, round otherwise.
#
# **Try it.** Change ``batches`` in the settings to 4096, so that every batch is a single number:
# the line of the merged batches moves towards Welford's, which is the same algorithm then.
#
# Next: :doc:`look inside a network </gallery/02_inside_a_network/plot_01_draw_activations>`.
