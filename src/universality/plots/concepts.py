"""Figures about concepts and other texts of the matching study: tables in, a figure out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.plots.style import COLORS, legend_below, panels

Tables = Mapping[str, Mapping[str, pd.DataFrame]]


def concepts(tables: Tables) -> Figure:
    """Draw the median best r of each concept's features, beside as many random features."""
    figure, all_axes = panels(len(tables), 2, (4.6, 3.4))
    for axes, (pair, named) in zip(all_axes, tables.items(), strict=True):
        table = named["concepts"].query("n_features > 0")
        _dots(axes, table, "as many random features")
        stars = np.minimum(table["median_r_random_q_higher"], table["median_r_random_q_lower"])
        labels = [
            f"{concept} ({n}){' *' if q < 0.05 else ''}"
            for concept, n, q in zip(table["concept"], table["n_features"], stars, strict=True)
        ]
        axes.set_yticks(range(len(table)), labels, fontsize=7)
        axes.set_title(f"{pair}, {int(named['concepts']['n_alive'].iloc[0])} features")
        axes.set_xlabel("median best-match r")
    legend_below(figure, all_axes, 3)
    figure.suptitle(
        "Features by concept (number of features; * differs from random ones, q < .05; bars: 95% "
        "over documents)",
        fontsize=9,
    )
    return figure


def subsets(tables: Tables) -> Figure:
    """Draw the median best r of matching anew on a concept's positions or text of one topic."""
    figure, all_axes = panels(len(tables), 2, (4.6, 4.4))
    for axes, (pair, named) in zip(all_axes, tables.items(), strict=True):
        table = named["subsets"]
        if "median_r" in table:
            table = table.query("median_r.notna()")
            _dots(axes, table, "as many random positions or stories")
        else:
            table = table.iloc[:0]
        labels = [
            f"{kind}: {concept} ({n})"
            for kind, concept, n in zip(
                table["kind"], table["concept"], table["n_rows"], strict=True
            )
        ]
        axes.set_yticks(range(len(table)), labels, fontsize=6)
        where = named["subsets"].iloc[0]
        axes.set_title(f"{pair}, layers {int(where['layer_a'])} and {int(where['layer_b'])}")
        axes.set_xlabel("median best-match r on these positions alone")
    legend_below(figure, all_axes, 3)
    figure.suptitle(
        "Matched anew on the tokens of a concept, and on the stories that name it most (number of "
        "positions)",
        fontsize=9,
    )
    return figure


def _dots(axes: Axes, table: pd.DataFrame, random: str) -> None:
    y = np.arange(len(table))
    low, high, value = (
        table[name].to_numpy(dtype=float) for name in ("median_r_low", "median_r_high", "median_r")
    )
    axes.errorbar(
        value, y, xerr=np.maximum([value - low, high - value], 0), fmt="o", color=COLORS[0], ms=5,
        lw=1.2, label="median best r",
    )  # fmt: skip
    axes.plot(table["median_r_random"], y, "s", mfc="none", color=COLORS[1], ms=5, label=random)
    axes.plot(table["median_r_null"], y, "|", color="black", ms=9, mew=2, label="null (shifted)")
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    axes.grid(axis="y", lw=0.3)


def other_texts(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw how partners found on one text do on others: pair of models -> its table."""
    figure, all_axes = panels(2, 2, (4.6, 0.5 * len(tables) * 2 + 1.2), sharey=True)
    rows = pd.concat([table.query("layer_a < 0").assign(pair=p) for p, table in tables.items()])
    y = np.arange(len(rows))
    labels = [f"{pair}\non {text}" for pair, text in zip(rows["pair"], rows["text"], strict=True)]
    low, high, value = (
        rows[name].to_numpy(dtype=float) for name in ("median_r_low", "median_r_high", "median_r")
    )
    axes = all_axes[0]
    axes.plot(rows["median_r_first"], y, "o", mfc="none", color="black", label="on the first text")
    axes.errorbar(
        value, y, xerr=np.maximum([value - low, high - value], 0), fmt="o", color=COLORS[0], lw=1.2,
        label="the same pairs here",
    )  # fmt: skip
    axes.plot(rows["median_r_anew"], y, "s", mfc="none", color=COLORS[1], label="best partner here")
    axes.plot(rows["median_r_null"], y, "|", color="black", ms=9, mew=2, label="null (shifted)")
    axes.set_xlabel("median r")
    axes.set_yticks(y, labels, fontsize=7)
    axes.tick_params(labelleft=True)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    all_axes[1].plot(rows["same_partner"], y, "o", color=COLORS[0], label="same partner")
    all_axes[1].plot(rows["same_partner_null"], y, "|", color="black", ms=9, mew=2)
    for place, share, n in zip(y, rows["same_partner"], rows["n_pairs"], strict=True):
        all_axes[1].annotate(
            f"{int(n)} pairs", (share, place), (6, 0), textcoords="offset points", va="center",
            fontsize=6,
        )  # fmt: skip
    all_axes[1].set_xlim(-0.02, 1.15)
    all_axes[1].set_xlabel("share whose best partner here is the same")
    legend_below(figure, [axes], 4)
    figure.suptitle("Partners found on one text, on others (bars: 95% over documents)", fontsize=9)
    return figure
