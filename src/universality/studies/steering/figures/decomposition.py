"""Figures of what steering vectors are made of: tables in, a figure out."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
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
from universality.core.tables import column, groups, means, where

METHODS = {
    "encode": "encode(v)",
    "encode_shift": "encode(x + v) − encode(x)",
    "prompt_difference": "encode(prompts), difference",
    "non_negative_pursuit": "pursuit, non-negative",
    "signed_pursuit": "pursuit, signed",
    "omp": "orthogonal matching pursuit",
}
"""Ways of decomposing a vector that are drawn, in this order."""
PARTS = {
    "whole": "whole vector",
    "code": "its signed code",
    "top_5": "5 largest features",
    "top_1": "largest feature",
    "without_top_5": "without the 5 largest",
    "remainder": "without its code",
}


def fidelity(table: pd.DataFrame, model: str) -> Figure:
    """Draw how near each reconstruction is to its vector, and how much of its effect it has.

    `table` is `summary` of `decompose-vectors`; a colour a layer. Beside each point its nulls.
    """
    layers = sorted(table["layer"].unique())
    shown = [name for name in METHODS if name in set(table["method"])]
    height = 0.12 * len(shown) * max(len(layers), 2) + 1.4
    figure, all_axes = panels(2, 2, (4.2, height), sharey=True)
    for index, layer in enumerate(layers):
        rows = where(table, layer=layer).set_index("method").reindex(shown)
        places = np.arange(len(shown)) + 0.24 * (index - (len(layers) - 1) / 2)
        label = f"layer {layer}: {rows['n_vectors'].iloc[0]:.0f} vectors"
        for axes, name in zip(all_axes, ("cosine", "share_matched"), strict=True):
            if name not in rows:
                continue
            value, low, high = (column(rows, f"{name}{end}") for end in ("", "_low", "_high"))
            axes.errorbar(
                value, places, xerr=np.maximum([value - low, high - value], 0), ms=3.5, capsize=1.5,
                lw=0.9, fmt=MARKERS[index], color=COLORS[index],
                label=f"{label}, {rows['n_steering'].iloc[0]:.0f} with an effect",
            )  # fmt: skip
            axes.plot(
                rows[f"{name}_null"], places, BASELINES["null"]["marker"], color=NULL_COLOR, ms=7,
                mew=1.5, label="null: random vectors of equal length",
            )  # fmt: skip
            by_chance = rows[f"{name}_shuffled"].where(_by_decoder(shown))
            axes.plot(
                by_chance, places, "x", color="black", ms=4.5, mew=1,
                label="null: dictionary with shuffled decoder rows",
            )  # fmt: skip
    if "share_matched" not in table or np.isnan(column(table, "share_matched")).all():
        says = "no vector steers more\nthan random ones do"
        all_axes[1].text(0.5, 0.5, says, ha="center", va="center", transform=all_axes[1].transAxes)
    all_axes[1].axvline(1, color="black", lw=0.6, ls="-", alpha=0.5)
    for axes in all_axes:
        axes.axvline(0, color="black", lw=0.5)
    all_axes[0].set_yticks(range(len(shown)), [METHODS[name] for name in shown])
    all_axes[0].invert_yaxis()
    all_axes[0].set(xlim=(-0.05, 1.02), xlabel="cosine with the vector", title="How near it comes")
    all_axes[1].set(xlabel="share of the vector's effect, at equal length", title="What it does")
    legend_below(figure, all_axes, 2)
    figure.suptitle(f"{names.model(model)}: steering vectors as sums of SAE features")
    return figure


def _by_decoder(methods: Sequence[str]) -> np.ndarray:
    """Return which methods ask the decoder: only for these a shuffled one is a null."""
    return np.array(["pursuit" in name or name == "omp" for name in methods])


def misreading(
    zero: pd.DataFrame, lost: pd.DataFrame, activations: pd.DataFrame, model: str
) -> Figure:
    """Draw when the encoder sees a vector rather than its own bias, and what its ReLU loses."""
    figure, (left, right) = panels(2, 2, (4.2, 3.4))
    values = ["overlap_zero", "overlap_zero_random", "length", "typical_length"]
    whole = means(zero, ["layer", "multiplier"], values)
    for index, ((layer,), part) in enumerate(groups(whole, "layer")):
        x = column(part, "length") / column(part, "typical_length")
        style = look(index)
        left.plot(x, part["overlap_zero"], label=f"layer {layer}", **style)
        left.plot(
            x, part["overlap_zero_random"], color=NULL_COLOR, ls=style["linestyle"], lw=1,
            label="null: random vectors of equal length",
        )  # fmt: skip
        once = x[column(part, "multiplier") == 1]
        if len(once):
            left.axvline(once[0], color=style["color"], ls=style["linestyle"], lw=0.7)
    left.set(
        xscale="log", ylim=(-0.03, 1.03), xlabel="length of v / length of activations",
        ylabel="share of the strongest features", title="Features that are the zero vector's",
    )  # fmt: skip
    _lost(right, lost, activations)
    legend_below(figure, [left, right], 2)
    figure.suptitle(f"{names.model(model)}: what the encoder makes of a steering vector")
    return figure


def _lost(axes: Axes, lost: pd.DataFrame, activations: pd.DataFrame) -> None:
    layers = sorted(lost["layer"].unique())
    x = np.arange(len(layers))
    kinds = {
        "negative_share": "features that fall, of all",
        "positive_named": "named by encode(v), of those that rise",
        "negative_named": "named by encode(v), of those that fall",
    }
    for index, (name, label) in enumerate(kinds.items()):
        for place, layer in enumerate(layers):
            values = column(where(lost, layer=layer), name)
            at = place + 0.22 * (index - 1)
            axes.plot(
                np.full(len(values), at), values, MARKERS[index + 3], color=COLORS[index + 3], ms=4,
                mfc="none", label=label,
            )  # fmt: skip
            axes.plot([at - 0.08, at + 0.08], [values.mean()] * 2, color=COLORS[index + 3], lw=2.2)
    usual = [column(where(activations, layer=layer), "negative_share").mean() for layer in layers]
    axes.hlines(
        usual, x - 0.3, x + 0.3, color="black", lw=1,
        label="taken away by signed pursuit of activations",
    )  # fmt: skip
    axes.set_xticks(x, [str(layer) for layer in layers])
    axes.set(
        xlabel="layer", ylabel="share of the difference", ylim=(-0.03, 1.03),
        title="Features that differ between prompts",
    )  # fmt: skip


def pareto(table: pd.DataFrame, model: str) -> Figure:
    """Draw effect against price of the parts of vectors; a line joins the multipliers."""
    layers = sorted(table["layer"].unique())
    figure, all_axes = panels(len(layers), 2, (6.4 if len(layers) == 1 else 4.6, 3.7))
    for axes, layer in zip(all_axes, layers, strict=True):
        rows = where(table, layer=layer)
        for index, (name, label) in enumerate(PARTS.items()):
            part = where(rows, part=name).sort_values("multiplier")
            axes.plot(part["price"], part["effect"], label=label, **look(index))
            if name in ("whole", "top_5", "top_1"):
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
        axes.set(
            xlabel="price: change of the continuation's cross-entropy (nats per token)",
            ylabel="effect (nats)",
        )  # fmt: skip
        n = rows["n_vectors"].iloc[0]
        axes.set_title(f"layer {layer}, means of {n} vectors")
    legend_below(figure, all_axes, 3)
    figure.suptitle(f"{names.model(model)}: parts of steering vectors, what they do and cost")
    return figure
