"""
Do without normalization
========================

**The question.** Can something without statistics of the batch stand in the place of batch
normalization (BN), in a residual network and in a plain convolutional one?

**In short.** Each taken by itself, BN is ahead of :value:`residual_behind` of 6 rivals without it
by more than 1 point in the residual network, and of :value:`convolutional_behind` of 5 in the
convolutional one; how much of that holds when :doc:`all comparisons </comparisons>` are counted,
the daggers say. BN's test accuracy minus

- that of branches that are scaled down until each block is nearly the identity, without any
  normalization, is :finding:`BN - scaled branches, residual`;
- that of DyT, which squashes each number instead of normalizing, is :finding:`BN - DyT, residual`
  in the residual network and :finding:`BN - DyT, convolutional` in the convolutional one;
- that of weights that are standardized and scaled is :finding:`BN - scaled weights, convolutional`
  in the convolutional network, and that of standardized weights with group normalization
  :finding:`BN - GN, standardized weights, convolutional`.

.. lead-figure::

**What was done.** The *residual network* has 16 blocks on a stream of 64 numbers (as on :doc:`the
page before <plot_04_stack_residual_blocks>`, with BN in front of each branch); the *convolutional
network* has four 3x3 convolutions. *Varied:* what stands in the place of BN. Each arm chose its
learning rate on 5,000 held-out images, with 3 seeds of its own (DyT and Derf also where their alpha
starts); then 5 other seeds compared them, after 150 steps in batches of 128 in the residual network
and after 200 steps in batches of 64 in the convolutional one (0.35 and 0.2 epochs).

What can do without statistics of the batch falls into three kinds.

- *Set the scale at the start.* Scaled branches: each branch is divided by the root of the number
  of blocks. SkipInit :cite:p:`de2020batch`: the branch is multiplied by a learned number that
  starts at zero. Fixup :cite:p:`zhang2019fixup`: the last map of each branch starts at zero, and
  more. Zero gamma :cite:p:`goyal2017accurate` keeps BN and starts its gamma at zero.
- *Normalize the weights instead.* Scaled weight standardization :cite:p:`brock2021characterizing`;
  plain weight standardization :cite:p:`qiao2019micro` together with group normalization (GN).
- *Squash.* DyT :cite:p:`zhu2025transformers` is a tanh with a learned scale, Derf
  :cite:p:`chen2025stronger` an error function with scale and shift.

**You need** :doc:`the residual blocks <plot_04_stack_residual_blocks>`.
"""

# sphinx_gallery_parallel = False  # what ran beside it would be timed, too
import time
from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import draw_effects, new_figure
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.real_networks import ConvSpec, ResidualSpec
from bn_tutorial.lab.results import measured_once
from bn_tutorial.lab.study import cross, judge, table, tune
from bn_tutorial.lab.training import Config, device

RESIDUAL = {  # by the name on this page: settings of ResidualSpec, rates, alphas
    "BN": ({"norm": "batch"}, (0.1, 0.3, 1.0)),
    "BN, zero gamma": (
        {"norm": "batch", "placement": "peri", "scaling": "zero gamma"},
        (1.0, 2.0, 3.0, 5.0),
    ),
    "scaled branches": ({"scaling": "scaled"}, (0.01, 0.02, 0.03, 0.05)),
    "SkipInit": ({"scaling": "skipinit"}, (0.03, 0.1, 0.15, 0.2)),
    "Fixup": ({"scaling": "fixup"}, (0.03, 0.1, 0.15, 0.2)),
    "scaled weights": (
        {"scaling": "scaled", "weights": "scaled"},
        (0.01, 0.02, 0.03, 0.05),
    ),
    "DyT": ({"norm": "dyt"}, (0.1, 0.3, 1.0), (0.125, 0.25, 0.5)),
    "Derf": ({"norm": "derf"}, (0.1, 0.3, 1.0), (0.25, 0.5, 1)),
}
CONVOLUTIONAL = {  # settings of ConvSpec, rates, alphas
    "BN": ({"norm": "batch"}, (0.3, 1.0, 3.0)),
    "none": ({}, (0.1, 0.3, 1.0)),
    "GN, standardized weights": (
        {"norm": "group:4", "weights": "standardized"},
        (0.3, 1.0, 3.0),
    ),
    "scaled weights": ({"weights": "scaled"}, (0.1, 0.2, 0.3, 0.5)),
    "DyT": ({"norm": "dyt"}, (0.3, 1.0, 3.0), (1, 2, 4)),
    "Derf": ({"norm": "derf"}, (0.1, 0.3, 1.0), (1, 2, 4)),
}
TUNING, JUDGING = range(50, 53), range(250, 255)  # seeds
BLOCKS, WIDTH = 16, 64
LONG, SHORT = Config(200, 200, 64), Config(150, 150, 128)
MATTERS = 1.0  # percentage points

data = load().hold_out(5_000)
evidence = Evidence(
    "04_in_real_networks/plot_05_do_without_normalization",
    data=data,
    seeds=JUDGING,
    horizon="150 or 200 steps (0.35, 0.2 epochs)",
    claims={
        "BN - scaled branches, residual": "more than near-identity blocks",
        "BN - DyT, residual": "better than DyT, residual",
        "BN - DyT, convolutional": "better than DyT, convolutional",
        "BN - scaled weights, convolutional": "better than scaled weights",
    },
)

# %%
# Each arm and what it may choose
# -------------------------------
# A setting is a learning rate and, of DyT and Derf, the alpha that they start with: three rates are
# tried at the middle alpha, and three alphas at the middle rate; where the best is the first or the
# last of them, more beyond it.


def run(name, network, alpha, lr):
    """Return the settings of one run."""
    chosen = dict(networks[network][name][0])
    if alpha is not None:
        chosen["norm"] += f":{alpha:g}"
    if network == "residual":
        config = replace(SHORT, lr=lr)
        return ResidualSpec(blocks=BLOCKS, width=WIDTH, config=config, **chosen)
    return ConvSpec(config=replace(LONG, lr=lr), **chosen)


networks = {"residual": RESIDUAL, "convolutional": CONVOLUTIONAL}
ladders = {}
for network, arms in networks.items():
    for name, (_, rates, *alphas) in arms.items():
        ladders[name, network] = {
            setting: run(name, network, *setting)
            for setting in cross(*(alphas or [(None,)]), rates)
        }
tuning = tune(
    ladders, data, TUNING, run=lambda arm, setting: run(*arm, *setting)
)
judged = judge(tuning, data, JUDGING)
rows = {}
for name, network in ladders:
    alpha, lr = tuning.chosen((name, network))
    rows[f"{network}: {name}"] = [
        lr,
        alpha or "",
        judged.last((name, network)).mean,
        "; ".join(tuning.remarks((name, network), "alpha", "rate")),
    ]
print(table(rows, ["rate", "alpha", "test (%)", "remark"]))

# %%
# Compare them with BN
# --------------------

for network, arms in networks.items():
    for name in arms:
        if name != "BN":
            evidence.compare(
                f"BN - {name}, {network}",
                judged.last(("BN", network)),
                judged.last((name, network)),
                unit="points",
                smallest=MATTERS,
            )
print(evidence.table())

# %%

# fold: draw the differences, the figure at the top of the page
figure, axes = new_figure(
    2,
    1,
    lead=True,
    width=7.2,
    height=5.4,
    height_ratios=(7, 5),
    alt="Intervals of the difference of test accuracy between batch normalization and each of "
    "its rivals, in points: seven rivals in a residual network above, five in a convolutional "
    "network below. To the right of zero batch normalization is better.",
)
for ax, network in zip(axes, networks, strict=True):
    shown = [
        effect
        for name, effect in evidence.effects.items()
        if name.endswith(network)
    ]
    names = [effect.name.removesuffix(f", {network}") for effect in shown]
    draw_effects(ax, shown, labels=names, unit="BN is better by (points)")
    ax.set_title(f"{network} network")

# %%
# What a step costs
# -----------------
# Processor time of a step of training on one thread, on 128 images: the median of many, relative to
# that of BN. It was measured on the machine that built this page, and is no verdict.

steps = 30
images = data.standardize(data.train.images[:128]).to(device())
labels = data.train.labels[:128].to(device())


def step_times():
    """Return the processor time of some steps of each arm, in seconds."""
    specs = [next(iter(ladder.values())) for ladder in ladders.values()]
    models = [spec.model().to(device()).train() for spec in specs]
    times = [[] for _ in models]
    with one_thread():
        for _ in range(
            steps
        ):  # in turn, so that all meet the same disturbances
            for model, taken in zip(models, times, strict=True):
                start = time.process_time()
                loss = cross_entropy(model(images), labels)
                torch.autograd.grad(loss, list(model.parameters()))
                taken.append(time.process_time() - start)
    return times


medians = dict(
    zip(ladders, map(np.median, measured_once(step_times)), strict=True)
)
cost = {key: medians[key] / medians["BN", key[1]] for key in ladders}
print(
    table(
        {f"{network}: {name}": [cost[name, network]] for name, network in cost},
        ["time of a step, BN's is 1"],
    )
)

# %%

# fold: keep the numbers, check what the words claim
for network, arms in networks.items():
    behind = [
        name
        for name, effect in evidence.effects.items()
        if name.endswith(network) and effect.verdict == "yes"
        if "zero gamma" not in name  # which is BN, too
    ]
    evidence.note(**{f"{network}_behind": len(behind)})
    for name in arms:
        key = f"{network}_{name}".lower().replace(" ", "_").replace(",", "")
        evidence.note(**{key: judged.last((name, network)).mean / 100})
evidence.note(seeds=len(JUDGING), smallest=MATTERS)
evidence.save()
assert all(np.isfinite(judged.last(key).values).any() for key in ladders)

# %%
# **Limits.** Small networks, less than an epoch of plain gradient descent at a constant rate: no
# warm-up, no decay of the rate, no clipping of gradients, which some of the rivals are meant to be
# used with. Images of digits. DyT and Derf were proposed for transformers, in the place of layer
# normalization; that a squashing function replaces BN in convolutional networks is what the
# authors of DyT themselves did not find. The convolutional networks without normalization and with
# BN are those of :doc:`plot_01_train_a_convolutional_network`, where more rates were tried to the
# end: the interval of their difference, which covers what could have been chosen, is another there.
#
# **Try it.** Add ``"RMSNorm": ({"norm": "rms"}, (0.1, 0.3, 1.0))`` to ``RESIDUAL``: it is
# tuned, judged and drawn with the others.
#
# Next: :doc:`choose for a small ResNet <plot_06_choose_for_a_resnet>`.
