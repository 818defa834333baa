"""Under what conditions are features shared: shares above thresholds, SAE by SAE.

Two things beside likeness change how well a feature is matched, and are to be read beside it. How
many features are searched: the more B has, the better the best of them, also by chance; so there is
`grid_study.draw`, which takes as many from every B, and the null, which has the same search. And
which features count: those that fire often enough on the text read (`study.alive_columns`), fewer
in SAEs with many dead or rare features, so that a high share may be one of few features; so there
is the share of all features too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from universality.core.intervals import mean_over_seeds
from universality.core.nulls import judged
from universality.studies.matching.study import LayerMatch
from universality.studies.matching.tables import RANGES, best_layers, statistics

MEASURES = ("median_r", "share_above", "share_of_all")
_RANGES = {name: RANGES.get(name, (0.0, 1.0)) for name in MEASURES}


@dataclass(frozen=True)
class BestR:
    """How well each alive feature of A is matched in B."""

    r: np.ndarray
    """Correlation with the best partner, `(n_a,)`."""
    null_r: np.ndarray
    """The same under each shift of B's positions, partner searched anew, `(n_null, n_a)`."""
    left_out_r: np.ndarray
    """r without one group of documents each, partners held fixed, `(groups, n_a)`, or no rows."""
    n_searched: int
    """Features of B that took part."""


def best_r(match: LayerMatch) -> BestR:
    """Return what is looked at here of `match`."""
    return BestR(
        match.alive_r, match.alive_null_r, match.left_out_r, int(np.count_nonzero(match.alive_b))
    )


def shares_above(r: np.ndarray, thresholds: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the share of the last axis of `r` at or above each threshold, `(..., thresholds)`.

    0 where there is no feature.
    """
    if not r.shape[-1]:
        return np.zeros((*r.shape[:-1], len(thresholds)))
    return np.stack([np.mean(r >= threshold, axis=-1) for threshold in thresholds], axis=-1)


def summary(found: BestR, threshold: float, d_a: int) -> dict[str, float]:
    """Return median r and share of r at or above `threshold`, each with its null.

    `share_of_all` is of all `d_a` features of A, where those that are not alive count as not shared
    (as in Lan et al. 2024), `share_above` of the alive ones. What stands beside each is that of
    `nulls.judged`.
    """
    of_alive = statistics(threshold)
    share = of_alive["share_above"]
    measures = {
        "median_r": of_alive["median_r"],
        "share_above": share,
        "share_of_all": lambda r: share(r) * r.shape[-1] / d_a,
    }
    row: dict[str, float] = {"n_features": len(found.r), "n_searched": found.n_searched}
    row["n_shared"] = int(np.count_nonzero(found.r >= threshold))
    for name, statistic in measures.items():
        row |= judged(name, statistic, found.r, found.left_out_r, found.null_r, _RANGES[name])
    return row


def over_seeds(table: pd.DataFrame, keys: list[str], averaged: Sequence[str]) -> pd.DataFrame:
    """Return the means over SAE seeds of one row per seed, grouped by `keys`, in their order.

    Of `averaged`, which are among `MEASURES`, also Student's 95% interval, `_low` and `_high` (NaN
    for a single seed), cut at the range of the measure; of all other columns of numbers the mean
    alone, but of the ends of a null's range the outermost. The seeds of `sae_seed` comparisons are
    not quite independent: each SAE is A once and B once.
    """
    rows: list[dict[str, Any]] = []
    numbers = [name for name in table.select_dtypes("number") if name not in (*keys, "seed")]
    for key, group in table.groupby(keys, sort=False):
        names = key if isinstance(key, tuple) else (key,)
        row: dict[str, Any] = {**dict(zip(keys, names, strict=True)), "n_seeds": len(group)}
        row |= {name: float(_outermost(name)(group[name].to_numpy())) for name in numbers}
        for name in averaged:
            values = group[name].to_numpy(dtype=float)
            ends = (f"{name}_low", f"{name}_high")
            row |= mean_over_seeds(name, values) if len(values) > 1 else dict.fromkeys(ends, np.nan)
            row |= {end: float(np.clip(row[end], *_RANGES[name])) for end in ends}
        rows.append(row)
    return pd.DataFrame(rows)


def _outermost(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return what is made of a column's values: of the ends of a null's range the outermost."""
    if name.endswith("_null_low"):
        return np.min
    return np.max if name.endswith("_null_high") else np.mean


def pair_curve(
    features: pd.DataFrame, headline: pd.DataFrame, thresholds: np.ndarray
) -> pd.DataFrame:
    """Return the curve of one pair of the matching study, each layer of A with its best of B.

    `features` and `headline` are the study's tables; the null is that of its first shift. Columns
    threshold, share, share_null, n_features.
    """
    layers = best_layers(headline)[["layer_a", "layer_b"]]
    found = features.merge(layers, on=["layer_a", "layer_b"]).query("alive")
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "share": shares_above(found["r"].to_numpy(), thresholds),
            "share_null": shares_above(found["null_r"].to_numpy(), thresholds),
            "n_features": len(found),
        }
    )
