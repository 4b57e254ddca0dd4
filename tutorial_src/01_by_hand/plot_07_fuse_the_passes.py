"""
Fuse the passes
===============

**The question.** How fast can batch normalization be made, and what does each step towards that
cost in clarity?

**In short.** Written as it is read, it reaches :value:`share_read:.0%` of the speed at which the
machine copies memory. The same formulas in a loop that Numba compiles reach
:value:`share_fused:.0%` on one core and :value:`share_threads:.0%` on all of them: that is
:value:`times_faster:.0f` times as fast. It computes the same, but it reads or writes an array of
the batch's size 8 times where the first version does so 31 times. These shares are those of the
machine that built this page; it measured them once and remembers them.

.. lead-figure::

**What was done.** Forward and backward pass in training mode, on a batch of 16,384 samples with
1,024 channels in single precision (67 MB), in five versions that took turns with a copy of the
batch and with PyTorch's layer: all on one core, except for the last version and a second copy. Of
each the shortest of nine times counts; on one core it is the time that the processor spends on it.

**You need** :doc:`the bytes that are counted </gallery/01_by_hand/plot_06_count_the_bytes>` and
:doc:`how descriptions of parts are merged </derivations/statistics>`.
"""

# sphinx_gallery_parallel = False  # what ran beside it would be timed, too
import ast
import inspect
import time

import numpy as np
import torch
from torch import nn

from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, MARKERS, new_figure
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.results import measured_once
from bn_tutorial.lab.study import table
from bn_tutorial.scratch import (
    blockwise,
    functional,
    fused,
    kernels,
    normalize,
    reading,
)

shape = (16384, 1024)
rounds = 9  # of which the shortest time counts
eps = 1e-5

# %%
# Step 1: as it is read
# ---------------------
# Each line is an equation, and each operation in it passes over the whole batch. A *move* is one
# reading or one writing of an array of the batch's size. ``x - mu`` is two of them: x is read, and
# the difference is written, for it is too large for the cache. The variance alone costs six.

print(inspect.getsource(reading.BatchNorm.forward))

# %%
# Step 2: in place
# ----------------
# The next operation may write where the last one has written, so that no new memory is asked for;
# and a sum of products needs no array of products. The lines are still the equations, but one has
# to know what is overwritten.

print(inspect.getsource(normalize.standardize).split('"""')[2])

# %%
# Step 3: one pass for the sums
# -----------------------------
# The mean must be known before the variance, so the batch seems to need two passes for its sums. It
# does not: a *block* of rows that fits into the cache has a mean and a variance of its own, and
# :eq:`eq-merge-mean` and :eq:`eq-merge-m2` merge those of all blocks. Within a block NumPy may pass
# over the rows as often as it likes, since they come from the cache. Memory sees one pass for the
# sums and one that writes; the price is a loop, and a formula that is not part of the layer.

print(inspect.getsource(blockwise.batch_norm_forward).split('"""')[2])

# %%
# Step 4: fuse
# ------------
# A compiled loop need not write what it needs only once: xhat never becomes an array. It looks at a
# value, does all that can be done with it, and goes on. What is left are the moves that cannot be
# avoided: x is read for the sums; x is read and y is written; backward, x and dy are read for the
# sums, and then read once more while dx is written.
#
# This is the loop of the forward pass that writes y, where ``a`` and ``b`` hold gamma, beta and the
# statistics. It is as short as the line in NumPy, but it is one of four, and one has to know what
# a compiler makes of it: that it does sixteen columns at a time, for instance.

print(inspect.getsource(kernels.column_scale).split('"""')[2])

# %%
# Step 5: divide the rows among threads
# -------------------------------------
# One core may not be able to ask for as many bytes as memory could give. So the rows are divided
# into parts, and each thread takes its share of them. The sums of the parts are added in one order,
# so that the result does not depend on how many threads there were. The price is that one has to
# think about this.

print(inspect.getsource(fused._run).split('"""')[2])

# %%
# Measure
# -------
# How many moves has each version? Those of the first two are counted line by line.

moves = {
    "1 as read": 15 + 16,
    "2 in place": 13 + 12,
    "3 blocks": 4 + 5,
    "4 fused": 3 + 5,
    "5 threads": 3 + 5,
}
least = moves["4 fused"]
cores = torch.get_num_threads()


def both(code, x, dy, gamma, beta):
    """Return a function that does both passes."""

    def run():
        _, cache = code.batch_norm_forward(x, gamma, beta, eps=eps)
        code.batch_norm_backward(dy, cache)

    return run


def measure():
    """Return how long each version takes, then PyTorch, in moves of the fastest copy."""
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    gamma, beta = np.ones(shape[1], np.float32), np.zeros(shape[1], np.float32)
    as_read, layer = reading.BatchNorm(shape[1], eps), nn.BatchNorm1d(shape[1])
    as_read.gamma, as_read.beta = gamma, beta
    tx, tdy = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dy)
    leaves = [tx, *layer.parameters()]
    source, target = torch.from_numpy(x), torch.from_numpy(x.copy())

    def read():
        as_read.forward(x, training=True)
        as_read.backward(dy)

    on_one_core = {
        "1 as read": read,
        "2 in place": both(functional, x, dy, gamma, beta),
        "3 blocks": both(blockwise, x, dy, gamma, beta),
        "4 fused": both(fused, x, dy, gamma, beta),
        "PyTorch": lambda: torch.autograd.grad(layer(tx), leaves, tdy),
        "copy": lambda: target.copy_(source),
    }
    on_all_cores = {
        "5 threads": on_one_core["4 fused"],
        "copy by all": on_one_core["copy"],
    }
    shortest = {}

    def take_turns(functions, clock):
        for name, function in functions.items():
            start = clock()
            function()
            shortest[name] = min(shortest.get(name, np.inf), clock() - start)

    for _ in range(rounds):
        with one_thread(), fused.threads(1):
            take_turns(on_one_core, time.process_time)
        with fused.threads(cores):
            take_turns(on_all_cores, time.perf_counter)
    move = min(shortest["copy"], shortest["copy by all"]) / 2
    return [[shortest[name] / move for name in (*moves, "PyTorch")]]


(in_moves,) = measured_once(measure)
taken = dict(zip([*moves, "PyTorch"], in_moves, strict=True))
share = {name: least / value for name, value in taken.items()}

# %%
# The share of the copy's speed is the least number of moves, eight, over the time in moves. The
# first column is what each version does move; where the time is well above it, the rest is the time
# of new memory, of arithmetic, or of a core that cannot ask for more. The lines of code are those
# that one has to read to follow both passes, without comments, docstrings and checks of arguments.


def lines(*functions):
    """Count the lines of some functions, without docstrings."""
    count = 0
    for function in functions:
        tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function)))
        body = tree.body[0].body
        count += len(
            ast.unparse(body[isinstance(body[0], ast.Expr) :]).splitlines()
        )
    return count


in_numba = [
    *(kernels.column_moments, kernels.column_scale, kernels.column_sums),
    *(kernels.column_gradient, fused._forward, fused._scale, fused._sums),
    fused._backward,
]
length = {
    "1 as read": lines(reading.BatchNorm.forward, reading.BatchNorm.backward),
    "2 in place": lines(
        *(normalize.center, normalize.standardize, normalize.normalize_forward),
        functional.batch_norm_backward,
    ),
    "3 blocks": lines(
        blockwise.batch_norm_forward, blockwise.batch_norm_backward
    ),
    "4 fused": lines(*in_numba),
    "5 threads": lines(*in_numba, fused._run, fused._parts),
}
rows = {
    name: [
        moves[name],
        f"{taken[name]:.1f}",
        f"{share[name]:.0%}",
        length[name],
    ]
    for name in moves
}
rows["PyTorch"] = ["", f"{taken['PyTorch']:.1f}", f"{share['PyTorch']:.0%}", ""]
print(
    table(
        rows,
        columns=["moves", "time (moves)", "share of a copy's speed", "lines"],
    )
)

# %%
# The right panel is a *roofline*. Across: how many operations a version does for each byte that it
# moves, and it moves fewer bytes from step to step. Upwards: how many it does in the time in which
# a copy moves one byte. Nothing can be above the line, for there the bytes would have to travel
# faster than in a copy. To move fewer bytes shifts a point along the line; what lies below it is
# lost in other ways.

# fold: draw the times and the roofline
operations = 15  # for each value: see the page before
figure, (left, right) = new_figure(
    1,
    2,
    lead=True,
    width=7.2,
    height=3.6,
    alt="Left, horizontal bars: the time of both passes in moves of the batch, for the five "
    "versions from top to bottom, with a dotted line at the least number of moves and a dashed one "
    "at PyTorch's time. Right, both axes logarithmic: operations in the time of one byte against "
    "operations for each byte, the five versions as points below a line that none can cross.",
)
names = list(moves)
left.barh(names, [taken[name] for name in names], color=COLORS["green"])
left.invert_yaxis()
left.axvline(least, color=COLORS["grey"], linestyle="dotted", label="least")
left.axvline(
    taken["PyTorch"], color=COLORS["pink"], linestyle="dashed", label="PyTorch"
)
left.set(xlabel="time of both passes (moves)", xlim=(0, None))
left.legend()
roof = np.array([operations / (4 * 45), operations / (4 * 5)])
right.plot(roof, roof, color=COLORS["grey"], linestyle="dotted")
right.annotate(
    "speed of a copy", roof[[0, 0]] * [1, 1.4], rotation=45, va="bottom"
)
for name in names:
    x, y = operations / (4 * moves[name]), operations / (4 * taken[name])
    right.plot(x, y, color=COLORS["green"], marker=MARKERS["green"])
    right.annotate(name[0], (x, y), (6, -4), textcoords="offset points")
right.set(
    xscale="log",
    yscale="log",
    xlabel="operations for each byte",
    ylabel="operations in the time of one byte",
)
right.set_xticks([0.1, 0.2, 0.5], ["0.1", "0.2", "0.5"])
right.set_yticks(
    [0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"]
)
right.minorticks_off()

# %%
# Do all five give the same?
# --------------------------
# Not to the last digit, and how many digits is not decided by the number of passes. Against double
# precision, on a batch whose mean is a thousand times its deviation:

rng = np.random.default_rng(0)
x = rng.normal(1000, 1, (4096, 8)).astype(np.float32)
ones, zeros = np.ones(8, np.float32), np.zeros(8, np.float32)
exact, _ = functional.batch_norm_forward(x.astype(np.float64), ones, zeros)
as_read = reading.BatchNorm(8)
found = {
    "1 as read": as_read.forward(x, training=True),
    "2 in place": functional.batch_norm_forward(x, ones, zeros)[0],
    "3 blocks": blockwise.batch_norm_forward(x, ones, zeros)[0],
    "4 and 5 fused": fused.batch_norm_forward(x, ones, zeros)[0],
}
error = {name: np.abs(y - exact).max() for name, y in found.items()}
rows = {name: [f"{value:.0e}"] for name, value in error.items()}
print(table(rows, columns=["greatest error of y"]))

# %%

# fold: keep the numbers, check what the words claim
evidence = Evidence("01_by_hand/plot_07_fuse_the_passes")
evidence.note(
    share_read=share["1 as read"],
    share_fused=share["4 fused"],
    share_threads=share["5 threads"],
    share_pytorch=share["PyTorch"],
    times_faster=taken["1 as read"] / taken["5 threads"],
    error_fused=error["4 and 5 fused"],
)
evidence.save()
# Nothing is asserted about times: they are those of the machine.
assert sorted(moves.values(), reverse=True) == list(moves.values())
assert length["1 as read"] < length["3 blocks"] < length["4 fused"]
assert error["4 and 5 fused"] < 1e-5
assert error["4 and 5 fused"] < error["1 as read"]

# %%
# What is in the cache costs next to nothing to read again: that is the idea of this page. Blocks in
# NumPy use it, but each block makes every call again, and merges means in single precision: fewer
# moves need not mean less time, and digits are lost. The compiled loop makes no such calls, and
# merges its sums in double precision. The version to learn from remains the first one; the last one
# is trusted because it is held to the first by tests. The layers of this package take it with
# ``fused=True``.
#
# **Limits.** One machine, one shape, single precision. How much is gained depends on how fast the
# machine computes beside its memory, and for all cores on how many it has. Nothing was timed on a
# graphics processor.
#
# **Try it.** Change ``shape`` to ``(1024, 256)``: the batch then fits into the cache, passes over
# it are cheap, and the steps lie closer together.
#
# Next: :doc:`ask whose rate it is </gallery/06_why_it_works/plot_01_ask_whose_rate_it_is>`.
