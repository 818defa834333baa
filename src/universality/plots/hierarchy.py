"""Figures of the study of hierarchical concepts: tables in, a figure out."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.plots.style import (
    COLORS,
    HEAT_MAP,
    MARKERS,
    NULL_COLOR,
    legend_below,
    look,
    panels,
)
from universality.tables import column, means, where

REAL = "WordNet's concepts (95%)"
NESTED = "null: random words, same nesting and sizes"
SHUFFLED = "null: shuffled representations, same nesting"
PANELS = {
    "existence: mean projection on a concept's vector": {
        "held_out_test": "its held-out tokens",
        "held_out_random": "other tokens",
    },
    "hierarchy without the child: projection on\nthe vector of the parent's other tokens": {
        "held_out_rest_on_rest": "such tokens, held out",
        "held_out_child_on_rest": "the child's tokens",
        "held_out_stranger_on_rest": "another concept's tokens",
        "held_out_rest_above_child": "first − second (claim: 0)",
        "held_out_child_above_stranger": "second − third",
    },
    "hierarchy: |cos|, 0 if orthogonal": {
        "to_parent_abs": "child − parent, parent",
        "to_grandparent_abs": "child − parent,\nparent − grandparent",
    },
    "hierarchy: cos with another parent": {
        "to_parent": "child − parent, parent",
        "to_stranger": "child − other, other",
        "siblings": "child − parent, sibling − parent",
    },
    "closeness in WordNet and cos (Spearman)": {
        "closeness": "all pairs",
        "closeness_apart": "pairs without a common token",
        "closeness_differences": "child − parent, all pairs",
        "closeness_differences_apart": "child − parent,\nno common token",
    },
}
ESTIMATORS = {
    ("lda", True): "LDA, whitened",
    ("mean", True): "mean, whitened",
    ("lda_unshrunk", True): "LDA without shrinkage",
    ("lda", False): "LDA, Euclidean",
    ("mean", False): "mean, Euclidean",
}


def _rows(table: pd.DataFrame, **wanted: object) -> list[dict[str, Any]]:
    """Return the rows whose columns have the values `wanted`."""
    return [
        {str(name): value for name, value in row.items()}
        for row in where(table, **wanted).to_dict(orient="records")
    ]


def _row(
    axes: Axes, place: float, row: Mapping[str, Any], controls: Mapping[str, tuple[str, int]]
) -> None:
    """Mark a value with its interval and the range of each control."""
    for control, (label, index) in controls.items():
        if control in row and np.isfinite(row[control]):
            ends = (row[f"{control}_low"], row[f"{control}_high"])
            axes.plot(ends, [place, place], color=NULL_COLOR, lw=5, alpha=0.35, zorder=1)
            axes.plot(
                row[control], place, ls="", marker=("|", "x")[index], color="black", ms=7,
                mew=1.3, label=label, zorder=2,
            )  # fmt: skip
    low = row["low"] if np.isfinite(row["low"]) else row["value"]
    high = row["high"] if np.isfinite(row["high"]) else row["value"]
    ends = [[max(row["value"] - low, 0)], [max(high - row["value"], 0)]]
    axes.errorbar(
        row["value"], place, xerr=ends, fmt=MARKERS[0], color=COLORS[0], ms=4.5, capsize=2,
        label=REAL, zorder=3,
    )  # fmt: skip


def _ticks(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_ylim(len(names) - 0.5, -0.5)


def claims(summary: pd.DataFrame, graph: str) -> Figure:
    """Draw every claim beside its controls, by the study's own estimator."""
    own = {row["statistic"]: row for row in _rows(summary, estimator="lda", causal=True)}
    figure, all_axes = panels(len(PANELS), 2, (4.9, 1.9))
    controls = {"nested": (NESTED, 0), "shuffled": (SHUFFLED, 1)}
    for axes, (title, statistics) in zip(all_axes, PANELS.items(), strict=True):
        shown = [name for name in statistics if name in own]
        for place, name in enumerate(shown):
            _row(axes, place, own[name], controls)
        _ticks(axes, [statistics[name] for name in shown])
        axes.axvline(0, color=NULL_COLOR, lw=0.8, zorder=0)
        axes.set_title(title)
    n = own["held_out_test"]["n"]
    figure.suptitle(f"{graph}: Park et al.'s claims for {n} concepts, and what nesting alone gives")
    legend_below(figure, all_axes, 2)
    return figure


def ablations(summary: pd.DataFrame, graph: str) -> Figure:
    """Draw four statistics by every way to estimate concept vectors."""
    shown = {
        "held_out_test": "existence: held-out tokens",
        "held_out_rest_above_child": "what the child lacks of its\nparent's vector (claim: 0)",
        "to_parent_abs": "|cos| of child − parent, parent",
        "closeness_apart": "closeness and cos, no common token",
    }
    figure, all_axes = panels(len(shown), 4, (3.0, 2.5), sharey=True)
    known = set(summary[["estimator", "causal"]].itertuples(index=False, name=None))
    ways = [way for way in ESTIMATORS if way in known]
    for axes, (statistic, title) in zip(all_axes, shown.items(), strict=True):
        for place, (estimator, causal) in enumerate(ways):
            for row in _rows(summary, estimator=estimator, causal=causal, statistic=statistic):
                _row(axes, place, row, {"nested": (NESTED, 0)})
        _ticks(axes, [ESTIMATORS[way] for way in ways])
        axes.axvline(0, color=NULL_COLOR, lw=0.8, zorder=0)
        axes.set_title(title)
    figure.suptitle(f"{graph}: concept vectors made in other ways")
    legend_below(figure, all_axes, 2)
    return figure


def heat_maps(heat: pd.DataFrame, graph: str) -> Figure:
    """Draw closeness and cosines of all concepts in tree order, real and random (figure 5)."""
    shown = {
        "closeness": "closeness in WordNet",
        "cosine": "cos of vectors",
        "cosine_nested": "null: random words,\nsame nesting",
        "cosine_differences": "cos of child − parent",
        "cosine_differences_nested": "null: random words,\nsame nesting",
    }
    columns = [name for name in shown if name in heat]
    figure, all_axes = panels(len(columns), 5, (2.5, 2.9))
    i, j = (column(heat, end).astype(int) for end in ("i", "j"))
    k = j.max() + 1
    image = None
    for axes, name in zip(all_axes, columns, strict=True):
        grid = np.eye(k)
        grid[i, j] = grid[j, i] = heat[name]
        image = axes.imshow(grid, cmap=HEAT_MAP, vmin=-0.2, vmax=1, interpolation="antialiased")
        axes.set_title(shown[name])
        axes.set_xticks([])
        axes.set_yticks([])
    if image:
        figure.colorbar(image, ax=all_axes, shrink=0.7, label="closeness, cos")
    figure.suptitle(f"{graph}: {k} concepts in the order of WordNet's tree")
    return figure


def polytopes(points: pd.DataFrame, graph: str) -> Figure:
    """Draw the tokens of each category in the span of the corners, real and random parts."""
    names = list(dict.fromkeys(points["polytope"]))
    figure = Figure(figsize=(3.6 * len(names), 6.6))
    for number, name in enumerate(names):
        for row, kind in enumerate(("real", "random")):
            part = where(points, polytope=name, kind=kind)
            solid = "z" in part and bool(np.isfinite(column(part, "z")).all())
            axes: Any = figure.add_subplot(
                2, len(names), row * len(names) + number + 1,
                **({"projection": "3d"} if solid else {}),
            )  # fmt: skip
            corners = []
            for index, category in enumerate(dict.fromkeys(part["category"])):
                own = where(part, category=category)
                places = np.stack([column(own, axis) for axis in ("xyz" if solid else "xy")])
                is_corner = (own["token"] == "").to_numpy(dtype=bool)
                axes.scatter(
                    *places[:, ~is_corner], s=7, alpha=0.45, lw=0,
                    color=COLORS[index], marker=MARKERS[index],
                    label=category.partition(".")[0].replace("_", " "),
                )  # fmt: skip
                corners.append(places[:, is_corner][:, 0])
            for ends in combinations(corners, 2):
                axes.plot(*np.transpose(ends), color="black", lw=0.9)
            if solid:
                axes.view_init(elev=18, azim=-55)
                axes.tick_params(labelsize=5, pad=-3)
            else:
                axes.set_aspect("equal", adjustable="datalim")
                axes.tick_params(labelsize=6)
            kinds = {"real": name.replace("_", " "), "random": "null: random parts of the parent"}
            axes.set_title(kinds[kind])
            if row == 0:
                axes.legend(loc="upper right", fontsize=6, handletextpad=0.1, borderpad=0.1)
    figure.suptitle(
        f"{graph}: tokens in the span of their categories' vectors (lines join the vectors)"
    )
    return figure


SHAPES = {
    "nearest_corner": "held-out tokens nearest\nto their own corner",
    "edge_variation": "variation of edge lengths\n(0: regular)",
    "angle_spread": "spread of angles\n(0: regular)",
    "parent_in_span": "parent's vector in the span\n(0: orthogonal)",
    "corner_cosine": "cos of two corners",
}


def regularity(table: pd.DataFrame, graph: str) -> Figure:
    """Draw how regular every polytope is beside random parts of its parent."""
    figure, all_axes = panels(len(SHAPES), 5, (2.6, 2.4), sharey=True)
    names = list(dict.fromkeys(table["polytope"]))
    for axes, (statistic, title) in zip(all_axes, SHAPES.items(), strict=True):
        for place, name in enumerate(names):
            for row in _rows(table, polytope=name, statistic=statistic):
                _row(axes, place, row, {"random": ("null: random parts of the parent", 0)})
        _ticks(axes, [name.replace("_", " ") for name in names])
        axes.axvline(0, color=NULL_COLOR, lw=0.8, zorder=0)
        axes.set_title(title)
    figure.suptitle(f"{graph}: categories as corners of a simplex")
    legend_below(figure, all_axes, 2)
    return figure


def interventions(table: pd.DataFrame, graph: str) -> Figure:
    """Draw how l_child - l_parent, added at real prompts, changes held-out logits."""
    titles = {
        "child": "the child's tokens less\nthe parent's others",
        "parent": "the parent's others less\nall other tokens (claim: 0)",
    }
    figure, all_axes = panels(2, 2, (4.2, 2.7), sharey=True)
    controls = {
        "nested": ("null: a random part of the parent", 0),
        "random": ("null: random vector, same length", 1),
    }
    for axes, (contrast, title) in zip(all_axes, titles.items(), strict=True):
        part = _rows(table, contrast=contrast)
        for place, row in enumerate(part):
            _row(axes, place, row, controls)
        ends = [[row[end].partition(".")[0] for end in ("child", "parent")] for row in part]
        _ticks(axes, [" − ".join(names) for names in ends])
        axes.axvline(0, color=NULL_COLOR, lw=0.8, zorder=0)
        axes.set_title(title)
        axes.set_xlabel("change of mean logits")
    figure.suptitle(f"{graph}: concept vectors added to the last residual of stories")
    legend_below(figure, all_axes, 3)
    return figure


def layers(summary: pd.DataFrame, shapes: pd.DataFrame, model: str) -> Figure:
    """Draw the claims over depth, alone and in context, with LDA and with means."""
    shown = {
        "held_out_test": "existence: held-out tokens",
        "held_out_rest_above_child": "what the child lacks of its\nparent's vector (claim: 0)",
        "to_parent_abs": "|cos| of child − parent, parent",
        "closeness_apart": "closeness and cos,\nno common token",
    }
    near = where(shapes, statistic="nearest_corner") if len(shapes) else shapes
    figure, all_axes = panels(len(shown) + (len(near) > 0), 5, (2.8, 2.6))
    forms = ("alone", "in context")
    series = [(form, estimator) for form in forms for estimator in ("lda", "mean")]
    for axes, (statistic, title) in zip(all_axes, shown.items(), strict=False):
        for index, (form, estimator) in enumerate(series):
            part = where(summary, form=form, estimator=estimator, statistic=statistic)
            label = f"{form}, {'LDA' if estimator == 'lda' else 'mean'}"
            axes.plot(part["layer"], part["value"], label=label, **look(index))
            axes.fill_between(
                part["layer"], part["low"], part["high"], color=COLORS[index], alpha=0.12, lw=0
            )
        part = where(summary, estimator="lda", statistic=statistic)
        for form, line in zip(forms, ("-", "--"), strict=True):
            null = where(part, form=form)
            axes.plot(
                null["layer"], null["nested"], color=NULL_COLOR, ls=line, lw=2,
                label=f"{NESTED}, {form}",
            )  # fmt: skip
        axes.set_title(title)
        axes.set_xlabel("after layer")
    for axes in all_axes[len(shown) :]:  # none where there are no polytopes
        for form, index, line in zip(forms, (0, 2), ("-", "--"), strict=True):
            mean = means(where(near, form=form), ["layer"], ["value", "random"])
            axes.plot(column(mean, "layer"), mean["value"], **look(index))
            axes.plot(column(mean, "layer"), mean["random"], color=NULL_COLOR, ls=line, lw=2)
        axes.set_title("tokens nearest to their own\ncorner, mean over polytopes")
        axes.set_xlabel("after layer")
    figure.suptitle(f"{model}: concepts in the activations of single tokens")
    legend_below(figure, all_axes, 3)
    return figure


def features(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw how the features of SAEs lie to concept vectors."""
    shown = {
        "selectivity": "P(fires | concept) − P(fires | other)",
        "own_cosine": "cos of its features, its vector",
        "stranger_cosine": "cos of its features, another's vector",
        "random_feature_cosine": "cos of random features, its vector",
        "made_of_cosine": "cos of its vector with few features' sum",
        "made_of_own": "share of these that are its own",
    }
    figure, all_axes = panels(len(tables), 2, (5.4, 2.4))
    for axes, (model, table) in zip(all_axes, tables.items(), strict=True):
        of_first = {row["statistic"]: row for row in reversed(_rows(table))}
        for place, statistic in enumerate(shown):
            _row(axes, place, of_first[statistic], {"nested": (NESTED, 0)})
        _ticks(axes, list(shown.values()))
        axes.axvline(0, color=NULL_COLOR, lw=0.8, zorder=0)
        axes.set_title(f"{model}: {of_first['selectivity']['sae']}", fontsize=8)
    legend_below(figure, all_axes, 2)
    return figure


def pairs(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw how alike concepts lie to each other in two models."""
    names = {
        ("cosine", "all"): "cos, all pairs",
        ("cosine", "apart"): "cos, no common token",
        ("excess", "all"): "cos above random words', all pairs",
        ("excess", "apart"): "cos above random words',\nno common token",
    }
    figure, all_axes = panels(len(tables), 2, (5.4, 2.3))
    controls = {"nested": (NESTED, 0), "permuted": ("null: concepts' names exchanged", 1)}
    for axes, (pair, table) in zip(all_axes, tables.items(), strict=True):
        both = table.assign(permuted_low=table["permuted"], permuted_high=table["permuted"])
        for place, (values, kind) in enumerate(names):
            for row in _rows(both, values=values, pairs=kind):
                _row(axes, place, row, controls)
        _ticks(axes, list(names.values()))
        axes.axvline(0, color=NULL_COLOR, lw=0.8, zorder=0)
        axes.set_title(f"{pair}: {int(table['k'].iloc[0])} concepts")
        axes.set_xlabel("RSA of concept vectors (Spearman)")
    legend_below(figure, all_axes, 1)
    return figure
