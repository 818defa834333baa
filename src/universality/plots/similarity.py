"""Figures of the study of spaces: tables in, a figure out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from universality.plots.matching import FILTERS, PAIRINGS
from universality.plots.style import COLORS, HEAT_MAP, MARKERS, legend_below, panels
from universality.tables import where

NAMES = {
    "cca": "CCA (mean)",
    "cca_r2": "CCA (R²)",
    "svcca": "SVCCA (99%)",
    "svcca_k1_as_published": "SVCCA as published (k = 1)",
    "pwcca": "PWCCA",
    "regularised_cca": "regularised CCA",
    "regression_r2": "regression R²",
    "procrustes": "Procrustes",
    "linear_cka": "linear CKA (biased)",
    "linear_cka_unbiased": "linear CKA (unbiased)",
    "rbf_cka": "RBF CKA (unbiased)",
    "rsa": "RSA (Spearman)",
    "rsa_pearson": "RSA (Pearson)",
    "pairwise_distance_pearson": "distances (Pearson)",
    "distance_correlation": "distance correlation",
    "mutual_knn": "mutual k-NN",
}
"""Measures in the order in which they are drawn."""
IN_MAPS = ("svcca", "regression_r2", "linear_cka_unbiased", "rbf_cka", "rsa", "mutual_knn")
SPACES = {"activations": "LM activations", "features": "SAE features"}
Pairs = Mapping[str, pd.DataFrame]
MEASURES_KEY = (
    "highest of all pairs of layers",
    "null: documents of B permuted",
    "untrained LM instead of B",
)
DECODERS_KEY = ("partners", "null: partners exchanged", "random features, as many")
_HOLLOW = {"marker": MARKERS[2], "mfc": "none"}


def _mark(
    axes: Axes,
    place: float,
    row: Mapping[str, Any] | pd.Series,
    key: tuple[str, str, str] | None = None,
    second: str = "",
    look: Mapping[str, Any] | None = None,
) -> None:
    """Mark a value with its interval and its null, and the number `second` if the row has it.

    `key` names the three for the legend, where each name is shown once.
    """
    names = key or (None, None, None)
    value = row["value"]
    ends = [[max(value - row["low"], 0)], [max(row["high"] - value, 0)]]
    axes.errorbar(
        value, place, xerr=ends, fmt=MARKERS[0], color=COLORS[5], ms=4, capsize=2, label=names[0]
    )
    axes.plot(row["null"], place, "|", color="black", ms=8, mew=1.5, label=names[1])
    if second in row and np.isfinite(row[second]):
        style = {"color": COLORS[1], "ls": "", "ms": 4, **(look or {})}
        axes.plot(row[second], place, label=names[2], **style)


def heat_maps(table: pd.DataFrame, pair: str) -> Figure:
    """Draw every layer of A against every layer of B by some measures, null in brackets."""
    figure, all_axes = panels(2 * len(IN_MAPS), len(IN_MAPS), (2.5, 2.6))
    image = None
    for index, axes in enumerate(all_axes):
        space, measure = list(SPACES)[index // len(IN_MAPS)], IN_MAPS[index % len(IN_MAPS)]
        part = where(table, space=space, measure=measure)
        values, nulls, q = (
            part.pivot(index="layer_a", columns="layer_b", values=column)
            for column in ("value", "null", "q")
        )
        image = axes.imshow(values.to_numpy(), cmap=HEAT_MAP, norm=Normalize(0, 1), aspect="auto")
        for (i, j), value in np.ndenumerate(values.to_numpy()):
            mark = "" if q.iat[i, j] < 0.05 else " ns"
            null = max(nulls.iat[i, j], 0)  # not -0.00
            axes.text(
                j, i, f"{value:.2f}{mark}\n({null:.2f})", ha="center", va="center",
                color="black" if value > 0.5 else "white", fontsize=5.5,
            )  # fmt: skip
        axes.set_xticks(range(values.shape[1]), [str(x) for x in values.columns])
        axes.set_yticks(range(values.shape[0]), [str(x) for x in values.index])
        axes.set_title(f"{NAMES[measure]}\n{SPACES[space]}, n = {part['n'].iloc[0]}", fontsize=7.5)
        axes.set(xlabel="layer of B", ylabel="layer of A")
    if image is not None:
        figure.colorbar(image, ax=all_axes, shrink=0.6, aspect=30)
    of_cca = {space: where(table, space=space, measure="cca") for space in SPACES}
    shares = "; ".join(
        f"{SPACES[space]} {part['kept_a'].min():.0%} and {part['kept_b'].min():.0%}"
        for space, part in of_cca.items()
    )
    d = max(part["d_a"].to_numpy().max() for part in of_cca.values())
    figure.suptitle(
        f"{pair}: similarity (mean of permuted documents in brackets; ns: q > .05). SVCCA and "
        f"regression in {d} principal components, at least: {shares} of the variance",
        fontsize=8.5,
    )
    return figure


def measures(pairs: Pairs) -> Figure:
    """Draw each measure at the layers it finds most alike, beside null and untrained LM."""
    figure, all_axes = panels(len(pairs) * len(SPACES), len(SPACES), (4.8, 3.4), sharex=True)
    for index, axes in enumerate(all_axes):
        pair, space = list(pairs)[index // len(SPACES)], list(SPACES)[index % len(SPACES)]
        table = where(pairs[pair], space=space)
        for place, measure in enumerate(NAMES):
            part = where(table, measure=measure)
            best = part.loc[part["value"].idxmax()]
            _mark(axes, place, best, MEASURES_KEY, "random_lm", {"marker": MARKERS[2]})
            note = " (n < 5 d)" if best["few"] else ""
            axes.text(
                1.02, place, f"{int(best['layer_a'])}, {int(best['layer_b'])}{note}", fontsize=6,
                va="center",
            )  # fmt: skip
        axes.set_yticks(range(len(NAMES)), list(NAMES.values()), fontsize=7)
        axes.invert_yaxis()
        axes.axvline(0, color="black", lw=0.5)
        axes.set_xlim(-0.1, 1.2)
        axes.set_title(f"{pair}, {SPACES[space]}", fontsize=8.5)
        axes.set_xlabel("similarity (right: layer of A, layer of B)")
        axes.tick_params(labelbottom=True)
    legend_below(figure, all_axes, 3)
    figure.suptitle("Every measure where it is highest (bars: 95% over documents)")
    return figure


def decoders(pairs: Pairs) -> Figure:
    """Draw the decoder rows of every pairing and filter, at the layers that are most alike."""
    columns = ("svcca_k1_as_published", "svcca", "linear_cka_unbiased", "rsa")
    ways = PAIRINGS | {f"filter_{name}": label for name, label in FILTERS.items()}
    shown = {
        name: label
        for name, label in ways.items()
        if any((table["pairing"] == name).any() for table in pairs.values())
    }
    figure, all_axes = panels(
        len(pairs) * len(columns), len(columns), (2.5, 0.17 * len(shown) + 1.4), sharey=True
    )
    for index, axes in enumerate(all_axes):
        pair, measure = list(pairs)[index // len(columns)], columns[index % len(columns)]
        table = where(pairs[pair], best=True, measure=measure)
        for place, name in enumerate(shown):
            for row in where(table, pairing=name).to_dict("records"):
                _mark(axes, place, row, DECODERS_KEY, "random", _HOLLOW)
                axes.text(1.03, place, f"{int(row['n'])}", fontsize=5.5, va="center")
        axes.set_yticks(range(len(shown)), list(shown.values()), fontsize=6.5)
        axes.set_title(f"{pair}\n{NAMES[measure]}", fontsize=7.5)
        axes.axvline(0, color="black", lw=0.5)
        axes.set_xlim(-0.15, 1.18)
    all_axes[0].invert_yaxis()
    legend_below(figure, all_axes, 3)
    figure.suptitle(
        "Decoder rows of matched features, at the layers most alike (right: pairs; bars: 95%)"
    )
    return figure


def concepts(decoders: Pairs, inside: Pairs, relations: Pairs) -> Figure:
    """Draw concepts: decoder rows of their features, activations at their words, relations."""
    figure, all_axes = panels(3 * len(decoders), 3, (3.6, 3.0))
    for index, axes in enumerate(all_axes):
        pair, kind = list(decoders)[index // 3], index % 3
        if kind == 2:
            _relations(axes, relations[pair])
            axes.set_title(f"{pair}: concept to concept", fontsize=8)
            continue
        if kind == 0:
            table, second = decoders[pair].query("measure == 'rsa'"), "random partners, as many"
            title = f"{pair}: decoder rows, RSA"
        else:
            table = inside[pair].query(
                "space == 'activations' and measure == 'linear_cka_unbiased'"
            )
            second, title = "random positions, as many", f"{pair}: activations, unbiased CKA"
        key = ("concept", "null: permuted", second)
        hollow = {"marker": MARKERS[2 + kind], "color": COLORS[1 + kind], "mfc": "none"}
        for place, row in enumerate(table.to_dict("records")):
            _mark(axes, place, row, key, "random", hollow)
        if table.empty:
            axes.text(0.5, 0.5, "no concept has pairs enough", ha="center", fontsize=8)
        names = [f"{row['concept']} ({int(row['n'])})" for row in table.to_dict("records")]
        axes.set_yticks(range(len(names)), names, fontsize=6.5)
        axes.invert_yaxis()
        axes.axvline(0, color="black", lw=0.5)
        axes.set_title(title, fontsize=8)
    legend_below(figure, all_axes, 4)
    figure.suptitle("Inside concepts (n in brackets), and from concept to concept")
    return figure


def _relations(axes: Axes, table: pd.DataFrame) -> None:
    for place, (space, part) in enumerate(table.groupby("space", sort=False)):
        best = part.loc[part.groupby("layer_a")["value"].idxmax()]
        x = best["layer_a"] + 0.1 * place
        value = best["value"].to_numpy()
        ends = np.maximum([value - best["low"], best["high"] - value], 0)
        axes.errorbar(
            x, value, yerr=ends, fmt=MARKERS[place], color=COLORS[5 - 2 * place], capsize=2, ms=4,
            label=f"{SPACES[str(space)]}, best layer of B",
        )  # fmt: skip
        axes.plot(x, best["null"], "_", color="black", ms=8)
    axes.axhline(0, color="black", lw=0.5)
    axes.set_xticks(sorted(table["layer_a"].unique()))
    axes.set(xlabel="layer of A", ylabel="RSA of centroids", ylim=(-0.4, 1.1))


def audit(random: pd.DataFrame, variants: pd.DataFrame, published: Mapping[str, float]) -> Figure:
    """Draw what SVCCA gives for nothing, and as released and corrected on our models.

    `published` are the values of Lan et al. 2024, by name, beside ours.
    """
    figure, all_axes = panels(2, 2, (5.2, 3.6))
    left, right = all_axes
    for index, (name, label) in enumerate(
        {"svcca": "99% of the variance", "svcca_k1": "k = 1, as published"}.items()
    ):
        value = random[name].to_numpy()
        ends = [value - random[f"{name}_low"], random[f"{name}_high"] - value]
        left.errorbar(
            random["n"], value, yerr=np.maximum(ends, 0), fmt=f"{MARKERS[index]}-",
            color=COLORS[5 - 2 * index], capsize=2, label=label,
        )  # fmt: skip
    left.plot(
        random["n"], random["k1_theory"], ":", color="black", label="√(2 / πn), theory for k = 1"
    )
    d_a, d_b = int(random["d_a"].iloc[0]), int(random["d_b"].iloc[0])
    left.axvline(5 * (d_a + d_b), color="black", lw=0.7, ls="--", label="n = 5 (d₁ + d₂)")
    left.set(
        xscale="log", ylim=(0, 1.05), xlabel="n (unrelated Gaussian rows)", ylabel="SVCCA",
        title=f"What SVCCA gives for nothing, {d_a} and {d_b} columns",
    )  # fmt: skip
    left.legend(fontsize=7)
    rows = []
    for measure, shown in (("svcca_k1_as_published", "k = 1"), ("svcca", "99%")):
        for row in where(variants, measure=measure).to_dict("records"):
            hook = "own layer" if row["hook"] == "own" else "layer before"
            kept = "concept tokens only" if row["filter"] == "concept_tokens" else "no token filter"
            rows.append((f"ours, {shown}: {hook}, {kept}, n = {int(row['n'])}", row))
    for place, (label, value) in enumerate(published.items()):
        right.plot(value, place, MARKERS[3], color=COLORS[1], ms=4)
        right.text(-0.02, place, label, ha="right", va="center", fontsize=6.5)
    for place, (label, row) in enumerate(rows, start=len(published)):
        _mark(right, place, row)
        right.text(-0.02, place, label, ha="right", va="center", fontsize=6.5)
    right.set(xlim=(0, 1), xlabel="SVCCA of decoder rows (|: partners exchanged)")
    right.set_yticks([])
    right.invert_yaxis()
    right.set_title("Published, and on our models", fontsize=9)
    return figure
