"""
Scale the initial weights
=========================

**The question.** Does batch normalization make training less sensitive to the initial weights, and
why not insensitive?

**Varied:** a factor on the initial weights of all hidden layers, over several decades; batch
normalization; the learning rate; the initial weights and the order of the images, over several
seeds that both arms share.

**Held fixed:** a rectifier network, half as wide as the notebook's, with He's initialization, so
that the factor one suits the network *without* normalization; plain stochastic gradient descent,
batch size, number of steps.
"""

import numpy as np
import torch

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import paired_interval, verdict
from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.study import best
from bn_tutorial.lab.figures import COLORS, draw_spread, new_figure
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import curves, study
from bn_tutorial.lab.training import Config

data = load().hold_out(5_000)  # for choosing rates
seeds = range(5)
steps, batch_size = 300, 128
network = {"widths": (784, *[128] * 4, 10), "activation": "relu", "init": "he"}
grid_step = 0.5  # decades between neighbouring factors
scales = 10 ** np.arange(-2, 2 + grid_step, grid_step)
rates = 10.0 ** np.arange(-4, 2)
few = (0.1, 1.0, 10.0)  # factors that are trained at all rates
arms = {"without BN": None, "with BN": "batch"}
unit = list(scales).index(1.0)

# %%
# The function does not notice
# ----------------------------
# A factor on the weights in front of batch normalization multiplies the deviations from the mean
# and the standard deviation alike, and cancels. Only the small constant under the root spoils
# that: next to the variance it weighs as the inverse square of the factor. Below are the logits of
# the untrained network, compared with those at factor one and without the constant.

# On the processor: not every device knows double precision.
x = data.standardize(data.train.images[:500]).double()
no_eps = 1e-300  # as good as zero, which PyTorch refuses


@torch.no_grad()
def logits(scale, seed, eps):
    """Return the output of the untrained network, in double precision."""
    model = DeepNet("batch", seed=seed, **network).double()
    for block in list(model)[:-1]:
        block.linear.weight *= scale
        block.norm.eps = eps
    return model(x)


def change(scale, eps):
    """Return the greatest change of a logit relative to the greatest logit."""
    pairs = [(logits(scale, s, eps), logits(1.0, s, no_eps)) for s in seeds]
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


exact = max(change(scale, no_eps) for scale in scales[[0, -1]])
by_eps = np.array([change(scale, 1e-5) for scale in scales])
print(f"without the constant, at both ends: logits change by up to {exact:.0e}")
for scale, value in zip(scales, by_eps, strict=True):
    print(f"with it, factor {scale:6.3g}: {value:.1e}")

# %%
# The training does
# -----------------
# A gradient step is another matter. If the function ignores the factor, its gradient with respect
# to the weights is *inversely* proportional to it: weights ten times as large have a gradient ten
# times as small, and relative to their size the step is a hundred times as small. What counts is
# their direction, and it learns at the *effective rate*: the learning rate over the square of the
# factor. :doc:`The derivation </derivations/weights>` shows that two such trainings would be the
# same, step by step, if gamma, beta and the output layer did not see the learning rate itself.
#
# Three factors are trained at many learning rates. Then each arm takes the rate that is best for
# it on the validation images at factor one, and is trained with it from all factors.


def run(arm, scale, lr):
    """Return the settings of one run."""
    config = Config(steps, steps, batch_size, lr=float(lr))
    known = {"config": config, "measure": "weight norms", **network}
    return RunSpec(arms[arm], init_scale=float(scale), **known)


def at_end(runs, quantity="test_accuracy"):
    """Return what several settings ended at, shape (seeds, settings)."""
    return np.stack([curves(run, quantity)[:, -1] for run in runs], axis=1)


swept, rate, final = {}, {}, {}
for arm in arms:
    for s in few:
        grid = study({lr: run(arm, s, lr) for lr in rates}, data, seeds)
        validation = at_end(grid.values(), "validation_accuracy")
        rate[arm, s] = best(dict(zip(rates, validation.T, strict=True)))
        swept[arm, s] = at_end(grid.values())
    fixed = study({s: run(arm, s, rate[arm, 1.0]) for s in scales}, data, seeds)
    final[arm] = at_end(fixed.values())  # of the loop's last arm, with BN:
norms = at_end(fixed.values(), "norm")[..., 0]  # of the first layer's weights
after = norms / curves(fixed[1.0], "norm")[:, :1, 0]

# %%
# A factor is *harmless* for a seed if the network ends at most five percentage points below its own
# accuracy from factor one. The harmless part of the grid, in decades, is compared seed by seed; one
# step of the grid is the smallest difference worth mentioning. (An interval of no width means that
# all seeds fell onto the same points of it.)

harmless = {arm: final[arm] >= final[arm][:, [unit]] - 0.05 for arm in arms}
decades = {arm: grid_step * (harmless[arm].sum(axis=1) - 1) for arm in arms}
wider = paired_interval(decades["with BN"], decades["without BN"])
answer = verdict(wider, smallest=grid_step)
values = {"seeds": len(seeds), "steps": steps}
for arm in arms:
    values[f"{arm.split()[0]}_decades"] = decades[arm].mean()
    print(f"{arm:<11} harmless decades, seed by seed: {decades[arm]}")
print(
    f"difference {wider.mean:.2f} decades, {wider.confidence:.0%} interval "
    f"{wider.low:.2f} to {wider.high:.2f}: {answer}"
)

# %%
# Look for the effective rate
# ---------------------------
# The first panel shows less sensitivity, not none, and two sides that differ. (A cross below the
# axis: some run diverged.) The second panel, for the weights of the first layer, says why. The
# gradient of small weights is large and at a right angle to them, so the first steps make them
# longer, until the effective rate is bearable; the smallest overshoot, and end longer than those
# from factor one. Large weights have a small gradient and stay as they were.
#
# The lower panels show the same runs twice. To the left, where the hidden weights learn slowly, the
# factors one tenth and one differ widely at one learning rate and hardly at one effective rate.
# (With factor ten, at the same effective rate, the other parts learn a hundred times as fast and
# do more of the work.) To the right all factors fail from the same *learning rate* on: as they
# should if the parts that know nothing of the factor set that limit. Large weights are caught
# between the two.

figure, axes = new_figure(
    2,
    2,
    width=7.2,
    height=6.6,
    subplot_kw={"xscale": "log"},
    alt="Four panels. Test accuracy against the factor on the weights: without batch normalization "
    "high just below and at factor one alone, with it high for small factors and falling slowly "
    "for large ones. Scale of the weights after training against the factor: small ones have "
    "grown, the smallest most; large ones have not. Test accuracy with batch normalization for "
    "three factors: against the learning rate the lines end together on the right, against the "
    "effective rate two of them meet on the left.",
)
reach, growth, plain, effective = axes.flat
for arm, color in {"without BN": "blue", "with BN": "orange"}.items():
    draw_spread(reach, scales, final[arm], color=color, label=arm)
    lost = scales[np.isnan(final[arm]).any(axis=0)]
    reach.plot(lost, 0 * lost - 0.06, "x", color=COLORS[color])
draw_spread(growth, scales, after, color="orange", label="with BN")
growth.plot(scales, scales, ":", color=COLORS["grey"], label="unchanged")
for s, color in zip(few, ("green", "orange", "purple"), strict=True):
    look = {"color": color, "label": f"factor {s:g}"}
    draw_spread(plain, rates, swept["with BN", s], **look)
    draw_spread(effective, rates / s**2, swept["with BN", s], **look)
reach.set(title="test accuracy", xlabel="factor on the weights")
growth.set(title="factor afterwards", xlabel="factor before", yscale="log")
plain.set(title="test accuracy, with BN", xlabel="learning rate")
effective.set(title="test accuracy, with BN", xlabel="effective rate")
for ax in (reach, growth, plain):
    ax.legend(fontsize=10)

# %%
# Nor does a learning rate for each factor rescue the network without batch normalization. (For
# large weights its best rate is the smallest that was tried: a still smaller one may do better.)

for (arm, s), lr in rate.items():
    mean = swept[arm, s][:, list(rates).index(lr)].mean()
    name = f"{arm.split()[0]}_at_{s:g}"
    values |= {name: mean, f"{name}_lr": lr}
    print(f"{arm:<11} factor {s:4g}: {mean:.1%} at its best rate {lr:.0e}")

# %%
# Record and check
# ----------------

points = 100 * final["with BN"].T
small_cost, cost = (paired_interval(points[unit], points[i]) for i in (0, -1))
gaps = {"decades": wider, "cost": cost, "small_cost": small_cost}
for name, gap in gaps.items():
    values |= {name: gap.mean, f"{name}_low": gap.low, f"{name}_high": gap.high}
small, medium = swept["with BN", 0.1][:, :3], swept["with BN", 1.0]
apart = np.abs(small - medium[:, :3]).mean()  # at the same learning rates
aligned = np.abs(small - medium[:, 2:5]).mean()  # at the same effective rates
values |= {"smallest": scales[0], "largest": scales[-1], "verdict": answer}
values |= {"apart": apart, "aligned": aligned, "grown_to": after[:, 0].mean()}
values |= {"exact": exact, "by_eps": by_eps[0], "by_eps_unit": by_eps[unit]}
record("03_in_training/plot_03_scale_the_initial_weights", values, data=data)
assert exact < 1e-12  # the function ignores the factor, but for the constant...
assert np.abs(by_eps[:-2] / by_eps[2:] / 100 - 1).max() < 0.2
assert answer == "supported"  # ...the training is less sensitive...
assert cost.low > 1  # ...and not insensitive
assert harmless["with BN"][:, 2 : unit + 1].all()  # from a tenth on
assert cost.mean > small_cost.mean  # small factors cost less than large ones
assert max(values["without_at_0.1"], values["without_at_10"]) < 0.85
assert after[:, 0].min() > after[:, unit].max()  # small weights grow...
assert after[:, -1].max() < 1.01 * scales[-1]  # ...large ones do not
assert aligned < apart / 3

# %%
# **What to notice.** Batch normalization takes the scale of the weights out of the function, not
# out of the training. There it becomes a learning rate, which corrects itself in one direction
# only: the weights can grow, and nothing makes them shrink. "Less sensitive to the initial
# weights" is what can be said of this network; "insensitive" is not.
# :doc:`The findings </findings>` say how much less.
