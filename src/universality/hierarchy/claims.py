"""What Park et al. 2024 claim of concept vectors, as numbers, one for every concept or pair.

A concept's tokens are among its parent's, which alone makes the vectors of both alike: every
number here is to be read beside the same number of random token sets that lie in each other as the
real ones do (`controls`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path
from scipy.stats import rankdata

from universality.hierarchy.graph import Concepts
from universality.hierarchy.vectors import (
    Estimator,
    Moments,
    concept_vector,
    concept_vectors,
    cosines,
    projections,
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
    sizes = np.diag(shared) * (within.T & ~np.eye(k, dtype=bool))
    part = np.where(sizes.any(axis=1), sizes.argmax(axis=1), -1)
    return Family(edges, chains, strangers, above, closeness(edges, k), apart, part)


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
class Existence:
    """Mean projection of tokens on their concept's vector, `(k,)` each: 1 is the concept's own."""

    train: np.ndarray
    """Tokens that the vector was estimated from."""
    test: np.ndarray
    """Other tokens of the concept."""
    random: np.ndarray
    """As many tokens that are not of it."""


def existence(
    rows: np.ndarray,
    members: Sequence[np.ndarray],
    others: np.ndarray,
    estimator: Estimator,
    train_share: float,
    rng: np.random.Generator,
) -> Existence:
    """Estimate every concept from `train_share` of its tokens and project the rest on it.

    `members` index `rows` `(n, d)`; `others` are the rows that random tokens are drawn from.
    """
    found = np.empty((3, len(members)))
    for k, some in enumerate(members):
        mixed = rng.permutation(some)
        n_train = min(len(some) - 1, round(train_share * len(some)))
        train, test = mixed[:n_train], mixed[n_train:]
        outside = rng.choice(others, size=2 * len(test) + 20)
        place = np.searchsorted(some, outside)
        outside = outside[some[np.minimum(place, len(some) - 1)] != outside][: len(test)]
        vector = concept_vector(rows[train], estimator)
        for number, drawn in enumerate((train, test, outside)):
            found[number, k] = projections(rows[drawn], vector).mean()
    return Existence(*found)


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


def to_rest_of_parent(
    rows: np.ndarray,
    vectors: np.ndarray,
    members: Sequence[np.ndarray],
    edges: np.ndarray,
    estimator: Estimator,
    min_tokens: int,
    moments: Mapping[int, Moments],
) -> np.ndarray:
    """Return cos(l_child - l_rest, l_rest) of every edge, l_rest of the parent's other tokens.

    Child and parent share no token here, so that nesting cannot make them alike. NaN where fewer
    than `min_tokens` are left. `moments` as `shared_moments` has them.
    """
    found = np.full(len(edges), np.nan)
    for row, (child, parent) in enumerate(edges.tolist()):
        n_rest = len(members[parent]) - len(members[child])
        if n_rest < min_tokens:
            continue
        if n_rest >= rows.shape[1]:
            own = moments[child] if child in moments else Moments.of(rows[members[child]])
            vector = concept_vector(moments[parent] - own, estimator)
        else:
            vector = concept_vector(rows[without(members[parent], members[child])], estimator)
        found[row] = cosines((vectors[child] - vector)[None], vector[None])[0]
    return found


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
    cosine: np.ndarray, close: np.ndarray, chosen: np.ndarray | None = None
) -> float:
    """Return Spearman's correlation of closeness and `cosine` `(k, k)` over pairs of concepts.

    Of the pairs `chosen` `(k, k)` alone where given; NaN where either is constant.
    """
    upper = np.triu(np.ones(close.shape, dtype=bool), 1)
    if chosen is not None:
        upper &= chosen
    a, b = rankdata(cosine[upper]), rankdata(close[upper])
    if not (len(a) and np.ptp(a) and np.ptp(b)):
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def siblings(parents: Sequence[Sequence[int]]) -> np.ndarray:
    """Return pairs of concepts with the same first parent, `(n, 2)`."""
    first = np.array([some[0] if some else -1 for some in parents])
    same = (first[:, None] == first) & (first >= 0)
    return np.argwhere(np.triu(same, 1))
