"""
Measure the smoothness
======================

**The question.** Does batch normalization (BN) make the loss smoother, so that its gradient can be
trusted over longer steps? And is it smoother where BN helps most?

**In short.** By its largest curvature, in units of the length of the weights, which must not
decide, the loss is smoother with BN in two networks of ReLU with good weights: it is lower by
:finding:`curvature, none - BN, deep ReLU, scale-free` in the deep one and
:finding:`curvature, none - BN, shallow ReLU, scale-free` in the shallow one. BN changes the test
accuracy by :finding:`BN - none, deep ReLU` and by :finding:`BN - none, shallow ReLU` there. With
sigmoids and PyTorch's weights it changes it by :finding:`BN - none, sigmoid`, but the curvature is
*higher* with BN (none minus BN: :effect:`curvature, none - BN, sigmoid, scale-free`). Without BN
that network stays where the loss is flat, and reaches :value:`accuracy_none_sigmoid:.0%`. All this
is at one rate, chosen for neither.

.. lead-figure::

**What was done.** Three perceptrons with hidden layers of 64 units learned for 300 steps (0.6
epochs) in batches of 128: four layers of ReLU with He's weights (*deep*), one of them (*shallow*),
and four layers of sigmoids with PyTorch's weights. *Varied:* BN or none. The rate is 0.1 for both,
so that their steps are measured by the same rule. Before training, after 150 and after 300 steps we
looked at the loss of 512 training images in one batch. 5 seeds.

**You need** :doc:`what the length of the weights does </derivations/weights>`. The curvature is
computed with :doc:`the derivative of the gradient </derivations/second_order>`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import Outcome
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_effects, new_figure
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.results import remembered
from bn_tutorial.lab.study import table
from bn_tutorial.lab.training import Config, device, train
from bn_tutorial.networks.curvature import Surface, own_lengths
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import batch_statistics

# %%
# The settings
# ------------

NETWORKS = {
    "deep ReLU": {"depth": 4, "activation": "relu", "init": "he"},
    "shallow ReLU": {"depth": 1, "activation": "relu", "init": "he"},
    "sigmoid": {"depth": 4, "activation": "sigmoid", "init": "default"},
}
ARMS = {"none": None, "BN": "batch"}
WIDTH, STEPS, EVERY, BATCH, RATE = 64, 300, 150, 128, 0.1
LOOKED_AT = 512  # images
AHEAD = (0.5, 1.0, 2.0, 4.0)  # in steps
RELATIVE = (0.005, 0.01, 0.02, 0.04)  # in lengths of the layers
JUDGING = range(180, 185)  # seeds
MATTERS, MATTERS_DECADES = 1.0, 0.3  # points; decades: a factor of 2

data = load()
evidence = Evidence(
    "06_why_it_works/plot_04_measure_the_smoothness",
    data=data,
    seeds=JUDGING,
    horizon="300 steps (0.6 epochs)",
    claims={
        "curvature, none - BN, deep ReLU, scale-free": "smoother, deep ReLU",
        "curvature, none - BN, shallow ReLU, scale-free": "smoother, shallow ReLU",
        "curvature, none - BN, sigmoid, scale-free": "smoother, sigmoids",
    },
)


def network(name, norm, seed):
    """Return a network with its initial weights."""
    settings = dict(NETWORKS[name])
    widths = (784, *settings.pop("depth") * [WIDTH], 10)
    return DeepNet(norm, widths=widths, seed=seed, **settings).to(device())


# %%
# Three measures
# --------------
# The loss is a surface over the parameters. How smooth is it where the training is? Santurkar et
# al. (2018) looked ahead along the gradient, at half a step to four steps: how much does the *loss*
# vary, and how much does the *gradient* change for each unit of way? The largest *curvature*, the
# largest eigenvalue of the Hessian, says the same of the nearest neighbourhood in its worst
# direction.

images = data.standardize(data.train.images[:LOOKED_AT]).to(device())
labels = data.train.labels[:LOOKED_AT].to(device())


@dataclass(frozen=True)
class Look:
    """What is measured at one place of a surface."""

    surface: Surface
    distances: np.ndarray

    def measures(self):
        """Return the logarithm of each measure, by name."""
        walk = self.surface.walk(self.distances)
        found = {
            "curvature": self.surface.sharpness(),
            "change of gradient": max(walk.turned / self.distances),
            "range of loss": np.ptp(walk.loss),
        }
        return {name: np.log10(value) for name, value in found.items()}


def look(model, _=None):
    """Measure a network, in raw and in scale-free coordinates."""

    def loss():
        return cross_entropy(model(images), labels)

    parameters = list(model.parameters())
    with batch_statistics(model):
        raw = Surface(loss, parameters)
        step = RATE * torch.linalg.vector_norm(raw.gradient()).item()
        free = Surface(loss, parameters, own_lengths(model))
        looks = {
            "raw": Look(raw, step * np.array(AHEAD)),
            "scale-free": Look(free, np.array(RELATIVE)),
        }
        return {
            f"{measure}, {units}": value
            for units, one in looks.items()
            for measure, value in one.measures().items()
        }


# %%
# In whose units?
# ---------------
# Multiply the weights in front of BN by ten. The network computes the same,
# :eq:`id-scale-invariance`, so nothing has become smoother or less smooth. But to turn these
# weights as far as before one must now go ten times as far, and along them the curvature is a
# hundredth. The largest of all curvatures is then that of other parameters, which are as long as
# before; it falls by a factor of :value:`fall:.1f`. So the raw number compares lengths of weights
# as much as losses. In *scale-free* coordinates each layer is measured in units of its own length:
# its weights and bias, or its gamma and beta. There nothing changes:

rows, curvatures = {}, {}
for factor in (0.1, 1.0, 10.0):
    model = network("deep ReLU", "batch", seed=JUDGING[0])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "hidden" in name and "linear" in name:
                parameter.mul_(factor)
    with one_thread():
        found = look(model)
    curvatures[factor] = found
    rows[f"weights times {factor:g}"] = [
        f"{10 ** found[f'curvature, {units}']:.3g}"
        for units in ("raw", "scale-free")
    ]
print(table(rows, ["raw curvature", "scale-free"]))

# %%
# Look along the training
# -----------------------


@remembered
def trained(name, arm, seed):
    """Train one network; return what was seen, and the outcome."""
    config = Config(STEPS, EVERY, BATCH, lr=RATE, seed=seed)
    model = network(name, ARMS[arm], seed)
    return train(model, data, config, measure=look, progress=False)


with one_thread():
    histories = {
        (name, arm): [trained(name, arm, seed) for seed in JUDGING]
        for name in NETWORKS
        for arm in ARMS
    }


def seen(name, arm, measure):
    """Return a logarithm, shape (seeds, looks); the first is untrained."""
    return np.array([h.measured[measure] for h in histories[name, arm]])


def accuracy(name, arm):
    """Return the test accuracies (%)."""
    runs = histories[name, arm]
    right = np.array([h.test_right for h in runs], dtype=np.float32)
    return Outcome(
        100 * np.array([h.test_accuracy[-1] for h in runs]), 100 * right
    )


for name in NETWORKS:
    evidence.compare(
        f"BN - none, {name}",
        accuracy(name, "BN"),
        accuracy(name, "none"),
        unit="points",
        smallest=MATTERS,
    )
points = list(evidence.effects.values())
print(evidence.table())

# %%
# All differences of smoothness are none minus BN in decades (the decimal logarithm of the ratio),
# so that a positive one says that BN is smoother; averaged over the looks after 150 and 300 steps.

MEASURES = [m.removesuffix(", raw") for m in found if m.endswith("raw")]
for measure in MEASURES:
    for name in NETWORKS:
        for units in ("raw", "scale-free"):
            none, bn = (
                seen(name, arm, f"{measure}, {units}")[:, 1:].mean(axis=1)
                for arm in ARMS
            )
            evidence.compare(
                f"{measure}, none - BN, {name}, {units}",
                none,
                bn,
                unit="decades",
                smallest=MATTERS_DECADES,
            )
for name in NETWORKS:
    none, bn = (seen(name, arm, "curvature, scale-free")[:, 0] for arm in ARMS)
    evidence.compare(
        f"before training, none - BN, {name}",
        none,
        bn,
        unit="decades",
        smallest=MATTERS_DECADES,
        horizon="untrained",
    )
decades = list(evidence.effects.values())[len(points) :]
print(evidence.table(*(effect.name for effect in decades)))

# %%

# fold: draw gains and curvatures, the figure at the top of the page
figure, axes = new_figure(
    2,
    1,
    lead=True,
    width=7.2,
    height=5.6,
    height_ratios=(3, 6),
    alt="Above, what batch normalization gains in test accuracy in three networks: by far the most "
    "with sigmoids. Below, by how many decades the largest curvature is lower with it, in raw and "
    "in scale-free coordinates: with ReLU it is lower, with sigmoids higher.",
)
draw_effects(
    axes[0],
    points,
    labels=[effect.name for effect in points],
    unit="points of test accuracy: what BN gains",
)
curved = [effect for effect in decades if effect.name.startswith("curvature")]
draw_effects(
    axes[1],
    curved,
    labels=[e.name.removeprefix("curvature, none - BN, ") for e in curved],
    unit="decades of curvature, none \N{MINUS SIGN} BN: right is smoother with BN",
)
for ax in axes:
    ax.tick_params(axis="y", labelsize=10)

# %%
# If smoothness were the one reason everywhere, the rows below would be furthest to the right where
# those above are. *Smoother with BN?* With ReLU the answers are
# :verdict:`curvature, none - BN, deep ReLU, scale-free` (deep) and
# :verdict:`curvature, none - BN, shallow ReLU, scale-free` (shallow), with sigmoids
# :verdict:`curvature, none - BN, sigmoid, scale-free`. *Better with BN?*
# :verdict:`BN - none, deep ReLU`, :verdict:`BN - none, shallow ReLU` and
# :verdict:`BN - none, sigmoid`. Yao et al. (2020) found that in residual networks BN does not
# always smooth the loss, the less so the shallower they are; their shallow ones have 20 layers.
# Here *shallow* means one hidden layer: its number is
# :effect:`curvature, none - BN, shallow ReLU, scale-free`, that of the deep network
# :effect:`curvature, none - BN, deep ReLU, scale-free`.
#
# The other two measures
# ----------------------

# fold: draw range of loss and change of gradient
figure, axes = new_figure(
    2,
    1,
    width=7.2,
    height=6.4,
    alt="By how many decades the change of the gradient, and the range of the loss, along the "
    "gradient are lower with batch normalization: three networks, raw and scale-free.",
)
for ax, measure in zip(axes, MEASURES[1:], strict=True):
    shown = [effect for effect in decades if effect.name.startswith(measure)]
    labels = [e.name.split(" - BN, ")[1] for e in shown]
    unit = (
        f"decades of {measure}, none \N{MINUS SIGN} BN: right is less with BN"
    )
    draw_effects(ax, shown, labels=labels, unit=unit)
    ax.tick_params(axis="y", labelsize=10)

# %%
# In scale-free coordinates the gradient changes less with BN along its direction by
# :finding:`change of gradient, none - BN, deep ReLU, scale-free` in the deep network of ReLU and by
# :finding:`change of gradient, none - BN, shallow ReLU, scale-free` in the shallow one. The loss
# varies less by :finding:`range of loss, none - BN, deep ReLU, scale-free` and by
# :finding:`range of loss, none - BN, shallow ReLU, scale-free`. Where one of these does not say
# *yes*, "smoother" holds of the curvature, but not of that measure.
#
# A flat place has a small range, too
# -----------------------------------
# A small range of the loss is no merit by itself: where nothing can be gained the loss does not
# vary either. Before training, the scale-free curvature of the sigmoid network is lower *without*
# BN (none minus BN: :effect:`before training, none - BN, sigmoid`). A likely reason is that
# :doc:`the signal is lost on the way </gallery/02_inside_a_network/plot_02_follow_the_signal>`, so
# that the loss hardly depends on the first weights; measured was only the curvature over the
# weights of all layers.

# fold: draw the curvature along the training
figure, axes = new_figure(
    1,
    3,
    width=7.2,
    height=3.0,
    sharey=True,
    alt="The scale-free curvature, logarithmic, before training, after 150 and after 300 steps, "
    "for three networks with and without batch normalization, a line for each seed.",
)
at = EVERY * np.arange(STEPS // EVERY + 1)
for ax, name in zip(axes, NETWORKS, strict=True):
    for arm, color in zip(ARMS, ("blue", "orange"), strict=True):
        curves = 10 ** seen(name, arm, "curvature, scale-free")
        style = {"color": COLORS[color], "linewidth": 1.2}
        style["linestyle"] = "solid" if arm == "none" else "dashed"
        lines = ax.plot(at, curves.T, **style)
        lines[0].set_label(arm)
    ax.set(title=name, yscale="log", xticks=at, xlabel="step")
axes[0].set_ylabel("scale-free curvature")
axes[0].legend()

# %%

# fold: keep the numbers, check what the words claim
raw = [found["curvature, raw"] for found in curvatures.values()]
free = [found["curvature, scale-free"] for found in curvatures.values()]
evidence.note(
    seeds=len(JUDGING), images=LOOKED_AT, fall=float(10 ** (raw[1] - raw[2]))
)
for name in NETWORKS:
    for arm in ARMS:
        key = f"{arm}_{name}".lower().replace(" ", "_")
        evidence.note(**{f"accuracy_{key}": accuracy(name, arm).mean / 100})
evidence.save()
assert np.ptp(free) < 0.02  # the same whatever the length...
assert raw[0] - raw[1] > 1  # ...where shorter weights alone bend the raw loss
assert 0 < raw[1] - raw[2] < 1  # ...and longer ones leave it to the others
assert evidence.effects["BN - none, sigmoid"].low > MATTERS
assert evidence.effects["curvature, none - BN, sigmoid, scale-free"].high < 0
# Smoother, and yet no better by what matters.
assert (
    evidence.effects["curvature, none - BN, shallow ReLU, scale-free"].low > 0
)
assert evidence.effects["BN - none, shallow ReLU"].high < MATTERS

# %%
# **Limits.** Small perceptrons, 0.6 epochs, one rate; curvature of 512 images in one batch, where
# the training sees 128 at a time. The rate itself decides how sharp a place a training can stay in,
# which the next page shows; so at other rates other curvatures are found. To take each layer in
# units of its length is one choice of coordinates that the length of the weights cannot move, not
# the only one.
#
# **Try it.** Take the good weights away from the deep ReLU network, ``"init": "default"``. What
# becomes of the raw difference?
#
# Next: :doc:`walk to the edge of stability <plot_05_walk_to_the_edge>`.
