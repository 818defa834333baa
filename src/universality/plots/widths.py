"""Figures of a width sweep: tables of one sweep in, a figure out."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from universality.plots.style import COLORS, HATCHES, NULL_COLOR, legend_below, look, panels

PUBLISHED_FOUND = 0.65
"""Leask et al. 2025: share of a larger SAE's features that are similar to a smaller one's."""

_EVALUATIONS = {
    "dead_fraction": "dead features (share)",
    "explained_variance": "explained variance",
    "ce_loss_recovered": "CE recovered\n(against zero ablation)",
}
_PATHS = {
    "swap": "swap groups",
    "insert_novel": "insert novel features",
    "insert_found": "insert features found again",
    "swap_null": "null: swap random groups",
}


def sweeps(
    evaluation: pd.DataFrame, splitting: pd.DataFrame, insertion: pd.DataFrame
) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for each family, sparsity and hook of a grid of widths, and its name."""
    keys = ["family", "sparsity", "hook"]
    parts = [dict(list(table.groupby(keys))) for table in (evaluation, splitting, insertion)]
    for key in parts[1]:
        family, _, hook = key  # pyright: ignore[reportGeneralTypeIssues]
        name = "widths" if len(parts[1]) == 1 else f"widths_{family}_{hook}"
        yield name, sweep(*(part[key] for part in parts))


def sweep(evaluation: pd.DataFrame, splitting: pd.DataFrame, insertion: pd.DataFrame) -> Figure:
    """Draw what width does to quality, and what becomes of features.

    `evaluation` has one row per SAE, `splitting` and `insertion` one per pair of SAEs.
    """
    figure, all_axes = panels(6, 3, (3.5, 2.8))
    for axes, (column, label) in zip(all_axes[:3], _EVALUATIONS.items(), strict=True):
        _by_width(axes, evaluation, column)
        axes.set_ylabel(label)
    highest = float(np.max(evaluation["dead_fraction"].to_numpy()))
    all_axes[0].set_ylim(-0.01, max(0.1, 1.3 * highest))
    _found(all_axes[3], splitting)
    _fates(all_axes[4], splitting)
    _helps(all_axes[5], insertion)
    n = int(np.max(evaluation["n_positions"].to_numpy()))
    figure.suptitle(
        f"{_name(splitting)}: what width does\n"
        f"(bars: 95%; above over documents, n = {n} positions; below over features)"
    )
    return figure


def _name(table: pd.DataFrame) -> str:
    first = table.to_dict("records")[0]
    return (
        f"{first['model']} layer {first['layer']} {first['site']}, "
        f"{first['family']} {first['sparsity']:g}"
    )


def _bars(rows: pd.DataFrame, column: str) -> np.ndarray:
    low, high = rows[f"{column}_low"].to_numpy(), rows[f"{column}_high"].to_numpy()
    value = rows[column].to_numpy()
    return np.maximum(np.stack([value - low, high - value]), 0)


def _by_width(axes: Axes, table: pd.DataFrame, column: str) -> None:
    for index, (seed, rows) in enumerate(table.groupby("seed", sort=True)):
        rows = rows.sort_values(by="expansion")
        bars = _bars(rows, column) if f"{column}_low" in rows else None
        x = rows["expansion"] * 1.03 ** (index - 1)  # a small step sideways
        axes.errorbar(x, rows[column], bars, capsize=2, label=f"SAE seed {seed}", **look(index))
    axes.set_xscale("log", base=2)
    widths = sorted(table["expansion"].unique())
    axes.set_xticks(widths, [f"×{width}" for width in widths])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("expansion (d_sae / d_in)")
    axes.legend()


def _pairs(table: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Return kind, label and rows of every pair of widths; baselines last."""
    found = []
    for kind in ("width", "seed"):
        part = table.loc[table["kind"] == kind]
        for (wide, narrow), rows in part.groupby(["wide", "narrow"]):  # pyright: ignore
            label = f"×{wide}\nin\n×{narrow}" if kind == "width" else f"×{wide}\nseed"
            found.append((kind, label, rows.sort_values(by="seed")))
    return found


def _found(axes: Axes, table: pd.DataFrame) -> None:
    shown = _pairs(table)
    for place, (kind, _, rows) in enumerate(shown):
        x = place + 0.14 * (np.arange(len(rows)) - (len(rows) - 1) / 2)
        shape = look(0 if kind == "width" else 1)
        axes.errorbar(
            x, rows["found"], _bars(rows, "found"), fmt=shape["marker"], color=shape["color"],
            capsize=2, lw=1,
        )  # fmt: skip
        axes.plot(x, rows["found_null"], "_", color=NULL_COLOR, mew=1.5)
    axes.plot([], [], "_", color=NULL_COLOR, mew=1.5, label="null: random directions")
    axes.axhline(PUBLISHED_FOUND, color="black", ls=":", lw=0.9, label="Leask 2025 (other model)")
    axes.set_xticks(range(len(shown)), [label for _, label, _ in shown], fontsize=7)
    n = table["n_wide"].to_numpy()
    axes.set(ylim=(-0.03, 1.15), ylabel=f"share found again\n(n = {n.min()} to {n.max()} features)")
    axes.legend(loc="upper left")


def _fates(axes: Axes, table: pd.DataFrame) -> None:
    shown = _pairs(table)
    bottom = np.zeros(len(shown))
    for index, (fate, label) in enumerate(
        {"split": "of several", "kept": "of one", "lost": "of none"}.items()
    ):
        height = np.array([rows[fate].mean() for _, _, rows in shown])
        axes.bar(
            range(len(shown)), height, 0.7, bottom, color=[COLORS[0], COLORS[5], "white"][index],
            edgecolor="black", lw=0.7, hatch=HATCHES[index], label=label,
        )  # fmt: skip
        bottom += height
    axes.set_xticks(range(len(shown)), [label for _, label, _ in shown], fontsize=7)
    axes.set(ylim=(0, 1.3), ylabel="share of narrow features\n(mean over seeds)")
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.legend(loc="upper center", ncols=3, title="partner ...", title_fontsize=7.5)


def _helps(axes: Axes, table: pd.DataFrame) -> None:
    shown = _pairs(table)
    for index, (name, label) in enumerate({"novel": "novel", "found": "found again"}.items()):
        shape, first = look(index), True
        for place, (_, _, rows) in enumerate(shown):
            column = f"{name}_helps"
            if column not in rows or not np.isfinite(rows[column].to_numpy()).any():
                continue
            x = place + 0.3 * (index - 0.5) + 0.08 * np.arange(len(rows))
            axes.errorbar(
                x, rows[column], _bars(rows, column), fmt=shape["marker"], color=shape["color"],
                capsize=2, lw=1, label=label if first else None,
            )  # fmt: skip
            axes.plot(x, rows[f"{column}_null"], "_", color=NULL_COLOR, mew=1.5)
            first = False
    axes.plot([], [], "_", color=NULL_COLOR, mew=1.5, label="null: shuffled positions")
    axes.set_xticks(range(len(shown)), [label for _, label, _ in shown], fontsize=7)
    axes.set(ylim=(-0.03, None), ylabel="share that lower the\nerror when added alone")
    axes.margins(y=0.3)
    axes.legend(loc="upper right")


def stitching(table: pd.DataFrame) -> Figure:
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
    places: list[tuple[str, Any, pd.DataFrame]] = [
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
    n = int(np.max(table["n_tokens"].to_numpy()))
    figure.suptitle(f"{_name(table)}: stitching (bars: 95% over documents; n = {n} tokens)")
    return figure
