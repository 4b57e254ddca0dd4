"""
Change the batch size
=====================

**The question.** How small may a batch be before batch normalization suffers, and why does it?

**Varied:** the batch size, from two images upwards; the normalization: over the batch (BN), over
groups of units of one image (GN), over all units of one image (LN); the learning rate.

**Held fixed:** the number of images seen, so that small batches take more steps; the rectifier
network; seed by seed, its initial weights and the order of the images.
"""

import numpy as np
from torch import nn
from torch.nn.functional import cross_entropy

from bn_tutorial.data.loading import load
from bn_tutorial.lab.effects import paired_interval, verdict
from bn_tutorial.lab.evidence import record
from bn_tutorial.lab.study import best
from bn_tutorial.lab.figures import COLORS, draw_spread, new_figure
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import watch
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.study import curves, study
from bn_tutorial.lab.training import Config, train

page = "03_in_training/plot_07_change_the_batch_size"
data = load().hold_out(5_000)
seeds, tuning_seeds, samples, smallest = range(5), range(3), 8_192, 1.0
network = {"widths": (784, 128, 128, 10), "activation": "relu", "init": "he"}
norms = {"BN": "batch", "GN": "group:16", "LN": "layer"}
colors = {"BN": "orange", "GN": "blue", "LN": "green"}
ladders = {  # learning rates to choose from, for each batch size
    2: [0.003, 0.01, 0.03],
    4: [0.01, 0.03, 0.1, 0.3],
    8: [0.01, 0.03, 0.1, 0.3, 1.0],
    16: [0.03, 0.1, 0.3, 1.0],
    32: [0.03, 0.1, 0.3, 1.0],
    128: [0.03, 0.1, 0.3, 1.0, 3.0],
}

# %%
# See how much of the gradient passes
# -----------------------------------
# On its way back through the layer, the gradient of a unit loses its mean and, but for the work of
# :math:`\epsilon`, its part along :math:`\hat x`: two directions out of :math:`m`. If the upstream
# gradient preferred no direction, the share :math:`(m - 2)/m` of its square would pass on average;
# of a batch of two, :doc:`nothing </derivations/meaning>`. Here the network is untrained and the
# upstream gradient a real one; the factor :math:`\gamma r` of the layer is divided out.


def look_inside(m, seed):
    """Return, for each unit, the share that passes and its weights' squared gradient."""
    # On the processor: not every device knows double precision.
    model = DeepNet("batch", seed=seed, **network).double()
    rows = slice(seed * m, (seed + 1) * m)
    x = data.standardize(data.train.images[rows]).double()
    with watch(model, nn.Linear, nn.BatchNorm1d) as signals:
        cross_entropy(model(x), data.train.labels[rows]).backward()
    dx, dy = map(signals.gradients.get, ("hidden_1.linear", "hidden_1.norm"))
    var = signals.outputs["hidden_1.linear"].var(0, unbiased=False)
    share = (dx**2).sum(0) * (var + model.hidden_1.norm.eps) / (dy**2).sum(0)
    return share, (model.hidden_1.linear.weight.grad**2).sum(1)


sizes = [2, 3, 4, 6, 8, 16, 32, 128]
theory = 1 - 2 / np.array(sizes)
inside = np.array([[look_inside(m, seed) for m in sizes] for seed in seeds])
shares, squares = inside[:, :, 0], inside[:, :, 1]  # (seeds, sizes, units)
passed = np.nanmean(shares, axis=2)  # not of units that no gradient reaches
norm = np.sqrt(squares.sum(axis=2)).mean(axis=0)
top_five = np.sort(squares)[..., -5:].sum(axis=2) / squares.sum(axis=2)
print("   m  (m-2)/m   passes  norm of dW  of its square, in five units")
table = sizes, theory, passed.mean(axis=0), norm, top_five.mean(axis=0)
for row in zip(*table, strict=True):
    print("{:4}{:9.3f}{:9.3f}{:12.1f}{:30.3f}".format(*row))

# %%
# At the typical unit of a batch of two nothing passes: its output is one and minus one, whatever
# the inputs. But the gradient of the weights is greatest there! It comes from a few units whose
# inputs happen to be nearly equal: the variance is as small as :math:`\epsilon`, and :math:`r` is
# huge. So at each step most weights are left alone, and a few get a violent kick.
#
# Choose a learning rate for each
# -------------------------------
# No rule for how the learning rate should follow the batch size is fair to all. So each arm chooses
# its own at each batch size, by validation accuracy over a few seeds.


def run(name, m, lr, seed=0):
    """Return how an arm is trained."""
    config = Config(samples // m, samples // m, m, lr, seed)
    return RunSpec(norms[name], config=config, **network)


pairs = [(name, m) for name in norms for m in ladders]
grid = {(n, m, lr): run(n, m, lr) for n, m in pairs for lr in ladders[m]}
raw = study(grid, data, tuning_seeds)
tuning = {k: curves(h, "validation_accuracy")[:, -1] for k, h in raw.items()}
chosen = {p: best({lr: tuning[*p, lr] for lr in ladders[p[1]]}) for p in pairs}
at_end = [(n, m) for n, m in pairs if chosen[n, m] not in ladders[m][1:-1]]
print("chosen at an end of the ladder:", at_end or "none")

alt = (
    "Six panels, one for each batch size: validation accuracy against the learning rate. With "
    "batches of two, batch normalization is far below the others; with large ones all are close."
)
figure, axes = new_figure(2, 3, width=7.2, height=5, sharey=True, alt=alt)
for ax, m in zip(axes.flat, ladders, strict=True):
    for name in norms:
        scores = np.array([tuning[name, m, lr] for lr in ladders[m]]).T
        draw_spread(ax, ladders[m], scores, color=colors[name], label=name)
    ax.set(title=f"batch size {m}", xscale="log", ylim=(0, 1))
    ax.set_xticks(ladders[m], [f"{lr:g}" for lr in ladders[m]], fontsize=9)
    ax.minorticks_off()
figure.supxlabel("learning rate", size=12)
figure.supylabel("validation accuracy", size=12)
axes[0, 2].legend(loc="lower left")

# %%
# Compare at the chosen rates
# ---------------------------
# All seeds train at the chosen rates. Less than one percentage point is not worth mentioning.

results = study({p: run(*p, chosen[p]) for p in pairs}, data, seeds)
test = {p: 100 * curves(results[p], "test_accuracy")[:, -1] for p in pairs}
gap = {m: paired_interval(test["BN", m], test["GN", m]) for m in ladders}
few = min(ladders)
behind = {m: paired_interval(test["GN", m], test["BN", m]) for m in ladders}
loses = {m: verdict(d, smallest) for m, d in behind.items()}
print(f"{data.title}: rate and test accuracy (%); BN minus GN, in points")
for m, d in gap.items():
    cells = (f"{n} {chosen[n, m]:6g} {test[n, m].mean():.1f}, " for n in norms)
    print(f"{m:3}:", *cells, f"{d.mean:6.2f} ({d.low:6.2f} to {d.high:6.2f})")
print(f"BN is behind: {loses}")

alt = (
    "Two panels against the batch size. Left, the share of the gradient that passes: next to "
    "nothing at two, half at four, then towards one, along the line of the theory. Right, test "
    "accuracy: at two, batch normalization lies far below the others, at four still visibly; at "
    "eight they are about level, and from sixteen on it is higher."
)
figure, axes = new_figure(1, 2, width=7.2, height=3.6, alt=alt)
axes[0].plot(sizes, theory, ":", color=COLORS["grey"], label="(m - 2)/m")
draw_spread(axes[0], sizes, passed, color="orange", label="first layer")
for name in norms:
    scores = np.array([test[name, m] for m in ladders]).T
    draw_spread(axes[1], [*ladders], scores, color=colors[name], label=name)
axes[0].set(title="share of the gradient that passes", xlabel="batch size m")
axes[1].set(title="test accuracy (%)", xlabel="batch size m")
for ax in axes:
    ax.set_xscale("log", base=2)
    ax.set_xticks([*ladders], [*map(str, ladders)])
    ax.legend(loc="lower right")

# %%
# Freeze the weights
# ------------------
# Are the kicks in batches of two of any use? Train again at the chosen rate, but leave the weights
# before the normalizations as they were drawn: what follows learns from random features.


def train_frozen(seed):
    """Return the test accuracy with hidden weights that do not learn."""
    model = DeepNet("batch", seed=seed, **network)
    for block in (model.hidden_1, model.hidden_2):
        block.linear.requires_grad_(False)
    config = run("BN", few, chosen["BN", few], seed).config
    with one_thread():
        history = train(model, data, config, progress=False)
    return 100 * history.test_accuracy[-1]


gain = paired_interval(test["BN", few], [*map(train_frozen, seeds)])
ends = f"{gain.mean:.1f} points ({gain.low:.1f} to {gain.high:.1f})"
print(f"trained minus frozen: {ends}")
in_training = 100 * curves(results["BN", few], "train_accuracy").mean()
print(f"BN at {few}, while it trains: {in_training:.1f} %")

# %%
# Learning these weights gains nothing: what follows does at least as well on random ones. Besides,
# the network is far less accurate while it learns: of two images, an output says which has the
# greater input, and no more.
#
# This does *not* show which batches other networks bear: in a convolution each image brings many
# pixels to the statistics, so :math:`m` is not the number of images.
#
# Record and check
# ----------------

record(
    page,
    {
        "norm_ratio_pair": norm[0] / norm[-1],
        "top_five_pair": top_five[:, 0].mean(),
        "train_accuracy_pair": in_training,
        **{f"loses_{m}_verdict": answer for m, answer in loses.items()},
        "steps_many": samples // max(ladders),
        **{f"{name}_{m}": test[name, m].mean() for name, m in pairs},
        **{f"gap_{m}": d.mean for m, d in gap.items()},
        **{f"gap_{m}_low": d.low for m, d in gap.items()},
        **{f"gap_{m}_high": d.high for m, d in gap.items()},
    },
    data=data,
)
assert np.abs(passed.mean(axis=0) - theory).max() < 0.06
assert np.nanmedian(shares[:, 0]) < 1e-6  # of a pair, nothing passes...
assert norm.argmax() == 0  # ...but the norm is greatest there...
assert top_five[:, 0].mean() > 0.95  # ...thanks to a few units
assert loses[few] == "supported" != loses[8]  # two cost accuracy, not eight
assert all(d.mean > -smallest for m, d in gap.items() if m >= 16)
assert gain.mean < smallest  # nor do the weights gain by theirs
assert in_training < test["BN", few].mean()

# %%
# **What to notice.** Batch normalization needs batch mates: with one it fails, as the equation
# says; with more it soon does as well as normalizations that need none, which
# :doc:`pool other axes </gallery/02_inside_a_network/plot_04_pool_other_axes>`. Next:
# :doc:`train on few images <plot_08_train_on_few_images>`.
