"""The loops of :mod:`~bn_tutorial.scratch.fused`: plain Python here, which Numba compiles there.

A kernel reads the array and computes all that it can with a value while it has it; it writes into
arrays that it is given. It does the parts ``first`` to ``last`` of the rows: part ``k`` is the rows
from ``bounds[k]`` to ``bounds[k + 1]``. A few values at a time are added in their own dtype, and
these sums in float64.

Two shapes of input are enough. Where the values of a channel stand below each other, (N, C), what
belongs to a channel is a vector, for a *column*. Where they lie side by side, (N * C, H * W), it is
a number, for a *row*. Layer normalization has both: statistics for the row, gamma for the column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bn_tutorial.scratch.arrays import Array

Bounds = npt.NDArray[np.intp]

ROWS = 64  # in a block: so many values are added one after the other in their own dtype
VALUES = 1024  # of a row, which the processor adds in many sums at once


def add(total: Any, value: Any) -> Any:
    """Add, in an order that is the compiler's to choose: so it can add several at once."""
    return total + value


def merge(piece: Array, before: int, average: float, m2: float) -> tuple[float, float]:
    """Describe ``before`` values and a piece of a row together: their mean and sum of squares.

    The piece is shifted by its first value, as in :func:`column_moments`.
    """
    shift = piece[0]
    total = square = piece.dtype.type(0)
    for at in range(len(piece)):
        shifted = piece[at] - shift
        total = add(total, shifted)
        square = add(square, shifted * shifted)
    count = len(piece)
    share = count / (before + count)
    along = np.float64(total)
    delta = shift + along / count - average
    within = square - along * (along / count)
    return average + delta * share, m2 + within + delta * delta * before * share


def products(dy: Array, x: Array, center: Any) -> tuple[float, float]:
    """Sum ``dy`` and ``dy (x - center)`` over a row."""
    ones = along = 0.0
    for left in range(0, len(x), VALUES):
        here, upstream = x[left : left + VALUES], dy[left : left + VALUES]
        total = product = x.dtype.type(0)
        for at in range(len(here)):
            total = add(total, upstream[at])
            product = add(product, upstream[at] * (here[at] - center))
        ones += np.float64(total)
        along += np.float64(product)
    return ones, along


# ---------------------------------------------------------------------------------------------
# Channels are columns: x has shape (N, C)
# ---------------------------------------------------------------------------------------------


def column_moments(x: Array, mean: Array, m2: Array, bounds: Bounds, first: int, last: int) -> None:
    """Describe the columns of each part; mean and m2 have shape (parts, C), float64.

    One pass. Each block of rows is shifted by its first row: the difference of the two sums then
    loses at most as many digits as ``ROWS`` has, whatever the mean is.
    """
    columns = x.shape[1]
    total, square = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for part in range(first, last):
        before = 0
        for top in range(bounds[part], bounds[part + 1], ROWS):
            end = min(top + ROWS, bounds[part + 1])
            total[:] = 0
            square[:] = 0
            for row in range(top + 1, end):
                for column in range(columns):
                    shifted = x[row, column] - x[top, column]
                    total[column] += shifted
                    square[column] += shifted * shifted
            count = end - top
            share = count / (before + count)
            for column in range(columns):
                along = np.float64(total[column])
                delta = x[top, column] + along / count
                if before:
                    delta -= mean[part, column]
                else:
                    mean[part, column] = 0
                    m2[part, column] = 0
                mean[part, column] += delta * share
                m2[part, column] += square[column] - along * (along / count)
                m2[part, column] += delta * delta * before * share
            before += count


def column_scale(
    x: Array, mu: Array, a: Array, b: Array, y: Array, bounds: Bounds, first: int, last: int
) -> None:
    """Write ``a (x - mu) + b``, with vectors of shape (C,)."""
    for row in range(bounds[first], bounds[last]):
        for column in range(x.shape[1]):
            y[row, column] = (x[row, column] - mu[column]) * a[column] + b[column]


def column_sums(
    dy: Array,
    x: Array,
    mu: Array,
    ones: Array,
    along: Array,
    bounds: Bounds,
    first: int,
    last: int,
) -> None:
    """Sum ``dy`` and ``dy (x - mu)`` over each part; the sums have shape (parts, C), float64."""
    columns = x.shape[1]
    total, product = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for part in range(first, last):
        ones[part] = 0
        along[part] = 0
        for top in range(bounds[part], bounds[part + 1], ROWS):
            total[:] = 0
            product[:] = 0
            for row in range(top, min(top + ROWS, bounds[part + 1])):
                for column in range(columns):
                    total[column] += dy[row, column]
                    product[column] += dy[row, column] * (x[row, column] - mu[column])
            for column in range(columns):
                ones[part, column] += total[column]
                along[part, column] += product[column]


def column_gradient(
    dy: Array,
    x: Array,
    mu: Array,
    a: Array,
    b: Array,
    c: Array,
    dx: Array,
    bounds: Bounds,
    first: int,
    last: int,
) -> None:
    """Write ``a dy + b (x - mu) + c``, with vectors of shape (C,)."""
    for row in range(bounds[first], bounds[last]):
        for column in range(x.shape[1]):
            shifted = x[row, column] - mu[column]
            dx[row, column] = a[column] * dy[row, column] + b[column] * shifted + c[column]


def column_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    eps: float,
    mu: Array,
    missed: Array,
    var: Array,
    r: Array,
    y: Array,
    bounds: Bounds,
    first: int,
    last: int,
) -> None:
    """Do all of the forward pass, for one part alone: a small batch costs its calls."""
    rows, columns = x.shape
    mean, m2 = np.empty((1, columns)), np.empty((1, columns))
    column_moments(x, mean, m2, bounds, first, last)
    a, b = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for column in range(columns):
        variance = m2[0, column] / rows
        if variance < 0:  # a rounding error of nothing
            variance = 0.0
        reciprocal = 1 / np.sqrt(variance + eps)
        mu[column], var[column], r[column] = mean[0, column], variance, reciprocal
        missed[column] = mean[0, column] - mu[column]
        a[column] = gamma[column] * reciprocal
        b[column] = beta[column] - gamma[column] * reciprocal * missed[column]
    column_scale(x, mu, a, b, y, bounds, first, last)


def column_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    mu: Array,
    missed: Array,
    r: Array,
    dgamma: Array,
    dbeta: Array,
    dx: Array,
    bounds: Bounds,
    first: int,
    last: int,
) -> None:
    """Do all of the backward pass, for one part alone."""
    rows, columns = x.shape
    ones, along = np.empty((1, columns)), np.empty((1, columns))
    column_sums(dy, x, mu, ones, along, bounds, first, last)
    a, b, c = (np.empty(columns, x.dtype), np.empty(columns, x.dtype), np.empty(columns, x.dtype))
    for column in range(columns):
        reciprocal, lost = np.float64(r[column]), missed[column]
        slope = gamma[column] * reciprocal
        total = ones[0, column]
        product = (along[0, column] - lost * total) * reciprocal
        dbeta[column], dgamma[column] = total, product
        turn = -slope * reciprocal * product / rows
        a[column], b[column] = slope, turn
        c[column] = -slope * total / rows - turn * lost
    column_gradient(dy, x, mu, a, b, c, dx, bounds, first, last)


# ---------------------------------------------------------------------------------------------
# Channels are rows: x has shape (N * C, H * W)
# ---------------------------------------------------------------------------------------------


def row_moments(x: Array, mean: Array, m2: Array, bounds: Bounds, first: int, last: int) -> None:
    """Describe the rows; mean and m2 have shape (N * C,), float64."""
    size = x.shape[1]
    for row in range(bounds[first], bounds[last]):
        average = squares = 0.0
        for left in range(0, size, VALUES):
            average, squares = merge(x[row, left : left + VALUES], left, average, squares)
        mean[row], m2[row] = average, squares


def row_scale(
    x: Array, mu: Array, a: Array, b: Array, y: Array, bounds: Bounds, first: int, last: int
) -> None:
    """Write ``a (x - mu) + b``, with vectors of shape (N * C,)."""
    for row in range(bounds[first], bounds[last]):
        center, factor, shift = mu[row], a[row], b[row]
        for at in range(x.shape[1]):
            y[row, at] = (x[row, at] - center) * factor + shift


def row_sums(
    dy: Array,
    x: Array,
    mu: Array,
    ones: Array,
    along: Array,
    bounds: Bounds,
    first: int,
    last: int,
) -> None:
    """Sum ``dy`` and ``dy (x - mu)`` over each row; the sums have shape (N * C,), float64."""
    for row in range(bounds[first], bounds[last]):
        ones[row], along[row] = products(dy[row], x[row], mu[row])


def row_gradient(
    dy: Array,
    x: Array,
    mu: Array,
    a: Array,
    b: Array,
    c: Array,
    dx: Array,
    bounds: Bounds,
    first: int,
    last: int,
) -> None:
    """Write ``a dy + b (x - mu) + c``, with vectors of shape (N * C,)."""
    for row in range(bounds[first], bounds[last]):
        center, factor, slope, shift = mu[row], a[row], b[row], c[row]
        for at in range(x.shape[1]):
            dx[row, at] = factor * dy[row, at] + slope * (x[row, at] - center) + shift


# ---------------------------------------------------------------------------------------------
# Channels are rows, and some rows one below the other share their statistics: a group
# ---------------------------------------------------------------------------------------------


def group_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    eps: float,
    span: int,
    mean: Array,
    var: Array,
    y: Array,
    bounds: Bounds,
    first: int,
    last: int,
) -> None:
    """Normalize ``span`` rows at a time, while they are in the cache.

    mean and var are those of the groups, float64; gamma and beta those of the rows.
    """
    size = x.shape[1]
    for group in range(bounds[first], bounds[last]):
        rows = range(group * span, (group + 1) * span)
        average = squares = 0.0
        before = 0
        for row in rows:
            for left in range(0, size, VALUES):
                piece = x[row, left : left + VALUES]
                average, squares = merge(piece, before, average, squares)
                before += len(piece)
        if squares < 0:  # a rounding error of nothing
            squares = 0.0
        mean[group], var[group] = average, squares / before
        r = 1 / np.sqrt(var[group] + eps)
        center = x.dtype.type(average)
        for row in rows:
            slope = gamma[row] * r
            factor = x.dtype.type(slope)
            shift = x.dtype.type(beta[row] - slope * (average - center))
            line, out = x[row], y[row]
            for at in range(size):
                out[at] = (line[at] - center) * factor + shift


def group_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    mu: Array,
    missed: Array,
    r: Array,
    span: int,
    ones: Array,
    along: Array,
    dx: Array,
    bounds: Bounds,
    first: int,
    last: int,
) -> None:
    """Give the gradient of x, and for each row the sums that those of gamma and beta consist of."""
    size = x.shape[1]
    for group in range(bounds[first], bounds[last]):
        rows = range(group * span, (group + 1) * span)
        center, lost, reciprocal = mu[group], missed[group], np.float64(r[group])
        along_ones = along_xhat = 0.0
        for row in rows:
            total, product = products(dy[row], x[row], center)
            product = (product - lost * total) * reciprocal
            ones[row], along[row] = total, product
            along_ones += gamma[row] * total
            along_xhat += gamma[row] * product
        turn = -reciprocal * reciprocal * along_xhat / (span * size)
        b = x.dtype.type(turn)
        c = x.dtype.type(-reciprocal * along_ones / (span * size) - turn * lost)
        for row in rows:
            a = x.dtype.type(gamma[row] * reciprocal)
            line, upstream, out = x[row], dy[row], dx[row]
            for at in range(size):
                out[at] = a * upstream[at] + b * (line[at] - center) + c


# ---------------------------------------------------------------------------------------------
# Statistics are for rows, gamma and beta for columns: x has shape (N, D)
# ---------------------------------------------------------------------------------------------


def layer_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    eps: float,
    centered: bool,
    mean: Array,
    var: Array,
    y: Array,
    bounds: Bounds,
    first: int,
    last: int,
) -> None:
    """Normalize each row while it is in the cache; mean and var have shape (N,), float64.

    Unless it is ``centered``, the mean stays zero and var is the mean square.
    """
    size = x.shape[1]
    for row in range(bounds[first], bounds[last]):
        average = m2 = 0.0
        for left in range(0, size, VALUES):
            piece = x[row, left : left + VALUES]
            if centered:
                average, m2 = merge(piece, left, average, m2)
            else:
                square = x.dtype.type(0)
                for at in range(len(piece)):
                    square = add(square, piece[at] * piece[at])
                m2 += np.float64(square)
        if m2 < 0:  # a rounding error of nothing
            m2 = 0.0
        mean[row] = average
        var[row] = m2 / size
        r = 1 / np.sqrt(var[row] + eps)
        center, factor = x.dtype.type(average), x.dtype.type(r)
        missed = x.dtype.type((center - average) * r)
        line, out = x[row], y[row]
        for at in range(size):
            out[at] = ((line[at] - center) * factor + missed) * gamma[at] + beta[at]


def layer_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    r: Array,
    centered: bool,
    dgamma: Array,
    dbeta: Array,
    dx: Array,
    bounds: Bounds,
    first: int,
    last: int,
) -> None:
    """Give the gradients of :func:`layer_forward`; those of gamma and beta for each part."""
    size = x.shape[1]
    ones, along = np.empty(size, x.dtype), np.empty(size, x.dtype)
    for part in range(first, last):
        dgamma[part] = 0
        dbeta[part] = 0
        for top in range(bounds[part], bounds[part + 1], ROWS):
            ones[:] = 0
            along[:] = 0
            for row in range(top, min(top + ROWS, bounds[part + 1])):
                center, factor = x.dtype.type(mean[row]), x.dtype.type(r[row])
                missed = x.dtype.type((center - mean[row]) * r[row])
                along_ones = along_xhat = 0.0
                for left in range(0, size, VALUES):
                    piece = slice(left, left + VALUES)
                    line, upstream, scale = x[row, piece], dy[row, piece], gamma[piece]
                    sums, products = ones[piece], along[piece]
                    total = product = x.dtype.type(0)
                    for at in range(len(line)):
                        xhat = (line[at] - center) * factor + missed
                        dxhat = upstream[at] * scale[at]
                        sums[at] += upstream[at]
                        products[at] += upstream[at] * xhat
                        total = add(total, dxhat)
                        product = add(product, dxhat * xhat)
                    along_ones += np.float64(total)
                    along_xhat += np.float64(product)
                a = x.dtype.type(along_ones / size if centered else 0.0)
                b = x.dtype.type(along_xhat / size)
                line, upstream, out = x[row], dy[row], dx[row]
                for at in range(size):
                    xhat = (line[at] - center) * factor + missed
                    out[at] = (upstream[at] * gamma[at] - a - xhat * b) * factor
            for column in range(size):
                dbeta[part, column] += ones[column]
                dgamma[part, column] += along[column]
