"""Figures of what steering vectors are made of: tables in, a figure out."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.plots.style import COLORS, MARKERS, NULL_COLOR, legend_below, look, panels
from universality.tables import column, groups, means, where

METHODS = {
    "encode": "encode(v)",
    "encode_and_bias": "encode(v), with decoder bias",
    "encode_shift": "encode(x + v) - encode(x)",
    "encode_shift_top": "encode(x + v) - encode(x), largest",
    "prompt_difference": "encode(prompts), difference",
    "prompt_difference_top": "encode(prompts), difference, largest",
    "non_negative_pursuit": "pursuit, non-negative",
    "signed_pursuit": "pursuit, signed",
    "omp": "orthogonal matching pursuit",
    "encoder_support": "least squares, support of encode(v)",
}
"""Ways of decomposing a vector, in the order in which they are drawn."""
PARTS = {
    "whole": "whole vector",
    "code": "its signed code",
    "code_positive": "features added",
    "code_negative": "features taken away",
    "top_5": "5 largest features",
    "top_1": "largest feature",
    "top_1_matched": "largest feature, as long as v",
    "without_top_1": "without largest feature",
    "without_top_5": "without 5 largest",
    "remainder": "without its code",
}
PATCHES = {
    "reconstruction": "reconstruction, no error",
    "features": "steered features,\nunsteered error",
    "error": "unsteered features,\nsteered error",
    "random": "null: random change",
}
BY = {"fires_on": "fire on", "writes": "write"}


def _bars(
    axes: Axes, table: pd.DataFrame, names: Sequence[str], name: str, label: str, shift: float = 0
) -> None:
    """Mark `name` of every row, in the order of `names`, with its interval."""
    part = table.set_index("method").reindex(names)
    value, low, high = (column(part, f"{name}{end}") for end in ("", "_low", "_high"))
    ends = [value - low, high - value]
    style = 0 if shift <= 0 else 2
    axes.errorbar(
        value, np.arange(len(names)) + shift, xerr=np.maximum(ends, 0), fmt=MARKERS[style],
        color=COLORS[0 if style == 0 else 1], ms=4, capsize=2, label=label,
    )  # fmt: skip


def fidelity(table: pd.DataFrame) -> Figure:
    """Draw how near each reconstruction is to its vector, and how much of its effect it has.

    `table` is `summary` of `decompose-vectors`.
    """
    layers = sorted(table["layer"].unique())
    names = [name for name in METHODS if name in set(table["method"])]
    places = np.arange(len(names))
    figure, all_axes = panels(
        2 * len(layers), 2, (4.6, 0.22 * len(names) + 0.9), sharey=True, sharex="col"
    )
    for index, axes in enumerate(all_axes):
        layer = layers[index // 2]
        part = where(table, layer=layer)
        rows = part.set_index("method").reindex(names)
        if index % 2 == 0:
            _bars(axes, part, names, "cosine", "reconstruction as it is")
            axes.plot(
                rows["cosine_null"], places, "|", color="black", ms=9, mew=1.5,
                label="null: random vectors",
            )  # fmt: skip
            axes.plot(
                rows["cosine_shuffled"], places, "x", color=NULL_COLOR, ms=5,
                label="null: shuffled dictionary",
            )  # fmt: skip
            axes.set_xlim(-0.15, 1.45)
            for place, row in enumerate(rows.to_dict("records")):
                axes.text(
                    1.04, place, f"L0 {row['l0']:.0f}, length {row['norm_ratio']:.2f}",
                    fontsize=6, va="center",
                )  # fmt: skip
            n = int(rows["n_vectors"].iloc[0])
            axes.set_title(f"layer {layer}: reconstruction (n = {n} vectors)")
        else:
            for length, label, shift in (
                ("own", "reconstruction as it is", -0.15),
                ("matched", "made as long as the vector", 0.15),
            ):  # fmt: skip
                if f"share_{length}" in rows:
                    _bars(axes, part, names, f"share_{length}", label, shift)
            if "share_matched_null" in rows:
                axes.plot(
                    rows["share_matched_null"], places, "|", color="black", ms=9, mew=1.5,
                    label="null: random vectors",
                )  # fmt: skip
                if "share_matched_shuffled" in rows:
                    axes.plot(
                        rows["share_matched_shuffled"], places, "x", color=NULL_COLOR, ms=5,
                        label="null: shuffled dictionary",
                    )  # fmt: skip
            axes.axvline(1, color="black", lw=0.6, ls=":")
            n = int(rows["n_steering"].iloc[0])
            axes.set_title(f"layer {layer}: steering (n = {n} vectors with an effect)")
            if n == 0:
                says = "no vector steers more\nthan random ones do"
                axes.text(0.5, 0.5, says, ha="center", va="center", transform=axes.transAxes)
            axes.set_xlim(-0.4, 1.6)
        axes.axvline(0, color="black", lw=0.5)
        axes.set_yticks(places, [METHODS[name] for name in names], fontsize=7)
        axes.tick_params(labelbottom=True)
    all_axes[0].invert_yaxis()
    all_axes[-2].set_xlabel("cosine with the vector")
    all_axes[-1].set_xlabel("share of the vector's effect")
    legend_below(figure, all_axes, 3)
    figure.suptitle("Decompositions of steering vectors (bars: 95% over vectors)")
    return figure


def misreading(zero: pd.DataFrame, lost: pd.DataFrame, activations: pd.DataFrame) -> Figure:
    """Draw when the encoder sees a vector rather than its own bias, and what its ReLU loses."""
    figure, all_axes = panels(3, 3, (3.9, 3.4))
    values = ["overlap_zero", "overlap_zero_random", "overlap_others", "length", "typical_length"]
    whole = means(zero, ["layer", "multiplier"], values)
    for index, ((layer,), part) in enumerate(groups(whole, "layer")):
        x = column(part, "length") / column(part, "typical_length")
        style = look(index)
        all_axes[0].plot(x, part["overlap_zero"], label=f"layer {layer}", **style)
        all_axes[0].plot(x, part["overlap_zero_random"], color=NULL_COLOR, ls=style["linestyle"],
                         lw=1, label="null: random vectors")  # fmt: skip
        all_axes[1].plot(x, part["overlap_others"], label=f"layer {layer}", **style)
        once = x[column(part, "multiplier") == 1]
        for axes in all_axes[:2] if len(once) else ():
            axes.axvline(once[0], color=style["color"], ls=style["linestyle"], lw=0.7)
    for axes, name in ((all_axes[0], "the zero vector's"), (all_axes[1], "another vector's")):
        axes.set(
            xscale="log", ylim=(-0.03, 1.03), xlabel="length of v / mean length of activations",
            ylabel="share of strongest features", title=f"encode(v): features that are {name}",
        )  # fmt: skip
    _lost(all_axes[2], lost, activations)
    legend_below(figure, all_axes, 4)
    n = zero["vector"].nunique()
    figure.suptitle(
        f"What the encoder makes of a steering vector (means of {n} vectors; thin vertical lines: "
        "multiplier 1)"
    )
    return figure


def _lost(axes: Axes, lost: pd.DataFrame, activations: pd.DataFrame) -> None:
    layers = sorted(lost["layer"].unique())
    x = np.arange(len(layers))
    kinds = {
        "negative_share": "fall (of all differences)",
        "positive_named": "of features that rise: named by encode(v)",
        "negative_named": "of features that fall: named by encode(v)",
    }
    for index, (name, label) in enumerate(kinds.items()):
        for place, layer in enumerate(layers):
            values = column(where(lost, layer=layer), name)
            at = place + 0.22 * (index - 1)
            axes.plot(
                np.full(len(values), at), values, MARKERS[index], color=COLORS[index], ms=3.5,
                mfc="none", label=label,
            )  # fmt: skip
            axes.plot([at - 0.08, at + 0.08], [values.mean()] * 2, color=COLORS[index], lw=2.2)
    usual = [column(where(activations, layer=layer), "negative_share").mean() for layer in layers]
    axes.plot(
        x, usual, "_", color="black", ms=30, mew=1,
        label="taken away in activations (signed pursuit)",
    )  # fmt: skip
    axes.set_xticks(x, [str(layer) for layer in layers])
    axes.set(
        xlabel="layer", ylabel="share of squared contributions", ylim=(-0.03, 1.03),
        title="Features that differ between prompts",
    )  # fmt: skip


_DRAWN = {
    ("original", "own"): "the vector",
    ("encode", "matched"): "encode(v)",
    ("prompt_difference", "matched"): "prompts, difference",
    ("non_negative_pursuit", "matched"): "pursuit, non-negative",
    ("signed_pursuit", "matched"): "pursuit, signed",
}


def doses(table: pd.DataFrame, layer: int) -> Figure:
    """Draw the dose-response of every vector of a layer, and of its reconstructions."""
    table = where(table, layer=layer)
    vectors = list(dict.fromkeys(table["vector"]))
    figure, all_axes = panels(len(vectors), 4, (3.0, 2.6), sharex=True)
    for axes, vector in zip(all_axes, vectors, strict=True):
        own = where(table, vector=vector)
        drawn = own.loc[own["method"].str.startswith("random_")]
        random = {key[0]: column(part, "change") for key, part in groups(drawn, "multiplier")}
        axes.fill_between(
            list(random), [x.min() for x in random.values()], [x.max() for x in random.values()],
            color=NULL_COLOR, alpha=0.4, lw=0,
            label=f"null: {drawn['method'].nunique()} random vectors, as long",
        )  # fmt: skip
        for index, ((method, length), label) in enumerate(_DRAWN.items()):
            part = where(own, method=method, length=length)
            if index == 0:
                value = column(part, "change")
                ends = [value - part["change_low"], part["change_high"] - value]
                axes.errorbar(
                    part["multiplier"], part["change"], yerr=np.maximum(ends, 0), capsize=2,
                    label=label, **look(index),
                )  # fmt: skip
            else:
                axes.plot(part["multiplier"], part["change"], label=label, **look(index))
        axes.axhline(0, color="black", lw=0.5)
        axes.set_title(vector)
        axes.set(xlabel="multiplier", ylabel="change of score (nats)")
        axes.tick_params(labelbottom=True)
    legend_below(figure, all_axes, 3)
    figure.suptitle(
        f"Layer {layer}: steering with vectors and with what they were decomposed into, made as "
        "long (bars: 95% over prompts)",
        fontsize=9,
    )
    return figure


def pareto(table: pd.DataFrame, prompts: int) -> Figure:
    """Draw effect against price of the parts of vectors; a line joins the multipliers."""
    layers = sorted(table["layer"].unique())
    figure, all_axes = panels(len(layers), 2, (6.8 if len(layers) == 1 else 5.0, 4.4))
    for axes, layer in zip(all_axes, layers, strict=True):
        rows = where(table, layer=layer)
        for index, (name, label) in enumerate(PARTS.items()):
            part = where(rows, part=name).sort_values("multiplier")
            axes.plot(part["price"], part["effect"], label=label, **look(index))
            if name in ("whole", "top_1"):
                axes.vlines(
                    part["price"], part["effect_low"], part["effect_high"], lw=0.8,
                    color=look(index)["color"],
                )  # fmt: skip
        null = where(rows, part="random").sort_values("multiplier")
        axes.plot(
            null["price"], null["effect"], color=NULL_COLOR, marker="*", ms=7,
            label="null: random vector as long",
        )  # fmt: skip
        axes.axhline(0, color="black", lw=0.5)
        axes.axvline(0, color="black", lw=0.5)
        multipliers = ", ".join(f"{m:g}" for m in sorted(rows["multiplier"].unique()))
        axes.set(
            xlabel="price: change of cross-entropy of the continuation (nats/token)",
            ylabel="effect: change of score (nats)",
        )  # fmt: skip
        n = rows["n_vectors"].iloc[0]
        axes.set_title(f"layer {layer} (n = {n} vectors x {prompts} prompts; x {multipliers})")
    legend_below(figure, all_axes, 3)
    figure.suptitle(
        "Parts of steering vectors: what they do, and what it costs (lines: 95% over vectors)",
        fontsize=9,
    )
    return figure


def downstream(ablation: pd.DataFrame, patches: pd.DataFrame) -> Figure:
    """Draw how much of the effect is left with features ablated, and with SAEs patched in."""
    figure, all_axes = panels(2, 2, (5.2, 0.17 * max(len(ablation), 12) + 1.4))
    labels, place = [], 0
    left, right = all_axes
    for row in ablation.query("n_features > 0").to_dict("records"):
        _share(left, row, place, "95% over prompts")
        left.plot(
            row["share_null"], place, "|", color="black", ms=9, mew=1.5,
            label="null: as many features, by how often they fire",
        )  # fmt: skip
        labels.append(
            f"{row['vector']} (layer {row['layer']}): {BY[row['by']]} {row['concept']}, "
            f"n = {row['n_features']}"
        )
        place += 1
    left.set_yticks(range(place), labels, fontsize=6.5)
    left.set_title("Named features ablated in every layer above")
    left.set_xlim(-0.5, 2)
    labels, place = [], 0
    for (layer, later), rows in groups(patches, "layer", "patched"):
        for row in rows.to_dict("records"):
            _share(right, row, place, "95% over vectors", MARKERS[1], COLORS[1])
            labels.append(f"v in {layer}, patched in {later}: {PATCHES[row['patch']]}")
            place += 1
    right.set_yticks(range(place), labels, fontsize=6.5)
    right.set_title(f"SAE patched in (n = {patches['n_vectors'].iloc[0]} vectors)")
    right.set_xlim(-0.5, 1.5)
    for axes in all_axes:
        axes.invert_yaxis()
        axes.axvline(0, color="black", lw=0.5)
        axes.axvline(1, color="black", lw=0.6, ls=":")
        axes.set_xlabel("share of the effect that is left")
    legend_below(figure, all_axes, 3)
    return figure


def _share(
    axes: Axes,
    row: Mapping,
    place: int,
    label: str,
    marker: str = MARKERS[0],
    color: str = COLORS[0],
) -> None:
    value = row["share"]
    ends = [[max(value - row["share_low"], 0)], [max(row["share_high"] - value, 0)]]
    axes.errorbar(value, place, xerr=ends, fmt=marker, color=color, ms=4, capsize=2, label=label)


def lens(table: pd.DataFrame) -> Figure:
    """Draw the direct effect of vectors and of their largest features, by layer."""
    vectors = list(dict.fromkeys(table["vector"]))
    layers = sorted(table["layer"].unique())
    figure, all_axes = panels(1, 1, (6.4, 3.6))
    axes = all_axes[0]
    whole = where(table, what="vector")
    for index, vector in enumerate(vectors):
        part = where(whole, vector=vector).sort_values("layer")
        axes.plot(part["layer"], part["direct"], label=vector, **look(index))
    null = [column(where(whole, layer=layer), "direct_null").mean() for layer in layers]
    axes.plot(
        layers, null, color=NULL_COLOR, lw=3, marker="_", ms=12, mew=3,
        label="null: mean size, random vectors",
    )  # fmt: skip
    axes.axhline(0, color="black", lw=0.5)
    axes.set_xticks(layers)
    axes.set(
        xlabel="layer", ylabel="cosine with the words' logit difference",
        title="Logit lens: what vectors say without the layers above",
    )  # fmt: skip
    legend_below(figure, all_axes, 3)
    return figure
