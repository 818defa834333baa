"""Compiled loops of the matching engine.

A sparse matrix comes as the arrays of its CSR form. Nothing depends on the number of threads:
every sum is made by one thread in the order of the positions, and of equal scores the feature with
the lower number wins.
"""

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

NONE = -2.0
"""Below every score: what stands where there is no partner yet."""
_PART = 256
"""Features whose scores are made at a time, so that they stay in the nearest cache."""

_AHEAD = 6
"""Rows of B that are on their way from memory while one is added."""

_parallel = numba.njit(parallel=True, cache=True)
_single = numba.njit(cache=True)


# The loops over a whole matrix take `bounds` `(parts + 1,)`: the positions, or some of them, cut
# into parts, each of which is worked on by one thread.


@_parallel
def extent(indptr, indices, data, bounds, count, total, low, high):
    """Update count, sum, lowest and highest of each feature's non-zeros, `(parts, d)` each."""
    for part in numba.prange(len(bounds) - 1):
        for p in range(indptr[bounds[part]], indptr[bounds[part + 1]]):
            j, x = indices[p], np.float64(data[p])
            if x != 0:
                count[part, j] += 1
                total[part, j] += x
                low[part, j] = min(low[part, j], x)
                high[part, j] = max(high[part, j], x)


@_parallel
def squares(indptr, indices, data, bounds, mean, total):
    """Add (x - mean)^2 of each feature's non-zeros to `total` `(parts, d)`."""
    for part in numba.prange(len(bounds) - 1):
        for p in range(indptr[bounds[part]], indptr[bounds[part + 1]]):
            j, x = indices[p], np.float64(data[p])
            if x != 0:
                total[part, j] += (x - mean[j]) ** 2


@_parallel
def count_rows(indptr, indices, data, bounds, rank, first, last, count):
    """Count the entries of each position whose feature is ranked `first` to `last`, `(n,)`."""
    for part in numba.prange(len(bounds) - 1):
        for row in range(bounds[part], bounds[part + 1]):
            c = 0
            for p in range(indptr[row], indptr[row + 1]):
                c += first <= rank[indices[p]] < last and data[p] != 0
            count[row] = c


@_parallel
def fill_rows(indptr, indices, data, bounds, rank, first, last, start, entries):
    """Copy those entries into rows that begin at `start`, features numbered from 0."""
    for part in numba.prange(len(bounds) - 1):
        for row in range(bounds[part], bounds[part + 1]):
            at = start[row]
            for p in range(indptr[row], indptr[row + 1]):
                r = rank[indices[p]]
                if first <= r < last and data[p] != 0:
                    entries[at].feature, entries[at].value = r - first, data[p]
                    at += 1


@_parallel
def count_columns(indptr, indices, data, bounds, rank, first, last, count):
    """Count the entries of each feature ranked `first` to `last`, `(parts, last - first)`."""
    for part in numba.prange(len(bounds) - 1):
        for p in range(indptr[bounds[part]], indptr[bounds[part + 1]]):
            r = rank[indices[p]]
            if first <= r < last and data[p] != 0:
                count[part, r - first] += 1


@_parallel
def fill_columns(indptr, indices, data, bounds, rank, first, last, start, rows, values):
    """Copy positions and values of those features, one after the other.

    `start` `(parts, last - first)` is where each part writes each feature's entries; it moves on.
    """
    for part in numba.prange(len(bounds) - 1):
        for row in range(bounds[part], bounds[part + 1]):
            for p in range(indptr[row], indptr[row + 1]):
                r = rank[indices[p]]
                if first <= r < last and data[p] != 0:
                    at = start[part, r - first]
                    rows[at], values[at] = row, data[p]
                    start[part, r - first] = at + 1


@intrinsic
def _prefetch(context, array, index):
    """Ask for the memory of `array[index]`, to be there when it is needed."""

    def generate(context, builder, signature, arguments):
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [byte, number, number, number]),
            "llvm.prefetch.p0i8",
        )
        place = builder.bitcast(builder.gep(view.data, [arguments[1]]), byte)
        # To read; into the nearest cache; data, not code.
        builder.call(function, [place, *(ir.Constant(number, option) for option in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, index), generate


@_single
def _add_row(sums, entries, weight):
    """Add `weight` times a row's values to `sums`."""
    for m in range(len(entries)):
        sums[entries[m].feature] += weight * entries[m].value


@_single
def _insert(names, scores, name, score):
    """Put a partner into its place among the best, best first; drop the last if it gets in."""
    m = len(scores)
    while m > 0 and (score > scores[m - 1] or (score == scores[m - 1] and name < names[m - 1])):
        m -= 1
    for place in range(len(scores) - 1, m, -1):
        scores[place], names[place] = scores[place - 1], names[place - 1]
    if m < len(scores):
        scores[m], names[m] = score, name


@numba.njit(fastmath={"nnan", "nsz"}, cache=True)  # maxima in whole vectors
def _score(sums, scale, offset, own_scale, own_offset, jaccard, least, scores):
    """Turn sums into scores and set them to 0; return the best, and the most above `least`."""
    if jaccard:
        for j in range(len(sums)):
            scores[j] = sums[j] / (own_scale + scale[j] - sums[j])
            sums[j] = 0
    else:
        for j in range(len(sums)):
            s = sums[j] * own_scale * scale[j] - own_offset * offset[j]
            s = s if s < 1.0 else 1.0
            scores[j] = s if s > -1.0 else -1.0
            sums[j] = 0
    top, gap = NONE, 2 * NONE
    for j in range(len(sums)):
        top = scores[j] if scores[j] > top else top
        above = scores[j] - least[j]
        gap = above if above > gap else gap
    return top, gap


@_single
def _row(position, shift, n):
    row = np.int64(position) - shift
    return row + n if row < 0 else row


@_single
def _add_column(sums, rows, values, b_start, b_entries, shift):
    """Add the products of one feature of A, its positions and values, with B's to `sums`."""
    n = len(b_start) - 1
    per_line = max(1, 64 // b_entries.itemsize)
    for p in range(len(rows)):
        # B's rows lie anywhere in memory: without this, waiting for them is all there is.
        if p + _AHEAD < len(rows):
            row = _row(rows[p + _AHEAD], shift, n)
            at = b_start[row]
            while at < b_start[row + 1]:
                _prefetch(b_entries, at)  # pyright: ignore[reportCallIssue]
                at += per_line
        row = _row(rows[p], shift, n)
        _add_row(sums, b_entries[b_start[row] : b_start[row + 1]], np.float64(values[p]))


@_parallel
def scan(
    start, rows, values, a_scale, a_offset, a_name, own,
    b_start, b_entries, b_scale, b_offset, b_name,
    shift, jaccard, forward, forward_score, backward, backward_score,
):  # fmt: skip
    """Compare features of A `(n_a,)` with features of B `(n_b,)`; keep the best partners of both.

    A's come feature by feature (`start` bounds `rows` and `values`), B's position by position.
    A's position i meets B's position i - shift. The score of sums S over positions of a * b is
    S * a_scale * b_scale - a_offset * b_offset or, for `jaccard` (values are 1 and scales are
    counts), S / (a_scale + b_scale - S). Partners are kept by name, best first: of A's features in
    `forward` `(n_a, k)`, of B's, one array per thread, in `backward` `(threads, k, n_b)`. `own` is
    the feature of B that each of A's may not have, or -1.
    """
    n_b, threads = len(b_scale), len(backward)
    for thread in numba.prange(threads):
        sums, scores = np.zeros(n_b), np.empty(_PART)
        least = backward_score[thread, -1]
        for i in range(thread, len(start) - 1, threads):
            column = slice(start[i], start[i + 1])
            _add_column(sums, rows[column], values[column], b_start, b_entries, shift)
            for first in range(0, n_b, _PART):
                last = min(first + _PART, n_b)
                part = slice(first, last)
                top, gap = _score(
                    sums[part], b_scale[part], b_offset[part], a_scale[i], a_offset[i], jaccard,
                    least[part], scores,
                )  # fmt: skip
                if first <= own[i] < last:
                    scores[own[i] - first] = NONE
                if top >= forward_score[i, -1]:
                    for j in range(last - first):
                        if scores[j] > NONE and scores[j] >= forward_score[i, -1]:
                            _insert(forward[i], forward_score[i], b_name[first + j], scores[j])
                if gap >= 0:
                    for j in range(last - first):
                        if scores[j] > NONE and scores[j] >= least[first + j]:
                            _insert(
                                backward[thread, :, first + j],
                                backward_score[thread, :, first + j],
                                a_name[i],
                                scores[j],
                            )


@_parallel
def sum_products(start, rows, values, b_start, b_entries, shift, sums):
    """Add the sum over positions of a * b to `sums` `(n_a, n_b)`; see `scan`."""
    for i in numba.prange(len(sums)):
        column = slice(start[i], start[i + 1])
        _add_column(sums[i], rows[column], values[column], b_start, b_entries, shift)


@_parallel
def merge(best, best_score, others, other_scores):
    """Let the partners in `others` `(m, k, n)` compete with those in `best` `(k, n)`."""
    for j in numba.prange(best.shape[1]):
        for m in range(len(others)):
            for rank in range(len(best)):
                if other_scores[m, rank, j] > NONE:
                    name, score = others[m, rank, j], other_scores[m, rank, j]
                    _insert(best[:, j], best_score[:, j], name, score)
