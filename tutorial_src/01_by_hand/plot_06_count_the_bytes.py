"""
Count the bytes
===============

**The question.** What limits the speed of batch normalization, and how near is our code to that
limit?

**In short.** Memory limits it: there are :value:`intensity:.2f` operations for each byte that must
travel. For a batch of :value:`megabytes:.0f` MB our forward pass took
:value:`forward_over_bound:.1f` times as long as its bytes need, and our backward pass
:value:`backward_over_bound:.1f` times; PyTorch's took :value:`forward_pytorch_over_bound:.1f` and
:value:`backward_pytorch_over_bound:.1f` times as long. These times are those of the machine that
built this page; it measured them once and remembers them.

.. lead-figure::

**What was done.** Forward and backward pass in training mode were timed, ours and PyTorch's, for
five sizes of a batch. All work in single precision and on one core, so that the times do not depend
on the number of cores.

**You need** :doc:`the backward pass </derivations/backward>`.
"""

# sphinx_gallery_parallel = False  # what ran beside it would be timed, too
import time

import numpy as np
import torch
from torch import nn

from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, MARKERS, new_figure
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.results import measured_once
from bn_tutorial.lab.study import table
from bn_tutorial.scratch import functional

shapes = [(128, 256), (1024, 256), (1024, 1024), (4096, 1024), (16384, 1024)]
rounds = 7  # of which the shortest time counts
attempts = 5  # to measure again when the copies were disturbed
least = 0.8  # of the bound: a shorter time is not believed

# %%
# The bound
# ---------
# A batch that does not fit into the processor's cache has to travel from memory for each pass over
# it. Count how often an array of the batch's size must be read or written, by formulas that need
# the mean before the variance. (The :doc:`next page <plot_07_fuse_the_passes>` takes both from one
# reading.)

forward_moves = {
    "read x for the mean": 1,
    "read x for the variance": 1,
    "read x, write y": 2,
}
backward_moves = {"read x and dy for the sums": 2, "read x and dy, write dx": 3}
bound = {
    "forward": sum(forward_moves.values()),
    "backward": sum(backward_moves.values()),
}

# %%
# The arithmetic is small beside that. For each value there are about as many additions and
# multiplications as there are symbols in the formulas; a processor does that many in a fraction of
# the time that the bytes take. So the right unit of time is the time of *moving one array*,
# measured by copying (which reads one and writes one).

operations = {
    "forward": 7,
    "backward": 8,
}  # for each value: sums, differences, products
moves = sum(bound.values())
intensity = sum(operations.values()) / (moves * np.dtype(np.float32).itemsize)
rows = {
    "operations for each value": [sum(operations.values())],
    "moves of 4 bytes for each value": [moves],
    "operations for each byte": [intensity],
}
print(table(rows, columns=["both passes"]))


# %%
# Measure
# -------
# The passes take turns with the copy, so that what disturbs the memory disturbs all of them, and of
# each the shortest time counts. It is the time that the processor spends on this program; what it
# does for others in the meantime is not counted.
#
# To write an array costs up to twice as much as to read one, because memory is often read before it
# is overwritten. The copy writes a larger share of its bytes than the passes do, so these may stay
# a little below the bound, but not below four fifths of it. If a pass does, the copies were
# disturbed, and all are measured again.
#
# The machine remembers the times until the code or a library changes, so that a page that is built
# again says the same.


def in_moves(copy, passes):
    """Return how many moves of an array each pass takes as long as."""
    functions = {"copy": copy, **passes}
    shortest = dict.fromkeys(functions, np.inf)
    for _ in range(attempts):
        for _ in range(rounds):
            for name, function in functions.items():
                start = time.process_time()
                function()
                taken = time.process_time() - start
                shortest[name] = min(shortest[name], taken)
        move = shortest["copy"] / 2
        moves = {key: shortest[key] / move for key in passes}
        if all(moves[key] >= least * bound[key[1]] for key in passes):
            break
    return moves


def measure(shape):
    """Return the time of each pass, in moves, for a batch of this shape."""
    rng = np.random.default_rng(0)
    x, dy, out = (
        rng.standard_normal(shape, dtype=np.float32) for _ in range(3)
    )
    ones, zeros = np.ones(shape[1], np.float32), np.zeros(shape[1], np.float32)
    layer = nn.BatchNorm1d(shape[1])
    tx, tdy = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dy)
    _, cache = functional.batch_norm_forward(x, ones, zeros)
    y = layer(tx)
    inputs = (tx, layer.weight, layer.bias)
    passes = {
        ("ours", "forward"): lambda: functional.batch_norm_forward(
            x, ones, zeros
        ),
        ("ours", "backward"): lambda: functional.batch_norm_backward(dy, cache),
        ("PyTorch", "forward"): lambda: layer(tx),
        ("PyTorch", "backward"): lambda: torch.autograd.grad(
            y, inputs, tdy, retain_graph=True
        ),
    }
    return in_moves(lambda: np.copyto(out, x), passes)


def measure_all():
    """Return the times of all passes, a row for each shape."""
    with one_thread():
        return [list(measure(shape).values()) for shape in shapes]


passes = [(code, way) for code in ("ours", "PyTorch") for way in bound]
measured = [
    dict(zip(passes, times, strict=True))
    for times in measured_once(measure_all)
]

# %%
# The unit of time is that of moving one array; the bound is in the same unit.

megabytes = [4e-6 * np.prod(shape) for shape in shapes]
rows = {
    f"{code}, {direction}": [f"{row[code, direction]:.1f}" for row in measured]
    + [f"{bound[direction]}.0"]
    for code, direction in measured[0]
}
print(table(rows, columns=[*(f"{size:.1f} MB" for size in megabytes), "bound"]))

# %%

# fold: draw the times
figure, axes = new_figure(
    1,
    2,
    lead=True,
    width=7.2,
    height=3.6,
    sharey=True,
    alt="Two panels, forward and backward, against the size of the batch in megabytes, both axes "
    "logarithmic: the time of our code and of PyTorch's, in moves of one array, and "
    "the bound as a dotted line.",
)
for ax, direction in zip(axes, bound, strict=True):
    for code, color in {"ours": "green", "PyTorch": "pink"}.items():
        ax.plot(
            megabytes,
            [row[code, direction] for row in measured],
            color=COLORS[color],
            marker=MARKERS[color],
            linestyle="solid" if code == "ours" else "dashed",
            label=code,
        )
    ax.axhline(
        bound[direction],
        color=COLORS["grey"],
        linestyle="dotted",
        label="bound",
    )
    ax.set(xscale="log", yscale="log", xlabel="batch (MB)")
    ax.set_title(direction, fontsize=12)
axes[0].set_ylabel("time (moves of one array)")
axes[0].set_yticks([3, 5, 10, 20, 50], ["3", "5", "10", "20", "50"])
axes[0].minorticks_off()
axes[0].legend()

# %%
# The largest batch does not fit into any cache. How much longer than the bound did it take?

ratios = {key: moves / bound[key[1]] for key, moves in measured[-1].items()}
rows = {
    code: [f"{ratios[code, direction]:.1f}" for direction in bound]
    for code in ("ours", "PyTorch")
}
print(table(rows, columns=[f"{direction} / bound" for direction in bound]))

# %%

# fold: keep the numbers, check what the words claim
evidence = Evidence("01_by_hand/plot_06_count_the_bytes")
evidence.note(
    intensity=intensity,
    megabytes=megabytes[-1],
    forward_over_bound=ratios["ours", "forward"],
    backward_over_bound=ratios["ours", "backward"],
    forward_pytorch_over_bound=ratios["PyTorch", "forward"],
    backward_pytorch_over_bound=ratios["PyTorch", "backward"],
)
evidence.save()
# Nothing is asserted about times: they are those of the machine.
assert intensity < 1  # fewer operations than bytes: memory is the limit

# %%
# Batch normalization computes little for each value, so what counts is how often the data are read.
# NumPy does one operation at a time, and each of them reads and writes whole arrays; a *fused*
# program does several operations on a value once it has been read. In evaluation mode batch
# normalization can be :doc:`folded into the layer before it </derivations/inference>`; then it
# costs nothing.
#
# **Limits.** One machine, one core, single precision, five shapes. The bound counts bytes that go
# between processor and memory; it does not hold for a batch that stays in the cache.
#
# **Try it.** Add ``(64, 64)`` at the front of ``shapes``: so small a batch fits into the cache, and
# what takes the time is to call the functions.
#
# Next: :doc:`fuse the passes </gallery/01_by_hand/plot_07_fuse_the_passes>`.
