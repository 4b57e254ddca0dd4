"""
Examine a sick model
====================

**The question.** A model does worse than it should, and nothing raises an error. Can a program tell
what is wrong with its normalization, show that the remedy works, and say nothing about a healthy
model?

**In short.** Of ten faults planted on this page it found :value:`found`, and in the healthy network
none. The remedy that each report gives, a line of code, was carried out: the sick networks then
read from :value:`least_gain:.1f` to :value:`most_gain:.1f` points more of the test images. The
worst of them had read :value:`worst_sick:.0%`, the healthy network reads :value:`healthy:.0%`.

.. lead-figure::

*Two reports, drawn: the healthy network, and one whose weights were averaged while the statistics
were not.*

**What was done.** A convolutional network with four batch normalizations (BN) learned 4,000
training images in three epochs. Each fault was planted in a copy of it, or in its training; the
copy was examined with training images, and the remedy carried out. The test is in evaluation mode,
on 2,000 test images *sorted by digit*: that makes no difference, except to a model whose prediction
depends on the batch.

**You need** :doc:`the two modes </derivations/inference>`.
"""

import copy

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import new_figure
from bn_tutorial.lab.study import table
from bn_tutorial.lab.training import device
from bn_tutorial.networks.convolutional import ConvNet
from bn_tutorial.networks.examine import examine
from bn_tutorial.networks.watch_norms import watch_norms

IMAGES, TESTED = 4_000, 2_000
BATCH, EPOCHS, RATE = 64, 3, 0.01
LAYERS = {"channels": (8, 16, 16, 16), "strides": (2, 2, 2, 1)}
SEED = 0

data = load()
evidence = Evidence(
    "05_when_it_fails/plot_01_examine_a_sick_model",
    data=data,
    seeds=[SEED],
    horizon="186 steps (3 epochs of 4,000 images)",
)
torch.manual_seed(SEED)
images = data.standardize(data.train.images[:IMAGES]).to(device())
labels = data.train.labels[:IMAGES].to(device())
by_digit = data.test.labels[:TESTED].argsort()
test_images = data.standardize(data.test.images[by_digit]).to(device())
test_labels = data.test.labels[by_digit].to(device())

dataset = TensorDataset(images, labels)
loader = DataLoader(dataset, BATCH, shuffle=True, drop_last=True)


def network():
    """Return a new network, always with the same weights."""
    return ConvNet("batch", **LAYERS, seed=SEED).to(device())


def train(model, loader, after_step=lambda: None):
    """Train as one does: the learning rate rises, then falls to zero."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, EPOCHS * len(loader), cycle_momentum=False
    )
    for _ in range(EPOCHS):
        for x, y in loader:
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()
            after_step()
    return model


@torch.no_grad()
def accuracy(model):
    """Return the share of the test images that are read correctly."""
    if model.training:
        model.eval()
    answers = [model(part).argmax(dim=1) for part in test_images.split(100)]
    return (torch.cat(answers) == test_labels).float().mean().item()


# %%
# A healthy network
# -----------------
# Two lines of code: the import, and the call. It wants the training images, in batches as in
# training.

healthy = train(network(), loader)
sound = examine(healthy, loader)
print(sound)

# %%
# Ten faults
# ----------
# Each function plants one, and returns the model and the loader that it is trained with. The first
# five do their harm at once.


def statistics_lost():
    """Load a checkpoint that lacks the running statistics, with strict=False."""
    state = healthy.state_dict()
    model = network()
    parameters = {name: t for name, t in state.items() if "running" not in name}
    model.load_state_dict(parameters, strict=False)
    return model, loader


def overflow():
    """Let one activation overflow once: the running mean keeps it for ever."""
    model = copy.deepcopy(healthy)
    model.block_3.norm.running_mean[5] = torch.nan
    return model, loader


def averaged_weights():
    """Average the weights over the training, but not the statistics."""
    model = network()
    average = AveragedModel(model)
    train(model, loader, lambda: average.update_parameters(model))
    return average, loader


def slow_averages():
    """Let the averages remember 1,000 batches, in a training of 186."""
    model = network()
    for norm in norms(model):
        norm.momentum = 0.001
    return train(model, loader), loader


def left_in_train_mode():
    """Switch the model to evaluation mode, and one of its layers back."""
    model = copy.deepcopy(healthy).eval()
    model.block_2.norm.train()
    return model, loader


def norms(model):
    """Return the normalizations of a model."""
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


# %%
# The other five do it later: while the model is trained on, or sees other images.


def momentum_of_keras():
    """Give the layers 0.99, which in Keras is the weight of the *old* value."""
    model = copy.deepcopy(healthy)
    for norm in norms(model):
        norm.momentum = 0.99
    return model, loader


def frozen_parameters():
    """Freeze the layers by their parameters alone."""
    model = copy.deepcopy(healthy)
    for norm in norms(model):
        norm.requires_grad_(False)
    return model, loader


def dropout_in_front():
    """Put dropout in front of the last normalization."""
    model = copy.deepcopy(healthy)
    convolution = model.block_4.linear
    model.block_4.linear = nn.Sequential(convolution, nn.Dropout(0.8))
    return model, loader


def sorted_by_digit():
    """Make batches of images of one digit, in random order."""
    batches = torch.stack(labels.argsort().split(BATCH)[:-1])
    rows = batches[torch.randperm(len(batches))].flatten()
    in_order = TensorDataset(images[rows], labels[rows])
    return copy.deepcopy(healthy), DataLoader(in_order, BATCH, drop_last=True)


def teacher():
    """Ask a teacher under no_grad, but in train mode."""
    return copy.deepcopy(healthy), loader


# %%
# So each has a code that we expect, and something that happens next: nothing; a training; or
# images that it is shown in the mode that it is in, inverted ones or those of one digit.


def nothing(model, _):
    """Leave it at that."""


def shown(others):
    """Return what shows a model other images."""

    @torch.no_grad()
    def look(model, _):
        for part in others.split(BATCH):
            model(part)

    return look


inverted, sevens = shown(-images[:1280]), shown(images[labels == 7])
FAULTS = {
    statistics_lost: ("never-gathered", nothing),
    overflow: ("nan-statistics", nothing),
    averaged_weights: ("averaged-weights", nothing),
    slow_averages: ("stale-statistics", nothing),
    left_in_train_mode: ("depends-on-the-batch", nothing),
    momentum_of_keras: ("swapped-momentum", sevens),
    frozen_parameters: ("frozen-but-moving", inverted),
    dropout_in_front: ("dropout-in-front", train),
    sorted_by_digit: ("batches-not-random", train),
    teacher: ("no-grad-is-not-eval", inverted),
}

# %%
# Examine, and carry out the remedy
# ---------------------------------
# The remedy is a line of code in the report. Of each model there are two: one stays sick, the other
# is treated before what happens next. The teacher's fault is not in the model but in the loop that
# asks it, so ``watch_norms`` looks on while it is asked.

reports, sick, cured = {}, {}, {}
for plant, (_, then) in FAULTS.items():
    torch.manual_seed(SEED)
    model, its_loader = plant()
    if plant is teacher:
        with watch_norms(model) as seen, torch.no_grad():
            model(images[:BATCH])
        reports[plant] = seen.report
    else:
        reports[plant] = examine(model, its_loader)
    treated = copy.deepcopy(model)
    then(model, its_loader)
    sick[plant] = accuracy(model)
    known = {"model": treated, "loader": its_loader}
    known |= {"report": reports[plant], "torch": torch, "nn": nn}
    exec(reports[plant].alarms[0].remedy, known)
    then(treated, known["loader"])
    cured[plant] = accuracy(treated)


def words(plant):
    """Return the name of a fault in words."""
    return plant.__name__.replace("_", " ")


rows = {
    words(plant): [
        ", ".join(found.code for found in reports[plant].alarms),
        f"{100 * sick[plant]:.1f}",
        f"{100 * cured[plant]:.1f}",
    ]
    for plant in FAULTS
}
print(table(rows, ["found", "sick (%)", "treated (%)"]))

# %%
# Where it can be, the effect of the remedy is in the report, before anything is changed: the
# examination tries it on lent buffers. These are the lines that were carried out:

for line in dict.fromkeys(r.alarms[0].remedy for r in reports.values()):
    print(line.replace(": model", ":\n    model"))

# %%
# A whole report
# --------------
# Four faults at once, in another copy. What is worst stands first; each code has its section in
# :doc:`Find the fault </questions>`.

several = copy.deepcopy(healthy)
several.block_1.norm.requires_grad_(False)
several.block_2.norm.running_mean += several.block_2.norm.running_var.sqrt()
several.block_3.norm.running_mean[5] = torch.nan
several.block_4.norm.momentum = 0.99
whole = examine(several, loader)
print(whole)

# %%
# In a test, before a model is shipped, one line is enough:

assert not examine(healthy, loader, batches=4).errors

# %%

# fold: draw two reports, the figure at the top of the page
figure, axes = new_figure(
    1,
    2,
    lead=True,
    width=7.2,
    height=2.6,
    sharex=True,
    alt="Two bar charts of how far the running statistics of four layers are off, in standard "
    "deviations. In the healthy network all bars end before the dotted line at 0.05. In the one "
    "with averaged weights all four, hatched, reach far beyond it.",
)
pictures = {"healthy": sound, "averaged weights": reports[averaged_weights]}
for ax, (title, report) in zip(axes, pictures.items(), strict=True):
    report.plot(ax)
    ax.set_yticks(range(4), [f"layer {n}" for n in range(1, 5)])
    ax.set_xlabel("statistics off (sigma)")
    ax.set_title(title, fontsize=12)

# %%

# fold: keep the numbers, check what the words claim
found = [code in reports[plant].codes for plant, (code, _) in FAULTS.items()]
evidence.note(
    found=sum(found),
    healthy=accuracy(healthy),
    worst_sick=min(sick.values()),
    least_gain=100 * min(cured[plant] - sick[plant] for plant in FAULTS),
    most_gain=100 * max(cured[plant] - sick[plant] for plant in FAULTS),
)
evidence.save()
assert not sound.alarms
assert len(FAULTS) == 10
assert all(found)
for plant, (code, _) in FAULTS.items():
    assert [alarm.code for alarm in reports[plant].alarms] == [code], words(
        plant
    )
    assert cured[plant] > sick[plant], words(plant)
assert reports[overflow].layers("nan-statistics") == ["block_3.norm"]
assert len(whole.alarms) == 4
assert len(str(whole).splitlines()) <= 25

# %%
# **Limits.** One small network, one seed, and faults that were planted: chosen by who wrote the
# checks. An examination sees the layers and what reaches them. Padding, a loss that leaks, or a
# wrong label are out of its sight; what it did not check stands in its last lines. Effects below
# the thresholds, each given with its reason in :mod:`the reference
# <bn_tutorial.networks.checks_with_data>`, are notes or nothing: it is meant to be silent rather
# than wrong. How many faults of a longer list it finds, and how often it calls a healthy model
# sick, was :ref:`counted <what-is-found>`.
#
# **Try it.** Plant a fault of your own, such as ``model.block_1.norm.eps = 10.0``, give it a code
# and ``nothing``, and see whether it is found. Or make the dropout 0.1: from where on does it
# matter?
#
# Next: a network that is sound, and :doc:`test images that are not
# <plot_02_change_the_test_images>`.
