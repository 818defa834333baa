"""Words of a known order: do their activations lie on a circle, or a line, and alike in two models?

Engels et al. 2024 (arXiv 2405.14860) find weekdays and months on circles. Here the order is tested
on the words' mean activations, against permutations of the words. A circle and a line are fitted to
the same planes with the same number of parameters, so that their shares can be compared.
"""

import math
from itertools import permutations

import numpy as np

from universality.core.nulls import permutation_p
from universality.core.stats import jackknife_interval
from universality.studies.spaces.geometry.planes import principal_scores
from universality.studies.spaces.similarity.distances import dissimilarities, rsa

_ALL = 5040
"""As many orders are gone through one by one (seven words); of more, some are drawn."""


def orders(k: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """Return orders of `k` words, `(m, k)`, and whether these are all; else `n` drawn at random."""
    if math.factorial(k) <= _ALL:
        return np.array(list(permutations(range(k)))), True
    return np.array([rng.permutation(k) for _ in range(n)]), False


def order_p(observed: float, null: np.ndarray, complete: bool) -> float:
    """Return the share of `null` that reach `observed`; the observed order is in a complete null.

    Values that differ by rounding alone are equal: a circle has no first word and no direction.
    """
    reach = observed - 1e-9
    return float(np.mean(null >= reach)) if complete else permutation_p(reach, null)


def circle_r2(planes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return how much of the spread of words in a plane a regular polygon in their order explains.

    `planes` `(p, k)` are complex coordinates z of k words in p planes, mean 0; `places` `(m, k)`
    the place of each word in an order. With w = exp(2 pi i place / k), the best scaled, turned and
    perhaps mirrored polygon explains max(|sum z conj(w)|^2, |sum z w|^2) / (k sum |z|^2)
    (Procrustes in two dimensions). Returns the largest over the planes, `(m,)`.
    """
    k = planes.shape[1]
    polygon = np.exp(2j * np.pi * places / k)
    fit = np.maximum(np.abs(planes @ polygon.conj().T), np.abs(planes @ polygon.T)) ** 2
    spread = k * np.sum(np.abs(planes) ** 2, axis=1, keepdims=True)
    return np.max(np.divide(fit, spread, out=np.zeros_like(fit), where=spread > 0), axis=0)


def line_r2(planes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return how much of the spread of words in a plane even steps along a line explain.

    As `circle_r2`, with the places themselves, less their mean, instead of points of a polygon:
    the best scaled and turned row of points explains |sum z y|^2 / (sum y^2 sum |z|^2).
    """
    y = places - places.mean(axis=1, keepdims=True)
    fit = np.abs(planes @ y.T) ** 2
    spread = np.sum(np.abs(planes) ** 2, axis=1, keepdims=True) * np.sum(y**2, axis=1)
    return np.max(np.divide(fit, spread, out=np.zeros_like(fit), where=spread > 0), axis=0)


def planes_of(scores: np.ndarray) -> np.ndarray:
    """Return planes of neighbouring components of `scores` `(k, c)` as complex `(c - 1, k)`."""
    return (scores[:, :-1] + 1j * scores[:, 1:]).T


def best_plane(centroids: np.ndarray, n_planes: int) -> int:
    """Return the plane of `centroids` `(k, d)` on which their order is most like a circle."""
    z = planes_of(principal_scores(centroids, n_planes + 1))
    place = np.arange(len(centroids))[None]
    return int(np.argmax([circle_r2(plane[None], place)[0] for plane in z]))


def order_row(
    points: np.ndarray, n_planes: int, n_null: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return `circle_r2` and `line_r2` of words, each with interval, null and p.

    `points` `(s, k, d)`: k words in s sentences; the words' means are tested, on `n_planes` planes
    of neighbouring principal components, of which the best is taken in the data and in every
    permutation alike. Also `over_line`, by how much the circle explains more than the line, each
    on its best plane. Intervals by leaving out one sentence each.
    """
    k = points.shape[1]
    places, complete = orders(k, n_null, rng)
    found: dict[str, float] = {}

    def statistics(x: np.ndarray, places: np.ndarray) -> dict[str, np.ndarray]:
        planes = planes_of(principal_scores(x.mean(axis=0), n_planes + 1))
        return {"circle_r2": circle_r2(planes, places), "line_r2": line_r2(planes, places)}

    own = np.arange(k)[None]
    observed, null = statistics(points, own), statistics(points, places)
    parts = [statistics(part, own) for part in _without_each(points)]
    for name, value in observed.items():
        left_out = np.array([part[name][0] for part in parts])
        low, high = jackknife_interval(float(value[0]), left_out, (0, 1))
        found |= {
            name: float(value[0]), f"{name}_low": low, f"{name}_high": high,
            f"{name}_null": float(null[name].mean()),
            f"{name}_null_high": float(np.quantile(null[name], 0.95)),
            f"{name}_p": order_p(value[0], null[name], complete),
        }  # fmt: skip
    more = found["circle_r2"] - found["line_r2"]
    left_out = np.array([part["circle_r2"][0] - part["line_r2"][0] for part in parts])
    low, high = jackknife_interval(more, left_out, (-1, 1))
    found |= {"over_line": more, "over_line_low": low, "over_line_high": high}
    return found | {"n_orders": len(places)}


def _without_each(points: np.ndarray) -> list[np.ndarray]:
    return [np.delete(points, s, axis=0) for s in range(len(points))]


def word_distances(points: np.ndarray) -> np.ndarray:
    """Return the Euclidean distances `(k, k)` of the means of words, `points` `(s, k, d)`."""
    return dissimilarities(points.mean(axis=0), "euclidean")


def alike_row(
    a: np.ndarray, b: np.ndarray, n_null: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return whether two models arrange the same words alike: RSA, interval, null and p.

    `a` `(s, k, d_a)` and `b` `(s, k, d_b)` are of the same words in the same sentences. Spearman
    correlation of the distances between the words' means (Kriegeskorte et al. 2008); null: B's
    words permuted.
    """
    own, other = word_distances(a), word_distances(b)
    places, complete = orders(a.shape[1], n_null, rng)
    observed = rsa(own, other)
    null = _rsa_of_orders(own, other, places)
    parts = [
        rsa(word_distances(x), word_distances(y))
        for x, y in zip(_without_each(a), _without_each(b), strict=True)
    ]
    low, high = jackknife_interval(observed, np.array(parts), (-1, 1))
    return {
        "rsa": observed, "rsa_low": low, "rsa_high": high, "rsa_null": float(null.mean()),
        "rsa_p": order_p(observed, null, complete), "n_orders": len(places),
    }  # fmt: skip


def _rsa_of_orders(own: np.ndarray, other: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return `rsa(own, other)` with the words of `other` in each order: ranks are taken once."""
    from scipy.stats import rankdata

    i, j = np.triu_indices(len(own), 1)
    ranks = np.zeros(other.shape)
    ranks[i, j] = ranks[j, i] = _standard(rankdata(other[i, j]))
    return ranks[places[:, i], places[:, j]] @ _standard(rankdata(own[i, j])) / len(i)


def _standard(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / x.std()
