"""How far positions move when a vector is added, in the features of an SAE and on maps of them.

A map drawn before and after is convincing whatever it shows. So all that is asked of the features
is asked of the maps too: how far does a position go, and which of its neighbours does it keep?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from universality.core.stats import percentile_interval
from universality.studies.spaces.similarity.distances import neighbours
from universality.studies.spaces.similarity.linear import basis

FEATURES, PCA, UMAP = "features", "pca", "umap"


@dataclass(frozen=True)
class Ground:
    """The positions of a text as they are: in features, or on a map."""

    places: np.ndarray
    """Shape `(n_documents, n_positions, d)`."""
    metric: str
    """By which neighbours are near: `cosine` or `euclidean`."""
    nearest: np.ndarray
    """The nearest other positions of each, `(n_documents * n_positions, k)`."""
    apart: np.ndarray
    """Summed distances between the positions of two documents, `(n_documents, n_documents)`.

    0 on the diagonal: positions of one document are near each other for reasons of their own.
    """


def ground(places: np.ndarray, metric: str, k: int) -> Ground:
    """Measure positions `(n_documents, n_positions, d)` as they are, with `k` neighbours each."""
    from sklearn.metrics import pairwise_distances

    n, m, d = places.shape
    rows = places.reshape(-1, d)
    apart = pairwise_distances(rows).astype(np.float64).reshape(n, m, n, m).sum((1, 3))
    np.fill_diagonal(apart, 0)
    return Ground(places, metric, _nearest(rows, rows, metric, k), apart)


def _nearest(rows: np.ndarray, moved: np.ndarray, metric: str, k: int) -> np.ndarray:
    """Return the `k` rows that are nearest to each one moved, its own former place left out."""
    from sklearn.metrics import pairwise_distances

    return neighbours(pairwise_distances(moved, rows, metric=metric), k)


def shared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the share of each row's neighbours `(n, k)` that it has in `other` too, `(n,)`."""
    return (one[:, :, None] == other[:, None, :]).sum(axis=(1, 2)) / one.shape[1]


@dataclass(frozen=True)
class Plane:
    """The first two principal components of the positions as they are."""

    mean: np.ndarray
    """Shape `(d,)`."""
    axes: np.ndarray
    """Orthonormal columns, `(d, 2)`."""
    share: float
    """Share of the variance of the positions that is in the plane."""

    def put(self, x: np.ndarray) -> np.ndarray:
        """Return the coordinates of `x` `(..., d)`, `(..., 2)`."""
        return (x - self.mean) @ self.axes


def principal_plane(x: np.ndarray) -> Plane:
    """Return the plane of the largest variance of `x` `(n, d)`."""
    found = basis(x)
    share = float(np.sum(found.s[:2] ** 2) / np.sum(found.s**2))
    return Plane(x.mean(axis=0, dtype=np.float64), found.v[:, :2], share)


def travel(before: Ground, after: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return how far positions went from `before` to `after`, for each of `weights` of documents.

    moved: mean length of the displacement over the mean distance between positions of different
    documents as they are. kept: mean share of a position's nearest others that are its nearest
    still, among the others as they are. `weights` are `(m, n_documents)`, as are `document_weights`
    or all 1; the numbers `(m,)`, moved NaN where one document has all the weight.
    """
    n_positions, d = before.places.shape[1:]
    length = np.linalg.norm(_difference(before.places, after), axis=-1).sum(axis=1)
    rows = before.places.reshape(-1, d), after.reshape(-1, d)
    same = shared(before.nearest, _nearest(*rows, before.metric, before.nearest.shape[1]))
    n = weights.sum(axis=1) * n_positions
    pairs = np.square(n) - np.square(weights * n_positions).sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean_distance = ((weights @ before.apart) * weights).sum(axis=1) / pairs
    return {
        "moved": weights @ length / n / mean_distance,
        "kept": weights @ same.reshape(-1, n_positions).sum(axis=1) / n,
    }


def direction(
    before: np.ndarray, after: np.ndarray, plane: Plane, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return where the displacements of positions `(n_documents, n_positions, d)` point.

    common: length of the mean displacement over the mean length, 1 if all positions go the same
    way as far (a translation); about 1 / sqrt(number of positions) if they go anywhere. plane: the
    share of their squared length in the plane of the map. NaN where nothing moves.
    """
    change = _difference(before, after)
    length = np.linalg.norm(change, axis=-1)
    inside = np.square(change @ plane.axes).sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        return {
            "common": np.linalg.norm(weights @ change.sum(axis=1), axis=1)
            / (weights @ length.sum(axis=1)),
            "plane": weights @ inside / (weights @ np.square(length).sum(axis=1)),
        }


def _difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return after.astype(np.float64) - before


def judged(
    own: Mapping[str, np.ndarray], random: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Return each measure of a vector beside those of random vectors of equal length.

    `own` are measure -> its value, and then those of resampled documents. With the 95% interval
    (`_low`, `_high`), and of random vectors the mean (`_null`), least and greatest (`_null_low`,
    `_null_high`). Resamples that say nothing, NaN, are left out.
    """
    row: dict[str, float] = {}
    for name, values in own.items():
        value, null = float(values[0]), np.array([one[name] for one in random])
        row[name] = value
        drawn = values[1:][~np.isnan(values[1:])]
        ends = percentile_interval(drawn) if len(drawn) else (np.nan, np.nan)
        row[f"{name}_low"], row[f"{name}_high"] = ends
        row[f"{name}_null"] = float(null.mean())
        row[f"{name}_null_low"], row[f"{name}_null_high"] = float(null.min()), float(null.max())
    return row
