"""Where the error of an SAE is: which tokens pay for it, in which layers, and what predicts it.

All per-token arrays have one row per judged token (see `splicing`), in reading order; `documents`
is the document of each. A CE difference is the cross-entropy of a prediction with the SAE's
reconstruction spliced in, minus that of the model as it is, in nats.
"""

import itertools

import numpy as np
import pandas as pd
import scipy.sparse as sp
import scipy.stats

from universality.core.bootstrap import document_sums, resampled_r
from universality.core.nulls import permutation_p, shift_offsets
from universality.core.stats import document_weights, percentile_interval

_TAIL = np.array([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02])
QUANTILES = np.concatenate([_TAIL, np.linspace(0.05, 0.95, 19), 1 - _TAIL[::-1]])
"""Shares of tokens, denser in the tails."""
_GRID = (np.arange(100_001) + 0.5) / 100_001
REFERENCES = {"normal": scipy.stats.norm, "laplace": scipy.stats.laplace}
"""Distributions that a tail is compared with; Laplace's is exponential on both sides."""


def random_error(error: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a vector of uniformly random direction and the norm of each row of `error` `(n, d)`.

    The control of Gurnee (2024, SAE reconstruction errors are empirically pathological).
    """
    direction = rng.normal(size=error.shape)
    return _with_norms_of(error, direction)


def exchanged_error(
    error: np.ndarray, documents: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return for each row of `error` `(n, d)` the error of another document, in its own norm.

    The directions are those that SAE errors have; only which token has which is lost. Rows are
    shifted circularly, see `nulls.shift_offsets`.
    """
    offset = int(shift_offsets(documents, 1, rng)[0])
    return _with_norms_of(error, np.roll(error, offset, axis=0))


def _with_norms_of(error: np.ndarray, direction: np.ndarray) -> np.ndarray:
    norm, own = (np.linalg.norm(rows, axis=1, keepdims=True) for rows in (error, direction))
    return (direction * (norm / np.maximum(own, 1e-30))).astype(np.float32)


def correlation(
    x: np.ndarray,
    y: np.ndarray,
    documents: np.ndarray,
    n_null: int,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Pearson's and Spearman's correlation of two per-token values `(n,)`.

    Keys `pearson` and `spearman`, each with `_low` and `_high` (bootstrap over documents; ranks are
    taken once), `_null` (mean over circular shifts of `y`), `_null_high` (their 95% quantile) and
    `_p` (one-sided: a null correlation at least as large). A constant has correlation 0.
    """
    weights = document_weights(len(np.unique(documents)), n_bootstrap, rng)
    offsets = shift_offsets(documents, n_null, rng)
    found: dict[str, float] = {}
    for name, transform in (("pearson", np.asarray), ("spearman", scipy.stats.rankdata)):
        a, b = (_standard(np.asarray(transform(values), dtype=np.float64)) for values in (x, y))
        null = np.array([a @ np.roll(b, int(offset)) for offset in offsets]) / len(a)
        sums = document_sums(sp.csr_matrix(a[:, None]), sp.csr_matrix(b[:, None]), documents)
        low, high = percentile_interval(resampled_r(sums, weights)[:, 0])
        r = float(a @ b / len(a))
        found |= {name: r, f"{name}_low": low, f"{name}_high": high}
        found |= {f"{name}_null": float(null.mean())}
        found |= {f"{name}_null_high": float(np.quantile(null, 0.95))}
        found |= {f"{name}_p": permutation_p(r, null)}
    return found


def _standard(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    spread = np.sqrt(np.square(centred).mean())
    return centred / spread if spread > 1e-12 * np.abs(values).max() else np.zeros(len(values))


def layer_correlations(
    differences: dict[str, np.ndarray],
    documents: np.ndarray,
    n_null: int,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Correlate the CE differences `(n,)` of every two SAEs, id -> values; see `correlation`.

    One row per pair: sae_a, sae_b, the keys of `correlation`, n_tokens.
    """
    rows = [
        {"sae_a": a, "sae_b": b}
        | correlation(differences[a], differences[b], documents, n_null, n_bootstrap, rng)
        | {"n_tokens": len(documents)}
        for a, b in itertools.combinations(differences, 2)
    ]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["sae_a", "sae_b"])


def tail_share(values: np.ndarray, share: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the share of the sum of `values` `(n,)` that the largest `share` of them carry.

    No value is negative. `weights` `(n_draws, n)` are how often each counts; the result is
    `(n_draws,)`. The value at the border counts in part. 0 where the sum is.
    """
    order = np.argsort(-values, kind="stable")
    values = values[order]
    weights = np.ones((1, len(values))) if weights is None else weights[:, order]
    above = np.cumsum(weights, axis=1)
    counted = np.clip(share * above[:, -1:] - (above - weights), 0, weights)
    total = weights @ values
    return (counted @ values) / np.where(total > 0, total, 1)


def tails(
    difference: np.ndarray,
    documents: np.ndarray,
    shares: list[float],
    n_bootstrap: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """How much of the damage the worst tokens carry, against distributions without a long tail.

    One row per part (`absolute`: of the sum of |difference|; `positive`: of the sum of the positive
    differences) and share: carried, with its interval over documents, and carried_normal and
    carried_laplace, those of distributions with the same mean and variance.
    """
    weights = document_weights(int(documents.max()) + 1, n_bootstrap, rng)
    parts = {"absolute": np.abs, "positive": lambda values: np.maximum(values, 0)}
    references = {name: reference_values(difference, name, _GRID) for name in REFERENCES}
    rows = []
    for (part, take), share in itertools.product(parts.items(), shares):
        values = take(difference)
        draws = [tail_share(values, share, w[:, documents]) for w in np.array_split(weights, 20)]
        low, high = percentile_interval(np.concatenate(draws))
        row = {"part": part, "share": share, "carried": float(tail_share(values, share)[0])}
        row |= {"carried_low": low, "carried_high": high}
        for name, reference in references.items():
            row[f"carried_{name}"] = float(tail_share(take(reference), share)[0])
        rows.append(row | {"n_tokens": len(values)})
    return pd.DataFrame(rows)


def reference_values(values: np.ndarray, name: str, quantiles: np.ndarray) -> np.ndarray:
    """Quantiles of the distribution `name` with the mean and variance of `values`."""
    return values.mean() + values.std() * _standard_quantiles(name, quantiles)


def _standard_quantiles(name: str, quantiles: np.ndarray) -> np.ndarray:
    return REFERENCES[name].ppf(quantiles) / REFERENCES[name].std()


def quantile_table(difference: np.ndarray) -> pd.DataFrame:
    """Quantiles of the CE differences beside those of the references; one row per quantile.

    `ce_difference` in nats; `z`, `normal` and `laplace` in standard deviations from the mean.
    """
    quantiles = np.quantile(difference, QUANTILES)
    columns = {"quantile": QUANTILES, "ce_difference": quantiles}
    columns["z"] = (quantiles - difference.mean()) / difference.std()
    columns |= {name: _standard_quantiles(name, QUANTILES) for name in REFERENCES}
    return pd.DataFrame(columns)
