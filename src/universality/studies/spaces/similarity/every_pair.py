"""Similarity of every two of many representations of the same samples.

All measures of `cka` and `distances` are cosines: of the vector that one representation alone
gives with the vector of the other. So each representation is prepared once, and all pairs are one
product. The vectors are as long as there are pairs of samples.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata

from universality.studies.spaces.similarity.cka import double_centred, rbf_kernel, u_centred
from universality.studies.spaces.similarity.distances import dissimilarities, neighbourhoods

Vector = Callable[[np.ndarray], np.ndarray]


def measures(bandwidths: Sequence[float], k: int) -> dict[str, Vector]:
    """Return measure -> its vector of a representation `(n, d)`.

    The cosines are: `unbiased_linear_cka`, `rbf_cka` (unbiased) for each of `bandwidths`, `rsa`
    for each distance, `pairwise_distance_pearson`, `mutual_knn` with `k`, and the *square* of
    `distance_correlation`, which puts them in the same order.
    """
    found: dict[str, Vector] = {
        "unbiased_linear_cka": lambda x: u_centred(x @ x.T).ravel(),
        **{
            f"rbf_cka_{b:g}": lambda x, b=b: u_centred(rbf_kernel(x, b)).ravel() for b in bandwidths
        },
        **{
            f"rsa_{distance}": lambda x, d=distance: _ranks(_upper(dissimilarities(x, d)))
            for distance in ("correlation", "cosine", "euclidean")
        },
        "pairwise_distance_pearson": lambda x: _centred(_upper(dissimilarities(x, "euclidean"))),
        "distance_correlation": lambda x: double_centred(dissimilarities(x, "euclidean")).ravel(),
        "mutual_knn": lambda x: neighbourhoods(dissimilarities(x, "euclidean"), k).ravel(),
    }
    return found


def cosines(representations: Sequence[np.ndarray], vector: Vector) -> np.ndarray:
    """Return the measure of `vector` for all pairs of `(n, d_i)`, `(count, count)`.

    ValueError where a representation has no such vector: all its samples are alike.
    """
    rows = np.stack([vector(np.asarray(x, dtype=np.float64)) for x in representations])
    rows = rows.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    if not (norms > 0).all():
        raise ValueError(f"representation {int(np.argmin(norms))}: all its samples are alike")
    rows /= norms[:, None]
    return rows @ rows.T


def _upper(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


def _ranks(values: np.ndarray) -> np.ndarray:
    return _centred(rankdata(values))


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean()
