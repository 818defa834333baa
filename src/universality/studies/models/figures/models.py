"""Figure of the language models: a table in, a figure out."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.core import names
from universality.core.style import BASELINES, COLORS, HATCHES, panels

_WIDTH = 0.62


def cross_entropies(table: pd.DataFrame) -> Figure:
    """Draw each model's cross-entropy, with n-grams as lines across it, one panel per corpus."""
    corpora = list(dict.fromkeys(table["corpus"]))
    known = list(names.MODELS)
    order = sorted(
        dict.fromkeys(table["model"]),
        key=lambda key: known.index(key) if key in known else len(known),
    )
    figure, all_axes = panels(len(corpora), 1, (max(5.5, 1.2 + 1.15 * len(order)), 3.6))
    for axes, corpus in zip(all_axes, corpora, strict=True):
        rows = table[table["corpus"] == corpus].set_index("model").reindex(order).dropna()
        for place, (model, row) in enumerate(rows.iterrows()):
            _bar(axes, place, str(model).startswith("random"), row)
        labels = [names.model(str(model)).replace(" LM ", "\nLM ") for model in rows.index]
        axes.set_xticks(range(len(rows)), labels)
        axes.tick_params(axis="x", length=0)
        tallest = rows[["unigram", "bigram", "cross_entropy_high"]].to_numpy().max()
        axes.set_ylim(0, 1.28 * tallest)
        axes.set_ylabel("cross-entropy (nats / token)")
        if len(corpora) > 1:
            axes.set_title(names.model(corpus))
        unigram, bigram = ({"color": "black", "ls": style, "lw": 1.6} for style in ("-", ":"))
        axes.plot([], [], **unigram, label="unigrams of the same tokens")
        axes.plot([], [], **bigram, label="bigrams of the same tokens")
        handles, texts = axes.get_legend_handles_labels()
        first = dict(zip(texts, handles, strict=True))
        axes.legend(first.values(), first.keys(), ncols=2, loc="upper left", fontsize=8.5)
    return figure


def _bar(axes: Axes, place: int, untrained: bool, row: Any) -> None:
    look: dict[str, Any] = {"color": COLORS[0], "label": "language model"}
    if untrained:
        look = {"color": BASELINES["untrained"]["color"], "hatch": HATCHES[1]}
        look |= {"label": "untrained language model"}
    height = float(row["cross_entropy"])
    low, high = height - row["cross_entropy_low"], row["cross_entropy_high"] - height
    axes.bar(place, height, _WIDTH, edgecolor="black", lw=0.7, alpha=0.85, **look)
    axes.errorbar(place, height, [[low], [high]], ecolor="black", capsize=3, lw=1.2)
    for baseline, style in (("unigram", "-"), ("bigram", ":")):
        axes.hlines(
            float(row[baseline]), place - 0.44, place + 0.44, color="black", ls=style, lw=1.6
        )
    axes.annotate(
        f"{height:.2f}", (place, height - low), xytext=(0, -5), textcoords="offset points",
        ha="center", va="top", fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip
