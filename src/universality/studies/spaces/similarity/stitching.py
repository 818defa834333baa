"""Affine maps from the activations of one model to those of another, by least squares.

Model stitching (Lenc & Vedaldi 2015; Bansal et al. 2021): replace the activations of B's layer by
a map of A's, and see what B's loss becomes. They train the map by B's loss; here it is the closed
form that minimises the squared error of the activations, which knows nothing of what B does with
them: on the text of the fit, a trained map can only do better.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.linalg


@dataclass(frozen=True)
class AffineMap:
    """x -> (x - origin) @ weight + mean."""

    weight: np.ndarray
    """Shape `(d1, d2)`, float64."""
    origin: np.ndarray
    """Mean of X, `(d1,)`."""
    mean: np.ndarray
    """Mean of Y, `(d2,)`: what the map says where X says nothing."""


def fit(chunks: Iterable[tuple[np.ndarray, np.ndarray]], ridge: float) -> AffineMap:
    """Fit Y `(n, d2)` by X `(n, d1)`, given as chunks of rows of both, in float64.

    Minimises |Y - XW - b|^2 / n + `ridge` v |W|^2 with v the mean variance of X's columns; b is
    not shrunk. The chunks are gone through once and never held together. ValueError if there are
    none, if they hold NaN or infinity, or if X does not vary.
    """
    n, origins, totals = 0, [], []
    for chunk in chunks:
        x, y = (np.asarray(side, dtype=np.float64) for side in chunk)
        if len(x) != len(y):
            raise ValueError(f"{len(x)} samples of one and {len(y)} of the other")
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError("the samples hold NaN or infinity")
        # Products about the first means: about 0 they would cancel where means are large.
        origins = origins or [x.mean(axis=0), y.mean(axis=0)]
        x, y, n = x - origins[0], y - origins[1], n + len(x)
        new = [x.sum(0), y.sum(0), x.T @ x, x.T @ y]
        totals = [old + more for old, more in zip(totals, new, strict=True)] if totals else new
    if n == 0:
        raise ValueError("there are no samples")
    mean_x, mean_y, within, between = (total / n for total in totals)
    within -= np.outer(mean_x, mean_x)
    between -= np.outer(mean_x, mean_y)
    variance = np.trace(within) / len(within)
    if not variance > 0:
        raise ValueError("no column of the samples varies")
    within[np.diag_indices_from(within)] += ridge * variance
    weight = scipy.linalg.solve(within, between, assume_a="pos")
    return AffineMap(weight, origins[0] + mean_x, origins[1] + mean_y)


def apply(found: AffineMap, x: np.ndarray) -> np.ndarray:
    """Map `x` `(n, d1)` to `(n, d2)`, in float64."""
    return (np.asarray(x, dtype=np.float64) - found.origin) @ found.weight + found.mean


def explained(found: AffineMap, x: np.ndarray, y: np.ndarray) -> float:
    """Return 1 - squared error / squared distance to `found.mean`, of samples `(n, d)`.

    Over all columns of Y together. Of other samples than it was fitted on, it is below 0 where the
    map is worse than their mean.
    """
    y = np.asarray(y, dtype=np.float64)
    error, spread = np.sum((y - apply(found, x)) ** 2), np.sum((y - found.mean) ** 2)
    return float(1 - error / spread)
