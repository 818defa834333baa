"""Whether concepts lie to each other alike in two models: RSA over concept vectors.

Nesting alone makes a child's vector like its parent's in every model. So pairs of concepts that
share no token are compared by themselves, and random concepts with the same nesting, the same
words in both models, stand beside.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from universality.core.errors import InputError
from universality.core.nulls import permutation_p
from universality.core.randomness import generator
from universality.core.stats import jackknife_interval
from universality.studies.hierarchy.claims import largest_parts, overlaps, unit
from universality.studies.hierarchy.graph import Concepts
from universality.studies.hierarchy.params.hierarchy import Hierarchy
from universality.studies.hierarchy.study import CORRELATION, mean_and_range
from universality.studies.hierarchy.vectors import concept_vectors, shared_moments


def cosine_map(vectors: np.ndarray) -> np.ndarray:
    """Return the cosines of `vectors` `(k, d)`, `(k, k)`."""
    normed = unit(vectors)
    return normed @ normed.T


def rsa(a: np.ndarray, b: np.ndarray, chosen: np.ndarray) -> float:
    """Return Spearman's correlation of maps `(k, k)` over the pairs i < j that are `chosen`."""
    kept = np.triu(chosen, 1)
    one, other = rankdata(a[kept]), rankdata(b[kept])
    if len(one) < 3 or not (np.ptp(one) and np.ptp(other)):
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def permuted(a: np.ndarray, b: np.ndarray, chosen: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Return `rsa` with the concepts of `b` in each of `orders` `(m, k)`, ranks of all `chosen`.

    The pairs stay those of A; a pair of B that is not chosen has the middle rank.
    """
    kept = np.nonzero(np.triu(chosen, 1))
    one, other = (rankdata(x[kept]) for x in (a, b))
    one, other = one - one.mean(), other - other.mean()
    square = np.zeros(b.shape)
    square[kept] = other
    square += square.T
    found = np.empty(len(orders))
    for number, order in enumerate(orders):
        some = square[order[kept[0]], order[kept[1]]]
        length = np.sqrt(np.sum(one**2) * np.sum(some**2))
        found[number] = one @ some / length if length > 0 else np.nan
    return found


def compare(
    a: np.ndarray,
    b: np.ndarray,
    members: tuple[list[np.ndarray], list[np.ndarray]],
    nested: Iterable[tuple[np.ndarray, np.ndarray]],
    n_groups: int,
    n_permutations: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return RSA of concept vectors `a` `(k, d_a)` and `b` `(k, d_b)`, over all pairs and apart.

    `members` are the concepts' tokens in each model; pairs apart share none in either. `p` compares
    with exchanged names. `nested` are the vectors of random concepts; mean and range of their RSA
    are given. `excess` is the RSA of the cosines less the mean cosine of random concepts: sizes and
    nesting, which both models share, make some pairs alike whatever the words are. Intervals are
    jackknifed over groups of concepts.
    """
    maps = cosine_map(a), cosine_map(b)
    draws = [(cosine_map(one), cosine_map(other)) for one, other in nested]
    total = [sum(draw[side] for draw in draws) for side in (0, 1)]
    n = len(draws)
    excess = [maps[side] - total[side] / n for side in (0, 1)]
    # Of a draw, above the mean of the others.
    of_draws = [
        [draw[side] - (total[side] - draw[side]) / max(n - 1, 1) for side in (0, 1)]
        for draw in draws
    ]
    apart = (overlaps(members[0]) == 0) & (overlaps(members[1]) == 0)
    everything = np.ones(apart.shape, dtype=bool)
    group = rng.permutation(len(a)) % n_groups
    orders = np.argsort(rng.random((n_permutations, len(a))), axis=1)
    rows = []
    for values, real, random in (("cosine", maps, draws), ("excess", excess, of_draws)):
        for pairs, chosen in (("all", everything), ("apart", apart)):
            value = rsa(real[0], real[1], chosen)
            left = []
            for number in range(n_groups):
                outside = group != number
                left.append(rsa(real[0], real[1], chosen & outside & outside[:, None]))
            low, high = jackknife_interval(value, np.array(left), CORRELATION)
            exchanged = permuted(real[0], real[1], chosen, orders)
            by_chance = np.array([rsa(some[0], some[1], chosen) for some in random])
            rows.append(
                {"values": values, "pairs": pairs, "k": len(a),
                 "n": int(np.triu(chosen, 1).sum()), "value": value, "low": low, "high": high,
                 "permuted": float(np.nanmean(exchanged)), "p": permutation_p(value, exchanged)}
                | mean_and_range("nested", by_chance)
            )  # fmt: skip
    return pd.DataFrame(rows)


def shared_concepts(a: Concepts, b: Concepts) -> tuple[list[str], list[int], list[int]]:
    """Return the names of concepts in both graphs, and their nodes in each.

    A node has several synsets where their tokens are the same; a node of A counts once, with the
    first of its synsets that B has, and so does one of B.
    """
    node_of = {name: node for node, names in enumerate(b.merged) for name in names}
    names, of_a, of_b = [], [], []
    for node, some in enumerate(a.merged):
        for name in some:
            if name in node_of and node_of[name] not in of_b:
                names.append(name)
                of_a.append(node)
                of_b.append(node_of[name])
                break
    if len(names) < 4:
        raise InputError(f"the two graphs have {len(names)} concepts in common, expected 4")
    return names, of_a, of_b


def study(
    rows: Sequence[np.ndarray], graphs: Sequence[Concepts], settings: Hierarchy, key: str
) -> pd.DataFrame:
    """Return how alike the concepts that two graphs share lie to each other (`compare`).

    `rows` are each model's whitened representations `(n_vocab, d)`. Random concepts exchange the
    tokens of each graph, for each model separately: they share their nesting and nothing else.
    """
    _, *nodes = shared_concepts(*graphs)
    rng = generator(settings.seed, key)
    members = [[graph.members[node] for node in some]
               for graph, some in zip(graphs, nodes, strict=True)]  # fmt: skip
    estimator = settings.ablations[0].estimator
    parts = [largest_parts(some) for some in members]

    def vectors(side: int, some: list[np.ndarray]) -> np.ndarray:
        moments = shared_moments(rows[side], some, parts[side])
        return concept_vectors(rows[side], some, estimator, moments)

    def random(side: int) -> np.ndarray:
        tokens = graphs[side].tokens
        order = np.arange(len(rows[side]))
        order[tokens] = rng.permutation(tokens)
        return vectors(side, [np.sort(order[some]) for some in members[side]])

    real = [vectors(side, members[side]) for side in (0, 1)]
    return compare(
        real[0], real[1], (members[0], members[1]),
        [(random(0), random(1)) for _ in range(settings.nulls.n_nested)],
        settings.n_groups, settings.n_permutations, rng,
    )  # fmt: skip
