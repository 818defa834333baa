"""Figures of maps of features, of their clusters, and of words of a known order."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.plots.style import (
    COLORS,
    HATCHES,
    NULL_COLOR,
    legend_below,
    line_look,
    look,
    panels,
)

Tables = Mapping[str, Mapping[str, pd.DataFrame]]
"""Map -> table name -> table, as feature-maps writes them."""

_N_LABELLED = 6
_AXES = {"x": "UMAP 1", "y": "UMAP 2", "pc1": "PC 1", "pc2": "PC 2"}
_METHODS = {"hdbscan_umap": "", "cosine_graph": ", cosine graph"}
_SPACES = {"decoder": "decoder rows", "encoder": "encoder columns", "activations": "activations"}


def linked_maps(key: str, tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the UMAP of both sides of one map, a row per space, coloured by cluster.

    The largest clusters have a colour and the token that most of their features fire on; the same
    colours on the other side are these features' partners, not clusters.
    """
    points, summary = tables["points"], tables["summary"]
    names = tables["clusters"].query("method == 'hdbscan_umap'")
    spaces = [space for space in _SPACES if space in set(points["space"])]
    figure, all_axes = panels(3 * len(spaces), 3, (3.4, 3.2))
    for row, space in enumerate(spaces):
        a, b = (points.query(f"space == '{space}' and side == '{side}'") for side in "ab")
        numbers = summary.query(f"space == '{space}' and method == 'hdbscan_umap'")
        named = names.query(f"space == '{space}'")
        axes = all_axes[3 * row : 3 * row + 3]
        for panel, part, side in ((axes[0], a, "a"), (axes[1], b, "b")):
            _scatter(panel, part, part["cluster"].to_numpy())
            _label(panel, part, named.query(f"side == '{side}'"))
            one = numbers.query(f"side == '{side}'").iloc[0]
            panel.set_title(
                f"{'AB'['ab'.index(side)]}: {one['model']} layer {int(one['layer'])}, "
                f"{_SPACES[space]}\nn = {len(part)}, {int(one['n_clusters'])} clusters, "
                f"purity {one['purity']:.2f} (null {one['purity_null']:.2f})",
                fontsize=7.5,
            )
        # The third panel shows where the partners of A's clusters lie in B.
        matched = a.query("pair >= 0")
        of_a = dict(zip(matched["pair"], matched["cluster"], strict=True))
        linked = np.array([of_a.get(pair, -1) for pair in b["pair"]])
        _scatter(axes[2], b, linked)
        across = numbers.iloc[0]
        axes[2].set_title(
            f"B, partners in the colours of A ({int(across['n_pairs'])} pairs)\nsame clusters: "
            f"Rand {across['rand_across']:.2f} "
            f"[{across['rand_across_low']:.2f}, {across['rand_across_high']:.2f}], "
            f"p = {across['rand_across_p']:.3g}",
            fontsize=7.5,
        )
    figure.suptitle(
        f"{key}: UMAP of features by cosine, the {_N_LABELLED} largest clusters coloured "
        "(HDBSCAN in 10 dimensions; distances mean little)",
        fontsize=9,
    )
    return figure


def principal_maps(tables: Tables) -> Figure:
    """Draw the first two principal components of both sides, in the colours of the UMAP's clusters.

    What UMAP draws apart and this does not is apart in other directions, or not at all.
    """
    figure, all_axes = panels(6 * len(tables), 6, (2.3, 2.3))
    for row, (key, named) in enumerate(tables.items()):
        for column, (space, side) in enumerate((s, t) for s in _SPACES for t in "ab"):
            axes = all_axes[6 * row + column]
            part = named["points"].query(f"space == '{space}' and side == '{side}'")
            _scatter(axes, part, part["cluster"].to_numpy(), ("pc1", "pc2"))
            shares = named["spectrum"].query(f"space == '{space}' and side == '{side}'")
            first = shares["share"].iloc[:2].sum(), shares["share_permuted"].iloc[:2].sum()
            axes.set_title(
                f"{key}\n{part['model'].iloc[0]}, {_SPACES[space]}, n = {len(part)}\n"
                f"{first[0]:.0%} of the variance (permuted {first[1]:.0%})",
                fontsize=7,
            )
    figure.suptitle("Principal components of features, coloured by the clusters of their UMAP")
    return figure


def _scatter(
    axes: Axes, part: pd.DataFrame, cluster: np.ndarray, names: tuple[str, str] = ("x", "y")
) -> None:
    x, y = (part[name].to_numpy() for name in names)
    rest = (cluster < 0) | (cluster >= _N_LABELLED)
    axes.plot(x[rest], y[rest], ".", color="#c4c4c4", ms=2, rasterized=True)
    for number in range(_N_LABELLED):
        own = cluster == number
        style: dict[str, Any] = look(number) | {"linestyle": "none"}
        axes.plot(x[own], y[own], **style, ms=3.2, mew=0, rasterized=True)
    axes.set(xticks=[], yticks=[], xlabel=_AXES[names[0]], ylabel=_AXES[names[1]])


def _label(axes: Axes, part: pd.DataFrame, named: pd.DataFrame) -> None:
    wanted = named.query(f"cluster < {_N_LABELLED}")
    for cluster, token in zip(wanted["cluster"], wanted["top_token"], strict=True):
        own = part.query(f"cluster == {cluster}")
        at = np.median(own["x"].to_numpy()), np.median(own["y"].to_numpy())
        text = repr(token)  # in quotes, so that a full stop is seen
        axes.annotate(
            text, at, xytext=(4, 4), textcoords="offset points", fontsize=7, fontweight="bold",
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
        )  # fmt: skip


def clusterings(tables: Tables) -> Figure:
    """Draw what there is to the clusters, beside what the same makes of noise.

    Purity of top tokens, agreement of two seeds, and agreement of the two models.
    """
    figure, all_axes = panels(3, 3, (3.9, 0.34 * sum(map(_n_rows, tables.values())) + 1.4))
    rows = pd.concat(
        [
            named["summary"].assign(
                label=f"{key}\n"
                + named["summary"]["model"]
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
        axes.plot(rows[null], y, "|", color="black", ms=8, mew=1.8, label="null (in brackets)")
        axes.set(xlabel=title, ylim=(len(rows) - 0.5, -0.5), yticks=y)
        axes.set_yticklabels([])
        axes.axvline(0, color="#d0d0d0", lw=0.6, zorder=0)
    all_axes[0].set_yticklabels(rows["label"], fontsize=6.5)
    legend_below(figure, all_axes, 4)
    figure.suptitle("Clusters of features: is there more to them than noise would give?")
    return figure


def _n_rows(named: Mapping[str, pd.DataFrame]) -> int:
    return len(named["summary"])


def spectra(tables: Tables) -> Figure:
    """Draw the cumulative variance of principal components against both nulls."""
    figure, all_axes = panels(3 * len(tables), 3, (3.7, 2.9))
    for row, (key, named) in enumerate(tables.items()):
        for axes, space in zip(all_axes[3 * row : 3 * row + 3], _SPACES, strict=True):
            titles = []
            for index, side in enumerate("ab"):
                part = named["spectrum"].query(f"space == '{space}' and side == '{side}'")
                one = part.iloc[0]
                axes.plot(
                    part["component"], part["share"].cumsum(), **line_look(index),
                    label="AB"[index],
                )  # fmt: skip
                for null, shade, width in (("share_null", NULL_COLOR, 1.4),
                                           ("share_permuted", "#4d4d4d", 0.8)):  # fmt: skip
                    kind = "random directions" if null == "share_null" else "permuted"
                    axes.plot(
                        part["component"], part[null].cumsum(), color=shade, lw=width,
                        ls=line_look(index)["linestyle"], label=f"null: {kind}, {'AB'[index]}",
                    )  # fmt: skip
                titles.append(
                    f"{'AB'[index]} {one['model']}: {one['participation_ratio']:.0f} effective of "
                    f"{int(one['d'])} dimensions (null {one['participation_ratio_null']:.0f})"
                )
            axes.set_title(
                f"{key}, {_SPACES[space]}, n = {int(part['n'].iloc[0])}\n" + "\n".join(titles),
                fontsize=7.5,
            )
            axes.set(xlabel="principal component", ylabel="cumulative share", ylim=(0, 1.02))
    legend_below(figure, all_axes, 3)
    figure.suptitle("Principal components of unit feature directions")
    return figure


def circles(tables: Tables, space: str = "activations") -> Figure:
    """Draw the words' means on the plane that is most like a circle in their order, by model."""
    models = {
        (str(model), int(layer)): key
        for key, named in tables.items()
        for model, layer in named["orders"][["model", "layer"]].itertuples(index=False)
    }
    names = list(dict.fromkeys(next(iter(tables.values()))["orders"]["order"]))
    figure, all_axes = panels(len(models) * len(names), len(names), (3.1, 3.0))
    for row, ((model, layer), key) in enumerate(models.items()):
        named = tables[key]
        wanted = (
            f"model == '{model}' and layer == {layer} and source == 'sentences' "
            f"and space == '{space}'"
        )
        for axes, order in zip(
            all_axes[row * len(names) : (row + 1) * len(names)], names, strict=True
        ):
            where = f"{wanted} and order == '{order}'"
            test = named["orders"].query(where).iloc[0]
            part = named["order_points"].query(where).drop_duplicates("word")
            closed = part.iloc[[*range(len(part)), *([0] if test["closed"] else [])]]
            axes.plot(closed["x"], closed["y"], "-", color=NULL_COLOR, lw=0.9)
            axes.plot(part["x"], part["y"], "o", color=COLORS[0], ms=3.5)
            for word, x, y in part[["word", "x", "y"]].itertuples(index=False):
                axes.annotate(
                    word[:3] if test["closed"] else word, (x, y), xytext=(2.5, 2.5),
                    textcoords="offset points", fontsize=6.5,
                )  # fmt: skip
            axes.set(xticks=[], yticks=[], aspect="equal")
            axes.set(adjustable="datalim", xlabel=f"PC {int(part['plane'].iloc[0])}",
                     ylabel=f"PC {int(part['plane'].iloc[0]) + 1}")  # fmt: skip
            axes.margins(0.18)
            axes.set_title(
                f"{model} layer {layer}, {order} (n = {int(test['n_sentences'])} each)\n"
                f"circle $R^2$ {test['circle_r2']:.2f} (null {test['circle_r2_null']:.2f}), "
                f"p = {test['circle_r2_p']:.3g}, q = {test['circle_r2_q']:.2g}",
                fontsize=7,
            )
    figure.suptitle(
        "Words at the MLP's output, means over sentences: the plane most like a circle in their "
        "order\n(null: words permuted, the plane searched anew; q over all tests of the pair)",
        fontsize=9,
    )
    return figure


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
                table[f"{name}_null"], y, "|", color="black", ms=7, mew=1.6,
                label="null: words permuted",
            )  # fmt: skip
            who = table["model"] + ", " if "model" in table else pd.Series("", table.index)
            labels = who + table["order"] + ", " + table["space"]
            stars = ["  *" if q < 0.05 else "" for q in table[f"{name}_q"]]
            axes.set_yticks(y, [label + s for label, s in zip(labels, stars, strict=True)])
            axes.tick_params(axis="y", labelsize=6)
            axes.set(xlabel=title, ylim=(len(table) - 0.5, -0.5), xlim=(-0.6, 1.1))
            axes.axvline(0, color="#d0d0d0", lw=0.6, zorder=0)
            axes.set_title(key, fontsize=8.5)
    legend_below(figure, all_axes, 2)
    figure.suptitle(
        "Weekdays, months and numbers in made sentences (* q < .05); the shared text has too few "
        "of them to test",
        fontsize=9,
    )
    return figure


REPRESENTATIONS = {
    "umap": "UMAP, 2-D, of decoder rows",
    "umap_other_seed": "UMAP of A against A, other seed",
    "umap_unrelated": "UMAP of random directions",
    "decoder_2": "decoder rows, 2 components",
    "decoder": "decoder rows, many components",
    "activations": "activations, many components",
}


def umap_cca(tables: Tables) -> Figure:
    """Draw CCA of matched features on UMAP coordinates beside CCA on the features."""
    figure, all_axes = panels(2, 2, (4.4, 0.95 * len(tables) + 1.7), sharey=True)
    height = 0.84 / len(REPRESENTATIONS)
    titles = {"cca": "mean canonical correlation", "r2": "$R^2$ CCA"}
    for axes, name in zip(all_axes, titles, strict=True):
        for index, (kind, label) in enumerate(REPRESENTATIONS.items()):
            rows = pd.DataFrame(
                [named["cca"].set_index("representation").loc[kind] for named in tables.values()]
            )
            value, low, high, null = (
                rows[f"{name}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high", "_null")
            )
            y = np.arange(len(rows)) + (index - (len(REPRESENTATIONS) - 1) / 2) * height
            axes.barh(
                y, value, height * 0.9, xerr=np.maximum([value - low, high - value], 0),
                color=COLORS[index] if index < 6 else "white", hatch=HATCHES[index],
                edgecolor="black", lw=0.6, error_kw={"lw": 1}, label=label,
            )  # fmt: skip
            axes.plot(
                null, y, "|", color="black", ms=7, mew=2,
                label="null: pairs permuted" if not index else None,
            )  # fmt: skip
            texts = zip(y, np.maximum(high, value), rows["n"], rows["d_a"], rows["d_b"],
                        rows[f"{name}_p"], strict=True)  # fmt: skip
            for place, end, n, d_a, d_b, p in texts:
                axes.text(
                    max(end, 0) + 0.02, place, f"n {n:.0f}, d {d_a:.0f}|{d_b:.0f}, p {p:.2g}",
                    va="center", fontsize=5.5,
                )  # fmt: skip
        axes.set(xlabel=titles[name], xlim=(0, 1.3))
        axes.set_yticks(range(len(tables)), list(tables))
        axes.tick_params(labelleft=True, labelsize=7)
    all_axes[0].invert_yaxis()
    legend_below(figure, all_axes, 3)
    figure.suptitle(
        "CCA on UMAP coordinates misleads: the same rows under another seed do not give 1",
        fontsize=9.5,
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
        axes.set_title(key, fontsize=8.5)
        axes.tick_params(labelbottom=True, labelleft=True)
    legend_below(figure, all_axes, 3)
    figure.suptitle(
        "Planes of what clusters of features write: irreducible is top left (Engels et al. 2024)",
        fontsize=9.5,
    )
    return figure
