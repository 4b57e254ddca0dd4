"""
Draw the activations, and see what a histogram hides
====================================================

**The question.** What do the activations of a deep sigmoid network look like, with and without
batch normalization?

**In short.** Without batch normalization almost none of them saturates
(:value:`saturated_without:.2%`). They sit at one half, and in the last layer they are almost the
same for every image: a unit's standard deviation over the images is :value:`signal_last:.4f`, with
batch normalization :value:`signal_last_with:.2f`. The usual histogram, over all units at once,
hides that: it is :value:`pooled_last:.3f` wide, because the *units* differ from each other.

.. lead-figure::

**What was done.** Images went through the network of the notebook that this site grew out of: four
hidden layers of 256 sigmoids, PyTorch's initial weights, untrained, with and without batch
normalization. The weights are the same. The input is 1,000 test images or 1,000 samples of noise,
and the network is in training mode or in evaluation mode.

**You need** :doc:`the forward pass </derivations/forward>`.
"""

import numpy as np
import torch
from torch import nn

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_spread, label_lines, new_figure
from bn_tutorial.lab.study import table
from bn_tutorial.lab.training import device
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import saturated, signal, watch

data = load()
seed = 0  # of the weights and the noise
samples = 1000

images = data.standardize(data.test.images[:samples]).to(device())
# From another generator than the weights': with the same one and the same seed, each row of noise
# would be made of the very numbers that became a unit's weights, and excite that unit.
noise = np.random.default_rng(seed).normal(size=(samples, 784))
noise = torch.from_numpy(noise).float().to(device())
plain, normalized = (
    DeepNet(norm=norm, seed=seed).to(device()) for norm in (None, "batch")
)


# %%
# Watch the sigmoids
# ------------------


def activations(model, x, training):
    """Return the outputs of the sigmoids, layer by layer, each of shape (samples, units)."""
    with torch.no_grad(), watch(model.train(training), nn.Sigmoid) as signals:
        model(x)
    return list(signals.outputs.values())


# %%


# fold: define how histograms are drawn
def draw_histograms(rows, alt, lead=False):
    """Draw a row of histograms for each network, a column for each layer."""
    figure, axes = new_figure(
        len(rows),
        4,
        alt=alt,
        lead=lead,
        width=7.2,
        height=4.4,
        sharex=True,
        sharey=True,
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
# evaluation mode. But this network has not been trained: its running mean is still zero and its
# running variance one. With those, batch normalization does next to nothing.

plain_noise = activations(plain, noise, training=False)
evaluated = activations(normalized, noise, training=False)
draw_histograms(
    {"without BN": plain_noise, "with BN,\nevaluation": evaluated},
    alt="Histograms of the activations of four layers, for noise. Without batch normalization and "
    "with it in evaluation mode the two rows look alike: peaks around one half, wide in the first "
    "layer and narrow in the others.",
)

# %%
# The two rows are alike, so this figure says nothing about batch normalization. It does say
# something about the network without it: its activations do *not* saturate. A saturated sigmoid
# sits near zero or one (here: nearer than 1/20); these sit at one half.
#
# The same in training mode, on images
# ------------------------------------
# In training mode each unit is normalized with the statistics of the batch. Now the rows differ.
# This is the main figure.

plain_images = activations(plain, images, training=True)
trained = activations(normalized, images, training=True)
trained_noise = activations(normalized, noise, training=True)
draw_histograms(
    {"without BN": plain_images, "with BN,\ntraining": trained},
    lead=True,
    alt="Histograms of the activations of four layers, for images. Without batch normalization "
    "they are peaks around one half, broad in the first layer and narrow in the others. With it in "
    "training mode every layer has the same broad bell from near zero to near one.",
)

# %%
# What the pooled histogram still hides
# -------------------------------------
# A histogram over all units mixes two kinds of spread: units differ from each other, and one unit
# differs from sample to sample. Only the second carries information about the input. This page
# calls it the *signal*: the standard deviation of a unit over the samples, averaged over the units.


def over_samples(layers):
    """Return the signal, layer by layer."""
    return [signal(layer) for layer in layers]


spreads = {
    "without BN, pooled": [layer.std().item() for layer in plain_images],
    "without BN, signal": over_samples(plain_images),
    "with BN, signal": over_samples(trained),
}
rows = {name: [f"{v:.4f}" for v in row] for name, row in spreads.items()}
print("standard deviation of the activations")
print(table(rows, columns=[f"layer {number}" for number in (1, 2, 3, 4)]))

# %%

# fold: draw both kinds of spread
figure, ax = new_figure(
    width=7.2,
    height=3.2,
    alt="The standard deviation of the activations against the layer, on a logarithmic axis. "
    "Without batch normalization the signal falls steeply, and the spread over all units together "
    "stays far above it. With batch normalization the signal stays level.",
)
colors = ("grey", "blue", "orange")
for (name, values), color in zip(spreads.items(), colors, strict=True):
    draw_spread(ax, range(1, 5), [values], color=color, label=name)
ax.set(
    yscale="log",
    xlabel="layer",
    xticks=range(1, 5),
    ylabel="std of activations",
)
label_lines(ax)

# %%

# fold: keep the numbers, check what the words claim
shares = {
    name: np.mean([saturated(layer) for layer in layers])
    for name, layers in {
        "without BN": plain_images,
        "without BN, noise": plain_noise,
        "with BN": trained,
    }.items()
}
pairs = zip(over_samples(plain_noise), over_samples(evaluated), strict=True)
alike = max(abs(a - b) / a for a, b in pairs)
pooled_last, signal_last, signal_last_with = (
    spread[-1] for spread in spreads.values()
)
evidence = Evidence(
    "02_inside_a_network/plot_01_draw_activations", data=data, seeds=[seed]
)
evidence.note(
    alike=alike,
    saturated_without=shares["without BN"],
    saturated_with=shares["with BN"],
    pooled_last=pooled_last,
    signal_last=signal_last,
    signal_last_with=signal_last_with,
)
evidence.save()
assert alike < 0.01  # untrained, in evaluation mode, BN changes nothing
assert shares["without BN"] < 1e-4
assert shares["without BN, noise"] < 1e-4
assert pooled_last > 10 * signal_last  # most of it is between units
assert signal_last_with > 100 * signal_last
assert min(over_samples(trained_noise)) > 0.1  # on noise as on images

# %%
# Without batch normalization hardly any *signal* is left in the last layer. The pooled histogram
# does not show that, because its width comes from differences between units.
#
# **Limits.** Untrained networks of one shape, with PyTorch's initial weights and one seed. Larger
# weights can saturate: :doc:`two pages on <plot_03_saturate_on_purpose>` they do.
#
# **Try it.** Change ``seed`` in the settings to 1: other weights, the same histograms.
#
# Next: how fast the signal is lost, and why: :doc:`follow it <plot_02_follow_the_signal>`.
