"""
Choose which numbers share a mean
=================================

**The question.** How do Batch, Layer, Instance and Group normalization differ, and how can one see
it?

**In short.** In *which* numbers share a mean and a variance. (Once trained, also in which share a
gamma and a beta, and in whether running statistics are kept.) One can see it in what the output
ignores: when each channel is shifted and stretched, the output of Batch normalization stays the
same within :value:`batch_channel:.0e`, while that of Layer normalization changes by up to
:value:`layer_channel:.1f`. A histogram of all output values does not show it: for each of the four
the mean is zero and the standard deviation at least :value:`smallest_pooled_std:.4f`.

.. lead-figure::

**What was done.** Batch, Layer, Instance and Group normalization (2 groups) were given the same
batch of 8 random images with 6 channels of 5 x 5 pixels. Each channel of each sample has a mean and
a spread of its own.

The equations are the same for all four; :doc:`/derivations/other_axes` says why.

**You need** :doc:`what the normalizations pool </derivations/other_axes>`.
"""

import numpy as np

from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_pooled, new_figure
from bn_tutorial.lab.study import table
from bn_tutorial.scratch.layers import (
    BatchNorm2D,
    GroupNorm,
    InstanceNorm2D,
    LayerNorm,
)

samples, channels, height, width = shape = (8, 6, 5, 5)
groups = 2
rng = np.random.default_rng(0)

layers = {
    "Batch": BatchNorm2D(channels),
    "Layer": LayerNorm((channels, height, width)),
    "Instance": InstanceNorm2D(channels),
    f"Group ({groups})": GroupNorm(groups, channels),
}

# %%
# What is pooled
# --------------
# A batch of images is a block of numbers: samples deep, channels wide, and the pixels of each image
# stacked upwards. The marked numbers share one mean and one variance with the one at the
# lower right corner of the front.

# fold: draw what is pooled
n, c, _ = np.indices(
    (4, channels, 4)
)  # sample, channel and pixel of each number of a small block
pooled = {
    "Batch": c == channels - 1,
    "Layer": n == 0,
    "Instance": (n == 0) & (c == channels - 1),
    f"Group ({groups})": (n == 0) & (c >= channels - channels // groups),
}
figure, axes = new_figure(
    1,
    4,
    lead=True,
    width=7.2,
    height=2.4,
    alt="Four blocks of numbers: samples deep, channels wide, pixels high. Marked are, for Batch, "
    "the slab of one channel through all samples; for Layer, the whole front slab of one sample; "
    "for Instance, one column of one sample and channel; for Group, the last channels of the "
    "front slab.",
)
for ax, (title, marked) in zip(axes, pooled.items(), strict=True):
    draw_pooled(ax, marked)
    ax.set_title(title, fontsize=12)

# %%
# Where the output has mean zero and variance one
# -----------------------------------------------
# So each normalization leaves mean zero and variance one over the axes that it pools, and in
# general not over others. The table gives, for the input and for each output, the greatest absolute
# mean of any slice, and the greatest distance of its variance from one.

x = rng.normal(size=shape)
x = x * rng.uniform(1, 5, (samples, channels, 1, 1)) + rng.normal(
    0, 5, (samples, channels, 1, 1)
)
slices = {
    "one channel": lambda a: a.transpose(1, 0, 2, 3).reshape(channels, -1),
    "one sample": lambda a: a.reshape(samples, -1),
    "one of both": lambda a: a.reshape(samples * channels, -1),
    "one group": lambda a: a.reshape(samples * groups, -1),
}
outputs = {"input": x} | {
    name: layer.forward(x) for name, layer in layers.items()
}


def distance(values):
    """Return the greatest absolute mean, and the greatest distance of a variance from one."""
    return np.abs(values.mean(axis=1)).max(), np.abs(
        values.var(axis=1) - 1
    ).max()


distances = {
    name: {over: distance(cut(output)) for over, cut in slices.items()}
    for name, output in outputs.items()
}
for number, words in enumerate(("|mean|", "|variance - 1|")):
    rows = {
        name: [f"{found[number]:.2f}" for found in row.values()]
        for name, row in distances.items()
    }
    print(f"greatest {words} of the values of")
    print(table(rows, columns=list(slices)), end="\n\n")

# %%
# What the output ignores
# -----------------------
# Shift and stretch as a whole what is pooled together, and the output stays the same. So in
# training mode the output of Batch normalization does not depend on the brightness that a channel
# has over the whole batch; that of Layer normalization does not depend on the brightness of a
# sample.

scale, shift = rng.uniform(0.5, 2, shape), rng.normal(size=shape)
changes = {
    "each channel": np.s_[:1, :, :1, :1],
    "each sample": np.s_[:, :1, :1, :1],
}
ignored = {
    name: {
        what: np.abs(
            layer.forward(scale[part] * x + shift[part]) - outputs[name]
        ).max()
        for what, part in changes.items()
    }
    for name, layer in layers.items()
}
print("greatest change of the output when a scale and a shift are given to")
rows = {
    name: [f"{change:.0e}" for change in row.values()]
    for name, row in ignored.items()
}
print(table(rows, columns=list(changes)))

# %%
# Why a histogram cannot tell them apart
# --------------------------------------
# The teaching notebook that this site began as drew the histogram of *all* output values of each
# normalization, for a small block. Whatever is pooled, the values together have mean zero and
# variance one. So the histogram says next to nothing about *what* was pooled. (And its Group
# normalization had one group, which is Layer normalization again.)

small = rng.normal(3.0, 5.0, (4, 3, 2, 2))
notebook = {
    "Batch": BatchNorm2D(3),
    "Layer": LayerNorm((3, 2, 2)),
    "Instance": InstanceNorm2D(3),
    "Group (1)": GroupNorm(1, 3),
}
values = {
    name: layer.forward(small).ravel() for name, layer in notebook.items()
}
rows = {
    name: [f"{value.mean():z.4f}", f"{value.std():.4f}"]
    for name, value in values.items()
}
print(table(rows, columns=["mean", "standard deviation"]))

# %%

# fold: draw the histograms
figure, axes = new_figure(
    1,
    4,
    width=7.2,
    height=2.4,
    sharey=True,
    alt="Four histograms of all output values of Batch, Layer, Instance and Group normalization. "
    "All are centered on zero and equally wide; Layer and Group are the same.",
)
for ax, (title, value) in zip(axes, values.items(), strict=True):
    ax.hist(
        value,
        bins=12,
        range=(-3, 3),
        color=COLORS["orange" if title == "Batch" else "purple"],
    )
    ax.set(title=title, xlabel="output", xticks=[-2, 0, 2])
axes[0].set_ylabel("count")

# %%

# fold: keep the numbers, check what the words claim
evidence = Evidence("02_inside_a_network/plot_04_pool_other_axes")
evidence.note(
    batch_channel=ignored["Batch"]["each channel"],
    layer_channel=ignored["Layer"]["each channel"],
    greatest_pooled_mean=max(abs(value.mean()) for value in values.values()),
    smallest_pooled_std=min(value.std() for value in values.values()),
    layer_group_apart=np.abs(values["Layer"] - values["Group (1)"]).max(),
)
evidence.save()
own = dict(
    zip(layers, slices, strict=True)
)  # the slices that each normalization pools
for name, row in distances.items():
    for over, (mean, var) in row.items():
        # Instance normalization is at zero and one in every larger slice as well.
        if over == own.get(name) or name == "Instance":
            assert max(mean, var) < 1e-3, (name, over)
for name, over in {
    "Batch": "one sample",
    "Layer": "one channel",
    f"Group ({groups})": "one channel",
}.items():
    assert max(distances[name][over]) > 0.1, (name, over)
assert ignored["Batch"]["each channel"] < 1e-3 < ignored["Batch"]["each sample"]
assert ignored["Layer"]["each sample"] < 1e-3 < ignored["Layer"]["each channel"]
assert max(ignored["Instance"].values()) < 1e-3
assert all(
    abs(value.mean()) < 1e-6 and abs(value.std() - 1) < 1e-3
    for value in values.values()
)
assert np.abs(values["Layer"] - values["Group (1)"]).max() < 1e-12

# %%
# To see what a normalization does, look along the axes that it pools. Layer, Instance and Group
# normalization stay within a sample, so they have one mode and need no batch (unless one asks
# Instance normalization for running statistics).
#
# **Limits.** One batch of random numbers, and no training: it shows what each layer leaves out, not
# which of them trains better.
#
# **Try it.** Change ``groups`` in the settings to 3: the rows of Group normalization change, and
# the column *one group*; the rest stays.
#
# Next: :doc:`train a convolutional network
# </gallery/04_in_real_networks/plot_01_train_a_convolutional_network>`.
