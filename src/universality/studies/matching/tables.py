"""The tables of the matching study, from its matches."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from universality.core.intervals import share_interval
from universality.core.nulls import judged, or_zero
from universality.studies.matching.pairings import Pairing
from universality.studies.matching.study import LayerMatch, PairedLayers

POOLED = -1
"""`layer_a` of the headline row over all layers of A, and `layer_b` where it is not one layer."""
T = TypeVar("T")


def each_and_all(items: Sequence[T]) -> list[tuple[Sequence[T], bool]]:
    """Return every item by itself and then all of them, which is pooled: true."""
    return [*(([item], False) for item in items), (items, True)]


def feature_table(match: LayerMatch) -> pd.DataFrame:
    """Return one row per feature of A: its best partner, r, and r under the first shift of B."""
    partner = match.forward.partner
    found = partner >= 0
    back = np.where(found, match.backward.partner[partner], -1)
    return pd.DataFrame(
        {
            "layer_a": match.layer_a,
            "layer_b": match.layer_b,
            "feature_a": np.arange(len(partner)),
            "partner": partner,
            "r": match.forward.r,
            "null_r": match.null_forward[0].r,
            "count_a": match.count_a,
            "partner_count": np.where(found, match.count_b[partner], 0),
            "alive": match.alive_a,
            "mutual": found & (back == np.arange(len(partner))),
        }
    )


def backward_table(match: LayerMatch) -> pd.DataFrame:
    """Return one row per feature of B: its best partner in A and r."""
    return pd.DataFrame(
        {
            "layer_a": match.layer_a,
            "layer_b": match.layer_b,
            "feature_b": np.arange(len(match.alive_b)),
            "partner": match.backward.partner,
            "r": match.backward.r,
            "count_b": match.count_b,
            "alive": match.alive_b,
        }
    )


def layer_table(matches: Sequence[LayerMatch], threshold: float) -> pd.DataFrame:
    """Return one row per pair of layers, with the null and the interval of its median r."""
    rows = []
    for match in matches:
        backward = match.backward.r[match.alive_b]
        rows.append(
            {
                "layer_a": match.layer_a,
                "layer_b": match.layer_b,
                "d_a": len(match.alive_a),
                "d_b": len(match.alive_b),
                "n_alive_b": int(match.alive_b.sum()),
                **summary([match], [[match]] * len(match.null_forward), threshold),
                "median_r_backward": float(median(backward)),
            }
        )
    return pd.DataFrame(rows)


def headline_table(matches: Sequence[LayerMatch], threshold: float) -> pd.DataFrame:
    """Return the headline of a study: for each layer of A its best layer of B, and all pooled.

    Best is the highest median r. Under the null the best layer is chosen anew for every shift, so
    the null carries that search too; `n_layers_searched` says how wide it was. Where A and B have
    the same layers there are also the same-layer rows, which searched nothing.
    """
    layers_a = sorted({match.layer_a for match in matches})
    layers_b = sorted({match.layer_b for match in matches})
    by_layer = {a: [match for match in matches if match.layer_a == a] for a in layers_a}
    n_null = len(matches[0].null_forward)

    def best(layer: int, median: Callable[[LayerMatch], float]) -> LayerMatch:
        return max(by_layer[layer], key=median)

    chosen = {a: best(a, lambda match: float(median(match.alive_r))) for a in layers_a}
    null_chosen = [
        {a: best(a, lambda match, s=shift: float(median(match.alive_null_r[s]))) for a in layers_a}
        for shift in range(n_null)
    ]
    rows = _selection_rows("best_layer", len(layers_b), chosen, null_chosen, threshold)
    if layers_a == layers_b:
        same = {match.layer_a: match for match in matches if match.layer_a == match.layer_b}
        rows += _selection_rows("same_layer", 1, same, [same] * n_null, threshold)
    return pd.DataFrame(rows)


def best_layers(headline: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `headline_table` that give the best layer of B for each layer of A."""
    return headline.query("selection == 'best_layer' and layer_a >= 0")


def _selection_rows(
    selection: str,
    n_searched: int,
    chosen: dict[int, LayerMatch],
    null_chosen: list[dict[int, LayerMatch]],
    threshold: float,
) -> list[dict[str, Any]]:
    """Return the rows of one way of choosing B's layer: every layer of A, then all pooled."""
    rows = []
    groups = [([a], a, match.layer_b) for a, match in chosen.items()]
    for layers, layer_a, layer_b in [*groups, (list(chosen), POOLED, POOLED)]:
        under_null = [[shift[a] for a in layers] for shift in null_chosen]
        rows.append(
            {
                "selection": selection,
                "n_layers_searched": n_searched,
                "layer_a": layer_a,
                "layer_b": layer_b,
                **summary([chosen[a] for a in layers], under_null, threshold),
            }
        )
    return rows


def summary(
    matches: Sequence[LayerMatch], under_null: Sequence[Sequence[LayerMatch]], threshold: float
) -> dict[str, float]:
    """Return the numbers of the alive features of `matches`, pooled, with null and interval.

    `under_null[s]` are the matches that shift s is judged on. Statistics are of r: median, mean and
    share of at least `threshold`, each with what `nulls.judged` puts beside it.
    """
    r = np.concatenate([match.alive_r for match in matches])
    left_out = np.concatenate([match.left_out_r for match in matches], axis=1)
    null = [
        np.concatenate([match.alive_null_r[shift] for match in group])
        for shift, group in enumerate(under_null)
    ]
    return {"n_features": len(r)} | _numbers(r, left_out, null, threshold)


def pairing_table(paired: Sequence[PairedLayers], threshold: float) -> pd.DataFrame:
    """Return one row per way of pairing and layers, and one for all layers pooled (`POOLED`).

    `n_a` are the alive features of A, of which `n_pairs` have a partner. Under the null features
    are paired anew, in the same way and the same layers.
    """
    rows = []
    for name in dict.fromkeys(one.pairing for one in paired):
        alike = [one for one in paired if one.pairing == name]
        for group, pooled in each_and_all(alike):
            r = np.concatenate([one.pairs.score for one in group])
            nulls = zip(*(one.null_r for one in group), strict=True)
            null = [np.concatenate(parts) for parts in nulls]
            left_out = np.concatenate([one.left_out_r for one in group], axis=1)
            rows.append(
                {
                    "pairing": name,
                    "layer_a": POOLED if pooled else group[0].layer_a,
                    "layer_b": POOLED if pooled else group[0].layer_b,
                    "n_a": sum(one.n_alive_a for one in group),
                    "n_pairs": len(r),
                    "n_pairs_null": float(np.mean([len(values) for values in null])),
                    **_numbers(r, left_out, null, threshold),
                }
            )
    return pd.DataFrame(rows)


def filter_table(
    steps: Sequence[PairedLayers], alone: Sequence[Mapping[str, int]], threshold: float
) -> pd.DataFrame:
    """Return `pairing_table` of the pairs that are left after each filter, and how many it took.

    `n_removed` are those that the filters before had left, `n_removed_alone` all that it would take
    by itself; `alone` holds the latter for each pair of layers, in the order of `steps`.
    `share_left` is of all pairs, with Wilson's 95% interval over features of A.
    """
    table = pairing_table(steps, threshold).rename(columns={"pairing": "filter"})
    table = _with_shares_left(table)
    layers = ["layer_a", "layer_b"]
    table["n_removed"] = -table.groupby(layers)["n_pairs"].diff().fillna(0).astype(int)
    names = table.loc[table["layer_a"] >= 0, layers].drop_duplicates().to_numpy().tolist()
    by_layers = {tuple(pair): counts for pair, counts in zip(names, alone, strict=True)}
    pooled = Counter()
    for counts in alone:
        pooled.update(counts)
    by_layers[POOLED, POOLED] = pooled
    table["n_removed_alone"] = [
        by_layers[layer_a, layer_b].get(name, 0)
        for name, layer_a, layer_b in table[["filter", *layers]].itertuples(index=False)
    ]
    return table


def _with_shares_left(table: pd.DataFrame) -> pd.DataFrame:
    """Add which share of the nearest pairs (`ALL`) each filter has left, over features of A."""
    alike = table.groupby(["layer_a", "layer_b"])
    n_all, null_all = (alike[name].transform("first") for name in ("n_pairs", "n_pairs_null"))
    ends = [
        share_interval(int(n), int(of)) if of else (0.0, 1.0)
        for n, of in zip(table["n_pairs"], n_all, strict=True)
    ]
    return table.assign(
        share_left=table["n_pairs"] / n_all.clip(lower=1),
        share_left_low=[low for low, _ in ends],
        share_left_high=[high for _, high in ends],
        share_left_null=table["n_pairs_null"] / null_all.clip(lower=1),
    )


def pairs_table(name: str, match: LayerMatch, pairs: Pairing) -> pd.DataFrame:
    """Return one row per pair of features that `name`, a pairing, filter or concept, has left."""
    return pd.DataFrame(
        {
            "pairing": name,
            "layer_a": np.int16(match.layer_a),
            "layer_b": np.int16(match.layer_b),
            "feature_a": pairs.a.astype(np.int32),
            "feature_b": pairs.b.astype(np.int32),
        }
    )


def meeting_table(
    matches: Sequence[LayerMatch], nulls: Sequence[np.ndarray], threshold: float
) -> pd.DataFrame:
    """Return one row per match, and one pooled, judged by the null of meeting documents.

    `nulls` are `study.null_of_meeting_documents` of each match.
    """
    rows = []
    for group, pooled in each_and_all(list(zip(matches, nulls, strict=True))):
        r = np.concatenate([match.alive_r for match, _ in group])
        left_out = np.concatenate([match.left_out_r for match, _ in group], axis=1)
        null = np.concatenate([null for _, null in group], axis=1)
        first = group[0][0]
        rows.append(
            {
                "layer_a": POOLED if pooled else first.layer_a,
                "layer_b": POOLED if pooled else first.layer_b,
                "n_features": len(r),
                **_numbers(r, left_out, list(null), threshold),
            }
        )
    return pd.DataFrame(rows)


def _numbers(
    r: np.ndarray, left_out: np.ndarray, null: Sequence[np.ndarray], threshold: float
) -> dict[str, float]:
    """Return the statistics of `r` `(n,)` with intervals and null."""
    numbers: dict[str, float] = {"n_null": len(null)}
    for name, statistic in statistics(threshold).items():
        numbers |= judged(name, statistic, r, left_out, null, RANGES[name])
    return numbers


def statistics(threshold: float) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what is said of the r of many features, over the last axis; 0 if there is none."""
    return {
        "median_r": median,
        "mean_r": or_zero(np.mean),
        "share_above": lambda r: or_zero(np.mean)(r >= threshold),
    }


median = or_zero(np.median)
RANGES = {"median_r": (-1.0, 1.0), "mean_r": (-1.0, 1.0), "share_above": (0.0, 1.0)}
"""Between which values each of `statistics` lies."""
