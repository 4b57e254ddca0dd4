"""
Normalize one batch by hand
===========================

**The question.** What does batch normalization do to a batch of numbers, step by step?

**In short.** It moves each feature to mean zero and scales it to variance one. Mean and variance
come from the whole batch, so the samples are coupled: when *one* of them changes, the outputs of
the others move, here by up to :value:`moved:.2f`, although their own inputs have stayed as they
were. In evaluation mode they move by :value:`moved_in_evaluation:.0f`.

.. lead-figure::

**What was done.** One batch of 32 samples with 4 features was drawn from a normal distribution of
mean 3 and standard deviation 5. It goes through the :doc:`forward pass </derivations/forward>` line
by line. Then 20 is added to the first sample only, and the layer is applied again, in training mode
and in evaluation mode.

**You need** :doc:`the forward pass </derivations/forward>`.
"""

import numpy as np

from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, MARKERS, new_figure
from bn_tutorial.lab.study import table
from bn_tutorial.scratch.layers import BatchNorm1D

samples, features = 32, 4
mean, spread = 3.0, 5.0  # of the distribution that the batch is drawn from
eps = 1e-5
change = 20.0  # what is added to the first sample, later
rng = np.random.default_rng(0)

# %%
# The steps
# ---------
# A batch is a table: a row for each sample, a column for each feature. Each column gets a mean and
# a variance of its own, taken down the rows, :eq:`eq-mean` and :eq:`eq-variance`. The small ``eps``
# keeps a column of equal numbers from a division by zero.

x = rng.normal(mean, spread, size=(samples, features))

mu = x.mean(axis=0)
xmu = x - mu
var = (xmu**2).mean(axis=0)
r = 1 / np.sqrt(var + eps)
xhat = xmu * r

# %%
# Look at mean and variance after each step.

steps = {"before": x, "centered": xmu, "standardized": xhat}
columns = [f"feature {number}" for number in range(1, features + 1)]
for word, statistic in {"mean": np.mean, "variance": np.var}.items():
    rows = {
        # The z takes the sign off a zero.
        f"{word}, {step}": [f"{v:z.4f}" for v in statistic(values, axis=0)]
        for step, values in steps.items()
    }
    print(table(rows, columns))

# %%
# Subtracting the mean moves each column to zero; multiplying by ``r`` scales it to a variance of
# one. The order of the samples within a column, and their relative distances, stay as they were: a
# column is moved and scaled as a whole. The main figure shows the batch before and after each step.

# fold: draw the batch after each step
figure, axes = new_figure(
    1,
    3,
    lead=True,
    width=7.2,
    height=3.0,
    sharey=True,
    alt="Three panels with the values of four features, one column of points each. Before, the "
    "columns lie around three and are widely spread. Centered, they lie around zero and are as "
    "wide as before. Standardized, they lie around zero, mostly between minus two and two.",
)
colors = {"before": "blue", "centered": "purple", "standardized": "orange"}
aside = rng.uniform(-0.25, 0.25, x.shape)  # so that no point hides another
for ax, (step, values) in zip(axes, steps.items(), strict=True):
    ax.plot(
        np.arange(1, features + 1) + aside,
        values,
        linestyle="none",
        marker=MARKERS[colors[step]],
        color=COLORS[colors[step]],
        markersize=4,
    )
    ax.set(title=step, xlabel="feature", xticks=range(1, features + 1))
axes[0].set_ylabel("value")

# %%
# Change one sample
# -----------------
# The statistics belong to the whole batch. So when one sample changes, the output of all the others
# changes with it, although *their* inputs did not. Our layer
# :class:`~bn_tutorial.scratch.layers.BatchNorm1D` computes the same lines.

layer = BatchNorm1D(features, eps=eps)
y = layer.forward(x)
other = x.copy()
other[0] += change
y_other = layer.forward(other)

moved = np.abs(y_other - y)[1:]
print(f"training mode: the other samples move by up to {moved.max():.2f}")

# %%
# In evaluation mode the statistics are constants, and the coupling is gone.

layer.eval()
y_evaluated, y_other_evaluated = layer.forward(x), layer.forward(other)
moved_in_evaluation = np.abs(y_other_evaluated - y_evaluated)[1:]
print(f"evaluation mode: they move by {moved_in_evaluation.max():.2f}")

# %%
# One feature of every sample, before the change (open) and after it (filled). The constants of this
# layer are running averages, here of the two batches above alone, which still remember their start
# of mean 0 and variance 1; so its outputs in evaluation mode are not standardized.

# fold: draw what the change does to the others
figure, axes = new_figure(
    1,
    2,
    width=7.2,
    height=3.0,
    alt="Two panels with the output of one feature against the sample, before and after the first "
    "sample was changed. In training mode the first point moves up and the others move, too, the "
    "high ones down and the lowest up. In evaluation mode only the first point moves.",
)
outputs = {
    "training mode": (y, y_other),
    "evaluation mode": (y_evaluated, y_other_evaluated),
}
at = np.arange(1, samples + 1)
for ax, (mode, (before, after)) in zip(axes, outputs.items(), strict=True):
    ax.vlines(at, before[:, 0], after[:, 0], color=COLORS["grey"])
    style = {"linestyle": "none", "marker": "o", "color": COLORS["orange"]}
    ax.plot(at, before[:, 0], **style, markerfacecolor="none", label="before")
    ax.plot(at, after[:, 0], **style, label="after")
    ax.set(title=mode, xlabel="sample", xticks=[1, 8, 16, 24, 32])
axes[0].set_ylabel("output, feature 1")
axes[0].legend()

# %%

# fold: keep the numbers, check what the words claim
evidence = Evidence("01_by_hand/plot_01_normalize_a_batch")
evidence.note(moved=moved.max(), moved_in_evaluation=moved_in_evaluation.max())
evidence.save()
assert np.abs(xhat.mean(axis=0)).max() < 1e-12
assert np.abs(xhat.var(axis=0) - var / (var + eps)).max() < 1e-12
assert np.abs(y - xhat).max() < 1e-12  # the layer does what the steps do
assert (moved > 0).all()  # every other sample moves...
assert moved.max() > 0.1
assert moved_in_evaluation.max() == 0  # ...and none in evaluation mode

# %%
# Standardizing is a plain shift and scaling of each feature. The only unusual thing is where the
# two come from: from the whole batch. What follows from that for the gradient, two terms that a
# fixed shift and scale would not have, is :doc:`derived </derivations/backward>`.
#
# **Limits.** One batch of 32 random samples, and no network: how far the outputs of the others move
# depends on the batch and on what is added.
#
# **Try it.** Change ``mean`` in the settings to 300.0: only the row *mean, before* changes, for a
# variance does not depend on where the batch lies.
#
# Next: :doc:`how to compute a variance <plot_05_compute_a_variance>`.
