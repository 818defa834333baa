"""Distances between samples, what two such matrices have in common (RSA), and neighbours."""

from typing import Literal, get_args

import numpy as np

from universality.studies.spaces.similarity.cka import squared_distances

Distance = Literal["correlation", "euclidean", "cosine"]
DISTANCES: tuple[Distance, ...] = get_args(Distance)


def dissimilarities(x: np.ndarray, distance: Distance) -> np.ndarray:
    """Return the dissimilarity of every pair of rows of `x` `(n, d)`, `(n, n)`, diagonal 0.

    correlation: 1 - Pearson's over columns, as Kriegeskorte et al. 2008; cosine; euclidean.
    ValueError if a row has no direction to compare.
    """
    x = np.asarray(x, dtype=np.float64)
    if distance == "euclidean":
        return np.sqrt(squared_distances(x))
    if distance == "correlation":
        x = x - x.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    if not (norms > 0).all():
        raise ValueError(f"{distance} of a sample that is constant")
    x = x / norms
    found = 1 - np.clip(x @ x.T, -1, 1)
    np.fill_diagonal(found, 0)
    return found


def rsa(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's correlation of two dissimilarity matrices `(n, n)`, upper triangles.

    Kriegeskorte et al. 2008. NaN if one is constant.
    """
    from scipy.stats import rankdata  # half a second: not to be paid by a check of parameters

    upper = np.triu_indices(len(a), 1)
    one, other = rankdata(a[upper]), rankdata(b[upper])
    if not (np.ptp(one) and np.ptp(other)):
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def neighbours(distances: np.ndarray, k: int) -> np.ndarray:
    """Return the `k` nearest other samples of each, `(n, k)`; of equal ones the earlier."""
    n = len(distances)
    if not 0 < k < n:
        raise ValueError(f"{k} neighbours of {n} samples")
    barred = distances + np.diag(np.full(n, np.inf))
    return np.argsort(barred, axis=1, kind="stable")[:, :k]


def neighbourhoods(distances: np.ndarray, k: int) -> np.ndarray:
    """Return whether sample j is among the `k` nearest others of sample i, `(n, n)`."""
    members = np.zeros(distances.shape, dtype=bool)
    np.put_along_axis(members, neighbours(distances, k), True, axis=1)
    return members
