"""
Normalize one batch by hand
===========================

**The question.** What does batch normalization do to a batch of numbers, step by step?

**Varied:** one sample, in the second half. Before that, one batch goes through the six lines of the
:doc:`forward pass </derivations/forward>`.

**Held fixed:** the batch, drawn once from a normal distribution with neither mean zero nor
variance one.
"""

import numpy as np

from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.figures import COLORS, MARKERS, new_figure
from bn_tutorial.scratch.layers import BatchNorm1D

samples, features = 32, 4
mean, spread = 3.0, 5.0
eps = 1e-5
rng = np.random.default_rng(0)

# %%
# The steps
# ---------
# A batch is a table: a row for each sample, a column for each feature.
# Each column gets a mean and a variance of its own, taken down the rows
# (:eq:`eq-mean`, :eq:`eq-variance`).

x = rng.normal(mean, spread, size=(samples, features))

mu = x.mean(axis=0)
xmu = x - mu
var = (xmu**2).mean(axis=0)
r = 1 / np.sqrt(var + eps)
xhat = xmu * r

print("               mean of each feature           variance of each feature")
for name, values in {
    "before": x,
    "centered": xmu,
    "standardized": xhat,
}.items():
    means, variances = values.mean(axis=0), values.var(axis=0)
    print(
        f"{name:<13}",
        *(f"{v:6.2f}" for v in means),
        "  ",
        *(f"{v:7.4f}" for v in variances),
    )

# %%
# Subtracting the mean moves each column to zero; multiplying by ``r`` stretches it to a spread
# of one. The order of the samples within a column, and their relative distances, stay as they
# were: a column is moved and stretched as a whole.

figure, axes = new_figure(
    1,
    3,
    height=3.0,
    sharey=True,
    alt="Three panels with the values of four features, one column of points each. Before, the "
    "columns lie around three and are widely spread. Centered, they lie around zero and are as "
    "wide as before. Standardized, they lie around zero, mostly between minus two and two.",
)
for ax, (title, values) in zip(
    axes,
    {"before": x, "centered": xmu, "standardized": xhat}.items(),
    strict=True,
):
    for feature, color in enumerate(["blue", "orange", "green", "pink"]):
        column = np.full(samples, feature + 1) + rng.uniform(
            -0.25, 0.25, samples
        )
        ax.plot(
            column,
            values[:, feature],
            linestyle="none",
            marker=MARKERS[color],
            color=COLORS[color],
            markersize=4,
        )
    ax.set(title=title, xlabel="feature", xticks=range(1, features + 1))
axes[0].set_ylabel("value")

# %%
# Change one sample
# -----------------
# The statistics belong to the whole batch. So when one sample changes, the output of all the
# others changes with it, although *their* inputs did not. Our layer
# :class:`~bn_tutorial.scratch.layers.BatchNorm1D` does the same six lines.

layer = BatchNorm1D(features, eps=eps)
y = layer.forward(x)
other = x.copy()
other[0] += 20.0
y_other = layer.forward(other)

moved = np.abs(y_other - y)[1:]
print(f"the other samples' outputs move by up to {moved.max():.2f}")

# %%
# In evaluation mode the statistics are constants, and the coupling is gone.

layer.eval()
moved_in_evaluation = np.abs(layer.forward(other) - layer.forward(x))[1:]
print(f"in evaluation mode they move by {moved_in_evaluation.max():.2f}")

# %%
# Record and check
# ----------------

record(
    "01_by_hand/plot_01_normalize_a_batch",
    {"moved": moved.max(), "moved_in_evaluation": moved_in_evaluation.max()},
)
assert np.abs(xhat.mean(axis=0)).max() < 1e-12
assert np.abs(xhat.var(axis=0) - var / (var + eps)).max() < 1e-12
assert np.abs(y - xhat).max() < 1e-12  # the layer does what the steps do
assert (moved > 0).all()  # every other sample moves...
assert moved.max() > 0.1
assert moved_in_evaluation.max() == 0  # ...and none in evaluation mode

# %%
# **What to notice.** Standardizing is a plain shift and stretch of each feature; the only unusual
# thing is where the shift and the stretch come from. They come from the whole batch.
# That is why the backward pass has two extra terms:
# :doc:`check them next <plot_02_check_the_gradient>`.
