"""Similarity by linear maps: CCA, SVCCA, PWCCA, regression, linear CKA, Procrustes.

All of these are functions of three things. Let X and Y be `(n, d1)` and `(n, d2)`, columns centred,
with singular values s1, s2 and left singular vectors U1, U2. Then with M = U1' U2 every measure
here is one of (s1, M, s2): CCA is the singular values of M, regression and CKA are its entries
weighted by s. So a representation is decomposed once (`basis`), a pair costs one product (`link`),
and so does every permutation of the rows of one of them.

Raghu et al. 2017 (SVCCA), Morcos et al. 2018 (PWCCA), Kornblith et al. 2019 (CKA and the rest).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

_RANK = 1e-10
"""Singular values below this share of the largest are rounding error of constant directions."""
_WELL_CONDITIONED = 1e3
"""Largest ratio of singular values for which the Gram matrix, which squares it, is used."""

Numbers = Any
"""A float, or one for each pairing of a `Link` that holds several."""


@dataclass(frozen=True)
class Basis:
    """The singular value decomposition X = U diag(s) V' of centred samples, of rank r."""

    u: np.ndarray
    """Shape `(n, r)`, orthonormal columns."""
    s: np.ndarray
    """Shape `(r,)`, descending."""
    v: np.ndarray
    """Shape `(d, r)`, orthonormal columns."""


def basis(x: np.ndarray) -> Basis:
    """Decompose `x` `(n, d)`, any float type, in float64.

    ValueError if it holds NaN or infinity, or if no column varies.
    """
    x = centred(x)
    found = _by_gram(x)
    return _by_svd(x) if found is None else Basis(x @ (found[1] / found[0]), *found)


def _by_svd(x: np.ndarray) -> Basis:
    import scipy.linalg  # not at the top: parameters are checked by the names of measures

    u, s, v = scipy.linalg.svd(x, full_matrices=False, lapack_driver="gesdd")
    kept = s > _RANK * s[0] * max(x.shape) ** 0.5
    if not s[0] > 0:
        raise ValueError("no column of the samples varies")
    return Basis(u[:, kept], s[kept], v[kept].T)


def centred(x: np.ndarray) -> np.ndarray:
    """Return `x` `(n, d)` less its column means, float64; ValueError on NaN or infinity."""
    x = np.asarray(x, dtype=np.float64)
    mean = x.mean(axis=0)
    if not np.isfinite(mean).all():
        raise ValueError("the samples hold NaN or infinity")
    return x - mean


def _by_gram(x: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the singular values and right vectors of x from x'x; None if that would lose digits.

    It is a tenth of the work of a singular value decomposition.
    """
    n, d = x.shape
    if n <= d:
        return None
    square, v = np.linalg.eigh(x.T @ x)
    s, v = np.sqrt(np.maximum(square[::-1], 0)), v[:, ::-1]
    return (s, v) if s[-1] * _WELL_CONDITIONED > s[0] > 0 else None


@dataclass(frozen=True)
class Link:
    """What two representations of the same samples have to do with each other."""

    s1: np.ndarray
    """Singular values of X, `(r1,)`."""
    cross: np.ndarray
    """M = U1' U2, `(r1, r2)`: cosines of the directions of X and of Y.

    `(n, r1, r2)` for n pairings of the same samples: every measure then is of shape `(n,)`.
    """
    s2: np.ndarray
    v1: np.ndarray
    """Right singular vectors of X, `(d1, r1)`."""


def link(a: Basis, b: Basis, rows: np.ndarray | None = None) -> Link:
    """Compare two representations; with `rows` `(n,)`, b's samples are taken in that order."""
    if len(a.u) != len(b.u):
        raise ValueError(f"{len(a.u)} samples of one and {len(b.u)} of the other")
    return Link(a.s, a.u.T @ (b.u if rows is None else b.u[rows]), b.s, a.v)


def compare(x: np.ndarray, y: np.ndarray) -> Link:
    """Compare `(n, d1)` and `(n, d2)` once: `link` of their bases, without making these."""
    if len(x) != len(y):
        raise ValueError(f"{len(x)} samples of one and {len(y)} of the other")
    x, y = centred(x), centred(y)
    one, other = _by_gram(x), _by_gram(y)
    if one is None or other is None:
        return link(basis(x), basis(y))
    (s1, v1), (s2, v2) = one, other
    return Link(s1, (v1 / s1).T @ (x.T @ y) @ (v2 / s2), s2, v1)


def _singular_values(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.svd(matrix, compute_uv=False)


def _sum_of_squares(matrix: np.ndarray) -> Numbers:
    return np.sum(matrix**2, axis=(-2, -1))


def canonical_correlations(found: Link) -> np.ndarray:
    """Return all canonical correlations, descending, `(..., min(r1, r2))`."""
    return np.minimum(_singular_values(found.cross), 1)


def cca(found: Link) -> Numbers:
    """Return the mean canonical correlation (Kornblith et al. 2019, mean CCA correlation)."""
    return canonical_correlations(found).mean(axis=-1)


def cca_r2(found: Link) -> Numbers:
    """Return the mean squared canonical correlation (Kornblith et al. 2019, R2 CCA)."""
    return _sum_of_squares(found.cross) / min(found.cross.shape[-2:])


def regularised_cca(found: Link, ridge: float) -> Numbers:
    """Return the mean canonical correlation with `ridge` times the mean variance on both sides.

    Vinod 1976: (C11 + k1 I)^-1/2 C12 (C22 + k2 I)^-1/2, k the mean eigenvalue of C times `ridge`.
    """
    weights = [s / np.sqrt(s**2 + ridge * np.mean(s**2)) for s in (found.s1, found.s2)]
    shrunk = weights[0][:, None] * found.cross * weights[1]
    return _singular_values(shrunk).mean(axis=-1)


def truncated(found: Link, share: float) -> Link:
    """Keep, of each side, the fewest directions that hold `share` of its variance."""
    k1, k2 = (
        min(int(np.searchsorted(np.cumsum(s**2) / np.sum(s**2), share - 1e-12)) + 1, len(s))
        for s in (found.s1, found.s2)
    )
    return Link(found.s1[:k1], found.cross[..., :k1, :k2], found.s2[:k2], found.v1[:, :k1])


def svcca(found: Link, share: float = 0.99) -> Numbers:
    """Return the mean canonical correlation of the directions that hold `share` of the variance."""
    return cca(truncated(found, share))


def svcca_k1_as_published(found: Link) -> Numbers:
    """Return the SVCCA that the code released with Lan et al. 2024 computes.

    It means to keep 99% of the variance but compares a share with an amount, which for rows of unit
    norm is never reached, and keeps one direction: this is the absolute correlation of the first
    principal components.
    """
    return abs(found.cross[..., 0, 0])


def pwcca(found: Link) -> Numbers:
    """Return the canonical correlations weighted by how much of X each accounts for.

    Morcos et al. 2018, equation 2: alpha_i = sum_j |<h_i, x_j>| over the columns x_j of X, h_i the
    canonical variates, as many as there are correlations. It is of X: exchanging the sides changes
    it, and so does rotating X, whose columns it sums over.
    """
    # Of M M', since only the left vectors are wanted: half the work of M's own decomposition.
    square, left = np.linalg.eigh(found.cross @ np.swapaxes(found.cross, -2, -1))
    kept = slice(-min(found.cross.shape[-2:]), None)
    rho = np.sqrt(np.clip(square[..., kept], 0, 1))
    shares = np.swapaxes(left[..., kept] * found.s1[:, None], -2, -1) @ found.v1.T
    weights = np.abs(shares).sum(axis=-1)
    return np.sum(weights * rho, axis=-1) / weights.sum(axis=-1)


def regression_r2(found: Link) -> Numbers:
    """Return the share of Y's variance that a linear regression on X explains, on these samples.

    With no correction for the number of columns: 1 where X has as many as there are samples.
    """
    return _sum_of_squares(found.cross * found.s2) / np.sum(found.s2**2)


def linear_cka(found: Link) -> Numbers:
    """Return linear CKA by the biased estimator of HSIC (Kornblith et al. 2019, equation 4)."""
    shared = _sum_of_squares(found.s1[:, None] * found.cross * found.s2)
    return shared / np.sqrt(np.sum(found.s1**4) * np.sum(found.s2**4))


def procrustes(found: Link) -> Numbers:
    """Return the orthogonal Procrustes similarity ||X'Y||_* / (|X| |Y|), 1 for rotations of X.

    With X and Y scaled to norm 1 the squared distance after the best rotation is 2 - 2 times this
    (Ding et al. 2021).
    """
    nuclear = _singular_values(found.s1[:, None] * found.cross * found.s2).sum(axis=-1)
    return nuclear / np.sqrt(np.sum(found.s1**2) * np.sum(found.s2**2))
