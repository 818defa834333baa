"""Whether tokens with similar activations have similar errors: a number, and a map beside it.

UMAP shows clusters whether or not there are any, so it is never drawn without the number.
"""

import numpy as np

from universality.core.nulls import permutation_p
from universality.core.splicing import Intervals
from universality.studies.saes.study.neurons import unit

_BLOCK = 512


def nearest_neighbours(x: np.ndarray, documents: np.ndarray, k: int) -> np.ndarray:
    """Return the `k` rows of `x` `(n, d)` with the largest cosine to each, `(n, k)`.

    Only rows of other documents: within one, tokens resemble each other for reasons of their own.
    """
    counts = np.bincount(documents)
    if len(x) - counts.max() < k:
        raise ValueError(f"fewer than {k} tokens lie outside the longest document")
    rows = unit(x.astype(np.float32))
    found = np.empty((len(x), k), dtype=np.int64)
    for first in range(0, len(x), _BLOCK):
        block = slice(first, first + _BLOCK)
        cosine = rows[block] @ rows.T
        cosine[documents[block, None] == documents[None]] = -np.inf
        found[block] = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
    return found


def neighbour_agreement(
    neighbours: np.ndarray,
    values: np.ndarray,
    intervals: Intervals,
    n_null: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """How far the values `(n,)` of each token's neighbours `(n, k)` predict its own.

    `moran_i` = sum z m / sum z^2 (Moran 1950, equal weights), z being the centred values and m the
    mean z of a token's neighbours; with an interval over documents (neighbours held fixed), `_null`
    (mean over permutations of the values) and `_p`.
    """
    z = values - values.mean()
    square = np.square(z)
    if not square.any():
        raise ValueError("all values are equal")

    def products(z: np.ndarray) -> np.ndarray:
        return z * z[neighbours].mean(1)

    null = np.array([products(rng.permutation(z)).sum() / square.sum() for _ in range(n_null)])
    found = intervals.ratio("moran_i", products(z), square)
    return found | {
        "moran_i_null": float(null.mean()), "moran_i_p": permutation_p(found["moran_i"], null)
    }  # fmt: skip
