"""Compiled loops of a training step that touches only the active features.

Active features are kept as padded rows: `index` `(B, capacity)` int32, ascending in each row, a
value array of the same shape, and `count` `(B,)`, how many of each row are in use. `decoder` and
`encoder` are `(d_sae, d_in)`, a feature's direction being one contiguous row. Every loop gives the
same sums in the same order whatever the number of threads, and whoever compiled it: without
numba's `fastmath`, that is. With it the order of a sum is the compiler's choice, and numba compiles
the body of a parallel loop twice, alone and inside its caller; the process that compiles runs the
first, one that loads from the cache the second, with other last bits.
"""

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

_parallel = numba.njit(parallel=True, cache=True, error_model="numpy")
_LANES = 16
"""Partial sums of an inner product, which fill whole vector registers."""
_ROWS = 16
"""Rows that one turn of a loop over the batch takes; a row's threshold is guessed from the last."""


@intrinsic
def _dot_of_whole_lanes(context, a, b):
    """Return the inner product of two contiguous rows up to the last multiple of `_LANES`.

    Written in the compiler's own terms, since numba makes vectors of a sum only if it may choose
    the order. Lanes are added up in halves.
    """
    if not a.layout == b.layout == "C":
        raise TypingError(f"rows are not contiguous: {a}, {b}")

    def generate(context, builder, signature, arguments):
        rows = [
            context.make_array(kind)(context, builder, row)
            for kind, row in zip(signature.args, arguments, strict=True)
        ]
        (length,) = cgutils.unpack_tuple(builder, rows[0].shape)
        lanes = ir.VectorType(ir.FloatType(), _LANES)
        total = cgutils.alloca_once_value(builder, ir.Constant(lanes, [0.0] * _LANES))
        width = ir.Constant(length.type, _LANES)
        with cgutils.for_range(builder, builder.udiv(length, width)) as loop:
            starts = [builder.gep(row.data, [builder.mul(loop.index, width)]) for row in rows]
            x, y = (builder.load(builder.bitcast(s, lanes.as_pointer()), align=4) for s in starts)
            builder.store(builder.fadd(builder.load(total), builder.fmul(x, y)), total)
        sums = builder.load(total)
        places = (ir.Constant(ir.IntType(32), j) for j in range(_LANES))
        parts = [builder.extract_element(sums, place) for place in places]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [builder.fadd(*pair) for pair in zip(parts[:half], parts[half:], strict=True)]
        return parts[0]

    return types.float32(a, b), generate


@numba.njit(cache=True)
def _dot(a, b):
    """Return the inner product of two contiguous rows."""
    s = _dot_of_whole_lanes(a, b)  # pyright: ignore[reportCallIssue]
    for j in range(len(a) // _LANES * _LANES, len(a)):
        s += a[j] * b[j]
    return s


@_parallel
def count_above(pre, bias, scale, cut):
    """Return how many of each row of `(pre + bias) * scale` `(B, d_sae)` exceed `cut`."""
    n, width = pre.shape
    count = np.empty(n, dtype=np.int64)
    for i in numba.prange(n):
        c = 0
        for j in range(width):
            c += (pre[i, j] + bias[j]) * scale[j] > cut[j]
        count[i] = c
    return count


@_parallel
def select_above(pre, bias, scale, cut, capacity):
    """Return index and `pre` of the entries where `(pre + bias) * scale > cut`, padded with 0."""
    n, width = pre.shape
    index = np.zeros((n, capacity), dtype=np.int32)
    value = np.zeros((n, capacity), dtype=np.float32)
    count = np.zeros(n, dtype=np.int64)
    for i in numba.prange(n):
        place = np.empty(width + 1, dtype=np.int32)
        c = 0
        for j in range(width):
            place[c] = j
            c += (pre[i, j] + bias[j]) * scale[j] > cut[j]
        c = min(c, capacity)
        count[i] = c
        for m in range(c):
            index[i, m] = place[m]
            value[i, m] = pre[i, place[m]]
    return index, value, count


@_parallel
def compress(index, value, keep):
    """Return those entries of padded rows that are in `keep`, of the same shape, as padded rows."""
    n, capacity = index.shape
    count = np.zeros(n, dtype=np.int64)
    for i in numba.prange(n):
        c = 0
        for m in range(capacity):
            if keep[i, m]:
                c += 1
        count[i] = c
    most = max(1, count.max())
    chosen, kept = np.zeros((n, most), dtype=np.int32), np.zeros((n, most), dtype=np.float32)
    for i in numba.prange(n):
        c = 0
        for m in range(capacity):
            if keep[i, m]:
                chosen[i, c], kept[i, c] = index[i, m], value[i, m]
                c += 1
    return chosen, kept, count


@numba.njit(fastmath={"reassoc"}, cache=True)
def _number_above(score, cut):
    # Counting in floats lets the compiler use whole vectors; counts are exact in any order.
    c = np.float32(0)
    for j in range(len(score)):
        c += np.float32(1) if score[j] > cut else np.float32(0)
    return c


@_parallel
def select_topk(pre, bias, scale, k):
    """Return the k largest `(pre + bias) * scale` of each row, in the form of `select_above`.

    The k-th value is found by halving an interval: a count over a row in cache is cheaper than any
    sorting. Of equal values the first are taken.
    """
    n, width = pre.shape
    index = np.zeros((n, k), dtype=np.int32)
    value = np.zeros((n, k), dtype=np.float32)
    count = np.zeros(n, dtype=np.int64)
    for block in numba.prange((n + _ROWS - 1) // _ROWS):
        score = np.empty(width, dtype=np.float32)
        place = np.empty(width + 1, dtype=np.int32)
        low, high = np.float32(0), np.float32(1)
        for i in range(block * _ROWS, min(n, (block + 1) * _ROWS)):
            for j in range(width):
                score[j] = (pre[i, j] + bias[j]) * scale[j]
            # The interval of the last row, moved until it holds the k-th value: low < it <= high.
            step = np.float32(0.1) * abs(low) + np.float32(1e-6)
            high = low + step
            # Bounded, because NaN (training that diverged) compares as false for ever.
            for _ in range(300):
                if _number_above(score, high) < k:
                    break
                low, step = high, step * np.float32(2)
                high = low + step
            for _ in range(300):
                if _number_above(score, low) >= k:
                    break
                high, step = low, step * np.float32(2)
                low = high - step
            c = width
            while c > k:
                middle = low + (high - low) * np.float32(0.5)
                if not low < middle < high:
                    break
                c = _number_above(score, middle)
                if c >= k:
                    low = middle
                else:
                    high, c = middle, width
            c = 0
            for j in range(width):
                place[c] = j
                c += score[j] > low
            # More than k only if several equal the k-th: the last of those are left out.
            spare = c - k
            for m in range(c - 1, -1, -1):
                if spare > 0 and score[place[m]] <= high:
                    place[m] = -1
                    spare -= 1
            used = 0
            for m in range(c):
                if place[m] >= 0 and used < k:  # NaN again: nothing may be written past the end
                    index[i, used] = place[m]
                    value[i, used] = pre[i, place[m]]
                    used += 1
            count[i] = used
    return index, value, count


@_parallel
def decode(index, value, count, decoder, b_dec, x, levels):
    """Return the error of nested reconstructions and its dot product with each active decoder row.

    `levels` `(L,)` are ascending widths; level l reconstructs from the features below `levels[l]`
    (a plain SAE has one level, d_sae). `error` `(L, B, d_in)` is reconstruction minus `x`, summed
    over level l and those above, which is what a feature of level l gets as its gradient; `last`
    `(B, d_in)` that of the last level alone; `dot` has the shape of `index`; `loss` `(L, B)`.
    """
    n, capacity = index.shape
    d = x.shape[1]
    error = np.empty((len(levels), n, d), dtype=np.float32)
    dot = np.zeros((n, capacity), dtype=np.float32)
    loss = np.empty((len(levels), n), dtype=np.float64)
    last = np.empty((n, d), dtype=np.float32)
    for i in numba.prange(n):
        m = 0
        current = np.empty(d, dtype=np.float32)
        for j in range(d):
            current[j] = b_dec[j] - x[i, j]
        for level in range(len(levels)):
            while m < count[i] and index[i, m] < levels[level]:
                row, a = decoder[index[i, m]], value[i, m]
                for j in range(d):
                    current[j] += a * row[j]
                m += 1
            for j in range(d):
                error[level, i, j] = current[j]
            loss[level, i] = _dot(current, current)
        for j in range(d):
            last[i, j] = current[j]
        for level in range(len(levels) - 2, -1, -1):
            for j in range(d):
                error[level, i, j] += error[level + 1, i, j]
        level = 0
        for m in range(count[i]):
            while index[i, m] >= levels[level]:
                level += 1
            dot[i, m] = _dot(error[level, i], decoder[index[i, m]])
    return error, last, dot, loss


@numba.njit(cache=True)
def by_feature(index, count, d_sae, n_blocks):
    """Return the active entries feature by feature, and a split of the features into blocks.

    `start` `(d_sae + 1,)` bounds each feature's entries in `row` and `slot` (where the entry is in
    the padded rows); `block` `(n_blocks + 1,)` are features between which the entries are shared
    out evenly, since a few features hold many of them.
    """
    start = np.zeros(d_sae + 1, dtype=np.int64)
    n = len(count)
    for i in range(n):
        for m in range(count[i]):
            start[index[i, m] + 1] += 1
    for f in range(d_sae):
        start[f + 1] += start[f]
    total = start[d_sae]
    row, slot = np.empty(total, dtype=np.int32), np.empty(total, dtype=np.int32)
    at = start[:-1].copy()
    for i in range(n):
        for m in range(count[i]):
            place = at[index[i, m]]
            row[place], slot[place] = i, m
            at[index[i, m]] = place + 1
    block = np.zeros(n_blocks + 1, dtype=np.int64)
    # A feature without entries costs something too: its gradient is set to 0.
    f, share = 0, (total + d_sae) / n_blocks
    for b in range(1, n_blocks):
        while f < d_sae and start[f] + f < b * share:
            f += 1
        block[b] = f
    block[n_blocks] = d_sae
    return start, row, slot, block


@_parallel
def outer_sums(start, row, slot, block, weight, vectors, levels, out, add):
    """Set `out[f]`, or add to it, to the sum over f's entries of weight times vector.

    `weight` has the padded shape, `vectors` is `(L, B, d)`, of which a feature takes its level's
    and an entry its row's; `out` is `(d_sae, d)`.
    """
    d = out.shape[1]
    for b in numba.prange(len(block) - 1):
        level = 0
        for f in range(block[b], block[b + 1]):
            while f >= levels[level]:
                level += 1
            target = out[f]
            if not add:
                for j in range(d):
                    target[j] = 0
            for place in range(start[f], start[f + 1]):
                i = row[place]
                w, source = weight[i, slot[place]], vectors[level, i]
                for j in range(d):
                    target[j] += w * source[j]


@_parallel
def feature_sums(start, row, slot, block, weight):
    """Return the sum of `weight` over each feature's entries, `(d_sae,)`."""
    out = np.zeros(len(start) - 1, dtype=np.float32)
    for b in numba.prange(len(block) - 1):
        for f in range(block[b], block[b + 1]):
            s = 0.0
            for place in range(start[f], start[f + 1]):
                s += weight[row[place], slot[place]]
            out[f] = s
    return out


@_parallel
def square_sum(a):
    """Return the sum of squares of `(n, d)`, in float64."""
    part = np.zeros(len(a))
    for i in numba.prange(len(a)):
        part[i] = _dot(a[i], a[i])
    total = 0.0
    for i in range(len(part)):  # `part.sum()` would be split over as many threads as there are
        total += part[i]
    return total


@_parallel
def adam(parameter, gradient, first, second, clip, step_size, root, beta1, beta2, epsilon):
    """Take one step of Adam on `(n, d)` in place, as torch does, with gradients scaled by `clip`.

    `step_size` is lr / (1 - beta1^t), `root` is sqrt(1 - beta2^t).
    """
    for i in numba.prange(len(parameter)):
        for j in range(parameter.shape[1]):
            g = gradient[i, j] * clip
            m = first[i, j] + (g - first[i, j]) * (np.float32(1) - beta1)
            v = second[i, j] * beta2 + g * g * (np.float32(1) - beta2)
            first[i, j], second[i, j] = m, v
            parameter[i, j] -= step_size * m / (np.sqrt(v) / root + epsilon)
