"""Panels with a place for every layer of every model, models side by side."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from universality.core import names
from universality.core.style import BASELINES, COLORS

_GAP = 0.9
"""Empty places between two models."""
Places = dict[tuple[str, int], float]
"""(model, layer) -> where it stands on the x axis."""


def places(table: pd.DataFrame) -> Places:
    """Return where each layer of each model of `table` stands; models in the order of `names`."""
    layers: dict[str, list[int]] = {}
    for model, rows in table.groupby("model"):
        layers[str(model)] = sorted({int(layer) for layer in rows["layer"]})
    known = list(names.MODELS)
    order = sorted(layers, key=lambda key: known.index(key) if key in known else len(known))
    found: Places = {}
    x = 0.0
    for model in order:
        for layer in layers[model]:
            found[model, layer] = x
            x += 1
        x += _GAP
    return found


def label_places(all_axes: Sequence[Axes], where: Places) -> None:
    """Write layers below the last of panels that stand on each other, and models above the first.

    Thin lines part the models.
    """
    for axes in all_axes:
        axes.set_xticks(list(where.values()), [])
        axes.set_xlim(-0.7, max(where.values()) + 0.7)
    all_axes[-1].set_xticks(list(where.values()), [str(layer) for _, layer in where], fontsize=8)
    all_axes[-1].set_xlabel("layer")
    for model in dict.fromkeys(model for model, _ in where):
        at = [x for (one, _), x in where.items() if one == model]
        label = names.model(model).replace(" LM ", "\nLM ")
        all_axes[0].annotate(
            label, (float(np.mean(at)), 1.02), xycoords=("data", "axes fraction"), ha="center",
            va="bottom", fontsize=8,
        )  # fmt: skip
        if at[0] > 0:
            for axes in all_axes:
                axes.axvline(at[0] - (1 + _GAP) / 2, color="#d9d9d9", lw=0.7)


def model_look(model: str, second_seed: bool = False) -> dict[str, Any]:
    """Return colour and marker of an SAE: of a trained model, of an untrained, of another seed."""
    if second_seed:
        base = BASELINES["ceiling"]
    elif model.startswith("random"):
        base = BASELINES["untrained"]
    else:
        base = {"color": COLORS[0], "marker": "o"}
    return {name: base[name] for name in ("color", "marker")}


def draw(axes: Axes, table: pd.DataFrame, where: Places, column: str) -> None:
    """Draw `column` of every SAE of `table` with its interval, SAE seeds side by side.

    Rows whose value is missing are left out.
    """
    for (model, seed), rows in table.groupby(["model", "seed"]):  # pyright: ignore[reportGeneralTypeIssues]
        later = seed != table.loc[table["model"] == model, "seed"].min()
        rows = rows.loc[np.isfinite(rows[column].to_numpy(dtype=float))]
        x = [where[model, layer] + (0.25 if later else 0) for layer in rows["layer"]]
        points(axes, x, rows, column, **model_look(str(model), later))


def points(axes: Axes, x: Iterable[float], rows: pd.DataFrame, column: str, **style: Any) -> None:
    """Draw points with intervals, columns `_low` and `_high`, where there are some."""
    y = rows[column].to_numpy(dtype=float)
    bars = None
    if f"{column}_low" in rows:
        low, high = (rows[f"{column}_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
        bars = np.maximum(np.stack([y - low, high - y]), 0)
    axes.errorbar(list(x), y, bars, ls="none", capsize=2, elinewidth=1, ms=4.5, **style)


def legend(axes: Axes, entries: Mapping[str, Mapping[str, Any]], **options: Any) -> None:
    """Name looks that are in a figure, whatever was drawn with them."""
    handles = [axes.plot([], [], **{"ls": "none", **look})[0] for look in entries.values()]
    axes.figure.legend(  # pyright: ignore[reportAttributeAccessIssue]
        handles, list(entries), loc="outside lower center", ncols=len(entries), **options
    )
