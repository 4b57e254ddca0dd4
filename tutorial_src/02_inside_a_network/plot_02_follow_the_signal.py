"""
Follow the signal through the layers
====================================

**The question.** What does a deep sigmoid network lose without batch normalization, forward and
backward, and how fast?

**Varied:** batch normalization; the initial weights, over several seeds.

**Held fixed:** the untrained network with PyTorch's default initialization, in training mode, and
a batch of images with their labels.
"""

import numpy as np
from torch import nn
from torch.nn.functional import cross_entropy

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import paired_interval, verdict
from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.figures import COLORS, draw_spread, new_figure
from bn_tutorial.lab.training import device
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import signal, slope, watch
from bn_tutorial.networks.theory import signal_gain

data = load()
seeds = range(5)
width = 256
x = data.standardize(data.train.images[:1000]).to(device())
labels = data.train.labels[:1000].to(device())

# %%
# Predict the loss of signal
# --------------------------
# Near zero the sigmoid is a line, with the slope one quarter. PyTorch draws the weights of a linear
# map with n inputs from a distribution with the variance :math:`1/(3n)`. Slope and weights together
# say by which factor a layer multiplies the signal: :eq:`eq-signal-gain`, derived in
# :doc:`/derivations/depth`. The backward pass multiplies by the same weights and the same slope.
# For layers of equal width the gradient shrinks by the same factor, in the other direction.

gain = signal_gain(slope=0.25, fan=width, weight_var=1 / (3 * width))
print(f"predicted gain of a layer: {gain:.3f}, that is 1/{1 / gain:.1f}")


# %%
# Measure it
# ----------


def measure(norm, seed):
    """Return the signal, the gradient and the mean slope of the sigmoids, layer by layer."""
    model = DeepNet(norm=norm, seed=seed).to(device()).train()
    with watch(model, nn.Sigmoid) as signals:
        cross_entropy(model(x), labels).backward()
    outputs = signals.outputs.values()
    gradients = [signals.gradients[name] for name in signals.outputs]
    return {
        "signal": [signal(layer) for layer in outputs],
        "gradient": [g.norm().item() for g in gradients],
        "slope": [slope(layer) for layer in outputs],
    }


measured = {
    name: [measure(norm, seed) for seed in seeds]
    for name, norm in {"without BN": None, "with BN": "batch"}.items()
}


def curves(name, quantity):
    """Return a quantity of all seeds, shape (seeds, layers)."""
    return np.array([run[quantity] for run in measured[name]])


forward = curves("without BN", "signal")
backward = curves("without BN", "gradient")
gain_forward = (forward[:, -1] / forward[:, 0]) ** (1 / 3)
gain_backward = (backward[:, 0] / backward[:, -1]) ** (1 / 3)
print(
    f"measured, forward:  1/{1 / gain_forward.mean():.2f}  (seeds {gain_forward.round(3)})"
)
print(
    f"measured, backward: 1/{1 / gain_backward.mean():.2f}  (seeds {gain_backward.round(3)})"
)

# %%
# Draw it
# -------
# The prediction starts from the measured value where the signal enters and follows the gain alone.

layers = np.arange(1, 5)
figure, axes = new_figure(
    1,
    2,
    width=7.2,
    height=3.6,
    alt="Two panels against the layer, logarithmic. Left, the standard deviation of a unit over "
    "the samples: without batch normalization it falls along the predicted straight line, with it "
    "it stays level. Right, the norm of the gradient with respect to the activations: without "
    "batch normalization it grows along the predicted line towards the output, so the first layer "
    "gets the least; with it the gradient is nearly level.",
)
for ax, quantity in zip(axes, ("signal", "gradient"), strict=True):
    for name, color in {"without BN": "blue", "with BN": "orange"}.items():
        draw_spread(ax, layers, curves(name, quantity), color=color, label=name)
    ax.set(yscale="log", xlabel="layer", xticks=layers)
predicted = {
    "signal": forward[:, 0].mean() * gain ** (layers - 1),
    "gradient": backward[:, -1].mean() * gain ** (4 - layers),
}
for ax, quantity in zip(axes, predicted, strict=True):
    ax.plot(
        layers,
        predicted[quantity],
        color=COLORS["grey"],
        linestyle="dotted",
        marker="x",
        label="predicted",
    )
axes[0].set_title("signal: std over samples", fontsize=12)
axes[1].set_title("gradient of the loss (nat), norm", fontsize=12)
axes[0].legend()

# %%
# The slope of the sigmoids
# -------------------------
# The slope of a sigmoid is greatest, one quarter, where its input is zero. Vanishing gradients are
# often put down to sigmoids that saturate, where the slope is near zero. Here they do not: without
# batch normalization the slopes are close to their maximum. Batch normalization spreads
# the inputs of the sigmoid, and so makes the mean slope *smaller*. It keeps the gradient alive in
# another way: it divides by the small standard deviation, forward and backward alike.
# (Any increase of the slope would count for the claim.)

slopes = {name: curves(name, "slope").mean(axis=0) for name in measured}
print("mean slope of the sigmoids, layer   1      2      3      4")
for name, values in slopes.items():
    print(f"{name:<33}", *(f"{value:.3f} " for value in values))

steeper = paired_interval(
    curves("with BN", "slope").mean(axis=1),
    curves("without BN", "slope").mean(axis=1),
)
answer = verdict(steeper, smallest=0.0)
print(
    f"with BN minus without: {steeper.mean:.4f}, {steeper.confidence:.0%} interval "
    f"{steeper.low:.4f} to {steeper.high:.4f}; BN makes sigmoids steeper: {answer}"
)

# %%
# Record and check
# ----------------

shrinkage = {
    name: [runs["signal"][0] / runs["signal"][-1] for runs in measured[name]]
    for name in measured
}
record(
    "02_inside_a_network/plot_02_follow_the_signal",
    {
        "seeds": len(seeds),
        "predicted_factor": 1 / gain,
        "forward_factor": 1 / gain_forward.mean(),
        "backward_factor": 1 / gain_backward.mean(),
        "signal_lost": np.mean(shrinkage["without BN"]),
        "signal_lost_with": np.mean(shrinkage["with BN"]),
        "slope_without": slopes["without BN"].mean(),
        "slope_with": slopes["with BN"].mean(),
        "steeper": steeper.mean,
        "steeper_low": steeper.low,
        "steeper_high": steeper.high,
        "steeper_verdict": answer,
    },
    data=data,
)
assert (
    np.abs(gain_forward / gain - 1).max() < 0.1
)  # the prediction holds, for every seed
assert np.abs(gain_backward / gain - 1).max() < 0.1
assert (
    np.ptp(np.log(curves("with BN", "signal")), axis=1).max() < 0.1
)  # level with BN
assert (
    slopes["without BN"] > 0.9 * 0.25
).all()  # nothing saturates without BN...
assert (
    answer == "not supported"
)  # ...and BN makes the slope smaller, not greater
assert steeper.high < 0

# %%
# **What to notice.** The network without batch normalization does not saturate; it forgets. Layer
# by layer its output depends less on the image, and the gradient that returns is smaller by the
# same factor. Both follow from the initial weights. Weights that are too large bring another
# trouble, saturation: :doc:`next <plot_03_saturate_on_purpose>`.
