"""Intervals by resampling documents.

Tokens of one document are not independent, so documents, never tokens, are what is resampled
(Efron & Tibshirani 1993, percentile intervals).
"""

import numpy as np


def document_weights(n_documents: int, n_bootstrap: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each document is drawn: `(n_bootstrap, n_documents)`, rows sum to n."""
    shares = np.full(n_documents, 1 / n_documents)
    return rng.multinomial(n_documents, shares, size=n_bootstrap).astype(np.float64)


def percentile_interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the central `level` interval of bootstrap samples `(n_bootstrap,)`."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def ratio_interval(
    numerators: np.ndarray,
    denominators: np.ndarray,
    n_bootstrap: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the interval of sum(numerators) / sum(denominators) over resampled documents.

    Both are `(n_documents,)`: total loss and number of tokens give the mean loss per token.
    Resamples whose denominator is 0 say nothing and are left out.
    """
    weights = document_weights(len(numerators), n_bootstrap, rng)
    above, below = weights @ np.asarray(numerators), weights @ np.asarray(denominators)
    defined = below != 0
    if not defined.any():
        raise ValueError("the denominators of all documents are 0")
    return percentile_interval(above[defined] / below[defined], level)
