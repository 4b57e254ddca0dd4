"""
Ask whose rate it is
====================

**The question.** Does batch normalization (BN) gain from a larger learning rate, and which
parameters need it: the weights in front of the layers, their gamma and beta, or the output layer?

**In short.** With ReLU the larger rate brings :finding:`all fast - all slow, ReLU`: the weights
alone get :finding:`weights fast - all slow, ReLU`, gamma and beta alone
:finding:`gamma and beta fast - all slow, ReLU`. In a convolutional network, with ReLU, too, it
brings :finding:`all fast - all slow, convolutional`: the weights alone get
:finding:`weights fast - all slow, convolutional`, gamma and beta alone
:finding:`gamma and beta fast - all slow, convolutional`, the output alone
:finding:`output fast - all slow, convolutional`. With sigmoids it brings
:finding:`all fast - all slow, sigmoid`: the weights alone get
:finding:`weights fast - all slow, sigmoid`, gamma and beta alone
:finding:`gamma and beta fast - all slow, sigmoid`. (Where all of them are zero the two rates are
the same, and nothing was compared.)

.. lead-figure::

**What was done.** Three networks with BN were trained with two learning rates: the one that is
best with BN (*fast*), and the one that is best for the same network without normalization
(*slow*). *Varied:* which part of the network is fast. The networks: perceptrons with four hidden
layers of 64 units and good initial weights, ReLU or sigmoid, for 200 steps (0.5 epochs) in batches
of 128; and a convolutional one with four layers, for 200 steps (0.2 epochs) in batches of 64. The
rates were chosen on 5,000 held-out images with 3 seeds; 5 other seeds compared the arms.

**You need** :doc:`what the length of the weights does </derivations/weights>`: in front of BN a
rate that is too large makes them longer, and longer weights turn less.
"""

from dataclasses import dataclass, replace

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_effects, new_figure
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.results import remembered
from bn_tutorial.lab.stepped import SteppedConvSpec, SteppedSpec
from bn_tutorial.lab.study import judge, table, tune
from bn_tutorial.lab.training import Config, train
from bn_tutorial.networks.steps import PARTS, watch_steps

# %%
# The settings
# ------------


@dataclass(frozen=True)
class Network:
    """A network, and the rates that are tried for it."""

    spec: SteppedSpec | SteppedConvSpec  # without normalization
    slow: tuple[float, ...]  # without normalization
    fast: tuple[float, ...]  # with BN


WIDTHS = (784, 64, 64, 64, 64, 10)
CONFIG = Config(steps=200, evaluate_every=200, batch_size=128)
CONV_CONFIG = Config(steps=200, evaluate_every=200, batch_size=64)
NETWORKS = {
    "ReLU": Network(
        SteppedSpec(None, WIDTHS, activation="relu", init="he", config=CONFIG),
        slow=(0.01, 0.03, 0.1, 0.3),
        fast=(0.1, 0.3, 1.0),
    ),
    "sigmoid": Network(
        SteppedSpec(None, WIDTHS, init="unit gain", config=CONFIG),
        slow=(0.3, 1.0, 3.0),
        fast=(1.0, 3.0, 10.0),
    ),
    "convolutional": Network(
        SteppedConvSpec(None, config=CONV_CONFIG),
        slow=(0.03, 0.1, 0.3, 1.0),
        fast=(0.1, 0.3, 1.0, 3.0, 10.0),
    ),
}
FAST = {  # by the name of an arm: whether weights, gamma and beta, output are fast
    "all slow": (False, False, False),
    "weights fast": (True, False, False),
    "gamma and beta fast": (False, True, False),
    "output fast": (False, False, True),
    "weights slow": (False, True, True),
}
TUNING, JUDGING = range(50, 53), range(240, 245)  # seeds
MATTERS = 0.5  # percentage points

data = load().hold_out(5_000)
evidence = Evidence(
    "06_why_it_works/plot_01_ask_whose_rate_it_is",
    data=data,
    seeds=JUDGING,
    horizon="200 steps (0.5 epochs)",
    claims={
        "weights fast - all slow, ReLU": "the weights gain, ReLU",
        "gamma and beta fast - all slow, ReLU": "gamma and beta gain, ReLU",
        "weights fast - all slow, sigmoid": "the weights gain, sigmoid",
        "gamma and beta fast - all slow, sigmoid": "gamma and beta gain, sigmoid",
    },
)

# %%
# Choose both rates
# -----------------


def run(network, norm, lr, factors=(1.0, 1.0, 1.0)):
    """Return one run; each part has its factor of the rate."""
    spec = NETWORKS[network].spec
    config = replace(spec.config, lr=lr)
    return replace(spec, norm=norm, config=config, factors=factors)


ladders = {}
for name, network in NETWORKS.items():
    ladders[name, "none"] = {lr: run(name, None, lr) for lr in network.slow}
    ladders[name, "BN"] = {lr: run(name, "batch", lr) for lr in network.fast}
tuning = tune(ladders, data, TUNING)
judged = judge(tuning, data, JUDGING)
rows = {
    ", ".join(arm): [
        tuning.chosen(arm),
        judged.last(arm).mean,
        "; ".join(tuning.remarks(arm)),
    ]
    for arm in ladders
}
print(table(rows, ["rate", "test (%)", "remark"]))

# %%
# Give it to one part at a time
# -----------------------------
# The slow rate drives the whole network, and a part that is fast has its gradient multiplied by the
# ratio of the two rates. The fast rate is the one that was chosen for BN, and an interval covers
# that choice as it does for BN itself.


def split(network, parts, fast):
    """Return a run in which some parts are fast."""
    slow = tuning.chosen((network, "none"))
    factors = tuple(fast / slow if part else 1.0 for part in parts)
    return run(network, "batch", slow, factors)


arms = {(name, arm): parts for name in NETWORKS for arm, parts in FAST.items()}
borrowed = replace(
    tuning,
    ladders={
        (name, arm): {lr: split(name, parts, lr) for lr in NETWORKS[name].fast}
        for (name, arm), parts in arms.items()
    },
    scores={(name, arm): tuning.scores[name, "BN"] for name, arm in arms},
    shares={(name, arm): tuning.shares[name, "BN"] for name, arm in arms},
)
splits = judge(borrowed, data, JUDGING)
for name in NETWORKS:
    fast, slow = judged.last((name, "BN")), splits.last((name, "all slow"))
    pairs = {"all fast - all slow": (fast, slow)}
    for part in ("weights", "gamma and beta", "output"):
        pairs[f"{part} fast - all slow"] = (
            splits.last((name, f"{part} fast")),
            slow,
        )
    pairs["all fast - weights slow"] = (
        fast,
        splits.last((name, "weights slow")),
    )
    for pair, (treated, control) in pairs.items():
        evidence.compare(
            f"{pair}, {name}",
            treated,
            control,
            unit="points",
            smallest=MATTERS,
            horizon="200 steps (0.2 epochs)"
            if name == "convolutional"
            else None,
        )
print(evidence.table())

# %%

# fold: draw the effects, the figure at the top of the page
figure, axes = new_figure(
    len(NETWORKS),
    1,
    lead=True,
    width=7.2,
    height=7.0,
    alt="Three panels, for ReLU, sigmoids and the convolutional network, with intervals of five "
    "differences of test accuracy each: what the larger rate brings when all parts have it, or "
    "the weights, gamma and beta, or the output alone, and what is lost when the weights alone "
    "do without it.",
)
for ax, name in zip(axes, NETWORKS, strict=True):
    chosen = [e for e in evidence.effects.values() if e.name.endswith(name)]
    labels = [effect.name.removesuffix(f", {name}") for effect in chosen]
    draw_effects(ax, chosen, labels=labels, unit="points of test accuracy")
    ax.set_title(name)
    ax.tick_params(axis="y", labelsize=10)

# %%
# The first row of a panel is what the larger rate brings, the next three what one part alone gets
# of it. The last row is what is lost when everything but the weights is fast. The parts need not
# add up: where it is enough that one of them is fast, whichever it is, each alone gains nearly all.
#
# The explanation by :doc:`length and direction </derivations/weights>` says that too large a rate
# does no harm to the weights in front of BN. It says nothing of gamma, beta and the output. So it
# predicts gains in the row of the weights. Here that row says
# :verdict:`weights fast - all slow, ReLU` (ReLU),
# :verdict:`weights fast - all slow, sigmoid` (sigmoids) and
# :verdict:`weights fast - all slow, convolutional` (convolutional). Where the row of gamma and beta
# or that of the output gains, too, this explanation is not the whole one.
#
# How far does a part move?
# -------------------------
# A rate is not a speed. What counts is by how much a step changes a part: the length of the step
# over the length of the part's parameters, here in percent, averaged over the training (seed
# 170). BN stands there at both rates.


@remembered
def speeds(network, norm, lr):
    """Return the mean relative step of each part, in percent."""
    spec = run(network, norm, lr)
    seed = JUDGING[0]
    spec = replace(
        spec, model_seed=seed, config=replace(spec.config, seed=seed)
    )
    model = spec.model()
    with one_thread(), watch_steps(model, lr) as moved:
        train(model, data, spec.config, progress=False)
    parts = [part for part in PARTS if norm or part != "norm"]
    return {part: 100 * moved(part).relative.mean() for part in parts}


rows, speed = {}, {}
for name in NETWORKS:
    slow, fast = (tuning.chosen((name, arm)) for arm in ("none", "BN"))
    for words, norm, lr in (
        ("none", None, slow),
        ("BN, slow", "batch", slow),
        ("BN, fast", "batch", fast),
    ):
        speed[name, words] = found = speeds(name, norm, lr)
        rows[f"{name}, {words}"] = [
            lr,
            *(f"{found[part]:.2f}" if part in found else "-" for part in PARTS),
        ]
print(table(rows, ["rate", "weights", "gamma, beta", "output"]))

# %%
# At the *same* rate the weights take steps of another size with BN than without: with ReLU
# :value:`bn_slow_linear_relu:.2f` against :value:`none_linear_relu:.2f` percent, with sigmoids
# :value:`bn_slow_linear_sigmoid:.2f` against :value:`none_linear_sigmoid:.2f`, in the convolutional
# network :value:`bn_slow_linear_convolutional:.2f` against
# :value:`none_linear_convolutional:.2f`. Where BN's are smaller, a part of its larger rate only
# makes up for that. At its own rate, BN's steps are :value:`bn_fast_linear_relu:.2f`,
# :value:`bn_fast_linear_sigmoid:.2f` and :value:`bn_fast_linear_convolutional:.2f` percent.

# %%

# fold: draw the relative steps
figure, axes = new_figure(
    1,
    len(NETWORKS),
    width=7.2,
    height=3.2,
    sharey=True,
    alt="For three networks, the relative steps in percent, logarithmic, of the weights, of gamma "
    "and beta and of the output: without normalization, with batch normalization at the same "
    "slow rate, and at its own fast rate.",
)
LOOKS = {
    "none": ("blue", "o"),
    "BN, slow": ("pink", "D"),
    "BN, fast": ("orange", "s"),
}
for ax, name in zip(axes, NETWORKS, strict=True):
    ax.grid(visible=False, axis="x")
    for words, (color, marker) in LOOKS.items():
        found = speed[name, words]
        places = [PARTS.index(part) for part in found]
        ax.plot(
            places,
            [*found.values()],
            color=COLORS[color],
            marker=marker,
            linestyle="none",
            label=words,
        )
    ax.set_xticks(range(3), ["weights", "gamma,\nbeta", "output"])
    ax.set(title=name, yscale="log", xlim=(-0.5, 2.5))
axes[0].set_ylabel("relative step (%)")
axes[0].set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
axes[0].legend(fontsize=9)

# %%

# fold: keep the numbers, check what the words claim
evidence.note(seeds=len(JUDGING), seed=JUDGING[0])
for name in NETWORKS:
    key = name.lower()
    slow, fast = (tuning.chosen((name, arm)) for arm in ("none", "BN"))
    evidence.note(
        **{
            f"slow_{key}": slow,
            f"fast_{key}": fast,
            f"times_{key}": fast / slow,
        }
    )
    for words, found in speed.items():
        if words[0] == name:
            how = words[1].lower().replace(", ", "_")
            evidence.note(**{f"{how}_{p}_{key}": v for p, v in found.items()})
evidence.save()
assert all(np.isfinite([*found.values()]).all() for found in speed.values())

# %%
# **Limits.** Less than an epoch at a constant rate, by plain gradient descent; small networks,
# images of digits. The slow rate is the one that suits another network, so what is asked is what
# the *step from one rate to the other* is worth, not which rates would be best for each part. Where
# both choices are the same rate, all differences are zero, with intervals as wide as what another
# choice would have changed.
#
# **Try it.** Let two parts be fast: add ``"output slow": (True, True, False)`` to ``FAST``, and
# compare ``judged.last((name, "BN"))`` with ``splits.last((name, "output slow"))``.
#
# Next: :doc:`let weights decay <plot_02_let_weights_decay>`.
