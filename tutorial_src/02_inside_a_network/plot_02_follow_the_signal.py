"""
Follow the signal through the layers
====================================

**The question.** What does a deep sigmoid network lose without batch normalization, forward and
backward, and how fast?

.. predict:: BN - none, slope
   :yes: with batch normalization
   :opposite: without it

   Four hidden layers of 256 sigmoids have PyTorch's initial weights and are not trained yet. A
   sigmoid is steepest at its centre and flat where it saturates. Where are the sigmoids steeper, on
   average over all units and images: with batch normalization or without it?

   opposite
      It is tempting to think that batch normalization keeps sigmoids out of their flat ends. But
      with these weights none is there: the inputs of the sigmoids lie close to zero, the steepest
      place of all, and to spread them to a standard deviation of one is to move them away from it.
      Larger slopes than these there are none. Its outputs are nearly the same for every image.

**In short.** Its signal, by a factor of :value:`forward_factor:.2f` in every layer, and its
gradient, by :value:`backward_factor:.2f` on the way back; the initial weights predict
:value:`predicted_factor:.2f`. From the first hidden layer to the last the signal falls by a factor
of :value:`signal_lost:.0f`; with batch normalization that factor is :value:`signal_lost_with:.2f`.
Saturation is not the reason: without batch normalization the slopes are close to the greatest
possible, 1/4, and with it they are smaller (:effect:`BN - none, slope`). But even that quarter
takes a factor of 4 in each layer; the weights take the rest.

.. lead-figure::

**What was done.** A batch of 1,000 training images went through the untrained network (four hidden
layers of 256 sigmoids, PyTorch's initial weights) and back, with and without batch normalization,
in training mode, with 5 seeds for the weights. The *signal* is the standard deviation of a unit's
activation over the images, averaged over the units of a layer. The *gradient* is that of the loss
with respect to a layer's activations.

**You need** :doc:`the activations of this network <plot_01_draw_activations>`.
"""

import numpy as np
from torch import nn
from torch.nn.functional import cross_entropy

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_spread, label_lines, new_figure
from bn_tutorial.lab.study import table
from bn_tutorial.lab.training import device
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import signal, slope, watch
from bn_tutorial.networks.theory import signal_gain

data = load()
seeds = range(100, 105)
samples = 1000
width, depth = 256, 4  # units of a hidden layer, hidden layers
norms = {"without BN": None, "with BN": "batch"}
smallest = 0.01  # of slope that matters; the greatest is 0.25

x = data.standardize(data.train.images[:samples]).to(device())
labels = data.train.labels[:samples].to(device())
layers = np.arange(1, depth + 1)

# %%
# Predict the loss of signal
# --------------------------
# Near zero the sigmoid is a line with the slope 1/4. PyTorch draws the weights of a linear map with
# n inputs from a distribution with the variance :math:`1/(3n)`. Slope and weights together say by
# which factor a layer multiplies the signal, its *gain*: :eq:`eq-signal-gain`, derived in
# :doc:`/derivations/depth`. The backward pass multiplies by the same weights and the same slope.
# For layers of equal width the gradient shrinks by the same factor, in the other direction.

gain = signal_gain(slope=0.25, fan=width, weight_var=1 / (3 * width))
print(f"predicted gain of a layer: {gain:.3f}, that is 1/{1 / gain:.2f}")


# %%
# Measure it
# ----------


def measure(norm, seed):
    """Return the signal, the gradient and the mean slope of the sigmoids, layer by layer."""
    widths = (784, *depth * [width], 10)
    model = DeepNet(norm=norm, widths=widths, seed=seed).to(device()).train()
    with watch(model, nn.Sigmoid) as signals:
        cross_entropy(model(x), labels).backward()
    outputs = signals.outputs.values()
    gradients = [signals.gradients[name] for name in signals.outputs]
    return {
        "signal": [signal(layer) for layer in outputs],
        "gradient": [g.norm().item() for g in gradients],
        "slope": [slope(layer) for layer in outputs],
    }


runs = {
    arm: [measure(norm, seed) for seed in seeds] for arm, norm in norms.items()
}
measured = {  # each of shape (seeds, layers)
    (arm, quantity): np.array([run[quantity] for run in runs[arm]])
    for arm in norms
    for quantity in ("signal", "gradient", "slope")
}

# %%
# The gain of a layer without batch normalization is the mean over the layers, on the logarithmic
# scale on which gains add up.

forward = measured["without BN", "signal"]
backward = measured["without BN", "gradient"]
gains = {
    "forward": (forward[:, -1] / forward[:, 0]) ** (1 / (depth - 1)),
    "backward": (backward[:, 0] / backward[:, -1]) ** (1 / (depth - 1)),
}
rows = {
    f"1 / gain, {direction}": [f"{1 / g:.2f}" for g in values]
    for direction, values in gains.items()
}
print(table(rows, columns=[f"seed {seed}" for seed in seeds]))

# %%
# In the main figure the dotted prediction starts from the measured value where the signal, or the
# gradient, enters, and follows the gain alone.

# fold: draw signal and gradient against the layer
figure, axes = new_figure(
    1,
    2,
    lead=True,
    width=7.2,
    height=3.6,
    alt="Two panels against the layer, logarithmic. Left, the standard deviation of a unit over "
    "the samples: without batch normalization it falls along the predicted straight line, with it "
    "it stays level. Right, the norm of the gradient with respect to the activations: without "
    "batch normalization it grows along the predicted line towards the output, so the first layer "
    "gets the least; with it the gradient is nearly level.",
)
predicted = {
    "signal": forward[:, 0].mean() * gain ** (layers - 1),
    "gradient": backward[:, -1].mean() * gain ** (depth - layers),
}
titles = {
    "signal": "signal: std over samples",
    "gradient": "gradient of the loss (nat), norm",
}
for ax, (quantity, title) in zip(axes, titles.items(), strict=True):
    for arm, color in zip(norms, ("blue", "orange"), strict=True):
        draw_spread(ax, layers, measured[arm, quantity], color=color, label=arm)
    ax.plot(
        layers,
        predicted[quantity],
        color=COLORS["grey"],
        linestyle="dotted",
        marker="x",
        label="predicted",
    )
    ax.set(yscale="log", xlabel="layer", xticks=layers)
    ax.set_title(title, fontsize=12)
axes[0].legend()

# %%
# The slope of the sigmoids
# -------------------------
# The slope of a sigmoid is greatest, 1/4, where its input is zero. Vanishing gradients are often
# put down to sigmoids that saturate, where the slope is near zero. Here they do not: without batch
# normalization the slopes are close to their maximum. Batch normalization spreads the inputs of the
# sigmoid, and so makes the mean slope *smaller*. It keeps the gradient from vanishing in another
# way: it divides by the small standard deviation, forward and backward alike.

rows = {
    arm: [f"{v:.3f}" for v in measured[arm, "slope"].mean(axis=0)]
    for arm in norms
}
print("mean slope of the sigmoids")
print(table(rows, columns=[f"layer {number}" for number in layers]))

# %%
# By how much, paired over the seeds? A difference of less than 0.01 does not matter.

evidence = Evidence(
    "02_inside_a_network/plot_02_follow_the_signal",
    data=data,
    seeds=seeds,
    horizon="untrained",
)
slopes = {arm: measured[arm, "slope"].mean(axis=1) for arm in norms}
steeper = evidence.compare(
    "BN - none, slope",
    slopes["with BN"],
    slopes["without BN"],
    unit="slope",
    smallest=smallest,
)
print(evidence.table())

# %%

# fold: draw the slopes
figure, ax = new_figure(
    width=7.2,
    height=3.0,
    alt="The mean slope of the sigmoids against the layer. Without batch normalization it is close "
    "to the greatest possible, one quarter, in all layers. With it it is level at about four "
    "fifths of that.",
)
for arm, color in zip(norms, ("blue", "orange"), strict=True):
    draw_spread(ax, layers, measured[arm, "slope"], color=color, label=arm)
ax.plot(
    layers,
    np.full(depth, 0.25),
    color=COLORS["grey"],
    linestyle="dotted",
    label="greatest",
)
ax.set(ylim=(0, 0.27), xlabel="layer", xticks=layers, ylabel="mean slope")
label_lines(ax)

# %%

# fold: keep the numbers, check what the words claim
lost = {
    arm: np.mean(measured[arm, "signal"][:, 0] / measured[arm, "signal"][:, -1])
    for arm in norms
}
evidence.note(
    seeds=len(seeds),
    predicted_factor=1 / gain,
    forward_factor=1 / gains["forward"].mean(),
    backward_factor=1 / gains["backward"].mean(),
    signal_lost=lost["without BN"],
    signal_lost_with=lost["with BN"],
    slope_without=slopes["without BN"].mean(),
    slope_with=slopes["with BN"].mean(),
)
evidence.save()
for values in gains.values():  # the prediction holds, for every seed
    assert np.abs(values / gain - 1).max() < 0.1
level = np.ptp(np.log(measured["with BN", "signal"]), axis=1)
assert level.max() < 0.1  # level with BN
steep = measured["without BN", "slope"].mean(axis=0)
assert (steep > 0.9 * 0.25).all()  # nothing saturates without BN...
assert steeper.high < 0  # ...and BN makes the slope smaller, not greater

# %%
# The network without batch normalization does not saturate. It loses the signal: layer by layer its
# output depends less on the image, and the gradient that returns is smaller by the same factor.
# Both follow from the slope of a sigmoid at its centre, 1/4, and from the initial weights.
#
# **Limits.** Untrained networks of one width, with PyTorch's initial weights, and one batch.
#
# **Try it.** Change ``depth`` in the settings to 6: the lines become longer, their slope stays.
#
# Next: weights that are too large bring another trouble, saturation:
# :doc:`cause it on purpose <plot_03_saturate_on_purpose>`.
