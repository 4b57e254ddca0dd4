"""
Replay a training step by step
==============================

**The question.** What happens inside the two networks of the first comparison while one learns and
the other does not?

**In short.** At the first step they look alike, but the gradient that reaches the first layer is
larger with batch normalization by a factor of at least :value:`gradient_ratio_min:,.0f`, here and
in every frame. After 300 steps one classifies :value:`accuracy_with:.0%` of the images correctly,
the other :value:`accuracy_without:.0%`. At the end of this page you can replay it by hand.

.. lead-figure::

**What was done.** The two networks of :doc:`plot_01_compare_training`, with and without batch
normalization, were trained side by side for 300 steps from the same initial weights, with the same
order of the images and learning rate 0.1. One seed, because this is a recording to look at, not a
comparison.

**You need** :doc:`the first comparison <plot_01_compare_training>`.
"""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import (
    COLORS,
    LINE_STYLES,
    MARKERS,
    label_lines,
    new_figure,
)
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.training import device
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import watch

data = load()
seed, lr, batch_size = 0, 0.1, 128
steps, every, watched_images, bins = 300, 10, 2000, 20
arms = {"without BN": None, "with BN": "batch"}

# %%
# Record
# ------
# Before every few steps we look, in evaluation mode, at how test images are classified and at how
# the activations of the last hidden layer are distributed. Of the step itself we keep the size of
# the gradient of each layer's weights: its root mean square.

images = data.standardize(data.train.images).to(device())
labels = data.train.labels.to(device())
test_images = data.standardize(data.test.images[:watched_images]).to(device())
test_labels = data.test.labels[:watched_images].to(device())


def look(model):
    """Return accuracy, and the share of activations in each of the bins."""
    model.eval()
    with torch.no_grad(), watch(model, nn.Sigmoid) as signals:
        predicted = model(test_images).argmax(dim=1)
    *_, last_hidden = signals.outputs.values()
    counts = torch.histc(last_hidden, bins=bins, min=0, max=1)
    accuracy = (predicted == test_labels).float().mean().item()
    return accuracy, (counts / counts.sum()).tolist()


def replay(norm):
    """Train a network; return the frames of each quantity."""
    model = DeepNet(norm=norm, seed=seed).to(device())
    linear = [part for part in model.modules() if isinstance(part, nn.Linear)]
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator).to(device())
    seen = {"accuracy": [], "activations": [], "gradients": []}
    for step in range(steps + 1):
        watching = step % every == 0
        if watching:
            accuracy, shares = look(model)
            seen["accuracy"].append(accuracy)
            seen["activations"].append([round(share, 4) for share in shares])
        batch = order[step * batch_size : (step + 1) * batch_size]
        model.train()
        model.zero_grad()
        cross_entropy(model(images[batch]), labels[batch]).backward()
        if watching:
            sizes = [
                layer.weight.grad.square().mean().sqrt().item()
                for layer in linear
            ]
            seen["gradients"].append([float(f"{size:.3g}") for size in sizes])
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= lr * parameter.grad
    return seen


with one_thread():  # so that a recording can be made again, bit by bit
    recordings = {name: replay(norm) for name, norm in arms.items()}
for name, seen in recordings.items():
    print(
        f"{name:<11} accuracy after {steps} steps {seen['accuracy'][-1]:6.1%}, gradient of the "
        f"first layer at the first step {seen['gradients'][0][0]:.1e}"
    )

# %%

# fold: draw accuracy and gradient against the step
figure, (left, right) = new_figure(
    1,
    2,
    lead=True,
    width=7.2,
    height=3.2,
    alt="Two panels against the step. Test accuracy: with batch normalization it climbs steeply, "
    "without it it stays near that of guessing. Size of the gradient of the first layer's weights, "
    "logarithmic: with batch normalization it is larger by orders of magnitude throughout.",
)
at = np.arange(0, steps + 1, every)
for (name, seen), color in zip(
    recordings.items(), ("blue", "orange"), strict=True
):
    style = {
        "color": COLORS[color],
        "linestyle": LINE_STYLES[color],
        "marker": MARKERS[color],
        "markersize": 3,
        "label": name,
    }
    left.plot(at, 100 * np.array(seen["accuracy"]), **style)
    right.semilogy(at, np.array(seen["gradients"])[:, 0], **style)
left.set(title="test accuracy (%)", xlabel="step", ylim=(0, 100))
right.set(title="gradient, first layer", xlabel="step")
label_lines(right)

# %%

# fold: keep the recording, check what the words claim
accuracy = {name: seen["accuracy"][-1] for name, seen in recordings.items()}
gradient = {
    name: np.array(seen["gradients"])[:, 0] for name, seen in recordings.items()
}
ratio = (gradient["with BN"] / gradient["without BN"]).min()
before = [seen["activations"][0] for seen in recordings.values()]
evidence = Evidence(
    "03_in_training/plot_10_replay_a_training",
    data=data,
    horizon="300 steps (0.6 epochs)",
)
evidence.note(
    steps=steps,
    images=watched_images,
    accuracy_without=accuracy["without BN"],
    accuracy_with=accuracy["with BN"],
    gradient_ratio_min=ratio,
)
evidence.save(recording={"steps": at.tolist(), "arms": recordings})
assert accuracy["with BN"] > 0.6
assert accuracy["without BN"] < 0.2
assert ratio > 100  # orders of magnitude, in every frame
assert np.allclose(*before, atol=0.01)  # untrained, they look alike

# %%
# Before the first step the two networks look alike: in evaluation mode the layer uses running
# statistics that no batch has moved yet. But the gradient of that step, taken in training mode,
# differs by orders of magnitude already.
#
# Replay it by hand
# -----------------
# Move through the steps, and compare the two columns of marks: they are the sizes of the gradients,
# layer by layer.
#
# .. widget:: replay-a-training
#
#    With JavaScript you can move through the steps.
#    Here is the state before the first one: the networks classify alike, but their gradients differ
#    by orders of magnitude.
#
# **Limits.** One seed, one learning rate, less than one epoch.
#
# **Try it.** Change ``lr`` in the settings to 1.0.
#
# Next: :doc:`pool other axes </derivations/other_axes>`.
