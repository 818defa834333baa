"""Categories as the corners of a simplex (Park et al. 2024, theorem 12 and figures 2 to 4).

Any k vectors are the corners of some simplex, and vectors with independent errors of one size those
of a regular one: what random parts of the same parent give stands beside every number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from universality.core.errors import InputError
from universality.core.stats import jackknife_interval
from universality.studies.hierarchy.claims import unit
from universality.studies.hierarchy.study import CORRELATION, beside
from universality.studies.hierarchy.vectors import Estimator, concept_vector, concept_vectors

RANGES = {
    "edge_variation": (0.0, np.inf),
    "angle": CORRELATION,
    "angle_spread": (0.0, 1.0),
    "parent_in_span": (0.0, 1.0),
    "corner_cosine": CORRELATION,
    "parent_cosine": CORRELATION,
    "nearest_corner": (0.0, 1.0),
}
"""Statistic -> the range of its values, which no interval leaves."""


@dataclass(frozen=True)
class Corners:
    """The categories of a parent: rows of representations, no row in two of them."""

    parent: np.ndarray
    categories: list[np.ndarray]


def corners(parent: np.ndarray, categories: Sequence[np.ndarray]) -> Corners:
    """Leave out tokens of several categories; InputError if a category has fewer than 3 left."""
    token, count = np.unique(np.concatenate(categories), return_counts=True)
    several = token[count > 1]
    left = [np.setdiff1d(some, several, assume_unique=True) for some in categories]
    for number, some in enumerate(left, 1):
        if len(some) < 3:
            raise InputError(
                f"category {number} of a polytope has {len(some)} tokens that are in no other, "
                "expected 3"
            )
    return Corners(parent, left)


def random_corners(real: Corners, rng: np.random.Generator) -> Corners:
    """Return random parts of the real parent of the same sizes, no token in two."""
    sizes = [len(some) for some in real.categories]
    mixed = rng.permutation(real.parent)[: sum(sizes)]
    return Corners(real.parent, np.split(mixed, np.cumsum(sizes)[:-1]))


def exchanged(real: Corners, order: np.ndarray) -> Corners:
    """Return the same corners with row `order[i]` in the place of row i."""
    return Corners(order[real.parent], [order[some] for some in real.categories])


def span_of(vectors: np.ndarray) -> np.ndarray:
    """Return orthonormal rows `(k - 1, d)` that span the differences of `vectors` `(k, d)`.

    By principal components of the corners, the widest first.
    """
    _, lengths, directions = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    return directions[: len(vectors) - 1][lengths[: len(vectors) - 1] > 1e-9 * lengths[0]]


def shape(rows: np.ndarray, found: Corners, estimator: Estimator) -> dict[str, float]:
    """Return how regular the simplex is, and how the parent's vector lies to it.

    `edge_variation`: standard deviation over mean of the lengths of its edges. `angle`: mean cosine
    of two corners seen from the middle, -1 / (k - 1) if regular, and `angle_spread` their standard
    deviation. `parent_in_span`: length of the parent's unit vector's part in the span, 0 if
    orthogonal. `corner_cosine`: mean cosine of two corners' vectors, and `parent_cosine`: of a
    corner minus the parent with the parent.
    """
    vectors = concept_vectors(rows, found.categories, estimator)
    parent = concept_vector(rows[found.parent], estimator)
    pairs = np.array(list(combinations(range(len(vectors)), 2)))
    edges = np.linalg.norm(vectors[pairs[:, 0]] - vectors[pairs[:, 1]], axis=1)
    middle = unit(vectors - vectors.mean(axis=0))
    angles = (middle @ middle.T)[tuple(pairs.T)]
    whole = unit(vectors)
    up = parent / np.linalg.norm(parent)
    return {
        "edge_variation": float(edges.std() / edges.mean()),
        "angle": float(angles.mean()),
        "angle_spread": float(angles.std()),
        "parent_in_span": float(np.linalg.norm(span_of(vectors) @ up)),
        "corner_cosine": float((whole @ whole.T)[tuple(pairs.T)].mean()),
        "parent_cosine": float((unit(vectors - parent) @ up).mean()),
    }


def nearest_corner(
    rows: np.ndarray,
    found: Corners,
    estimator: Estimator,
    n_groups: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return how often a token is nearest to its own corner, `(n_groups,)`, by cross-validation.

    The corners come from all groups of tokens but one, and the tokens of this one are judged,
    within the corners' span; mean over categories. By chance it is 1 / k.
    """
    group = [rng.permutation(len(some)) % n_groups for some in found.categories]
    right = np.full((n_groups, len(group)), np.nan)
    for number in range(n_groups):
        parts = list(zip(found.categories, group, strict=True))
        vectors = concept_vectors(rows, [some[own != number] for some, own in parts], estimator)
        span = span_of(vectors)
        places = vectors @ span.T
        for k, (some, own) in enumerate(parts):
            judged = rows[some[own == number]] @ span.T
            if len(judged):
                away = np.linalg.norm(judged[:, None] - places, axis=2)
                right[number, k] = np.mean(away.argmin(axis=1) == k)
    return np.nanmean(right, axis=1)


def statistics(
    rows: np.ndarray, found: Corners, estimator: Estimator, n_groups: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return `shape` and the mean of `nearest_corner`."""
    near = nearest_corner(rows, found, estimator, n_groups, rng)
    return shape(rows, found, estimator) | {"nearest_corner": float(near.mean())}


def with_intervals(
    rows: np.ndarray, found: Corners, estimator: Estimator, n_groups: int, rng: np.random.Generator
) -> dict[str, tuple[float, float, float]]:
    """Return value, low and high of `statistics`: 95%, jackknifed over groups of tokens."""
    value = shape(rows, found, estimator)
    group = [rng.permutation(len(some)) % n_groups for some in found.categories]
    inside = rng.permutation(len(found.parent)) % n_groups
    without = [
        shape(
            rows,
            Corners(
                found.parent[inside != number],
                [some[own != number] for some, own in zip(found.categories, group, strict=True)],
            ),
            estimator,
        )
        for number in range(n_groups)
    ]
    near = nearest_corner(rows, found, estimator, n_groups, rng)
    others = (near.sum() - near) / (n_groups - 1)
    left_out = {name: np.array([left[name] for left in without]) for name in value}
    value["nearest_corner"], left_out["nearest_corner"] = float(near.mean()), others
    return {
        name: (one, *jackknife_interval(one, left_out[name], RANGES[name]))
        for name, one in value.items()
    }


def compared(
    rows: np.ndarray,
    real: Corners,
    random: Sequence[Corners],
    others: Mapping[str, Sequence[Corners]],
    estimator: Estimator,
    n_groups: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return a row per statistic: `value` with its interval, and mean and range of each control.

    `random` are parts of the real parent. `others`, further controls by their name, have only what
    `shape` gives.
    """
    drawn = {
        "random": [statistics(rows, one, estimator, n_groups, rng) for one in random],
        **{name: [shape(rows, one, estimator) for one in some] for name, some in others.items()},
    }
    k, n = len(real.categories), sum(map(len, real.categories))
    table = []
    for name, (one, low, high) in with_intervals(rows, real, estimator, n_groups, rng).items():
        row = {"k": k, "n": n, "statistic": name, "value": one, "low": low, "high": high}
        table.append(row | beside(name, drawn))
    return pd.DataFrame(table)
