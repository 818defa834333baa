"""Norms of reconstructions, and what scaling the decoder recovers while the encoder stays.

SAEs trained for sparsity shrink what they reconstruct (Wright & Sharkey 2024, Addressing Feature
Suppression in SAEs). With the encoder frozen, the best scale of every feature is a least-squares
problem, so it is solved, not trained.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from universality.core.splicing import Intervals, LinearDecoder

NORM_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def norm_ratios(
    x: np.ndarray, reconstruction: np.ndarray, intervals: Intervals
) -> tuple[np.ndarray, dict[str, float]]:
    """Norm of the reconstruction over that of the input, per token `(n,)`, and its summary.

    `norm_ratio` is the mean, with interval. Least squares shrinks too: a projection that leaves an
    error e has sqrt(1 - |e|^2 / |x|^2), whose mean is `norm_ratio_null` (0 where the error is
    larger than the input). `norm_below_1` is the share of tokens with a ratio below 1.
    """
    square, error = (np.square(rows, dtype=np.float64).sum(1) for rows in (x, x - reconstruction))
    ratio = np.linalg.norm(reconstruction.astype(np.float64), axis=1) / np.sqrt(square)
    projection = np.sqrt(np.maximum(0, 1 - error / square))
    return ratio, {
        **intervals.ratio("norm_ratio", ratio),
        **intervals.ratio("norm_ratio_null", projection),
        **intervals.ratio("norm_below_1", (ratio < 1).astype(float)),
    }


@dataclass(frozen=True)
class Scales:
    """Best scales of an SAE's features on one text."""

    per_feature: np.ndarray
    """Shape `(d_sae,)`."""
    count: np.ndarray
    """Tokens on which each feature fired, `(d_sae,)`."""
    one: dict[str, float]
    """The best single scale, `global_scale`, with its interval over documents."""


def fit_scales(
    x: np.ndarray,
    features: sp.csr_matrix,
    decoder: LinearDecoder,
    ridge: float,
    intervals: Intervals,
) -> Scales:
    """Minimise sum_i |x_i - b - sum_f s_f a_if d_f|^2 over the scales s.

    The normal equations are ((A^T A) * (D D^T)) s = diag(D (X - b)^T A). Features that hardly fire
    are held near 1: `ridge` counts as so many further firings of mean strength that ask for 1, and
    a feature that never fires gets exactly 1. `x` is `(n, d)`, `features` A `(n, d_sae)`.
    """
    a, rows = features.astype(np.float64), decoder.rows.astype(np.float64)
    target = x.astype(np.float64) - decoder.offset
    cross = rows @ rows.T
    gram = (a.T @ a).toarray() * cross
    strength = np.trace(gram) / max(1, a.nnz)
    right = ((a.T @ target) * rows).sum(1)
    diagonal = np.diag_indices_from(gram)
    gram[diagonal] += ridge * strength
    solution = scipy.linalg.solve(
        gram, right + ridge * strength, assume_a="pos", overwrite_a=True, overwrite_b=True
    )
    reconstruction = a @ rows
    one = intervals.ratio(
        "global_scale", (reconstruction * target).sum(1), np.square(reconstruction).sum(1)
    )
    return Scales(solution, np.bincount(features.indices, minlength=len(rows)), one)


def scaled(features: sp.csr_matrix, scale: np.ndarray | float) -> sp.csr_matrix:
    """Return `features` with each column times its scale, `(d_sae,)` or one number."""
    factor = np.asarray(scale, dtype=np.float32)
    result = features.copy()
    result.data = features.data * (factor[features.indices] if factor.ndim else factor)
    return result


def mean_scale(scales: Scales, n_bootstrap: int, rng: np.random.Generator) -> dict[str, float]:
    """Mean scale of the features that fired, weighted by how often, interval over features."""
    fired = np.flatnonzero(scales.count)
    features = Intervals(np.arange(len(fired)), n_bootstrap, rng)
    weight = scales.count[fired].astype(float)
    return features.ratio("mean_scale", scales.per_feature[fired] * weight, weight)
