"""
Check the gradient
==================

**The question.** Is the backward pass right, and would the check notice if it were not?

**In short.** It is right: the error of the correct formulas is at most :value:`right:.0e`, which is
round-off. With a random upstream gradient the check notices each of four wrong formulas, with an
error of at least :value:`smallest_wrong:.1g`. With one of ones it misses one of them: the formula
without the variance term passes, with an error of :value:`variance_term_ones:.0e`.

.. lead-figure::

**What was done.** The gradient of the input, *dx*, was computed by correct and by wrong formulas,
and compared with central differences. In training mode it is right step by step, and by the *closed
form* into which the steps combine; two wrong formulas leave out one of its terms, a third takes
mean and variance for constants. In evaluation mode they *are* constants, and there the closed form
is wrong. The batch (16 samples, 4 features), scale, shift and running statistics were drawn at
random once. The *upstream gradient*, the one that arrives at the layer's output, is random or made
of ones.

The formulas are derived in :doc:`/derivations/backward` and :doc:`/derivations/inference`.

**You need** :doc:`the backward pass </derivations/backward>`.
"""

import numpy as np

from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, MARKERS, new_figure
from bn_tutorial.lab.study import table
from bn_tutorial.scratch import functional
from bn_tutorial.scratch.faults import FAULTS
from bn_tutorial.scratch.gradcheck import compare, numerical_gradient
from bn_tutorial.scratch.layers import BatchNorm1D


class BySteps(BatchNorm1D):
    """Our layer with the gradient of the derivation's first half, one node at a time."""

    def _backward_with_batch(self, dy, cache):
        return functional.batch_norm_backward_by_steps(dy, cache)


shape = (16, 4)  # samples, features
right = {  # the layer, and whether it is in training mode
    "closed form": (BatchNorm1D, True),
    "step by step": (BySteps, True),
    "evaluation: constants": (BatchNorm1D, False),
}
wrong = {
    "without variance term": (FAULTS["variance term dropped"], True),
    "without mean term": (FAULTS["mean term dropped"], True),
    "statistics as constants": (FAULTS["statistics detached"], True),
    "evaluation: closed form": (
        FAULTS["training gradient in evaluation"],
        False,
    ),
}

# %%
# Draw everything at random
# -------------------------
# With a scale of one and a shift of zero, an error in either of them would not show.

rng = np.random.default_rng(0)
x = rng.normal(3.0, 5.0, shape)
features = shape[1]
state = BatchNorm1D(features).state_dict()
state["weight"] = rng.normal(0.5, 1.0, features)
state["bias"] = rng.normal(size=features)
state["running_mean"] = rng.normal(size=features)
state["running_var"] = rng.uniform(1, 9, features)
upstream = {"random": rng.normal(size=shape), "ones": np.ones(shape)}


# %%
# The error of a gradient
# -----------------------
# Central differences, :eq:`eq-central-difference`, do not use our formula: they move each input a
# little and see how the output changes. The error of a formula is its greatest distance from them,
# relative to the greatest gradient (to one, where that is smaller than one).


def gradient_error(layer, training, dy):
    """Compare the gradient that a layer computes with the one that its output shows."""
    layer.load_state_dict(state)
    forward = layer.train(training).forward
    numerical = numerical_gradient(forward, x, dy)
    forward(x)
    return compare(layer.backward(dy), numerical).error


# %%
# Compare every formula
# ---------------------

errors = {
    name: {
        kind: gradient_error(layer(features), training, dy)
        for kind, dy in upstream.items()
    }
    for name, (layer, training) in {**right, **wrong}.items()
}
rows = {
    name: [f"{error[kind]:.0e}" for kind in upstream]
    for name, error in errors.items()
}
print("error of dx, with an upstream gradient that is")
print(table(rows, columns=list(upstream)))

# %%
# The right formulas, the first three, are off by round-off only. The last one is an error of the
# teaching notebook that this site began as: it used the training gradient in evaluation mode as
# well. The main figure shows the table.

# fold: draw the errors
figure, ax = new_figure(
    lead=True,
    width=7.2,
    height=3.8,
    alt="The error of seven gradient formulas on a logarithmic axis, for a random "
    "upstream gradient and for one of ones. The two correct training formulas and the evaluation "
    "formula have errors near round-off for both. The wrong formulas have large errors for the "
    "random one; for ones, the formula without the variance term looks as good as the right ones.",
)
at = np.arange(len(errors))
for (kind, color), up in zip(
    {"random": "green", "ones": "pink"}.items(), (-0.06, 0.2), strict=True
):
    ax.plot(
        [max(error[kind], 1e-14) for error in errors.values()],
        at + up,
        linestyle="none",
        marker=MARKERS[color],
        color=COLORS[color],
        markersize=7,
        label=f"upstream gradient: {kind}",
    )
ax.axhline(len(right) - 0.7, color=COLORS["grey"], linewidth=1)
between = {
    "transform": ax.get_yaxis_transform(),
    "ha": "right",
    "fontsize": 10,
}
ax.text(0.99, len(right) - 0.75, "right", va="bottom", **between)
ax.text(0.99, len(right) - 0.65, "wrong", va="top", **between)
ax.set(
    xscale="log",
    xlim=(3e-15, 30),
    xlabel="error of dx",
    yticks=at,
    yticklabels=list(errors),
)
ax.invert_yaxis()
figure.legend(loc="outside upper left", ncols=2)

# %%
# The check that passes a wrong formula
# -------------------------------------
# With an upstream gradient of ones the loss is the sum of the outputs. In training mode that sum is
# fixed by beta, and the input cannot change it, so the true gradient is zero. A formula without the
# variance term gives zero as well, because standardized values sum to zero. A test that uses ones
# therefore passes code that is wrong.

# fold: keep the numbers, check what the words claim
evidence = Evidence("01_by_hand/plot_02_check_the_gradient")
evidence.note(
    right=max(errors[name]["random"] for name in right),
    smallest_wrong=min(errors[name]["random"] for name in wrong),
    variance_term_ones=errors["without variance term"]["ones"],
    notebook_in_evaluation=errors["evaluation: closed form"]["random"],
)
evidence.save()
for name in right:
    assert max(errors[name].values()) < 1e-8, name
for name in wrong:
    assert errors[name]["random"] > 1e-2, name
assert errors["without variance term"]["ones"] < 1e-8  # it passes

# %%
# So a gradient check should use a random upstream gradient, and a scale and shift that are not one
# and zero, as those of this site do.
#
# **Limits.** One random batch, in double precision. Central differences have a round-off of their
# own: an error as small as that would not be seen.
#
# **Try it.** Change ``shape`` in the settings to ``(4, 4)``: the formula without the mean term is
# then further off, because each sample has a larger share in the mean.
#
# Next: :doc:`the layer inside a network <plot_03_train_with_our_layer>`.
