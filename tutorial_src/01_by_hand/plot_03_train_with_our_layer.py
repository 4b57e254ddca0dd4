"""
Train a network with our layer
==============================

**The question.** Does the layer that we wrote train a real network as PyTorch's does?

**Varied:** the normalization layer, ours in NumPy or :class:`torch.nn.BatchNorm1d`.

**Held fixed:** everything else: network, initial weights, order of the images, learning rate.

Ours is called through a :class:`torch.autograd.Function`, which hands PyTorch the output of
:func:`~bn_tutorial.scratch.functional.batch_norm_forward` and the gradients of
:func:`~bn_tutorial.scratch.functional.batch_norm_backward`. PyTorch differentiates the rest of the network.
"""

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.figures import COLORS, new_figure
from bn_tutorial.lab.pool import run_all
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.training import Config

data = load()
config = Config(steps=469, evaluate_every=469, batch_size=128, lr=0.1, seed=0)

# %%
# Train twice
# -----------

theirs, ours = run_all(
    [RunSpec(norm="batch", config=config), RunSpec(norm="numpy", config=config)], data
)

their_loss, our_loss = np.array(theirs.step_loss), np.array(ours.step_loss)
apart = np.abs(our_loss - their_loss)
print(f"{data.title}: {len(our_loss)} steps")
print(f"greatest difference in loss: {apart.max():.1e}")
print(
    f"test accuracy: ours {ours.test_accuracy[-1]:.2%}, PyTorch {theirs.test_accuracy[-1]:.2%}"
)

# %%
# Compare the losses
# ------------------
# Both compute in single precision, but they add numbers in another order, so that each step
# rounds a little differently. In many steps the two losses are the same number; in the others they
# lie one or a few units in the last place apart. Such a unit is the distance between neighbours
# among the numbers that single precision can hold; it halves whenever the loss falls below a power
# of two, so the dotted line has steps.

figure, (top, bottom) = new_figure(
    2,
    1,
    height=5.0,
    sharex=True,
    alt="Above, the loss of each training step with our layer and with PyTorch's: the two curves "
    "fall steeply and lie on each other. Below, their distance on a logarithmic axis, as points "
    "around a line that shows one unit in the last place of the loss.",
)
steps = np.arange(1, len(our_loss) + 1)
top.plot(
    steps,
    their_loss,
    color=COLORS["orange"],
    linewidth=4,
    alpha=0.6,
    label="PyTorch's layer",
)
top.plot(
    steps,
    our_loss,
    color=COLORS["blue"],
    linewidth=1,
    label="our layer",
    linestyle="solid",
)
top.set(ylabel="training loss (nat)", ylim=(0, None))
top.legend()
differ = apart > 0
bottom.plot(
    *(steps[differ], apart[differ]),
    linestyle="none",
    marker=".",
    color=COLORS["purple"],
    label="where they differ",
)
bottom.plot(
    steps,
    np.spacing(their_loss.astype(np.float32)),
    color=COLORS["grey"],
    linestyle="dotted",
    label="one unit in the last place",
)
bottom.set(yscale="log", xlabel="step", ylabel="distance (nat)")
bottom.legend()

# %%
# Record and check
# ----------------

record(
    "01_by_hand/plot_03_train_with_our_layer",
    {
        "steps": len(our_loss),
        "loss_apart": apart.max(),
        "steps_equal": np.mean(~differ),
        "accuracy_apart": abs(
            ours.test_accuracy[-1] - theirs.test_accuracy[-1]
        ),
        "test_accuracy": ours.test_accuracy[-1],
    },
    data=data,
)
assert ours.diverged_at is None
assert np.mean(~differ) > 0.1  # often the same number...
assert (
    np.max(apart / np.spacing(their_loss.astype(np.float32))) < 20
)  # ...else close to it
assert abs(ours.test_accuracy[-1] - theirs.test_accuracy[-1]) < 0.005
assert our_loss[-50:].mean() < 0.5 * our_loss[:50].mean()  # and it does learn

# %%
# **What to notice.** The derivation is complete: nothing but the rounding sets the two networks
# apart, in training mode through every step, and in evaluation mode at the end.
# Next: :doc:`every layer against PyTorch's <plot_04_compare_with_pytorch>`.
