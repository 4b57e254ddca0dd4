"""
Train on few images
===================

**The question.** Does batch normalization act as regularization: does a network that knows its
training images by heart do better on others because it is there?

**Varied:** the normalization: none, with constants, or over the batch; the batch size; the size of
the parts of a batch that are normalized apart ("ghost batches"); the learning rate; the seed of the
weights and of the order of the images, which the arms share.

**Held fixed:** the training images, few enough to be learned by heart; the rectifier network with
He's initialization; for each batch size the number of steps.
"""

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import paired_interval, verdict
from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.study import best
from bn_tutorial.lab.figures import draw_spread, new_figure
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import curves, study
from bn_tutorial.lab.training import Config

page = "03_in_training/plot_08_train_on_few_images"
images = 1024
data = load().hold_out(5_000).first(images)
seeds, tuning_seeds, smallest = range(10), range(3), 1.0  # percentage points
network = {"widths": (784, 100, 100, 10), "activation": "relu", "init": "he"}
norms = {"none": None, "constants": "actnorm", "batch": "batch"}
colors = {"none": "blue", "constants": "green", "batch": "orange"}
ghosts = {size: f"ghost:{size}" for size in (8, 32, 128)}
steps = {8: 1600, 32: 960, 128: 320, images: 200}  # for each batch size
rates = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
lowest = {8: 0, 32: 1, 128: 1, images: 2}  # where each ladder of rates begins

# %%
# What is compared
# ----------------
# Batch normalization changes two things at once. It divides by the spread of what it gets, which
# permits other learning rates; and it takes that spread, and the mean, from a batch that is never
# the same, so that an image is seen a little differently in each pass. The second is what is meant
# when it is said to *regularize*. So there are two rivals: a network without normalization, and one
# normalized with **constants**, the mean and the variance of its first batch. That one begins as
# the batch-normalized network does, but nothing in it depends on the batch.
#
# Each arm takes, at each batch size, the learning rate that is best for it on held-out images: one
# by their accuracy, for the test accuracy, and one by their loss, for the test loss.


def run(name, m, lr):
    """Return the settings of one run."""
    norm = norms.get(name, name)
    return RunSpec(norm, config=Config(steps[m], steps[m] // 2, m, lr), **network)


def ladder(name, m):
    """Return the rates to choose from: greater ones where the batch is normalized."""
    if name not in norms:
        return rates[-3:]  # near what the whole batch takes
    first = lowest[m] + (name == "batch")
    return rates[first : first + 5]


def end(histories, quantity):
    """Return what the runs ended at, shape (seeds,)."""
    return curves(histories, quantity)[:, -1]


pairs = [(name, m) for m in steps for name in norms]
pairs += [(ghost, images) for ghost in ghosts.values()]
grid = {(*p, lr): run(*p, lr) for p in pairs for lr in ladder(*p)}
tried = study(grid, data, tuning_seeds)


def choose(quantity, sign):
    """Return the rate of each arm that is best for it on the held-out images."""
    by_rate = {
        k: sign * end(runs, f"validation_{quantity}")
        for k, runs in tried.items()
    }
    return {p: best({lr: by_rate[*p, lr] for lr in ladder(*p)}) for p in pairs}


by_accuracy, by_loss = choose("accuracy", 1), choose("loss", -1)
ends = [
    p for p in pairs if by_accuracy[p] in ladder(*p)[:: len(ladder(*p)) - 1]
]
print("chosen by accuracy at an end of its ladder:", ends or "none")

alt = (
    "Four panels, one for each batch size: validation accuracy against the learning rate, for "
    "three arms. The best of each are within a few percentage points; that of batch normalization "
    "is at a greater rate than that of the others, but for the smallest batches."
)
figure, axes = new_figure(1, 4, width=7.2, height=3.2, sharey=True, alt=alt)
for ax, m in zip(axes, steps, strict=True):
    for name in colors:
        runs = [tried[name, m, lr] for lr in ladder(name, m)]
        scores = [100 * end(r, "validation_accuracy") for r in runs]
        look = {"color": colors[name], "label": name}
        draw_spread(ax, ladder(name, m), np.transpose(scores), **look)
    ax.set(title=f"batches of {m}", xscale="log", ylim=(84, 94))
axes[0].set_ylabel("validation accuracy (%)")
figure.supxlabel("learning rate", size=12)
handles = axes[0].get_legend_handles_labels()
figure.legend(*handles, loc="outside upper left", ncols=3)

# %%
# A line stops where a seed diverges. At the chosen rates, each arm is trained with all seeds; batch
# normalization also at the rate of the network with constants (*same rate*).

accurate = {p: run(*p, by_accuracy[p]) for p in pairs}
for m in steps:
    accurate["same rate", m] = run("batch", m, by_accuracy["constants", m])
results = study(accurate, data, seeds)
surest = {p: run(*p, by_loss[p]) for p in pairs if p[0] in norms}
sure = study(surest, data, seeds)
test = {key: 100 * end(runs, "test_accuracy") for key, runs in results.items()}
loss = {key: end(runs, "test_loss") for key, runs in sure.items()}
by_heart = {k: end(r, "train_accuracy").mean() for k, r in results.items()}
print("size, arm, rate, accuracy in training and in the test (%)")
for (name, m), runs in test.items():
    row = accurate[name, m].config.lr, 100 * by_heart[name, m], runs.mean()
    print(f"{m:4} {name:<10}" + "{:6g} {:7.2f} {:7.2f}".format(*row))

# %%
# Measure the differences
# -----------------------
# Batch normalization minus each rival, at each batch size and on the average over them. Last, the
# whole batch with its parts normalized apart, minus without. Its gradient is that of all images,
# and has no noise but that of the parts. Less than one percentage point is not worth mentioning.

values = {"seeds": len(seeds), "images": images, "smallest": smallest}


def compare(name, treated, control, smallest=smallest):
    """Print the interval of a paired difference and keep it, with its verdict."""
    d = paired_interval(treated, control)
    answer = verdict(d, smallest)
    print(f"{name:<26} {d.mean:6.3f} ({d.low:6.3f} to {d.high:6.3f}) {answer}")
    values.update({name: d.mean, f"{name}_low": d.low, f"{name}_high": d.high})
    values[f"{name}_verdict"] = answer


print("test accuracy, in points")
versus = ("batch", "none"), ("batch", "constants"), ("same rate", "constants")
for name, rival in versus:
    label = f"{name.replace(' ', '_')}_{rival}"
    for m in steps:
        compare(f"{label}_{m}", test[name, m], test[rival, m])
    means = [
        np.mean([test[arm, m] for m in steps], axis=0) for arm in (name, rival)
    ]
    compare(label, *means)
for size, ghost in ghosts.items():
    compare(f"parts_{size}", test[ghost, images], test["batch", images])
print("by how much the test loss is lower (nat); any decrease counts")
for rival in ("none", "constants"):
    for m in steps:
        compare(f"loss_{rival}_{m}", loss[rival, m], loss["batch", m], 0.0)

alt = (
    "Three panels. Test accuracy against the batch size: batch normalization is above its rivals, "
    "but for the smallest batches; at the rate of its rival it is not above. Test loss: it is "
    "lower with batch normalization at every batch size. Test accuracy of the whole batch against "
    "the size of its parts: nearly level."
)
figure, axes = new_figure(1, 3, width=7.2, height=3.6, alt=alt)
for name, color in {**colors, "same rate": "pink"}.items():
    for ax, found in zip(axes, (test, loss), strict=False):
        if (name, images) in found:
            runs = np.transpose([found[name, m] for m in steps])
            draw_spread(ax, [*steps], runs, color=color, label=name)
runs = [test[ghost, images] for ghost in (*ghosts.values(), "batch")]
draw_spread(
    axes[2], [*steps], np.transpose(runs), color="orange", label="parts"
)
titles = "test accuracy (%)", "test loss (nat)", "accuracy, in parts (%)"
for ax, title in zip(axes, titles, strict=True):
    ax.set_xscale("log", base=2)
    ax.set_xticks([*steps], [f"{m}" for m in steps])
    ax.set_title(title, fontsize=12)
    ax.set_xlabel("size of the parts" if ax is axes[2] else "batch size")
axes[2].set_ylim(axes[0].get_ylim())
handles = axes[0].get_legend_handles_labels()
figure.legend(*handles, loc="outside upper left", ncols=4)

# %%
# Two kinds of "better" part here. In *accuracy* batch normalization gains most at a middle batch
# size, and least or nothing at the smallest. On the average the gain goes with the greater rate: at
# the rate of its rival there is none. In *loss* it gains at every batch size. Both gains are there
# with the whole batch, too, where the statistics are those of all training images and have no
# sampling noise. So that noise is not the only reason.
#
# Record and check
# ----------------

values["by_heart_batch_8"] = by_heart["batch", 8]
record(page, values, data=data)
for (name, m), known in by_heart.items():  # but for the noisiest
    assert known > (0.85 if m == 8 or name == ghosts[8] else 0.99)
gains = {m: values[f"batch_none_{m}"] for m in steps}
assert min(gains, key=gains.get) == 8
assert max(gains, key=gains.get) in (32, 128)
assert min(values[f"loss_none_{m}_low"] for m in steps) > 0
assert values["batch_none_1024_low"] > 0  # a gain without any noise
assert values["same_rate_constants_high"] < smallest
on_digits = data.name == "digits"  # what the findings say of the other data
assert (values["batch_none"] > smallest) == on_digits
assert (values["batch_none_8"] > 0) == on_digits

# %%
# **What to notice.** "Acts as regularization" is several claims. That the network generalizes
# better: it depends on the batch size (:doc:`the findings </findings>` say by how much), and comes
# through the learning rate. That this is due to the noise of the batch: at most in part. What holds
# throughout is that its test loss is lower. These are small networks and few images; with data
# augmentation or more classes it can be otherwise. Next:
# :doc:`place the layer <plot_09_place_the_layer>`.
