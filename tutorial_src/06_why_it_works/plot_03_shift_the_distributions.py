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
:finding:`BN - noisy BN, size 0.5` and :finding:`BN - noisy BN, size 1.0`.

.. lead-figure::

**What was done.** Perceptrons with four hidden layers of 64 units, ReLU and He's weights were
trained for 300 steps (0.7 epochs) in batches of 128. *Varied:* BN or none; and noise in front of
each activation, behind BN, drawn anew for each unit at each step and the same for all images of a
batch: the unit's values are multiplied by a factor between 1 - size/2 and 1 + size/2, and a number
between -size and size is added. Sizes are 0.5 and 1; behind BN a unit's deviation is 1 at first. In
evaluation there is no noise. Each arm chose its learning rate on 5,000 held-out images with 3
seeds; 5 other seeds compared them.

The noise is the idea of Santurkar et al. (2018).

**You need** :doc:`what the layer does </derivations/forward>`.
"""

from dataclasses import replace

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import (
    COLORS,
    draw_effects,
    new_figure,
)
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
TUNING, JUDGING = range(50, 53), range(160, 165)  # seeds
MATTERS, MATTERS_DECADES = 1.0, 0.3  # points; decades: a factor of 2
LOOKED_AT, LAST = 500, 100  # images, steps: to measure the shift

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
# it moved? Of these numbers, the quadratic mean is taken over all hidden units.

images = data.standardize(data.test.images[:LOOKED_AT]).to(device())


@remembered
def shift_of(arm, seed):
    """Return the shift before each step of one training."""
    spec = run(*arm, tuning.chosen(arm))
    spec = replace(
        spec, model_seed=seed, config=replace(spec.config, seed=seed)
    )
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
    "lines of batch normalization with noise lie above the line of the plain network. In the "
    "middle, differences of test accuracy between arms with and without noise. Below, how much "
    "more than in the plain network the distributions shift, in decades.",
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
# network :finding:`none - noisy none, size 1.0`. And where both have the same noise, BN minus none
# is :finding:`noisy BN - noisy none, size 0.5` and :finding:`noisy BN - noisy none, size 1.0`.
#
# Noise is not all that one may mean by shift. It comes and goes at every step, where the layers
# before drift; and the next BN takes away again what of it is the same for all images, as far as
# the ReLU between them lets it. Noise may also do harm of its own, so that its cost does not say
# what steadiness is worth.

# fold: keep the numbers, check what the words claim
evidence.note(seeds=len(JUDGING), images=LOOKED_AT)
for (norm, size), values in late.items():
    key = f"shift_{norm.lower()}_{size:g}".replace(".", "_")
    evidence.note(**{key: float(10 ** values.mean())})
evidence.save()
for size in SIZES[1:]:  # the noise does shift what it is to shift
    assert evidence.effects[f"shift, noisy BN - none, size {size}"].low > 0

# %%
# **Limits.** One network, 0.7 epochs, two sizes of noise of one kind; plain gradient descent.
# Shift is the movement of means; Santurkar et al. also looked at how much the gradient of a layer
# changes when the layers before it are updated, which was not measured here. Nor was it asked
# whether another way to hold distributions steady helps as much.
#
# **Try it.** Add stronger noise: ``SIZES = (0.0, 0.5, 1.0, 2.0)`` and ``2.0: "dashdot"`` in
# ``STROKES``.
#
# Next: :doc:`measure the smoothness <plot_04_measure_the_smoothness>`.
