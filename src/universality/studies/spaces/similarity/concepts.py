"""Concepts: is the space alike inside one, and do concepts lie alike to each other?

Lan et al. 2024 (arXiv 2410.06981) compare subspaces of concepts, named by keywords. A sample is one
position of a document that holds a keyword, so that samples are independent; the centroid of a
concept is the mean over all such positions.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from universality.core.nulls import permutation_p, with_q
from universality.core.stats import jackknife_interval
from universality.studies.spaces.params.similarity import Similarity
from universality.studies.spaces.similarity.distances import dissimilarities, rsa
from universality.studies.spaces.similarity.measures import Options
from universality.studies.spaces.similarity.null import (
    blocks,
    compare_prepared,
    kernels,
    prepared,
    straight,
)

MEASURE = "linear_cka_unbiased"
"""The measure inside concepts: its null is 0 for any number of positions."""
Masks = Mapping[str, np.ndarray]
"""Concept -> whether each position, in reading order, is of it, `(n,)`."""


def concept_samples(
    mask: np.ndarray, documents: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return one position of `mask` `(n,)` of every document that has one, drawn at random."""
    rows = rng.permutation(np.flatnonzero(mask))
    _, first = np.unique(documents[rows], return_index=True)
    return rows[first]


def any_samples(documents: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a position of each of `n` documents, all drawn at random.

    `documents` is ascending: positions are in reading order.
    """
    first = np.flatnonzero(np.diff(documents, prepend=-1))
    count = np.diff(first, append=len(documents))
    chosen = rng.permutation(len(first))[:n]
    return first[chosen] + rng.integers(count[chosen])


def inside_concepts(
    a: np.ndarray,
    b: np.ndarray,
    masks: Masks,
    documents: np.ndarray,
    settings: Similarity,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Compare `a` `(n, d_a)` and `b` `(n, d_b)` on the positions of each concept alone.

    One row per concept, unbiased linear CKA: `value` with interval, permuted documents (`null`,
    `p`, `q` over concepts) and as many positions of other documents at random (`random`, and the
    `random_p` of a value as high). A concept with fewer than `min_pairs` documents has a row with
    n alone.
    """
    rows: list[dict[str, Any]] = []
    for concept, mask in masks.items():
        chosen = concept_samples(mask, documents, rng)
        n = len(chosen)
        row: dict[str, Any] = {"concept": concept, "measure": MEASURE, "n": n}
        rows.append(row)
        if n < max(settings.min_pairs, 2 * settings.n_groups):
            continue
        samples = blocks(n, 1, settings.n_permutations, rng)
        sides = [
            prepared(x[chosen], samples, settings.n_groups, Options(), [MEASURE]) for x in (a, b)
        ]
        compared = compare_prepared(sides[0], sides[1], samples)[MEASURE]
        chance = []
        for _ in range(settings.n_subsets):
            some = any_samples(documents, n, rng)
            other = [kernels(x[some], Options(), [MEASURE]) for x in (a, b)]
            chance.append(straight(other[0], other[1])[MEASURE])
        row |= compared.row() | {
            "random": float(np.mean(chance)),
            "random_p": permutation_p(compared.value, np.array(chance)),
        }
    return with_q(pd.DataFrame(rows), "p", "random_p")


def centroids(x: Any, masks: Masks) -> np.ndarray:
    """Return the mean of the rows of `x` `(n, d)`, dense or sparse, of each concept: `(k, d)`."""
    return np.array(
        [np.asarray(x[np.flatnonzero(mask)].mean(axis=0)).ravel() for mask in masks.values()]
    )


def rsa_of_orders(a: np.ndarray, b: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Return `distances.rsa` of `a` and `b` `(k, k)` for each order of b's samples, `(m,)`."""
    upper = np.triu_indices(len(a), 1)
    one, other = (rankdata(matrix[upper]) for matrix in (a, b))
    one, other = (ranks - ranks.mean() for ranks in (one, other))
    square = np.zeros(b.shape)
    square[upper] = other
    square += square.T
    permuted = square[orders[:, upper[0]], orders[:, upper[1]]]
    return permuted @ one / np.sqrt(np.sum(one**2) * np.sum(other**2))


def concept_relations(
    a: Mapping[int, Any],
    b: Mapping[int, Any],
    masks: Masks,
    documents: np.ndarray,
    settings: Similarity,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Compare the distances from concept to concept in every layer of A and of B.

    RSA (Spearman, 1 - correlation) of the centroids of the k concepts that have `min_pairs`
    positions in all documents but a group. The null exchanges the concepts' names in B: `null` and
    `p`, `q` over the map. 95% intervals are jackknifed over groups of documents.
    """
    number = np.unique(documents, return_inverse=True)[1]
    group = number % settings.n_groups
    left = [group != g for g in range(settings.n_groups)]
    used = {
        concept: mask
        for concept, mask in masks.items()
        if min(int(np.sum(mask & kept)) for kept in left) >= settings.min_pairs
    }
    k = len(used)
    if k < 4:
        return pd.DataFrame({"layer_a": [], "layer_b": [], "n_concepts": []})
    orders = np.argsort(rng.random((settings.n_permutations, k)), axis=1)
    kept_masks = [used] + [{name: m & kept for name, m in used.items()} for kept in left]
    distances = [
        {
            layer: [dissimilarities(centroids(x, some), "correlation") for some in kept_masks]
            for layer, x in side.items()
        }
        for side in (a, b)
    ]
    rows = []
    for layer_a, of_a in distances[0].items():
        for layer_b, of_b in distances[1].items():
            value = rsa(of_a[0], of_b[0])
            without = [rsa(one, other) for one, other in zip(of_a[1:], of_b[1:], strict=True)]
            null = rsa_of_orders(of_a[0], of_b[0], orders)
            low, high = jackknife_interval(value, np.array(without), (-1, 1))
            rows.append(
                {
                    "layer_a": layer_a,
                    "layer_b": layer_b,
                    "n_concepts": k,
                    "value": value,
                    "low": low,
                    "high": high,
                    "null": float(null.mean()),
                    "p": permutation_p(value, null),
                }
            )
    return with_q(pd.DataFrame(rows), "p")
