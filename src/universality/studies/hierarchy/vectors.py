"""Whitened representations and the vectors of concepts in them.

Park, Choe, Jiang & Veitch 2024 (arXiv 2406.01506). Whitening is in float64: a covariance over a
vocabulary has eigenvalues that differ by many orders of magnitude. Whitened rows may be float32:
products are then summed in it, and solved in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

Estimator = Literal["lda", "lda_unshrunk", "mean"]


@dataclass(frozen=True)
class Whitening:
    """The map of rows x to g = (x - mean) `root_inverse`, whose covariance is 1 (their eq. 2)."""

    mean: np.ndarray
    """`(d,)`"""
    root: np.ndarray
    """Cov^(1/2), `(d, d)`, symmetric."""
    root_inverse: np.ndarray
    """Cov^(-1/2), `(d, d)`, symmetric."""

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return whitened `rows` `(n, d)`."""
        return (rows - self.mean) @ self.root_inverse


def whitening(rows: np.ndarray, causal: bool = True, smallest: float = 1e-6) -> Whitening:
    """Return the whitening by the mean and covariance of `rows` `(n, d)`.

    If not `causal` only the mean is taken off, the Euclidean ablation. Directions with less than
    `smallest` times the largest variance are raised to it: rows that lie in a subspace, as those
    of fewer rows than columns, would blow up nothing but rounding errors.
    """
    rows = np.asarray(rows, dtype=np.float64)
    mean, d = rows.mean(axis=0), rows.shape[1]
    if not causal:
        return Whitening(mean, np.eye(d), np.eye(d))
    centred = rows - mean
    variances, directions = np.linalg.eigh(centred.T @ centred / len(rows))
    if not variances[-1] > 0:
        raise ValueError("rows that are all alike have no covariance to whiten with")
    scale = np.sqrt(np.maximum(variances, smallest * variances[-1]))
    return Whitening(mean, (directions * scale) @ directions.T, (directions / scale) @ directions.T)


@dataclass(frozen=True)
class Moments:
    """Sums over rows g `(n, d)` from which a concept's vector follows; those of parts add up."""

    n: int
    total: np.ndarray
    """Of g, `(d,)`."""
    products: np.ndarray
    """Of g g', `(d, d)`."""
    weighted: np.ndarray
    """Of |g|^2 g, `(d,)`."""
    squares: float
    """Of |g|^2."""
    fourth: float
    """Of |g|^4."""

    @classmethod
    def of(cls, rows: np.ndarray) -> "Moments":
        """Return the sums over `rows` `(n, d)`."""
        squares = np.einsum("ij,ij->i", rows, rows)
        exact = squares.astype(np.float64)
        return cls(
            len(rows), rows.sum(axis=0, dtype=np.float64), (rows.T @ rows).astype(np.float64),
            (squares @ rows).astype(np.float64), float(exact.sum()), float(exact @ exact),
        )  # fmt: skip

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(*(a + b for a, b in zip(_parts(self), _parts(other), strict=True)))

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(*(a - b for a, b in zip(_parts(self), _parts(other), strict=True)))

    def centred_fourth(self, mean: np.ndarray) -> float:
        """Return the sum of |g - mean|^4."""
        length = mean @ mean
        of_products = 4 * (mean @ self.products @ mean) - 4 * self.weighted @ mean
        rest = self.n * length**2 + 2 * length * self.squares - 4 * length * self.total @ mean
        return float(self.fourth + of_products + rest)


def _parts(moments: Moments) -> tuple[Any, ...]:
    return tuple(vars(moments).values())


def concept_vector(given: np.ndarray | Moments, estimator: Estimator = "lda") -> np.ndarray:
    """Return l_w `(d,)` of a concept from the whitened representations of its tokens.

    These are `given` as rows `(n, d)` or as their sums. lda: l = C^(-1) m, C Ledoit and Wolf's
    shrunk covariance of the rows and m their mean, scaled to (l . m / |l|^2) l, so that projections
    on it have mean 1 (their eq. 8; l_w . l_w = l_w . m). `lda_unshrunk` has the plain covariance,
    inverted where it is not 0. `mean` is m itself. The system is solved, never inverted, with n or
    d unknowns, whichever are fewer.
    """
    if isinstance(given, Moments):
        mean = given.total / given.n
        direction = mean if estimator == "mean" else _by_moments(given, mean, estimator)
    else:
        mean = given.mean(axis=0, dtype=np.float64)
        if estimator == "mean":
            direction = mean
        elif len(given) >= given.shape[1]:
            direction = _by_moments(Moments.of(given), mean, estimator)
        else:
            direction = _by_rows(given - mean.astype(given.dtype), mean, estimator)
    length = direction @ direction
    if length == 0:
        return np.zeros(len(mean))
    return (direction @ mean / length) * direction


def _by_moments(moments: Moments, mean: np.ndarray, estimator: Estimator) -> np.ndarray:
    """Solve for the direction with d unknowns."""
    n, d = moments.n, len(mean)
    gram = moments.products - n * np.outer(mean, mean)
    intensity, level = shrinkage(
        gram, n, d, float(moments.squares - n * (mean @ mean)), moments.centred_fourth(mean)
    )
    if estimator == "lda_unshrunk" or intensity == 0:
        return _pseudo_solved(gram, mean, None)
    gram *= (1 - intensity) / n
    gram[np.diag_indices_from(gram)] += intensity * level
    return _solved(gram, mean)


def _by_rows(centred: np.ndarray, mean: np.ndarray, estimator: Estimator) -> np.ndarray:
    """Solve for the direction with n unknowns: Woodbury's identity."""
    n, d = centred.shape
    gram = (centred @ centred.T).astype(np.float64)
    lengths = np.diag(gram).copy()
    intensity, level = shrinkage(gram, n, d, float(lengths.sum()), float(lengths @ lengths))
    if estimator == "lda_unshrunk" or intensity == 0:
        once = _pseudo_solved(gram, centred @ mean, np.ones(n))
        return centred.T.astype(np.float64) @ _pseudo_solved(gram, once, np.ones(n))
    if intensity == 1:
        return mean
    gram[np.diag_indices_from(gram)] += n * intensity * level / (1 - intensity)
    return mean - centred.T @ _solved(gram, centred @ mean)


def _solved(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return matrix^(-1) right.

    Of a few rows in float32 that hardly shrink, rounding errors may outweigh the shrinkage: then
    by least squares.
    """
    try:
        return cho_solve(cho_factor(matrix, lower=True), right)
    except LinAlgError:
        return np.linalg.lstsq(matrix, right)[0]


def shrinkage(
    gram: np.ndarray, n: int, d: int, squares: float, fourth: float
) -> tuple[float, float]:
    """Return Ledoit and Wolf's (2004) intensity and the mean variance that is shrunk to.

    `gram` holds the products of n centred rows, or of their d columns: both have the same squares.
    `squares` and `fourth` are the sums of the rows' lengths to the second and fourth power.
    """
    level = squares / n / d
    found = np.sum(gram**2) / n**2
    spread = (found - d * level**2) / d
    noise = min((fourth / n - found) / (d * n), spread)
    return (float(noise / spread) if noise > 0 else 0.0), float(level)


def _pseudo_solved(gram: np.ndarray, right: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
    """Return gram^+ right, `(n,)`. `zero` is in the null space of `gram`, the rest mostly not.

    By Cholesky with the null space filled, or by eigenvalues where there is more of it.
    """
    filled = gram.copy()
    if zero is not None:
        filled += np.trace(gram) / (zero @ zero) ** 2 * np.outer(zero, zero)
        right = right - (right @ zero / (zero @ zero)) * zero
    smallest = len(gram) * np.finfo(float).eps
    try:
        factor = cho_factor(filled, lower=True)
    except LinAlgError:
        factor = None
    if factor is not None and np.diag(factor[0]).min() ** 2 > smallest * np.diag(gram).max():
        return cho_solve(factor, right)
    values, vectors = np.linalg.eigh(gram)
    kept = values > values[-1] * smallest
    return vectors[:, kept] @ ((vectors[:, kept].T @ right) / values[kept])


def concept_vectors(
    rows: np.ndarray,
    members: Sequence[np.ndarray],
    estimator: Estimator = "lda",
    moments: Mapping[int, Moments] | None = None,
) -> np.ndarray:
    """Return the vector of every concept, `(n_concepts, d)`; `members` index `rows` `(n, d)`.

    `moments` as `shared_moments` has them.
    """
    known = moments or {}
    return np.array(
        [
            concept_vector(known[k] if k in known else rows[some], estimator)
            for k, some in enumerate(members)
        ]
    )


def shared_moments(
    rows: np.ndarray, members: Sequence[np.ndarray], largest_part: np.ndarray
) -> dict[int, Moments]:
    """Return the sums over the tokens of each concept that has at least d of them.

    `largest_part` `(k,)` names a concept that lies in each, or is -1: only what is not in that is
    added to its sums, so that most of the work for a hierarchy is done once.
    """
    sizes = np.array([len(some) for some in members])
    found: dict[int, Moments] = {}
    for k in np.argsort(sizes, kind="stable").tolist():
        if sizes[k] < rows.shape[1]:
            continue
        part = int(largest_part[k])
        if part in found:
            left = np.setdiff1d(members[k], members[part], assume_unique=True)
            found[k] = found[part] + Moments.of(rows[left])
        else:
            found[k] = Moments.of(rows[members[k]])
    return found


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of `a` with that of `b`, both `(n, d)`; 0 of a zero row."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.einsum("ij,ij->i", a, b) / np.where(lengths > 0, lengths, 1)
