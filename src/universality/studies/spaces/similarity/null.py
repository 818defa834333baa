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
from threadpoolctl import threadpool_limits

from universality.core.nulls import permutation_p
from universality.core.stats import jackknife_interval
from universality.studies.spaces.similarity import linear
from universality.studies.spaces.similarity.linear import Link, Numbers, basis, compare
from universality.studies.spaces.similarity.measures import LINKED, RELATED, Options, Samples, span

K1 = "svcca_k1_as_published"
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

    One that is NaN has nothing that could be shared.
    """

    names: tuple[str, ...]
    """Measures, of `RELATED`."""
    values: np.ndarray
    """Shape `(n, n, m)`: one relation a measure, then those that are not symmetric, transposed."""


def kernels(x: np.ndarray, options: Options, names: Collection[str] = tuple(RELATED)) -> Kernels:
    """Return the relations of samples `x` `(n, d)` that the measures `names` compare."""
    samples = Samples(x)
    made = {name: one.of(samples, options) for name, one in RELATED.items() if name in names}
    other_way = [relation.T for name, relation in made.items() if not RELATED[name].mutual]
    return Kernels(tuple(made), np.stack([*made.values(), *other_way], axis=2))


def compare_kernels(a: Kernels, b: Kernels, orders: np.ndarray) -> dict[str, np.ndarray]:
    """Return every measure of `a` and `b` for each order of b's samples `(m, n)`, `(m,)` each."""
    sums = _permuted_sums(a.values, b.values, orders)
    cosines = dict(zip(a.names, sums.T, strict=False))
    # Sums go over half the pairs: what is not symmetric is there both ways round.
    for place, name in enumerate(name for name in a.names if not RELATED[name].mutual):
        cosines[name] = (cosines[name] + sums[:, len(a.names) + place]) / 2
    return {name: RELATED[name].value(cosine) for name, cosine in cosines.items()}


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
    low, high = jackknife_interval(float(value), np.array(left_out), span(measure))
    return Compared(float(value), low, high, null)


def compare_linear(
    a: Mapping[int, Reduced],
    b: Reduced,
    samples: Blocks,
    n_groups: int,
    names: Collection[str],
    options: Options,
) -> dict[int, dict[str, Compared]]:
    """Compare every representation of `a` with `b`, of the same samples, by each of `LINKED`.

    The interval of the published SVCCA, a correlation of two first components, holds these two
    directions as they are: each is chosen by its own side alone, and found anew without a group
    it may be another direction altogether.
    """
    bases = {key: basis(side.scores) for key, side in a.items()}
    of_b = basis(b.scores)
    null = products([side.u for side in bases.values()], of_b.u, samples.orders)
    left = [samples.without(group, n_groups) for group in range(n_groups)]
    measures = {name: one for name, one in LINKED.items() if name in names}

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
                measure.of(found, options),
                fixed if name == K1 else [measure.of(one, options) for one in left_out],
                measure.of(permuted, options),
            )
            for name, measure in measures.items()
        }

    return {key: judge(key, cross) for key, cross in zip(bases, null, strict=True)}


@dataclass(frozen=True)
class Prepared:
    """The relations between a representation's samples, whole and without each group of blocks."""

    whole: Kernels
    left_out: list[Kernels]


def prepared(
    x: np.ndarray,
    samples: Blocks,
    n_groups: int,
    options: Options,
    names: Collection[str] = tuple(RELATED),
) -> Prepared:
    """Prepare the samples `x` `(n, d)` and their jackknife for the measures `names`."""
    left = [kernels(x[samples.without(g, n_groups)], options, names) for g in range(n_groups)]
    return Prepared(kernels(x, options, names), left)


def compare_prepared(a: Prepared, b: Prepared, samples: Blocks) -> dict[str, Compared]:
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
