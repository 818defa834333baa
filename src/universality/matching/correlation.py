"""Best-match Pearson correlation between two sets of sparse features, exactly.

Most features are 0 almost everywhere, so the sums behind the correlation need only the positions
where both fire: with S = A' B, means m and standard deviations s over n positions,
r = (S / n - m_a m_b') / (s_a s_b'). S is made for a block of A's features at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

Sparse = Any
"""A scipy CSR matrix `(n_positions, n_features)`; scipy has no types that a checker can use."""


@dataclass(frozen=True)
class Moments:
    """Mean, standard deviation (population) and firing positions of every feature, `(d,)`."""

    mean: np.ndarray
    sd: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class Matches:
    """The k best partners of every feature, best first, `(d, k)` each.

    Where there is no partner (the feature is constant, or fewer than k are left) `found` is
    false, `partner` -1 and `r` 0.
    """

    partner: np.ndarray
    r: np.ndarray
    found: np.ndarray


def moments(features: Sparse) -> Moments:
    """Return the moments of the columns of `(n, d)`; `sd` is exactly 0 for constant features."""
    columns: Any = sp.csc_matrix(features, dtype=np.float64, copy=True)
    columns.eliminate_zeros()
    n = columns.shape[0]
    count = np.diff(columns.indptr)
    mean = np.asarray(columns.sum(axis=0)).ravel() / n
    high, low = (np.asarray(f(axis=0).todense()).ravel() for f in (columns.max, columns.min))
    # Around the mean, in a second pass: sum(x^2) - n mean^2 would lose digits.
    columns.data -= np.repeat(mean, count)
    columns.data **= 2
    squares = np.asarray(columns.sum(axis=0)).ravel() + (n - count) * mean**2
    return Moments(mean, np.where(high > low, np.sqrt(squares / n), 0.0), count)


def best_matches(
    a: Sparse,
    b: Sparse,
    *,
    k: int = 1,
    block_features: int = 512,
    exclude_self: bool = False,
) -> tuple[Matches, Matches]:
    """Return the k best partners in B of every feature of A, and in A of every feature of B.

    `a` is `(n, d_a)` and `b` `(n, d_b)`, rows being the same positions. Best is the highest signed
    correlation; of equal ones the lower index. `exclude_self` bars feature i from partner i (for
    one set of features against itself). Memory is O(block_features * d_b).
    """
    pair = _prepare(a, b)
    d_a, d_b = a.shape[1], b.shape[1]
    forward = _no_matches(d_a, min(k, d_b))
    backward = _no_matches(d_b, min(k, d_a))
    for block, r in _correlation_blocks(pair, block_features, exclude_self):
        b_indices = np.broadcast_to(np.arange(d_b), r.shape)
        forward[0][block], forward[1][block] = _top(r, b_indices, min(k, d_b))
        # B's best so far compete with this block; they come first, so ties keep the lower index.
        rivals = np.concatenate([backward[1], r.T], axis=1)
        a_indices = np.broadcast_to(np.arange(block.start, block.stop), r.T.shape)
        indices = np.concatenate([backward[0], a_indices], axis=1)
        backward = _top(rivals, indices, min(k, d_a))
    return _finish(*forward), _finish(*backward)


def best_r_under_shifts(
    a: Sparse,
    b: Sparse,
    offsets: np.ndarray,
    *,
    block_features: int = 512,
    exclude_self: bool = False,
) -> np.ndarray:
    """Return the best r of every feature of A with B's rows shifted: `(n_offsets, d_a)`.

    Offset o puts row i of B at row i + o, circularly. Moments do not change by it, so this is
    `best_matches` on shifted rows at a fraction of the cost; 0 where there is no partner.
    """
    pair = _prepare(a, b)
    best = np.zeros((len(offsets), a.shape[1]))
    for index, offset in enumerate(offsets):
        blocks = _correlation_blocks(pair, block_features, exclude_self, int(offset))
        for block, r in blocks:
            best[index, block] = r.max(axis=1, initial=-np.inf)
    return np.where(best > -np.inf, best, 0.0)


@dataclass(frozen=True)
class _Pair:
    a: Any
    b: Sparse
    a_moments: Moments
    b_moments: Moments


def _prepare(a: Sparse, b: Sparse) -> _Pair:
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"A has {a.shape[0]} positions and B {b.shape[0]}")
    return _Pair(sp.csc_matrix(a), sp.csr_matrix(b), moments(a), moments(b))


def _correlation_blocks(
    pair: _Pair, block_features: int, exclude_self: bool, shift: int = 0
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of A's features and their r with all of B, -inf where there is none."""
    n, d_a = pair.a.shape
    d_b = pair.b.shape[1]
    for first in range(0, d_a, block_features):
        block = slice(first, min(first + block_features, d_a))
        r = np.zeros((block.stop - first, d_b))
        _add_cofirings(*_parts(pair.a), *_parts(pair.b), first, shift, r)
        mean, sd = pair.a_moments.mean[block, None], pair.a_moments.sd[block, None]
        scale = sd * pair.b_moments.sd
        varies = scale > 0
        r /= n
        r -= mean * pair.b_moments.mean
        np.divide(r, scale, out=r, where=varies)
        np.clip(r, -1, 1, out=r)
        r[~varies] = -np.inf
        if exclude_self:
            own = np.arange(first, min(block.stop, d_b))
            r[own - first, own] = -np.inf
        yield block, r


def _parts(matrix: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # One set of types, so that the kernel is compiled once.
    return (
        matrix.indptr.astype(np.int64, copy=False),
        matrix.indices.astype(np.int32, copy=False),
        matrix.data.astype(np.float32 if matrix.dtype == np.float32 else np.float64, copy=False),
    )


@numba.njit(parallel=True, cache=False)
def _add_cofirings(
    a_indptr, a_rows, a_values, b_indptr, b_columns, b_values, first, shift, sums
):  # pragma: no cover  (compiled)
    """Add sum over positions of a * b to `sums` `(block, d_b)`; each row belongs to one thread."""
    n = len(b_indptr) - 1
    for i in numba.prange(sums.shape[0]):
        for p in range(a_indptr[first + i], a_indptr[first + i + 1]):
            row = (a_rows[p] - shift) % n
            value = np.float64(a_values[p])
            for q in range(b_indptr[row], b_indptr[row + 1]):
                sums[i, b_columns[q]] += value * b_values[q]


def _no_matches(d: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((d, k), -1, dtype=np.int64), np.full((d, k), -np.inf)


def _top(r: np.ndarray, indices: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices and values of the k largest of each row, largest first."""
    r, rows = r.copy(), np.arange(len(r))
    partner, best = _no_matches(len(r), k)
    for rank in range(k):
        at = np.argmax(r, axis=1)
        partner[:, rank], best[:, rank] = indices[rows, at], r[rows, at]
        r[rows, at] = -np.inf
    return partner, best


def _finish(partner: np.ndarray, r: np.ndarray) -> Matches:
    found = r > -np.inf
    return Matches(np.where(found, partner, -1), np.where(found, r, 0.0), found)
