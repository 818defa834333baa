"""Features of more than one dimension: is a cloud of points in a plane irreducible?

Engels et al. 2024 (arXiv 2405.14860), section 3. A feature in two dimensions is reducible if it is
separable, that is two independent coordinates, or a mixture, that is two features that do not fire
together. Their tests, of points f in the plane of two principal components, scaled to mean 0 and
root mean square norm 1:

- separability index S = min over rotations of the mutual information of the two coordinates, bits;
- epsilon-mixture index M = max over directions v and offsets c of
  P(|v.f + c| < epsilon * sqrt(E[(v.f + c)^2])).

An irreducible feature has high S and low M. Simplifications: both extrema are searched on grids
(the paper climbs M's gradient with a soft threshold), and the mutual information is that of a
histogram, whose bins grow with the number of points and whose bias the nulls show.
"""

import numpy as np

from universality.core.nulls import null_range


def principal_scores(x: np.ndarray, n: int) -> np.ndarray:
    """Return the first `n` principal component scores of `x` `(m, d)`, `(m, n)`.

    Columns beyond the rank are 0; signs are such that each column's largest entry is positive.
    """
    x = x - x.mean(axis=0)
    if len(x) <= x.shape[1]:
        values, vectors = np.linalg.eigh(x @ x.T)
        scores = vectors[:, ::-1] * np.sqrt(np.maximum(values[::-1], 0))
    else:
        scores = x @ np.linalg.eigh(x.T @ x)[1][:, ::-1]
    scores = scores[:, :n]
    at = np.abs(scores).argmax(axis=0)
    scores = scores * np.where(scores[at, np.arange(scores.shape[1])] < 0, -1, 1)
    return np.pad(scores, ((0, 0), (0, n - scores.shape[1])))


def scaled(points: np.ndarray) -> np.ndarray:
    """Return `points` `(m, 2)` with mean 0 and root mean square norm 1."""
    points = points - points.mean(axis=0)
    return points / np.sqrt(np.mean(np.sum(points**2, axis=1)))


def _turned(points: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return the first coordinate of `points` `(m, 2)` in axes turned by each of `angles`."""
    return points @ np.stack([np.cos(angles), np.sin(angles)])


def mutual_information(a: np.ndarray, b: np.ndarray, n_bins: int) -> float:
    """Return the mutual information of `(m,)` and `(m,)` in bits, from `n_bins` even bins each."""
    i, j = (_binned(x, n_bins) for x in (a, b))
    joint = np.bincount(i * n_bins + j, minlength=n_bins**2).reshape(n_bins, n_bins) / len(a)
    independent = joint.sum(1, keepdims=True) * joint.sum(0)
    held = joint > 0
    return float(np.sum(joint[held] * np.log2(joint[held] / independent[held])))


def _binned(x: np.ndarray, n_bins: int) -> np.ndarray:
    low, width = x.min(), np.ptp(x)
    if not width > 0:
        return np.zeros(len(x), dtype=np.int64)
    return np.minimum(((x - low) / width * n_bins).astype(np.int64), n_bins - 1)


def separability(points: np.ndarray, n_angles: int) -> float:
    """Return S of `points` `(m, 2)`: bits; `n_angles` rotations of less than a quarter turn."""
    points = scaled(points)
    n_bins = max(2, round(np.sqrt(len(points) / 5)))  # about five points a cell
    angles = np.arange(n_angles) * (np.pi / 2 / n_angles)
    first, second = _turned(points, angles), _turned(points, angles + np.pi / 2)
    return min(mutual_information(a, b, n_bins) for a, b in zip(first.T, second.T, strict=True))


def mixture(points: np.ndarray, epsilon: float, n_angles: int, n_offsets: int) -> float:
    """Return M of `points` `(m, 2)`; `n_angles` directions, `n_offsets` quantiles as offsets."""
    points = scaled(points)
    best = 0.0
    levels = np.linspace(0, 1, n_offsets)
    for p in _turned(points, np.arange(n_angles) * (np.pi / n_angles)).T:
        p = np.sort(p)
        centre = np.quantile(p, levels)
        half = epsilon * np.sqrt(np.mean(p**2) - 2 * centre * p.mean() + centre**2)
        inside = np.searchsorted(p, centre + half, "left") - np.searchsorted(
            p, centre - half, "right"
        )
        best = max(best, float(inside.max()) / len(p))
    return best


def plane_row(
    points: np.ndarray, epsilon: float, n_angles: int, n_null: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return both indices of `points` `(m, 2)` beside the mean and range of `n_null` draws.

    Null of S: the two principal coordinates permuted apart, which makes a separable cloud of the
    same margins. Null of M: as many points of a Gaussian with the same variances, which is no
    mixture.
    """
    n_offsets = 4 * n_angles
    apart, plain = [], []
    for _ in range(n_null):
        shuffled = np.stack([points[:, 0], rng.permutation(points[:, 1])], axis=1)
        apart.append(separability(shuffled, n_angles))
        gaussian = rng.normal(size=points.shape) * points.std(axis=0)
        plain.append(mixture(gaussian, epsilon, n_angles, n_offsets))
    return {
        "separability": separability(points, n_angles),
        **null_range("separability", np.array(apart)),
        "mixture": mixture(points, epsilon, n_angles, n_offsets),
        **null_range("mixture", np.array(plain)),
    }
