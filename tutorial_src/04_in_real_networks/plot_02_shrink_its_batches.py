"""
Shrink its batches
==================

**The question.** In a perceptron, batches of two cost batch normalization (BN) much accuracy.
In a convolutional network a channel has many values in every image. Is group normalization still
ahead in small batches?

.. predict:: GN - BN, batches of 2
   :yes: group normalization
   :opposite: batch normalization

   :doc:`In a perceptron </gallery/03_in_training/plot_07_change_the_batch_size>`, batches of two
   images were too small for BN, and group normalization was far ahead. Now a convolutional network
   learns in batches of two. With which of them is it more accurate?

   opposite
      It is tempting to count the images. But the mean of a channel is over all positions of both
      images, dozens of values and more. So an output is not just plus or minus one, and most of the
      gradient passes.

   undecided
      It is tempting to count the images. But the mean of a channel is over all positions of both
      images, dozens of values and more. Which of the two is ahead here, these runs do not show.

**In short.** Batches of two do not stop the network from learning: with BN it reaches a test
accuracy of :value:`bn_2:.0%`. That with group normalization, minus that with BN, is
:finding:`GN - BN, batches of 2` with batches of two and :finding:`GN - BN, batches of 8` with
eight; that with batch renormalization, which leans on the running statistics, minus BN is
:finding:`renorm - BN, batches of 2` with batches of two.

.. lead-figure::

**What was done.** The convolutional network of :doc:`the page before
<plot_01_train_a_convolutional_network>` was trained for 800 steps, in batches of 2 (0.03 epochs) or
8 (0.12 epochs). *Varied:* the normalization behind each convolution: BN; group normalization (GN, 4
groups), which pools over all positions and a group of channels of one image; for batches of two,
batch renormalization. Each arm chose its learning rate for each batch size on 5,000 held-out
images, with 3 seeds of its own; then 5 other seeds compared them.

**You need** :doc:`the convolutional network <plot_01_train_a_convolutional_network>` and :doc:`what
small batches do to a perceptron </gallery/03_in_training/plot_07_change_the_batch_size>`.
"""

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import compare
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import draw_effects, new_figure
from bn_tutorial.lab.real_networks import ConvSpec
from bn_tutorial.lab.study import judge, table, tune
from bn_tutorial.lab.training import Config, device

NORMS = {"GN": "group:4", "renorm": "renorm", "BN": "batch"}
RATES = {  # by the arm and the batch size
    ("GN", 2): (0.03, 0.1, 0.3),
    ("renorm", 2): (0.1, 0.3, 1.0),
    ("BN", 2): (0.1, 0.3, 1.0),
    ("GN", 8): (0.1, 0.3, 1.0),
    ("BN", 8): (0.1, 0.3, 1.0),
}
STEPS = 800
TUNING, JUDGING = range(50, 53), range(250, 255)  # seeds
MATTERS = 1.0  # percentage points

data = load().hold_out(5_000)
evidence = Evidence(
    "04_in_real_networks/plot_02_shrink_its_batches",
    data=data,
    seeds=JUDGING,
    horizon="800 steps (0.03, 0.12 epochs)",
    claims={
        "GN - BN, batches of 2": "it suffers in batches of 2",
        "renorm - BN, batches of 2": "renorm helps in batches of 2",
    },
)


def run(arm, batch, lr):
    """Return the settings of one run."""
    return ConvSpec(NORMS[arm], config=Config(STEPS, STEPS, batch, lr=lr))


# %%
# Over how many values is a mean?
# -------------------------------
# A channel of a convolutional layer has a value at each position of each image. Its mean and its
# variance in a batch are over all of them: :math:`m = N H W` numbers, where a unit of a perceptron
# has :math:`m = N`. The images become smaller in the first layers, and so does :math:`m`.

positions = [14 * 14, 7 * 7, 4 * 4, 4 * 4]
print(
    table(
        {
            f"batches of {batch}": [batch * count for count in positions]
            for batch in (2, 8, 64)
        },
        [f"conv {number}" for number in range(1, len(positions) + 1)],
    )
)

# %%
# Neighbouring positions of an image are alike, so :math:`m` such values tell less than as many
# independent ones. But even with two images each mean is over dozens of numbers, and the
# output of BN is not just plus or minus one, as it is for a unit in :doc:`batches of two
# </gallery/03_in_training/plot_07_change_the_batch_size>`.
#
# Choose each arm's rate for each batch size
# ------------------------------------------

ladders = {
    (arm, batch): {lr: run(arm, batch, lr) for lr in RATES[arm, batch]}
    for arm, batch in RATES
}
tuning = tune(ladders, data, TUNING)
judged = judge(tuning, data, JUDGING)
print(judged.table(lambda arm: "{}, batches of {}".format(*arm)))

# %%
# Compare with BN at each batch size
# ----------------------------------

for rival, batch in (("GN", 2), ("renorm", 2), ("GN", 8)):
    evidence.compare(
        f"{rival} - BN, batches of {batch}",
        judged.last((rival, batch)),
        judged.last(("BN", batch)),
        unit="points",
        smallest=MATTERS,
    )
print(evidence.table())

# %%

# fold: draw the differences, the figure at the top of the page
figure, ax = new_figure(
    lead=True,
    width=7.2,
    height=2.2,
    alt="Intervals of three differences of test accuracy, in points: group normalization and "
    "batch renormalization minus batch normalization with batches of 2, and group minus batch "
    "normalization with batches of 8.",
)
draw_effects(
    ax,
    list(evidence.effects.values()),
    unit="difference of test accuracy (points)",
)

# %%

# fold: keep the numbers, check what the words claim
evidence.note(seeds=len(JUDGING), steps=STEPS)
for arm, batch in RATES:
    mean = judged.last((arm, batch)).mean / 100
    evidence.note(**{f"{arm.lower()}_{batch}": mean})
evidence.save()
learns = compare(
    "BN - 20 percent, batches of 2",
    judged.runs.last(("BN", 2)),  # as chosen
    len(JUDGING) * [20.0],
    unit="points",
    smallest=MATTERS,
)
assert learns.low > 0  # guessing is right for about 10 percent
model = run("BN", 2, 0.1).model().to(device())
outputs = []
for number in range(1, 5):
    block = model.get_submodule(f"block_{number}")
    block.register_forward_hook(lambda *found: outputs.append(found[2].shape))
model(data.standardize(data.test.images[:2]).to(device()))
assert [shape[2] * shape[3] for shape in outputs] == positions

# %%
# **Limits.** One small network and 800 steps, in which it sees 1,600 or 6,400 images, so that what
# counts is how fast it learns at the start; so accuracies with batches of 2 and of 8 cannot be
# compared. Batch renormalization may correct by the largest amounts that it allows from the first
# step on; its author widens these over thousands of steps, more than this study has. Where
# images are large and batches small, as in detection, other layers and tasks may suffer more.
#
# **Try it.** Add ``"LN": "layer"`` to ``NORMS``, ``("LN", 2): (0.03, 0.1, 0.3)`` to ``RATES`` and
# ``("LN", 2)`` to the pairs that are compared.
#
# Next: :doc:`regularize it <plot_03_regularize_it>`.
