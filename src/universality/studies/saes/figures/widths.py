"""Figures of a width sweep: tables of one sweep in, a figure out."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from universality.core.style import BASELINES, NULL_COLOR, legend_below, look, panels

Table = Any
"""A pandas DataFrame, whose stubs know too little of what a column gives."""
PUBLISHED_FOUND = 0.65
"""Leask et al. 2025: share of a larger SAE's features that are similar to a smaller one's."""
_PATHS = {
    "swap": "swap groups",
    "insert_novel": "insert novel features",
    "insert_found": "insert features found again",
    "swap_null": "swap random groups",
}


def sweeps(evaluation: Table, splitting: Table, insertion: Table) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for each family, sparsity and hook of a grid of widths, and its name."""
    keys = ["family", "sparsity", "hook"]
    parts = [dict(list(table.groupby(keys))) for table in (evaluation, splitting, insertion)]
    for key in parts[1]:
        family, _, hook = key  # pyright: ignore[reportGeneralTypeIssues]
        name = "widths" if len(parts[1]) == 1 else f"widths_{family}_{hook}"
        yield name, sweep(*(part[key] for part in parts))


def sweep(evaluation: Table, splitting: Table, insertion: Table) -> Figure:
    """Draw what width does to quality, and whether features are found again.

    `evaluation` has one row per SAE, `splitting` and `insertion` one per pair of SAEs. Marks are
    SAE seeds, lines join their means.
    """
    figure, all_axes = panels(4, 2, (3.8, 2.7))
    quality, dead, found, helps = all_axes
    own = look(0)
    for axes, column, label in (
        (quality, "explained_variance", "explained variance"),
        (dead, "dead_fraction", "dead features (share)"),
    ):
        _line(axes, evaluation, "expansion", column, own)
        _width_axis(axes, evaluation["expansion"])
        axes.set_ylabel(label)
    dead.set_ylim(bottom=-0.01)
    _found(found, splitting)
    _helps(helps, insertion)
    return figure


def _line(
    axes: Axes, table: Table, by: str, column: str, style: dict[str, Any], label: str = ""
) -> None:
    """Draw a small mark for every row and a line through the means."""
    marks = {"color": style["color"], "marker": style["marker"], "ls": "none", "ms": 4}
    axes.plot(table[by], table[column], **marks, mfc="none", alpha=0.7)
    mean = table.groupby(by)[column].mean()
    axes.plot(mean.index, mean, **style, label=label or None)


def _width_axis(axes: Axes, widths: Any) -> None:
    values = sorted(set(widths))
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"×{width}" for width in values])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0.8 * min(values), 1.25 * max(values))
    axes.set_xlabel("width (features / dimensions)")


def _halves(table: Table) -> Table:
    """Return the pairs of an SAE and the next narrower one of its seed."""
    part = table.loc[table["kind"] == "width"]
    return part.loc[part["narrow"] == part.groupby("wide")["narrow"].transform("max")]


def _found(axes: Axes, table: Table) -> None:
    seeds = table.loc[table["kind"] == "seed"]
    _line(axes, seeds, "wide", "found", BASELINES["ceiling"], "another SAE seed, same width")
    _line(axes, _halves(table), "wide", "found", look(0), "the next narrower SAE")
    _line(axes, seeds, "wide", "found_null", BASELINES["null"], "random directions")
    axes.axhline(PUBLISHED_FOUND, color="black", ls=(0, (1, 3)), lw=1, label="Leask et al. 2025")
    _width_axis(axes, seeds["wide"])
    axes.set(ylim=(-0.03, 1.15), ylabel="share of features found in")
    axes.set_yticks([0, 0.25, 0.5, 0.75])
    axes.legend(loc="upper left", ncols=1, fontsize=8, labelspacing=0.25)


def _helps(axes: Axes, table: Table) -> None:
    part = _halves(table)
    for index, (name, label) in enumerate({"novel": "novel", "found": "found again"}.items()):
        column = f"{name}_helps"
        if column not in part or not np.isfinite(part[column].to_numpy(dtype=float)).any():
            continue
        _line(axes, part, "wide", column, look(index), label)
        null = "at shuffled positions" if not index else ""
        _line(axes, part, "wide", f"{column}_null", BASELINES["null"], null)
    _width_axis(axes, part["wide"])
    axes.set_ylim(-0.01, 1.7 * axes.get_ylim()[1])
    axes.set_ylabel("share that lower the narrower\nSAE's error when added alone")
    axes.legend(loc="upper left", fontsize=8, labelspacing=0.25)


def _bars(rows: Table, column: str) -> np.ndarray:
    low, high = rows[f"{column}_low"].to_numpy(), rows[f"{column}_high"].to_numpy()
    value = rows[column].to_numpy()
    return np.maximum(np.stack([value - low, high - value]), 0)


def stitching(table: Table) -> Figure:
    """Draw what is lost on the way from a narrow SAE to a wide one.

    `table` has one row per pair, path and point; a column of panels per pair of widths and seed.
    """
    numbers = {
        "mse": "squared error / token",
        "ce_difference": "CE with SAE - CE\n(nats / token)",
    }
    pairs = list(table.groupby(["narrow", "wide", "seed"]))  # pyright: ignore
    figure, all_axes = panels(
        len(numbers) * len(pairs), len(pairs), (3.6, 2.7), sharey="row", sharex=True
    )
    places: list[tuple[str, Any, Table]] = [
        (number, names, rows) for number in numbers for names, rows in pairs
    ]
    for axes, (number, (narrow, wide, seed), rows) in zip(all_axes, places, strict=True):
        for index, path in enumerate(_PATHS):
            part = rows.loc[rows["path"] == path].sort_values(by="point")
            shape: dict[str, Any] = look(index)
            if path == "swap_null":
                shape["color"] = NULL_COLOR
            x = part["progress"] + 0.008 * (index - 1.5)
            axes.errorbar(
                x, part[number], _bars(part, number), capsize=1.5, elinewidth=0.8,
                label=_PATHS[path], **shape,
            )  # fmt: skip
        if number == "mse":
            axes.set_yscale("log")
            axes.set_title(f"×{narrow} to ×{wide}, SAE seed {seed}")
        axes.set(xlabel="progress along the path (0: the narrow SAE)")
        axes.tick_params(labelbottom=True, labelleft=True)
    for index, label in enumerate(numbers.values()):
        all_axes[index * len(pairs)].set_ylabel(label)
    legend_below(figure, all_axes, 4)
    return figure
