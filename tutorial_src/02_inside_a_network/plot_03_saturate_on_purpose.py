"""
Saturate a network on purpose
=============================

**The question.** When *do* sigmoids saturate, and what does batch normalization do then?

**In short.** When the initial weights are large. With weights of standard deviation 1,
:value:`saturated_without:.0%` of the activations are saturated without batch normalization and
:value:`saturated_with:.1%` with it, and it makes the mean slope of the sigmoids larger, by
:effect:`BN - none, slope, weights of std 1`. With batch normalization the scale of the weights
makes almost no difference.

.. lead-figure::

**What was done.** A batch of 1,000 training images went through the untrained network (four hidden
layers of 256 sigmoids, no biases), with and without batch normalization, in training mode. All
weights were drawn with one standard deviation, from 0.01 to 3. There are 5 seeds; each decides the
random numbers that are scaled to make the weights. *Saturated* is an activation that is nearer than
1/20 to zero or one.

**You need** :doc:`the signal in this network <plot_02_follow_the_signal>`.
"""

import numpy as np
import torch
from torch import nn

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_spread, new_figure
from bn_tutorial.lab.study import table
from bn_tutorial.lab.training import device
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import saturated, signal, slope, watch

data = load()
seeds = range(100, 105)
scales = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]  # standard deviations of the weights
large = 1.0  # the one that is judged
samples = 1000
norms = {"without BN": None, "with BN": "batch"}
smallest = 0.01  # of slope that matters; the greatest is 0.25

x = data.standardize(data.train.images[:samples]).to(device())


# %%
# Sweep the scale of the weights
# ------------------------------
# Three things are looked at: the share of saturated activations and the mean slope of the sigmoids,
# over all layers, and the signal that reaches the last layer.


def measure(norm, scale, seed):
    """Return the three quantities of one untrained network."""
    model = DeepNet(norm=norm, init=scale, seed=seed).to(device()).train()
    with torch.no_grad(), watch(model, nn.Sigmoid) as signals:
        model(x)
    layers = list(signals.outputs.values())
    return {
        "saturated share": np.mean([saturated(layer) for layer in layers]),
        "mean slope": np.mean([slope(layer) for layer in layers]),
        "signal, last layer": signal(layers[-1]),
    }


runs = {
    arm: [[measure(norm, scale, seed) for scale in scales] for seed in seeds]
    for arm, norm in norms.items()
}
quantities = list(runs["with BN"][0][0])
measured = {  # each of shape (seeds, scales)
    (arm, quantity): np.array(
        [[found[quantity] for found in row] for row in runs[arm]]
    )
    for arm in norms
    for quantity in quantities
}
mean = {what: values.mean(axis=0) for what, values in measured.items()}
rows = {
    f"{quantity}, {arm}": [f"{v:.3f}" for v in mean[arm, quantity]]
    for quantity in quantities
    for arm in norms
}
print("standard deviation of the weights")
print(table(rows, columns=[f"{scale:g}" for scale in scales]))

# %%
# With small weights the sigmoids sit in the middle and the signal is lost on the way. With large
# ones they are driven to zero or one, where the slope is small. (The gradient need not vanish
# there: the weights that multiply it are large.) In between, both losses are smaller, but at no
# scale that was tried are both gone. With batch normalization the scale makes almost no difference:
# it is divided out again.
#
# The dotted line in the main figure marks PyTorch's default for a layer as wide as the hidden ones.

# fold: draw the three quantities against the scale
figure, axes = new_figure(
    1,
    len(quantities),
    lead=True,
    width=7.2,
    height=3.4,
    sharex=True,
    alt="Three panels against the standard deviation of the initial weights. The share of "
    "saturated activations: without batch normalization it is zero for small weights and rises "
    "towards one for large ones; with it it stays low and level. The mean slope of the sigmoids: "
    "without batch normalization it falls from one quarter towards zero, with it it stays level. "
    "The signal in the last layer: without batch normalization it is next to nothing for small "
    "weights and large for large ones, with it it is level. A vertical line marks PyTorch's "
    "default for hidden layers.",
)
default = (1 / (3 * 256)) ** 0.5  # of a layer of 256 inputs
for ax, quantity in zip(axes, quantities, strict=True):
    for arm, color in zip(norms, ("blue", "orange"), strict=True):
        draw_spread(ax, scales, measured[arm, quantity], color=color, label=arm)
    ax.axvline(
        default,
        color=COLORS["grey"],
        linestyle="dotted",
        label="PyTorch's default",
    )
    ax.set(xscale="log", ylim=(0, None))
    ax.set_title(quantity, fontsize=12)
figure.supxlabel("standard deviation of the initial weights", fontsize=12)
figure.legend(
    *axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3
)

# %%
# With large weights, the claim that batch normalization keeps the sigmoids where they are steep is
# true. The size of the effect, paired over the seeds; less than 0.01 does not matter:

evidence = Evidence(
    "02_inside_a_network/plot_03_saturate_on_purpose",
    data=data,
    seeds=seeds,
    horizon="untrained",
)
one = scales.index(large)
steeper = evidence.compare(
    f"BN - none, slope, weights of std {large:g}",
    measured["with BN", "mean slope"][:, one],
    measured["without BN", "mean slope"][:, one],
    unit="slope",
    smallest=smallest,
)
print(evidence.table())

# %%

# fold: keep the numbers, check what the words claim
share, slopes, reached = (
    {arm: mean[arm, quantity] for arm in norms} for quantity in quantities
)
ranges = {arm: np.ptp(measured[arm, "mean slope"], axis=1) for arm in norms}
evidence.note(
    seeds=len(seeds),
    scale=large,
    smallest_scale=scales[0],
    largest_scale=scales[-1],
    saturated_without=share["without BN"][one],
    saturated_with=share["with BN"][one],
    slope_without=slopes["without BN"][one],
    slope_with=slopes["with BN"][one],
    slope_range_with=ranges["with BN"].max(),
    slope_range_without=ranges["without BN"].min(),
)
evidence.save()
assert steeper.low > 0
both = (share["without BN"] < 0.05) & (
    reached["without BN"] > 0.5 * reached["with BN"]
)
assert not both.any()  # no scale keeps the signal and avoids saturation
assert share["without BN"][0] == 0  # small weights: nothing saturates...
assert share["without BN"][one] > 0.5  # ...large weights: most does
assert slopes["without BN"][one] < 0.1
falls = np.diff(measured["without BN", "mean slope"], axis=1)
assert (falls < 0).all()  # the slope only falls
for quantity in quantities:  # the scale makes no difference with BN
    assert np.ptp(measured["with BN", quantity], axis=1).max() < 0.01

# %%
# "Without batch normalization activations saturate" is true of large weights, and false of the
# weights that PyTorch gives you. Batch normalization prevents both, the loss of the signal and the
# saturation, because it fixes the spread of what enters the sigmoid.
#
# **Limits.** Untrained networks of one shape, and one batch.
#
# **Try it.** Add 10.0 at the end of ``scales``: without batch normalization nearly everything is
# saturated then, and with it nothing changes.
#
# Next: :doc:`what comes back through the layer </derivations/backward>`.
