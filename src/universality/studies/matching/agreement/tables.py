"""The tables of agreement beyond activation correlation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from universality.core.intervals import median, share
from universality.core.nulls import null_range
from universality.core.stats import jackknife_interval
from universality.studies.matching.agreement.agreement import LayerAgreement
from universality.studies.matching.agreement.weights import rank_correlation
from universality.studies.matching.tables import POOLED, each_and_all


def agreement_table(layers: Sequence[LayerAgreement], threshold: float) -> pd.DataFrame:
    """Return one row per pair of layers, and one for all pooled (`POOLED`).

    Each number comes with `_low` and `_high`, and with mean and range of its null (`_null`,
    `_null_low`, `_null_high`):

    - `median_logit_r`, `median_attribution_r` of the best partners by activation, and
      `median_best_attribution_r` of those by attribution;
    - `rank_r_logit`, `rank_r_attribution`, `rank_logit_attribution`: Spearman's correlations over
      features of the activation r with the others, and of these with each other;
    - `partner_differs`: the share of features whose best partner by attribution is another than
      by activation; beside it how often either partner differs between two halves of the text,
      which need not mean anything (`_between_halves`, without null);
    - `high_negative_logit`, `high_negative_attribution`: of the `n_high` features whose activation
      r is at least `threshold`, the share with a negative correlation of the others; NaN if none.

    Intervals are over documents with partners held fixed where attributions are correlated
    (jackknife over groups of documents), and over features for logit weights and for
    `partner_differs`. Nulls shuffle partners (logit weights) or shift the positions of B
    (attributions).
    """
    rows = []
    for group, pooled in each_and_all(layers):
        where = {
            "layer_a": POOLED if pooled else group[0].layer_a,
            "layer_b": POOLED if pooled else group[0].layer_b,
        }
        rows.append(where | _summary(group, threshold))
    return pd.DataFrame(rows)


def _summary(group: Sequence[LayerAgreement], threshold: float) -> dict[str, Any]:
    def pool(name: str) -> np.ndarray:
        return np.concatenate([getattr(one, name) for one in group], axis=-1)

    r, logit_r, attribution_r = (pool(f"{name}r") for name in ("", "logit_", "attribution_"))
    logit_null, shifted = pool("logit_r_null"), pool("attribution_r_null")
    r_left_out, left_out = pool("r_left_out"), pool("attribution_r_left_out")
    sampled = np.concatenate([one.r[one.sampled] for one in group])
    row: dict[str, Any] = {
        "n_features": len(r), "n_high": int((r >= threshold).sum()), "threshold": threshold,
        "n_null": len(shifted), "n_shuffles": len(logit_null), "n_null_features": len(sampled),
    }  # fmt: skip
    row |= _tested(median("median_logit_r", logit_r), np.median(logit_null, axis=1))
    name = "median_attribution_r"
    row |= _tested(_median(name, attribution_r, left_out), np.median(shifted, 1))
    values = _median("median_best_attribution_r", pool("best_r"), pool("best_r_left_out"))
    row |= _tested(values, np.median(pool("best_r_null"), axis=1))
    row |= _tested(rank_correlation("rank_r_logit", r, logit_r), ranked(r, logit_null))
    values = _between("rank_r_attribution", r, attribution_r, ranked(r_left_out, left_out))
    row |= _tested(values, ranked(sampled, shifted))
    values = _between("rank_logit_attribution", logit_r, attribution_r, ranked(logit_r, left_out))
    row |= _tested(values, ranked(attribution_r, logit_null))
    differs = share("partner_differs", pool("differs"))
    row |= _tested(differs, pool("differs_null").mean(1))
    row |= share("partner_differs_between_halves", pool("differs_between_halves"))
    halves = pool("attribution_differs_between_halves")
    row |= share("attribution_partner_differs_between_halves", halves)
    high, high_sampled = r >= threshold, sampled >= threshold
    negative = _negative_share("high_negative_logit", logit_r[high], None)
    row |= _tested(negative, _negative(logit_null[:, high]))
    name = "high_negative_attribution"
    negative = _negative_share(name, attribution_r[high], left_out[:, high])
    row |= _tested(negative, _negative(shifted[:, high_sampled]))
    return row


def _tested(values: dict[str, float], null: np.ndarray) -> dict[str, float]:
    """Add mean and range of the null to a number (the first of `values`) and its interval."""
    return values | null_range(next(iter(values)), null)


def _median(name: str, values: np.ndarray, left_out: np.ndarray) -> dict[str, float]:
    return _with_interval(name, float(np.median(values)), np.median(left_out, axis=1))


def _between(name: str, x: np.ndarray, y: np.ndarray, left_out: np.ndarray) -> dict[str, float]:
    return _with_interval(name, float(ranked(x, y[None])[0]), left_out)


def _with_interval(
    name: str, value: float, left_out: np.ndarray, least: float = -1.0
) -> dict[str, float]:
    low, high = jackknife_interval(value, left_out, (least, 1.0))
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _negative(values: np.ndarray) -> np.ndarray:
    """Return the share of negative values in each row; NaN if rows are empty."""
    return (values < 0).mean(1) if values.shape[1] else np.full(len(values), np.nan)


def _negative_share(name: str, values: np.ndarray, left_out: np.ndarray | None) -> dict[str, float]:
    """Return the share of negative `values` with its interval; over features if no `left_out`."""
    if not len(values):
        return dict.fromkeys([name, f"{name}_low", f"{name}_high"], np.nan)
    if left_out is None:
        return share(name, values < 0)
    return _with_interval(name, float((values < 0).mean()), _negative(left_out), least=0.0)


def ranked(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of `x` `(n,)` or `(m, n)` with each row of `y` `(m, n)`.

    0 where one of them is constant.
    """
    x, y = (_centred_ranks(values) for values in (x, y))
    square = (x**2).sum(-1) * (y**2).sum(-1)
    return (x * y).sum(-1) / np.sqrt(np.where(square > 0, square, np.inf))


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(values, axis=-1) - (values.shape[-1] + 1) / 2
