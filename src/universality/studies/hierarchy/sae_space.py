"""Concept vectors beside the decoder directions of an SAE at the same hook.

Directions are compared after the same whitening as concept vectors: the causal inner product.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from universality.core.pursuit import orthogonal_matching_pursuit
from universality.studies.hierarchy.claims import unit


@dataclass(frozen=True)
class Selective:
    """The features that fire on a concept's tokens rather than on others."""

    features: np.ndarray
    """The most selective ones of each concept, `(k, n_features)`, chosen on half of the tokens."""
    held_out: np.ndarray
    """P(fires | concept) - P(fires | other) of each on the other half, `(k, n_features)`."""


def rates(fires: sp.csr_matrix, members: Sequence[np.ndarray], kept: np.ndarray) -> np.ndarray:
    """Return P(fires | concept) - P(fires | other token) of every feature, `(k, n_features)`.

    `fires` `(n, n_features)` is 0 or 1, `kept` `(n,)` which tokens count. A concept that has none
    of them, or all, has rates of 0 on that side.
    """
    inside = np.zeros((len(members), len(kept)))
    for k, some in enumerate(members):
        inside[k, some] = 1
    inside *= kept
    n = inside.sum(axis=1, keepdims=True)
    hits = np.asarray(inside @ fires)
    every = np.asarray(fires.T @ kept.astype(float))[None]
    return hits / np.maximum(n, 1) - (every - hits) / np.maximum(kept.sum() - n, 1)


def selective(
    features: sp.csr_matrix, members: Sequence[np.ndarray], n: int, rng: np.random.Generator
) -> Selective:
    """Return the `n` most selective features of every concept, judged on held-out tokens."""
    fires = sp.csr_matrix(features, copy=True)
    fires.data = (fires.data != 0).astype(float)
    first = rng.random(features.get_shape()[0]) < 0.5
    chosen = np.argsort(-rates(fires, members, first), axis=1, kind="stable")[:, :n]
    judged = rates(fires, members, ~first)
    return Selective(chosen, np.take_along_axis(judged, chosen, axis=1))


def own_cosines(
    directions: np.ndarray, vectors: np.ndarray, features: np.ndarray, at: np.ndarray
) -> np.ndarray:
    """Return the mean cosine of each concept's `features` `(k, n)` with the vector of `at` `(k,)`.

    `directions` `(n_features, d)` and `vectors` `(k, d)` are in one whitened space.
    """
    own, targets = unit(directions), unit(vectors)[at]
    return np.einsum("knd,kd->k", own[features], targets) / features.shape[1]


@dataclass(frozen=True)
class MadeOf:
    """Concept vectors as sums of few decoder directions."""

    features: np.ndarray
    """In the order of their choice, `(k, l0)`; -1 where there are fewer."""
    coefficients: np.ndarray
    cosine: np.ndarray
    """Of the sum with the vector, `(k,)`."""
    own_share: np.ndarray
    """Share of the features that are among the concept's selective ones, `(k,)`."""


def made_of(directions: np.ndarray, vectors: np.ndarray, l0: int, own: np.ndarray) -> MadeOf:
    """Decompose `vectors` `(k, d)` into `l0` of `directions` by orthogonal matching pursuit.

    `own` `(k, n)` are each concept's selective features.
    """
    codes = orthogonal_matching_pursuit(vectors, directions, l0)
    sums = codes.reconstruct(directions)
    cosine = np.einsum("kd,kd->k", unit(sums), unit(vectors))
    share = [
        float(np.isin(found[found >= 0], some).mean()) if (found >= 0).any() else 0.0
        for found, some in zip(codes.atoms, own, strict=True)
    ]
    return MadeOf(codes.atoms, codes.coefficients, cosine, np.array(share))
