"""
Place the layer
===============

**The question.** Does batch normalization belong before the nonlinearity or after it, and does the
linear map need its bias?

.. predict:: after - before, sigmoid, default weights
   :yes: after the sigmoid
   :opposite: before the sigmoid

   The paper puts the layer *before* the nonlinearity, so that each sigmoid gets inputs around its
   centre. Take four hidden layers of sigmoids with PyTorch's initial weights, each placement at the
   learning rate that is best for it. With which one is the test accuracy higher?

   yes
      It is tempting to trust the paper, whose argument is about what goes *into* the sigmoid. But
      what comes out of it is positive, so the next map works on inputs whose mean is far from zero;
      the layer after the sigmoid takes that mean away. (A likely reason, which was not tested.)
      Is it a rule? From good initial weights the same difference is
      :effect:`after - before, sigmoid, good weights` with sigmoids and
      :effect:`after - before, ReLU, good weights` with ReLU.

**In short.** With PyTorch's initial weights, to move the layer from before the nonlinearity to
behind it changes the test accuracy of a sigmoid network by
:finding:`after - before, sigmoid, default weights`. With good ones it changes it by
:finding:`after - before, ReLU, good weights` with ReLU and by
:finding:`after - before, sigmoid, good weights` with sigmoids; whether the nonlinearity decides was
not compared. If the layer follows a linear map directly, the bias of that map does nothing: leave
it out.

.. lead-figure::

**What was done.** The layer stood *before* the nonlinearity (linear map, batch normalization, ReLU
or sigmoid) or *after* it (linear map, ReLU or sigmoid, batch normalization), in networks of four
hidden layers of 64 units. Their initial weights were PyTorch's, or *good* ones with which the
spread of a signal stays about equal from layer to layer without any normalization: for ReLU, He's
weights (after Kaiming He; their variance is 2 divided by the number of inputs), for sigmoids larger
ones, of *unit gain*, which make up for the small slope of a sigmoid. Each of these networks, the
*arms* of the study, chose its learning rate on 5,000 *held-out* images, from which no network
learns, with 3 seeds of its own; then 10 other seeds compared them after 300 steps (0.7 epochs) in
batches of 128.

:cite:t:`ioffe2015batch` put the layer before the nonlinearity, where they expected its inputs to
have the more stable distribution. Soon others reported better results with the layer after it, and
both can be read in forums. Many of the answers rest on one run for each placement, at one learning
rate.

**You need** :doc:`what the layer does to a bias </derivations/weights>`.
"""

from dataclasses import replace

import numpy as np
from torch.nn.functional import cross_entropy

from bn_tutorial.data.loading import load
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import draw_effects, draw_spread, new_figure
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import judge, study, table, tune
from bn_tutorial.lab.training import Config, device
from bn_tutorial.networks.perceptron import DeepNet

data = load().hold_out(5_000)
seeds, tuning_seeds = range(270, 280), range(50, 53)
config = Config(steps=300, evaluate_every=300, batch_size=128)
widths = (784, 64, 64, 64, 64, 10)
activations = {  # by the name on this page: what RunSpec calls it, its good weights, its rates
    "ReLU": {
        "activation": "relu",
        "good": "he",
        "rates": (0.03, 0.1, 0.2, 0.3, 1.0),
    },
    "sigmoid": {
        "activation": "sigmoid",
        "good": "unit gain",
        "rates": (0.03, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0),
    },
}
weights = ("default weights", "good weights")
placements = {"before": "orange", "after": "purple"}  # and the colour of each
smallest = 0.5  # percentage points

# %%
# What becomes of the bias
# ------------------------
# Directly behind the linear map, the layer subtracts the mean over the batch. The bias is a part of
# that mean, the same for all images, so it is subtracted again: :doc:`no gradient reaches it
# </derivations/weights>`. The constant that the layer adds itself, beta, does the bias's work. With
# the layer after the nonlinearity, the bias comes first and decides how much of its input a ReLU
# cuts off. No later mean takes that back, so there the bias can do something; whether it helps is
# measured below.
#
# We divide the length of the bias's gradient by the length of the weights' gradient, in the first
# hidden layer. What is left before the nonlinearity is rounding.

images = data.standardize(data.train.images[:128]).to(device())
labels = data.train.labels[:128].to(device())
ratio = {}
for place in placements:
    model = (
        DeepNet("batch", widths=widths, activation="relu", placement=place)
        .to(device())
        .train()
    )
    cross_entropy(model(images), labels).backward()
    linear = model.get_submodule("hidden_1.linear")
    ratio[place] = (linear.bias.grad.norm() / linear.weight.grad.norm()).item()
print(
    table(
        {p: [f"{r:.0e}"] for p, r in ratio.items()},
        ["length of the bias's gradient / the weights'"],
    )
)

# %%
# Tune each placement
# -------------------
# A fair comparison lets each arm choose its learning rate. The table says where a rate lies at an
# end of what was tried: beyond it there might be a better one.


def run(name, kind, place, lr, bias=True):
    """Return the settings of one run."""
    settings = activations[name]
    init = settings["good"] if kind == "good weights" else "default"
    layer = {
        "activation": settings["activation"],
        "placement": place,
        "bias": bias,
        "init": init,
    }
    shared = {"widths": widths, "config": replace(config, lr=lr)}
    return RunSpec("batch", **layer, **shared)


arms = [
    (name, kind, place)
    for name in activations
    for kind in weights
    for place in placements
]
ladders = {
    arm: {lr: run(*arm, lr) for lr in activations[arm[0]]["rates"]}
    for arm in arms
}
tuning = tune(ladders, data, tuning_seeds)
judged = judge(tuning, data, seeds)
print(judged.table(", ".join))

# %%
# Measure the differences
# -----------------------
# Each arm is taken at its chosen rate. The arms without bias train at the rate that was chosen for
# the same arm with bias. A difference of less than half a percentage point does not matter.

evidence = Evidence(
    "03_in_training/plot_09_place_the_layer",
    data=data,
    seeds=seeds,
    horizon="300 steps (0.7 epochs)",
    claims={
        "after - before, ReLU, good weights": "better after ReLU than before",
        "after - before, sigmoid, good weights": "better after sigmoid than before",
        "bias - none, before, ReLU": "better with a bias before it",
    },
)
for name in activations:
    for kind in weights:
        evidence.compare(
            f"after - before, {name}, {kind}",
            judged.last((name, kind, "after")),
            judged.last((name, kind, "before")),
            unit="points",
            smallest=smallest,
        )

plain = [arm for arm in arms if arm[1] == "default weights"]
both = {
    (arm, bias): run(*arm, tuning.chosen(arm), bias=bias)
    for arm in plain
    for bias in (True, False)
}
results = study(both, data, seeds)
for name, _, place in plain:
    with_bias, without = (
        results.last(((name, weights[0], place), bias))
        for bias in (True, False)
    )
    evidence.compare(
        f"bias - none, {place}, {name}",
        with_bias,
        without,
        unit="points",
        smallest=smallest,
    )
print(evidence.table())

# %%

# fold: draw the differences
figure, ax = new_figure(
    lead=True,
    width=7.2,
    height=3.8,
    alt="Intervals of eight differences of test accuracy, in points. After minus before, "
    "for ReLU and sigmoid and two kinds of initial weights. Bias minus none is close to zero in "
    "all four cases.",
)
draw_effects(
    ax,
    list(evidence.effects.values()),
    unit="difference of test accuracy (points)",
)

# %%
# A likely reason why sigmoids with PyTorch's weights gain, which was not tested: what a sigmoid
# passes on is positive, so the next linear map, and the output, work on inputs whose mean is far
# from zero. The layer after it takes that mean away. That cannot be all: with good weights what a
# sigmoid passes on is positive, too, and there the difference is
# :effect:`after - before, sigmoid, good weights`.
#
# Are the networks with and without bias the same?
# ------------------------------------------------
# With the layer before the nonlinearity they are the same function, and the same gradients lead
# them the same way. All that differs is rounding: a sum that was rounded with the bias is not quite
# the one that was rounded without it. With ReLU the difference grows: where an input is almost
# zero, rounding decides on which side of the kink it lies; there the slope jumps from 0 to 1, so
# that the gradient differs, and later steps multiply the difference. With sigmoids, which have no
# kink, it stays much smaller. What is left at the end is no effect of the bias, but one could take
# it for one.

# fold: draw how far the losses with and without bias are apart
figure, axes = new_figure(
    1,
    len(activations),
    width=7.2,
    height=3.3,
    sharey=True,
    alt="Greatest difference over the seeds of the training loss with and without bias, "
    "logarithmic, against the step. With the layer after the nonlinearity it is large from the "
    "first step on. With the layer before, it starts at the size of rounding errors; with "
    "ReLU it grows by several orders of magnitude, with sigmoids it stays much smaller.",
)
apart = {}
for arm in plain:
    ax, color = axes[list(activations).index(arm[0])], placements[arm[2]]
    losses = [results.curve((arm, bias), "step_loss") for bias in (True, False)]
    apart[arm] = np.abs(losses[0] - losses[1]).max(axis=0)
    line = np.arange(config.steps), apart[arm][np.newaxis]
    draw_spread(ax, *line, color=color, label=arm[2], marker=False)
    ax.set(yscale="log", xlabel="step", title=arm[0])
axes[0].set_ylabel("difference of the loss (nat)")
axes[1].legend()

# %%

# fold: keep the numbers, check what the words claim
evidence.note(seeds=len(seeds), steps=config.steps, smallest=smallest)
for name, kind, place in arms:
    key = f"{name}_{kind}_{place}".lower().replace(" ", "_")
    evidence.note(**{key: judged.last((name, kind, place)).mean / 100})
    evidence.note(**{f"{key}_lr": tuning.chosen((name, kind, place))})
for place in placements:
    evidence.note(**{f"bias_gradient_{place}": ratio[place]})
evidence.save()
assert evidence.effects["after - before, sigmoid, default weights"].low > 0
assert ratio["before"] < 1e-5 < 1e-3 < ratio["after"]
relu, sigmoid = (
    (name, "default weights", "before") for name in ("ReLU", "sigmoid")
)
assert apart[sigmoid].max() < apart[relu].max() / 10
assert apart[sigmoid][0] < 1e-5  # nothing but rounding...
assert apart[relu][0] < 1e-5 < 1e-3 < apart[relu][-1]

# %%
# **Limits.** Perceptrons with four hidden layers, 300 steps (0.7 epochs), images of digits. For
# convolutions, residual connections or long schedules it is no evidence.
#
# **Try it.** Add a block ``"tanh": {"activation": "tanh", "good": "unit gain", "rates": (0.03, 0.1,
# 0.3, 1.0)}`` to ``activations``: the tables, the rows and a panel follow.
#
# Next: :doc:`follow the slope <plot_04_follow_the_slope>`.
