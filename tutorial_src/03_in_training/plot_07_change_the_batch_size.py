"""
Change the batch size
=====================

**The question.** How small may a batch be before batch normalization suffers, and why does it?

.. predict:: GN - BN, batches of {2, 4, 8, 16, 32, 128}
   :scale: -20 60 2
   :axis: GN minus BN, points of test accuracy
   :row: batches of

   Batch normalization (BN) needs other images, group normalization (GN) does not. Each has the
   learning rate that is best for it at each batch size. By how many points is GN more accurate as
   the batches grow from 2 to 128 images?

   2: yes, 128: opposite
      It is tempting to draw a steady fall. But BN takes two directions out of the gradient of each
      unit, however many images there are: of 128 that is next to nothing, of 8 a quarter, of 4 a
      half, of 2 everything. So the trouble begins late, and then at once. And with large batches
      GN is the one that is behind.

**In short.** Batch normalization (BN) suffers with batches of 2: group normalization (GN),
which needs no other image, is then more accurate. In its place GN changes the accuracy by
:finding:`GN - BN, batches of 2` with batches of 2, by :finding:`GN - BN, batches of 4` with 4 and
by :finding:`GN - BN, batches of 8` with 8. With 128 it is by :finding:`GN - BN, batches of 128`:
there BN is more accurate. A likely reason: of a pair, next to nothing of the gradient passes back
through a typical unit of BN. Is what does pass of use? To train the hidden weights
on pairs, rather than leave them as they were drawn, changes the accuracy by
:finding:`trained - frozen hidden weights, batches of 2`.

.. lead-figure::

**What was done.** A network of two hidden layers of 128 ReLU units, with He's initial weights
(their variance is 2 divided by the number of inputs), was trained with batches of 2, 4, 8, 16, 32
and 128 images, and with two normalizations: over the batch (BN), and over 16 groups of units of one
image (GN). Each pair of a normalization and a batch size is an *arm* of the study. All arms saw
8,192 images (0.15 epochs), so that smaller batches took more steps. Each arm chose its learning
rate on 5,000 *held-out* images, from which no network learns, with 3 seeds of its own; then 5 other
seeds compared the arms on the test images. A seed decides the initial weights and the order of the
images, and the arms share it.

**You need** :doc:`the backward pass </derivations/backward>`.
"""

import numpy as np
from torch import nn
from torch.nn.functional import cross_entropy

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import Outcome
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import (
    COLORS,
    draw_effects,
    draw_spread,
    label_lines,
    new_figure,
)
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.results import remembered
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import judge, table, tune
from bn_tutorial.lab.training import Config, train
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import watch

data = load().hold_out(5_000)
seeds, tuning_seeds = range(100, 105), range(50, 53)
network = {"widths": (784, 128, 128, 10), "activation": "relu", "init": "he"}
norms = {"BN": "batch", "GN": "group:16"}
images_seen = 8_192
rates = {  # the learning rates to choose from, for each batch size
    2: (0.001, 0.003, 0.01, 0.03, 0.1),
    4: (0.003, 0.01, 0.03, 0.1, 0.3),
    8: (0.01, 0.03, 0.1, 0.3, 1.0),
    16: (0.03, 0.1, 0.3, 1.0),
    32: (0.03, 0.1, 0.3, 1.0),
    128: (0.03, 0.1, 0.3, 1.0, 3.0),
}
smallest = 1.0  # percentage points that matter

# %%
# What is pooled
# --------------
# Each normalization takes a mean and a variance over some values, its *pool*, and the sizes of the
# pools are what is compared here. BN pools the values of *one unit* in all images of the batch: a
# batch of :math:`m` images gives :math:`m` values. GN pools the values of a *group of units* in
# *one image*: 128 units in 16 groups give 8 values, whatever the batch size. These pools are drawn
# in :doc:`pool other axes </gallery/02_inside_a_network/plot_04_pool_other_axes>`.
#
# See how much of the gradient passes
# -----------------------------------
# On its way back through BN, the gradient of a unit loses its mean over the batch, and almost all
# of its part along the normalized values :math:`\hat x`. (Almost, because of :math:`\epsilon`.)
# These are two directions out of :math:`m`. If the upstream gradient preferred no direction, the
# share :math:`(m - 2)/m` of its square would pass on average; of a pair,
# :doc:`nothing </derivations/meaning>`. Here the upstream gradient is a real one, in networks that
# have not been trained yet. The factor :math:`\gamma r` of the layer is divided out.


def batch_gradients(arm, m, number):
    """Return what the first layer receives from batch ``number``, for each unit."""
    # On the processor: not every device knows double precision.
    model = DeepNet(norms[arm], seed=number, **network).double()
    rows = slice(number * m, (number + 1) * m)
    images = data.standardize(data.train.images[rows]).double()
    with watch(model, nn.Linear, nn.BatchNorm1d) as signals:
        cross_entropy(model(images), data.train.labels[rows]).backward()
    return model.hidden_1, signals


@remembered
def share_that_passes(m, number):
    """Return the share of BN's squared gradient that passes, averaged over the units."""
    block, signals = batch_gradients("BN", m, number)
    dx = signals.gradients["hidden_1.linear"]
    dy = signals.gradients["hidden_1.norm"]
    var = signals.outputs["hidden_1.linear"].var(dim=0, unbiased=False)
    r_squared = 1 / (var + block.norm.eps)  # and gamma is 1 before training
    shares = (dx**2).sum(dim=0) / (r_squared * (dy**2).sum(dim=0))
    return shares.nanmean().item()  # not of units that no gradient reaches


batches = range(50)  # each with a network of its own
sizes = [2, 3, 4, 6, 8, 16, 32, 128]
theory = np.array([(m - 2) / m for m in sizes])
passed = np.array([[share_that_passes(m, n) for m in sizes] for n in batches])
rows = {
    f"batches of {m}": [f"{expected:.3f}", f"{found:.3f}"]
    for m, expected, found in zip(
        sizes, theory, passed.mean(axis=0), strict=True
    )
}
print(table(rows, columns=["(m - 2)/m", "share that passes"]))

# %%
# See the kicks
# -------------
# With :math:`\gamma = 1` and :math:`\beta = 0`, the output of a typical unit for a pair is 1 and
# -1, whichever images they are: it says which of the two has the greater input, and no more. A
# small change of the weights does not change that, so there is no gradient.
#
# Yet the weights before the layer do get a gradient. It comes from the few units whose two inputs
# happen to be nearly equal. There the variance is as small as :math:`\epsilon`, and the factor
# :math:`r` is huge. So at each step most weights hardly change and a few change much: they get a
# *kick*, whose size depends on the pair. With GN a pair gives no kicks.


def weight_gradient(arm, m, number):
    """Return the squared gradient of each unit's weights."""
    block, _ = batch_gradients(arm, m, number)
    return (block.linear.weight.grad**2).sum(dim=1).numpy()


kicked = [("BN", 2), ("GN", 2), ("BN", 128), ("GN", 128)]
squares = {
    arm: np.array([weight_gradient(*arm, n) for n in batches]) for arm in kicked
}  # (batches, units)
norm = {arm: np.sqrt(squares[arm].sum(axis=1)) for arm in kicked}
top_five = {
    arm: np.sort(squares[arm])[:, -5:].sum(axis=1) / squares[arm].sum(axis=1)
    for arm in kicked
}
rows = {
    f"{name}, batches of {m}": [
        f"{np.median(norm[name, m]):.1f}",
        f"{norm[name, m].max():.1f}",
        f"{top_five[name, m].mean():.0%}",
    ]
    for name, m in kicked
}
print("gradient of the first layer's weights")
columns = ["typical norm", "greatest", "of its square in five units"]
print(table(rows, columns))

# %%
# Choose a learning rate for each
# -------------------------------
# No rule for how the learning rate should follow the batch size is fair to all. So each arm has a
# *ladder* of rates to choose from, and chooses on the held-out images: the smallest rate whose mean
# accuracy is within one standard error of the best.


def run(name, m, lr):
    """Return the settings of one run."""
    steps = images_seen // m
    config = Config(steps, steps, batch_size=m, lr=lr)
    return RunSpec(norms[name], config=config, **network)


arms = [(name, m) for m in rates for name in norms]
ladders = {
    (name, m): {lr: run(name, m, lr) for lr in rates[m]} for name, m in arms
}
tuning = tune(ladders, data, tuning_seeds)
judged = judge(tuning, data, seeds)
rows = {
    f"{name}, batches of {m}": [
        tuning.chosen((name, m)),
        f"{judged.last((name, m)).mean:.1f}",
        ", ".join(tuning.remarks((name, m))),
    ]
    for name, m in arms
}
print(table(rows, columns=["rate", "test accuracy (%)", "the rate is"]))

# %%

# fold: draw what passes, and the test error
figure, axes = new_figure(
    1,
    2,
    lead=True,
    width=7.2,
    height=3.6,
    alt="Two panels against the batch size. Left, the share of the gradient that passes back "
    "through batch normalization: next to nothing at two, about half at four, then towards one, "
    "along the line of the theory. Right, test error, logarithmic, of two normalizations: at two "
    "images that over the batch lies far above that over groups, from sixteen on below it.",
)
axes[0].plot(sizes, theory, ":", color=COLORS["grey"], label="(m - 2)/m")
draw_spread(axes[0], sizes, passed, color="orange", label="BN")
axes[0].set(title="share that passes back", ylim=(0, None))
colors = ("orange", "purple", "green", "pink", "grey")
for name, color in zip(norms, colors, strict=False):
    accuracy = np.array([judged.last((name, m)).values for m in rates])
    draw_spread(axes[1], list(rates), 100 - accuracy.T, color=color, label=name)
axes[1].set(title="test error (%), logarithmic", yscale="log")
ticks = [
    2.5,
    3.5,
    5,
    7,
    10,
    14,
    20,
    28,
    40,
    56,
    80,
]  # by steps of the root of 2
axes[1].set_yticks(ticks, [str(tick) for tick in ticks])
for ax in axes:
    ax.set_xlabel("batch size m")
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(rates), [str(m) for m in rates])
    ax.minorticks_off()
    label_lines(ax)

# %%
# The line is the mean, the band reaches from the lowest to the highest: on the left over batches of
# untrained networks, on the right over the seeds.
#
# Freeze the weights
# ------------------
# Are the kicks of any use? Train BN with batches of 2 again, at its rate, but leave the linear maps
# before the normalizations as they were drawn. What still learns, the output layer and
# :math:`\gamma` and :math:`\beta`, works on random features.


@remembered
def train_frozen(seed, m):
    """Train BN with hidden weights that do not learn."""
    model = DeepNet("batch", seed=seed, **network)
    for block in (model.hidden_1, model.hidden_2):
        block.linear.requires_grad_(False)
    steps = images_seen // m
    lr = tuning.chosen(("BN", m))
    config = Config(steps, steps, batch_size=m, lr=lr, seed=seed)
    with one_thread():
        return train(model, data, config, progress=False)


histories = [train_frozen(seed, 2) for seed in seeds]
frozen = Outcome(
    100 * np.array([history.test_accuracy[-1] for history in histories]),
    right=100.0 * np.array([history.test_right for history in histories]),
)

# %%
# Measure the differences
# -----------------------
# A difference of less than one percentage point does not matter.

evidence = Evidence(
    "03_in_training/plot_07_change_the_batch_size",
    data=data,
    seeds=seeds,
    horizon="8,192 images (0.15 epochs)",
    claims={
        "GN - BN, batches of 2": "Group ahead, batches of 2",
        "GN - BN, batches of 8": "Group ahead, batches of 8",
        "GN - BN, batches of 128": "Group ahead, batches of 128",
    },
)
for m in rates:
    evidence.compare(
        f"GN - BN, batches of {m}",
        judged.last(("GN", m)),
        judged.last(("BN", m)),
        unit="points",
        smallest=smallest,
    )
evidence.compare(
    "trained - frozen hidden weights, batches of 2",
    judged.last(("BN", 2)),
    frozen,
    unit="points",
    smallest=smallest,
)
print(evidence.table())

# %%

# fold: draw the differences
figure, ax = new_figure(
    width=7.2,
    height=3.4,
    alt="Intervals of seven differences of test accuracy, in points. GN minus BN is far above zero "
    "for batches of two, and below zero for 128. The last row is trained minus frozen hidden "
    "weights.",
)
effects = list(evidence.effects.values())
labels = [effect.name.replace(" hidden weights", "") for effect in effects]
draw_effects(
    ax, effects, labels=labels, unit="difference of test accuracy (points)"
)

# %%
# The first rows turn from one side to the other as the batch grows: BN is less accurate than GN
# with 2 images, and more accurate with 128. The last row asks whether the kicks
# are of use. If it lies below zero, the network does better on random features than on what the
# kicks have made of them; if it contains zero, these runs leave that open.
#
# While it trains
# ---------------
# The network with batches of 2 is also another function while it trains than afterwards. In
# training an output of the layer compares two images; in evaluation it compares an image with the
# running averages. Here is the accuracy of both, in training counted over all its steps.

while_training = judged.last(("BN", 2), "train_accuracy")
afterwards = judged.last(("BN", 2))
rows = {
    "while it trains": [f"{value:.1f}" for value in while_training.values],
    "afterwards, test": [f"{value:.1f}" for value in afterwards.values],
}
print("accuracy (%) of BN with batches of 2")
print(table(rows, columns=[f"seed {seed}" for seed in seeds]))

# %%

# fold: keep the numbers, check what the words claim
evidence.note(
    passes_2=passed[:, 0].mean(),
    top_five_2=top_five["BN", 2].mean(),
    kick_2=norm["BN", 2].max() / np.median(norm["BN", 2]),
    train_accuracy_2=while_training.mean / 100,
    frozen_2=frozen.mean / 100,
)
for name, m in arms:
    evidence.note(**{f"{name}_{m}": judged.last((name, m)).mean / 100})
    evidence.note(**{f"{name}_{m}_lr": tuning.chosen((name, m))})
evidence.save()
assert np.abs(passed.mean(axis=0) - theory).max() < 0.1
assert passed[:, 0].max() < 0.05  # of a pair, next to nothing passes...
assert top_five["BN", 2].mean() > 0.95  # ...except at a few units...
assert norm["BN", 2].max() > 10 * np.median(norm["BN", 2])  # ...that get kicks
assert norm["GN", 2].max() < 3 * np.median(norm["GN", 2])  # with GN none does
# BN suffers, and with large batches it does not
assert evidence.effects["GN - BN, batches of 2"].low > 10
assert evidence.effects["GN - BN, batches of 128"].high < 0
assert while_training.values.max() < afterwards.values.min()

# %%
# **Limits.** A perceptron with two hidden layers, 8,192 images (0.15 epochs), images of digits.
# Because all arms see as many images, batches of 128 get only 64 steps: the rows compare BN and GN
# at one batch size, and the line of one normalization is not the effect of the batch size alone. In
# a convolution every image brings many pixels to the statistics: 2 images with maps of 14 × 14
# pixels give :math:`m = 392`. So :math:`m` is not the number of images, and this study does *not*
# show how small batches of other networks may be. (Neighbouring pixels resemble each other, so 392
# of them tell less than 392 images would.)
#
# **Try it.** Add ``"pairs": "group:64"`` to ``norms``. It is GN over groups of 2 units, so
# that its pool holds 2 values at every batch size. Another line appears in the figure; with batches
# of 32 and 128 it is near the error of guessing.
#
# Next: :doc:`train on few images <plot_08_train_on_few_images>`.
