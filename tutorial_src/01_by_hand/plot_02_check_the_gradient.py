"""
Check the gradient
==================

**The question.** Is the backward pass right, and would the check notice if it were not?

**Varied:** the formula for the gradient of the input (ours, and some that are wrong), the mode, and
the upstream gradient.

**Held fixed:** the batch, scale and shift, drawn at random once.

The formulas are derived in :doc:`/derivations/backward` and :doc:`/derivations/inference`.
"""

import numpy as np

from bn_tutorial.scratch import functional
from bn_tutorial.scratch.faults import FAULTS
from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.figures import COLORS, MARKERS, new_figure
from bn_tutorial.scratch.gradcheck import compare, numerical_gradient
from bn_tutorial.scratch.layers import BatchNorm1D

shape = (16, 4)
rng = np.random.default_rng(0)

x = rng.normal(3.0, 5.0, shape)
state = BatchNorm1D(shape[1]).state_dict()
state["weight"], state["bias"] = (
    rng.normal(0.5, 1.0, shape[1]),
    rng.normal(size=shape[1]),
)
state["running_mean"], state["running_var"] = (
    rng.normal(size=shape[1]),
    rng.uniform(1, 9, shape[1]),
)


# %%
# The error of a gradient
# -----------------------
# Central differences (:eq:`eq-central-difference`) know nothing of our formula: they move each
# input a little and see how the output changes. The error of a formula is its greatest distance
# from them, relative to the greatest gradient (to one, where that is smaller than one).


def gradient_error(layer, training, dy):
    """Compare the gradient that a layer computes with the one that its output shows."""
    layer.load_state_dict(state)
    forward = layer.train(training).forward
    numerical = numerical_gradient(forward, x, dy)
    forward(x)
    return compare(layer.backward(dy), numerical).error


class BySteps(BatchNorm1D):
    """Our layer with the gradient of the derivation's first half, one node at a time."""

    def _backward_with_batch(self, dy, cache):
        return functional.batch_norm_backward_by_steps(dy, cache)


random_dy, ones = rng.normal(size=shape), np.ones(shape)
candidates = {
    "closed form": (BatchNorm1D, True),
    "step by step": (BySteps, True),
    "without variance term": (FAULTS["variance term dropped"], True),
    "without mean term": (FAULTS["mean term dropped"], True),
    "statistics as constants": (FAULTS["statistics detached"], True),
    "evaluation: constants": (BatchNorm1D, False),
    "evaluation: closed form": (
        FAULTS["training gradient in evaluation"],
        False,
    ),
}
errors = {
    name: {
        "random": gradient_error(layer(shape[1]), training, random_dy),
        "ones": gradient_error(layer(shape[1]), training, ones),
    }
    for name, (layer, training) in candidates.items()
}
for name, error in errors.items():
    print(
        f"{name:<26}random {error['random']:8.1e}   ones {error['ones']:8.1e}"
    )

# %%
# Right formulas end at the left, where only round-off is left; wrong ones at the right.
# The last one is the notebook's: it used the training gradient in evaluation mode as well.

figure, ax = new_figure(
    height=3.8,
    alt="The error of seven gradient formulas on a logarithmic axis, for a random "
    "upstream gradient and for one of ones. The two correct training formulas and the evaluation "
    "formula have errors near round-off for both. The wrong formulas have large errors for the "
    "random one; for ones, the formula without the variance term looks as good as the right ones.",
)
rows = np.arange(len(errors))[::-1]
for upstream, color in {"random": "blue", "ones": "orange"}.items():
    ax.plot(
        [max(error[upstream], 1e-17) for error in errors.values()],
        rows + (0.12 if upstream == "random" else -0.12),
        linestyle="none",
        marker=MARKERS[color],
        color=COLORS[color],
        markersize=7,
        label=f"upstream gradient: {upstream}",
    )
ax.set(
    xscale="log", xlabel="error of dx", yticks=rows, yticklabels=list(errors)
)
ax.set_xlim(1e-13, 30)
figure.legend(loc="outside upper left", ncols=2)

# %%
# The vacuous check
# -----------------
# With an upstream gradient of ones the loss is the sum of the outputs. In training mode that sum is
# fixed by beta, whatever the input, so the true gradient is zero. A formula without the variance
# term gives zero as well, because standardized values sum to zero. A test that uses ones therefore
# passes code that is wrong.

right = ["closed form", "step by step", "evaluation: constants"]
record(
    "01_by_hand/plot_02_check_the_gradient",
    {
        "right": max(errors[name]["random"] for name in right),
        "smallest_wrong": min(
            e["random"] for n, e in errors.items() if n not in right
        ),
        "variance_term_ones": errors["without variance term"]["ones"],
        "notebook_in_evaluation": errors["evaluation: closed form"]["random"],
    },
)
for name, error in errors.items():
    if name in right:
        assert max(error.values()) < 1e-8, name
    else:
        assert error["random"] > 1e-2, name
assert (
    errors["without variance term"]["ones"] < 1e-8
)  # the vacuous check passes it

# %%
# **What to notice.** A check is worth as much as the errors that it catches. Every comparison on
# this site uses a random upstream gradient, and a scale and shift that are not one and zero.
# Next: :doc:`the layer inside a network <plot_03_train_with_our_layer>`.
