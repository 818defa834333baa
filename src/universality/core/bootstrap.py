"""The correlations of matched pairs on some of the documents, without matching again.

Partners stay those found on all documents; only the correlation of each pair is computed anew. An
interval made of these therefore covers which text was read, not which partner was chosen.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

Columns = Any
"""A sparse or dense matrix `(n, n_pairs)`."""


@dataclass(frozen=True)
class DocumentSums:
    """Per document, the sums that give a pair's correlation: `(n_documents, n_pairs)` each."""

    n: np.ndarray
    """Positions, `(n_documents,)`."""
    a: np.ndarray
    b: np.ndarray
    aa: np.ndarray
    bb: np.ndarray
    ab: np.ndarray


def document_sums(a: Columns, b: Columns, documents: np.ndarray) -> DocumentSums:
    """Sum over the rows of each document; column j of `a` and of `b` `(n, n_pairs)` are a pair."""
    _, index = np.unique(documents, return_inverse=True)
    rows = np.arange(len(documents))
    # float64, since squares of float32 sums would not do; copies, since scipy may sort in place.
    members: Any = sp.csr_matrix((np.ones(len(rows)), (index, rows)))
    a, b = (sp.csr_matrix(side, dtype=np.float64, copy=True) for side in (a, b))

    def total(values: Columns) -> np.ndarray:
        return (members @ values).toarray()

    counts = np.bincount(index).astype(np.float64)
    return DocumentSums(
        counts, total(a), total(b), total(a.power(2)), total(b.power(2)), total(a.multiply(b))
    )


def resampled_r(sums: DocumentSums, weights: np.ndarray) -> np.ndarray:
    """Return each pair's correlation for document weights `(n_weightings, n_documents)`.

    A weight says how often a document counts: 0 or 1 where some are left out
    (`stats.kept_documents`). The result is `(n_weightings, n_pairs)`; 0 where a feature is constant
    on what is left.
    """
    n = (weights @ sums.n)[:, None]
    a, b = (weights @ total / n for total in (sums.a, sums.b))
    aa, bb = (weights @ total / n for total in (sums.aa, sums.bb))
    covariance = weights @ sums.ab / n - a * b
    variance_a, variance_b = aa - a**2, bb - b**2
    # Below this a variance is rounding error of the difference it was made by.
    varies = (variance_a > 1e-12 * aa) & (variance_b > 1e-12 * bb)
    r = np.zeros_like(covariance)
    scale = np.sqrt(np.where(varies, variance_a * variance_b, 1.0))
    np.divide(covariance, scale, out=r, where=varies)
    return np.clip(r, -1, 1)
