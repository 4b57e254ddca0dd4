"""
Pad with zeros
==============

**The question.** Sequences of unequal length are padded with zeros to the longest of their batch,
and batch normalization (BN) pools the zeros as if they were data. What does that cost, and what
helps?

**In short.** It depends on how far zero is from the data. Where it is far, statistics that leave
out the padding change the accuracy by :finding:`masked - pooled, raw`. To subtract the mean grey
value from the data, so that zero is nearer, changes it by :finding:`centred - raw, pooled`; then
leaving out the padding, too, by :finding:`masked - pooled, centred`. Layer normalization (LN) of
each frame, which never sees the padding, in the place of that changes it by
:finding:`LN - masked, centred`.

.. lead-figure::

**What was done.** A digit is read row by row, from the top to the bottom: nine of ten in 7 to 14
frames, the others in 42 to 56. Batches of 16 are padded to the longest. A network of two
convolutions over five frames learned for 250 steps. *Varied:* whether the statistics of BN pool the
padding or leave it out (masked); and whether the frames are grey values as they are (1 is paper, 0
is ink and padding) or have their mean subtracted. Rates were chosen on held-out images with 3
seeds; 5 other seeds compare.

**You need** :doc:`which values are pooled </derivations/other_axes>`.
"""

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from torch import nn
from torch.nn.functional import cross_entropy

from bn_tutorial.data.loading import load
from bn_tutorial.data.sequences import read_rows
from bn_tutorial.lab.effects import Outcome
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import (
    COLORS,
    LINE_STYLES,
    MARKERS,
    draw_effects,
    label_lines,
    new_figure,
)
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.results import remembered
from bn_tutorial.lab.study import choose, table
from bn_tutorial.lab.training import device
from bn_tutorial.networks.examine import examine
from bn_tutorial.networks.sequences import SequenceNet

ARMS = {  # the normalization, and whether the mean is subtracted
    "pooled, raw": ("batch", False),
    "masked, raw": ("masked", False),
    "pooled, centred": ("batch", True),
    "masked, centred": ("masked", True),
    "LN, centred": ("layer", True),
}
RATES = {
    "pooled, raw": (0.03, 0.1, 0.3),
    "masked, raw": (0.1, 0.3, 1.0, 3.0),
    "pooled, centred": (0.1, 0.3, 1.0),
    "masked, centred": (0.3, 1.0, 3.0),
    "LN, centred": (0.1, 0.3, 1.0),
}
BATCH, STEPS, GATHERED = 16, 250, 50
TUNING, JUDGING = range(50, 53), range(250, 255)  # seeds
MATTERS = 1.0  # percentage points

data = load().hold_out(5_000)
evidence = Evidence(
    "05_when_it_fails/plot_07_pad_with_zeros",
    data=data,
    seeds=JUDGING,
    horizon="250 steps (0.07 epochs)",
    claims={
        "masked - pooled, raw": "masks help where zero is far",
        "masked - pooled, centred": "masks help where zero is near",
        "centred - raw, pooled": "subtracting the mean helps",
    },
)

# %%
# Sequences of unequal length
# ---------------------------
# Grey values are turned over, so that paper is 1 and ink 0: most of a frame is paper, and the mean
# is far from zero. That is so of many features, such as logarithms of energies in speech.


def grey(split):
    """Return grey values, shape (N, 28, 28): 1 is paper, 0 is ink."""
    return 1 - split.images.float() / 255


mean = grey(data.train).mean().item()


def draw_lengths(count, generator):
    """Return numbers of frames: one of ten is long."""
    short = torch.randint(7, 15, (count,), generator=generator)
    long = torch.randint(42, 57, (count,), generator=generator)
    is_long = torch.rand(count, generator=generator) < 0.1
    return torch.where(is_long, long, short)


def draw(images, labels, generator, centred):
    """Draw a batch: frames, mask and labels."""
    chosen = torch.randint(len(labels), (BATCH,), generator=generator)
    some = images[chosen] - mean * centred
    frames, mask = read_rows(some, draw_lengths(BATCH, generator))
    return frames.to(device()), mask.to(device()), labels[chosen].to(device())


training = grey(data.train), data.train.labels
generator = torch.Generator().manual_seed(1)
frames, mask, _ = draw(*training, generator, centred=False)

# %%

# fold: draw a batch
figure, ax = new_figure(
    width=7.2,
    height=2.2,
    alt="A padded batch, a row for each of 16 sequences: most are short, and behind them, up to "
    "the length of the longest, there is orange padding.",
)
picture = frames.cpu().transpose(1, 2)[:, :, 4:24].mean(dim=2)
picture = torch.where(mask.cpu(), picture, torch.nan)
look = {"aspect": "auto", "rasterized": True}
ax.imshow(mask.cpu(), cmap=ListedColormap([COLORS["orange"]]), **look)
ax.imshow(picture, cmap="gray", vmin=0, vmax=1, **look)
ax.grid(visible=False)
ax.set(xlabel="frame", ylabel="sequence", yticks=[])

# %%
# Each frame is drawn as the mean grey value of its middle; padding is orange.
#
# What do the zeros do to the real frames?
# ----------------------------------------
# If a share :math:`q` of the frames is real, with mean :math:`\mu` and variance :math:`\sigma^2`,
# then the mean of all is :math:`q\mu`, and their variance :math:`q\sigma^2 + q(1 - q)\mu^2`. So
# the mean of the real frames behind the layer, where it should be zero, is
# :math:`(1 - q)\mu / \sqrt{q\sigma^2 + q(1 - q)\mu^2}`. And :math:`q` depends on the longest of the
# batch: one long sequence moves all the others. We look at one feature, the middle of a row, in 60
# batches.


def middle(frames, mask):
    """Return the share of real frames, and their mean behind BN."""
    layer = nn.BatchNorm1d(28).to(frames.device)
    y = layer(frames).detach()[:, 14]
    return mask.float().mean().item(), y[mask].mean().item()


found = {
    centred: np.array(
        [middle(*draw(*training, generator, centred)[:2]) for _ in range(60)]
    )
    for centred in (False, True)
}
column = training[0][:, :, 14]
mu, var = column.mean().item(), column.var().item()


def predict(q, mu):
    """Return the mean of the real frames, as above."""
    return (1 - q) * mu / np.sqrt(q * var + q * (1 - q) * mu**2)


# %%
# Train
# -----
# In all arms padding is zero in front of each convolution, and is left out of the mean over the
# frames in the end. So the arms differ in the statistics of their normalizations alone.


@remembered
def train(arm, lr, seed):
    """Return a trained network in evaluation mode."""
    norm, centred = ARMS[arm]
    model = SequenceNet(norm, seed=seed).to(device()).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        frames, mask, labels = draw(*training, generator, centred)
        optimizer.zero_grad()
        cross_entropy(model(frames, mask), labels).backward()
        optimizer.step()
    gather(model, generator, centred)
    return model.eval()


@torch.no_grad()
def gather(model, generator, centred):
    """Gather the statistics anew, so that no lag plays a part."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_running_stats()
            layer.momentum = None
    for _ in range(GATHERED):
        frames, mask, _ = draw(*training, generator, centred)
        model(frames, mask)


# %%
# Test
# ----
# Lengths are drawn once. In evaluation mode an answer does not depend on the padding, because each
# frame is normalized with the same numbers, and the padding is set to zero behind the layer: so we
# may put sequences of one length together. (Whoever tests whether padding changes a prediction,
# *in evaluation mode*, finds nothing.)


@torch.no_grad()
def right(arm, model, split):
    """Say which of 5,000 images are classified correctly."""
    images = grey(split)[:5_000] - mean * ARMS[arm][1]
    labels = split.labels[:5_000]
    lengths = draw_lengths(len(labels), torch.Generator().manual_seed(1))
    order = lengths.argsort()
    answers = torch.empty_like(labels)
    for some in order.split(250):
        frames, mask = read_rows(images[some], lengths[some])
        found = model(frames.to(device()), mask.to(device()))
        answers[some] = found.argmax(dim=1).cpu()
    return (answers == labels).numpy()


with one_thread():
    chosen, models = {}, {}
    for arm in ARMS:
        scores = [
            [
                100 * right(arm, train(arm, lr, seed), data.validation).mean()
                for seed in TUNING
            ]
            for lr in RATES[arm]
        ]
        chosen[arm] = RATES[arm][choose(np.array(scores))]
        models[arm] = [train(arm, chosen[arm], seed) for seed in JUDGING]
    hits = {
        arm: 100 * np.array([right(arm, model, data.test) for model in some])
        for arm, some in models.items()
    }
outcomes = {
    arm: Outcome(found.mean(axis=1), found.astype(np.float32))
    for arm, found in hits.items()
}
rows = {arm: [chosen[arm], outcomes[arm].mean] for arm in ARMS}
print(table(rows, ["rate", "test accuracy (%)"]))

# %%

# fold: draw the shift and the accuracies, the figure at the top of the page
figure, (left, ax) = new_figure(
    1,
    2,
    lead=True,
    width=7.2,
    height=3.6,
    alt="At the left the mean of the real frames behind the layer, which should be zero, against "
    "the share of padding: with raw grey values it rises far above zero, on the predicted curve; "
    "with centred ones it falls below zero, less far. At the right test accuracy with pooled and "
    "with masked statistics: raw, it rises steeply; centred, it begins higher and changes less.",
)
q = np.linspace(0.999, 0.15, 60)
spots = {
    color: {"color": COLORS[color], "marker": MARKERS[color], "s": 12}
    for color in ("orange", "green")
}
for centred, color in ((False, "orange"), (True, "green")):
    left.plot(
        100 * (1 - q),
        predict(q, mu - mean * centred),
        color=COLORS[color],
        linestyle=LINE_STYLES[color],
        label="centred" if centred else "raw",
    )
    share, moved = found[centred].T
    left.scatter(100 * (1 - share), moved, **spots[color])
left.axhline(0, color=COLORS["grey"], linewidth=0.8, linestyle="solid")
left.set(xlabel="padding (% of the batch)")
left.set_title("mean of the real frames", fontsize=11)
label_lines(left, gap=0.1)
for kind, color in (("raw", "orange"), ("centred", "green")):
    ends = [outcomes[f"{way}, {kind}"].values for way in ("pooled", "masked")]
    look = {"color": COLORS[color], "linestyle": LINE_STYLES[color]}
    ax.plot([0, 1], np.mean(ends, axis=1), label=kind, **look)
    for place, values in enumerate(ends):
        ax.scatter([place] * len(values), values, **spots[color])
ax.set_xticks([0, 1], ["pooled", "masked"])
ax.set(xlim=(-0.2, 1.2), ylim=(0, 100))
ax.set_title("test accuracy (%)", fontsize=11)
label_lines(ax, gap=0.1)

# %%
# At the left lines are predicted from the mean and the variance of all images, and each mark is a
# batch; at the right each mark is a seed. (The mean grey value is that of whole images, and the
# middle of a row has more ink: so even centred its mean is not zero, and padding moves it.)
#
# Compare
# -------

for name, treated, control in (
    ("masked - pooled, raw", "masked, raw", "pooled, raw"),
    ("masked - pooled, centred", "masked, centred", "pooled, centred"),
    ("centred - raw, pooled", "pooled, centred", "pooled, raw"),
    ("LN - masked, centred", "LN, centred", "masked, centred"),
):
    evidence.compare(
        name,
        outcomes[treated],
        outcomes[control],
        unit="points",
        smallest=MATTERS,
    )
print(evidence.table())

# %%

# fold: draw the differences
figure, ax = new_figure(
    width=7.2,
    height=2.2,
    alt="Intervals of four differences of test accuracy: masked minus pooled statistics, raw and "
    "centred; centred minus raw, pooled; layer normalization minus masked statistics.",
)
draw_effects(
    ax,
    list(evidence.effects.values()),
    unit="difference of test accuracy (points)",
)

# %%
# "Zero padding is neutral" is true of a sum. A mean it leaves as it is only where zero is the mean
# already; the variance it makes smaller even there. Whoever cannot leave it out should at least
# subtract the mean of each feature before. But what a convolution has learned to look for has a
# mean of its own, which no one subtracts. What a mask then still changes is
# :finding:`masked - pooled, centred`.
#
# Would one have noticed?
# -----------------------
# :class:`examine <bn_tutorial.networks.examine>` sees what reaches the layers, not which frames are
# real. Of the network that pools the padding, raw, it says:

batches = [draw(*training, generator, centred=False) for _ in range(20)]


def forward(model, batch):
    """Return output and target, as examine wants them."""
    frames, mask, labels = batch
    return model(frames, mask), labels


with one_thread():
    report, masked = (
        examine(models[arm][0], batches, forward=forward)
        for arm in ("pooled, raw", "masked, raw")
    )
print(report)

# %%

# fold: keep the numbers, check what the words claim
for arm in ARMS:
    name = arm.replace(", ", "_").lower()
    evidence.note(**{name: outcomes[arm].mean / 100})
evidence.note(
    alarms=", ".join(alarm.code for alarm in report.alarms),
    masked_alarms=", ".join(alarm.code for alarm in masked.alarms) or "none",
)
evidence.save()
effects = evidence.effects
assert effects["masked - pooled, raw"].low > 5
assert effects["centred - raw, pooled"].low > 5
share, moved = found[False].T
assert np.corrcoef(predict(share, mu), moved)[0, 1] > 0.9
assert "batches-not-random" in report.codes
assert "batches-not-random" in masked.codes
assert "padding" in " ".join(report.unchecked)

# %%
# It notices that something is wrong with the batches: they differ more than random samples would,
# because each has another share of padding. It cannot tell why; the reasons and the remedy that it
# names are those of sorted batches, and padding stands among what it did not check. Of the network
# with masks it says the same, and there it is a false alarm. The test for padding is another one:
# pad a batch further, *in training mode*, and see whether the outputs move.
#
# In *Find the fault*: :ref:`padding changes the output <fault-padding>`, and :ref:`batch norm or
# layer norm for sequences of unequal length <fault-variable-length>`.
#
# **Limits.** A small network, a short training, and lengths that were drawn to make the share of
# padding large and changeable. LN of each frame has one mean for all 32 channels; in transformers
# it is the rule. The intervals do not cover that other rates could have been chosen.
#
# **Try it.** Let ``draw_lengths`` return ``short``: how much is lost with little padding?
#
# Next: :doc:`count the bytes that the layer moves </gallery/01_by_hand/plot_06_count_the_bytes>`.
