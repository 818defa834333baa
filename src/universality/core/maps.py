"""Maps of features by UMAP.

UMAP keeps neighbours and distorts distances; it shows clusters in noise. Nothing here is evidence
without the number beside it.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from universality.core.stats import jackknife_interval


def umap_map(
    x: np.ndarray,
    n_neighbors: int,
    min_dist: float,
    seed: int,
    n_components: int = 2,
    n_epochs: int | None = None,
) -> np.ndarray:
    """Return the UMAP embedding `(n, n_components)` of the rows of `x` `(n, d)` by cosine.

    One thread, so that a seed gives the same map each time (McInnes et al. 2018).
    """
    mapper = _fitted(x, n_neighbors, min_dist, seed, n_components, n_epochs)
    return np.asarray(mapper.embedding_, dtype=np.float32)


def umap_onto(
    x: np.ndarray,
    others: Sequence[np.ndarray],
    n_neighbors: int,
    min_dist: float,
    seed: int,
    n_epochs: int | None = None,
) -> list[np.ndarray]:
    """Return the embedding `(n, 2)` of `x` as `umap_map` does, and each of `others` on that map.

    New rows begin between their nearest rows of `x` and then settle, at random like these. So `x`
    itself, put on its own map, does not come to lie where it was: given among `others` it shows
    how far a map moves what has not moved.
    """
    mapper = _fitted(x, n_neighbors, min_dist, seed, 2, n_epochs)
    mapper._input_hash = None  # by which UMAP would know `x` again, and not place it anew
    return [
        np.asarray(found, dtype=np.float32)
        for found in (mapper.embedding_, *(mapper.transform(other) for other in others))
    ]


@dataclass(frozen=True)
class _Exact:
    """Exact neighbours, asked for as UMAP asks its own index, which takes longer to compile."""

    search: Any
    _angular_trees = True

    def query(self, x: np.ndarray, k: int, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
        """Return index and distance of the `k` nearest rows; `epsilon` is of inexact searches."""
        # A copy: the fitted rows themselves would be 0 from themselves, others only nearly 0.
        distance, index = self.search.kneighbors(x.copy(), k)
        return index, distance


def _fitted(
    x: np.ndarray, n_neighbors: int, min_dist: float, seed: int, n_components: int,
    n_epochs: int | None,
) -> Any:  # fmt: skip
    from sklearn.neighbors import NearestNeighbors

    n_neighbors = min(n_neighbors, len(x) - 1)
    search = NearestNeighbors(n_neighbors=n_neighbors, metric="cosine").fit(x)
    distance, index = search.kneighbors(x)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tensorflow not", category=ImportWarning)
        # It need not be one: `_Exact` answers what UMAP asks.
        warnings.filterwarnings("ignore", message=".*not an NNDescent object", category=UserWarning)
        from umap import UMAP

        mapper = UMAP(
            n_neighbors=n_neighbors, min_dist=min_dist, metric="cosine", n_components=n_components,
            n_epochs=n_epochs, precomputed_knn=(index, distance, _Exact(search)),
            random_state=seed, transform_seed=seed, n_jobs=1,
        )  # fmt: skip
        with _seeded_eigsh(seed):
            return mapper.fit(x)


@contextmanager
def _seeded_eigsh(seed: int) -> Iterator[None]:
    """Let UMAP's eigenvectors restart from a seed.

    Where rows are equal, ARPACK's start lies in too small a space, and it goes on from a random
    vector, which SciPy draws anew each time unless it is given a generator; UMAP gives none.
    """
    from scipy.sparse import linalg

    plain = linalg.eigsh
    linalg.eigsh = partial(plain, rng=np.random.default_rng(seed))
    try:
        yield
    finally:
        linalg.eigsh = plain


def of_cosines(cosine: np.ndarray) -> np.ndarray:
    """Return rows `(n, r)` of unit norm with the cosines `(n, n)`, r being their rank."""
    values, vectors = np.linalg.eigh(cosine)
    kept = values > 1e-9 * values[-1]
    return vectors[:, kept] * np.sqrt(values[kept])


def left_out(
    statistic: Callable[[np.ndarray], float], n: int, n_groups: int, within: tuple[float, float]
) -> tuple[float, float]:
    """Return the 95% interval of `statistic(rows)` of `n` samples by leaving groups of them out.

    `statistic` takes the rows that are kept and lies in the range `within`. Groups are every
    `n_groups`-th row.
    """
    rows = np.arange(n)
    values = [statistic(rows[rows % n_groups != group]) for group in range(n_groups)]
    return jackknife_interval(statistic(rows), np.array(values), within)
