"""Measures of similarity by their definitions, for one pair of representations at a time."""

from typing import Any

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr
from sklearn.neighbors import NearestNeighbors


def hsic_unbiased(k, other):
    """HSIC of two kernels `(n, n)`: Song et al. 2012, equation 5."""
    n = len(k)
    k, l = (m - np.diag(np.diag(m)) for m in (k, other))  # noqa: E741
    ones = np.ones(n)
    return (
        np.trace(k @ l)
        + ones @ k @ ones * (ones @ l @ ones) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * ones @ k @ l @ ones
    ) / (n * (n - 3))


def kernel_cka(k, other):
    """CKA of two kernels `(n, n)`."""
    both, one, two = (hsic_unbiased(p, q) for p, q in ((k, other), (k, k), (other, other)))
    return both / np.sqrt(one * two)


def linear_cka_unbiased(x, y):
    """CKA of X X' and Y Y'; the unbiased estimator does not need centred samples."""
    return kernel_cka(x @ x.T, y @ y.T)


def rbf_cka(x, y, bandwidth=1.0):
    """CKA of Gaussian kernels, sigma the median distance times `bandwidth`."""
    kernels = []
    for side in (x, y):
        square = pdist(side, "sqeuclidean")
        scale = 2 * bandwidth**2 * np.median(square)
        kernels.append(squareform(np.exp(-square / scale)) + np.eye(len(side)))
    return kernel_cka(*kernels)


def rsa(x, y, distance: Any = "correlation", ranked=True):
    """Correlation of the distances of all pairs of samples."""
    one, other = pdist(x, distance), pdist(y, distance)
    return (spearmanr if ranked else pearsonr)(one, other)[0]


def distance_correlation(x, y):
    """Szekely, Rizzo & Bakirov 2007."""
    n = len(x)
    h = np.eye(n) - 1 / n
    one, other = (h @ squareform(pdist(side)) @ h for side in (x, y))
    return np.sqrt(np.sum(one * other) / np.sqrt(np.sum(one**2) * np.sum(other**2)))


def mutual_knn(x, y, k):
    """Share of nearest neighbours that two representations have in common."""
    near = [
        NearestNeighbors(n_neighbors=k).fit(side).kneighbors(return_distance=False)
        for side in (x, y)
    ]
    return np.mean([len(set(i) & set(j)) / k for i, j in zip(*near, strict=True)])
