"""
Train on few images
===================

**The question.** Does batch normalization (BN) act as regularization: does a network that can learn
its training images by heart do better on other images because of it?

.. predict:: BN at the rate of constants - constants, average
   :yes: with the mean and variance of each batch
   :opposite: with constants

   BN takes mean and variance from each batch, so that an image is normalized a little differently
   every time. This noise is said to regularize. Now take the mean and variance of the *first* batch
   and keep them as constants: no noise is left. Both networks learn 512 images at the same
   learning rate, the best one for the constants. Which is more accurate on test images, on average
   over four batch sizes?

   none
      It is tempting to count on the noise, which resembles that of dropout. But at the same
      learning rate nothing that would matter comes of statistics of each batch, in either
      direction. Where BN is ahead of the constants, look at its learning rate first.

   undecided
      It is tempting to count on the noise, which resembles that of dropout. But at the same
      learning rate these runs do not show that it brings anything.

   opposite
      It is tempting to count on the noise, which resembles that of dropout. But at the same
      learning rate the constants are ahead: the statistics of each batch cost more than their noise
      brings.

   yes
      The noise may be why. But it is tempting to stop here: statistics of each batch also follow
      the weights, as constants do not.

**In short.** Is the test accuracy higher with BN, each network at its best batch size and learning
rate? Than that of the plain network: :finding:`BN - none, each at its best`. Than with weight
decay: :finding:`BN - decay, each at its best`. Than with dropout:
:finding:`BN - dropout, each at its best`.
Is the test loss lower? In batches of 128: :finding:`loss, none - BN, batches of 128`; of all
images, which have no noise: :finding:`loss, none - BN, batches of 512`.
Is the accuracy due to the noise of the batches? BN minus a rival with constant statistics, both at
the rival's learning rate, is :finding:`BN at the rate of constants - constants, average`; more
noise alone brings :finding:`parts of 32 - whole batch`.

.. lead-figure::

**What was done.** ReLU networks with two hidden layers of 100 units and He's initial weights (their
variance is 2 divided by the number of inputs) learn from 512 images. *Varied:* what is added to the
plain network: BN; BN with constants, the mean and variance of the first batch, in place of those of
each batch; weight decay; dropout. And the batch size: 8, 32, 128 or all 512, and the learning rate.
*Held fixed:* the images, and for each batch size the number of steps: 800, 480, 160 and 120, that
is 12.5, 30, 40 and 120 passes through the images (epochs). Settings are chosen on 5,000 other
images with 3 seeds; the networks are then compared on 10,000 test images with 10 new seeds, and 10
others for the loss. Without BN, networks learn their training images by heart: in batches of up to
128, at the rates chosen for these, they classify nearly all of them correctly in the second half of
the training (:value:`known_without_BN:.1%` in the lowest median over the seeds). Loss is the mean
of minus the natural logarithm of the probability that a network gives to the right digit; its unit
is the nat.

**You need** :doc:`how arms are compared fairly <plot_02_raise_the_learning_rate>`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import average
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import (
    draw_effects,
    draw_spread,
    label_lines,
    new_figure,
)
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import (
    judge,
    study,
    table,
    tune,
    without_diverged,
)
from bn_tutorial.lab.training import Config

# %%
# The settings
# ------------
# Each kind of network that is compared is an *arm* of the study. Each arm has a *ladder* of
# learning rates for each batch size, in steps of about half a decade. The ladders reach up to rates
# at which training fails or becomes worse, which are greater with BN. For the test loss they reach
# further down: it grows when a network becomes surer of its wrong answers, so that smaller rates
# may be better.


@dataclass(frozen=True)
class Arm:
    """A kind of network, and what is tried with it."""

    rates: dict[int, tuple[float, ...]]  # for each batch size
    norm: str | None = None
    decays: tuple[float, ...] = (0.0,)  # strengths of weight decay
    dropouts: tuple[float, ...] = (0.0,)  # shares of hidden units


IMAGES = 512
TUNING, JUDGING = range(50, 53), range(270, 280)  # seeds
JUDGING_LOSS = range(280, 290)
NETWORK = {"widths": (784, 100, 100, 10), "activation": "relu", "init": "he"}
STEPS = {8: 800, 32: 480, 128: 160, IMAGES: 120}  # for each batch size

PLAIN_RATES = {
    8: (0.01, 0.03, 0.1, 0.3),
    32: (0.03, 0.1, 0.3, 1.0),
    128: (0.03, 0.1, 0.3, 1.0),
    IMAGES: (0.1, 0.3, 1.0),
}
BN_RATES = {
    8: (0.01, 0.03, 0.1, 0.3, 1.0),
    32: (0.1, 0.3, 1.0, 3.0),
    128: (0.3, 1.0, 3.0, 10.0),
    IMAGES: (0.3, 1.0, 3.0, 10.0),
}
LOWER_RATES = {  # for the loss
    "none": {8: (0.003,), 32: (0.003, 0.01), 128: (0.01,), IMAGES: (0.03,)},
    "BN": {8: (0.003,), 32: (0.01, 0.03), 128: (0.1,), IMAGES: (0.1,)},
}
ARMS = {
    "none": Arm(PLAIN_RATES),
    "constants": Arm(PLAIN_RATES, norm="actnorm"),
    "BN": Arm(BN_RATES, norm="batch"),
    "decay": Arm(PLAIN_RATES, decays=(0.001, 0.01)),
    "dropout": Arm(PLAIN_RATES, dropouts=(0.2, 0.5)),
}
PARTS = (8, 32, 128)  # sizes of the parts of the whole batch
for size in PARTS:
    whole = {IMAGES: BN_RATES[IMAGES]}
    ARMS[f"parts of {size}"] = Arm(whole, norm=f"ghost:{size}")
MATTERS, MATTERS_LOSS = 1.0, 0.01  # percentage points, nat

data = load().hold_out(5_000).first(IMAGES)
evidence = Evidence(
    "03_in_training/plot_08_train_on_few_images",
    data=data,
    seeds=JUDGING,
    horizon="120 to 800 steps (12.5 to 120 epochs)",
    claims={
        "BN - none, each at its best": "BN ahead of plain, few images",
        "BN - decay, each at its best": "BN ahead of decay, few images",
        "BN - dropout, each at its best": "BN ahead of dropout, few images",
        "loss, none - BN, batches of 8": "BN's loss lower, batches of 8",
        "loss, none - BN, batches of 32": "BN's loss lower, batches of 32",
        "loss, none - BN, batches of 128": "BN's loss lower, batches of 128",
        "loss, none - BN, batches of 512": "BN's loss lower, whole set",
    },
)

# %%
# What is compared
# ----------------
# BN changes two things at once. It divides by the spread of its inputs, which permits other
# learning rates. And it takes that spread, and the mean (the *statistics*), from a batch that is
# different each time, so that a network sees an image a little differently in each epoch. This
# second thing, a kind of noise, is what is usually meant when people say that BN *regularizes*. (On
# test images BN has no noise: it takes averages of the statistics that it gathered in training.)
#
# So BN has several rivals. The **plain** network ("none") has no normalization. The network with
# **constants** is normalized with the mean and variance of its first batch, which stay as they are
# (ActNorm). It starts exactly as a network with BN does, but does not depend on later batches. The
# other two are plain networks with the usual means of regularization: **weight decay**, which pulls
# the weights towards zero at each step, and **dropout**, which leaves out a random share of the
# hidden units at each step.
#
# There is one more arm: BN on **parts** of the batch ("ghost batches"). Each step uses all 512
# images, so that its gradient has no noise of sampling; but the images are normalized in parts of
# 8, 32 or 128, each with its own mean and variance. Against BN on the whole batch, this adds the
# noise of the statistics. (It also takes more out of the gradient: :doc:`two directions
# </derivations/meaning>` in each part.)


class Setting(NamedTuple):
    """What is chosen for an arm. Settings are sorted from left to right."""

    decay: float
    dropout: float
    rate: float
    batch: int


def run(arm, setting):
    """Return the run of an arm at a setting."""
    steps = STEPS[setting.batch]
    config = Config(
        steps=steps,
        evaluate_every=steps // 2,
        batch_size=setting.batch,
        lr=setting.rate,
        weight_decay=setting.decay,
    )
    norm = ARMS[arm].norm
    return RunSpec(norm, dropout=setting.dropout, config=config, **NETWORK)


def ladder(arm, batch_sizes, lower_rates=()):
    """Return the runs among which an arm's setting is chosen."""
    settings = sorted(
        Setting(decay, dropout, rate, batch)
        for batch in batch_sizes
        for rate in (*lower_rates, *ARMS[arm].rates[batch])
        for decay in ARMS[arm].decays
        for dropout in ARMS[arm].dropouts
    )
    return {setting: run(arm, setting) for setting in settings}


# %%
# Choose the settings
# -------------------
# There are two ways to compare. Either the batch size is given, and each arm takes the rate that is
# best for it at that size. Or each arm may take its best batch size, rate and strength. The second
# way is fairer if one wants to know what BN is good for: a batch size that suits BN may not suit
# its rival. The runs are the same; only the ladders differ.
#
# The rule is that of one standard error: of all settings whose validation accuracy is at most one
# standard error below the best, the smallest is taken. "Smallest" means here: the least strength,
# then the smallest rate, then the smallest batch.

BEST = "at its best"
ladders = {
    (arm, batch): ladder(arm, [batch])
    for arm in ("none", "constants", "BN")
    for batch in STEPS
}
for arm in ("none", "decay", "dropout", "BN"):
    ladders[arm, BEST] = ladder(arm, STEPS)
for size in PARTS:
    ladders[f"parts of {size}", IMAGES] = ladder(f"parts of {size}", [IMAGES])

tuning = tune(ladders, data, TUNING)
judged = judge(tuning, data, JUDGING)

# %%
# The test loss is another goal, and has its own best rates.

loss_ladders = {
    (arm, batch): ladder(arm, [batch], LOWER_RATES[arm][batch])
    for arm in ("none", "BN")
    for batch in STEPS
}
loss_tuning = tune(loss_ladders, data, TUNING, quantity="loss")
loss_judged = judge(loss_tuning, data, JUDGING_LOSS)

# %%
# A rate at which all tuning seeds train may still diverge with another seed: the loss becomes
# infinite or not a number, and there is no accuracy. Such a seed is left out of all comparisons
# with that arm, which spares the arm that diverged. (The design did not foresee it.) A network that
# trains badly without diverging counts. The table below says where networks did, if any did.


def trained(*keys):
    """Judge some arms by the seeds with which all of them train."""
    return without_diverged(judged, keys, data)


# %%
# To tell the noise from the rate, BN is also trained at the rates chosen for the constants.

constants = trained(*(("constants", batch) for batch in STEPS))
same_rate = study(
    {batch: run("BN", tuning.chosen(("constants", batch))) for batch in STEPS},
    data,
    constants.seeds,
)

# %%

# fold: draw the validation accuracy against the rate
COLORS = {"none": "blue", "constants": "green", "BN": "orange"}

alt = (
    "Four panels, one for each batch size: validation accuracy against the "
    "learning rate, for the plain network, constants and batch normalization."
)
figure, axes = new_figure(1, 4, width=7.2, height=3.2, sharey=True, alt=alt)
for ax, batch in zip(axes, STEPS, strict=True):
    for arm, color in COLORS.items():
        scores = {
            setting.rate: accuracies
            for setting, accuracies in tuning.scores[arm, batch].items()
            if not (setting.decay or setting.dropout)
        }
        # of a setting that was given up, its only seed
        runs = [np.resize(known, len(TUNING)) for known in scores.values()]
        draw_spread(ax, [*scores], np.transpose(runs), color=color, label=arm)
    ax.set(title=f"batches of {batch}", xscale="log")
top = max(s.max() for k in ladders for s in tuning.scores[k].values())
axes[0].set(ylabel="validation accuracy (%)", ylim=(top - 7, top + 0.5))
figure.supxlabel("learning rate", size=12)
handles = axes[0].get_legend_handles_labels()
figure.legend(*handles, loc="outside upper left", ncols=3)

# %%
# Lines are means over the tuning seeds, bands go from the worst to the best. A line stops where a
# seed diverges, and leaves the panel where it is far below the best.
#
# The settings that were chosen (after the arm stands the batch size, where it was given), with the
# accuracy on the training images in the second half of the training and on the test images after
# it. The accuracy in training is measured just before each step, in training mode: with dropout,
# some units are missing then. The images for choosing settings and the test images are not equally
# hard: compare accuracies only within one of the two. "The next one diverges" speaks of the next
# larger rate.

# fold: print what was chosen
rows = {}
for arm, where in ladders:
    key, setting = (arm, where), tuning.chosen((arm, where))
    # In a ladder over several batch sizes, the next setting is not the next rate.
    remarks = [] if where == BEST else tuning.remarks(key)
    if lost := judged.runs.diverged(key):
        remarks.append(f"{lost} of {len(JUDGING)} diverged")
    strength = setting.decay or setting.dropout
    mean = trained(key)
    rows[f"{arm}, {where}"] = [
        setting.batch,
        setting.rate,
        strength or "-",
        f"{mean.last(key, 'train_accuracy').mean:.1f}",
        f"{mean.last(key).mean:.1f}",
        "; ".join(remarks),
    ]
columns = ["batch", "rate", "strength", "training (%)", "test (%)", "remarks"]
print(table(rows, columns))
print("\nFor the loss:")
rows = {
    f"{arm}, batches of {batch}": [
        loss_tuning.chosen((arm, batch)).rate,
        "; ".join(loss_tuning.remarks((arm, batch))),
    ]
    for arm, batch in loss_ladders
}
print(table(rows, ["rate", "remarks"]))

# %%
# Compare
# -------
# All comparisons are paired: at each seed, both networks have the same initial weights and see the
# images in the same order. So what a seed does to both cancels in the difference. An interval
# covers the seeds, the test images, and that chance could have chosen other settings. Where one of
# these fails with some seed, as a rate just below those that diverge may, the interval is as wide
# as that makes it. A difference of at least 1 percentage point matters; of the loss, 0.01 nat.


def compare(name, treated, control, **horizon):
    """Compare the test accuracies of two arms."""
    pair = trained(treated, control)
    return evidence.compare(
        name,
        pair.last(treated),
        pair.last(control),
        unit="points",
        smallest=MATTERS,
        seeds=pair.seeds,
        **horizon,
    )


def horizon(batch):
    """Say how long networks are trained at a batch size."""
    steps = STEPS[batch]
    return f"{steps:,} steps ({steps * batch / IMAGES:g} epochs)"


at_best = [
    compare(
        f"{treated} - {control}, each at its best",
        (treated, BEST),
        (control, BEST),
    )
    for treated, control in (
        ("BN", "none"),
        ("BN", "decay"),
        ("BN", "dropout"),
        ("decay", "none"),
        ("dropout", "none"),
    )
]
at_each = {
    rival: [
        compare(
            f"BN - {rival}, batches of {batch}",
            ("BN", batch),
            (rival, batch),
            horizon=horizon(batch),
        )
        for batch in STEPS
    ]
    for rival in ("none", "constants")
}
print(evidence.table())

# %%

# fold: draw the differences, the main figure
alt = (
    "Rows of differences in test accuracy with their intervals, around zero. "
    "Above: batch normalization, weight decay and dropout compared in pairs, "
    "each at its best. Below: batch normalization minus the plain network for "
    "batches of four sizes."
)
figure, axes = new_figure(
    2,
    1,
    width=7.2,
    height=4.4,
    sharex=True,
    height_ratios=(5, 4),
    lead=True,
    alt=alt,
)
pairs = [effect.name.partition(",")[0] for effect in at_best]
draw_effects(axes[0], at_best, labels=pairs)
axes[0].set(title="each at its best batch size, rate and strength", xlabel="")
sizes = [f"batches of {batch}" for batch in STEPS]
draw_effects(
    axes[1],
    at_each["none"],
    labels=sizes,
    unit="percentage points of test accuracy (grey: too few to matter)",
)
axes[1].set(title="BN \N{MINUS SIGN} none, each at its best rate")

# %%
# Look for the reason
# -------------------
# If the constants did as well as BN, the batch would not be the reason. If BN leads only at its
# own, greater rate, the rate is what helps. And if noise is what helps, smaller parts of the whole
# batch should do better than the whole.

same = evidence.compare(
    "BN at the rate of constants - constants, average",
    average([same_rate.last(batch) for batch in STEPS]),
    average([constants.last(("constants", batch)) for batch in STEPS]),
    unit="points",
    smallest=MATTERS,
    seeds=constants.seeds,
)
in_parts = [
    compare(
        f"parts of {size} - whole batch",
        (f"parts of {size}", IMAGES),
        ("BN", IMAGES),
        horizon=horizon(IMAGES),
    )
    for size in PARTS
]
lost = [
    evidence.compare(
        f"loss, none - BN, batches of {batch}",
        loss_judged.last(("none", batch), "test_loss"),
        loss_judged.last(("BN", batch), "test_loss"),
        unit="nat",
        smallest=MATTERS_LOSS,
        seeds=JUDGING_LOSS,
        horizon=horizon(batch),
    )
    for batch in STEPS
]
print(evidence.table(*(effect.name for effect in [same, *in_parts, *lost])))

# %%

# fold: draw these differences
alt = (
    "Rows of differences with their intervals. Above, in percentage points of "
    "test accuracy: batch normalization minus constants for four batch sizes, "
    "at the rate of the constants, and parts of the batch minus the whole. "
    "Below, in nat: test loss of the plain network minus that of batch "
    "normalization, for four batch sizes."
)
figure, axes = new_figure(
    2, 1, width=7.2, height=5.6, height_ratios=(8, 4), alt=alt
)
labels = [f"BN - constants, batches of {b}" for b in STEPS]
labels.append("BN - constants at one rate, average")
labels += [f"parts of {size} - whole batch" for size in PARTS]
draw_effects(
    axes[0],
    [*at_each["constants"], same, *in_parts],
    labels=labels,
    unit="percentage points of test accuracy",
)
labels = [f"none - BN, batches of {batch}" for batch in STEPS]
draw_effects(axes[1], lost, labels=labels, unit="test loss (nat)")

# %%
# The accuracies and losses themselves. Bands go from the worst to the best seed. They may overlap
# where the paired differences are clear.

# fold: draw accuracy and loss against the batch size
alt = (
    "Two panels against the batch size: test accuracy of the plain network, "
    "constants, batch normalization, and batch normalization at the rate of "
    "the constants; test loss of the plain network and of batch normalization."
)
figure, axes = new_figure(1, 2, width=7.2, height=3.4, alt=alt)
for arm, color in COLORS.items():
    end = trained(*((arm, batch) for batch in STEPS))
    runs = [end.last((arm, batch)).values for batch in STEPS]
    draw_spread(axes[0], [*STEPS], np.transpose(runs), color=color, label=arm)
runs = [same_rate.last(batch).values for batch in STEPS]
label = "BN, rate of\nconstants"
draw_spread(axes[0], [*STEPS], np.transpose(runs), color="pink", label=label)
for arm in ("none", "BN"):
    runs = [loss_judged.last((arm, b), "test_loss").values for b in STEPS]
    look = {"color": COLORS[arm], "label": arm}
    draw_spread(axes[1], [*STEPS], np.transpose(runs), **look)
titles = ("test accuracy (%)", "test loss (nat)")
for ax, title in zip(axes, titles, strict=True):
    ax.set_xscale("log", base=2)
    ax.set_xticks([*STEPS], [f"{batch}" for batch in STEPS])
    ax.set(title=title, xlabel="batch size")
    label_lines(ax, gap=0.09)

# %%

# fold: keep the numbers and check what the words claim
by_heart = {
    (arm, batch): np.nanmedian(
        judged.last((arm, batch), "train_accuracy").values
    )
    for arm in COLORS
    for batch in STEPS
}
without = [  # in whole batches there are only 120 steps
    share
    for (arm, batch), share in by_heart.items()
    if arm != "BN" and batch < IMAGES
]
evidence.note(
    images=IMAGES,
    known_without_BN=min(without) / 100,
    known_with_BN_8=by_heart["BN", 8] / 100,
    known_with_BN=min(by_heart["BN", m] for m in STEPS if m > 8) / 100,
)
evidence.save()
assert min(without) > 95

# %%
# **What to notice.** "BN acts as regularization" is several claims, and each has its own verdict.
#
# - Does BN generalize better than the plain network? Each at its best:
#   :finding:`BN - none, each at its best`. In batches of 8: :finding:`BN - none, batches of 8`; in
#   batches of 128: :finding:`BN - none, batches of 128`. Where these differ, the answer depends
#   on the batch size that one holds fixed.
# - Is it better than the same layer with constants? Each at its own rate, in batches of 8:
#   :finding:`BN - constants, batches of 8`, of 32: :finding:`BN - constants, batches of 32`, of
#   128: :finding:`BN - constants, batches of 128`, of 512:
#   :finding:`BN - constants, batches of 512`. At the rate of the constants, on the average:
#   :finding:`BN at the rate of constants - constants, average`. Where the first are clear and the
#   last is near zero, the lead goes with the larger rate; whether noise helps at that rate was not
#   tried. (In batches of 512, all images, there is no noise, and constants do not follow the
#   weights: so the average is no measure of the noise alone.)
# - Does noise help? Parts of 32 minus the whole batch: :finding:`parts of 32 - whole batch`.
# - Can it replace other regularization? BN minus weight decay:
#   :finding:`BN - decay, each at its best`; weight decay minus the plain network:
#   :finding:`decay - none, each at its best`.
# - The test loss is another question than the accuracy. It also counts how sure a network is of its
#   wrong answers. None minus BN is
#   :finding:`loss, none - BN, batches of 8` in batches of 8 and
#   :finding:`loss, none - BN, batches of 32` in batches of 32.
#
# **Limits.** Small networks without convolutions, 512 images of digits, 12.5 to 120 epochs at
# constant rates. Two strengths of weight decay and of dropout were tried. With data augmentation,
# other images or longer training the answers may differ. Seeds at which an arm diverged are left
# out.
#
# **Try it.** Give BN dropout, too: in the settings, write
# ``"BN": Arm(BN_RATES, norm="batch", dropouts=(0.0, 0.2)),``. The tuning then decides whether BN
# gets it.
#
# Next: :doc:`place the layer <plot_09_place_the_layer>`.
