"""SAEs compared at equal L0: each seed's curve is read off where it passes through a given L0."""

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("explained_variance", "ce_loss_recovered", "ce_difference", "dead_fraction")


def seed_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return Student's t interval of the mean of one value per seed; NaN for a single seed."""
    n = len(values)
    if n < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf((1 + level) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    return float(np.mean(values) - half), float(np.mean(values) + half)


def at_l0(l0: np.ndarray, values: np.ndarray, wanted: float, slack: float = 0.02) -> float:
    """Return `values` interpolated linearly in log L0 at `wanted`; NaN outside their range.

    Nothing is extrapolated, but for a share `slack` by which a curve that was trained to end at
    `wanted` may miss it.
    """
    order = np.argsort(l0)
    x, y = np.log(np.asarray(l0)[order]), np.asarray(values)[order]
    if not (x[0] + np.log1p(-slack) <= np.log(wanted) <= x[-1] + np.log1p(slack)):
        return float("nan")
    return float(np.interp(np.log(wanted), x, y))


def at_matched_l0(table: "pd.DataFrame", wanted: list[float]) -> "pd.DataFrame":
    """Compare families at equal L0.

    `table` has one row per SAE: hook, family, expansion, seed, l0 and `METRICS`. Returns a row for
    each hook, family, expansion and L0 that every seed's curve passes through, with the mean over
    seeds, its t interval (`_low`, `_high`) and n_seeds.
    """
    import pandas as pd

    rows = []
    for key, group in table.groupby(["hook", "family", "expansion"], sort=False):
        curves = [rows for _, rows in group.groupby("seed")]
        for l0 in wanted:
            row = dict(zip(("hook", "family", "expansion"), key, strict=True))  # pyright: ignore
            row |= {"l0": l0, "n_seeds": len(curves)}
            for metric in METRICS:
                found = np.array(
                    [at_l0(c["l0"].to_numpy(), c[metric].to_numpy(), l0) for c in curves]
                )
                row[metric] = float(found.mean())
                row[f"{metric}_low"], row[f"{metric}_high"] = seed_interval(found)
            if np.isfinite(row[METRICS[0]]):
                rows.append(row)
    columns = ["hook", "family", "expansion", "l0", "n_seeds"]
    metrics = [f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*columns, *metrics])
