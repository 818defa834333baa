"""What an SAE loses without some of its features: the weakest of each token, or the densest of all.

Features are sparse `(n, d_sae)`, one row per judged token (see `splicing`). Every removal is
compared with that of random features, as many (per token) or carrying as much L0 (of all).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from universality.core.splicing import LinearDecoder, Outcomes

WEAKEST, RANDOM, STRONGEST = "lowest", "random", "highest"
DENSEST = "high_frequency"


def ranks_in_rows(features: sp.csr_matrix, keys: np.ndarray) -> np.ndarray:
    """Return the rank, from 0, of each stored entry within its row by ascending `keys` `(nnz,)`."""
    row = np.repeat(np.arange(len(features.indptr) - 1), np.diff(features.indptr))
    order = np.lexsort((keys, row))
    ranks = np.empty(len(keys), dtype=np.int64)
    ranks[order] = np.arange(len(keys)) - features.indptr[row[order]]
    return ranks


def without(features: sp.csr_matrix, drop: np.ndarray) -> sp.csr_matrix:
    """Return `features` without the stored entries that `drop` `(nnz,)` marks."""
    kept = features.copy()
    kept.data = np.where(drop, 0, features.data)
    kept.eliminate_zeros()
    return kept


def remove_per_token(
    features: sp.csr_matrix,
    decoder: LinearDecoder,
    removed: list[int],
    outcomes: Outcomes,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Remove the k lowest, k random or k highest active features of each token.

    An active feature's height is the norm of what it adds to the reconstruction. Random features
    are nested: those of a larger k hold those of a smaller. One row per k of `removed` and `which`
    (k = 0 once, as `lowest`): l0 of what is left, the numbers of `Outcomes.row`, and
    `ce_minus_random`, the CE against removing k random ones. A k above the mean L0 is left out.
    """
    height = features.data * np.linalg.norm(decoder.rows, axis=1)[features.indices]
    keys = {RANDOM: rng.random(len(height)), WEAKEST: height, STRONGEST: -height}
    ranks = {which: ranks_in_rows(features, key) for which, key in keys.items()}
    n = len(outcomes.x)
    rows = []
    for k in sorted({0, *(k for k in removed if k <= features.nnz / n)}):
        control = np.empty(0)
        for which in keys if k else [WEAKEST]:
            left = without(features, ranks[which] < k)
            losses = outcomes.losses(new := decoder.decode(left))
            control = losses if which == RANDOM or not k else control
            rows.append(
                {"which": which, "removed": k, "l0": left.nnz / n, "n_tokens": n}
                | outcomes.row(new, losses)
                | outcomes.intervals.ratio("ce_minus_random", losses - control)
            )
    return pd.DataFrame(rows)


def remove_dense(
    features: sp.csr_matrix,
    density: np.ndarray,
    decoder: LinearDecoder,
    thresholds: list[float],
    outcomes: Outcomes,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Remove the features whose `density` `(d_sae,)`, taken on other text, is above a threshold.

    Beside it, random features with the same sum of densities, so that L0 falls alike. One row per
    threshold with such features and `which` (high_frequency, random): n_removed, l0 of what is left
    with its interval, the numbers of `Outcomes.row` and `ce_minus_random`.
    """
    rows, control = [], np.empty(0)
    for threshold, which, gone in _dense_sets(density, thresholds, rng):
        left = without(features, gone[features.indices])
        losses = outcomes.losses(new := decoder.decode(left))
        control = control if which == DENSEST else losses  # the random set comes before it
        active: Any = np.diff(left.indptr).astype(np.float64)
        rows.append(
            {"which": which, "threshold": threshold, "n_removed": int(gone.sum())}
            | {"n_tokens": len(outcomes.x)}
            | outcomes.intervals.ratio("l0", active)
            | outcomes.row(new, losses)
            | outcomes.intervals.ratio("ce_minus_random", losses - control)
        )
    return pd.DataFrame(rows)


def _dense_sets(
    density: np.ndarray, thresholds: list[float], rng: np.random.Generator
) -> Iterator[tuple[float, str, np.ndarray]]:
    for threshold in sorted(thresholds, reverse=True):
        dense = density > threshold
        if dense.any():
            yield threshold, RANDOM, random_of_equal_l0(density, dense, rng)
            yield threshold, DENSEST, dense


def random_of_equal_l0(
    density: np.ndarray, like: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return a random set of firing features whose densities sum to those of the set `like`.

    Features are taken in random order, each if it still fits; masks `(d_sae,)` in and out.
    """
    wanted, chosen = density[like].sum() + 1e-12, np.zeros(len(density), dtype=bool)
    for feature in rng.permutation(np.flatnonzero(density > 0)):
        if density[feature] <= wanted:
            chosen[feature] = True
            wanted -= density[feature]
    return chosen
