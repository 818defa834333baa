"""Figures of the toy models: tables in, a figure out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.core.style import BASELINES, COLORS, NULL_COLOR, legend_below, look
from universality.core.tables import where

MEASURES = {
    "recovered": "true features\nfound (share)",
    "sum_latent": "pairs with a latent\nfor the sum (share)",
    "absorption_rate": "parent absorbed\n(share of samples)",
}
CONDITIONS = {
    "independent": "independent",
    "correlated": "correlated groups",
    "composed": "mostly in pairs",
    "hierarchy": "parent and child",
}
"""Condition -> how the features of a toy model depend on each other."""
FAMILIES = {"standard": "L1", "topk": "TopK", "matryoshka": "Matryoshka"}
_NULLS: dict[str, tuple[str, dict[str, Any]]] = {
    "samples": ("samples as dictionary", {"color": NULL_COLOR, "ls": "-"}),
    "random": ("random directions", {"color": BASELINES["null"]["color"], "ls": ":"}),
    "untrained": ("untrained SAEs", {"color": BASELINES["untrained"]["color"], "ls": "--"}),
}


def recovery(summary: pd.DataFrame) -> Figure:
    """Draw `MEASURES` against L0, a line per SAE family, at the reference width.

    `summary` has one row per condition, kind, family, sparsity, width and measure. A row of panels
    per measure, a column per condition; nulls are those at the references.
    """
    summary = where(summary, expansion=_expansion(summary))
    figure, panels = _grid(summary, MEASURES)
    for (measure, condition), axes in panels.items():
        here = where(summary, condition=condition)
        for kind, (label, style) in _NULLS.items():
            null = where(here, kind=kind, measure=measure, reference=True)["mean"].to_numpy()
            if len(null):
                axes.axhline(float(null.mean()), **style, lw=1.1, label=label)
        for index, (family, rows) in enumerate(_families(here)):
            l0, true = (where(rows, measure=name)["mean"].to_numpy() for name in ("l0", "l0_true"))
            of_family = where(rows, measure=measure)
            if len(of_family) == len(l0):
                _line(axes, l0 / true, of_family, index, FAMILIES.get(family, family))
        axes.axvline(1, color=NULL_COLOR, lw=0.7, ls=(0, (1, 3)))
        axes.set_xscale("log")
        axes.set_xticks([0.3, 1, 3, 10], ["0.3", "1", "3", "10"])
        axes.minorticks_off()
        axes.set_ylim(-0.04, 1.04)
        if axes.get_subplotspec().is_last_row():  # pyright: ignore[reportOptionalMemberAccess]
            axes.set_xlabel("active features\n(1: as many as truly are)")
    legend_below(figure, panels.values(), 3)
    return figure


def agreements(table: pd.DataFrame) -> Figure:
    """Draw what two SAE seeds share, and how much of it is true, by condition and family.

    `table` has one row per condition, family, and ordered pair of SAE seeds on the same samples;
    bars span them.
    """
    conditions = list(dict.fromkeys(table["condition"]))
    known = [name for name in CONDITIONS if name in conditions]
    conditions = [*known, *(name for name in conditions if name not in known)]
    figure = Figure(figsize=(2.1 * len(conditions) + 0.6, 3.2))
    grid = figure.subplots(1, len(conditions), sharey=True, squeeze=False)[0]
    seed = BASELINES["ceiling"]
    series: dict[str, tuple[str, dict[str, Any]]] = {
        "shared": ("latents found in another SAE seed", {"color": seed["color"], "marker": "^"}),
        "true_if_shared": ("of these: true features", {"color": COLORS[0], "marker": "o"}),
        "true": (
            "of all latents: true features",
            {"color": "black", "marker": "D", "mfc": "white", "ms": 4.5},
        ),
    }
    for axes, condition in zip(grid, conditions, strict=True):
        families = _families(where(table, condition=condition))
        for place, (_, rows) in enumerate(families):
            for index, (column, (label, style)) in enumerate(series.items()):
                values = rows[column].dropna().to_numpy()
                if not len(values):
                    continue
                mean = values.mean()
                bars = np.maximum([[mean - values.min()], [values.max() - mean]], 0)
                x = place + 0.22 * (index - 1)
                look = {"ms": 6.5, **style}
                axes.errorbar(x, mean, bars, ls="none", capsize=2, lw=1, label=label, **look)
        labels = [FAMILIES.get(family, family) for family, _ in families]
        axes.set_xticks(range(len(families)), labels, fontsize=8)
        axes.set(xlim=(-0.6, len(families) - 0.4), ylim=(-0.04, 1.04))
        axes.set_title(CONDITIONS.get(condition, condition))
    grid[0].set_ylabel("share of latents")
    legend_below(figure, grid, 3)
    return figure


Panels = dict[tuple[str, str], Axes]
"""(measure, condition) -> axes."""


def _grid(summary: pd.DataFrame, measures: Mapping[str, str]) -> tuple[Figure, Panels]:
    conditions = list(dict.fromkeys(summary["condition"]))
    figure = Figure(figsize=(2.05 * len(conditions) + 0.6, 1.55 * len(measures) + 0.9))
    grid = figure.subplots(len(measures), len(conditions), squeeze=False, sharex=True, sharey="row")
    for axes, condition in zip(grid[0], conditions, strict=True):
        axes.set_title(CONDITIONS.get(condition, condition))
    for axes, label in zip(grid[:, 0], measures.values(), strict=True):
        axes.set_ylabel(label)
    panels = {
        (measure, condition): axes
        for row, measure in zip(grid, measures, strict=True)
        for axes, condition in zip(row, conditions, strict=True)
    }
    return figure, panels


def _line(axes: Axes, x: np.ndarray, rows: pd.DataFrame, index: int, label: str) -> None:
    order = np.argsort(x)
    mean, low, high = (rows[name].to_numpy()[order] for name in ("mean", "low", "high"))
    axes.plot(x[order], mean, **look(index), label=label)
    axes.errorbar(
        x[order], mean, yerr=[mean - low, high - mean], fmt="none", ecolor=look(index)["color"],
        capsize=2, lw=1,
    )  # fmt: skip


def _families(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of trained SAEs by family, in the table's order."""
    trained = where(table, kind="trained") if "kind" in table else table
    return [(str(family), rows) for family, rows in trained.groupby("family", sort=False)]


def _expansion(summary: pd.DataFrame) -> float:
    """Return the reference width."""
    return _first(where(summary, kind="trained", reference=True), "expansion")


def _first(table: pd.DataFrame, column: str) -> float:
    return float(table[column].to_numpy()[0])
