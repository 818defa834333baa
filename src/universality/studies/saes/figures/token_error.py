"""Figures of where the error of SAEs is: tables in, a figure out.

Tables are those of `universality sae-errors`: model -> table name -> table.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from universality.core import names
from universality.core.style import BASELINES, HEAT_MAP, NULL_COLOR, line_look, look

Tables = Mapping[str, Mapping[str, pd.DataFrame]]


def error_tokens(tables: Tables) -> Figure:
    """Draw, a row per model: cost by kind of error, its tail over tokens, and shared by layers."""
    figure = Figure(figsize=(9.4, 2.9 * len(tables) + 0.2))
    grid = figure.subplots(len(tables), 3, squeeze=False, width_ratios=[1.15, 1, 1])
    for row, (model, named) in zip(grid, tables.items(), strict=True):
        layers = named["layers"].sort_values(by="layer")
        _kinds_of_error(row[0], layers)
        _tail_quantiles(row[1], named["quantiles"])
        _layer_correlations(row[2], named["correlations"], layers)
        row[0].set_title(f"{names.model(model)}: cost of an error")
        row[1].set_title("tail over tokens")
    return figure


def _kinds_of_error(axes: Axes, layers: pd.DataFrame) -> None:
    series = {
        "ce_difference": ("the SAE's error", look(0)),
        "ce_difference_exchanged_error": ("another document's, same norm", look(3)),
        "ce_difference_random_error": ("random direction, same norm", null_look()),
    }
    for index, (column, (label, how)) in enumerate(series.items()):
        x = layers["layer"] + 0.12 * (index - 1)
        interval_line(axes, x, layers, column, label, how | {"linestyle": "none"})
    axes.axhline(0, color="black", lw=0.5)
    axes.set(xlabel="layer", ylabel="CE added (nats / token)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _room_above(axes, 1.4)
    axes.legend(loc="upper left", fontsize=8)


def _tail_quantiles(axes: Axes, quantiles: pd.DataFrame) -> None:
    upper = quantiles.loc[quantiles["quantile"] >= 0.5]
    first = upper.loc[upper["sae"] == upper["sae"].iloc[0]]
    above = 1 - first["quantile"]
    for name, style in (("normal", "-"), ("laplace", "--")):
        label = name.capitalize() if name == "laplace" else name
        axes.plot(first[name], above, color=NULL_COLOR, ls=style, lw=2, label=label)
    for index, (layer, rows) in enumerate(upper.groupby("layer")):
        axes.plot(rows["z"], 1 - rows["quantile"], **line_look(index), label=f"layer {layer}")
    axes.set_yscale("log")
    axes.set(xlabel="CE added (standard deviations)", ylabel="share of tokens above")
    axes.legend(loc="upper right", fontsize=7.5, handlelength=2.2)


def _layer_correlations(axes: Axes, table: pd.DataFrame, layers: pd.DataFrame) -> None:
    """Draw Spearman's r below the diagonal and Pearson's above."""
    axes.set(xlabel="layer", ylabel="layer")
    if table.empty:
        axes.set(xticks=[], yticks=[], title="one layer: nothing to correlate")
        return
    names = list(layers["sae"])
    matrix = np.full((len(names), len(names)), np.nan)
    for row in table.to_dict(orient="records"):
        a, b = names.index(row["sae_a"]), names.index(row["sae_b"])
        matrix[b, a], matrix[a, b] = row["spearman"], row["pearson"]
    high = max(0.1, float(np.nanmax(matrix)))
    axes.imshow(matrix, cmap=HEAT_MAP, norm=Normalize(0, high))
    for (i, j), value in np.ndenumerate(matrix):
        if i != j:
            color = "black" if value > 0.5 * high else "white"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=color, fontsize=7.5)
    ticks = [str(layer) for layer in layers["layer"]]
    axes.set_xticks(range(len(names)), ticks)
    axes.set_yticks(range(len(names)), ticks)
    null = float(np.max(table["spearman_null_high"].to_numpy()))
    axes.set_title(f"cost, correlation of layers\n(shifted positions: < {null:.2f})")


def error_maps(tables: Tables) -> Figure:
    """Draw, a row per model: the map coloured by CE difference, and agreement of neighbours."""
    figure = Figure(figsize=(9.6, 3.8 * len(tables) + 0.3))
    grid = figure.subplots(len(tables), 2, squeeze=False, width_ratios=[1.25, 1])
    for row, (model, named) in zip(grid, tables.items(), strict=True):
        points = named["map"]
        layer = int(points["layer"].iloc[0])
        low, high = np.quantile(points["ce_difference"], [0.05, 0.95])
        image = row[0].scatter(
            points["x"], points["y"], c=points["ce_difference"], s=6, cmap=HEAT_MAP, lw=0,
            norm=Normalize(low, high), rasterized=True,
        )  # fmt: skip
        label = "CE difference (nats; colours end at the 5% and 95% quantiles)"
        colorbar = figure.colorbar(image, ax=row[0], extend="both")
        colorbar.set_label(label, fontsize=7)
        row[0].set(xticks=[], yticks=[], xlabel="UMAP (distances mean little)")
        row[0].set_title(
            f"{names.model(model)}, layer {layer}: activations of {len(points)} tokens"
        )
        _agreement(row[1], named["neighbours"], int(named["layers"]["n_tokens"].iloc[0]))
    return figure


def _agreement(axes: Axes, table: pd.DataFrame, n: int) -> None:
    labels = {
        "ce_difference": "CE difference", "error": "norm of the error",
        "relative_error": "the same / norm of the input",
    }  # fmt: skip
    for index, (value, label) in enumerate(labels.items()):
        rows = table.loc[table["value"] == value].sort_values(by="layer")
        p = rows["moran_i_p"]
        label += f" (p {p.min():.3f} to {p.max():.3f})"
        interval_line(axes, rows["layer"], rows, "moran_i", label, look(index))
    rows = table.loc[table["value"] == "ce_difference"].sort_values(by="layer")
    axes.plot(rows["layer"], rows["moran_i_null"], **null_look(), label="null: values permuted")
    axes.set(xlabel="layer", ylabel="Moran's I of neighbours\nin other documents")
    axes.set_ylim(-0.05, 1.45)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"n = {n} tokens; bars: 95% over documents", fontsize=8.5)
    axes.legend(loc="upper left", fontsize=7)


def _room_above(axes: Axes, factor: float) -> None:
    """Make room for a legend above the curves."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, low + factor * (high - low))


def null_look() -> dict[str, Any]:
    """Return colour, line style and marker of nulls and controls."""
    return BASELINES["null"] | {"marker": "x"}


def interval_line(
    axes: Axes, x: Any, rows: pd.DataFrame, column: str, label: str, how: dict[str, Any]
) -> None:
    """Draw `column` of `rows` over `x` with its interval, columns `_low` and `_high`."""
    y, low, high = (rows[f"{column}{end}"].to_numpy() for end in ("", "_low", "_high"))
    ends = np.maximum([y - low, high - y], 0)
    axes.errorbar(np.asarray(x), y, yerr=ends, label=label, capsize=2, elinewidth=0.8, **how)
