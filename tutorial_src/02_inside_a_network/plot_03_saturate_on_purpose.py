"""
Saturate a network on purpose
=============================

**The question.** When *do* sigmoids saturate, and what does batch normalization do then?

**Varied:** the standard deviation of the initial weights, from small to large, and batch
normalization.

**Held fixed:** the untrained network in training mode, and a batch of images; the random numbers
that are scaled to make the weights, for each of several seeds.
"""

import numpy as np
import torch
from torch import nn

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import paired_interval, verdict
from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.figures import COLORS, draw_spread, new_figure
from bn_tutorial.lab.training import device
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import saturated, signal, slope, watch

data = load()
seeds = range(5)
scales = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]  # standard deviation of the weights
default = (
    1 / (3 * 256)
) ** 0.5  # that of PyTorch's default, for a layer of 256 inputs
x = data.standardize(data.train.images[:1000]).to(device())


def measure(norm, scale, seed):
    """Return the saturated share and mean slope of all layers, and the last layer's signal."""
    model = DeepNet(norm=norm, init=scale, seed=seed).to(device()).train()
    with torch.no_grad(), watch(model, nn.Sigmoid) as signals:
        model(x)
    layers = list(signals.outputs.values())
    return (
        np.mean([saturated(layer) for layer in layers]),
        np.mean([slope(layer) for layer in layers]),
        signal(layers[-1]),
    )


# %%
# Sweep the scale of the weights
# ------------------------------

measured = {
    name: np.array(
        [[measure(norm, scale, seed) for scale in scales] for seed in seeds]
    )  # shape (seeds, scales, quantities)
    for name, norm in {"without BN": None, "with BN": "batch"}.items()
}
print("std of weights               ", *(f"{scale:6.2f}" for scale in scales))
for name, values in measured.items():
    for quantity, label in enumerate(
        ["saturated share", "mean slope", "signal, last layer"]
    ):
        row = values[:, :, quantity].mean(axis=0)
        print(f"{name:<11}{label:<19}", *(f"{value:6.3f}" for value in row))

# %%
# With small weights the sigmoids sit in the middle and the signal is lost on the way. With large
# ones they are driven to zero or one, where the slope is small. (The gradient need not vanish
# there: the weights that multiply it are large.) In between, both losses are smaller, but at no
# scale that was tried are both gone. With batch normalization the scale makes no difference: it is
# divided out again.
#
# The dotted line marks PyTorch's default for a layer as wide as the hidden ones; here all layers
# have weights of one scale, and no biases.

figure, axes = new_figure(
    1,
    2,
    width=7.2,
    height=3.6,
    sharex=True,
    alt="Two panels against the standard deviation of the initial weights. Left, the share of "
    "saturated activations: without batch normalization it is zero for small weights and rises "
    "towards one for large ones; with it it stays low and level. Right, the mean slope of the "
    "sigmoids: without batch normalization it falls from one quarter towards zero, with it it "
    "stays level just above one fifth. A vertical line marks PyTorch's default for hidden layers.",
)
for ax, quantity, label in zip(
    axes, (0, 1), ("saturated share", "mean slope"), strict=True
):
    for name, color in {"without BN": "blue", "with BN": "orange"}.items():
        values = measured[name][:, :, quantity]
        draw_spread(ax, scales, values, color=color, label=name)
    ax.axvline(
        default, color=COLORS["grey"], linestyle="dotted", label="default"
    )
    ax.set(xscale="log", xlabel="std of the initial weights")
    ax.set_title(label, fontsize=12)
    ax.set_ylim(0, None)
axes[1].legend(loc="lower left")

# %%
# With large weights the claim that batch normalization keeps the sigmoids where they are steep is
# true. The size of the effect, paired over the seeds (any increase counts):

one = scales.index(1.0)
steeper = paired_interval(
    measured["with BN"][:, one, 1], measured["without BN"][:, one, 1]
)
answer = verdict(steeper, smallest=0.0)
print(
    f"mean slope with BN minus without: {steeper.mean:.4f}, {steeper.confidence:.0%} interval "
    f"{steeper.low:.4f} to {steeper.high:.4f}: {answer}"
)

# %%
# Record and check
# ----------------

without, with_bn = (
    measured[name].mean(axis=0) for name in ("without BN", "with BN")
)
record(
    "02_inside_a_network/plot_03_saturate_on_purpose",
    {
        "seeds": len(seeds),
        "scale": scales[one],
        "smallest_scale": scales[0],
        "largest_scale": scales[-1],
        "saturated_without": without[one, 0],
        "saturated_with": with_bn[one, 0],
        "slope_without": without[one, 1],
        "slope_with": with_bn[one, 1],
        "slope_range_with": np.ptp(measured["with BN"][:, :, 1], axis=1).max(),
        "slope_range_without": np.ptp(
            measured["without BN"][:, :, 1], axis=1
        ).min(),
        "steeper": steeper.mean,
        "steeper_low": steeper.low,
        "steeper_high": steeper.high,
        "steeper_verdict": answer,
    },
    data=data,
)
assert answer == "supported"
both = (without[:, 0] < 0.05) & (without[:, 2] > 0.5 * with_bn[:, 2])
assert not both.any()  # no scale keeps the signal and avoids saturation
assert without[0, 0] == 0  # small weights: nothing saturates...
assert without[one, 0] > 0.5  # ...large weights: most does
assert without[one, 1] < 0.1
assert (
    np.diff(measured["without BN"][:, :, 1], axis=1) < 0
).all()  # the slope only falls
assert (
    np.ptp(measured["with BN"], axis=1).max() < 0.01
)  # the scale makes no difference with BN

# %%
# **What to notice.** "Without batch normalization activations saturate" is true of large weights,
# and false of the weights that PyTorch gives you. Batch normalization mends both ends, because it
# fixes the spread of what enters the sigmoid.
# Next: :doc:`what other normalizations pool <plot_04_pool_other_axes>`.
