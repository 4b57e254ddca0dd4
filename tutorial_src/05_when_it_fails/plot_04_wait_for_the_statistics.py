"""
Wait for the statistics
=======================

**The question.** Running statistics follow the network with a delay. How long must one wait for
them before evaluation mode can be believed, and is waiting enough?

.. predict:: precise - momentum {0.1, 0.01, 0.001}, rate 0.1
   :scale: -20 60 2
   :axis: new minus running statistics, points
   :row: momentum

   Momentum is the weight of a new batch here: the smaller it is, the more batches are averaged, and
   the steadier are the running statistics. After 240 steps new statistics are gathered from 40
   batches. How many points do they gain over the running ones?

   0.1: none or undecided or yes, 0.001: yes
      It is tempting to trust the longest average. But each average starts from a mean of 0 and a
      variance of 1, which no batch has given. After 240 steps with 0.001 that start still has
      nearly four fifths of the weight (:math:`0.999^{240}`), with 0.01 about a tenth, and with 0.1
      nothing.

**In short.** After 240 steps at a rate of 0.1, statistics that are gathered anew change the
accuracy by :finding:`precise - momentum 0.1, rate 0.1` with momentum 0.1, PyTorch's default, and by
:finding:`precise - momentum 0.001, rate 0.1` with 0.001, which has not forgotten its start. The
plain mean of all batches has no start, but belongs in part to networks that are gone: new
statistics change it by :finding:`precise - momentum None, rate 0.1`, and at a rate of 3 by
:finding:`precise - momentum None, rate 3`.

.. lead-figure::

**What was done.** ReLU networks with six hidden layers of 128 units and batch normalization (BN)
learned for 240 steps. *Varied:* the momentum of the running statistics, which is the weight of a
new batch (None: the mean of all batches so far), and the learning rate, 0.1 or 3. Every 30 steps
they were evaluated on all test images, and so was a copy with new statistics, gathered from 40
training batches ("precise"). 5 seeds.

**You need** :doc:`how long an average remembers </derivations/statistics>`.
"""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from torch.optim.swa_utils import update_bn

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import Outcome
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import (
    draw_effects,
    draw_spread,
    label_lines,
    new_figure,
)
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.results import remembered
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import table
from bn_tutorial.lab.training import Config, device, train
from bn_tutorial.networks.examine import examine

MOMENTA = (0.1, 0.01, 0.001, None)
RATES = (0.1, 3.0)
STEPS, EVERY, BATCH, GATHERED = 240, 30, 128, 40
JUDGING = range(155, 160)  # seeds
MATTERS = 1.0  # percentage points

data = load()
evidence = Evidence(
    "05_when_it_fails/plot_04_wait_for_the_statistics",
    data=data,
    seeds=JUDGING,
    horizon="240 steps (0.5 epochs)",
    claims={
        "precise - momentum 0.001, rate 0.1": "momentum 0.001 lags",
        "precise - momentum 0.1, rate 3": "0.1 lags at a rate of 3",
        "precise - momentum 0.001, rate 3": "0.001 lags at a rate of 3",
        "precise - momentum None, rate 3": "a plain mean lags there",
    },
)

# %%
# How long is the memory?
# -----------------------
# With momentum :math:`\alpha`, the start (mean 0, variance 1) still weighs
# :math:`(1 - \alpha)^k` after k batches, and the average looks back over about
# :math:`(2 - \alpha)/\alpha` of them.

rows = {
    f"momentum {momentum}": [
        round((2 - momentum) / momentum),
        f"{(1 - momentum) ** STEPS:.1%}",
    ]
    for momentum in MOMENTA
    if momentum
}
rows["momentum None"] = ["all", f"{0:.1%}"]
print(table(rows, ["window (batches)", f"start after {STEPS}"]))

# %%
# How long must one wait? The start has less than 1 % of the weight after about 4.6 divided by the
# momentum (:math:`\ln 100 = 4.6`): some 45 batches with 0.1, 4,600 with 0.001.
#
# So there are two ways to fail. If the window is longer than the training, the start is still in
# the average: waiting helps. If the weights move far within the window, the average is one of
# networks that are gone: waiting helps only when the weights come to rest. Momentum None can
# fail in the second way alone.
#
# Look in evaluation mode while it learns
# ---------------------------------------
# The momentum plays no part in training, where each batch has its own statistics: with the same
# seed, all momenta lead to the same weights. So what differs in evaluation mode is due to the
# statistics alone. Precise statistics are those of 40 training batches, gathered in a copy that
# does not learn meanwhile, and averaged with equal weights.


def run(lr):
    """Return the settings of one run."""
    network = {"widths": (784, *6 * [128], 10), "activation": "relu"}
    config = Config(STEPS, EVERY, BATCH, lr=lr)
    return RunSpec("batch", init="he", config=config, **network)


inputs = data.standardize(data.train.images[: GATHERED * BATCH]).to(device())
batches = inputs.split(BATCH)
test = data.standardize(data.test.images).to(device())


@torch.no_grad()
def precise(model, _):
    """Say which test images are right with statistics gathered anew."""
    model = deepcopy(model)
    update_bn(batches, model)
    hits = model.eval()(test).argmax(dim=1).cpu() == data.test.labels
    return {"right": hits.numpy()}


@remembered
def trained(lr, momentum, seed):
    """Return a network after its training, and the history of that."""
    spec = replace(run(lr), model_seed=seed)
    model = spec.model()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.momentum = momentum
    # Once for each seed is enough: the weights are the same.
    measure = precise if momentum == MOMENTA[0] else None
    config = replace(spec.config, seed=seed)
    history = train(model, data, config, measure=measure, progress=False)
    return model, history


SPEEDS = {f"rate {lr:g}": lr for lr in RATES}
with one_thread():
    found = {
        (speed, momentum): [trained(lr, momentum, seed) for seed in JUDGING]
        for speed, lr in SPEEDS.items()
        for momentum in MOMENTA
    }
histories = {key: [h for _, h in pairs] for key, pairs in found.items()}
for speed in SPEEDS:
    same = zip(*(histories[speed, m] for m in MOMENTA), strict=True)
    assert all(len({h.step_loss for h in trio}) == 1 for trio in same)

# %%
# That the same weights came out was checked: every loss of every step is the same, bit by bit.

# fold: put the accuracies together


def curve(speed, momentum):
    """Return the accuracies (%), shape (seeds, evaluations)."""
    if momentum == "precise":
        looks = [h.measured["right"][1:] for h in histories[speed, MOMENTA[0]]]
        return 100 * np.mean(looks, axis=2)
    return 100 * np.array([h.test_accuracy for h in histories[speed, momentum]])


def outcome(speed, momentum):
    """Return the accuracies (%) after the last step, and the images."""
    if momentum == "precise":
        right = [h.measured["right"][-1] for h in histories[speed, MOMENTA[0]]]
    else:
        right = [h.test_right for h in histories[speed, momentum]]
    values = curve(speed, momentum)[:, -1]
    return Outcome(values, 100 * np.array(right, dtype=np.float32))


# %%

# fold: draw the accuracy against the step, the figure at the top of the page
figure, axes = new_figure(
    1,
    2,
    lead=True,
    width=7.2,
    height=3.6,
    sharey=True,
    alt="Test accuracy in evaluation mode against the step, at rates of 0.1 and 3. With precise "
    "statistics it is high from early on, and momentum 0.1 is close to it. The smaller the "
    "momentum, the later the accuracy rises; with 0.001 it stays far below.",
)
LINES = dict(
    zip(
        ("precise", *MOMENTA),
        ("green", "orange", "purple", "pink", "grey"),
        strict=True,
    )
)
at = EVERY * np.arange(1, STEPS // EVERY + 1)
for ax, (speed, lr) in zip(axes, SPEEDS.items(), strict=True):
    for momentum, color in LINES.items():
        look = {"color": color, "label": str(momentum), "marker": False}
        draw_spread(ax, at, curve(speed, momentum), **look)
    ax.set(title=f"rate {lr:g}", xlabel="steps", ylim=(0, 100))
    label_lines(ax, gap=0.08)
axes[0].set(ylabel="test accuracy (%)")

# %%
# Lines are means over the seeds, bands go from the worst to the best; the numbers are momenta.
#
# Compare after the last step
# ---------------------------

for speed in SPEEDS:
    for momentum in MOMENTA:
        evidence.compare(
            f"precise - momentum {momentum}, {speed}",
            outcome(speed, "precise"),
            outcome(speed, momentum),
            unit="points",
            smallest=MATTERS,
        )
print(evidence.table())

# %%

# fold: draw the differences
figure, ax = new_figure(
    width=7.2,
    height=3.4,
    alt="Intervals of eight differences of test accuracy: precise minus running statistics, for "
    "four momenta at two rates. It is small for momentum 0.1 and large for 0.001.",
)
draw_effects(
    ax,
    list(evidence.effects.values()),
    unit="difference of test accuracy (points)",
)

# %%
# Would one have noticed?
# -----------------------
# :class:`examine <bn_tutorial.networks.examine>` compares the running statistics with what reaches
# the layers. Of a network with momentum 0.001 at the rate of 0.1 it says:

labels = data.train.labels[: GATHERED * BATCH].to(device()).split(BATCH)
with one_thread():
    sick, _ = found["rate 0.1", 0.001][0]
    report = examine(sick, list(zip(batches, labels, strict=True)))
print(report)

# %%

# fold: keep the numbers, check what the words claim
codes = [finding.code for finding in report.findings]
evidence.note(
    slow=outcome("rate 0.1", 0.001).mean / 100,
    precise=outcome("rate 0.1", "precise").mean / 100,
)
evidence.save()
effects = evidence.effects
assert effects["precise - momentum 0.001, rate 0.1"].low > 5
assert effects["precise - momentum 0.001, rate 3"].low > 5
assert effects["precise - momentum 0.1, rate 0.1"].high < 5
assert codes[0] == "stale-statistics"

# %%
# The remedy is one pass without learning, ``update_bn(loader, model)``, before the model is judged
# or kept :cite:p:`wu2021rethinking`. Against the second fault a rate that falls towards the end
# should help, too, which was not tried here; against the first it does nothing. A greater momentum
# forgets sooner, and is noisier: with 0.1 the statistics are those of about 19 batches.
#
# In *Find the fault*: :ref:`a short training, and evaluation mode is bad <fault-stale-statistics>`,
# and :ref:`much worse in eval mode <fault-eval-worse>`. If nothing was wrong with the momentum,
# look for :ref:`dropout in front <fault-dropout-in-front>`.
#
# **Limits.** One small network, 240 steps, constant rates. A rate of 3 is more than one would take.
# After a warm restart, or in the first steps of a fine-tuning, statistics can lag in the second
# way, too; how much, was not measured.
#
# **Try it.** Set ``STEPS`` to 480: which of the lines catches up, and which does not?
#
# Next: :doc:`mend small batches <plot_05_mend_small_batches>`.
