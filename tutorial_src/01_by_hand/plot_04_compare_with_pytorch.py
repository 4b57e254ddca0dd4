"""
Compare every layer with PyTorch
================================

**The question.** How exact are the layers of this site, and would the comparison notice an error?

**Varied:** the layer, the precision, the mode, the quantity; and, to test the test, errors that
are put into the layer on purpose.

**Held fixed:** the random batches; scale, shift and upstream gradients are random as well, because
ones and zeros hide errors.

The equations are derived in :doc:`/derivations/forward` and the pages that follow it.
"""

import numpy as np
import torch
from torch import nn

from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, MARKERS, new_figure
from bn_tutorial.scratch import layers
from bn_tutorial.scratch.conformance import MODES, differences
from bn_tutorial.scratch.faults import FAULTS

features, sequences = (64, 6), (16, 6, 20)
images, volumes = (16, 6, 5, 4), (16, 6, 5, 2, 2)
tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}
short = dict(zip(MODES, ("train", "eval"), strict=True))

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
quantities = ["y", "dx", "dgamma", "dbeta", "running_mean", "running_var"]

# %%
# The table
# ---------
# Each number is the greatest difference of any element, over a few batches in training mode and one
# in evaluation mode, relative to the greatest value of PyTorch's. The last two columns are the
# running mean and variance. A dash stands where a layer has no such quantity.


def print_row(name, mode, found):
    """Print a line of the table."""
    cells = (found.get((mode, quantity)) for quantity in quantities)
    texts = ("-" if cell is None else f"{cell:.0e}" for cell in cells)
    print(
        f"{name:<31} {short[mode]:<5}",
        *(f"{text:>7}" for text in texts),
        sep="",
    )


def print_head(dtype):
    """Print the heading of a table."""
    columns = (quantity.removeprefix("running_") for quantity in quantities)
    title = f"{str(dtype)[6:]}, tolerance {tolerance[dtype]:.0e}"
    print(f"{title:<37}", *(f"{column:>7}" for column in columns), sep="")


greatest = {}
for dtype in tolerance:
    print_head(dtype)
    for name, (ours, theirs, shape) in pairs.items():
        found = differences(ours, theirs.to(dtype), shape)
        greatest[name, dtype] = max(found.values())
        for mode in MODES:
            print_row(name, mode, found)
    print()

# %%
# In double precision the two agree to the last digits. In single precision both round, and in
# another order, so the last digits differ. The table says that ours is as PyTorch's, not which of
# the two is nearer to the truth: for that, see :doc:`the next page <plot_05_compute_a_variance>`.
#
# Test the test
# -------------
# A comparison that accepts everything would print the same table. So here is the same for layers
# with one error each.

print_head(torch.float64)
worst = {}
for fault, layer in FAULTS.items():
    found = differences(
        layer(6), nn.BatchNorm1d(6, dtype=torch.float64), features
    )
    worst[fault] = max(found.values())
    for mode in MODES:
        print_row(fault, mode, found)

# %%
# Which error is it?
# ------------------
# The table says where a layer deviates. By how much follows from the error, in closed form: below,
# an arrow leads from what is right to what the faulty layer has in its place. Let us change
# PyTorch's values in that way, and compare again. With the trace of its own error nothing of a
# difference is left, with that of any other error something is. So an unknown error can be told by
# trying the traces one after the other.


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
print(
    f"{'left over with the trace':<34}{'of its own':>12}{'nearest other':>15}"
)
for fault in FAULTS:
    own[fault] = left_over(fault, fault)
    nearest[fault] = min(left_over(fault, t) for t in FAULTS if t != fault)
    print(f"{fault:<34}{own[fault]:>12.0e}{nearest[fault]:>15.0e}")
    print(f"    {FAULTS[fault].form}")

# %%
# Both in one picture
# -------------------

figure, ax = new_figure(
    height=5.9,
    alt="The greatest difference from PyTorch on a logarithmic axis. The nine correct layers lie "
    "far below the tolerance in double precision, and below that of single precision in single "
    "precision. All eight layers with an error lie far above the tolerance in double precision.",
)
names = [*pairs, *FAULTS]
rows = np.arange(len(names))[::-1]
for dtype, color in {torch.float64: "blue", torch.float32: "green"}.items():
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
    "marker": MARKERS["orange"],
    "color": COLORS["orange"],
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
# Record and check
# ----------------

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
# **What to notice.** The smallest of the errors, an epsilon on the wrong side of the root, changes
# the sixth digit. In single precision, with a generous tolerance, nobody would see it: check in
# double precision first. An error that is found can also be named, by the form of its trace.
# Next: :doc:`how to compute a variance <plot_05_compute_a_variance>`.
