"""The figure of maps before and after steering: tables in, a figure out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from universality.core.names import model as model_name
from universality.core.style import COLORS, legend_below, panels
from universality.core.tables import where
from universality.studies.steering.figures.steering import contrast

_MAPS = {"pca": ("pc1", "pc2", "PC 1", "PC 2"), "umap": ("x", "y", "UMAP 1", "UMAP 2")}
_KINDS = {
    "vector": ("steering vector", COLORS[1]),
    "random_0": ("null: random vector of equal length", "#4d4d4d"),
}


def steered_maps(tables: Mapping[str, pd.DataFrame], model: str) -> Figure:
    """Draw positions before and after, a row a contrast, steered layer and hook.

    Left the plane of principal components, right UMAP; beside the vector a random one.
    """
    summary = tables["summary"]
    figure, all_axes = panels(4 * len(summary), 4, (2.5, 2.75))
    for number, row in enumerate(summary.to_dict("records")):
        place = {str(name): row[name] for name in ("contrast", "steered_layer", "hook")}
        before = where(tables["places"], hook=row["hook"], kind="before")
        moves = {kind: where(tables["moves"], **place, kind=kind).iloc[0] for kind in _KINDS}
        axes_of = iter(all_axes[4 * number : 4 * number + 4])
        for name in _MAPS:
            for kind in _KINDS:
                axes = next(axes_of)
                _scatter(axes, before, where(tables["places"], **place, kind=kind), name, kind)
                axes.set_title(_title(name, moves[kind], row), fontsize=7.5)
        all_axes[4 * number].set_ylabel(
            f"{contrast(row['contrast'])}, layer {row['steered_layer']} to {row['layer']}\n"
            f"features: {_numbers(moves['vector'], 'features')}\n"
            f"(random {_numbers(moves['random_0'], 'features')})\n{_MAPS['pca'][3]}",
        )
    legend_below(figure, all_axes, 3)
    first = summary.iloc[0]
    figure.suptitle(
        f"{model_name(model)}: {first['n_positions']} positions of {first['n_documents']} "
        f"documents in SAE features, as they are and at multiplier {first['multiplier']:g}\n"
        f"(moved: of the mean distance between positions; kept: of the {first['n_near']} nearest; "
        "maps of the unsteered positions, the steered ones put on them)",
        fontsize=9,
    )
    return figure


def _numbers(moves: Mapping[str, Any] | pd.Series, space: str) -> str:
    return f"{moves[f'moved_{space}']:.2f} / {moves[f'kept_{space}']:.2f}"


def _title(name: str, moves: pd.Series, row: Mapping[Any, Any]) -> str:
    found = f"{name.upper()}: moved / kept {_numbers(moves, name)}"
    if name == "pca":
        return f"{found}\n{row['plane_unsteered']:.0%} of the variance"
    return f"{found}\nunmoved: {row['moved_umap_unmoved']:.2f} / {row['kept_umap_unmoved']:.2f}"


def _scatter(axes: Axes, before: pd.DataFrame, after: pd.DataFrame, name: str, kind: str) -> None:
    x, y, *names = _MAPS[name]
    what_after, color = _KINDS[kind]
    # Both tables have the positions in one order.
    ways = np.stack([before[[x, y]].to_numpy(), after[[x, y]].to_numpy()], axis=1)
    lines = LineCollection(list(ways), colors=color, lw=0.3, alpha=0.3, rasterized=True)
    axes.add_collection(lines)
    style: dict[str, Any] = {"ls": "none", "marker": ".", "mew": 0, "rasterized": True}
    for places, shade, what in ((before, "#b0b0b0", "as it is"), (after, color, what_after)):
        axes.plot(places[x], places[y], color=shade, ms=3, **style)
        axes.plot([], [], color=shade, ms=9, label=what, **style)
    axes.set(xticks=[], yticks=[], xlabel=names[0], ylabel=names[1])
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(7.5)
