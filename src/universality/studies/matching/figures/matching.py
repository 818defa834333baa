"""Figures of the matching study: tables in, a figure out."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from universality.core import names
from universality.core.style import (
    BASELINES,
    COLORS,
    HEAT_MAP,
    LINES,
    MARKERS,
    NULL_COLOR,
    legend_below,
    panels,
)
from universality.studies.matching.labels import FILTERS, PAIRINGS, Label

Table = Any
"""A pandas DataFrame or a row of one, whose stubs know too little of what a column gives."""
Tables = Mapping[str, Mapping[str, Table]]
"""Pair -> table name -> table, as the matching stage writes them."""

PUBLISHED = {
    "features of two LM seeds, Bricken et al. 2023": (0.72, (0, (6, 2))),
    "neurons of two LM seeds, Bricken et al. 2023": (0.46, (0, (1, 1.5))),
}
"""Their medians, on other models: one layer, 512 neurons, the Pile."""
_FREE = [0, 3, 1, 5, 6]
"""Colours that no baseline has."""


def role(pair: str) -> str:
    """Return which baseline a pair of models is: ceiling, untrained, or none ("pair")."""
    if "sae_seed" in pair:
        return "ceiling"
    return "untrained" if "random" in pair else "pair"


def looks(pairs: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return colour, line style and marker of each pair; baselines have their own.

    A second pair of the same baseline has its colour, and another line and an open marker.
    """
    found: dict[str, dict[str, Any]] = {}
    for pair in names.in_order(list(pairs)):
        kind = role(pair)
        n_before = sum(role(other) == kind for other in found)
        if kind == "pair":
            place = _FREE[n_before % len(_FREE)]
            found[pair] = {"color": COLORS[place], "linestyle": LINES[0], "marker": MARKERS[place]}
            if n_before:
                found[pair]["linestyle"] = LINES[4 + n_before % 2]
        else:
            found[pair] = dict(BASELINES[kind])
            if n_before:
                found[pair] |= {"linestyle": (0, (2, 3)), "markerfacecolor": "white"}
    return found


def best_features(named: Mapping[str, Table]) -> Table:
    """Return the alive features of A in their best layers of B."""
    best = named["headline"].query("selection == 'best_layer' and layer_a >= 0")
    return (
        named["features"]
        .merge(best[["layer_a", "layer_b"]], on=["layer_a", "layer_b"])
        .query("alive")
    )


def pooled(named: Mapping[str, Table]) -> Table:
    """Return the row over all layers of A, each with its best layer of B."""
    return named["headline"].query("selection == 'best_layer' and layer_a < 0").iloc[0]


def _telling(pairs: Iterable[str]) -> list[str]:
    """Return at most four pairs: the ceiling, the first and the last pair, an untrained model."""
    ordered = names.in_order(list(pairs))
    by_role = {
        kind: [pair for pair in ordered if role(pair) == kind]
        for kind in ("ceiling", "pair", "untrained")
    }
    ends = [*by_role["pair"][:1], *by_role["pair"][1:][-1:]]
    return [*by_role["ceiling"][:1], *ends, *by_role["untrained"][:1]]


def best_r_histograms(tables: Tables, neurons: Tables) -> Figure:
    """Draw best r per feature and its null, for at most four pairs, all layers of A pooled.

    Beside it the neurons of the same two models, for pairs of models that `neurons` holds.
    """
    shown, styles = _telling(tables), looks(tables)
    figure, all_axes = panels(len(shown), 2, (3.2, 2.35), sharex=True, sharey=True)
    bins, highest = np.linspace(-0.05, 1, 36), 0.0
    for axes, pair in zip(all_axes, shown, strict=True):
        features = best_features(tables[pair])
        heights = _histogram(axes, features["r"], bins, facecolor=styles[pair]["color"], lw=0.5)
        highest = max(highest, float(heights.max()))
        _histogram(
            axes, features["null_r"], bins, facecolor="#e3e3e3", hatch="....", lw=1, zorder=0,
            edgecolor=NULL_COLOR, label="null: positions of B shifted (cut off above)",
        )  # fmt: skip
        if pair in neurons:
            _histogram(
                axes, neurons[pair]["features"].query("alive")["r"], bins, lw=1.3,
                facecolor="none", ls="--", label="MLP neurons of the same two models",
            )  # fmt: skip
        axes.axvline(pooled(tables[pair])["median_r"], ymax=0.86, color="black", lw=1.8)
        if pair == shown[1] and role(pair) == "pair":
            for label, (r, line) in PUBLISHED.items():
                axes.axvline(r, ymax=0.86, color=COLORS[1], ls=line, lw=1.6, label=label)
        axes.set_title(names.pair(pair), fontsize=10)
        axes.tick_params(labelbottom=True)
    for axes, pair in zip(all_axes, shown, strict=True):
        median = pooled(tables[pair])["median_r"]
        axes.text(
            median, 1.26 * highest, f"median {median:.2f}", ha="center", va="top", fontsize=9.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    all_axes[0].set(ylim=(0, 1.28 * highest), xlim=(-0.05, 1))
    for axes in all_axes[::2]:
        axes.set_ylabel("share of A's features", fontsize=9.5)
    for axes in all_axes[-2:]:
        axes.set_xlabel("correlation with best partner in B", fontsize=9.5)
    legend_below(figure, all_axes, 1 if len(shown) < 2 else 2)
    return figure


def _histogram(axes: Axes, r: Table, bins: np.ndarray, **style: Any) -> np.ndarray:
    """Draw which share of `r` each of the bins holds, and return the shares."""
    style = {"histtype": "stepfilled", "edgecolor": "black"} | style
    heights, *_ = axes.hist(r, bins.tolist(), weights=np.full(len(r), 1 / max(1, len(r))), **style)
    return np.asarray(heights)


def layer_heat_maps(tables: Tables) -> Figure:
    """Draw the median best r of every pair of layers; titles say the highest null of any."""
    shown = names.in_order(list(tables))
    figure, all_axes = panels(len(shown), 3, (2.35, 2.1))
    scale = Normalize(0, 1)
    image = None
    for axes, pair in zip(all_axes, shown, strict=True):
        table = tables[pair]["layers"]
        medians = table.pivot(index="layer_a", columns="layer_b", values="median_r")
        image = axes.imshow(medians.to_numpy(), cmap=HEAT_MAP, norm=scale, aspect="auto")
        for (i, j), value in np.ndenumerate(medians.to_numpy()):
            color = "black" if value > 0.5 else "white"
            text = f"{value:.2f}".lstrip("0")
            axes.text(j, i, text, ha="center", va="center", color=color, fontsize=8)
        axes.set_xticks(range(len(medians.columns)), [str(x) for x in medians.columns])
        axes.set_yticks(range(len(medians.index)), [str(x) for x in medians.index])
        axes.set(xlabel="layer of B", ylabel="layer of A")
        null = f"{table['median_r_null'].max():.2f}".lstrip("0")
        axes.set_title(f"{names.pair(pair)}\n(null at most {null})", fontsize=8.5)
    if image is not None:
        figure.colorbar(image, ax=all_axes, label="median best-match r", shrink=0.6)
    return figure


def pairings(tables: Tables) -> Figure:
    """Draw the median r of the pairs and their share above the threshold, by way of pairing."""
    rows = {
        pair: named["pairings"].query("layer_a < 0").set_index("pairing")
        for pair, named in tables.items()
    }
    threshold = next(iter(tables.values()))["pairings"]["threshold"].iloc[0]
    columns = {
        "median_r": "median r of the pairs",
        "share_above": f"share of pairs with r of {threshold:g} or more",
    }
    return _ways(rows, PAIRINGS, columns)


def filters(tables: Tables) -> Figure:
    """Draw what each filter leaves: mean r, and the share of the pairs."""
    rows = {}
    for pair, named in tables.items():
        steps = named["filters"].query("layer_a < 0").rename(columns={"filter": "variant"})
        kept = [named["unfiltered"].assign(share_left=1.0)] if "unfiltered" in named else []
        rows[pair] = pd.concat([*kept, steps]).set_index("variant")
    columns = {"mean_r": "mean r of the pairs left", "share_left": "share of pairs left"}
    return _ways(rows, FILTERS, columns)


def _ways(
    rows: Mapping[str, Table], known: Mapping[str, Label], columns: Mapping[str, str]
) -> Figure:
    """Draw a panel per column and a line of marks per pair, one for each way in `known`."""
    shown = names.in_order(list(rows))
    ways = {
        name: label.name
        for name, label in known.items()
        if any(name in table.index for table in rows.values())
    }
    figure, all_axes = panels(len(columns), 2, (3.6, 0.52 * len(shown) + 0.9), sharey=True)
    step = 0.72 / len(ways)
    for axes, (column, label) in zip(all_axes, columns.items(), strict=True):
        for index, (name, way) in enumerate(ways.items()):
            found = pd.DataFrame([rows[pair].reindex([name]).iloc[0] for pair in shown])
            value, low, high, null = (
                found.reindex(columns=[f"{column}{end}"]).to_numpy(dtype=float)[:, 0]
                for end in ("", "_low", "_high", "_null")
            )
            y = np.arange(len(found)) + (index - (len(ways) - 1) / 2) * step
            ends = np.nan_to_num([value - low, high - value])
            axes.errorbar(
                value, y, xerr=np.maximum(ends, 0), fmt=MARKERS[index % len(MARKERS)],
                color=COLORS[_WAYS[index % len(_WAYS)]], ms=5.5, lw=1.2, label=way,
            )  # fmt: skip
            axes.plot(
                null, y, BASELINES["null"]["marker"], color=NULL_COLOR, ms=6, mew=1.8, zorder=1,
                label=None if index else "null: the same after positions of B were shifted",
            )  # fmt: skip
        for place in range(1, len(shown)):
            axes.axhline(place - 0.5, color="#d9d9d9", lw=0.7)
        axes.set(xlabel=label, xlim=(-0.03, 1.03), ylim=(len(shown) - 0.5, -0.5))
    all_axes[0].set_yticks(range(len(shown)), [names.pair(pair) for pair in shown])
    legend_below(figure, all_axes, 2)
    return figure


_WAYS = [6, 0, 1, 3, 5, 2, 4]
