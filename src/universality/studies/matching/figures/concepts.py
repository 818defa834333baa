"""Figures about concepts and other texts of the matching study: tables in, a figure out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from universality.core import names
from universality.core.style import BASELINES, COLORS, NULL_COLOR, legend_below, panels
from universality.studies.matching.figures.matching import looks

Table = Any
"""A pandas DataFrame, whose stubs know too little of what a column gives."""
Tables = Mapping[str, Mapping[str, Table]]
TEXTS = {"training_text": "training stories", "glosses": "definitions of nouns"}
"""What the texts of `other_text` are."""
_CONCEPT_COLUMNS = [
    *(f"median_r{end}" for end in ("", "_low", "_high", "_null", "_random")),
    *("median_r_random_q_higher", "median_r_random_q_lower"),
]
LEAST_FEATURES = 10
"""Concepts with fewer features in every pair are left out of the figure."""


def concepts(tables: Tables) -> Figure:
    """Draw the median best r of each concept's features, beside as many random features."""
    shown = names.in_order(list(tables))
    columns = ["n_features", *_CONCEPT_COLUMNS]  # of which a pair without any such feature has one
    found: dict[str, Table] = {
        pair: tables[pair]["concepts"].set_index("concept").reindex(columns=columns)
        for pair in shown
    }
    most: Table = pd.concat([table["n_features"] for table in found.values()], axis=1).max(axis=1)
    kept = most.index[most >= min(LEAST_FEATURES, most.max())]
    figure, all_axes = panels(len(shown), 3, (2.5, 0.21 * len(kept) + 0.9), sharex=True)
    for axes, pair in zip(all_axes, shown, strict=True):
        table = found[pair].loc[kept]
        y = np.arange(len(table))
        value, low, high = (
            table[f"median_r{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high")
        )
        axes.errorbar(
            value, y, xerr=np.nan_to_num([value - low, high - value]), fmt="o", color=COLORS[0],
            ms=5, lw=1.2, label="features of the concept",
        )  # fmt: skip
        axes.plot(
            table["median_r_random"], y, "s", mfc="none", color=COLORS[1], ms=5,
            label="as many random features",
        )  # fmt: skip
        axes.plot(
            table["median_r_null"], y, BASELINES["null"]["marker"], color=NULL_COLOR, ms=8, mew=2,
            label="null: positions of B shifted",
        )  # fmt: skip
        stars = np.minimum(table["median_r_random_q_higher"], table["median_r_random_q_lower"])
        labels = [
            f"{str(concept).replace('_', '/')} ({n}){'*' if q < 0.05 else ''}"
            for concept, n, q in zip(table.index, table["n_features"], stars, strict=True)
        ]
        axes.set_yticks(y, labels, fontsize=7.5)
        axes.set_title(names.pair(pair), fontsize=9)
        axes.set(xlim=(0, 1), ylim=(len(table) - 0.5, -0.5))
        axes.grid(axis="y", lw=0.3)
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("median best-match r")
    legend_below(figure, all_axes, 3)
    return figure


def other_texts(tables: Mapping[str, Table]) -> Figure:
    """Draw how partners found on one text do on others: pair of models -> its table."""
    shown, styles = names.in_order(list(tables)), looks(tables)
    rows: Table = pd.concat([tables[pair].query("layer_a < 0").assign(pair=pair) for pair in shown])
    texts = list(dict.fromkeys(rows["text"]))
    rows["y"] = [
        len(texts) * shown.index(pair) + texts.index(text) + 0.4 * shown.index(pair)
        for pair, text in zip(rows["pair"], rows["text"], strict=True)
    ]
    figure, all_axes = panels(2, 2, (3.4, 0.3 * len(rows) + 1.2), sharey=True)
    r, same = all_axes
    for pair, group in rows.groupby("pair", sort=False):
        style = {"color": styles[str(pair)]["color"], "marker": styles[str(pair)]["marker"]}
        value, low, high = (
            group[f"median_r{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high")
        )
        ends = np.maximum(np.nan_to_num([value - low, high - value]), 0)
        r.errorbar(value, group["y"], xerr=ends, ls="", ms=7, lw=1.3, **style)
        same.plot(group["same_partner"], group["y"], ls="", ms=7, **style)
        for y, share, n in zip(group["y"], group["same_partner"], group["n_pairs"], strict=True):
            same.annotate(
                f"{int(n):,} pairs", (share, y), (8, 0), textcoords="offset points", va="center",
                fontsize=7.5,
            )  # fmt: skip
    r.plot([], [], "o", color="black", ms=6, label="these pairs, on this text")
    r.plot(
        rows["median_r_first"], rows["y"], "o", mfc="none", color="black", ms=5,
        label="the same pairs, on the text they were found on",
    )  # fmt: skip
    r.plot(
        rows["median_r_anew"], rows["y"], "x", color="black", ms=5, label="best partners, this text"
    )
    for axes, column in ((r, "median_r_null"), (same, "same_partner_null")):
        axes.plot(
            rows[column], rows["y"], BASELINES["null"]["marker"], color=NULL_COLOR, ms=9, mew=2,
            label="null: positions of B shifted",
        )  # fmt: skip
    labels = [TEXTS.get(text, text.replace("_", " ")) for text in map(str, rows["text"])]
    r.set_yticks(rows["y"].to_numpy(), labels)
    for index, pair in enumerate(shown):
        top = rows.query("pair == @pair")["y"].min()
        r.text(0.0, top - 0.5, names.pair(pair), fontsize=9, fontweight="bold", va="center")
        if index:
            for axes in all_axes:
                axes.axhline(top - 0.9, color="#d9d9d9", lw=0.7)
    r.set(xlabel="median r", xlim=(-0.02, 1), ylim=(rows["y"].max() + 0.5, -0.9))
    same.set(xlabel="share whose best partner is the same", xlim=(-0.02, 1.3))
    same.set_xticks([0, 0.25, 0.5, 0.75, 1])
    legend_below(figure, [r], 2)
    return figure
