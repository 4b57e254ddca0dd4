"""
Shrink its batches
==================

**The question.** In perceptrons, batches of two leave batch normalization (BN) nearly unable to
learn. In a convolutional network a channel has many values in every image. Do small batches still
hurt?

**In short.** They do not stop it from learning: with batches of two it reaches a test accuracy of
:value:`bn_2:.0%`. Group normalization minus BN is :finding:`GN - BN, batches of 2` with batches of
two, :finding:`GN - BN, batches of 8` with eight and :finding:`GN - BN, batches of 32` with 32.
Batch renormalization, which leans on the running statistics, minus BN is
:finding:`renorm - BN, batches of 2` with batches of two.

.. lead-figure::

**What was done.** The convolutional network of :doc:`the page before
<plot_01_train_a_convolutional_network>` saw 4,096 images (0.07 epochs), in batches of 2, 8 or 32.
*Varied:* the normalization behind each convolution: BN; group normalization (GN, 4 groups), which
pools over the channels of one image; batch renormalization. Each arm chose its learning rate for
each batch size on 5,000 held-out images, with 3 seeds of its own; then 5 other seeds compared
them.
"""

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import (
    draw_effects,
    draw_spread,
    label_lines,
    new_figure,
)
from bn_tutorial.lab.real_networks import ConvSpec
from bn_tutorial.lab.study import judge, table, tune
from bn_tutorial.lab.training import Config, device

ARMS = {  # by the name on this page: what stands behind each convolution, colour
    "GN": ("group:4", "purple"),
    "renorm": ("renorm", "green"),
    "BN": ("batch", "orange"),
}
RATES = {  # by the batch size
    2: (0.003, 0.01, 0.03, 0.1, 0.3),
    8: (0.03, 0.1, 0.3),
    32: (0.1, 0.3, 1.0),
}
IMAGES = 4_096  # that each network sees
TUNING, JUDGING = range(50, 53), range(130, 135)  # seeds
MATTERS = 1.0  # percentage points

data = load().hold_out(5_000)
evidence = Evidence(
    "04_in_real_networks/plot_02_shrink_its_batches",
    data=data,
    seeds=JUDGING,
    horizon="4,096 images (0.07 epochs)",
    claims={
        "GN - BN, batches of 2": "it suffers in batches of 2",
        "renorm - BN, batches of 2": "renorm helps in batches of 2",
    },
)


def run(arm, batch, lr):
    """Return the settings of one run."""
    steps = IMAGES // batch
    return ConvSpec(
        ARMS[arm][0],
        config=Config(steps, steps, batch, lr=lr),
    )


# %%
# Over how many values is a mean?
# -------------------------------
# A channel of a convolutional layer has a value at each position of each image. Its mean and its
# variance in a batch are over all of them: :math:`m = N H W` numbers, where a unit of a perceptron
# has :math:`m = N`. The images become smaller from layer to layer, and so does :math:`m`.

positions = [14 * 14, 7 * 7, 4 * 4, 4 * 4, 4 * 4, 4 * 4]
print(
    table(
        {
            f"batches of {batch}": [batch * count for count in positions]
            for batch in RATES
        },
        [f"conv {number}" for number in range(1, len(positions) + 1)],
    )
)

# %%
# Neighbouring positions of an image are alike, so these values are worth fewer than as many
# independent ones would be. But even with two images each mean is over dozens of numbers, and the
# output of BN is not just plus or minus one, as it is for a unit in :doc:`batches of two
# </gallery/03_in_training/plot_07_change_the_batch_size>`.
#
# Choose each arm's rate for each batch size
# ------------------------------------------

arms = [(arm, batch) for arm in ARMS for batch in RATES]
ladders = {
    (arm, batch): {lr: run(arm, batch, lr) for lr in RATES[batch]}
    for arm, batch in arms
}
tuning = tune(ladders, data, TUNING)
judged = judge(tuning, data, JUDGING)
print(judged.table(lambda arm: "{}, batches of {}".format(*arm)))

# %%
# Compare with BN at each batch size
# ----------------------------------

for rival in ("GN", "renorm"):
    for batch in RATES:
        evidence.compare(
            f"{rival} - BN, batches of {batch}",
            judged.last((rival, batch)),
            judged.last(("BN", batch)),
            unit="points",
            smallest=MATTERS,
        )
print(evidence.table())

# %%

# fold: draw the accuracy against the batch size, the figure at the top of the page
figure, ax = new_figure(
    lead=True,
    width=7.2,
    height=3.6,
    alt="Test accuracy of a convolutional network against the batch size, from 2 to 32, with "
    "group normalization, batch renormalization and batch normalization. The three lines "
    "are within a few points of each other, also with batches of two.",
)
for arm, (_, color) in ARMS.items():
    ends = [judged.last((arm, batch)).values for batch in RATES]
    runs = [list(values) for values in zip(*ends, strict=True)]
    draw_spread(ax, list(RATES), runs, color=color, label=arm)
ax.set(xscale="log", xlabel="batch size", ylabel="test (%)")
ax.set_xticks(list(RATES), [str(batch) for batch in RATES])
ax.minorticks_off()
label_lines(ax)

# %%

# fold: draw the differences
figure, ax = new_figure(
    width=7.2,
    height=3.2,
    alt="Intervals of six differences of test accuracy, in points: group normalization and "
    "batch renormalization minus batch normalization, for batches of 2, 8 and 32.",
)
draw_effects(
    ax,
    list(evidence.effects.values()),
    unit="difference of test accuracy (points)",
)

# %%

# fold: keep the numbers, check what the words claim
evidence.note(seeds=len(JUDGING), images=IMAGES, smallest=MATTERS)
for arm, batch in arms:
    mean = judged.last((arm, batch)).mean / 100
    evidence.note(**{f"{arm.lower()}_{batch}": mean})
evidence.save()
assert judged.last(("BN", 2)).mean > 50  # far from unable to learn
model = run("BN", 2, 0.1).model().to(device())
outputs = []
for number in range(1, 7):
    block = model.get_submodule(f"block_{number}")
    block.register_forward_hook(lambda *found: outputs.append(found[2].shape))
model(data.standardize(data.test.images[:2]).to(device()))
assert [shape[2] * shape[3] for shape in outputs] == positions

# %%
# **Limits.** One small network, 4,096 images (0.07 epochs), so that what counts is how fast it
# learns at the start. Batch renormalization had its full limits from the first step on; its author
# widens them over thousands of steps, more than this study has. Where images are large and batches
# small, as in detection, deeper layers and other tasks may suffer more.
#
# **Try it.** Add ``4: (0.01, 0.03, 0.1)`` to ``RATES``, or ``"LN": ("layer", "pink")`` to ``ARMS``
# and ``"LN"`` to the rivals.
#
# Next: :doc:`regularize it <plot_03_regularize_it>`.
