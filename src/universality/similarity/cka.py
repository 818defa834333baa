"""Centred kernel alignment by the unbiased estimator, and with RBF kernels.

Kornblith et al. 2019, with HSIC by the biased estimator or that of Song et al. 2012 (equation 5),
which is 0 in the mean for independent samples however many columns there are. Biased linear CKA is
`linear.linear_cka`.
"""

import numpy as np

from universality.similarity.linear import centred


def unbiased_linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Return linear CKA of `x` `(n, d1)` and `y` `(n, d2)`, without any matrix of `(n, n)`.

    It may be below 0; NaN if one of them is constant. ValueError with fewer than 4 samples.
    """
    x, y = (centred(side) for side in (x, y))
    one, other = (np.sum(side**2, axis=1) for side in (x, y))
    # Row sums of the kernels without their diagonal: centred, so that X'1 = 0.
    rows = [-norms for norms in (one, other)]
    products = [
        np.sum((p.T @ q) ** 2) - a @ b
        for p, q, a, b in ((x, y, one, other), (x, x, one, one), (y, y, other, other))
    ]
    sums = [(rows[0], rows[1]), (rows[0], rows[0]), (rows[1], rows[1])]
    hsic = [_unbiased(p, *pair) for p, pair in zip(products, sums, strict=True)]
    return _ratio(*hsic)


def rbf_cka(x: np.ndarray, y: np.ndarray, bandwidth: float = 1.0, unbiased: bool = True) -> float:
    """Return CKA with kernels exp(-|x_i - x_j|^2 / (2 sigma^2)) of `(n, d1)` and `(n, d2)`.

    sigma is `bandwidth` times the median distance of each side's samples. Holds `(n, n)` matrices.
    """
    return kernel_cka(rbf_kernel(x, bandwidth), rbf_kernel(y, bandwidth), unbiased=unbiased)


def rbf_kernel(x: np.ndarray, bandwidth: float) -> np.ndarray:
    """Return exp(-|x_i - x_j|^2 / (2 sigma^2)) of `(n, d)`, `(n, n)`; sigma as in `rbf_cka`."""
    square = squared_distances(x)
    off_diagonal = square[~np.eye(len(square), dtype=bool)]
    scale = bandwidth**2 * np.median(off_diagonal)
    if not scale > 0:
        raise ValueError("most samples are equal: there is no bandwidth")
    return np.exp(-square / (2 * scale))


def kernel_cka(k: np.ndarray, l: np.ndarray, unbiased: bool = True) -> float:  # noqa: E741
    """Return the alignment of two kernel matrices `(n, n)` of the same samples."""
    if unbiased:
        k, l = (m - np.diag(np.diag(m)) for m in (k, l))  # noqa: E741
    else:
        k, l = double_centred(k), double_centred(l)  # noqa: E741

    def hsic(p: np.ndarray, q: np.ndarray) -> float:
        product = float(np.sum(p * q))
        return _unbiased(product, p.sum(0), q.sum(0)) if unbiased else product

    return _ratio(hsic(k, l), hsic(k, k), hsic(l, l))


def squared_distances(x: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean distances of the rows of `x` `(n, d)`, `(n, n)`."""
    x = centred(x)
    norms = np.sum(x**2, axis=1)
    square = norms[:, None] + norms - 2 * x @ x.T
    np.fill_diagonal(square, 0)
    return np.maximum(square, 0)


def _unbiased(product: float, rows_k: np.ndarray, rows_l: np.ndarray) -> float:
    """Return Song's HSIC from tr(KL) and the row sums of kernels with a zero diagonal."""
    n = len(rows_k)
    if n < 4:
        raise ValueError(f"{n} samples; the unbiased estimator needs 4")
    total = rows_k.sum() * rows_l.sum() / ((n - 1) * (n - 2))
    return float((product + total - 2 * (rows_k @ rows_l) / (n - 2)) / (n * (n - 3)))


def _ratio(both: float, one: float, other: float) -> float:
    return both / np.sqrt(one * other) if one > 0 and other > 0 else float("nan")


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
