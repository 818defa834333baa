"""What Park et al. 2024 claim of concept vectors, as numbers, one for every concept or pair.

A concept's tokens are among its parent's, which alone makes the vectors of both alike: every
number here is to be read beside the same number of random token sets that lie in each other as the
real ones do (`controls`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path
from scipy.stats import rankdata

from universality.studies.hierarchy.graph import Concepts
from universality.studies.hierarchy.vectors import (
    Estimator,
    Moments,
    concept_vector,
    concept_vectors,
    cosines,
    shared_moments,
)


@dataclass(frozen=True)
class Family:
    """Concepts as indices: who lies above whom, who apart from whom."""

    edges: np.ndarray
    """Child and parent, `(n_edges, 2)`."""
    chains: np.ndarray
    """Child, parent and grandparent, `(n_chains, 3)`."""
    strangers: np.ndarray
    """Of every edge another concept at random, neither above nor below the child, `(n_edges,)`."""
    above_strangers: np.ndarray
    """Of every chain a random edge whose parent and grandparent stand for its own: its two upper
    ends, `(n_chains, 2)`."""
    closeness: np.ndarray
    """1 / (1 + steps from concept to concept), `(k, k)`."""
    apart: np.ndarray
    """Whether two concepts have no token in common, `(k, k)`."""
    largest_part: np.ndarray
    """The largest other concept with no token that this one lacks, -1 if there is none, `(k,)`."""


def family(concepts: Concepts, rng: np.random.Generator) -> Family:
    """Return who is related to whom among `concepts`, with strangers drawn at random."""
    edges, chains = concepts.edges, concepts.chains
    k = len(concepts.names)
    shared = overlaps(concepts.members)
    apart = shared == 0
    within = shared == np.diag(shared)[:, None]  # all tokens of i are j's
    related = within | within.T
    strangers = np.array(
        [rng.choice(np.flatnonzero(~related[child])) if (~related[child]).any() else parent
         for child, parent in edges], dtype=np.int64,
    )  # fmt: skip
    above = np.zeros((len(chains), 2), dtype=np.int64)
    for row, (child, parent, grandparent) in enumerate(chains):
        others = edges[~related[child][edges[:, 0]]]
        above[row] = rng.choice(others) if len(others) else (parent, grandparent)
    part = largest_parts(concepts.members)
    return Family(edges, chains, strangers, above, closeness(edges, k), apart, part)


def largest_parts(members: Sequence[np.ndarray]) -> np.ndarray:
    """Return the largest other concept that lies in each, -1 if there is none, `(k,)`."""
    shared = overlaps(members)
    size = np.diag(shared)
    inside = (shared == size) & (size < size[:, None])  # j's tokens are all i's, which has more
    sizes = np.where(inside, size, 0)
    return np.where(sizes.any(axis=1), sizes.argmax(axis=1), -1)


def overlaps(members: Sequence[np.ndarray]) -> np.ndarray:
    """Return how many tokens every two concepts share, `(k, k)`."""
    row = np.repeat(np.arange(len(members)), [len(some) for some in members])
    column = np.concatenate(members)
    table = coo_array(
        (np.ones(len(row)), (row, column)), shape=(len(members), int(column.max()) + 1)
    ).tocsr()
    return np.asarray((table @ table.T).todense())


def closeness(edges: np.ndarray, k: int) -> np.ndarray:
    """Return 1 / (1 + steps along `edges`, up or down) of every two of `k` concepts, `(k, k)`."""
    graph = coo_array((np.ones(len(edges)), edges.T), shape=(k, k)).tocsr()
    return 1 / (1 + shortest_path(graph, directed=False, unweighted=True))


def tree_order(parents: Sequence[Sequence[int]]) -> np.ndarray:
    """Return concepts so that each is followed by all below it, `(k,)`, by first parents."""
    below: list[list[int]] = [[] for _ in parents]
    roots = []
    for child, some in enumerate(parents):
        (below[some[0]] if some else roots).append(child)
    order, stack = [], roots[::-1]
    while stack:
        node = stack.pop()
        order.append(node)
        stack.extend(reversed(below[node]))
    return np.array(order, dtype=np.int64)


@dataclass(frozen=True)
class HeldOut:
    """Mean projections of held-out tokens on vectors made of others.

    In units of a vector, so that the tokens that it is made of project by 1 on average. NaN where
    there are too few tokens on either side.
    """

    test: np.ndarray
    """Of a concept's held-out tokens on its vector, `(k,)`."""
    random: np.ndarray
    """Of as many tokens that are not of it."""
    rest_on_rest: np.ndarray
    """On the vector of a parent without its child, of other tokens of such, `(n_edges,)`."""
    child_on_rest: np.ndarray
    """On the same, of the child's tokens."""
    stranger_on_rest: np.ndarray
    """On the same, of a concept neither above nor below the child: its tokens that are not the
    parent's, since the vector is made of some of these; NaN if there are none."""


def held_out(
    rows: np.ndarray,
    members: Sequence[np.ndarray],
    related: Family,
    estimator: Estimator,
    train_share: float,
    min_rest: int,
    rng: np.random.Generator,
) -> HeldOut:
    """Estimate vectors from `train_share` of all tokens and project the others on them.

    That l_child - l_parent is orthogonal to l_parent says that a child's tokens lie as far along
    their parent's vector as the parent's. With the child's tokens among those that the vector is
    made of, this is so for any tokens; `child_on_rest` beside `rest_on_rest` is the test without
    them, and free of how long an estimated vector is. A parent needs `min_rest` such tokens.
    """
    k, d = len(members), rows.shape[1]
    chosen = rng.random(len(rows)) < train_share
    train = [some[chosen[some]] for some in members]
    n_all, n_train = (np.array([len(some) for some in sets]) for sets in (members, train))
    n_test = n_all - n_train
    sums, train_sums = (_sums(rows, sets) for sets in (members, train))
    test_sums = sums - train_sums
    moments = shared_moments(rows, train, related.largest_part)
    found = np.full((2, k), np.nan)
    for node in np.flatnonzero((n_train >= 2) & (n_test >= 1)).tolist():
        vector = concept_vector(moments.get(node, rows[train[node]]), estimator)
        outside = rows[_outside(members[node], len(rows), int(n_test[node]), rng)].mean(axis=0)
        means = (test_sums[node] / n_test[node], outside)
        found[:, node] = [mean @ vector / (vector @ vector) for mean in means]
    on_rest = np.full((3, len(related.edges)), np.nan)
    for row, (child, parent) in enumerate(related.edges.tolist()):
        n_rest, n_judged = n_train[parent] - n_train[child], n_test[parent] - n_test[child]
        if n_rest < min_rest or n_judged < 1:
            continue
        if n_rest >= d:
            own = moments[child] if child in moments else Moments.of(rows[train[child]])
            vector = concept_vector(moments[parent] - own, estimator)
        else:
            vector = concept_vector(rows[without(train[parent], train[child])], estimator)
        stranger = np.setdiff1d(members[related.strangers[row]], members[parent])
        means = (
            (test_sums[parent] - test_sums[child]) / n_judged,
            sums[child] / n_all[child],
            rows[stranger].mean(axis=0, dtype=np.float64) if len(stranger) else np.full(d, np.nan),
        )
        on_rest[:, row] = [mean @ vector / (vector @ vector) for mean in means]
    return HeldOut(*found, *on_rest)


def _sums(rows: np.ndarray, members: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sum of the rows of each of `members`, `(k, d)`, float64."""
    return np.array([rows[some].sum(axis=0, dtype=np.float64) for some in members])


def _outside(some: np.ndarray, n_rows: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n` rows at random that are not in `some`, any if it holds all; `some` ascends."""
    if len(some) == n_rows:
        return rng.integers(n_rows, size=n)
    drawn = rng.integers(n_rows - len(some), size=n)
    # The i-th row that is not in `some`: before it lie those whose place leaves room for it.
    return drawn + np.searchsorted(some - np.arange(len(some)), drawn, side="right")


def to_parent(vectors: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return cos(l_child - l_parent, l_parent) of every edge, `(n_edges,)`: their theorem 8a."""
    child, parent = edges.T
    return cosines(vectors[child] - vectors[parent], vectors[parent])


def to_grandparent(vectors: np.ndarray, chains: np.ndarray) -> np.ndarray:
    """Return cos(l_child - l_parent, l_parent - l_grandparent), `(n_chains,)`: theorem 8c."""
    child, parent, above = chains.T
    return cosines(vectors[child] - vectors[parent], vectors[parent] - vectors[above])


def without(tokens: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return those of `tokens`, ascending, that are not in `part`, all of which are among them."""
    kept = np.ones(len(tokens), dtype=bool)
    kept[np.searchsorted(tokens, part)] = False
    return tokens[kept]


def random_children(
    rows: np.ndarray,
    vectors: np.ndarray,
    members: Sequence[np.ndarray],
    edges: np.ndarray,
    estimator: Estimator,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return `to_parent` for a random part of each real parent, as large as the child."""
    parts = [
        rng.choice(members[parent], size=len(members[child]), replace=False)
        for child, parent in edges
    ]
    drawn = concept_vectors(rows, parts, estimator)
    parent = vectors[edges[:, 1]]
    return cosines(drawn - parent, parent)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return the rows of `vectors` `(n, d)` at length 1; a zero row stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def from_parents(vectors: np.ndarray, parents: Sequence[Sequence[int]]) -> np.ndarray:
    """Return l_w - l_parent of every concept, `(k, d)`; first parents, a root's own vector."""
    first = np.array([some[0] if some else -1 for some in parents])
    return vectors - np.where((first >= 0)[:, None], vectors[first], 0)


def closeness_correlation(
    cosine: np.ndarray,
    close: np.ndarray,
    chosen: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Return Spearman's correlation of closeness and `cosine` `(k, k)` over pairs of concepts.

    Of the pairs `chosen` `(k, k)` alone where given; NaN where either is constant. And what it is
    without each of `groups` `(k,)` of concepts, `(n_groups,)`, with the ranks of all pairs.
    """
    kept = np.triu(np.ones(close.shape, dtype=bool), 1)
    if chosen is not None:
        kept &= chosen
    i, j = np.nonzero(kept)
    ranks = rankdata(cosine[i, j]), rankdata(close[i, j])

    def pearson(some: np.ndarray | slice) -> float:
        a, b = (x[some] for x in ranks)
        if not (len(a) and np.ptp(a) and np.ptp(b)):
            return float("nan")
        return float(np.corrcoef(a, b)[0, 1])

    number = np.zeros(len(close), dtype=np.int64) if groups is None else groups
    left = [] if groups is None else [
        pearson((number[i] != one) & (number[j] != one)) for one in np.unique(number)
    ]  # fmt: skip
    return pearson(slice(None)), np.array(left)


def siblings(parents: Sequence[Sequence[int]]) -> np.ndarray:
    """Return pairs of concepts with the same first parent, `(n, 2)`."""
    first = np.array([some[0] if some else -1 for some in parents])
    same = (first[:, None] == first) & (first >= 0)
    return np.argwhere(np.triu(same, 1))
