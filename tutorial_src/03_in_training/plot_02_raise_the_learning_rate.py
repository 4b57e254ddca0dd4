"""
Raise the learning rate
=======================

**The question.** Does batch normalization (BN) permit larger learning rates, by which factor, and
what are they good for?

.. predict:: BN - none, good weights, ReLU, 10 epochs
   :scale: -4 12 0.5
   :axis: BN minus none, points of test accuracy

   Two networks with ReLU start from the same good initial weights and train for 10 epochs, each at
   the learning rate that was best for it after 300 steps. How many points of test accuracy are
   between them?

   none or undecided
      It is tempting to expect a lead like that of :doc:`the first comparison
      <plot_01_compare_training>`. There the rival had initial weights that let its signal die, and
      a learning rate that nobody had chosen for it. A rival with good weights learns, too:
      what is left of the lead after 10 epochs is too small to matter, or cannot be told from none.

   yes
      Something is left of the lead. But it is tempting to expect one like that of :doc:`the first
      comparison <plot_01_compare_training>`: there the rival had initial weights that let its
      signal die, and a learning rate that nobody had chosen for it.

**In short.** It does. From the same good initial weights, the rate from which training fails is
:value:`factor_none_good_weights_ReLU:.0f` times as large with BN as without for ReLU
(:finding:`largest rate, BN - none, good weights, ReLU`; a decade is a factor of 10) and
:value:`factor_none_good_weights_sigmoid:.0f` times for sigmoids.
What does the larger rate itself bring? At its own rate, minus at its rival's, the accuracy of BN is
:finding:`BN at its own rate - BN at the rival's rate, ReLU` with ReLU and
:finding:`BN at its own rate - BN at the rival's rate, sigmoid` with sigmoids, after 300 steps.
With each at its own rate, BN minus the plain network is
:finding:`BN - none, good weights, ReLU` and :finding:`BN - none, good weights, sigmoid`; after
10 epochs :finding:`BN - none, good weights, ReLU, 10 epochs` and
:finding:`BN - none, good weights, sigmoid, 10 epochs`.

.. lead-figure::

**What was done.** Networks with four hidden layers of 64 units were trained by plain stochastic
gradient descent, in batches of 128, for 300 steps (0.7 epochs).
*Varied:* the normalization (none, layer normalization or BN); the initial weights (PyTorch's
default or *good* ones, with which the numbers neither shrink to nothing nor explode from layer to
layer); the activation; and the learning rate, from 0.01 up to where training fails.
*Held fixed:* all else.
Rates are chosen on 5,000 *held-out* images, from which no network learns, with 3 seeds; the
networks are compared on 10,000 test images, with 5 new seeds. In brackets stands where the mean
difference over very many seeds, other test images and other choices of the rates probably lies (a
95 % interval). A rate is *usable* if the network ends at an accuracy of at least
:value:`level:.0%`, which is halfway between guessing and no mistake. So the factors above say where
training breaks. The rates that one would choose lie below: for ReLU
:value:`chosen_BN_good_weights_ReLU:.2g` with BN and :value:`chosen_none_good_weights_ReLU:.2g`
without.

**You need** :doc:`what the length of the weights does </derivations/weights>`.
"""

from dataclasses import dataclass, replace

import numpy as np

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, draw_effects, new_figure
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import (
    BracketError,
    judge,
    largest_usable,
    study,
    table,
    tune,
)
from bn_tutorial.lab.training import Config

# %%
# The settings
# ------------
# Each kind of network that is compared is an *arm* of the study. BN takes mean and spread of one
# unit over the images of a batch; layer normalization, another rival, those of one image over the
# units of a layer.
#
# A network without normalization has a fair chance only with good initial weights (:doc:`why
# </gallery/02_inside_a_network/plot_02_follow_the_signal>`). For ReLU these are *He's initial
# weights*, whose variance is 2 divided by the number of inputs. For sigmoids they are weights of
# *unit gain*: so large that they make up for the small slope of the sigmoid. The network without
# normalization and with good weights is the *fair rival*. BN meets it with the same weights. That
# matters: doubled weights in front of BN leave its output as it is and halve their gradient, so
# that a step turns them only a quarter as much. :doc:`Smaller weights alone would act as a larger
# rate </derivations/weights>`.


@dataclass(frozen=True)
class Arm:
    """One kind of network."""

    norm: str | None
    weights: str  # "default" or "good"
    color: str


@dataclass(frozen=True)
class Activation:
    """An activation, the weights that suit it, and where its ladders reach."""

    name: str
    good_weights: str
    lowest: float = -2.0  # decimal logarithms of the rates
    highest: float = 2.0


@dataclass(frozen=True)
class Comparison:
    """Which arm is compared with which."""

    treated: str
    control: str


ACTIVATIONS = {
    "ReLU": Activation("relu", good_weights="he"),
    "sigmoid": Activation("sigmoid", good_weights="unit gain"),
}
ARMS = {
    "none": Arm(norm=None, weights="default", color="blue"),
    "none, good weights": Arm(norm=None, weights="good", color="blue"),
    "LayerNorm": Arm(norm="layer", weights="default", color="green"),
    "BN": Arm(norm="batch", weights="default", color="orange"),
    "BN, good weights": Arm(norm="batch", weights="good", color="orange"),
}
COMPARISONS = {
    "BN - none": Comparison("BN", "none"),
    "BN - LayerNorm": Comparison("BN", "LayerNorm"),
    "BN - none, good weights": Comparison(
        "BN, good weights", "none, good weights"
    ),
}
FAIR = "BN - none, good weights"  # the comparison that is looked into
WIDTHS = (784, 64, 64, 64, 64, 10)
BATCH, STEPS, LONG_STEPS = 128, 300, 4300  # the last are 10 epochs
HELD_OUT = 5_000  # images for choosing rates
TUNING, JUDGING = range(50, 53), range(260, 265)  # seeds
RESOLUTION = 1 / 8  # decades, of the largest usable rate
MARGIN = 1 / 4  # decades around where it lies with the seeds of the tuning
MATTERS, MATTERS_RATE = 1.0, 0.5  # percentage points, decades

data = load().hold_out(HELD_OUT)
evidence = Evidence(
    "03_in_training/plot_02_raise_the_learning_rate",
    data=data,
    seeds=JUDGING,
    horizon="300 steps (0.7 epochs)",
    claims={
        "BN - none, good weights, ReLU": "BN ahead, ReLU, 300 steps",
        "BN - none, good weights, ReLU, 10 epochs": "BN ahead, ReLU, 10 epochs",
        "BN - none, good weights, sigmoid": "BN ahead, sigmoid, 300 steps",
        "BN - none, good weights, sigmoid, 10 epochs": "BN ahead, sigmoid, 10 epochs",
        "largest rate, BN - none, good weights, ReLU": "larger rates train, ReLU",
        "largest rate, BN - none, good weights, sigmoid": "larger rates train, sigmoid",
    },
)


def run(arm, activation, decade, steps=STEPS):
    """Return one run; its learning rate is 10 to the power of `decade`."""
    chosen = ACTIVATIONS[activation]
    good = ARMS[arm].weights == "good"
    return RunSpec(
        ARMS[arm].norm,
        widths=WIDTHS,
        activation=chosen.name,
        init=chosen.good_weights if good else "default",
        config=Config(steps, steps, BATCH, lr=float(10**decade)),
    )


# %%
# Find where training fails
# -------------------------
# We must first say what it means that a rate is *usable*: the network ends, on the test images, at
# least halfway between guessing the most frequent digit and making no mistake.

most_frequent = data.test.labels.bincount().max().item() / len(data.test)
LEVEL = 100 * (1 + most_frequent) / 2
print(f"usable: an accuracy of at least {LEVEL:.1f} %")

# %%
# The rates that are tried for an arm are its *ladder*, each of them a *rung*. The first ladder has
# steps of half a decade. It shows roughly at which rate an arm first fails: training diverges (the
# loss becomes infinite or not a number) with one of the seeds, or ends below that level.

networks = [(arm, activation) for activation in ACTIVATIONS for arm in ARMS]


def ladder(arm, activation, decades):
    """Return the runs of an arm at several rates."""
    return {float(d): run(arm, activation, d) for d in sorted(decades)}


coarse = {}
for arm, activation in networks:
    chosen = ACTIVATIONS[activation]
    decades = np.arange(chosen.lowest, chosen.highest + 0.25, 0.5)
    coarse[arm, activation] = ladder(arm, activation, decades)
first = tune(coarse, data, TUNING, race=False)


def failing(tuning, network):
    """Return the rung above the highest usable one; None if none is usable."""
    scores = tuning.scores[network]
    usable = [d for d in scores if np.all(scores[d] >= LEVEL)]  # nan is not
    above = [d for d in scores if usable and d > max(usable)]
    return above[0] if above else None


# %%
# Choose each arm's rate
# ----------------------
# The second ladder has steps of a quarter of a decade over the decade and a half below the rate
# that failed. ``tune`` trains them with the seeds of the tuning and chooses: of all rates that
# cannot be told from the best, the smallest. A rate far behind the best with the first seed is not
# tried with the others. (Not told from the best: the mean validation accuracy is at most one
# *standard error* below it, the standard deviation over the seeds divided by the square root of
# their number.) ``judge`` trains the arms with new seeds: at the chosen rate, and at others that
# chance could have chosen, so that the intervals can be widened by what another choice would have
# changed.

fine = {}
for network, runs in coarse.items():
    decades = set(runs)
    if (top := failing(first, network)) is not None:
        decades |= {top - step for step in np.arange(0.25, 1.6, 0.25)}
    fine[network] = ladder(*network, decades)
tuning = tune(fine, data, TUNING)
judged = judge(tuning, data, JUDGING)

# %%
# Find the largest usable rate
# ----------------------------
# The ladder also encloses the largest usable rate: it lies between the last rung that is usable
# with all seeds of the tuning and the next one that is usable with none. Other seeds may differ a
# little, so this *bracket* is widened by a quarter of a decade at both ends. For each new seed it
# is then halved until it is at most 1/8 of a decade wide: if the rate in its middle is usable, the
# lower half is dropped, otherwise the upper half.


def bracket(network):
    """Return decades around the largest usable rate; None if there is none."""
    if failing(tuning, network) is None:
        return None
    scores = tuning.scores[network]
    low = max(d for d in scores if np.all(scores[d] >= LEVEL))
    above = [d for d in scores if d > low]
    high = min(
        (d for d in above if not np.any(scores[d] >= LEVEL)), default=above[-1]
    )
    return low - MARGIN, high + MARGIN


limits = {}  # decimal logarithms, one for each seed
for network in networks:
    if (between := bracket(network)) is not None:
        try:
            limits[network] = largest_usable(
                lambda rate, network=network: run(*network, np.log10(rate)),
                data,
                JUDGING,
                level=LEVEL,
                between=between,
                resolution=RESOLUTION,
            )
        except BracketError as outside:  # far beyond, with some seed
            print(f"{', '.join(network)}: {outside}")

# %%
# The limit of an arm is the geometric mean over the seeds. The table shows it beside the rate that
# was chosen and the accuracy at that rate.

# fold: print the table
rows = {}
for network in networks:
    rows[", ".join(network)] = [
        f"{10 ** limits[network].mean():.2g}" if network in limits else "none",
        f"{10 ** tuning.chosen(network):.2g}",
        f"{judged.last(network).mean:.1f}",
        "; ".join(tuning.remarks(network)),
    ]
print(table(rows, ["largest usable rate", "chosen rate", "test (%)", "remark"]))

# %%

# fold: draw the error against the rate, the main figure
alt = (
    "One panel for each activation: validation error against the learning rate, "
    "both on logarithmic axes, with a line for each arm. Below, a bar for each "
    "arm reaches to its largest usable rate. The bars of batch normalization "
    "reach further than those of networks without normalization."
)
figure, axes = new_figure(
    2,
    len(ACTIVATIONS),
    width=7.2,
    height=5.2,
    sharex="col",
    sharey="row",
    squeeze=False,
    height_ratios=(3, 2),
    lead=True,
    alt=alt,
)
STYLES = {"default": (0, (3, 1.5)), "good": "solid"}
for (upper, lower), activation in zip(axes.T, ACTIVATIONS, strict=True):
    for row, (name, arm) in enumerate(ARMS.items()):
        network = name, activation
        scores = tuning.scores[network]
        rates = 10 ** np.array([*scores])
        errors = [100 - score.mean() for score in scores.values()]
        look = {"color": COLORS[arm.color], "linestyle": STYLES[arm.weights]}
        upper.plot(rates, errors, **look)
        if network not in limits:
            text = "no usable rate"
            lower.text(rates[0], row, text, va="center", fontsize=10)
            continue
        limit = limits[network].mean()
        lower.plot([rates[0], 10**limit], [row, row], linewidth=3, **look)
        seeds = 10 ** limits[network]
        lower.plot(
            seeds, row + 0 * seeds, "|", color=look["color"], markersize=12
        )
        lower.annotate(
            f"{10**limit:.2g}",
            (seeds.max(), row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
        )
    upper.axhline(
        100 - LEVEL, color=COLORS["grey"], linewidth=1, linestyle="dotted"
    )
    upper.set(title=activation, xscale="log", yscale="log", ylim=(2.5, 100))
    upper.set_yticks(
        [3, 5, 10, 20, 50, 100], ["3", "5", "10", "20", "50", "100"]
    )
    upper.minorticks_off()
    lower.set(xlabel="learning rate", ylim=(len(ARMS) - 0.5, -0.5))
    lower.set_xlim(right=10 ** (ACTIVATIONS[activation].highest + 0.3))
    lower.grid(visible=False, axis="y")
axes[0, 0].set_ylabel("validation error (%)")
axes[0, 0].annotate(
    "usable below",
    (1, 100 - LEVEL),
    xytext=(0, -3),
    xycoords=axes[0, 0].get_yaxis_transform(),
    textcoords="offset points",
    ha="right",
    va="top",
    fontsize=9,
)
axes[1, 0].set_yticks(range(len(ARMS)), ARMS)
for tick, arm in zip(axes[1, 0].get_yticklabels(), ARMS.values(), strict=True):
    tick.set(color=COLORS[arm.color], fontsize=10)
axes[1, 0].set_title("largest usable rate", fontsize=11)

# %%
# In the main figure, the upper panels show means over the seeds of the tuning, on the validation
# images; a line ends where a seed diverges. Its colour is that of its arm below. Dashed lines have
# PyTorch's initial weights, solid ones have good weights. In the lower panels each bar reaches to
# the geometric mean of the largest usable rates, and a stroke stands for a seed of the comparison.
#
# How much larger?
# ----------------
# A ratio of rates is a difference of their logarithms. So it has a paired interval like any other
# difference, in decades. A difference of half a decade, a factor of 3, matters. An arm without a
# usable rate has no row.

larger = []
for activation in ACTIVATIONS:
    for name, pair in COMPARISONS.items():
        treated, control = (
            (pair.treated, activation),
            (pair.control, activation),
        )
        if treated in limits and control in limits:
            larger.append(
                evidence.compare(
                    f"largest rate, {name}, {activation}",
                    limits[treated],
                    limits[control],
                    unit="decades",
                    smallest=MATTERS_RATE,
                    resolution=RESOLUTION,
                )
            )
print(evidence.table())

# %%
# BN is compared with two networks without normalization, and the two factors differ. Is that
# because BN itself is limited by its initial weights, or because the rivals are? We compare each
# with itself.

SAME = {
    "BN": ("BN, good weights", "BN"),
    "none": ("none, good weights", "none"),
}
weights = []
for activation in ACTIVATIONS:
    for name, (good, default) in SAME.items():
        if (good, activation) in limits and (default, activation) in limits:
            weights.append(
                evidence.compare(
                    f"largest rate, good - default weights, {name}, {activation}",
                    limits[good, activation],
                    limits[default, activation],
                    unit="decades",
                    smallest=MATTERS_RATE,
                    resolution=RESOLUTION,
                )
            )
print(evidence.table(*(effect.name for effect in weights)))

# %%
# For ReLU, good instead of default weights move the limit of BN by
# :finding:`largest rate, good - default weights, BN, ReLU`, and that of the network without
# normalization by :finding:`largest rate, good - default weights, none, ReLU`.
# The limit of BN is :value:`factor_none_ReLU:.0f` times that of the network without normalization
# if both have default weights, and :value:`factor_none_good_weights_ReLU:.0f` times if both have
# good ones. (PyTorch's weights are smaller than He's. So without normalization signals and
# gradients are small at first: training does not break so soon, and needs the larger rate.)
#
# The sigmoid network with default weights and without normalization has no usable rate: in 300
# steps it does not come half of the way from guessing to no mistake. Does it lack time? After 2,000
# steps at rate 1 it reaches :value:`patient_none_sigmoid:.0%`.

PATIENT_STEPS, PATIENT_DECADE = 2000, 0.0  # the rate is 1
patient = {
    network: run(*network, PATIENT_DECADE, PATIENT_STEPS)
    for network in networks
    if failing(tuning, network) is None
}
patient_runs = study(patient, data, JUDGING)
for network in patient:
    accuracy = patient_runs.last(network).mean
    print(
        f"{', '.join(network)}: {accuracy:.1f} % after {PATIENT_STEPS:,} steps"
    )

# %%
# What are they good for?
# -----------------------
# Now each arm has the rate that was chosen for it, and all have the same number of steps. A
# difference of 1 percentage point matters. (The formula of the interval does not know that an
# accuracy ends at 100 %: where an arm only guesses, an end may lie beyond what is possible.)


def compare(name, treated, control, **horizon):
    """Compare test accuracies."""
    return evidence.compare(
        name, treated, control, unit="points", smallest=MATTERS, **horizon
    )


points = [
    compare(
        f"{name}, {activation}",
        judged.last((pair.treated, activation)),
        judged.last((pair.control, activation)),
    )
    for activation in ACTIVATIONS
    for name, pair in COMPARISONS.items()
]

# %%
# The difference from the fair rival has two parts. The first is BN at its own rate minus BN at the
# rival's rate. The second is BN at the rival's rate minus the rival. For this, BN gets the rival's
# ladder, the rival's scores on it, and with them the rival's choice; ``shares`` says how often
# chance would have chosen each rate.

pair = COMPARISONS[FAIR]
at_rivals = {
    activation: ladder(pair.treated, activation, fine[pair.control, activation])
    for activation in ACTIVATIONS
}
borrowed = replace(
    tuning,
    ladders=at_rivals,
    scores={a: tuning.scores[pair.control, a] for a in ACTIVATIONS},
    shares={a: tuning.shares[pair.control, a] for a in ACTIVATIONS},
)
at_rivals_rate = judge(borrowed, data, JUDGING)
for activation in ACTIVATIONS:
    own = judged.last((pair.treated, activation))
    same = at_rivals_rate.last(activation)
    rival = judged.last((pair.control, activation))
    points += [
        compare(
            f"BN at its own rate - BN at the rival's rate, {activation}",
            own,
            same,
        ),
        compare(
            f"BN at the rival's rate - none, good weights, {activation}",
            same,
            rival,
        ),
    ]

# %%
# Last, the fair rival and BN for 10 epochs, at these same rates, which were chosen for 300 steps.
# Here the interval does not cover that chance could have chosen others.

fair_networks = [
    (arm, activation)
    for activation in ACTIVATIONS
    for arm in (pair.treated, pair.control)
]
long_runs = {
    network: run(*network, tuning.chosen(network), LONG_STEPS)
    for network in fair_networks
}
long = study(long_runs, data, JUDGING)
for activation in ACTIVATIONS:
    points.append(
        compare(
            f"{FAIR}, {activation}, 10 epochs",
            long.last((pair.treated, activation)),
            long.last((pair.control, activation)),
            horizon="4,300 steps (10 epochs)",
        )
    )
print(evidence.table(*(effect.name for effect in points)))

# %%

# fold: draw the effects
alt = (
    "Rows of differences with their intervals, around zero. Above, in decades: "
    "largest usable rate of batch normalization compared with the other arms. "
    "Below, in percentage points: test accuracy of batch normalization compared "
    "with the other arms, at its own rate, at the rival's rate and after ten "
    "epochs."
)
in_order = [e for a in ACTIVATIONS for e in points if f", {a}" in e.name]
shown = [larger, in_order]
figure, axes = new_figure(
    2,
    1,
    width=7.2,
    height=1.6 + 0.32 * len(larger + points),
    height_ratios=[len(effects) for effects in shown],
    alt=alt,
)
units = "largest usable rate (decades)", "test accuracy (points)"
for ax, effects, unit in zip(axes, shown, units, strict=True):
    labels = [effect.name.removeprefix("largest rate, ") for effect in effects]
    draw_effects(ax, effects, labels=labels, unit=unit)
    ax.tick_params(axis="y", labelsize=9)
EDGE = 6  # points; what lies beyond is written
axes[1].set_xlim(-EDGE, EDGE)
for row, effect in enumerate(in_order):
    look = {"va": "center", "fontsize": 9}
    if effect.mean > EDGE:
        text = f"{effect.estimate()} \N{RIGHTWARDS ARROW} "
        axes[1].text(min(effect.low, EDGE), row, text, ha="right", **look)
    elif effect.mean < -EDGE:
        text = f" \N{LEFTWARDS ARROW} {effect.estimate()}"
        axes[1].text(max(effect.high, -EDGE), row, text, ha="left", **look)

# %%
# Differences within the grey band are too small to matter.
#
# BN at its own rate minus BN at the rival's rate is
# :finding:`BN at its own rate - BN at the rival's rate, ReLU` for ReLU and
# :finding:`BN at its own rate - BN at the rival's rate, sigmoid` for sigmoids. At the rival's rate,
# BN minus the rival is :finding:`BN at the rival's rate - none, good weights, ReLU` for ReLU and
# :finding:`BN at the rival's rate - none, good weights, sigmoid` for sigmoids.
#
# **What this does not answer.** One learning rate drives all parts of a network: the weights
# before the normalizations, their scales and shifts (gamma and beta), and the output layer. What
# was compared are networks at one rate and at another. For which of these parts a larger rate is
# good stays open here; :doc:`another page asks it
# </gallery/06_why_it_works/plot_01_ask_whose_rate_it_is>`.
#
# Layer normalization, too, is compared here with PyTorch's weights. It divides by the spread over
# the units of *one* image. Where the signal has been lost on the way, most of that spread is the
# same for all images, so dividing by it can restore only a part. For sigmoids, BN minus layer
# normalization is :effect:`BN - LayerNorm, sigmoid`.

# fold: keep the numbers and check what the words claim


def key(*words):
    """Return words as the name of a value."""
    return "_".join(words).replace(",", "").replace(" ", "_")


for network in networks:
    evidence.note(**{key("chosen", *network): 10 ** tuning.chosen(network)})
    if network in limits:
        evidence.note(**{key("limit", *network): 10 ** limits[network].mean()})
for effect in larger:
    name = effect.name.removeprefix("largest rate, ").replace("BN - ", "")
    evidence.note(**{key("factor", name): 10**effect.mean})
for network in patient:
    evidence.note(
        **{key("patient", *network): patient_runs.last(network).mean / 100}
    )
evidence.note(level=LEVEL / 100, steps=STEPS)
evidence.save()

found = evidence.effects
for activation in ("ReLU", "sigmoid"):  # larger rates are usable
    assert found[f"largest rate, {FAIR}, {activation}"].low > 0
assert found["largest rate, BN - none, ReLU"].low > 0
assert ("none", "sigmoid") not in limits  # it has no usable rate

# %%
# **Limits.** Most of this is a matter of 0.7 epochs at a constant rate, by plain stochastic
# gradient descent: momentum, Adam, or a rate that grows at the start and falls at the end may move
# each arm's limit. For 10 epochs no rate was chosen anew, and another may be better for either. The
# networks are small and fully connected, the images are digits.
#
# **Try it.** Add a third activation: put the line
# ``"tanh": Activation("tanh", good_weights="unit gain"),``
# into ``ACTIVATIONS``. Ladders, tables and figures follow.
#
# Next: :doc:`change the batch size <plot_07_change_the_batch_size>`.
