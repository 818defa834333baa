"""Figures of the matching study: tables in, a figure out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from universality.plots.style import COLORS, COUNTS, HATCHES, HEAT_MAP, legend_below, panels

Tables = Mapping[str, Mapping[str, pd.DataFrame]]
"""Pair -> table name -> table, as the matching stage writes them."""

PUBLISHED = {
    "features .72 (other models)": (0.72, "-."),
    "neurons .46 (other models)": (0.46, ":"),
}
"""Medians of Bricken et al. (2023), on other models: 1 layer, 512 neurons, the Pile."""


def best_r_histograms(tables: Tables, neurons: Tables) -> Figure:
    """Draw best r per feature against its null, one panel per pair, all layers of A pooled.

    Beside it the neurons of the same two models, for pairs of models that `neurons` holds.
    """
    figure, all_axes = panels(len(tables), 2, (4.6, 3.3), sharex=True)
    bins = np.linspace(-0.1, 1, 56).tolist()
    for axes, (pair, named) in zip(all_axes, tables.items(), strict=True):
        headline = named["headline"].query("selection == 'best_layer'")
        layers = headline.query("layer_a >= 0")[["layer_a", "layer_b"]]
        features = named["features"].merge(layers, on=["layer_a", "layer_b"]).query("alive")
        axes.hist(
            features["r"], bins, color=COLORS[5], histtype="stepfilled", edgecolor="black", lw=0.8,
            label="best r",
        )  # fmt: skip
        axes.hist(
            features["null_r"], bins, color="none", edgecolor="#4d4d4d", hatch="/////",
            histtype="stepfilled", lw=0.8, label="null: positions of B shifted",
        )  # fmt: skip
        if pair in neurons:
            r = neurons[pair]["features"].query("alive")["r"]
            axes.hist(
                r, bins, color=COLORS[3], histtype="step", lw=1.5, ls="--",
                label=f"neurons, same layer: n = {len(r)}, median {np.median(r):.2f}",
            )  # fmt: skip
        pooled = headline.query("layer_a < 0").iloc[0]
        meeting = named["meeting"].query("layer_a < 0").iloc[0]
        # The lines end below the legend.
        label = _median_label(pooled, meeting)
        axes.axvline(pooled["median_r"], ymax=0.6, color="black", lw=1.8, label=label)
        for name, (r, line) in PUBLISHED.items():
            axes.axvline(
                r, ymax=0.6, color=COLORS[1], ls=line, lw=1.4, label=f"Bricken 2023: {name}"
            )
        n_searched = int(pooled["n_layers_searched"])
        axes.set_title(
            f"{pair}\nn = {len(features)} features, {int(pooled['n_positions'])} positions; "
            f"best of {n_searched} layers of B",
            fontsize=8.5,
        )
        axes.set_yscale("symlog", linthresh=10)
        axes.set_ylim(0, axes.get_ylim()[1] * 40)
        axes.set(xlabel="best-match Pearson correlation r", ylabel="features of A (log above 10)")
        axes.tick_params(labelbottom=True)
        axes.legend(loc="upper right", fontsize=6.5)
    figure.suptitle("How well each feature of A is matched in B")
    return figure


def _median_label(row: pd.Series, meeting: pd.Series) -> str:
    low, high, null = row["median_r_low"], row["median_r_high"], row["median_r_null"]
    strict = meeting["median_r_null"]
    return (
        f"median {row['median_r']:.2f} [{low:.2f}, {high:.2f}]; null {null:.2f}, "
        f"same place in other stories {strict:.2f}"
    )


def scatters(tables: Tables) -> Figure:
    """Draw the activations of the kept feature pairs: a row per pair of models, best r first."""
    n_columns = max(len(named["scatter"]["pair"].unique()) for named in tables.values())
    figure = Figure(figsize=(2.6 * n_columns + 0.6, 2.5 * len(tables)))
    grid = figure.subplots(len(tables), n_columns, squeeze=False)
    images = []
    for row, (pair, named) in zip(grid, tables.items(), strict=True):
        for axes, (_, points) in zip(row, named["scatter"].groupby("pair"), strict=False):
            hexagons = axes.hexbin(
                points["a"], points["b"], gridsize=28, bins="log", mincnt=1, cmap=COUNTS,
                linewidths=0.1, rasterized=True,
            )  # fmt: skip
            images.append(hexagons)
            first = points.iloc[0]
            axes.set_title(
                f"r = {first['r']:.2f} (quantile {first['quantile']:.2f}), n = {len(points)}",
                fontsize=8,
            )
            name_a = f"A/{int(first['layer_a'])}/{int(first['feature_a'])}"
            name_b = f"B/{int(first['layer_b'])}/{int(first['partner'])}"
            axes.set_xlabel(f"activation of {name_a}", fontsize=8)
            axes.set_ylabel(f"activation of {name_b}", fontsize=8)
        for axes in row[len(named["scatter"]["pair"].unique()) :]:
            axes.remove()
        row[0].annotate(
            pair, (-0.42, 0.5), xycoords="axes fraction", rotation=90, ha="right", va="center",
            fontsize=9, fontweight="bold",
        )  # fmt: skip
    most = max((float(hexagons.get_array().max()) for hexagons in images), default=1)
    for hexagons in images:
        hexagons.set_clim(1, max(most, 10))
    if images:
        figure.colorbar(images[0], ax=grid, label="positions", shrink=0.6, aspect=30)
    figure.suptitle(
        "Activations of matched features, model / layer / feature, where either fires (n positions)"
    )
    return figure


def layer_heat_maps(tables: Tables) -> Figure:
    """Draw the median best r of every pair of layers; the null is below it in brackets."""
    figure, all_axes = panels(len(tables), 2, (4.4, 3.4))
    scale = Normalize(0, 1)
    image = None
    for axes, (pair, named) in zip(all_axes, tables.items(), strict=True):
        medians, nulls = (
            named["layers"].pivot(index="layer_a", columns="layer_b", values=column)
            for column in ("median_r", "median_r_null")
        )
        image = axes.imshow(medians.to_numpy(), cmap=HEAT_MAP, norm=scale, aspect="auto")
        for (i, j), value in np.ndenumerate(medians.to_numpy()):
            text = f"{value:.2f}\n({nulls.iat[i, j]:.2f})"
            color = "black" if value > 0.5 else "white"
            axes.text(j, i, text, ha="center", va="center", color=color, fontsize=7)
        axes.set_xticks(range(len(medians.columns)), [str(x) for x in medians.columns])
        axes.set_yticks(range(len(medians.index)), [str(x) for x in medians.index])
        n = int(named["layers"]["n_positions"].iloc[0])
        axes.set(xlabel="layer of B", ylabel="layer of A")
        axes.set_title(f"{pair}, n = {n} positions")
    if image is not None:
        figure.colorbar(image, ax=all_axes, label="median best-match r", shrink=0.7)
    figure.suptitle("Median best-match r (null in brackets)")
    return figure


PAIRINGS = {
    "a_to_b": "A to its best B",
    "b_to_a": "B to its best A",
    "one_per_b": "A to best B, one per B",
    "mutual": "mutual nearest",
    "hungarian": "one to one (Hungarian)",
    "transport": "optimal transport (entropic)",
}
FILTERS = {
    "bos_kept": "BOS kept among the positions",
    "rare_kept": "rare features kept",
    "all": "alive features, nearest",
    "concept_tokens": "concept tokens only",
    "shared_token": "and a shared top token",
    "one_per_b": "and one per B",
    "min_r": "and r above the least",
}
"""What is left after each, in order; the first two undo what is done before all others."""


def pairings(tables: Tables) -> Figure:
    """Draw the median r of the pairs and their share above the threshold, by way of pairing."""
    rows = {
        pair: named["pairings"].query("layer_a < 0").set_index("pairing")
        for pair, named in tables.items()
    }
    threshold = next(iter(tables.values()))["pairings"]["threshold"].iloc[0]
    return _grouped(rows, PAIRINGS, threshold, "Ways of pairing features")


def filters(tables: Tables) -> Figure:
    """Draw what each filter leaves: median r and share above the threshold, with the numbers."""
    rows = {}
    for pair, named in tables.items():
        steps = named["filters"].query("layer_a < 0").rename(columns={"filter": "variant"})
        kept = named["unfiltered"].rename(columns={"n_features": "n_pairs"})
        rows[pair] = pd.concat([kept, steps]).set_index("variant")
    threshold = next(iter(tables.values()))["filters"]["threshold"].iloc[0]
    return _grouped(rows, FILTERS, threshold, "Filters of pairs, one after another")


def _grouped(
    rows: Mapping[str, pd.DataFrame], known: Mapping[str, str], threshold: float, title: str
) -> Figure:
    """Draw bars for those of the names `known` that the tables have, grouped by pair of models."""
    names = {
        name: label
        for name, label in known.items()
        if any(name in table.index for table in rows.values())
    }
    figure, all_axes = panels(2, 2, (4.6, 0.66 * len(rows) * 2 + 0.6), sharey=True)
    height = 0.84 / len(names)
    colors = [*COLORS[:6], "white"]  # on black the null could not be seen
    for axes, column in zip(all_axes, ("median_r", "share_above"), strict=True):
        for index, (name, label) in enumerate(names.items()):
            found = pd.DataFrame([table.loc[name] for table in rows.values()])
            low, high, value, null = (
                found[f"{column}{end}"].to_numpy(dtype=float)
                for end in ("_low", "_high", "", "_null")
            )
            y = np.arange(len(found)) + (index - (len(names) - 1) / 2) * height
            # An interval over documents may leave out its own estimate where few pairs are left.
            ends = np.maximum([value - low, high - value], 0)
            axes.barh(
                y, value, height * 0.9, xerr=ends, color=colors[index % len(colors)],
                hatch=HATCHES[index % len(HATCHES)], edgecolor="black", lw=0.6,
                error_kw={"lw": 1}, label=label,
            )  # fmt: skip
            axes.plot(null, y, "|", color="black", ms=6, mew=2, label="null" if not index else None)
            for place, end, n in zip(y, np.maximum(high, value), found["n_pairs"], strict=True):
                axes.text(end + 0.01, place, f"{int(n)}", va="center", fontsize=5.5)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.tick_params(labelleft=True)
    all_axes[0].invert_yaxis()
    all_axes[0].set_xlabel("median r of the pairs")
    all_axes[1].set_xlabel(f"share of the pairs with r of {threshold:g} or more")
    legend_below(figure, all_axes, 3)
    figure.suptitle(
        f"{title} (all layers of A, each with its best layer of B; numbers: pairs; "
        "bars: 95% over documents)",
        fontsize=9,
    )
    return figure
