"""Intervals by resampling documents, or by leaving groups of them out.

Tokens of one document are not independent, so documents, never tokens, are what is resampled
(Efron & Tibshirani 1993, percentile intervals and the jackknife).
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


def kept_documents(n_documents: int, n_groups: int, rng: np.random.Generator) -> np.ndarray:
    """Return which documents stay when one group is left out: 1 or 0, `(groups, n_documents)`.

    Documents are dealt to `n_groups` groups at random, about as many to each; there are no more
    groups than documents.
    """
    n_groups = min(n_groups, n_documents)
    group = rng.permutation(n_documents) % n_groups
    return (np.arange(n_groups)[:, None] != group).astype(np.float64)


def jackknife_interval(
    value: float, left_out: np.ndarray, within: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[float, float]:
    """Return the 95% interval about `value` from its values without one group each, `(groups,)`.

    For statistics that a bootstrap biases: a resample lacks about a third of the data, which
    lowers what rests on extremes (kurtosis) and raises what pairs share. t with groups - 1
    degrees of freedom; the groups are of about one size, and at least 2. The ends are cut at the
    range of the measure, `within`.
    """
    from scipy.stats import t

    n = len(left_out)
    half = float(t.ppf(0.975, n - 1) * np.sqrt((n - 1) * left_out.var()))
    return min(value, max(value - half, within[0])), max(value, min(value + half, within[1]))


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
