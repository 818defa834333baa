"""Figures of the study of hierarchical concepts: tables in, a figure out."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.core import names
from universality.core.style import (
    BASELINES,
    COLORS,
    HEAT_MAP,
    LINES,
    MARKERS,
    legend_below,
    panels,
)
from universality.core.tables import column, means, where

NULL = BASELINES["null"]["color"]
REAL = "WordNet's concepts (95% interval)"
NESTED = "null: random words, same nesting"
SHUFFLED = "null: shuffled unembeddings"
CONTROLS = {"nested": (NESTED, BASELINES["null"]["marker"]), "shuffled": (SHUFFLED, "x")}
"""Control -> its name and its marker."""
PANELS = {
    "A concept has a vector:\nmean projection on it": {
        "held_out_test": "its held-out words",
        "held_out_random": "other words",
    },
    "Parent's vector made without the child's\nwords: mean projection on it": {
        "held_out_rest_on_rest": "the parent's other words",
        "held_out_child_on_rest": "the child's words",
        "held_out_stranger_on_rest": "an unrelated concept's words",
    },
    "Published test, with the child's words in the\nparent's vector: |cos| (0: orthogonal)": {
        "to_parent_abs": "child − parent\nand parent",
        "to_grandparent_abs": "child − parent and\nparent − grandparent",
    },
    "Closeness in WordNet and cosine\nof two concepts (Spearman)": {
        "closeness": "all pairs",
        "closeness_apart": "pairs without\na common word",
    },
}
"""Title of a panel -> statistics of `hierarchy.study` and their names."""
ESTIMATORS = {
    ("lda", True): "LDA, whitened",
    ("mean", True): "mean, whitened",
    ("lda_unshrunk", True): "LDA without shrinkage",
    ("lda", False): "LDA, not whitened",
    ("mean", False): "mean, not whitened",
}
"""Estimator and whether it is whitened -> its name."""


MOST_CELLS = 320
"""Of a heat map, on a side: more make a large file, and do not show."""


def graph_name(graph: str) -> str:
    """Return the plain name of a graph `<model>_<words>`."""
    model, _, words = graph.rpartition("_")
    return f"{names.model(model)}, {words}"


def _rows(table: pd.DataFrame, **wanted: object) -> list[dict[str, Any]]:
    """Return the rows whose columns have the values `wanted`."""
    return [
        {str(name): value for name, value in row.items()}
        for row in where(table, **wanted).to_dict(orient="records")
    ]


def _row(
    axes: Axes, place: float, row: Mapping[str, Any], controls: Mapping[str, tuple[str, str]]
) -> None:
    """Mark a value with its interval, and mean and range of each control."""
    for control, (label, marker) in controls.items():
        if control in row and np.isfinite(row[control]):
            ends = (row[f"{control}_low"], row[f"{control}_high"])
            axes.plot(ends, [place, place], color=NULL, lw=6, alpha=0.35, zorder=1)
            axes.plot(
                row[control], place, ls="", marker=marker, color=NULL, ms=9, mew=1.8, label=label,
                zorder=2,
            )  # fmt: skip
    low = row["low"] if np.isfinite(row["low"]) else row["value"]
    high = row["high"] if np.isfinite(row["high"]) else row["value"]
    axes.errorbar(
        row["value"], place, xerr=[[row["value"] - low], [high - row["value"]]], fmt=MARKERS[0],
        color=COLORS[0], ms=5, capsize=2.5, label=REAL, zorder=3,
    )  # fmt: skip


def _ticks(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels, fontsize=8.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)


def claims(summary: pd.DataFrame, graph: str) -> Figure:
    """Draw the claims beside their controls, by the study's own estimator."""
    own = {row["statistic"]: row for row in _rows(summary, estimator="lda", causal=True)}
    figure, all_axes = panels(len(PANELS), 2, (4.6, 1.75))
    for axes, (title, statistics) in zip(all_axes, PANELS.items(), strict=True):
        shown = [name for name in statistics if name in own]
        for place, name in enumerate(shown):
            _row(axes, place, own[name], CONTROLS)
        _ticks(axes, [statistics[name] for name in shown])
        axes.axvline(0, color="black", lw=0.6, zorder=0)
        axes.margins(x=0.08)
        axes.set_title(title)
    n = own["held_out_test"]["n"]
    figure.suptitle(f"{graph_name(graph)}: {n} concepts")
    legend_below(figure, all_axes, 3)
    return figure


def ablations(summary: pd.DataFrame, graph: str) -> Figure:
    """Draw four statistics by every way to estimate concept vectors."""
    shown = {
        "held_out_test": "its held-out words\non a concept's vector",
        "held_out_rest_above_child": "what a child lacks of its\nparent's vector",
        "to_parent_abs": "|cos| of child − parent\nand parent",
        "closeness_apart": "closeness and cosine,\nno common word",
    }
    figure, all_axes = panels(len(shown), 4, (2.6, 2.5), sharey=True)
    known = set(summary[["estimator", "causal"]].itertuples(index=False, name=None))
    ways = [way for way in ESTIMATORS if way in known]
    for axes, (statistic, title) in zip(all_axes, shown.items(), strict=True):
        for place, (estimator, causal) in enumerate(ways):
            for row in _rows(summary, estimator=estimator, causal=causal, statistic=statistic):
                _row(axes, place, row, {"nested": CONTROLS["nested"]})
        _ticks(axes, [ESTIMATORS[way] for way in ways])
        axes.axvline(0, color="black", lw=0.6, zorder=0)
        axes.set_title(title)
    figure.suptitle(f"{graph_name(graph)}: concept vectors made in other ways")
    legend_below(figure, all_axes, 2)
    return figure


def coarse(grid: np.ndarray, size: int) -> np.ndarray:
    """Return the means of blocks of `size` by `size` cells of `grid`; the last may be smaller."""
    starts = np.arange(0, len(grid), size)
    sums = np.add.reduceat(np.add.reduceat(grid, starts, axis=0), starts, axis=1)
    n = np.diff(np.append(starts, len(grid)))
    return sums / np.outer(n, n)


def heat_maps(heat: pd.DataFrame, graph: str) -> Figure:
    """Draw closeness and cosines of all concepts in tree order, real and random (figure 5)."""
    shown = {
        "closeness": "closeness in WordNet",
        "cosine": "cosine of vectors",
        "cosine_nested": NESTED,
    }
    columns = [name for name in shown if name in heat]
    figure, all_axes = panels(len(columns), 3, (3.1, 3.2))
    k = round((1 + np.sqrt(1 + 8 * len(heat))) / 2)  # k concepts have k (k - 1) / 2 pairs
    i, j = np.triu_indices(k, 1)
    colors = mpl.colormaps[HEAT_MAP].resampled(24)  # few colours make a small file
    image = None
    for axes, name in zip(all_axes, columns, strict=True):
        grid = np.eye(k)
        grid[i, j] = grid[j, i] = column(heat, name) / 100
        image = axes.imshow(
            coarse(grid, -(-k // MOST_CELLS)), cmap=colors, vmin=-0.2, vmax=1, interpolation="none"
        )
        axes.set_title(shown[name])
        axes.set_xticks([])
        axes.set_yticks([])
    if image:
        figure.colorbar(image, ax=all_axes, shrink=0.7, label="closeness or cosine")
    figure.suptitle(f"{graph_name(graph)}: {k} concepts in the order of WordNet's tree")
    return figure


def polytopes(points: pd.DataFrame, graph: str) -> Figure:
    """Draw the words of the categories in the plane of their corners, real and random parts.

    Triples of categories, whose triangle lies in a plane; of a graph that has none, the widest
    plane of its larger polytopes.
    """
    n_categories = points.groupby("polytope", sort=False)["category"].nunique()
    every = [str(name) for name in n_categories.index]
    shown = [name for name, n in zip(every, n_categories, strict=True) if n == 3] or every
    kinds = ("real", "random")
    figure = Figure(figsize=(3.3 * len(shown), 5.6))
    grid = figure.subplots(len(kinds), len(shown), squeeze=False)
    for kind, line in zip(kinds, grid, strict=True):
        for name, axes in zip(shown, line, strict=True):
            part = where(points, polytope=name, kind=kind)
            corners = []
            for index, category in enumerate(dict.fromkeys(part["category"])):
                own = where(part, category=category)
                places = np.stack([column(own, axis) for axis in "xy"])
                is_corner = own["corner"].to_numpy(dtype=bool)
                axes.scatter(
                    *places[:, ~is_corner], s=14, alpha=0.5, lw=0, color=COLORS[index],
                    marker=MARKERS[index], rasterized=True,
                    label=category.partition(".")[0].replace("_", " "),
                )  # fmt: skip
                corners.append(places[:, is_corner][:, 0])
            for ends in combinations(corners, 2):
                axes.plot(*np.transpose(ends), color="black", lw=1.2)
            axes.set_aspect("equal", adjustable="datalim")
            axes.tick_params(labelsize=7)
            if kind == "real":
                axes.set_title(name.replace("_", " "))
                axes.legend(
                    loc="lower center", bbox_to_anchor=(0.5, -0.3), ncols=3, handletextpad=0,
                    columnspacing=0.6, markerscale=1.4,
                )  # fmt: skip
            else:
                axes.set_title("null: random parts of the same words")
    figure.suptitle(f"{graph_name(graph)}: words in the plane of three categories' vectors")
    return figure


def layers(summary: pd.DataFrame, corners: pd.DataFrame, model: str) -> Figure:
    """Draw the claims over depth, in every form of the tokens, with LDA and with means."""
    shown = {
        "held_out_test": "its held-out words\non a concept's vector",
        "held_out_rest_above_child": "what a child lacks of its\nparent's vector",
        "to_parent_abs": "|cos| of child − parent\nand parent",
    }
    figure, all_axes = panels(len(shown) + (len(corners) > 0), 4, (2.75, 2.6))
    forms, estimators = list(dict.fromkeys(summary["form"])), {"lda": "LDA", "mean": "mean"}
    for axes, (statistic, title) in zip(all_axes, shown.items(), strict=False):
        for index, form in enumerate(forms):
            for number, (estimator, name) in enumerate(estimators.items()):
                part = where(summary, form=form, estimator=estimator, statistic=statistic)
                layer = column(part, "layer")
                axes.plot(
                    layer, part["value"], color=COLORS[number], ls=LINES[index],
                    marker=MARKERS[number], label=f"{name}, {form}",
                )  # fmt: skip
                axes.fill_between(
                    layer, column(part, "low"), column(part, "high"), color=COLORS[number],
                    alpha=0.12, lw=0,
                )  # fmt: skip
            null = where(summary, form=form, estimator="lda", statistic=statistic)
            _null_line(axes, column(null, "layer"), column(null, "nested"), index, form)
        axes.set_title(title)
        axes.set_xlabel("after layer")
    for axes in all_axes[len(shown) :]:  # none where there are no polytopes
        for index, form in enumerate(forms):
            mean = means(where(corners, form=form), ["layer"], ["value", "random"])
            layer = column(mean, "layer")
            axes.plot(layer, mean["value"], color=COLORS[0], ls=LINES[index], marker=MARKERS[0])
            _null_line(axes, layer, column(mean, "random"), index, "")
        axes.set_ylim(0, 1)
        axes.set_title("share of words nearest to\ntheir own category's vector")
        axes.set_xlabel("after layer")
    figure.suptitle(f"{names.model(model)}: concepts in the activations of single words")
    legend_below(figure, all_axes, 3)
    return figure


def _null_line(axes: Axes, layer: np.ndarray, values: np.ndarray, index: int, form: str) -> None:
    """Draw a null over depth, without a name if `form` is empty."""
    line, color = BASELINES["null"]["linestyle"], BASELINES["null"]["color"]
    label = f"{NESTED}, {form}" if form else None
    axes.plot(layer, values, ls=line, color=color, lw=(1.6, 2.6)[index], label=label)


def pairs(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw how alike concepts lie to each other in two models."""
    shown = {
        ("cosine", "all"): "cosines,\nall pairs",
        ("cosine", "apart"): "cosines, pairs without\na common word",
        ("excess", "all"): "cosines above random words',\nall pairs",
        ("excess", "apart"): "cosines above random words',\nno common word",
    }
    figure, all_axes = panels(len(tables), 2, (6.2, 2.8))
    controls = {
        "nested": CONTROLS["nested"],
        "permuted": ("null: names of concepts exchanged", "x"),
    }
    for axes, (pair, table) in zip(all_axes, tables.items(), strict=True):
        both = table.assign(permuted_low=table["permuted"], permuted_high=table["permuted"])
        for place, (values, kind) in enumerate(shown):
            for row in _rows(both, values=values, pairs=kind):
                _row(axes, place, row, controls)
        _ticks(axes, list(shown.values()))
        axes.axvline(0, color="black", lw=0.6, zorder=0)
        axes.set_title(f"{names.pair(pair)}: {int(table['k'].iloc[0])} concepts")
        axes.set_xlabel("correlation between the two models (Spearman)")
    legend_below(figure, all_axes, 2)
    return figure
