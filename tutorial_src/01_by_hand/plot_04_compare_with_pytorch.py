"""
Compare every layer with PyTorch
================================

**The question.** How exact are the layers of this site, and would the comparison notice an error?

**In short.** All :value:`layers` layers agree with PyTorch's to the last digits: the greatest
relative difference is :value:`greatest_float64:.0e` in double precision and
:value:`greatest_float32:.0e` in single precision. The comparison would notice an error: of
:value:`faults` that were put into a layer on purpose, the smallest shows as
:value:`smallest_fault:.0e`. It can even tell which one it is.

.. lead-figure::

**What was done.** Each layer was compared with PyTorch's in double and in single precision, in
training mode and in evaluation mode: outputs, gradients and running statistics, on a few random
batches. Scale, shift and upstream gradients are random as well, because ones and zeros hide errors.
Then the same was done with layers that have one error each.

The equations are derived in :doc:`/derivations/forward` and the pages that follow it.

**You need** :doc:`evaluation mode </derivations/inference>`.
"""

import numpy as np
import torch
from torch import nn

from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, MARKERS, new_figure
from bn_tutorial.lab.study import table
from bn_tutorial.scratch import layers
from bn_tutorial.scratch.conformance import MODES, differences
from bn_tutorial.scratch.faults import FAULTS

features, sequences = (64, 6), (16, 6, 20)
images, volumes = (16, 6, 5, 4), (16, 6, 5, 2, 2)
tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}  # to be called equal

pairs = {
    "BatchNorm1D": (layers.BatchNorm1D(6), nn.BatchNorm1d(6), features),
    "BatchNorm2D": (layers.BatchNorm2D(6), nn.BatchNorm2d(6), images),
    "BatchNorm3D": (layers.BatchNorm3D(6), nn.BatchNorm3d(6), volumes),
    "LayerNorm": (
        layers.LayerNorm(images[1:]),
        nn.LayerNorm(images[1:]),
        images,
    ),
    "InstanceNorm1D": (
        layers.InstanceNorm1D(6, affine=True, track_running_stats=True),
        nn.InstanceNorm1d(6, affine=True, track_running_stats=True),
        sequences,
    ),
    "InstanceNorm2D": (
        layers.InstanceNorm2D(6, affine=True, track_running_stats=True),
        nn.InstanceNorm2d(6, affine=True, track_running_stats=True),
        images,
    ),
    "InstanceNorm3D": (
        layers.InstanceNorm3D(6, affine=True, track_running_stats=True),
        nn.InstanceNorm3d(6, affine=True, track_running_stats=True),
        volumes,
    ),
    "GroupNorm": (layers.GroupNorm(3, 6), nn.GroupNorm(3, 6), images),
    "RMSNorm": (layers.RMSNorm(images[1:]), nn.RMSNorm(images[1:]), images),
}
quantities = {
    "y": "y",
    "dx": "dx",
    "dgamma": "dgamma",
    "dbeta": "dbeta",
    "running_mean": "mean",
    "running_var": "variance",
}
modes = dict(zip(MODES, ("train", "eval"), strict=True))

# %%
# The table
# ---------
# Each number is the greatest difference of any element, over a few batches in training mode and one
# in evaluation mode, relative to the greatest value of PyTorch's. The last two columns are the
# running mean and variance. A dash stands where a layer has no such quantity.


def rows_of(name, found):
    """Put the differences of a layer into words, a row for each mode."""
    return {
        f"{name}, {word}": [
            f"{found[mode, quantity]:.0e}" if (mode, quantity) in found else "-"
            for quantity in quantities
        ]
        for mode, word in modes.items()
    }


greatest = {}
for dtype in tolerance:
    rows = {}
    for name, (ours, theirs, shape) in pairs.items():
        found = differences(ours, theirs.to(dtype), shape)
        greatest[name, dtype] = max(found.values())
        rows |= rows_of(name, found)
    print(f"{str(dtype)[6:]}, tolerance {tolerance[dtype]:.0e}")
    print(table(rows, columns=list(quantities.values())), end="\n\n")

# %%
# In double precision the two agree to the last digits. In single precision both round, and in
# another order, so the last digits differ. The table says that our values are PyTorch's, not which
# of the two are nearer to the exact ones: for that, see
# :doc:`another page <plot_05_compute_a_variance>`.
#
# Test the test
# -------------
# A comparison that accepts everything would print the same table. So here is the same for layers
# with one error each, in double precision.

rows, worst = {}, {}
for fault, layer in FAULTS.items():
    found = differences(
        layer(6), nn.BatchNorm1d(6, dtype=torch.float64), features
    )
    worst[fault] = max(found.values())
    rows |= rows_of(fault, found)
print(table(rows, columns=list(quantities.values())))

# %%
# The smallest of these errors, an epsilon on the wrong side of the root, changes the sixth digit.
# In single precision, with a generous tolerance, nobody would see it: check in double precision
# first.
#
# Which error is it?
# ------------------
# The table says where a layer deviates. By how much follows from the error, in closed form, which
# we call its *trace*: below, an arrow leads from what is right to what the faulty layer has in its
# place. Let us change PyTorch's values in that way, and compare again. With the trace of its own
# error, no difference is left; with that of another error, there is one. So an unknown error can be
# found by trying the traces one after the other.


def left_over(fault, trace):
    """Compare a faulty layer with what PyTorch's would be with an error."""
    found = differences(
        FAULTS[fault](6),
        nn.BatchNorm1d(6, dtype=torch.float64),
        features,
        expected=FAULTS[trace].predict,
    )
    return max(found.values())


own, nearest = {}, {}
for fault in FAULTS:
    own[fault] = left_over(fault, fault)
    nearest[fault] = min(left_over(fault, t) for t in FAULTS if t != fault)
rows = {
    fault: [f"{own[fault]:.0e}", f"{nearest[fault]:.0e}"] for fault in FAULTS
}
print("what is left over with the trace of")
print(table(rows, columns=["its own error", "the nearest other"]), end="\n\n")
for fault, layer in FAULTS.items():
    print(f"{fault}:\n    {layer.form}")

# %%

# fold: draw right and faulty layers
figure, ax = new_figure(
    lead=True,
    width=7.2,
    height=5.9,
    alt="The greatest difference from PyTorch on a logarithmic axis. The nine correct layers lie "
    "far below the tolerance in double precision, and below that of single precision in single "
    "precision. All eight layers with an error lie far above the tolerance in double precision.",
)
names = [*pairs, *FAULTS]
rows = np.arange(len(names))[::-1]
for dtype, color in {torch.float64: "green", torch.float32: "purple"}.items():
    label = f"correct, {str(dtype)[6:]}"
    style = {
        "linestyle": "none",
        "marker": MARKERS[color],
        "color": COLORS[color],
    }
    ax.plot(
        [greatest[name, dtype] for name in pairs],
        rows[: len(pairs)],
        label=label,
        **style,
    )
    ax.axvline(
        tolerance[dtype], color=COLORS[color], linestyle="dotted", linewidth=1.5
    )
style = {
    "linestyle": "none",
    "marker": MARKERS["pink"],
    "color": COLORS["pink"],
}
ax.plot(
    list(worst.values()),
    rows[len(pairs) :],
    label="with an error, float64",
    **style,
)
ax.set(
    xscale="log",
    yticks=rows,
    yticklabels=names,
    xlabel="greatest relative difference",
)
figure.legend(loc="outside upper left", ncols=3, fontsize=10)

# %%
# The dotted lines are the tolerances.

# fold: keep the numbers, check what the words claim
evidence = Evidence("01_by_hand/plot_04_compare_with_pytorch")
evidence.note(
    layers=len(pairs),
    greatest_float64=max(greatest[name, torch.float64] for name in pairs),
    greatest_float32=max(greatest[name, torch.float32] for name in pairs),
    faults=len(FAULTS),
    smallest_fault=min(worst.values()),
    left_over_own_trace=max(own.values()),
    left_over_nearest_other=min(nearest.values()),
)
evidence.save()
for (name, dtype), difference in greatest.items():
    assert difference < tolerance[dtype], (name, dtype, difference)
for fault, difference in worst.items():
    assert difference > 1000 * tolerance[torch.float64], (fault, difference)
    assert own[fault] < tolerance[torch.float64], (fault, own[fault])
    assert nearest[fault] > 1000 * tolerance[torch.float64], fault

# %%
# So the comparison does not only find an error, it also says which one it is.
#
# **Limits.** A few small random batches for each layer, one version of PyTorch, one kind of
# processor. Of errors, only those that were put in are known to be noticed.
#
# **Try it.** Change the tolerance of ``torch.float32`` in the settings to 1e-7, which is what
# single precision can tell apart: the check at the end stops the script, and names a layer that
# rounds differently from PyTorch's.
#
# Next: :doc:`what the layer does to the weights before it </derivations/weights>`.
