"""The same functions as in :mod:`~bn_tutorial.scratch.functional`, in few passes over the data.

NumPy does one operation at a time, and each reads and writes whole arrays. Here the loops of
:mod:`~bn_tutorial.scratch.kernels` do all that can be done with a value while it is at hand, and
Numba compiles them: the forward pass reads the batch twice and writes once, the backward pass reads
two arrays twice and writes one. Where the statistics are of one sample alone, as in layer and group
normalization, the second reading finds the values still in the cache. The rows are divided into
parts, which the threads share.

What comes out differs from ``functional`` by rounding alone. It does not depend on how many threads
there are: the parts depend on the shape, and their sums are added in one order.

Numba is optional: the dependency group ``fast``. It is imported by the first call, which compiles
as well; what was compiled stays in the cache folder.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from bn_tutorial.scratch import functional, kernels, normalize
from bn_tutorial.scratch.arguments import as_eps, as_size
from bn_tutorial.scratch.arrays import (
    Array,
    Axes,
    as_axes,
    check_batch,
    check_floating,
    check_pooled,
    check_several,
    check_upstream,
    per_channel,
    shared_axes,
)
from bn_tutorial.storage import cache_folder, prepare_folder

PARTS = 16  # at most: so many threads can share the rows of an array
PART = 1 << 16  # values, at least, in a part
SHARE = 1 << 20  # values, at least, for a thread: it takes the time of half of them to wake one


class Cache(NamedTuple):
    """What a forward pass keeps: as :class:`bn_tutorial.scratch.normalize.Cache`, without xhat.

    To write xhat would cost a pass, so it is computed again where it is needed. ``x`` is the input
    itself, not a copy: leave it as it is until the backward pass. ``missed`` is what the mean lost
    when it was rounded to ``mu``, and ``layout`` how ``x`` is a matrix.
    """

    x: Array
    r: Array
    gamma: Array
    axes: tuple[int, ...]
    mu: Array
    var: Array
    missed: Array
    layout: _Layout

    @property
    def xhat(self) -> Array:
        """The standardized input, so that every function that takes a cache takes this one."""
        xhat: Array = (self.x - self.mu - self.missed.astype(self.x.dtype)) * self.r
        return xhat


# ---------------------------------------------------------------------------------------------
# Batch normalization
# ---------------------------------------------------------------------------------------------


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, Cache]:
    """As :func:`bn_tutorial.scratch.functional.batch_norm_forward`.

    Examples
    --------
    >>> x = np.array([[1.0], [3.0]])
    >>> y, cache = batch_norm_forward(x, np.ones(1), np.zeros(1), eps=0.0)
    >>> y.tolist(), cache.mu.tolist()
    ([[-1.0], [1.0]], [[2.0]])
    """
    check_batch(x)
    layout = _batch(x.shape)
    check_several(x, layout.m)
    gamma, beta = per_channel(gamma, x, "gamma"), per_channel(beta, x, "beta")
    return _forward(layout, x, gamma, beta, as_eps(eps))


def batch_norm_backward(dy: Array, cache: Cache | normalize.Cache) -> tuple[Array, Array, Array]:
    """As :func:`bn_tutorial.scratch.functional.batch_norm_backward`."""
    dx, dgamma, dbeta = normalize_backward(dy, cache)
    return dx, dgamma.ravel(), dbeta.ravel()


def batch_norm_eval_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    *,
    eps: float = 1e-5,
) -> tuple[Array, Cache]:
    """As :func:`bn_tutorial.scratch.functional.batch_norm_eval_forward`."""
    check_batch(x)
    eps = as_eps(eps)
    gamma, beta = per_channel(gamma, x, "gamma"), per_channel(beta, x, "beta")
    mu = per_channel(running_mean, x, "running_mean").astype(np.float64)
    var = per_channel(running_var, x, "running_var").astype(np.float64)
    return _scale(_batch(x.shape), _contiguous(x), gamma, beta, mu, var, eps)


def batch_norm_eval_backward(
    dy: Array, cache: Cache | normalize.Cache
) -> tuple[Array, Array, Array]:
    """As :func:`bn_tutorial.scratch.functional.batch_norm_eval_backward`."""
    if isinstance(cache, normalize.Cache):
        return functional.batch_norm_eval_backward(dy, cache)
    dy = check_upstream(dy, cache.x)
    ones, along = _sums(_contiguous(dy), cache)
    dbeta, dgamma = (q.sum(axis=cache.axes).astype(dy.dtype) for q in (ones, along))
    return cache.gamma * cache.r * dy, dgamma, dbeta


# ---------------------------------------------------------------------------------------------
# The core: other axes. Those for which there is no kernel are left to NumPy.
# ---------------------------------------------------------------------------------------------


def normalize_forward(
    x: Array, gamma: Array, beta: Array, *, axes: Axes, eps: float
) -> tuple[Array, Cache | normalize.Cache]:
    """As :func:`bn_tutorial.scratch.normalize.normalize_forward`."""
    check_floating(x)
    axes, eps = as_axes(axes, x.ndim), as_eps(eps)
    check_pooled(x, axes)
    gamma, beta = gamma.astype(x.dtype, copy=False), beta.astype(x.dtype, copy=False)
    layout = _layout(x, gamma, axes)
    if layout is None:
        return normalize.normalize_forward(x, gamma, beta, axes=axes, eps=eps)
    return _FORWARD[layout.kind](layout, x, gamma, beta, eps)


def normalize_backward(dy: Array, cache: Cache | normalize.Cache) -> tuple[Array, Array, Array]:
    """As :func:`bn_tutorial.scratch.normalize.normalize_backward`."""
    if isinstance(cache, normalize.Cache):
        return normalize.normalize_backward(dy, cache)
    return _BACKWARD[cache.layout.kind](check_upstream(dy, cache.x), cache)


def rms_forward(
    x: Array, gamma: Array, *, axes: Axes, eps: float
) -> tuple[Array, Cache | normalize.Cache]:
    """As :func:`bn_tutorial.scratch.normalize.rms_forward`."""
    check_floating(x)
    axes, eps = as_axes(axes, x.ndim), as_eps(eps)
    check_pooled(x, axes)
    gamma = gamma.astype(x.dtype, copy=False)
    layout = _layout(x, gamma, axes)
    if layout is None or layout.kind != "layer":
        return normalize.rms_forward(x, gamma, axes=axes, eps=eps)
    layout = layout._replace(kind="rms")
    return _layer_forward(layout, x, gamma, np.zeros_like(gamma), eps)


def rms_backward(dy: Array, cache: Cache | normalize.Cache) -> tuple[Array, Array]:
    """As :func:`bn_tutorial.scratch.normalize.rms_backward`."""
    if isinstance(cache, normalize.Cache):
        return normalize.rms_backward(dy, cache)
    dx, dgamma, _ = _layer_backward(check_upstream(dy, cache.x), cache)
    return dx, dgamma


# ---------------------------------------------------------------------------------------------
# How an array is a matrix for the kernels
# ---------------------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """How an array is a matrix, whose rows are divided into parts.

    Attributes
    ----------
    kind : {"column", "row", "group", "layer", "rms"}
        Whether mean and gamma are those of a column or of a row; or the mean of some rows below
        each other and gamma of a row; or the mean of a row and gamma of a column, with a mean or
        without.
    matrix : tuple of int
        The shape of the matrix.
    vector : tuple of int
        The shape of what columns (or rows) have, broadcastable to the array.
    pieces : tuple of int
        The same for what the kernels sum: of a column that is a sum for each part.
    bounds : ndarray
        Where the parts begin and end: rows, or groups of rows.
    axes : tuple of int
        The axes of the array that are pooled.
    m : int
        How many values that are.
    """

    kind: str
    matrix: tuple[int, int]
    vector: tuple[int, ...]
    pieces: tuple[int, ...]
    bounds: kernels.Bounds
    axes: tuple[int, ...]
    m: int

    def is_small(self, gamma: Array) -> bool:
        """Tell whether there is one part, and a gamma for each column."""
        return self.kind == "column" and self.pieces == self.vector == gamma.shape


def _batch(shape: tuple[int, ...]) -> _Layout:
    """Channels are columns, or rows if a sample has more than one value for each."""
    axes = (0, *range(2, len(shape)))
    return _columns(shape, 1, axes) if math.prod(shape[2:]) == 1 else _rows("row", shape, 2, axes)


def _layout(x: Array, gamma: Array, axes: tuple[int, ...]) -> _Layout | None:
    """Return the layout for some axes, or None: there is no kernel."""
    first = x.ndim - len(axes)  # of the pooled axes, if they are the last ones
    if axes == tuple(range(first, x.ndim)) and gamma.shape == (1,) * first + x.shape[first:]:
        return _rows("layer", x.shape, first, axes)
    if axes == tuple(range(len(axes))) and math.prod(gamma.shape[: len(axes)]) == 1:
        return _columns(x.shape, len(axes), axes)
    shared = x.ndim
    while shared - 1 in axes and gamma.shape[shared - 1] == 1:
        shared -= 1
    if shared == x.ndim:
        return None
    kind = "group" if axes == tuple(range(first, x.ndim)) else "row"
    return _rows(kind, x.shape, shared, axes)


@functools.lru_cache
def _columns(shape: tuple[int, ...], pooled: int, axes: tuple[int, ...]) -> _Layout:
    """Pool the first axes; the others are the columns."""
    matrix = math.prod(shape[:pooled]), math.prod(shape[pooled:])
    bounds, ones = _parts(matrix), (1,) * (pooled - 1)
    vector, pieces = ((parts, *ones, *shape[pooled:]) for parts in (1, len(bounds) - 1))
    return _Layout("column", matrix, vector, pieces, bounds, axes, matrix[0])


@functools.lru_cache
def _rows(kind: str, shape: tuple[int, ...], first: int, axes: tuple[int, ...]) -> _Layout:
    """Lay all axes from ``first`` on into a row."""
    matrix = math.prod(shape[:first]), math.prod(shape[first:])
    vector = shape[:first] + (1,) * (len(shape) - first)
    m = math.prod(shape[axis] for axis in axes)
    divided = (math.prod(matrix) // m, m) if kind == "group" else matrix
    return _Layout(kind, matrix, vector, vector, _parts(divided), axes, m)


def _parts(matrix: tuple[int, int]) -> kernels.Bounds:
    """Divide the rows: the shape decides how, so that the sums do not depend on the threads."""
    rows, columns = matrix
    parts = max(1, min(PARTS, rows, rows * columns // PART))
    bounds: kernels.Bounds = np.linspace(0, rows, parts + 1).astype(np.intp)
    return bounds


# ---------------------------------------------------------------------------------------------
# Passes where mean and gamma are those of columns, or of rows
# ---------------------------------------------------------------------------------------------


def _forward(
    layout: _Layout, x: Array, gamma: Array, beta: Array, eps: float
) -> tuple[Array, Cache]:
    x = _contiguous(x)
    if layout.is_small(gamma):
        return _forward_at_once(layout, x, gamma, beta, eps)
    mu, m2 = _summed(layout, "moments", (x,))
    if any(layout.pieces[axis] > 1 for axis in layout.axes):
        # Of a column the pieces are parts, of unequal lengths; of a row they are all alike.
        counts = np.array(layout.matrix[1])
        if layout.kind == "column":
            counts = np.diff(layout.bounds).reshape(-1, *[1] * (x.ndim - 1))
        # Put together as by moments.merge, all at once.
        mean = mu
        mu = (mean * counts).sum(axis=layout.axes, keepdims=True) / layout.m
        m2 = m2 + counts * np.square(mean - mu)
        m2 = m2.sum(axis=layout.axes, keepdims=True)
    return _scale(layout, x, gamma, beta, mu, np.maximum(m2 / layout.m, 0), eps)


def _scale(
    layout: _Layout, x: Array, gamma: Array, beta: Array, mu: Array, var: Array, eps: float
) -> tuple[Array, Cache]:
    """Normalize with given statistics, in float64, in one pass: y is a (x - mu) + b."""
    r = 1 / np.sqrt(var + eps)
    center = mu.astype(x.dtype)
    missed = mu - center
    a = gamma * r
    b = beta - a * missed
    y = np.empty_like(x)
    _run(layout, "scale", (x,), _vectors(layout, x, center, a, b), (y,))
    kept = center, var.astype(x.dtype), missed, layout
    return y, Cache(x, r.astype(x.dtype), gamma, layout.axes, *kept)


def _sums(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """Sum dy and dy xhat, piece by piece."""
    layout, x = cache.layout, cache.x
    ones, along = _summed(layout, "sums", (dy, x), _vectors(layout, x, cache.mu))
    return ones, (along - cache.missed * ones) * cache.r


def _backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    x, gamma, layout = cache.x, cache.gamma, cache.layout
    dy = _contiguous(dy)
    if layout.is_small(gamma):
        return _backward_at_once(dy, cache)
    ones, along = _sums(dy, cache)
    dbeta, dgamma = (_summed_over(q, shared_axes(gamma)).astype(x.dtype) for q in (ones, along))
    along_ones, along_xhat = (
        _summed_over(gamma * q, layout.axes) / layout.m for q in (ones, along)
    )
    # The gradient, with xhat = r (x - mu), is a dy + b (x - mu) + c.
    r = cache.r.astype(np.float64)
    b = -r * r * along_xhat
    c = -r * along_ones - b * cache.missed
    dx = np.empty_like(x)
    _run(layout, "gradient", (dy, x), _vectors(layout, x, cache.mu, gamma * r, b, c), (dx,))
    return dx, dgamma, dbeta


def _forward_at_once(
    layout: _Layout, x: Array, gamma: Array, beta: Array, eps: float
) -> tuple[Array, Cache]:
    y, missed = np.empty_like(x), np.empty(layout.vector)
    mu, var, r = (np.empty(layout.vector, x.dtype) for _ in range(3))
    written = (q.ravel() for q in (mu, missed, var, r))
    _run(layout, "forward", (x,), (gamma.ravel(), beta.ravel(), eps, *written), (y,))
    return y, Cache(x, r, gamma, layout.axes, mu, var, missed, layout)


def _backward_at_once(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    dx = np.empty_like(cache.x)
    dgamma, dbeta = (np.empty(cache.gamma.shape, dx.dtype) for _ in range(2))
    vectors = cache.gamma, cache.mu, cache.missed, cache.r, dgamma, dbeta
    _run(cache.layout, "backward", (dy, cache.x), [q.ravel() for q in vectors], (dx,))
    return dx, dgamma, dbeta


def _summed_over(pieces: Array, axes: tuple[int, ...]) -> Array:
    total: Array = pieces.sum(axis=axes, keepdims=True)
    return total


def _summed(
    layout: _Layout, name: str, arrays: Sequence[Array], vectors: Sequence[Array] = ()
) -> tuple[Array, Array]:
    """Run a kernel that gives two numbers for each piece."""
    parts = len(layout.bounds) - 1
    shape = (parts, layout.matrix[1]) if layout.kind == "column" else layout.matrix[:1]
    first, second = np.empty(shape), np.empty(shape)
    _run(layout, name, arrays, (*vectors, first, second))
    return first.reshape(layout.pieces), second.reshape(layout.pieces)


def _vectors(layout: _Layout, x: Array, *values: Array) -> list[Array]:
    """Give each column, or row, its own value, in the dtype of x."""
    shape = layout.vector
    given = [q if q.shape == shape else np.broadcast_to(q, shape) for q in values]
    return [q.astype(x.dtype, copy=False).ravel() for q in given]


# ---------------------------------------------------------------------------------------------
# Passes where the mean is that of some rows below each other, and gamma that of a row
# ---------------------------------------------------------------------------------------------


def _group_forward(
    layout: _Layout, x: Array, gamma: Array, beta: Array, eps: float
) -> tuple[Array, Cache]:
    x = _contiguous(x)
    y, shape = np.empty_like(x), _of_groups(layout, x)
    mean, var = np.empty(shape), np.empty(shape)
    span = math.prod(layout.vector) // mean.size
    written = mean.ravel(), var.ravel()
    _run(layout, "forward", (x,), (*_vectors(layout, x, gamma, beta), eps, span, *written), (y,))
    return y, _kept(layout, x, gamma, mean, var, eps)


def _group_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    x, gamma, layout = cache.x, cache.gamma, cache.layout
    dx, ones, along = np.empty_like(x), np.empty(layout.vector), np.empty(layout.vector)
    of_groups = [q.ravel() for q in (cache.mu, cache.missed, cache.r)]
    span = ones.size // cache.mu.size
    given = *_vectors(layout, x, gamma), *of_groups, span, ones.ravel(), along.ravel()
    _run(layout, "backward", (_contiguous(dy), x), given, (dx,))
    dbeta, dgamma = (_summed_over(q, shared_axes(gamma)).astype(x.dtype) for q in (ones, along))
    return dx, dgamma, dbeta


def _of_groups(layout: _Layout, x: Array) -> tuple[int, ...]:
    """Return the shape of the statistics."""
    return tuple(1 if axis in layout.axes else size for axis, size in enumerate(x.shape))


def _kept(layout: _Layout, x: Array, gamma: Array, mean: Array, var: Array, eps: float) -> Cache:
    r, mu = 1 / np.sqrt(var + eps), mean.astype(x.dtype)
    kept = mu, var.astype(x.dtype), mean - mu, layout
    return Cache(x, r.astype(x.dtype), gamma, layout.axes, *kept)


# ---------------------------------------------------------------------------------------------
# Passes where the mean is that of a row, and gamma that of a column
# ---------------------------------------------------------------------------------------------


def _layer_forward(
    layout: _Layout, x: Array, gamma: Array, beta: Array, eps: float
) -> tuple[Array, Cache]:
    x = _contiguous(x)
    y, mean, var = np.empty_like(x), np.empty(layout.vector), np.empty(layout.vector)
    given = gamma.ravel(), beta.ravel(), eps, layout.kind == "layer"
    _run(layout, "forward", (x,), (*given, mean.ravel(), var.ravel()), (y,))
    return y, _kept(layout, x, gamma, mean, var, eps)


def _layer_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    x, gamma, layout = cache.x, cache.gamma, cache.layout
    mean, r = cache.mu + cache.missed, cache.r.astype(np.float64)
    dx, sums = np.empty_like(x), (len(layout.bounds) - 1, gamma.size)
    dgamma, dbeta = np.empty(sums), np.empty(sums)
    given = gamma.ravel(), mean.ravel(), r.ravel(), layout.kind == "layer"
    _run(layout, "backward", (_contiguous(dy), x), (*given, dgamma, dbeta), (dx,))
    dgamma, dbeta = (q.sum(axis=0).astype(x.dtype).reshape(gamma.shape) for q in (dgamma, dbeta))
    return dx, dgamma, dbeta


_FORWARD = {
    **dict.fromkeys(("column", "row"), _forward),
    "group": _group_forward,
    "layer": _layer_forward,
}
_BACKWARD = {
    **dict.fromkeys(("column", "row"), _backward),
    "group": _group_backward,
    "layer": _layer_backward,
}


# ---------------------------------------------------------------------------------------------
# Compile, and share the rows among threads
# ---------------------------------------------------------------------------------------------


def _run(
    layout: _Layout,
    name: str,
    arrays: Sequence[Array],
    values: Sequence[Any],
    outputs: Sequence[Array] = (),
) -> None:
    """Run a kernel over all parts, on as many threads as are allowed."""
    kernel, parts = _compiled(layout.kind, name), len(layout.bounds) - 1
    inputs, written = ([q.reshape(layout.matrix) for q in given] for given in (arrays, outputs))
    given = *inputs, *values, *written, layout.bounds
    if parts == 1:
        kernel(*given, 0, 1)
        return
    count = max(1, min(_threads(), parts, math.prod(layout.matrix) // SHARE))
    shares = [parts * share // count for share in range(count + 1)]
    *others, own = pairwise(shares)
    waiting = [_pool(os.getpid(), count).submit(kernel, *given, *share) for share in others]
    kernel(*given, *own)
    for one in waiting:
        one.result()


@functools.cache
def _pool(process: int, count: int) -> ThreadPoolExecutor:
    """Return the threads of a process: one that was forked from it has none of them."""
    del process
    return ThreadPoolExecutor(count, thread_name_prefix="fused")


@functools.cache
def _compiled(kind: str, name: str) -> Callable[..., None]:
    """Compile a kernel, for whatever dtypes it will be called with; it lets other threads run.

    What was compiled is kept in the cache folder, for the package may be where nobody may write.
    """
    numba = _numba()
    chosen = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = chosen or str(prepare_folder(cache_folder() / "numba"))
    try:
        function = getattr(kernels, f"{kind.replace('rms', 'layer')}_{name}")
        compiled: Callable[..., None] = numba.njit(nogil=True, cache=True)(function)
    finally:
        numba.config.CACHE_DIR = chosen
    return compiled


@functools.cache
def _numba() -> Any:
    """Import Numba, and tell it which functions kernels call."""
    try:
        import numba
        from numba.extending import register_jitable
    except ImportError as error:
        raise ImportError("the fused layers need Numba: pip install numba") from error

    # Where the order of a sum is free, the compiler may make several sums at once.
    register_jitable(fastmath={"reassoc"})(kernels.add)
    register_jitable(kernels.merge)
    register_jitable(kernels.products)
    for name in ("moments", "scale", "sums", "gradient"):
        register_jitable(getattr(kernels, f"column_{name}"))
    return numba


_allowed: list[int] = []


def _threads() -> int:
    """Return how many threads may compute: all cores, unless somebody says less."""
    if _allowed:
        return _allowed[-1]
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said):
        return int(said)
    # Of all cores those that this process may use, where the system tells.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute on so many threads within a block: the results are the same.

    Outside of it ``OMP_NUM_THREADS`` decides, else how many cores there are.
    """
    _allowed.append(as_size(number, "number"))
    try:
        yield
    finally:
        _allowed.pop()


def _contiguous(x: Array) -> Array:
    """Return an array as it lies in memory when it is made: the same one, if it does."""
    usual = x.flags.c_contiguous and x.flags.aligned
    return x if usual else np.require(x, requirements=["C", "A"])
