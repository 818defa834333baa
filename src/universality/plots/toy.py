"""Figures of the toy models: tables in, a figure out."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.plots.style import COLORS, HATCHES, MARKERS, NULL_COLOR, legend_below, look
from universality.tables import where

RECOVERY = {
    "recovered": "true features found\n(share)",
    "mmcs": "mean max cosine\n(true to learned)",
    "detection_f1": "F1 of a feature's\nlatent as its detector",
}
FAILURES = {
    "composed_rate": "pairs whose sum beats\nboth parts (share)",
    "sum_latent": "pairs with a latent\nfor the sum (share)",
    "absorption_rate": "absorbed (share of\nsamples with both)",
}
OUTCOMES = {
    "pairs_parts": ("both parts", "white", ""),
    "pairs_part_and_sum": ("one part and the sum", COLORS[5], HATCHES[1]),
    "pairs_sum_only": ("the sum, no part", COLORS[0], ""),
    "pairs_neither": ("not both parts, not the sum", "#d9d9d9", HATCHES[2]),
}
_NULLS = {
    "samples": ("null: samples as dictionary", "-"),
    "random": ("null: random directions", "--"),
    "untrained": ("null: untrained SAEs", ":"),
}


def against_l0(summary: pd.DataFrame, measures: Mapping[str, str], title: str) -> Figure:
    """Draw `measures` against L0, a line per SAE family, at the reference width.

    `summary` has one row per condition, kind, family, sparsity, width and measure. A row of panels
    per measure, a column per condition; nulls are those at the references.
    """
    summary = where(summary, expansion=_expansion(summary))
    figure, panels = _grid(summary, measures)
    for (measure, condition), axes in panels.items():
        here = where(summary, condition=condition)
        for kind, (label, line) in _NULLS.items():
            null = where(here, kind=kind, measure=measure, reference=True)["mean"].to_numpy()
            if len(null):
                axes.axhline(float(null.mean()), color=NULL_COLOR, ls=line, lw=1, label=label)
        for index, (family, rows) in enumerate(_families(here)):
            l0, true = (where(rows, measure=name)["mean"].to_numpy() for name in ("l0", "l0_true"))
            _line(axes, l0 / true, where(rows, measure=measure), index, family)
        axes.axvline(1, color=NULL_COLOR, lw=0.7, ls=(0, (1, 3)))
        axes.set_xscale("log")
        axes.set_xticks([0.3, 1, 3, 10], ["0.3", "1", "3", "10"])
        axes.minorticks_off()
    return _finished(figure, panels, summary, title, "L0 / true L0")


def against_width(summary: pd.DataFrame, measures: Mapping[str, str], title: str) -> Figure:
    """Draw `measures` against the number of latents, at each family's reference sparsity."""
    swept = {name for name, rows in _families(summary) if len(set(rows["expansion"])) > 1}
    sparsity = {
        name: _first(where(rows, reference=True), "sparsity") for name, rows in _families(summary)
    }
    wanted = [
        family == "none" or (family in swept and sparsity[family] == value)
        for family, value in zip(summary["family"], summary["sparsity"], strict=True)
    ]
    summary = pd.DataFrame(summary.loc[wanted])
    figure, panels = _grid(summary, measures)
    ticks = sorted(set(summary["width"]))
    for (measure, condition), axes in panels.items():
        here = where(summary, condition=condition, measure=measure)
        for kind, (label, line) in _NULLS.items():
            null = where(here, kind=kind)
            at = sorted(set(null["width"]))
            if at:
                mean = [where(null, width=width)["mean"].to_numpy().mean() for width in at]
                axes.plot(at, mean, color=NULL_COLOR, ls=line, lw=1, label=label)
        for index, (family, rows) in enumerate(_families(here)):
            name = f"{family} {sparsity[family]:g}"
            _line(axes, rows["width"].to_numpy(), rows, index, name)
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    return _finished(figure, panels, summary, title, "latents / true features")


def pair_outcomes(summary: pd.DataFrame) -> Figure:
    """Draw what became of the pairs of true features, a bar per family and sparsity.

    Of `summary` (see `against_l0`) the reference width; `samples` is the null.
    """
    summary = where(summary, expansion=_expansion(summary))
    summary = summary.query("kind in ['trained', 'samples']")
    conditions = list(dict.fromkeys(summary["condition"]))
    figure = Figure(figsize=(2.5 * len(conditions) + 1, 3.7))
    grid = figure.subplots(1, len(conditions), sharey=True, squeeze=False)[0]
    for axes, condition in zip(grid, conditions, strict=True):
        here = where(summary, condition=condition)
        bars = [rows for _, rows in here.groupby(["family", "sparsity"], sort=False)]
        names = [
            "null: samples" if family == "none" else f"{family} {_first(rows, 'sparsity'):g}"
            for rows in bars
            for family in set(rows["family"])
        ]
        bottom = np.zeros(len(bars))
        for measure, (label, color, hatch) in OUTCOMES.items():
            share = [_first(where(rows, measure=measure), "mean") for rows in bars]
            axes.barh(
                range(len(bars)), share, left=bottom, label=label, height=0.8, color=color,
                edgecolor="black", lw=0.5, hatch=hatch,
            )  # fmt: skip
            bottom += share
        axes.set_yticks(range(len(bars)), names)
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.set(xlabel="pairs (share)", title=condition)
    legend_below(figure, grid, 4)
    what = (
        "Which of the two features of a pair, and of their sum, some latent points along "
        f"({_first(summary, 'n_true') / 2:.0f} pairs, mean of {_n_seeds(summary)} seeds)"
    )
    figure.suptitle(_wrapped(figure, what))
    return figure


def agreements(table: pd.DataFrame) -> Figure:
    """Draw the share of true features among the latents that two SAE seeds share.

    `table` has one row per condition, family, and ordered pair of SAE seeds on the same samples.
    """
    conditions = list(dict.fromkeys(table["condition"]))
    figure = Figure(figsize=(2.3 * len(conditions) + 0.6, 3.1))
    grid = figure.subplots(1, len(conditions), sharey=True, squeeze=False)[0]
    for axes, condition in zip(grid, conditions, strict=True):
        for index, (family, rows) in enumerate(_families(where(table, condition=condition))):
            marker: dict[str, Any] = {"ls": "none", "marker": MARKERS[index]}
            axes.plot(
                rows["shared"], rows["true_if_shared"], **marker, color=COLORS[index], mfc="none",
                label=f"{family}: of the shared",
            )  # fmt: skip
            axes.plot(
                rows["shared"], rows["true"], **marker, color=NULL_COLOR, ms=3,
                label=f"{family}: of all latents",
            )  # fmt: skip
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.05, 1.05), title=condition)
        axes.set_xlabel("latents found in another\nSAE seed (share)")
    grid[0].set_ylabel("true features\namong them (share)")
    legend_below(figure, grid, 3)
    n = len(table.groupby(["seed", "other_seed"]))
    null = float(table["shared_null"].to_numpy().max())
    what = (
        f"Does agreement of SAE seeds mean truth? (points: {n} ordered pairs of seeds; "
        f"found in an untrained SAE: at most {null:.2f})"
    )
    figure.suptitle(_wrapped(figure, what))
    return figure


Panels = dict[tuple[str, str], Axes]
"""(measure, condition) -> axes."""


def _grid(summary: pd.DataFrame, measures: Mapping[str, str]) -> tuple[Figure, Panels]:
    conditions = list(dict.fromkeys(summary["condition"]))
    figure = Figure(figsize=(2.2 * len(conditions) + 0.6, 1.9 * len(measures) + 1.0))
    grid = figure.subplots(len(measures), len(conditions), squeeze=False, sharex=True, sharey="row")
    for axes, condition in zip(grid[0], conditions, strict=True):
        axes.set_title(condition)
    for axes, label in zip(grid[:, 0], measures.values(), strict=True):
        axes.set_ylabel(label)
    panels = {
        (measure, condition): axes
        for row, measure in zip(grid, measures, strict=True)
        for axes, condition in zip(row, conditions, strict=True)
    }
    return figure, panels


def _finished(
    figure: Figure, panels: Panels, summary: pd.DataFrame, title: str, xlabel: str
) -> Figure:
    """Add one legend for all panels, labels and title."""
    for axes in panels.values():
        axes.set_ylim(-0.04, 1.04)
        if axes.get_subplotspec().is_last_row():  # pyright: ignore[reportOptionalMemberAccess]
            axes.set_xlabel(xlabel)
    legend_below(figure, panels.values(), 3)
    what = (
        f"{_first(summary, 'n_true'):.0f} true features, "
        f"{_first(summary, 'n_samples'):,.0f} samples an SAE; bars: Student's 95% intervals over "
        f"{_n_seeds(summary)} seeds, which change directions, samples and SAE"
    )
    figure.suptitle(f"{title}\n{_wrapped(figure, what)}")
    return figure


def _wrapped(figure: Figure, text: str) -> str:
    """Break `text` into lines that fit the width of the figure."""
    return textwrap.fill(text, int(12 * figure.get_figwidth()))


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


def _n_seeds(summary: pd.DataFrame) -> int:
    return int(summary["n_seeds"].to_numpy().min())
