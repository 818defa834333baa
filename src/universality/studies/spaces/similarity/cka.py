"""Kernels of samples, centred as centred kernel alignment (CKA) and its relatives need them.

CKA (Kornblith et al. 2019) is the cosine of two centred kernels. `u_centred` gives it by the
unbiased estimator of Song et al. 2012 (equation 5), which is 0 in the mean for independent samples
however many columns there are. Biased linear CKA is `linear.linear_cka`.
"""

import numpy as np

from universality.studies.spaces.similarity.linear import centred


def rbf_kernel(x: np.ndarray, bandwidth: float) -> np.ndarray:
    """Return exp(-|x_i - x_j|^2 / (2 sigma^2)) of `x` `(n, d)`, `(n, n)`.

    sigma is `bandwidth` times the median distance of the samples.
    """
    square = squared_distances(x)
    off_diagonal = square[~np.eye(len(square), dtype=bool)]
    scale = bandwidth**2 * np.median(off_diagonal)
    if not scale > 0:
        raise ValueError("most samples are equal: there is no bandwidth")
    return np.exp(-square / (2 * scale))


def squared_distances(x: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean distances of the rows of `x` `(n, d)`, `(n, n)`."""
    x = centred(x)
    norms = np.sum(x**2, axis=1)
    square = norms[:, None] + norms - 2 * x @ x.T
    np.fill_diagonal(square, 0)
    return np.maximum(square, 0)


def double_centred(k: np.ndarray) -> np.ndarray:
    """Return a symmetric matrix `(n, n)` less the means of its rows and of its columns."""
    return k - k.mean(0) - k.mean(1)[:, None] + k.mean()


def u_centred(k: np.ndarray) -> np.ndarray:
    """Return a kernel matrix `(n, n)` without its diagonal, centred so that products are unbiased.

    Szekely & Rizzo 2014, definition 2: the inner product of two, over n (n - 3), is Song's HSIC.
    """
    n = len(k)
    if n < 4:
        raise ValueError(f"{n} samples; the unbiased estimator needs 4")
    k = k - np.diag(np.diag(k))
    rows = k.sum(0) / (n - 2)
    k = k - rows - rows[:, None] + k.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(k, 0)
    return k
