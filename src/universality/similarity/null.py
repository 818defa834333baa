"""Every measure of two representations beside its null: the same samples, paired otherwise.

The samples are blocks of `size` rows, one block for each document (or pair of features). Tokens of
one document are not independent, documents are: so the null permutes the documents, and the rows
within each, which is an exact test. A permutation needs no new decomposition: of a representation
its basis is kept, of the distances their matrix, and both are only taken in another order.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numba
import numpy as np
import scipy.linalg
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from universality.nulls import permutation_p
from universality.similarity import linear
from universality.similarity.cka import double_centred, squared_distances
from universality.similarity.distances import dissimilarities, neighbours
from universality.similarity.linear import Link, Numbers, basis, compare
from universality.stats import jackknife_interval

KERNELS = (
    "rsa",
    "rsa_pearson",
    "distance_correlation",
    "pairwise_distance_pearson",
    "rbf_cka",
    "linear_cka_unbiased",
    "mutual_knn",
)
"""Measures of the distances between samples."""
_RANK_OF_SQUARES = 1e-12
"""Components with less than this share of the first one's variance are rounding error."""


T = TypeVar("T")
R = TypeVar("R")


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return `function` of every item, in order, several at once.

    All work here is thousands of small products and decompositions. BLAS would spread each over
    the cores and wait longer than it computes: here each has one thread, and items share the cores.
    """
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(numba.get_num_threads()) as pool:
        return list(pool.map(function, items))


def linear_measures(ridge: float, share: float) -> dict[str, Callable[[Link], Numbers]]:
    """Return the measures of `linear` by name; see `regularised_cca` and `svcca`."""
    return {
        "cca": linear.cca,
        "cca_r2": linear.cca_r2,
        "svcca": partial(linear.svcca, share=share),
        "svcca_k1_as_published": linear.svcca_k1_as_published,
        "pwcca": linear.pwcca,
        "regularised_cca": partial(linear.regularised_cca, ridge=ridge),
        "regression_r2": linear.regression_r2,
        "linear_cka": linear.linear_cka,
        "procrustes": linear.procrustes,
    }


_NOTHING = 1e-12
"""Of a kernel's squares: an HSIC below that is rounding error."""


@dataclass(frozen=True)
class Blocks:
    """Samples in blocks of equal size, and how they are paired under the null."""

    n: int
    size: int
    orders: np.ndarray
    """For every null draw the order of the samples, `(n_null, n * size)`."""

    def without(self, group: int, n_groups: int) -> np.ndarray:
        """Return the rows that are left without every `n_groups`-th block, from `group` on."""
        kept = np.flatnonzero(np.arange(self.n) % n_groups != group)
        return (kept[:, None] * self.size + np.arange(self.size)).ravel()

    def first(self, size: int) -> np.ndarray:
        """Return the first `size` rows of every block."""
        return (np.arange(self.n)[:, None] * self.size + np.arange(size)).ravel()


def blocks(n: int, size: int, n_null: int, rng: np.random.Generator) -> Blocks:
    """Draw `n_null` orders of `n` blocks, and of the `size` rows within each."""
    order = np.argsort(rng.random((n_null, n)), axis=1)
    within = np.argsort(rng.random((n_null, n, size)), axis=2)
    return Blocks(n, size, (order[:, :, None] * size + within).reshape(n_null, n * size))


@dataclass(frozen=True)
class Reduced:
    """A representation in its first principal components."""

    scores: np.ndarray
    """Shape `(n, k)`, centred."""
    kept: float
    """Share of the variance that they hold."""


def reduced(x: np.ndarray, n_directions: int) -> Reduced:
    """Reduce `x` `(n, d)` to at most `n_directions` principal components."""
    x = linear.centred(x)
    n, d = x.shape
    k = min(n_directions, d, n - 1)
    # Only the first ones are wanted, which the Gram matrix gives to half the digits at least.
    square, v = scipy.linalg.eigh(x.T @ x, subset_by_index=[d - k, d - 1])
    if not square[-1] > 0:
        raise ValueError("no column of the samples varies")
    kept = np.flatnonzero(square > _RANK_OF_SQUARES * square[-1])[::-1]
    return Reduced(x @ v[:, kept], float(square[kept].sum() / np.sum(x**2)))


def products(u: Sequence[np.ndarray], other: np.ndarray, orders: np.ndarray) -> list[np.ndarray]:
    """Return U' V for each U `(n, r)` and V = `other` `(n, q)` in each order: `(n_null, r, q)`."""
    stacked = np.hstack(list(u))
    found = np.array([stacked.T @ other[order] for order in orders])
    ends = np.cumsum([side.shape[1] for side in u])[:-1]
    return np.split(found.reshape(len(orders), stacked.shape[1], other.shape[1]), ends, axis=1)


@dataclass(frozen=True)
class Kernels:
    """Matrices of the relations between samples, made so that a measure is a sum of products."""

    matrices: np.ndarray
    """Shape `(n, n, 8)`: `KERNELS`, with the neighbours from i to j and from j to i."""
    sums: np.ndarray
    """Row sums of the two kernels without diagonal, `(2, n)`."""
    spreads: np.ndarray
    """HSIC of these two with themselves, `(2,)`."""
    n_neighbours: int


def kernels(x: np.ndarray, n_neighbours: int) -> Kernels:
    """Prepare the samples `x` `(n, d)`."""
    n = len(x)
    square = squared_distances(x)
    euclidean = np.sqrt(square)
    correlation = dissimilarities(x, "correlation")
    upper = np.triu_indices(n, 1)
    ranks = np.zeros((n, n))
    ranks[upper] = rankdata(correlation[upper])
    ranks += ranks.T
    variance = np.exp(-square / (2 * np.median(square[upper])))
    centred = linear.centred(x)
    plain = [variance, centred @ centred.T]
    for kernel in plain:
        np.fill_diagonal(kernel, 0)
    near = np.zeros((n, n))
    np.put_along_axis(near, neighbours(euclidean, n_neighbours), 1.0, axis=1)
    centred_distances = double_centred(euclidean)
    matrices = [
        *(_standardised(matrix, upper) for matrix in (ranks, correlation)),
        centred_distances / np.sqrt(np.sum(centred_distances**2)),
        _standardised(euclidean, upper),
        *plain,
        near,
        near.T,
    ]
    sums = np.array([kernel.sum(0) for kernel in plain])
    squares = np.array([np.sum(kernel**2) for kernel in plain])
    spreads = _hsic(squares, sums, sums)
    spreads[spreads < _NOTHING * squares] = 0
    return Kernels(np.stack(matrices, axis=2), sums, spreads, n_neighbours)


def _standardised(matrix: np.ndarray, upper: tuple[np.ndarray, ...]) -> np.ndarray:
    values = matrix[upper]
    spread = values.std()
    if not spread > _NOTHING * np.abs(values).max():
        return np.full(matrix.shape, np.nan)  # all distances are one: nothing to correlate
    found = (matrix - values.mean()) / (spread * np.sqrt(2 * len(values)))
    np.fill_diagonal(found, 0)
    return found


def _hsic(product: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Song's unbiased HSIC (`cka.kernel_cka`) of several kernels, `(..., 2)`."""
    n = one.shape[-1]
    total = one.sum(-1) * other.sum(-1) / ((n - 1) * (n - 2))
    return (product + total - 2 * np.sum(one * other, axis=-1) / (n - 2)) / (n * (n - 3))


def compare_kernels(a: Kernels, b: Kernels, orders: np.ndarray) -> dict[str, np.ndarray]:
    """Return every measure of `KERNELS` for each order of b's samples `(m, n)`, `(m,)` each."""
    sums = _permuted_sums(a.matrices, b.matrices, orders)
    hsic = _hsic(sums[:, 4:6], a.sums, b.sums.T[orders].transpose(0, 2, 1))
    # As in `cka`: undefined where a kernel's unbiased HSIC with itself is not above 0.
    defined = (a.spreads > 0) & (b.spreads > 0)
    aligned = hsic / np.sqrt(np.where(defined, a.spreads * b.spreads, np.nan))
    n = orders.shape[1]
    return {
        "rsa": sums[:, 0],
        "rsa_pearson": sums[:, 1],
        "distance_correlation": np.sqrt(np.maximum(sums[:, 2], 0)),
        "pairwise_distance_pearson": sums[:, 3],
        "rbf_cka": aligned[:, 0],
        "linear_cka_unbiased": aligned[:, 1],
        "mutual_knn": (sums[:, 6] + sums[:, 7]) / (2 * n * a.n_neighbours),
    }


@numba.njit(nogil=True, cache=True)
def _permuted_sums(a, b, orders):
    """Return the sum over i, j of a[i, j] * b[o[i], o[j]] for each order o, `(m, 8)`.

    Off the diagonal only half is gone through: what is not symmetric is there both ways round.
    """
    m, n = orders.shape
    width = a.shape[2]
    found = np.zeros((m, width))
    for p in range(m):
        order = orders[p]
        total = np.zeros(width)
        for i in range(n):
            for j in range(i):
                for s in range(width):
                    total[s] += 2 * a[i, j, s] * b[order[i], order[j], s]
            for s in range(width):
                total[s] += a[i, i, s] * b[order[i], order[i], s]
        found[p] = total
    return found


@dataclass(frozen=True)
class Compared:
    """One measure of two representations."""

    value: float
    low: float
    """95% interval: jackknife over groups of blocks."""
    high: float
    null: float
    """Mean over the null draws."""
    p: float


def judged(value: Numbers, left_out: Sequence[Numbers], null: np.ndarray) -> Compared:
    """Put a value beside its values without each group `(n_groups,)` and its null `(n_null,)`.

    An undefined value is no evidence: its p is 1.
    """
    low, high = jackknife_interval(float(value), np.array(left_out))
    p = permutation_p(value, null) if np.isfinite(value) else 1.0
    return Compared(float(value), low, high, float(np.mean(null)), p)


def compare_linear(
    a: Mapping[int, Reduced],
    b: Reduced,
    samples: Blocks,
    n_groups: int,
    measures: Mapping[str, Callable[[Link], Numbers]],
) -> dict[int, dict[str, Compared]]:
    """Compare every representation of `a` with `b`, of the same samples, by each measure."""
    bases = {key: basis(side.scores) for key, side in a.items()}
    of_b = basis(b.scores)
    null = products([side.u for side in bases.values()], of_b.u, samples.orders)
    left = [samples.without(group, n_groups) for group in range(n_groups)]

    def judge(key: int, cross: np.ndarray) -> dict[str, Compared]:
        own = bases[key]
        found, permuted = linear.link(own, of_b), Link(own.s, cross, of_b.s, own.v)
        left_out = [compare(a[key].scores[rows], b.scores[rows]) for rows in left]
        return {
            name: judged(measure(found), [measure(one) for one in left_out], measure(permuted))
            for name, measure in measures.items()
        }

    return {key: judge(key, cross) for key, cross in zip(bases, null, strict=True)}


@dataclass(frozen=True)
class Related:
    """The distances of a representation's samples, whole and without each group of blocks."""

    whole: Kernels
    left_out: list[Kernels]


def related(x: np.ndarray, samples: Blocks, n_groups: int, n_neighbours: int) -> Related:
    """Prepare the samples `x` `(n, d)` and their jackknife."""
    left = [kernels(x[samples.without(g, n_groups)], n_neighbours) for g in range(n_groups)]
    return Related(kernels(x, n_neighbours), left)


def compare_related(a: Related, b: Related, samples: Blocks) -> dict[str, Compared]:
    """Compare two representations of the same samples by every measure of `KERNELS`."""
    value = straight(a.whole, b.whole)
    left = [straight(*pair) for pair in zip(a.left_out, b.left_out, strict=True)]
    null = compare_kernels(a.whole, b.whole, samples.orders)
    return {name: judged(value[name], [one[name] for one in left], null[name]) for name in KERNELS}


def straight(a: Kernels, b: Kernels) -> dict[str, float]:
    """Return every measure of `KERNELS` with the samples in the order they are in."""
    same = np.arange(len(a.matrices))[None]
    return {name: float(x[0]) for name, x in compare_kernels(a, b, same).items()}
