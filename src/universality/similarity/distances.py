"""Similarity of the distances between samples: RSA, distance correlation, neighbours.

None of these asks for a map from one representation to the other. All hold `(n, n)` matrices.
"""

from typing import Literal

import numpy as np
from scipy.stats import rankdata

from universality.similarity.cka import double_centred, squared_distances

Distance = Literal["correlation", "euclidean", "cosine"]


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


def rsa(a: np.ndarray, b: np.ndarray, ranked: bool = True) -> float:
    """Return the correlation of two dissimilarity matrices `(n, n)` over their upper triangles.

    Spearman's (Kriegeskorte et al. 2008) if `ranked`, else Pearson's. NaN if one is constant.
    """
    upper = np.triu_indices(len(a), 1)
    one, other = a[upper], b[upper]
    if ranked:
        one, other = rankdata(one), rankdata(other)
    if not (np.ptp(one) and np.ptp(other)):
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def distance_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the distance correlation of two matrices of Euclidean distances `(n, n)`.

    Szekely, Rizzo & Bakirov 2007: the square root of the ratio of distance covariances, biased: it
    is above 0 for independent samples. Not `pairwise_distance_pearson`.
    """
    one, other = double_centred(a), double_centred(b)
    variances = np.sqrt(np.mean(one**2) * np.mean(other**2))
    if not variances > 0:
        return float("nan")
    return float(np.sqrt(max(0.0, np.mean(one * other)) / variances))


def pairwise_distance_pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of two matrices of Euclidean distances, over pairs of samples.

    The measure that is sometimes called distance correlation, which it is not: it is RSA with
    Euclidean distances and without ranks.
    """
    return rsa(a, b, ranked=False)


def neighbours(distances: np.ndarray, k: int) -> np.ndarray:
    """Return the `k` nearest other samples of each, `(n, k)`; of equal ones the earlier."""
    n = len(distances)
    if not 0 < k < n:
        raise ValueError(f"{k} neighbours of {n} samples")
    barred = distances + np.diag(np.full(n, np.inf))
    return np.argsort(barred, axis=1, kind="stable")[:, :k]


def mutual_knn(a: np.ndarray, b: np.ndarray, k: int = 10) -> float:
    """Return the mean share of the `k` nearest neighbours that two representations have in common.

    From distances `(n, n)`; Huh et al. 2024 (Platonic Representation Hypothesis). Independent
    representations share k / (n - 1).
    """
    one, other = (neighbourhoods(distances, k) for distances in (a, b))
    return float((one & other).sum(axis=1).mean() / k)


def neighbourhoods(distances: np.ndarray, k: int) -> np.ndarray:
    """Return whether sample j is among the `k` nearest others of sample i, `(n, n)`."""
    members = np.zeros(distances.shape, dtype=bool)
    np.put_along_axis(members, neighbours(distances, k), True, axis=1)
    return members


def knn_consistency(distances: np.ndarray, labels: np.ndarray, k: int = 10) -> float:
    """Return the mean share of the `k` nearest neighbours of a sample that have its label.

    `labels` `(n,)`. Of one representation: two are compared by how they differ in it.
    """
    labels = np.asarray(labels)
    return float(np.mean(labels[neighbours(distances, k)] == labels[:, None]))
