"""Figures of the language models: a table in, a figure out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from universality.plots.style import COLORS, HATCHES, NULL_COLOR, line_look, look, panels


def training_curves(logs: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the loss of each model (columns step, tokens, loss, validation_loss) over tokens."""
    figure, (axes,) = panels(1, 1, (6.0, 3.8))
    for index, (model, log) in enumerate(logs.items()):
        millions = log["tokens"] / 1e6
        axes.plot(
            millions, log["loss"], **line_look(index), alpha=0.6, lw=1, label=f"{model}, training"
        )
        checked = log["validation_loss"].notna().to_numpy()
        if checked.any():
            axes.plot(
                millions[checked],
                log["validation_loss"][checked],
                **look(index),
                markerfacecolor="white",
                label=f"{model}, validation",
            )
    axes.set(xlabel="training tokens (millions)", ylabel="cross-entropy (nats / token)")
    axes.set_title("Training of the small models")
    axes.legend()
    return figure


def cross_entropies(table: pd.DataFrame) -> Figure:
    """Draw each model's cross-entropy beside its n-gram baselines, one panel per corpus."""
    corpora = list(dict.fromkeys(table["corpus"]))
    largest = max(int((table["corpus"] == corpus).sum()) for corpus in corpora)
    figure, all_axes = panels(len(corpora), 2, (max(5.0, 1.3 + 1.05 * largest), 3.8))
    bars = [
        ("unigram", "unigram baseline", "#e0e0e0", HATCHES[1]),
        ("bigram", "bigram baseline", NULL_COLOR, HATCHES[2]),
        ("cross_entropy", "model (95% interval over documents)", COLORS[0], ""),
    ]
    for axes, corpus in zip(all_axes, corpora, strict=True):
        rows = table[table["corpus"] == corpus].reset_index(drop=True)
        for offset, (column, label, color, hatch) in enumerate(bars):
            x = rows.index.to_numpy() + 0.27 * (offset - 1)
            heights = axes.bar(
                x, rows[column], 0.25, color=color, hatch=hatch, edgecolor="black", lw=0.6,
                label=label,
            )  # fmt: skip
            axes.bar_label(heights, fmt="%.2f", fontsize=6.5, padding=4)
        low = rows["cross_entropy"] - rows["cross_entropy_low"]
        high = rows["cross_entropy_high"] - rows["cross_entropy"]
        axes.errorbar(
            rows.index + 0.27, rows["cross_entropy"], yerr=[low, high], fmt="none", ecolor="black",
            capsize=2, lw=1,
        )  # fmt: skip
        labels = [
            f"{model}\nn = {n}" for model, n in zip(rows["model"], rows["n_tokens"], strict=True)
        ]
        axes.set_xticks(rows.index, labels, fontsize=7.5)
        tallest = max(
            float(np.max(rows[name])) for name in ("unigram", "bigram", "cross_entropy_high")
        )
        axes.set_ylim(0, tallest * 1.3)
        axes.set(ylabel="cross-entropy (nats / token)")
        axes.set_title(f"Validation text of {corpus} (n: tokens of each model's own tokenizer)")
        axes.legend(ncols=3, loc="upper center", columnspacing=1)
    return figure
