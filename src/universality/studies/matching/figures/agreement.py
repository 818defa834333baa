"""The figure of agreement beyond activation correlation: tables in, a figure out."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from universality.core import names
from universality.core.style import COUNTS, panels

Tables = Mapping[str, Mapping[str, pd.DataFrame]]
"""Pair -> table name -> table, as the stage writes them."""
_OTHERS = {"logit": "logit weights", "attribution": "attributions"}


def agreements(tables: Tables) -> Figure:
    """Draw activation r against logit-weight r (top) and attribution r: a column per pair."""
    shown = names.in_order(list(tables))
    n = len(shown)
    figure, all_axes = panels(2 * n, n, (2.4, 2.4), sharex=True, sharey=True)
    images = []
    for index, axes in enumerate(all_axes):
        pair, kind = shown[index % n], list(_OTHERS)[index // n]
        table, row = tables[pair]["pairs"], _pooled(tables[pair]["summary"])
        images.append(
            axes.hexbin(
                table["r"], table[f"{kind}_r"], gridsize=26, extent=(-0.05, 1, -1, 1), bins="log",
                mincnt=1, cmap=COUNTS, linewidths=0.1, rasterized=True,
            )
        )  # fmt: skip
        axes.axhline(0, color="black", lw=0.6)
        axes.plot([row["threshold"]] * 2, [-1, 0], color="black", lw=1, ls="--")
        axes.plot([row["threshold"], 1], [0, 0], color="black", lw=1, ls="--")
        axes.text(
            0.03, -0.98, _corner(row, kind), fontsize=7.5, va="bottom",
            bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1},
        )  # fmt: skip
        axes.set(xlim=(-0.05, 1.02), ylim=(-1.04, 1.04))
        axes.tick_params(labelbottom=True, labelleft=True)
        if index < n:
            axes.set_title(names.pair(pair), fontsize=9)
        else:
            axes.set_xlabel("r of activations")
        if index % n == 0:
            axes.set_ylabel(f"r of {_OTHERS[kind]}")
    most = max(float(image.get_array().max()) for image in images)
    for image in images:
        image.set_clim(1, max(most, 10))
    figure.colorbar(images[0], ax=all_axes, label="features of A", shrink=0.6, aspect=30)
    return figure


def _pooled(summary: pd.DataFrame) -> dict[str, float]:
    row = summary.query("layer_a < 0").iloc[0]
    return {str(name): float(value) for name, value in row.items()}


def _corner(row: dict[str, float], kind: str) -> str:
    name = f"high_negative_{kind}"
    if not row["n_high"]:
        return f"no r of {row['threshold']:g} or more"
    return (
        f"{int(row['n_high'])} with r $\\geq$ {row['threshold']:g}:\n"
        f"{row[name]:.0%} negative (null {row[f'{name}_null']:.0%})"
    )
