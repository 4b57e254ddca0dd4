"""
Train only gamma and beta
=========================

**The question.** What can gamma and beta learn by themselves, while all weights stay as random as
they were drawn? And is that due to batch normalization (BN), or to any two numbers a unit?

**In short.** Gamma and beta minus the output layer, which has about as many parameters, are
:finding:`gamma and beta - output`; minus two random incoming weights of each unit, exactly as many,
:finding:`gamma and beta - two weights`; minus gamma and beta behind the constants of the first
batch, :finding:`gamma and beta - behind constants`. But all parameters together beat gamma, beta
and the output by :finding:`all - gamma, beta and output`: they are no substitute for learning the
weights.

.. lead-figure::

**What was done.** Perceptrons with four hidden layers of 64 ReLU units and He's weights learned for
300 steps (0.7 epochs) in batches of 128. *Varied:* which parameters learn; all others stay as they
were drawn. In one arm, the normalization is by constants: each unit's mean and variance of the
first batch. Each arm chose its learning rate on 5,000 held-out images with 3 seeds; 5 other seeds
compared them.

The experiment is that of Frankle, Schwab and Morcos (2021), who trained much deeper networks.

**You need** :doc:`whose rate it is <plot_01_ask_whose_rate_it_is>`.
"""

from dataclasses import dataclass, replace

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, INK, draw_effects, new_figure
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.stepped import FewWeightsSpec
from bn_tutorial.lab.study import judge, table, tune
from bn_tutorial.lab.training import Config, train

# %%
# The settings
# ------------


@dataclass(frozen=True)
class Arm:
    """What learns, and at which rates it was tried."""

    norm: str | None
    learns: tuple[bool, bool, bool]  # hidden weights; gamma and beta; output
    rates: tuple[float, ...]
    per_unit: int = 0  # how many weights of a unit; 0 for all


ARMS = {
    "gamma and beta": Arm("batch", (False, True, False), (3.0, 10.0, 30.0)),
    "output": Arm("batch", (False, False, True), (0.1, 0.3, 1.0)),
    "gamma, beta and output": Arm(
        "batch", (False, True, True), (0.3, 1.0, 3.0)
    ),
    "two weights": Arm("batch", (True, False, False), (3.0, 10.0, 30.0), 2),
    "all": Arm("batch", (True, True, True), (0.1, 0.3, 1.0)),
    "behind constants": Arm("actnorm", (False, True, False), (0.3, 1.0, 3.0)),
    "output, no BN": Arm(None, (False, False, True), (0.1, 0.3, 1.0)),
}
WIDTHS = (784, 64, 64, 64, 64, 10)
CONFIG = Config(steps=300, evaluate_every=300, batch_size=128)
TUNING, JUDGING = range(50, 53), range(250, 255)  # seeds
MATTERS = 1.0  # percentage points

data = load().hold_out(5_000)
evidence = Evidence(
    "06_why_it_works/plot_06_train_only_gamma_and_beta",
    data=data,
    seeds=JUDGING,
    horizon="300 steps (0.7 epochs)",
    claims={
        "gamma and beta - output": "gamma, beta beat the output",
        "gamma and beta - two weights": "they beat as many weights",
        "gamma and beta - behind constants": "batches beat constants",
        "all - gamma, beta and output": "the weights must learn, too",
    },
)


def run(arm, lr):
    """Return one run; what does not learn has a rate of zero."""
    return FewWeightsSpec(
        arm.norm,
        WIDTHS,
        activation="relu",
        init="he",
        factors=tuple(float(part) for part in arm.learns),
        per_unit=arm.per_unit,
        config=replace(CONFIG, lr=lr),
    )


# %%
# How many parameters learn
# -------------------------


def count(arm):
    """Return how many parameters learn."""
    hidden = sum(WIDTHS[1:-1])
    weights = (
        hidden * arm.per_unit
        if arm.per_unit
        else np.dot(WIDTHS[:-2], WIDTHS[1:-1])
    )
    biases = 0 if arm.per_unit else hidden
    parts = (weights + biases, 2 * hidden, WIDTHS[-2] * WIDTHS[-1] + WIDTHS[-1])
    return int(np.dot(arm.learns, parts))


tuning = tune(
    {
        name: {lr: run(arm, lr) for lr in arm.rates}
        for name, arm in ARMS.items()
    },
    data,
    TUNING,
)
judged = judge(tuning, data, JUDGING)
rows = {
    name: [
        count(arm),
        tuning.chosen(name),
        judged.last(name).mean,
        "; ".join(tuning.remarks(name)),
    ]
    for name, arm in ARMS.items()
}
print(table(rows, ["learn", "rate", "test (%)", "remark"]))

# %%
# Compare them
# ------------

PAIRS = (
    ("gamma and beta", "output"),
    ("gamma and beta", "two weights"),
    ("gamma and beta", "behind constants"),
    ("gamma, beta and output", "output"),
    ("all", "gamma, beta and output"),
    ("output", "output, no BN"),
)
for treated, control in PAIRS:
    evidence.compare(
        f"{treated} - {control}",
        judged.last(treated),
        judged.last(control),
        unit="points",
        smallest=MATTERS,
    )
print(evidence.table())

# %%

# fold: draw accuracies and effects, the figure at the top of the page
figure, axes = new_figure(
    2,
    1,
    lead=True,
    width=7.2,
    height=6.0,
    height_ratios=(5, 5),
    alt="Above, the test accuracy of each seed in seven arms: only gamma and beta lie above only "
    "the output layer, and all parameters far above the rest. Below, intervals of six differences.",
)
for row, name in enumerate(ARMS):
    values = judged.last(name).values
    axes[0].plot(
        values, np.full(len(values), row), "o", color=COLORS["blue"], alpha=0.7
    )
axes[0].set_yticks(
    range(len(ARMS)), [f"{n} ({count(a):,})" for n, a in ARMS.items()]
)
axes[0].set_ylim(len(ARMS) - 0.5, -0.5)
axes[0].set_xlabel("test accuracy (%); in brackets: how many parameters learn")
draw_effects(
    axes[1], list(evidence.effects.values()), unit="points of test accuracy"
)
for ax in axes:
    ax.tick_params(axis="y", labelsize=9)

# %%
# Gamma and beta cannot turn the weights of a unit to another direction. They make some units
# larger, others smaller, and move the kink of each ReLU; so in the layers behind, the random
# weights mix other things than before. Random weights that are frozen need not be useless, then;
# but that two numbers a unit go so far is a statement about random features as much as about BN.
# Whether it matters that mean and variance *follow the network*, the row with the constants says
# (:verdict:`gamma and beta - behind constants`), where the same two numbers a unit learn behind a
# mean and a variance that stay those of the first batch, though the layers before change. It does
# not say whether that takes a batch: any statistics that are up to date might do. What BN gives
# them beyond that, against no normalization at all, was not compared.
#
# Do they switch units off?
# -------------------------
# Frankle, Schwab and Morcos found that about a third of the random features are switched off. A
# gamma that started at one counts here as near zero below 0.05.

spec = run(ARMS["gamma and beta"], tuning.chosen("gamma and beta"))
seed = JUDGING[0]
model = replace(spec, model_seed=seed).model()
with one_thread():
    train(model, data, replace(spec.config, seed=seed), progress=False)
gammas = {
    name.split(".")[0]: parameter.detach().cpu().numpy()
    for name, parameter in model.named_parameters()
    if name.endswith("norm.weight")
}
rows = {
    name: [
        f"{np.mean(np.abs(values) < 0.05):.0%}",
        *(float(q) for q in np.percentile(np.abs(values), (10, 50, 90))),
    ]
    for name, values in gammas.items()
}
print(table(rows, ["near zero", "10th percentile", "median", "90th"]))

# %%
# Of all gammas of this network :value:`near_zero:.0%` were near zero, after 0.7 epochs with one
# seed. Theirs were trained to the end. Units that a very negative beta switches off were not
# counted.

# fold: draw the gammas
figure, ax = new_figure(
    width=7.2,
    height=2.8,
    alt="The gammas of each of the four layers as dots, after training only gamma and beta: they "
    "spread widely, some above their start at one, many below it, some below zero.",
)
for row, values in enumerate(gammas.values()):
    ax.plot(
        values, np.full(len(values), row), "o", color=COLORS["blue"], alpha=0.4
    )
ax.axvline(1, color=COLORS["grey"], linewidth=1)
ax.axvline(0, color=INK, linewidth=0.8)
ax.set_yticks(
    range(len(gammas)), [f"layer {row + 1}" for row in range(len(gammas))]
)
ax.set_ylim(len(gammas) - 0.5, -0.5)
ax.set_xlabel("gamma")

# %%

# fold: keep the numbers, check what the words claim
evidence.note(
    seeds=len(JUDGING),
    seed=seed,
    near_zero=np.mean(np.abs(np.concatenate([*gammas.values()])) < 0.05),
    **{
        f"accuracy_{n}".replace(",", "").replace(" ", "_"): judged.last(n).mean
        / 100
        for n in ARMS
    },
)
evidence.save()
assert count(ARMS["gamma and beta"]) == count(ARMS["two weights"])
assert evidence.effects["all - gamma, beta and output"].low > MATTERS

# %%
# **Limits.** One small perceptron, 0.7 epochs, three rates for each arm, and more where the best
# was the first or the last: where the table says so still, a better one may lie beyond. The width
# was not varied, and what few parameters can learn will depend on it. The two weights of a unit are
# drawn from all its inputs, in the first layer also from pixels at the border that are always blank
# and cannot help.
#
# **Try it.** Double the width: ``WIDTHS = (784, 128, 128, 128, 128, 10)``. Whose lead grows?
#
# Next: :doc:`try other optimizers <plot_07_try_other_optimizers>`.
