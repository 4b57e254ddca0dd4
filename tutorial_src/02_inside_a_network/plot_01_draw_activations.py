"""
Draw the activations, and see what a histogram hides
====================================================

**The question.** What do the activations of a deep sigmoid network look like, with and without
batch normalization?

**Varied:** batch normalization, the mode of the network, and the input (noise or images).

**Held fixed:** the network of the notebook that this site grew out of, untrained, and its initial
weights.
"""

import numpy as np
import torch
from torch import nn

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.figures import COLORS, new_figure
from bn_tutorial.lab.training import device
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import saturated, signal, watch

data = load()
seed = 0
# From another generator than the weights': with the same one and the same seed, each row of noise
# would be made of the very numbers that became a unit's weights, and excite that unit.
noise = np.random.default_rng(seed).normal(size=(1000, 784))
noise = torch.from_numpy(noise).float().to(device())
images = data.standardize(data.test.images[:1000]).to(device())
plain, normalized = (
    DeepNet(norm=norm, seed=seed).to(device()) for norm in (None, "batch")
)


def activations(model, x, training):
    """Return the outputs of the sigmoids, layer by layer, each of shape (samples, units)."""
    with torch.no_grad(), watch(model.train(training), nn.Sigmoid) as signals:
        model(x)
    return list(signals.outputs.values())


def draw_histograms(rows, alt):
    """Draw a row of histograms for each network, a column for each layer."""
    figure, axes = new_figure(
        len(rows), 4, alt=alt, height=4.4, sharex=True, sharey=True
    )
    for row, (title, layers) in zip(axes, rows.items(), strict=True):
        for number, (ax, layer) in enumerate(zip(row, layers, strict=True), 1):
            color = COLORS["blue" if "without" in title else "orange"]
            ax.hist(
                layer.flatten().cpu().numpy(),
                bins=50,
                range=(0, 1),
                color=color,
                density=True,
            )
            ax.set_title(f"layer {number}\nstd {layer.std():.2f}", fontsize=11)
            ax.set(xlim=(0, 1), xticks=[0, 0.5, 1], yticks=[])
            ax.set_xticklabels(["0", "½", "1"])
            ax.grid(visible=False)
        row[0].set_ylabel(title)
    figure.supxlabel("activation", fontsize=12)


# %%
# The figure as the notebook drew it
# ----------------------------------
# It sends noise through both networks, and it switches the one with batch normalization to
# evaluation mode. But nobody has trained this network: its running mean is still zero and its
# running variance one. With those, batch normalization does next to nothing.

plain_noise = activations(plain, noise, training=False)
evaluated = activations(normalized, noise, training=False)
draw_histograms(
    {"without BN": plain_noise, "with BN, evaluation": evaluated},
    alt="Histograms of the activations of four layers, for noise. Without batch normalization and "
    "with it in evaluation mode the two rows look alike: peaks around one half, wide in the first "
    "layer and narrow in the others.",
)

# %%
# The two rows are alike, so this figure says nothing about batch normalization. It does say
# something about the network without: its activations do *not* saturate. A saturated sigmoid sits
# near zero or one (say, nearer than a twentieth); these sit at one half.
#
# The same in training mode, on images
# ------------------------------------
# In training mode each unit is normalized with the statistics of the batch. Now the rows differ.

plain_images = activations(plain, images, training=True)
trained = activations(normalized, images, training=True)
trained_noise = activations(normalized, noise, training=True)
draw_histograms(
    {"without BN": plain_images, "with BN, training": trained},
    alt="Histograms of the activations of four layers, for images. Without batch normalization "
    "they are peaks around one half, broad in the first layer and narrow in the others. With it in "
    "training mode every layer has the same broad bell from near zero to near one.",
)

# %%
# What the pooled histogram still hides
# -------------------------------------
# A histogram over all units mixes two kinds of spread: units differ from each other, and one unit
# differs from sample to sample. Only the second carries information about the input. Here it is
# alone, as the standard deviation of a unit over the samples, averaged over the units.


def over_samples(layers):
    """Return the signal, layer by layer."""
    return [signal(layer) for layer in layers]


pooled = [layer.std().item() for layer in plain_images]
table = {
    "pooled": pooled,
    "over the samples": over_samples(plain_images),
    "with BN, over the samples": over_samples(trained),
}
print("std of activations, layer     1        2        3        4")
for name, values in table.items():
    print(f"{name:<26}", *(f"{value:8.4f}" for value in values))

# %%
# Record and check
# ----------------


def saturated_share(layers):
    """Return the share of saturated activations in all layers."""
    return np.mean([saturated(layer) for layer in layers])


alike = max(
    abs(a - b) / a
    for a, b in zip(
        over_samples(plain_noise), over_samples(evaluated), strict=True
    )
)
last, last_bn = (
    table["over the samples"][-1],
    table["with BN, over the samples"][-1],
)
record(
    "02_inside_a_network/plot_01_draw_activations",
    {
        "alike": alike,
        "saturated_without": saturated_share(plain_images),
        "saturated_with": saturated_share(trained),
        "pooled_last": pooled[-1],
        "signal_last": last,
        "signal_last_with": last_bn,
    },
    data=data,
)
assert (
    alike < 0.01
)  # untrained and in evaluation mode, batch normalization changes nothing
assert saturated_share(plain_images) < 1e-4
assert saturated_share(plain_noise) < 1e-4
assert (
    pooled[-1] > 10 * last
)  # most of the pooled spread is between units, not samples
assert last_bn > 100 * last
assert min(over_samples(trained_noise)) > 0.1  # on noise as on images

# %%
# **What to notice.** Nothing saturates. Without batch normalization the last layer's activations
# are almost the same for every image: the *signal* has gone, and the pooled histogram, whose width
# comes from differences between units, does not show it. How fast it goes, and why, comes next:
# :doc:`follow the signal <plot_02_follow_the_signal>`.
