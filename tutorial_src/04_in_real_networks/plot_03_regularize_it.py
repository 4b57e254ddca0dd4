"""
Regularize it
=============

**The question.** Does batch normalization (BN) regularize a convolutional network, and how does it
compare with what one would use for that: weight decay and augmentation?

**In short.** With 512 training images, the test accuracy with BN, minus that

- without normalization, is :finding:`BN - none`;
- with weight decay is :finding:`BN - decay`;
- with shifts of the images by up to 2 pixels, a form of augmentation, is :finding:`BN - shifts`;
- without normalization, if the images are shifted for both, is
  :finding:`BN - none, with shifts`.

A lead need not be regularization: who learns faster leads, too. The accuracy on the *training*
images with BN, minus that without normalization, is :finding:`training images, BN - none`; where
that is above zero, BN does more than regularize.

.. lead-figure::

**What was done.** The convolutional network of :doc:`the first of these pages
<plot_01_train_a_convolutional_network>` was trained on 512 images for 320 steps (40 epochs) in
batches of 64. *Varied:* BN behind each convolution or none; weight decay of 0.0001, 0.001 or 0.01;
shifts, which move each training image at each step by up to 2 pixels in either direction. Each arm
chose its learning rate, and the strength of its decay, on 5,000 held-out images, with 3 seeds of
its own; then 8 other seeds compared them.

**You need** :doc:`the convolutional network <plot_01_train_a_convolutional_network>` and :doc:`what
regularizes a perceptron </gallery/03_in_training/plot_08_train_on_few_images>`.
"""

from dataclasses import replace

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import compare
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_effects, new_figure
from bn_tutorial.lab.real_networks import ConvSpec
from bn_tutorial.lab.study import cross, judge, table, tune
from bn_tutorial.lab.training import Config

ARMS = {  # by the name on this page: settings of ConvSpec, rates, colour
    "none": ({}, (0.1, 0.3, 1.0), "blue"),
    "decay": ({}, (0.1, 0.3, 1.0), "purple"),
    "shifts": ({"shift": 2}, (0.1, 0.3, 1.0), "green"),
    "BN": ({"norm": "batch"}, (1.0, 3.0, 10.0), "orange"),
    "BN with shifts": ({"norm": "batch", "shift": 2}, (0.3, 1.0, 3.0), "pink"),
}
DECAYS = {"decay": (0.0001, 0.001, 0.01)}  # of the others, none
CONFIG = Config(steps=320, evaluate_every=160, batch_size=64)
FEW = 512  # training images
TUNING, JUDGING = range(50, 53), range(250, 258)  # seeds
MATTERS = 1.0  # percentage points

data = load().hold_out(5_000).first(FEW)
evidence = Evidence(
    "04_in_real_networks/plot_03_regularize_it",
    data=data,
    seeds=JUDGING,
    horizon="320 steps (40 epochs of 512 images)",
    claims={
        "BN - none": "ahead of plain, 512 images",
        "BN - decay": "more than weight decay, conv.",
        "BN - shifts": "more than shifts, conv.",
        "BN - none, with shifts": "it helps beside shifts, conv.",
    },
)


def run(arm, decay, lr):
    """Return the settings of one run."""
    return ConvSpec(
        config=replace(CONFIG, lr=lr, weight_decay=decay),
        **ARMS[arm][0],
    )


# %%
# Choose each arm's settings
# --------------------------
# From here on, an arm's setting is a strength of weight decay and a learning rate. For the arm with
# decay, three rates are tried at the middle strength and three strengths at the middle rate; where
# the best is the first or the last of them, more beyond it. If two settings cannot be told apart,
# the one with less decay and the smaller rate is taken.

ladders = {
    arm: {
        setting: run(arm, *setting)
        for setting in cross(DECAYS.get(arm, (0.0,)), rates)
    }
    for arm, (_, rates, _) in ARMS.items()
}
tuning = tune(
    ladders, data, TUNING, run=lambda arm, setting: run(arm, *setting)
)
judged = judge(tuning, data, JUDGING)
rows = {}
for arm in ARMS:
    decay, lr = tuning.chosen(arm)
    training = judged.last(arm, "train_accuracy").mean
    test = judged.last(arm).mean
    remarks = "; ".join(tuning.remarks(arm, "decay", "rate"))
    rows[arm] = [lr, decay or "-", training, test, remarks]
print(table(rows, ["rate", "decay", "training (%)", "test (%)", "remark"]))

# %%
# The accuracy on the training images is the mean over the second half of the steps, in training
# mode, of each batch before its step; on shifted images where there are shifts. So the network at
# the end may know more of them.
#
# Compare them
# ------------

PAIRS = {
    "BN - none": ("BN", "none"),
    "BN - decay": ("BN", "decay"),
    "BN - shifts": ("BN", "shifts"),
    "shifts - none": ("shifts", "none"),
    "BN - none, with shifts": ("BN with shifts", "shifts"),
}
for name, (treated, control) in PAIRS.items():
    evidence.compare(
        name,
        judged.last(treated),
        judged.last(control),
        unit="points",
        smallest=MATTERS,
    )
points = list(evidence.effects.values())
evidence.compare(
    "training images, BN - none",
    judged.last("BN", "train_accuracy"),
    judged.last("none", "train_accuracy"),
    unit="points",
    smallest=MATTERS,
)
print(evidence.table())

# %%

# fold: draw each arm's errors and the differences, the figure at the top of the page
figure, axes = new_figure(
    2,
    1,
    lead=True,
    width=7.2,
    height=5.2,
    alt="Above, the test errors of five arms, a stroke for each seed and a dot for their "
    "mean. Below, intervals of five differences of test accuracy between them, in points.",
)
for row, (arm, (_, _, color)) in enumerate(ARMS.items()):
    errors = 100 - judged.last(arm).values
    axes[0].plot(
        errors, 0 * errors + row, "|", color=COLORS[color], markersize=11
    )
    axes[0].plot(
        [np.nanmean(errors)], [row], "o", color=COLORS[color], markersize=7
    )
axes[0].set_yticks(range(len(ARMS)), ARMS)
axes[0].set(xlabel="test error (%)", ylim=(len(ARMS) - 0.5, -0.5))
axes[0].set_xlim(left=0)
draw_effects(axes[1], points, unit="difference of test accuracy (points)")

# %%

# fold: keep the numbers, check what the words claim
evidence.note(seeds=len(JUDGING), steps=CONFIG.steps, images=FEW)
for arm in ARMS:
    key = arm.lower().replace(" ", "_")
    evidence.note(**{key: judged.last(arm).mean / 100})
evidence.save()
trained = compare(
    "none - 20 percent, training images",
    judged.runs.last("none", "train_accuracy"),  # as chosen
    len(JUDGING) * [20.0],
    unit="points",
    smallest=MATTERS,
)
assert trained.low > 0  # what has not begun to learn is no control

# %%
# **Limits.** One small network, 512 images, 320 steps (40 epochs) at a constant rate; three
# strengths of decay and one of the shifts. Images of digits. With more of them the differences may
# be others. Training images were looked at while the network learned them, not at the end.
#
# **Try it.** Set ``"shift": 1`` or ``"shift": 4``, or give BN a decay, too:
# ``DECAYS = {"decay": (0.0001, 0.001, 0.01), "BN": (0.0001, 0.001, 0.01)}``.
#
# Next: :doc:`add to the stream </derivations/residual>`.
