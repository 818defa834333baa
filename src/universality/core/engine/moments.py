"""Moments of sparse features, in two passes over what fires."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from universality.core.engine import kernels
from universality.core.engine.sparse_file import SparseFile

Sparse = Any
"""A CSR matrix `(n_positions, n_features)`: anything with `indptr`, `indices`, `data` and `shape`,
scipy's or one that is read from a file as it is needed (`io.open_sparse`)."""

PARTS = 16
"""Parts of the positions that are worked on in parallel; fixed, so that sums do not depend on how
many threads there are."""


@dataclass(frozen=True)
class Moments:
    """Mean, standard deviation (population) and firing positions of every feature, `(d,)`."""

    mean: np.ndarray
    sd: np.ndarray
    count: np.ndarray


def moments(features: Sparse) -> Moments:
    """Return the moments of the columns of `(n, d)`; `sd` is exactly 0 for constant features.

    Raises ValueError on NaN or infinity.
    """
    n, d = features.shape
    counts, totals = np.zeros((PARTS, d), dtype=np.int64), np.zeros((PARTS, d))
    lows, highs, squares = np.full_like(totals, np.inf), np.full_like(totals, -np.inf), totals * 0
    for arrays, bounds, part in passes(features):
        kernels.extent(*arrays, bounds, counts[part], totals[part], lows[part], highs[part])
    count, mean = counts.sum(0), totals.sum(0) / n
    if not np.isfinite(mean).all():
        raise ValueError("features hold NaN or infinity")
    # Around the mean, in a second pass: sum(x^2) - n mean^2 would lose digits.
    for arrays, bounds, part in passes(features):
        kernels.squares(*arrays, bounds, mean, squares[part])
    square = squares.sum(0) + (n - count) * mean**2
    # A feature is 0 where it does not fire.
    low, high, rests = lows.min(0), highs.max(0), count < n
    varies = np.where(rests, np.maximum(high, 0) > np.minimum(low, 0), high > low)
    return Moments(mean, np.where(varies, np.sqrt(square / n), 0.0), count)


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def passes(matrix: Sparse) -> Iterator[tuple[Arrays, np.ndarray, slice]]:
    """Yield what the kernels need to go over all positions: arrays, bounds of parts, which parts.

    A matrix in memory is one turn. One in a file is four, after each of which its pages are let
    go, so that a quarter of it is resident at most.
    """
    values = matrix.data
    arrays = (
        matrix.indptr.astype(np.int64, copy=False),
        matrix.indices.astype(np.int32, copy=False),
        values.astype(np.float32 if values.dtype.itemsize <= 4 else np.float64, copy=False),
    )
    bounds = np.linspace(0, matrix.shape[0], PARTS + 1).astype(np.int64)
    step = PARTS // 4 if isinstance(matrix, SparseFile) else PARTS
    for first in range(0, PARTS, step):
        yield arrays, bounds[first : first + step + 1], slice(first, first + step)
        if isinstance(matrix, SparseFile):
            matrix.let_go()
