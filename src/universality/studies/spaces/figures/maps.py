"""Figures of maps of features, of their clusters, and of words of a known order."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

from universality.core import names
from universality.core.style import (
    BASELINES,
    COLORS,
    MARKERS,
    NULL_COLOR,
    legend_below,
    look,
    panels,
)
from universality.core.tables import where

Tables = Mapping[str, Mapping[str, pd.DataFrame]]
"""Map -> table name -> table, as feature-maps writes them."""

_METHODS = {"hdbscan_umap": "", "cosine_graph": ", cosine graph"}
_SPACES = {"decoder": "decoder rows", "activations": "activations"}


def linked_maps(points: pd.DataFrame) -> Figure:
    """Draw the UMAP of both sides of one map, a row per space.

    Features of A with a partner have the colour of their place on A's map; their partners in B have
    the same colour, wherever they lie. Features without a partner are grey.
    """
    spaces = [space for space in _SPACES if space in set(points["space"])]
    figure, all_axes = panels(2 * len(spaces), 2, (3.6, 3.3))
    for row, space in enumerate(spaces):
        a, b = (where(points, space=space, side=side).sort_values("pair") for side in "ab")
        colors = _by_place(a.loc[a["pair"] >= 0, ["x", "y"]].to_numpy())
        for axes, side in zip(all_axes[2 * row :], (a, b), strict=False):
            has = (side["pair"] >= 0).to_numpy()
            x, y = side["x"].to_numpy(), side["y"].to_numpy()
            axes.plot(x[~has], y[~has], ".", color="#cccccc", ms=3, rasterized=True)
            axes.scatter(x[has], y[has], c=colors, s=16, lw=0, rasterized=True)
            one = side.iloc[0]
            layer = f", layer {one['layer']}" if "layer" in side else ""
            axes.set_title(f"{names.model(str(one['model']))}{layer}: {_SPACES[space]}")
            axes.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
    return figure


def _by_place(xy: np.ndarray) -> np.ndarray:
    """Return a colour `(n, 3)` for each place `(n, 2)`: hue by direction, pale at the centre."""
    centred = xy - np.median(xy, axis=0)
    hue = (np.arctan2(centred[:, 1], centred[:, 0]) / (2 * np.pi)) % 1
    away = np.argsort(np.argsort(np.hypot(*centred.T))) / max(len(xy) - 1, 1)
    return hsv_to_rgb(np.stack([hue, 0.25 + 0.75 * away, np.full(len(xy), 0.85)], axis=1))


def clusterings(tables: Tables) -> Figure:
    """Draw what there is to the clusters, beside what the same makes of noise.

    Purity of top tokens, agreement of two seeds, and agreement of the two models.
    """
    figure, all_axes = panels(3, 3, (3.9, 0.34 * sum(map(_n_rows, tables.values())) + 1.4))
    rows = pd.concat(
        [
            named["summary"].assign(
                label=f"{names.pair(key)}\n"
                + named["summary"]["model"].map(names.model)
                + ", "
                + named["summary"]["space"]
                + named["summary"]["method"].replace(_METHODS)
            )
            for key, named in tables.items()
        ],
        ignore_index=True,
    )
    y = np.arange(len(rows))
    columns = (
        ("purity", "purity_null", "purity of the top token\n(tokens permuted)"),
        (
            "rand_seeds",
            "rand_seeds_of_noise",
            "adjusted Rand index of two UMAP seeds\n(two seeds on random directions)",
        ),
        (
            "rand_across",
            "rand_across_null",
            "adjusted Rand index of A and B\n(clusters of B permuted)",
        ),
    )
    for axes, (name, null, title) in zip(all_axes, columns, strict=True):
        value = rows[name].to_numpy(dtype=float)
        ends = [rows[f"{name}_{end}"].to_numpy(dtype=float) for end in ("low", "high")]
        error = np.maximum([value - ends[0], ends[1] - value], 0)
        axes.errorbar(
            value, y, xerr=error, fmt="o", color=COLORS[0], ms=4, lw=1, label="95% (jackknife)"
        )
        axes.plot(rows[null], y, "|", color=NULL_COLOR, ms=8, mew=1.8, label="null (in brackets)")
        axes.set(xlabel=title, ylim=(len(rows) - 0.5, -0.5), yticks=y)
        axes.set_yticklabels([])
        axes.axvline(0, color="#d0d0d0", lw=0.6, zorder=0)
    all_axes[0].set_yticklabels(rows["label"], fontsize=6.5)
    legend_below(figure, all_axes, 4)
    figure.suptitle("Clusters of features: is there more to them than noise would give?")
    return figure


def _n_rows(named: Mapping[str, pd.DataFrame]) -> int:
    return len(named["summary"])


SHOWN = ("smollm2", "random_a")
"""Models whose words are drawn; all are in the numbers below."""


def circles(tables: Tables) -> Figure:
    """Draw words on the plane most like a circle in their order, and circle against line.

    Activations at the words of made sentences. Top: some models; bottom: how much of the spread in
    the best plane a circle and a line explain, for every model.
    """
    orders, points = (_of_activations(tables, name) for name in ("orders", "order_points"))
    kinds = list(dict.fromkeys(orders["order"]))
    models = list(dict.fromkeys(orders["model"]))
    drawn = [model for model in SHOWN if model in models] or models[:2]
    figure, all_axes = panels((len(drawn) + 1) * len(kinds), len(kinds), (3.0, 2.9))
    for axes, (model, order) in zip(all_axes, [(m, o) for m in drawn for o in kinds], strict=False):
        test = where(orders, model=model, order=order).iloc[0]
        part = where(points, model=model, order=order)
        _words(axes, part.drop_duplicates("word"), bool(test["closed"]))
        axes.set_title(f"{names.model(model)}: {order}")
    for column, (axes, order) in enumerate(zip(all_axes[-len(kinds) :], kinds, strict=True)):
        _circle_and_line(axes, where(orders, order=order), models, column == 0)
        axes.set_title(f"{order}: circle or line?")
    legend_below(figure, all_axes, 3)
    return figure


def _of_activations(tables: Tables, name: str) -> pd.DataFrame:
    """Return the rows of activations in made sentences, each model once."""
    seen: set[str] = set()
    parts = []
    for named in tables.values():
        table = where(named[name], source="sentences", space="activations")
        new = table.loc[~table["model"].isin(list(seen))]
        # Both sides of a pair may be one model.
        parts.append(new.loc[new["side"] == new.groupby("model")["side"].transform("first")])
        seen |= set(table["model"])
    return pd.concat(parts, ignore_index=True)


_INNER = 110
"""About how many points the data of a panel of words span."""
_FONT = 7.5


def _words(axes: Axes, part: pd.DataFrame, closed: bool) -> None:
    """Draw words in a plane, each joined to the next and named beside its point."""
    xy = part[["x", "y"]].to_numpy()
    ring = np.concatenate([xy, xy[:1]]) if closed else xy
    axes.plot(*ring.T, "-", color=NULL_COLOR, lw=0.9)
    axes.plot(*xy.T, "o", color=COLORS[0], ms=4)
    texts = [str(word)[:3] if closed else str(word) for word in part["word"]]
    scale = _INNER / max(np.ptp(xy, axis=0).max(), 1e-9)
    offsets = _beside(xy * scale, np.array([len(text) for text in texts])) - xy * scale
    for text, at, offset in zip(texts, xy, offsets, strict=True):
        far = np.hypot(*offset) > 2 * _FONT
        axes.annotate(
            text, at, xytext=tuple(offset), textcoords="offset points", fontsize=_FONT,
            ha="center", va="center",
            arrowprops={"arrowstyle": "-", "color": NULL_COLOR, "lw": 0.5} if far else None,
        )  # fmt: skip
    plane = int(part["plane"].iloc[0])
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axes.set(xlabel=f"PC {plane}", ylabel=f"PC {plane + 1}")
    axes.margins(0.32)
    axes.spines[["left", "bottom"]].set_visible(False)


def _beside(points: np.ndarray, n_letters: np.ndarray) -> np.ndarray:
    """Return places `(k, 2)` for names so that none covers another or a point; all in points.

    Names begin away from the centre and push each other, and are pushed by points, until they are
    apart.
    """
    half = np.stack([0.32 * _FONT * n_letters, np.full(len(points), 0.62 * _FONT)], axis=1)
    away = points - points.mean(axis=0)
    away /= np.maximum(np.hypot(*away.T), 1e-9)[:, None]
    at = points + away * (half + 3)
    for _ in range(300):
        push = np.zeros_like(at)
        for others, room in ((at, half[:, None] + half), (points, half[:, None] + 2.5)):
            gap = at[:, None] - others
            over = room - np.abs(gap)
            hit = (over > 0).all(axis=2)
            if others is at:
                np.fill_diagonal(hit, False)
            # Along the axis of less overlap.
            along = np.argmin(over, axis=2)
            i, j = np.nonzero(hit)
            k = along[i, j]
            sign = np.where(gap[i, j, k] == 0, np.where(i < j, 1, -1), np.sign(gap[i, j, k]))
            np.add.at(push, (i, k), 0.3 * sign * over[i, j, k])
        if not push.any():
            break
        at = at + push
    return at


def _circle_and_line(axes: Axes, table: pd.DataFrame, models: list[str], labelled: bool) -> None:
    rows = table.set_index("model").loc[models]
    y = np.arange(len(rows))
    for offset, shape in enumerate(("circle", "line")):
        value, low, high = (
            rows[f"{shape}_r2{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high")
        )
        axes.errorbar(
            value, y + 0.3 * offset - 0.15, xerr=np.maximum([value - low, high - value], 0),
            fmt=MARKERS[offset], color=COLORS[3 * offset], ms=5, lw=1.3, capsize=2,
            label=f"explained by a {shape} (95%)",
        )  # fmt: skip
    axes.plot(rows["circle_r2_null_high"], y - 0.15, "|", color=BASELINES["null"]["color"], ms=11,
              mew=2.2, label="null: 95% of orders of the words have less of a circle")  # fmt: skip
    axes.set(xlim=(0, 1), xlabel="$R^2$ in the best plane", ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(y, [names.model(model) if labelled else "" for model in models], fontsize=8)


def alike(tables: Tables) -> Figure:
    """Draw circle R2 in every space, and whether two models arrange the words alike."""
    found = {
        key: (named["orders"].query("tested"), named["orders_across"].query("tested"))
        for key, named in tables.items()
    }
    heights = max(len(one) for one, _ in found.values())
    figure, all_axes = panels(2 * len(found), 2, (4.9, 0.2 * heights + 1.1))
    for row, (key, (orders, across)) in enumerate(found.items()):
        for axes, table, name, title in (
            (all_axes[2 * row], orders, "circle_r2", "circle $R^2$ of the words' means"),
            (all_axes[2 * row + 1], across, "rsa", "RSA of A and B (Spearman)"),
        ):
            y = np.arange(len(table))
            value = table[name].to_numpy(dtype=float)
            ends = [table[f"{name}_{end}"].to_numpy(dtype=float) for end in ("low", "high")]
            error = np.maximum([value - ends[0], ends[1] - value], 0)
            axes.errorbar(
                value, y, xerr=error, fmt="o", color=COLORS[0], ms=3.5, lw=1,
                label="95% (sentences left out)",
            )  # fmt: skip
            axes.plot(
                table[f"{name}_null"], y, "|", color=NULL_COLOR, ms=7, mew=1.6,
                label="null: words permuted",
            )  # fmt: skip
            who = (
                table["model"].map(names.model) + ", "
                if "model" in table
                else pd.Series("", table.index)
            )
            labels = who + table["order"] + ", " + table["space"]
            stars = ["  *" if q < 0.05 else "" for q in table[f"{name}_q"]]
            axes.set_yticks(y, [label + s for label, s in zip(labels, stars, strict=True)])
            axes.tick_params(axis="y", labelsize=6)
            axes.set(xlabel=title, ylim=(len(table) - 0.5, -0.5), xlim=(-0.6, 1.1))
            axes.axvline(0, color="#d0d0d0", lw=0.6, zorder=0)
            axes.set_title(names.pair(key), fontsize=8.5)
    legend_below(figure, all_axes, 2)
    figure.suptitle(
        "Weekdays, months and numbers in made sentences (* q < .05); the shared text has too few "
        "of them to test",
        fontsize=9,
    )
    return figure


def shapes(tables: Tables) -> Figure:
    """Draw both indices of the planes of clusters of the decoder-cosine graph, with their nulls."""
    found = {key: named for key, named in tables.items() if len(named["shapes"])}
    figure, all_axes = panels(len(found), 3, (3.5, 3.3), sharex=True, sharey=True)
    for axes, (key, named) in zip(all_axes, found.items(), strict=True):
        for index, side in enumerate("ab"):
            part = named["shapes"].query(f"side == '{side}'")
            style: dict[str, Any] = look(index) | {"linestyle": "none"}
            n = part["cluster"].nunique()
            axes.plot(part["mixture"], part["separability"], **style, mfc="none",
                      label="AB"[index] + ", a plane of a cluster")  # fmt: skip
            axes.annotate(
                f"{'AB'[index]}: {n} clusters, {len(part)} planes", (0.98, 0.98 - 0.07 * index),
                xycoords="axes fraction", ha="right", va="top", fontsize=7,
            )  # fmt: skip
        everyone = named["shapes"]
        axes.plot(
            everyone["mixture_null"], everyone["separability_null"], "x", color=NULL_COLOR, ms=3.5,
            label="null: Gaussian (mixture), coordinates apart (separability)",
        )  # fmt: skip
        axes.set(xlabel="mixture index", ylabel="separability index (bits)", xlim=(0, 1.02))
        axes.set_title(names.pair(key), fontsize=8.5)
        axes.tick_params(labelbottom=True, labelleft=True)
    legend_below(figure, all_axes, 3)
    figure.suptitle(
        "Planes of what clusters of features write: irreducible is top left (Engels et al. 2024)",
        fontsize=9.5,
    )
    return figure
