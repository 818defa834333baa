"""The best partner of every alive feature, with null and resampled documents."""

import numpy as np

from universality.matching.bootstrap import document_sums, resampled_r
from universality.matching.conditions.conditions import BestR
from universality.matching.engine.moments import Sparse
from universality.matching.engine.partners import Matcher
from universality.matching.study import alive_features


def alive(features: Sparse, min_count: int) -> np.ndarray:
    """Return which columns of `(n, d)` fire on at least `min_count` rows and vary, ascending."""
    return np.flatnonzero(alive_features(features, min_count)[0])


def draw(features: Sparse, n_wanted: int, rng: np.random.Generator) -> Sparse:
    """Return `n_wanted` of the columns of `(n, d)` at random, or all where there are no more."""
    d = features.shape[1]
    chosen = rng.choice(d, min(n_wanted, d), replace=False)
    return features[:, np.sort(chosen)]


def best_r(
    a: Sparse,
    b: Sparse,
    offsets: np.ndarray,
    resampled: tuple[np.ndarray, np.ndarray] | None = None,
    memory_mb: float = 1024,
) -> BestR:
    """Match A's features `(n, n_a)` with B's `(n, n_b)`, over the same positions, all alive.

    `offsets` are the shifts of the null (`nulls.shift_offsets`); `resampled` the document of each
    row and the weights of documents (`stats.document_weights`), without which nothing is resampled.
    """
    n_a, n_b = a.shape[1], b.shape[1]
    n_bootstrap = 0 if resampled is None else len(resampled[1])
    bootstrap_r = np.zeros((n_bootstrap, n_a), dtype=np.float32)
    if not (n_a and n_b):
        return BestR(np.zeros(n_a), np.zeros((len(offsets), n_a)), bootstrap_r, n_b)
    matcher = Matcher(a, b, memory_mb=memory_mb)
    forward = matcher.partners()[0]
    if resampled is not None:
        documents, weights = resampled
        sums = document_sums(a, b[:, forward.partner[:, 0]], documents)
        bootstrap_r[:] = resampled_r(sums, weights)
    nulls = [matcher.partners(1, int(offset))[0].r[:, 0] for offset in offsets]
    return BestR(forward.r[:, 0], np.array(nulls), bootstrap_r, n_b)
