"""
Train with and without batch normalization
==========================================

**The question.** Does the notebook's network learn faster with batch normalization, and how sure
is that?

**Varied:** batch normalization; the initial weights and the order of the images, over several
seeds. Both arms share them, so each seed gives one paired difference.

**Held fixed:** the notebook's experiment: the network, plain stochastic gradient descent, *one*
learning rate, the batch size, the number of epochs, all training images.
"""

import math

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import paired_interval, verdict
from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.figures import COLORS, draw_spread, new_figure
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import curves, study
from bn_tutorial.lab.training import Config

page = "03_in_training/plot_01_compare_training"
data = load()
seeds = range(5)
lr, batch_size, epochs = 0.1, 128, 10
epoch = math.ceil(len(data.train) / batch_size)  # steps
widths, activation = (784, 256, 256, 256, 256, 10), "sigmoid"

# %%
# Train every pair
# ----------------

config = Config(
    steps=epochs * epoch, evaluate_every=epoch, batch_size=batch_size, lr=lr
)
arms = {
    name: RunSpec(norm=norm, widths=widths, activation=activation, config=config)
    for name, norm in {"without BN": None, "with BN": "batch"}.items()
}
results = study(arms, data, seeds)

print(f"{data.title}: accuracy after the last epoch, seed by seed")
for name in arms:
    for quantity in ("train_accuracy", "test_accuracy"):
        print(
            f"{name:<11} {quantity:<15}",
            *(f"{a:7.2%}" for a in curves(results[name], quantity)[:, -1]),
        )

# %%
# Draw loss and accuracy
# ----------------------
# The line is the mean over the seeds, the band reaches from the lowest to the highest. Training
# accuracy is counted while the network learns, in training mode; test accuracy after each
# epoch, in evaluation mode, on images that it has not seen.

figure, axes = new_figure(
    1,
    3,
    width=7.2,
    height=3.4,
    alt="Three panels against the epoch, with a band over the seeds: training loss, training "
    "accuracy and test accuracy. With batch normalization the loss falls at once and both "
    "accuracies come close to one. Without it the loss hardly falls and both accuracies stay low, "
    "near that of guessing the most frequent class, drawn as a dotted line, until the last epochs.",
)
majority = (data.test.labels.bincount().max() / len(data.test.labels)).item()
titles = {
    "train_loss": "training loss (nat)",
    "train_accuracy": "training accuracy",
    "test_accuracy": "test accuracy",
}
for ax, (quantity, title) in zip(axes, titles.items(), strict=True):
    for name, color in {"without BN": "blue", "with BN": "orange"}.items():
        draw_spread(
            ax,
            np.arange(1, epochs + 1),
            curves(results[name], quantity),
            color=color,
            label=name,
        )
    ax.set_title(title, fontsize=12)
    ax.set(
        xlabel="epoch",
        xticks=[1, epochs // 2, epochs],
        ylim=(0, None if "loss" in quantity else 1.02),
    )
axes[2].axhline(
    majority,
    color=COLORS["grey"],
    linestyle="dotted",
    label="most frequent class",
)
figure.legend(
    *axes[2].get_legend_handles_labels(), loc="outside upper left", ncols=3
)

# %%
# Measure the difference
# ----------------------
# By the end the network without batch normalization has hardly begun to learn: depending on the
# seed it is no better than guessing the most frequent digit, or up to a few times better. The
# difference between the arms is far larger than its interval is wide. An effect of less than one
# percentage point would not be worth mentioning. What it *means* is another question.

difference = paired_interval(
    curves(results["with BN"], "test_accuracy")[:, -1],
    curves(results["without BN"], "test_accuracy")[:, -1],
)
answer = verdict(difference, smallest=0.01)
print(f"most frequent class: {majority:.2%} of the test images")
print(
    f"test accuracy with BN minus without: {100 * difference.mean:.1f} percentage points, "
    f"{difference.confidence:.0%} interval {100 * difference.low:.1f} to "
    f"{100 * difference.high:.1f}: {answer}"
)

# %%
# What one learning rate can and cannot show
# ------------------------------------------
# It can show that *this* network, with *these* initial weights, hardly trains at *this*
# learning rate within so few epochs, and does with batch normalization. A likely reason was
# :doc:`seen before </gallery/02_inside_a_network/plot_02_follow_the_signal>`: next to no signal
# reaches the last layer, and next to no gradient the first.
#
# It cannot show that batch normalization *permits larger* learning rates. For that, several rates
# must be tried, and the notebook called this one large without trying a smaller one. Nor is this
# rival a fair one: nobody would train a deep sigmoid network from these initial weights without
# normalization. Against a network with a good initialization the gap may be another one.

# %%
# Record and check
# ----------------

last = {name: curves(results[name], "test_accuracy")[:, -1] for name in arms}
gap = curves(results["with BN"], "train_accuracy")[:, -1] - last["with BN"]
to_90 = 1 + np.argmax(
    curves(results["with BN"], "test_accuracy") >= 0.9, axis=1
)
record(
    page,
    {
        "data": data.title,
        "seeds": len(seeds),
        "epochs": epochs,
        "lr": lr,
        "majority": majority,
        "test_without": last["without BN"].mean(),
        "test_without_max": last["without BN"].max(),
        "test_with": last["with BN"].mean(),
        "test_with_min": last["with BN"].min(),
        "train_with": curves(results["with BN"], "train_accuracy")[
            :, -1
        ].mean(),
        "difference_points": 100 * difference.mean,
        "difference_points_low": 100 * difference.low,
        "difference_points_high": 100 * difference.high,
        "confidence": difference.confidence,
        "verdict": answer,
        "train_minus_test_with": gap.mean(),
        "epochs_to_90_with": to_90.max(),
    },
    data=data,
)
assert answer == "supported"  # batch normalization makes this network learn
assert (
    last["without BN"].max() < 4 * majority
)  # without it, it has hardly begun
assert last["with BN"].min() > 0.9
assert all(
    history.diverged_at is None for arm in results.values() for history in arm
)

# %%
# **What to notice.** The gap is real and huge, and it compares a network that trains with one that
# has hardly begun to. :doc:`The findings </findings>` say what this build can answer about each
# claim.
