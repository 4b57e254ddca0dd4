"""
Train with and without batch normalization
==========================================

**The question.** How much more accurate does batch normalization make a network of sigmoids in the
same number of steps, and how sure is that?

**In short.** After 5 epochs it is more accurate by :finding:`BN - none`. With
batch normalization :value:`test_with:.1%` of the test images are classified correctly, without it
:value:`test_without:.1%`; always guessing the most frequent digit gives :value:`majority:.1%`. So
this compares a network that trains with one that hardly does.

.. lead-figure::

**What was done.** This site began as a teaching notebook, whose claims it checks. The notebook's
network (four hidden layers of 256 sigmoids, PyTorch's initial weights) was trained twice: without
batch normalization (BN) and with it. These two are the *arms* of the comparison. Each was trained
for 5 epochs, half as long as in the notebook, on all 60,000 images, in batches of 128, by plain
stochastic gradient descent at *one* learning rate, 0.1. A seed decides the initial weights and the
order of the images. Both arms share it, so each of the 5 seeds gives one paired difference. In
brackets above stands a 95 % *interval*: where the mean difference over very many seeds, and on
other test images, probably lies.
"""

import math

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import compare
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_spread, label_lines, new_figure
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import study, table
from bn_tutorial.lab.training import Config

data = load()
seeds = range(270, 275)
lr, batch_size, epochs = 0.1, 128, 5
norms = {"without BN": None, "with BN": "batch"}
smallest = 1.0  # percentage points that matter

# %%
# Train every pair
# ----------------
# A ``RunSpec`` says what one training needs; ``study`` runs each of them once for every seed.

epoch = math.ceil(len(data.train) / batch_size)  # steps
config = Config(
    epochs * epoch, evaluate_every=epoch, batch_size=batch_size, lr=lr
)
results = study(
    {arm: RunSpec(norm, config=config) for arm, norm in norms.items()},
    data,
    seeds,
)

# %%
# At the end, seed by seed. The accuracy in training is counted over the last epoch, while the
# network still learns; that on the test images after it. So the second may be the higher one.

rows = {
    f"{arm}, {part}": [
        f"{accuracy:.1f}"
        for accuracy in results.last(arm, f"{part}_accuracy").values
    ]
    for arm in norms
    for part in ("train", "test")
}
print(table(rows, columns=[f"seed {seed}" for seed in seeds]))

# %%

# fold: draw loss and error, the main figure
figure, axes = new_figure(
    1,
    2,
    lead=True,
    width=7.2,
    height=3.4,
    alt="Two panels against the epoch, with a band over the seeds: training loss and test error, "
    "which is drawn on a logarithmic axis. With batch normalization both fall at once. Without it "
    "both stay near what guessing the most frequent digit gives.",
)
majority = (data.test.labels.bincount().max() / len(data.test.labels)).item()
at = np.arange(1, epochs + 1)
for arm, color in zip(norms, ("blue", "orange"), strict=True):
    draw_spread(
        axes[0], at, results.curve(arm, "train_loss"), color=color, label=arm
    )
    error = 100 - 100 * results.curve(arm, "test_accuracy")
    draw_spread(axes[1], at, error, color=color, label=arm)
axes[0].set(
    title="training loss (nat)",
    xlabel="epoch",
    ylim=(0, None),
    xticks=at,
)
axes[1].set(title="test error (%)", xlabel="epoch", yscale="log", xticks=at)
axes[1].set_yticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"])
axes[1].minorticks_off()
axes[1].axhline(100 - 100 * majority, color=COLORS["grey"], linestyle="dotted")
label_lines(axes[1])

# %%
# In the main figure, a line is the mean over the seeds, and its band reaches from the lowest to the
# highest. The dotted line is the error of always guessing the most frequent digit. The loss of an
# image is minus the natural logarithm of the probability that the network gave to the right digit;
# its unit is called *nat*.
#
# Measure the difference
# ----------------------
# An effect of less than one percentage point would not be worth mentioning. Here even the lower end
# of the interval is far above that. How wide the interval is follows from how much the differences
# of the seeds, in the table above, scatter. What the difference *means* is another question.

evidence = Evidence(
    "03_in_training/plot_01_compare_training",
    data=data,
    seeds=seeds,
    horizon=f"{epochs} epochs",
)
with_bn, without = results.last("with BN"), results.last("without BN")
effect = evidence.compare(
    "BN - none", with_bn, without, unit="points", smallest=smallest
)
print(evidence.table())

# %%
# What one learning rate can and cannot show
# ------------------------------------------
# It can show that *this* network, with *these* initial weights, hardly trains at *this* rate within
# so few epochs, and does with batch normalization. A likely reason is :doc:`measured later
# </gallery/02_inside_a_network/plot_02_follow_the_signal>`: almost no signal reaches the last
# layer, and almost no gradient the first.
#
# It cannot show that batch normalization *permits larger* learning rates. For that, several rates
# must be tried, and the notebook called this one large without trying a smaller one. Nor is the
# network without BN a strong opponent: nobody would train a deep sigmoid network without
# normalization from these initial weights. With other initial weights the gap may be another one.

# %%

# fold: keep the numbers, check what the words claim
gap = results.last("with BN", "train_accuracy").values - with_bn.values
to_90 = 1 + np.argmax(results.curve("with BN", "test_accuracy") >= 0.9, axis=1)
evidence.note(
    data=data.title,
    seeds=len(seeds),
    epochs=epochs,
    lr=lr,
    majority=majority,
    test_without=without.mean / 100,
    test_without_max=without.values.max() / 100,
    test_with=with_bn.mean / 100,
    test_with_min=with_bn.values.min() / 100,
    train_with=results.last("with BN", "train_accuracy").mean / 100,
    train_minus_test_with=gap.mean() / 100,
    epochs_to_90_with=to_90.max(),
    confidence=effect.confidence,
)
evidence.save()
assert effect.low > 20  # batch normalization makes this network learn
half = {
    arm: compare(
        f"{arm} - half of the images",
        results.last(arm),
        len(seeds) * [50.0],
        unit="points",
        smallest=smallest,
    )
    for arm in norms
}
assert half["without BN"].high < 0  # one hardly trains...
assert half["with BN"].low > 0  # ...and one does
assert not any(results.diverged(arm) for arm in norms)

# %%
# **Limits.** One network, one learning rate, 5 epochs, images of digits.
#
# **Try it.** Change ``lr`` in the settings to 1.0, or ``epochs`` to 20: the network without batch
# normalization then begins to learn. The checks at the end may then fail, as they should: they
# guard the words of this page, which hold at 0.1.
#
# Next: :doc:`what the layer computes </derivations/forward>`. Rivals that have a fair chance come
# when we :doc:`raise the learning rate <plot_02_raise_the_learning_rate>`.
