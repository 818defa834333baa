"""SAEs compared at equal L0: each seed's curve is read off where it passes through that L0."""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    import pandas as pd

_ALL = (-np.inf, np.inf)
METRICS = {
    "explained_variance": (-np.inf, 1.0),
    "ce_loss_recovered": _ALL,
    "ce_difference": _ALL,
    "dead_fraction": (0.0, 1.0),
}
"""What is compared -> the values that it can take, at which intervals are cut."""


def seed_interval(
    values: np.ndarray, within: tuple[float, float] = _ALL, level: float = 0.95
) -> tuple[float, float]:
    """Return Student's t interval of the mean of one value per seed; NaN for a single seed.

    It is cut at `within`, the values that there can be.
    """
    n = len(values)
    if n < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf((1 + level) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    low, high = np.mean(values) - half, np.mean(values) + half
    return float(max(low, within[0])), float(min(high, within[1]))


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
            for metric, within in METRICS.items():
                found = np.array(
                    [at_l0(c["l0"].to_numpy(), c[metric].to_numpy(), l0) for c in curves]
                )
                row[metric] = float(found.mean())
                row[f"{metric}_low"], row[f"{metric}_high"] = seed_interval(found, within)
            if np.isfinite(row["explained_variance"]):
                rows.append(row)
    columns = ["hook", "family", "expansion", "l0", "n_seeds"]
    metrics = [f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*columns, *metrics])


PCA = "pca"
"""Family of the baseline, principal components."""
Table = Any
"""A pandas DataFrame, whose stubs know too little of what a column gives."""


def against(table: Table, reference: str) -> "pd.DataFrame":
    """Compare every SAE with one of the family `reference` and its seed that is as sparse.

    `table` has one row per SAE: hook, family, expansion, sparsity, seed, l0 and `METRICS`. Each
    SAE's numbers are set beside those of the reference, read off at the SAE's own L0; so a family
    of a single sparsity can be compared too. Returns one row per hook, family, expansion and
    sparsity of which every seed lies within the reference's curve: mean l0, the mean over seeds of
    each metric, of the reference's (`_reference`), of what principal components have (`_pca`, where
    there are some) and of the difference to the reference (`_gain`), the first and the last with t
    intervals (`_low`, `_high`), and n_seeds.
    """
    import pandas as pd

    rows = []
    keys = ["hook", "family", "expansion", "sparsity"]
    for key, group in table.groupby(keys, sort=False):
        where = dict(zip(keys, key, strict=True))  # pyright: ignore
        if where["family"] in (reference, PCA):
            continue
        same = table[(table["hook"] == where["hook"]) & (table["expansion"] == where["expansion"])]
        curves = dict(list(same[same["family"] == reference].groupby("seed")))
        components = table[(table["hook"] == where["hook"]) & (table["family"] == PCA)]
        row = where | {"l0": float(group["l0"].mean()), "n_seeds": len(group)}
        for metric, within in METRICS.items():
            own = group[metric].to_numpy()
            beside = np.array([_read_off(curves.get(s), x, metric) for s, x in _seeds_l0(group)])
            pca = np.array([_read_off(components, x, metric) for _, x in _seeds_l0(group)])
            row |= {metric: float(own.mean()), f"{metric}_reference": float(beside.mean())}
            row |= {f"{metric}_gain": float((own - beside).mean()), f"{metric}_pca": pca.mean()}
            row[f"{metric}_low"], row[f"{metric}_high"] = seed_interval(own, within)
            ends = seed_interval(own - beside)
            row[f"{metric}_gain_low"], row[f"{metric}_gain_high"] = ends
        if np.isfinite(row["explained_variance_reference"]):
            rows.append(row)
    names = [f"{m}{kind}" for m in METRICS for kind in ("", "_gain")]
    ends = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    others = [f"{metric}{kind}" for metric in METRICS for kind in ("_reference", "_pca")]
    made = pd.DataFrame(rows, columns=[*keys, "l0", "n_seeds", *ends, *others])
    return made.astype(dict.fromkeys(["sparsity", "l0", *ends, *others], float))  # if empty too


def _seeds_l0(group: Table) -> list[tuple[int, float]]:
    return list(zip(group["seed"].tolist(), group["l0"].tolist(), strict=True))


def _read_off(curve: Table | None, l0: float, metric: str) -> float:
    if curve is None or not len(curve):
        return float("nan")
    return at_l0(curve["l0"].to_numpy(), curve[metric].to_numpy(), l0)
