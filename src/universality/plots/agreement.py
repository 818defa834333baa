"""Figures of agreement beyond activation correlation: tables in, a figure out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.plots.style import COLORS, COUNTS, HATCHES, MARKERS, legend_below, panels

Tables = Mapping[str, Mapping[str, pd.DataFrame]]
"""Pair -> table name -> table, as the stage writes them."""

PUBLISHED = {
    "131k features, Llama 3 8B": 0.30,
    "32k features, Pythia-160M": 0.42,
}
"""Shared features of two SAE seeds by Paulo & Belrose (2025), on other models and far more data."""
_OTHERS = {"logit": "logit weights", "attribution": "attributions"}


def agreements(tables: Tables) -> Figure:
    """Draw activation r against logit-weight r and attribution r: two panels a pair of models."""
    names = list(tables)
    figure, all_axes = panels(2 * len(names), 4 if len(names) > 1 else 2, (3.0, 2.9))
    images = []
    for index, axes in enumerate(all_axes):
        name, kind = names[index // 2], list(_OTHERS)[index % 2]
        pairs, row = tables[name]["pairs"], _pooled(tables[name]["summary"])
        images.append(
            axes.hexbin(
                pairs["r"], pairs[f"{kind}_r"], gridsize=30, extent=(-0.05, 1, -1, 1), bins="log",
                mincnt=1, cmap=COUNTS, linewidths=0.1, rasterized=True,
            )
        )  # fmt: skip
        axes.axhline(0, color="black", lw=0.6)
        axes.plot([row["threshold"]] * 2, [-1, 0], color="black", lw=0.8, ls="--")
        axes.plot([row["threshold"], 1], [0, 0], color="black", lw=0.8, ls="--")
        axes.text(
            0.02, 0.02, _corner(row, kind), transform=axes.transAxes, fontsize=6, va="bottom",
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1},
        )  # fmt: skip
        axes.set(xlim=(-0.05, 1.02), ylim=(-1.04, 1.04), xlabel="activation r of the best partner")
        axes.set_ylabel(f"its r of {_OTHERS[kind]}")
        rho, null = row[f"rank_r_{kind}"], row[f"rank_r_{kind}_null"]
        title = f"{name}\n" if index % 2 == 0 else "\n"
        title += f"n = {len(pairs)}; Spearman {rho:.2f} (null {null:.2f})"
        axes.set_title(title, fontsize=7.5, loc="left")
    most = max(float(image.get_array().max()) for image in images)
    for image in images:
        image.set_clim(1, max(most, 10))
    figure.colorbar(images[0], ax=all_axes, label="features of A", shrink=0.5, aspect=30)
    figure.suptitle("Do features that fire together write the same? (all layers of A pooled)")
    return figure


def _pooled(summary: pd.DataFrame) -> dict[str, float]:
    row = summary.query("layer_a < 0").iloc[0]
    return {str(name): float(value) for name, value in row.items()}


def _corner(row: dict[str, float], kind: str) -> str:
    name = f"high_negative_{kind}"
    if not row["n_high"]:
        return f"no r of {row['threshold']:g} or more"
    low, high = (100 * row[f"{name}_{end}"] for end in ("low", "high"))
    return (
        f"{int(row['n_high'])} with r of {row['threshold']:g} or more;\nof these negative: "
        f"{100 * row[name]:.1f}%\n[{low:.1f}, {high:.1f}], null {100 * row[f'{name}_null']:.0f}%"
    )


_DISAGREEMENTS = {
    "best partner by attribution is another": "partner_differs",
    "activation r high, logit weights' r negative": "high_negative_logit",
    "activation r high, attribution r negative": "high_negative_attribution",
}
_HALVES = {
    "by activation, between halves of the text": ("partner_differs_between_halves", "s"),
    "by attribution, between halves of the text": (
        "attribution_partner_differs_between_halves",
        "D",
    ),
}


def disagreements(tables: Tables) -> Figure:
    """Draw how often partners differ and how often alike activations come with opposite writing."""
    rows = pd.DataFrame([_pooled(named["summary"]) for named in tables.values()])
    figure, all_axes = panels(2, 2, (4.6, 0.5 * len(rows) + 1.6), sharey=True)
    y = np.arange(len(rows), dtype=float)
    names = list(_DISAGREEMENTS.items())
    _bars(all_axes[0], y, rows, *names[0], 0, 0.5)
    for label, (column, marker) in _HALVES.items():
        all_axes[0].plot(
            rows[column], y, marker, color="white", mec="black", ms=5, label=f"partner {label}"
        )
    for index, (label, column) in enumerate(names[1:], 1):
        _bars(all_axes[1], y + (index - 1.5) * 0.4, rows, label, column, index, 0.36)
    for place, n_high in zip(y, rows["n_high"], strict=True):
        if not n_high:
            all_axes[1].text(0.01, place, "no such pair", va="center", fontsize=7)
    all_axes[0].set_xlabel("share of A's features")
    threshold = rows["threshold"].iloc[0]
    all_axes[1].set_xlabel(f"share of the pairs with activation r of {threshold:g} or more")
    labels = [f"{name}\nn = {int(n)}" for name, n in zip(tables, rows["n_features"], strict=True)]
    all_axes[0].set_yticks(y, labels, fontsize=7.5)
    all_axes[0].invert_yaxis()
    for axes in all_axes:
        axes.set_xlim(0, 1.05)
    legend_below(figure, all_axes, 2)
    figure.suptitle(
        "How often activations and what features write disagree (all layers of A pooled; bars: "
        "95% over features, of attribution r over documents)",
        fontsize=8.5,
    )
    return figure


def _bars(
    axes: Axes, y: np.ndarray, rows: pd.DataFrame, label: str, column: str, index: int,
    height: float,
) -> None:  # fmt: skip
    value, low, high, null = (
        rows[f"{column}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high", "_null")
    )
    axes.barh(
        y, value, height, xerr=[value - low, high - value], color=COLORS[index + 3],
        hatch=HATCHES[index], edgecolor="black", lw=0.6, error_kw={"lw": 1}, label=label,
    )  # fmt: skip
    axes.plot(null, y, "|", color="black", ms=30 * height, mew=2, label=None if index else "null")


_PAIRINGS = {
    "a_to_b": "nearest by decoder, A to B",
    "b_to_a": "nearest by decoder, B to A",
    "mutual": "mutual nearest by decoder",
    "hungarian_decoder": "Hungarian on decoders",
    "hungarian_encoder": "Hungarian on encoders",
    "hungarian_mean": "Hungarian on the mean of both",
    "hungarian_both": "same partner on decoders and on encoders",
}
_MEASURES = {"decoder": "decoder cosine", "encoder": "encoder cosine", "mean": "mean of both"}


def weight_pairings(tables: Tables) -> Figure:
    """Draw the share of features with a partner above the threshold, by way of pairing by weights.

    Only for the pairs that are SAEs of one LM, of which there must be one.
    """
    found = {name: named["weights"] for name, named in tables.items() if "weights" in named}
    figure, all_axes = panels(len(found), 2, (6.4, 4.2), sharex=True)
    y = np.arange(len(_PAIRINGS), dtype=float)
    for axes, (name, table) in zip(all_axes, found.items(), strict=True):
        pooled = table.query("layer < 0")
        for index, (measure, label) in enumerate(_MEASURES.items()):
            rows = pooled.query(f"measure == {measure!r}").set_index("pairing").loc[[*_PAIRINGS]]
            value, low, high, null = (
                rows[f"share_above{end}"].to_numpy() for end in ("", "_low", "_high", "_null")
            )
            place = y + (index - 1) * 0.22
            axes.errorbar(
                value, place, xerr=[value - low, high - value], fmt=MARKERS[index],
                color=COLORS[index], label=label,
            )  # fmt: skip
            axes.plot(
                null, place, "|", color="black", ms=8, mew=1.6, label=None if index else "null"
            )
        for (label, share), line in zip(PUBLISHED.items(), ("-.", ":"), strict=True):
            axes.axvline(
                share, color=COLORS[6], ls=line, lw=1.2,
                label=f"Paulo & Belrose 2025, other models: {label}",
            )  # fmt: skip
        first = pooled.iloc[0]
        axes.set_yticks(y, list(_PAIRINGS.values()), fontsize=8)
        axes.invert_yaxis()
        axes.set(xlim=(-0.02, 1))
        axes.set_xlabel(f"share of features with a partner of cosine above {first['threshold']:g}")
        axes.set_title(
            f"{name}: n = {int(first['n'])} features, {table['layer'].nunique() - 1} layers",
            fontsize=8.5,
        )
    legend_below(figure, all_axes, 2)
    figure.suptitle(
        "Features of two SAE seeds paired by their weights\n(null: B's coordinates permuted; bars: "
        "95% over features)",
        fontsize=9,
    )
    return figure
