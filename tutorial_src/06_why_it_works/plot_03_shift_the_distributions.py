"""
Shift the distributions
=======================

**The question.** Does batch normalization (BN) help because it keeps the distributions of a layer's
inputs steady? If that were all, it would stop helping when they are made to shift behind it.

.. predict:: noisy BN - none, size 0.5
   :yes: BN with noise
   :opposite: the plain network without noise

   BN is said to help because it keeps the distributions of a layer's inputs steady. Now noise
   behind it shifts them at every step, more than those of a plain network shift by themselves.
   Which network is more accurate: BN with this noise, or the plain network without any?

   yes
      If steadiness were all that helps, it would be the plain network. But BN is ahead, although
      its distributions shift more. So this steadiness is not all of it. Nor is shift harmless:
      twice the noise costs BN :effect:`BN - noisy BN, size 1.0`.

   none
      If steadiness were all that helps, nothing of BN's lead would be left, and these runs show
      none that matters. So here they do not speak against that idea.

   undecided
      If steadiness were all that helps, nothing of BN's lead would be left. These runs cannot tell
      whether something is left, so they speak neither for that idea nor against it.

   opposite
      The noise takes away more than BN's lead, as it should if steadiness were what helps. It does
      not follow that this is the reason: noise does harm of its own.

**In short.** With noise that shifts the distributions at every step, BN's accuracy minus that of
the plain network without noise is :finding:`noisy BN - none, size 0.5` where the noise is weak, and
:finding:`noisy BN - none, size 1.0` where it is strong. Its distributions shift more from step to
step than those of the plain network: :finding:`shift, noisy BN - none, size 0.5` and
:finding:`shift, noisy BN - none, size 1.0`. BN without the noise minus BN with it is
:finding:`BN - noisy BN, size 0.5` and :finding:`BN - noisy BN, size 1.0`. Shift can also be
measured in gradients: by how much that of a layer changes when the layers before it take their
step. So measured, none minus BN is :finding:`gradient shift, none - BN`, and at one rate for both
:finding:`gradient shift, none - BN, rate of none`.

.. lead-figure::

**What was done.** Perceptrons with four hidden layers of 64 units, ReLU and He's weights were
trained for 300 steps (0.7 epochs) in batches of 128. *Varied:* BN or none; and noise in front of
each activation, behind BN, drawn anew for each unit at each step and the same for all images of a
batch: the unit's values are multiplied by a factor between 1 - size/2 and 1 + size/2, and a number
between -size and size is added. Sizes are 0.5 and 1; behind BN a unit's deviation is 1 at first. In
evaluation there is no noise. Each arm chose its learning rate on 5,000 held-out images with 3
seeds; 5 other seeds compared them, and 5 more the gradients.

Both the noise and the measure in gradients follow Santurkar et al. (2018), with two changes: their
noise also differs from image to image, and their difference of gradients is not divided by the
gradient's length.

**You need** :doc:`what the layer does </derivations/forward>`.
"""

from dataclasses import replace

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_effects, new_figure
from bn_tutorial.lab.gradient_shift import shifts_in_training
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.results import remembered
from bn_tutorial.lab.stepped import ShiftingSpec
from bn_tutorial.lab.study import judge, table, tune
from bn_tutorial.lab.training import Config, device, train
from bn_tutorial.networks.shifting import watch_shift

RATES = {"none": (0.03, 0.1, 0.3), "BN": (0.1, 0.3, 1.0)}
SIZES = (0.0, 0.5, 1.0)  # of the noise
SPEC = ShiftingSpec(
    widths=(784, 64, 64, 64, 64, 10),
    activation="relu",
    init="he",
    config=Config(steps=300, evaluate_every=300, batch_size=128),
)
TUNING, JUDGING = range(50, 53), range(250, 255)  # seeds
MATTERS, MATTERS_DECADES = 1.0, 0.3  # points; decades: a factor of 2
LOOKED_AT, LAST = 500, 100  # images, steps: to measure the shift
SEEDS = range(255, 260)  # of the shift in gradients
LOOKS = range(200, 300, 10)  # the steps before which it is measured
MATTERS_GRADIENT = 0.1  # of the gradient's length; and of a cosine

data = load().hold_out(5_000)
evidence = Evidence(
    "06_why_it_works/plot_03_shift_the_distributions",
    data=data,
    seeds=JUDGING,
    horizon="300 steps (0.7 epochs)",
    claims={
        "noisy BN - none, size 0.5": "BN with noise 0.5 beats none",
        "noisy BN - none, size 1.0": "BN with noise 1 beats none",
        "BN - noisy BN, size 1.0": "noise 1 costs BN accuracy",
    },
)

# %%
# Choose each arm's rate
# ----------------------


def run(norm, size, lr):
    """Return one run."""
    return replace(
        SPEC,
        norm="batch" if norm == "BN" else None,
        shifting=size,
        config=replace(SPEC.config, lr=lr),
    )


tuning = tune(
    {
        (norm, size): {lr: run(norm, size, lr) for lr in RATES[norm]}
        for size in SIZES
        for norm in RATES
    },
    data,
    TUNING,
)
judged = judge(tuning, data, JUDGING)
rows = {
    f"{norm}, noise {size:g}": [
        tuning.chosen((norm, size)),
        judged.last((norm, size)).mean,
        "; ".join(tuning.remarks((norm, size))),
    ]
    for norm, size in tuning.ladders
}
print(table(rows, ["rate", "test (%)", "remark"]))

# %%
# Does BN still help?
# -------------------
# If steadiness is all that helps, BN with noise must do no better than the plain network, whose
# distributions nobody shakes.


def compare(name, treated, control):
    """Compare the test accuracies of two arms."""
    return evidence.compare(
        name,
        judged.last(treated),
        judged.last(control),
        unit="points",
        smallest=MATTERS,
    )


for size in SIZES[1:]:
    calm_bn, calm = ("BN", 0.0), ("none", 0.0)
    noisy_bn, noisy = ("BN", size), ("none", size)
    compare(f"noisy BN - none, size {size}", noisy_bn, calm)
    compare(f"BN - noisy BN, size {size}", calm_bn, noisy_bn)
    compare(f"none - noisy none, size {size}", calm, noisy)
    compare(f"noisy BN - noisy none, size {size}", noisy_bn, noisy)
points = list(evidence.effects.values())
print(evidence.table())

# %%
# Did the distributions shift?
# ----------------------------
# That must be measured, for gamma could have drowned the noise. Before each step, 500 test images
# pass through the network in training mode. For each unit the mean of what its activation is given
# is compared with that one step earlier: by how many of its standard deviations over the images has
# it moved? Of these numbers, the quadratic mean is taken over all hidden units. These are means
# alone: whether the shape of a distribution changes is not looked at. With BN and without noise,
# what is left of a mean over the images that BN itself has centred is beta, by definition; so that
# row says how far beta moves.

images = data.standardize(data.test.images[:LOOKED_AT]).to(device())


def seeded(spec, seed):
    """Return the run with a seed for its weights and its images."""
    config = replace(spec.config, seed=seed)
    return replace(spec, model_seed=seed, config=config)


@remembered
def shift_of(arm, seed):
    """Return the shift before each step of one training."""
    spec = seeded(run(*arm, tuning.chosen(arm)), seed)
    model = spec.model().to(device())
    with one_thread(), watch_shift(model, images) as curve:
        train(model, data, spec.config, progress=False)
    return curve


shifts = {
    arm: [shift_of(arm, seed) for seed in JUDGING]
    for arm in tuning.ladders
    if arm[0] == "BN" or not arm[1]
}
late = {
    arm: np.log10([np.sqrt(np.mean(np.square(c[-LAST:]))) for c in curves])
    for arm, curves in shifts.items()
}
for size in SIZES:
    name = f"noisy BN - none, size {size}" if size else "BN - none"
    evidence.compare(
        f"shift, {name}",
        late["BN", size],
        late["none", 0.0],
        unit="decades",
        smallest=MATTERS_DECADES,
    )
decades = list(evidence.effects.values())[len(points) :]
print(evidence.table(*(effect.name for effect in decades)))

# %%

# fold: draw the shifts and the effects, the figure at the top of the page
figure, axes = new_figure(
    3,
    1,
    lead=True,
    width=7.2,
    height=8.2,
    height_ratios=(4, 5, 2.6),
    alt="Above, how far the means of units move from step to step, logarithmic, for four arms: "
    "lines of batch normalization with noise lie above the line of the plain network after the "
    "first tens of steps, that without noise below. In the middle, differences of test accuracy "
    "between arms with and without noise. Below, how much more than in the plain network the "
    "distributions shift, in decades.",
)
COLOR = {"none": "blue", "BN": "orange"}
STROKES = {0.0: "solid", 0.5: "dashed", 1.0: "dotted"}
for (norm, size), curves in shifts.items():
    every = np.mean(np.array(curves)[:, :-9].reshape(len(curves), -1, 10), 2)
    axes[0].plot(
        10 * np.arange(every.shape[1]),
        np.median(every, 0),
        color=COLORS[COLOR[norm]],
        linestyle=STROKES[size],
        label=f"{norm}, noise {size:g}" if size else norm,
    )
axes[0].set(yscale="log", xlabel="step", ylabel="shift (deviations)")
figure.legend(loc="outside upper left", ncols=2)
labels = [effect.name.replace("size ", "") for effect in points]
draw_effects(axes[1], points, labels=labels, unit="points of test accuracy")
labels = [effect.name.removeprefix("shift, ") for effect in decades]
draw_effects(axes[2], decades, labels=labels, unit="decades of shift")
for ax in axes[1:]:
    ax.tick_params(axis="y", labelsize=9)

# %%
# **What this says.** If steadiness were all that helps, nothing would be left of BN's lead in the
# rows *noisy BN - none*, where its distributions shift more than those of its rival. They say
# :finding:`noisy BN - none, size 0.5` and :finding:`noisy BN - none, size 1.0`. It does not follow
# that shift is harmless: strong noise costs BN :finding:`BN - noisy BN, size 1.0`, and the plain
# network :finding:`none - noisy none, size 1.0`. Where both get noise of the same size, BN minus
# none is :finding:`noisy BN - noisy none, size 0.5` and :finding:`noisy BN - noisy none, size 1.0`.
# But behind BN a unit's deviation is 1 at first, and in the plain network it is not, so that the
# same size is not the same shift; how far the plain network shifts with noise was not measured.
#
# Noise is not all that one may mean by shift. It comes and goes at every step, whereas the layers
# before drift slowly; and the next BN takes away again what of it is the same for all images, as
# far as the ReLU between them lets it. Noise may also do harm of its own, so that its cost does not
# say what steadiness is worth.

# %%
# Shift as its critics define it
# ------------------------------
# :cite:t:`santurkar2018how` look at gradients. In a step all layers move at once, each by a
# gradient :math:`G_i` that was taken while the layers before it stood where they were. Once those
# have moved, it would be another, :math:`G'_i`, although the images are the same, and so are the
# layer and those behind it. How far apart the two are is the shift that the layer has to cope with.
# They take the length of the difference, and the cosine of the angle. A gradient has a unit,
# though: with BN it is the longer, the shorter the weights are, :eq:`id-gradient-scale`. So here
# the length is compared with that of the gradient:
#
# .. math::
#
#    \frac{\|G'_i - G_i\|}{\|G_i\|}.
#
# If the step of the layers before did not matter to a layer, this would be 0, and the cosine 1. The
# arms have rates of their own, and with a larger rate the layers before go further. So BN is also
# looked at with the rate that was chosen for the plain network.


@remembered
def gradient_shifts_of(norm, size, lr, seed):
    """Return both measures, shape (looks, hidden layers - 1, 2)."""
    spec = seeded(run(norm, size, lr), seed)
    with one_thread():
        return shifts_in_training(spec.model(), data, spec.config, LOOKS)


plain_rate = tuning.chosen(("none", 0.0))
arms = {
    "none": ("none", 0.0, plain_rate),
    "BN": ("BN", 0.0, tuning.chosen(("BN", 0.0))),
    "BN, rate of none": ("BN", 0.0, plain_rate),
    "noisy BN, size 0.5": ("BN", 0.5, tuning.chosen(("BN", 0.5))),
}
found = {  # by arm, shape (seeds, measures)
    name: np.array(
        [gradient_shifts_of(*arm, seed).mean((0, 1)) for seed in SEEDS]
    )
    for name, arm in arms.items()
}
rows = {name: [arms[name][2], *found[name].mean(0)] for name in arms}
print(table(rows, ["rate", "relative difference", "cosine"]))

# %%

for other, words in {
    "BN": "none - BN",
    "BN, rate of none": "none - BN, rate of none",
    "noisy BN, size 0.5": "none - noisy BN, size 0.5",
}.items():
    evidence.compare(
        f"gradient shift, {words}",
        found["none"][:, 0],
        found[other][:, 0],
        unit="of the gradient's length",
        smallest=MATTERS_GRADIENT,
        seeds=SEEDS,
    )
for other, words in {
    "BN": "BN - none",
    "BN, rate of none": "BN - none, rate of none",
    "noisy BN, size 0.5": "noisy BN - none, size 0.5",
}.items():
    evidence.compare(
        f"cosine, {words}",
        found[other][:, 1],
        found["none"][:, 1],
        unit="cosine",
        smallest=MATTERS_GRADIENT,
        seeds=SEEDS,
    )
by_gradients = list(evidence.effects.values())[-6:]
print(evidence.table(*(effect.name for effect in by_gradients)))

# %%

# fold: draw the differences in gradients
figure, axes = new_figure(
    2,
    1,
    width=7.2,
    height=4.0,
    alt="Differences between the plain network and batch normalization, three rows each: above how "
    "much a layer's gradient changes when the layers before it step, below the cosine between the "
    "gradients before and after; at the rate of each, at the rate of the plain network, and with "
    "noise.",
)
for ax, shown, unit in zip(
    axes,
    (by_gradients[:3], by_gradients[3:]),
    (
        "of the gradient's length: right is less shift with BN",
        "cosine: right is less shift with BN",
    ),
    strict=True,
):
    labels = [effect.name.partition(", ")[2] for effect in shown]
    draw_effects(ax, shown, labels=labels, unit=unit)
    ax.tick_params(axis="y", labelsize=9)

# %%
# **What this says.** In the plain network the step of the layers before changes a layer's gradient
# by :value:`gradient_shift_none:.0%` of its length, and the cosine is :value:`cosine_none:.2f`. How
# much less is it with BN? None minus BN is :finding:`gradient shift, none - BN`, each at its own
# rate, and :finding:`gradient shift, none - BN, rate of none` at that of the plain network; with
# noise, the same for :math:`G_i` and :math:`G'_i`, it is
# :finding:`gradient shift, none - noisy BN, size 0.5`. The cosine with BN, minus that without, is
# :finding:`cosine, BN - none`, :finding:`cosine, BN - none, rate of none` and
# :finding:`cosine, noisy BN - none, size 0.5`.
#
# What may one conclude? Equal shift at rates of their own rules nothing out: a network that shifts
# less can take a larger rate, until it shifts as much. Where BN's gradients shift as much as those
# of the plain network, or more, *at one rate*, this shift cannot be what BN's lead is due to; the
# critics report that for their networks. Where they shift less, it may be. But that is then no
# evidence of a cause either: a loss that is smoother along a step (:doc:`measured next
# <plot_04_measure_the_smoothness>`) has gradients that change less, whatever the distributions do.
# So in gradients the idea of steady distributions and that of a smooth loss, which the critics put
# in its place, are hard to tell apart. Nor need the two kinds of shift go together: the
# distributions of noisy BN shift more from step to step than those of the plain network; whether
# its gradients shift less, the third number of each kind says.

# fold: keep the numbers, check what the words claim
evidence.note(seeds=len(JUDGING), images=LOOKED_AT)
for (norm, size), values in late.items():
    key = f"shift_{norm.lower()}_{size:g}".replace(".", "_")
    evidence.note(**{key: float(10 ** values.mean())})
for key, name in (
    ("none", "none"),
    ("bn", "BN"),
    ("bn_at_one_rate", "BN, rate of none"),
    ("noisy_bn", "noisy BN, size 0.5"),
):
    shift, cosine = found[name].mean(0)
    evidence.note(**{f"gradient_shift_{key}": shift, f"cosine_{key}": cosine})
evidence.save()
for size in SIZES[1:]:  # the noise does shift what it is to shift
    assert evidence.effects[f"shift, noisy BN - none, size {size}"].low > 0
for values in found.values():  # a step does change the gradients behind it
    assert values[:, 0].min() > 0.1
    assert values[:, 1].max() < 0.99

# %%
# **Limits.** One network, 0.7 epochs, two sizes of noise of one kind; plain gradient descent.
# Shift is what one step moves, of means or of gradients, near the end of that training; gradients
# are those of the weights of three hidden layers. The critics' networks are larger, and trained for
# longer. It was not asked whether another way to hold distributions steady helps as much.
#
# **Try it.** Add stronger noise: ``SIZES = (0.0, 0.5, 1.0, 2.0)`` and ``2.0: "dashdot"`` in
# ``STROKES``.
#
# Next: :doc:`measure the smoothness <plot_04_measure_the_smoothness>`.
