"""Are there two clusters of features, one that hardly ever fires? Of Bricken et al. 2023."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from sklearn.mixture import GaussianMixture

_WIDTH = 0.1  # least SD of a cluster: densities are counts, and would make clusters of one value


@dataclass(frozen=True)
class Split:
    """One cluster against two."""

    low: np.ndarray
    """Points nearer to the component with the smaller first coordinate, `(n,)`."""
    delta_bic: float
    """BIC of one Gaussian minus that of two; positive favours two."""
    n_modes: int
    """Modes of the mixture of two."""

    @property
    def separated(self) -> bool:
        """Whether there are two clusters: two Gaussians fit better, and are not one hump."""
        return self.delta_bic > 0 and self.n_modes == 2


def split(points: np.ndarray, seed: int) -> Split:
    """Split points `(n, k)` into two Gaussians if that is warranted.

    BIC alone prefers two Gaussians for any skewed hump, so the mixture must have two modes too.
    All of its critical points lie on the ridgeline between the means (Ray & Lindsay 2005, eq. 4).
    Components are at least 0.1 wide in every direction.
    """
    if len(points) < 10:
        raise ValueError(f"{len(points)} points are too few to split; 10 are needed")
    one, two = _fit(points, 1, seed), _fit(points, 2, seed)
    first = int(np.argmin(two.means_[:, 0]))
    return Split(
        low=two.predict(points) == first,
        delta_bic=float(one.bic(points) - two.bic(points)),
        n_modes=_modes(two.weights_, two.means_, two.covariances_),
    )


def _fit(points: np.ndarray, n_components: int, seed: int) -> Any:
    """Fit Gaussians by EM: from k-means, and from a small low cluster, which k-means overlooks."""
    order = points[np.argsort(points[:, 0], kind="stable")]
    starts = [None, order[[len(order) // 50, len(order) // 2]]][:n_components]
    fits = [
        GaussianMixture(
            n_components, reg_covar=_WIDTH**2, means_init=start, random_state=seed
        ).fit(points)
        for start in starts
    ]  # fmt: skip
    return max(fits, key=lambda fit: fit.lower_bound_)


def _modes(weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> int:
    precisions = np.linalg.inv(covariances)
    share = np.linspace(0, 1, 1001)[:, None, None]
    mixed = (1 - share) * precisions[0] + share * precisions[1]
    pulls = (1 - share[:, 0]) * (precisions[0] @ means[0])
    pulls = pulls + share[:, 0] * (precisions[1] @ means[1])
    ridge = np.linalg.solve(mixed, pulls[:, :, None])[:, :, 0]
    height = sum(
        weight * scipy.stats.multivariate_normal.pdf(ridge, mean, covariance)
        for weight, mean, covariance in zip(weights, means, covariances, strict=True)
    )
    padded = np.concatenate([[-np.inf], height, [-np.inf]])
    return int(((padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:])).sum())


def delta_bic_null(points: np.ndarray, n_null: int, rng: np.random.Generator) -> np.ndarray:
    """Return `Split.delta_bic` of `n_null` samples of the one Gaussian that fits `points`."""
    mean, covariance = points.mean(0), np.atleast_2d(np.cov(points, rowvar=False))
    samples = rng.multivariate_normal(mean, covariance, size=(n_null, len(points)))
    return np.array([split(sample, seed).delta_bic for seed, sample in enumerate(samples)])


def clusters(density: np.ndarray, one: Split | None) -> np.ndarray:
    """Name each feature's cluster, `(d_sae,)`: dead, ultralow and high, or dead and firing.

    `one` is the split of log10 density of the features that fire, None if there was none.
    """
    names = np.where(density > 0, "firing", "dead").astype(object)
    if one is not None and one.separated:
        names[density > 0] = np.where(one.low, "ultralow", "high")
    return names
