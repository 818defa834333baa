"""Figures of what the features of SAEs are: tables in, a figure out."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.core import names
from universality.core.style import BASELINES, COLORS, HATCHES, legend_below, panels
from universality.studies.saes.figures.by_sae import draw, label_places, legend, model_look, places

_CLUSTERS = {
    "high": ("upper of two clusters", COLORS[0], ""),
    "firing": ("one cluster", COLORS[5], ""),
    "ultralow": ("lower of two clusters (ultralow)", COLORS[1], HATCHES[1]),
}
PUBLISHED_NEURONS = 0.04
"""Nanda 2023: share of features that are a few neurons, of another model and site."""


def clusters(features: pd.DataFrame) -> Figure:
    """Draw how often features fire, in the first and the last layer of every model.

    `features` has one row per feature: model, layer, seed, density and cluster. First SAE seeds.
    """
    cells = []
    for model, rows in features.groupby("model"):
        rows = rows.loc[rows["seed"] == rows["seed"].min()]
        ends = dict.fromkeys((rows["layer"].min(), rows["layer"].max()))
        cells += [(str(model), int(layer), rows.loc[rows["layer"] == layer]) for layer in ends]
    known = list(names.MODELS)
    cells.sort(key=lambda cell: known.index(cell[0]) if cell[0] in known else len(known))
    fires = features["density"].to_numpy() > 0
    lowest = np.floor(np.log10(features["density"].to_numpy()[fires].min()))
    bins = np.linspace(lowest, 0, 41)
    figure, all_axes = panels(len(cells), 4, (2.35, 1.75), sharex=True)
    for index, (axes, (model, layer, rows)) in enumerate(zip(all_axes, cells, strict=True)):
        _histogram(axes, rows, bins)
        axes.set_title(f"{names.model(model)}, layer {layer}", fontsize=9)
        axes.tick_params(labelbottom=True)
        if index % 4 == 0:
            axes.set_ylabel("features")
        if index >= len(cells) - 4:
            axes.set_xlabel("log10 share of tokens")
    legend_below(figure, all_axes, 3)
    return figure


def _histogram(axes: Axes, rows: pd.DataFrame, bins: np.ndarray) -> None:
    for name, (label, color, hatch) in _CLUSTERS.items():
        density = rows.loc[rows["cluster"] == name, "density"].to_numpy()
        if len(density):
            axes.hist(
                np.log10(density), bins.tolist(), histtype="stepfilled", lw=0.6, alpha=0.85,
                edgecolor="black", color=color, hatch=hatch, label=label,
            )  # fmt: skip
    share = float(np.mean(rows["density"].to_numpy() == 0))
    axes.text(0.03, 0.9, f"never: {100 * share:.0f}%", transform=axes.transAxes, fontsize=8)
    axes.margins(y=0.2)


def neurons(table: pd.DataFrame, few: int) -> Figure:
    """Draw the share of features that are 2 to `few` neurons, and the nearest neuron.

    `table` has one row per SAE on an MLP: of the first site that it names.
    """
    table = table.loc[table["site"] == table["site"].iloc[0]]
    where = places(table)
    figure = Figure(figsize=(8, 4.4))
    grid = figure.subplots(2, 1, sharex=True)
    numbers = {
        "few_neurons": f"features of\n2 to {few} neurons",
        "best_neuron_cosine": "|cosine| with the\nnearest neuron",
    }
    null: dict[str, Any] = {"color": BASELINES["null"]["color"], "marker": "_", "ms": 9, "mew": 2}
    for axes, (column, label) in zip(grid, numbers.items(), strict=True):
        x = [where[place] for place in zip(table["model"], table["layer"], strict=True)]
        axes.plot(x, table[f"{column}_null"], ls="none", **null)
        draw(axes, table, where, column)
        axes.set_ylabel(label)
    grid[0].axhline(PUBLISHED_NEURONS, color="black", ls=":", lw=1)
    grid[0].yaxis.set_major_formatter("{x:.0%}")
    grid[0].set_ylim(-0.003, None)
    grid[1].set_ylim(0, None)
    label_places(grid, where)
    legend(
        grid[0],
        {
            "SAE of a trained LM": model_look(""),
            "another SAE seed": model_look("", second_seed=True),
            "of an untrained LM": model_look("random"),
            "random directions": null,
            "Nanda 2023": {"color": "black", "ls": ":", "lw": 1},
        },
    )
    return figure
