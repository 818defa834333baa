"""Every measure of two representations beside its null: the same samples, paired otherwise.

The samples are blocks of `size` rows, one block for each document (or pair of features). Tokens of
one document are not independent, documents are: so the null permutes the documents, and the rows
within each, which is an exact test. A permutation needs no new decomposition: of a representation
its basis is kept, of the distances their matrix, and both are only taken in another order.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numba
import numpy as np
import scipy.linalg
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from universality.core.nulls import permutation_p
from universality.core.stats import jackknife_interval
from universality.studies.spaces.similarity import linear
from universality.studies.spaces.similarity.cka import double_centred, squared_distances, u_centred
from universality.studies.spaces.similarity.distances import dissimilarities, neighbourhoods
from universality.studies.spaces.similarity.linear import Link, Numbers, basis, compare

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
SIGNED = ("rsa", "rsa_pearson", "pairwise_distance_pearson", "rbf_cka", "linear_cka_unbiased")
"""Measures that may be below 0; all others lie between 0 and 1."""
K1 = "svcca_k1_as_published"
_NOTHING = 1e-6
"""Of a matrix' norm: what is left below that by centring it is rounding error."""
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
    """The relations between the samples of a representation: a measure is a sum of their products.

    The squares of each relation add up to 1, or it is NaN: then there is nothing that could be
    shared.
    """

    names: tuple[str, ...]
    """Measures, of `KERNELS`."""
    values: np.ndarray
    """Shape `(n, n, m)`: one relation a measure; `mutual_knn`, the last, has one each way."""


def kernels(x: np.ndarray, n_neighbours: int, names: Collection[str] = KERNELS) -> Kernels:
    """Return the relations of samples `x` `(n, d)` that the measures `names` compare."""
    n = len(x)
    upper = np.triu_indices(n, 1)
    chosen = tuple(name for name in KERNELS if name in names)
    found = {}
    if {"rsa", "rsa_pearson"} & set(chosen):
        correlation = dissimilarities(x, "correlation")
        ranks = np.zeros((n, n))
        ranks[upper] = rankdata(correlation[upper])
        ranks += ranks.T
        found["rsa"] = [(ranks, _off_centre(ranks, upper))]
        found["rsa_pearson"] = [(correlation, _off_centre(correlation, upper))]
    if set(chosen) - {"rsa", "rsa_pearson", "linear_cka_unbiased"}:
        square = squared_distances(x)
        euclidean = np.sqrt(square)
        found["distance_correlation"] = [(euclidean, double_centred(euclidean))]
        found["pairwise_distance_pearson"] = [(euclidean, _off_centre(euclidean, upper))]
        if "rbf_cka" in chosen:
            gaussian = np.exp(-square / (2 * np.median(square[upper])))
            found["rbf_cka"] = [(gaussian, u_centred(gaussian))]
        if "mutual_knn" in chosen:
            near = neighbourhoods(euclidean, n_neighbours)
            found["mutual_knn"] = [(near, near), (near, near.T)]
    if "linear_cka_unbiased" in chosen:
        centred = linear.centred(x)
        gram = centred @ centred.T
        found["linear_cka_unbiased"] = [(gram, u_centred(gram))]
    relations = [relation for name in chosen for relation in found[name]]
    return Kernels(chosen, np.stack([_unit(made, of) for of, made in relations], axis=2))


def _off_centre(matrix: np.ndarray, upper: tuple[np.ndarray, ...]) -> np.ndarray:
    found = matrix - matrix[upper].mean()
    np.fill_diagonal(found, 0)
    return found


def _unit(centred: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return `centred` with squares that add up to 1; NaN if `matrix` has but rounding errors."""
    norm = np.linalg.norm(centred)
    return centred / (norm if norm > _NOTHING * np.linalg.norm(matrix) else np.nan)


def compare_kernels(a: Kernels, b: Kernels, orders: np.ndarray) -> dict[str, np.ndarray]:
    """Return every measure of `a` and `b` for each order of b's samples `(m, n)`, `(m,)` each."""
    sums = _permuted_sums(a.values, b.values, orders)
    found = dict(zip(a.names, sums.T, strict=False))
    if "distance_correlation" in found:
        found["distance_correlation"] = np.sqrt(np.maximum(found["distance_correlation"], 0))
    if "mutual_knn" in found:
        # Sums go over half the pairs: what is not symmetric is there both ways round.
        found["mutual_knn"] = (sums[:, -2] + sums[:, -1]) / 2
    return found


@numba.njit(nogil=True, cache=True)
def _permuted_sums(a, b, orders):
    """Return the sum over i, j of a[i, j] * b[o[i], o[j]] for each order o, `(m, width)`."""
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
    """One measure of two representations, beside its null."""

    value: float
    low: float
    """95% interval: jackknife over groups of blocks, cut at the range of the measure."""
    high: float
    draws: np.ndarray
    """The measure of each null draw, `(n_null,)`."""

    def row(self) -> dict[str, float]:
        """Return the value, its interval, the mean of the null, and p.

        An undefined value is no evidence: its p is 1.
        """
        p = permutation_p(self.value, self.draws) if np.isfinite(self.value) else 1.0
        ends = {"low": self.low, "high": self.high}
        return {"value": self.value, **ends, "null": float(np.mean(self.draws)), "p": p}


def judged(measure: str, value: Numbers, left_out: Sequence[Numbers], null: np.ndarray) -> Compared:
    """Put a value beside its values without each group `(n_groups,)` and its null `(n_null,)`."""
    within = (-1.0 if measure in SIGNED else 0.0, 1.0)
    low, high = jackknife_interval(float(value), np.array(left_out), within)
    return Compared(float(value), low, high, null)


def compare_linear(
    a: Mapping[int, Reduced],
    b: Reduced,
    samples: Blocks,
    n_groups: int,
    measures: Mapping[str, Callable[[Link], Numbers]],
) -> dict[int, dict[str, Compared]]:
    """Compare every representation of `a` with `b`, of the same samples, by each measure.

    The interval of the published SVCCA, a correlation of two first components, holds these two
    directions as they are: each is chosen by its own side alone, and found anew without a group
    it may be another direction altogether.
    """
    bases = {key: basis(side.scores) for key, side in a.items()}
    of_b = basis(b.scores)
    null = products([side.u for side in bases.values()], of_b.u, samples.orders)
    left = [samples.without(group, n_groups) for group in range(n_groups)]

    def judge(key: int, cross: np.ndarray) -> dict[str, Compared]:
        own = bases[key]
        found, permuted = linear.link(own, of_b), Link(own.s, cross, of_b.s, own.v)
        left_out = [compare(a[key].scores[rows], b.scores[rows]) for rows in left]
        first = np.stack([own.u[:, 0], of_b.u[:, 0]])
        sign = np.sign(np.corrcoef(first)[0, 1])
        fixed = [sign * np.corrcoef(first[:, rows])[0, 1] for rows in left]
        return {
            name: judged(
                name,
                measure(found),
                fixed if name == K1 else [measure(one) for one in left_out],
                measure(permuted),
            )
            for name, measure in measures.items()
        }

    return {key: judge(key, cross) for key, cross in zip(bases, null, strict=True)}


@dataclass(frozen=True)
class Related:
    """The relations between a representation's samples, whole and without each group of blocks."""

    whole: Kernels
    left_out: list[Kernels]


def related(
    x: np.ndarray,
    samples: Blocks,
    n_groups: int,
    n_neighbours: int,
    names: Collection[str] = KERNELS,
) -> Related:
    """Prepare the samples `x` `(n, d)` and their jackknife for the measures `names`."""
    left = [kernels(x[samples.without(g, n_groups)], n_neighbours, names) for g in range(n_groups)]
    return Related(kernels(x, n_neighbours, names), left)


def compare_related(a: Related, b: Related, samples: Blocks) -> dict[str, Compared]:
    """Compare two representations of the same samples by the measures they were prepared for."""
    value = straight(a.whole, b.whole)
    left = [straight(*pair) for pair in zip(a.left_out, b.left_out, strict=True)]
    null = compare_kernels(a.whole, b.whole, samples.orders)
    return {
        name: judged(name, value[name], [one[name] for one in left], null[name]) for name in value
    }


def straight(a: Kernels, b: Kernels) -> dict[str, float]:
    """Return every measure with the samples in the order they are in."""
    same = np.arange(len(a.values))[None]
    return {name: float(x[0]) for name, x in compare_kernels(a, b, same).items()}
