"""
Train a network with our layer
==============================

**The question.** Does the layer that we wrote train a real network as PyTorch's does?

**In short.** Yes. Over :value:`steps` steps the losses of the two networks are never more than
:value:`loss_apart:.0e` nat apart, and in :value:`steps_equal:.0%` of the steps they are the same
number. At the end our network reads :value:`test_accuracy:.1%` of the test images correctly, and
the accuracy of PyTorch's differs from that by :value:`accuracy_apart:.2%`. With our layer a
training takes :value:`time_numpy:.2f` times as long as with PyTorch's, and with its
:doc:`fused sibling </gallery/01_by_hand/plot_07_fuse_the_passes>` :value:`time_fused:.2f` times as
long, on the machine that built this page.

.. lead-figure::

**What was done.** A network of four hidden layers of 256 sigmoids was trained twice, with batch
normalization by our layer in NumPy and by :class:`torch.nn.BatchNorm1d`. Everything else is the
same: the initial weights, the order of the images, the learning rate of 0.1, batches of 128, and
469 steps, which is one pass over the 60,000 images. The loss of an image is minus the natural
logarithm of the probability that the network gives to the right digit; its unit is the *nat*.

Ours is called through a :class:`torch.autograd.Function`, which hands PyTorch the output of
:func:`~bn_tutorial.scratch.functional.batch_norm_forward` and the gradients of
:func:`~bn_tutorial.scratch.functional.batch_norm_backward`. PyTorch differentiates the rest of the
network.

**You need** :doc:`the backward pass </derivations/backward>`.
"""

# sphinx_gallery_parallel = False  # what ran beside it would be timed, too
import time

import numpy as np
from torch import nn

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, new_figure
from bn_tutorial.lab.pool import one_thread, run_all
from bn_tutorial.lab.results import measured_once
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import table
from bn_tutorial.lab.training import Config, train
from bn_tutorial.networks.bridge import FusedBatchNorm1d, NumpyBatchNorm1d
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.scratch import fused

data = load()
config = Config(steps=469, evaluate_every=469, batch_size=128, lr=0.1, seed=0)
layers = {"our layer": "numpy", "PyTorch's layer": "batch"}

# %%
# Train twice
# -----------

runs = [RunSpec(norm, config=config) for norm in layers.values()]
ours, theirs = run_all(runs, data)

# %%
# Compare the losses
# ------------------
# Both compute in single precision, but they add numbers in another order, so that each step rounds
# a little differently. In many steps the two losses are the same number; in the others they lie one
# or a few *units in the last place* apart. Such a unit is the distance between neighbours among the
# numbers that single precision can hold.

our_loss, their_loss = np.array(ours.step_loss), np.array(theirs.step_loss)
apart = np.abs(our_loss - their_loss)
unit = np.spacing(their_loss.astype(np.float32))
rows = {
    "steps": [len(our_loss)],
    "steps with equal losses": [np.mean(apart == 0)],
    "greatest distance (nat)": [apart.max()],
    "greatest distance (units)": [np.max(apart / unit)],
    "test accuracy, ours": [f"{ours.test_accuracy[-1]:.2%}"],
    "test accuracy, PyTorch's": [f"{theirs.test_accuracy[-1]:.2%}"],
}
print(table(rows, columns=[data.title]))

# %%

# fold: draw both losses and their distance
figure, (top, bottom) = new_figure(
    2,
    1,
    lead=True,
    width=7.2,
    height=5.0,
    sharex=True,
    alt="Above, the loss of each training step with our layer and with PyTorch's: the two curves "
    "fall steeply and lie on each other. Below, their distance on a logarithmic axis, as points "
    "around a line that shows one unit in the last place of the loss.",
)
steps = np.arange(1, len(our_loss) + 1)
wide = {"linewidth": 5, "alpha": 0.35, "linestyle": "solid"}
thin = {"linewidth": 1, "linestyle": "solid"}
top.plot(
    steps, their_loss, color=COLORS["pink"], **wide, label="PyTorch's layer"
)
top.plot(steps, our_loss, color=COLORS["green"], **thin, label="our layer")
top.set(ylabel="training loss (nat)", ylim=(0, None))
top.legend()
differ = apart > 0
bottom.plot(
    steps[differ],
    apart[differ],
    linestyle="none",
    marker=".",
    color=COLORS["purple"],
    label="where they differ",
)
bottom.plot(
    steps,
    unit,
    color=COLORS["grey"],
    linestyle="dotted",
    label="one unit in the last place",
)
bottom.set(
    yscale="log",
    ylim=(1e-8, max(1e-6, 2 * apart.max())),
    xlabel="step",
    ylabel="distance (nat)",
)
bottom.legend()

# %%
# The unit halves when the loss falls below a power of two, so the dotted line has steps.
#
# How long does it take?
# ----------------------
# The same network, for a tenth of those steps, on one core: with PyTorch's layer, with ours, and
# with the one that computes the same in fewer passes. They take turns, and of each the shortest of
# seven times counts: time of the processor, which what else it does hardly changes. The machine
# remembers them.

kinds = {
    "PyTorch's layer": nn.BatchNorm1d,
    "our layer": NumpyBatchNorm1d,
    "our layer, fused": FusedBatchNorm1d,
}
short = Config(steps=47, evaluate_every=47)


def seconds(kind):
    """Train a network whose normalizations are of this kind."""
    model = DeepNet("batch")
    for block in list(model)[:-1]:
        block.norm = kind(block.norm.num_features)
    start = time.process_time()
    train(model, data, short, progress=False)
    return time.process_time() - start


def measure():
    """Return the shortest time of each kind."""
    with one_thread(), fused.threads(1):
        rounds = [[seconds(kind) for kind in kinds.values()] for _ in range(7)]
    return [[min(times) for times in zip(*rounds, strict=True)]]


((by_pytorch, by_numpy, by_fused),) = measured_once(measure)
rows = {
    name: [f"{taken / by_pytorch:.2f}"]
    for name, taken in zip(kinds, (by_pytorch, by_numpy, by_fused), strict=True)
}
print(table(rows, columns=["time of a training, over PyTorch's"]))

# %%

# fold: keep the numbers, check what the words claim
evidence = Evidence(
    "01_by_hand/plot_03_train_with_our_layer",
    data=data,
    seeds=[config.seed],
    horizon="469 steps (1 epoch)",
)
accuracy_apart = abs(ours.test_accuracy[-1] - theirs.test_accuracy[-1])
evidence.note(
    steps=len(our_loss),
    loss_apart=apart.max(),
    steps_equal=np.mean(~differ),
    accuracy_apart=accuracy_apart,
    test_accuracy=ours.test_accuracy[-1],
    time_numpy=by_numpy / by_pytorch,
    time_fused=by_fused / by_pytorch,
)
evidence.save()
assert ours.diverged_at is None
assert np.mean(~differ) > 0.1  # often the same number...
assert np.max(apart / unit) < 20  # ...else close to it
assert accuracy_apart < 0.005
assert our_loss[-50:].mean() < 0.5 * our_loss[:50].mean()  # and it does learn

# %%
# So the derivation leaves nothing out: the two networks differ by rounding only, in training mode
# at every step, and in evaluation mode at the end.
#
# **Limits.** One seed, one network, one epoch, single precision. On another machine, or over more
# steps, rounding drives the losses apart by another amount.
#
# **Try it.** Change ``lr`` in the settings to 1.0: at so large a rate each step amplifies the
# differences of rounding, until one can see that the two losses differ. The check at the end then
# stops the script.
#
# Next: :doc:`what the gradient means </derivations/meaning>`, or, if you leave out what is
# further, :doc:`what the layer does without a batch </derivations/inference>`.
