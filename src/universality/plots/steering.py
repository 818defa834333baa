"""Figures of steering vectors: tables in, a figure out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.plots.style import COLORS, MARKERS, NULL_COLOR, legend_below, look, panels

SPREAD = {
    "relative_change": "change / activation (length)",
    "changed": "features that start or stop,\nshare of those that fire",
    "top_change": "mean change of the features\nthat change most",
}
_SITES = {"resid_post": "residual stream", "mlp_out": "MLP output"}


def doses(summary: pd.DataFrame, model: str, method: str) -> Figure:
    """Draw the effect of every vector against its multiplier, a row a contrast, a column a layer.

    Grey: 95% of random vectors of equal length.
    """
    table = summary.loc[summary["kind"] == method]
    contrasts, layers = table["contrast"].unique(), sorted(table["layer"].unique())
    size = (max(1.75, 6.6 / len(layers)), 1.45)
    figure, all_axes = panels(
        len(contrasts) * len(layers), len(layers), size, sharex=True, sharey="row"
    )
    for index, axes in enumerate(all_axes):
        row, column = divmod(index, len(layers))
        name, layer = contrasts[row], layers[column]
        part = table.loc[(table["contrast"] == name) & (table["layer"] == layer)]
        part = part.sort_values("multiplier")
        _dose(axes, part)
        if row == 0:
            axes.set_title(f"layer {layer}", fontsize=8.5)
        if row == len(contrasts) - 1:
            axes.set_xlabel("multiplier")
        if column == 0:
            axes.set_ylabel(f"{name}\neffect (nats)", fontsize=7.5)
    legend_below(figure, all_axes, 2)
    n = table.iloc[0]
    figure.suptitle(
        f"{model}: change of log P(first words) − log P(second words) after the prompt\n"
        f"(n = {n['n_prompts']} prompts each, bars 95%; {n['n_random']} random vectors)",
        fontsize=9,
    )
    return figure


def _dose(axes: Axes, part: pd.DataFrame) -> None:
    """Draw effect against multiplier, through the origin, over the band of random vectors."""
    x, value = part["multiplier"].to_numpy(), part["effect"].to_numpy()
    ends = [value - part["effect_low"], part["effect_high"] - value]
    zero = np.searchsorted(x, 0)
    places = np.insert(x, zero, 0)
    low, high = (
        np.insert(part[f"effect_null_{end}"].to_numpy(), zero, 0) for end in ("low", "high")
    )
    axes.fill_between(
        places, low, high, color=NULL_COLOR, alpha=0.45, lw=0, label="null: random vectors, 95%"
    )
    axes.plot(places, np.insert(value, zero, 0), color=COLORS[0], lw=1)
    axes.errorbar(
        x, value, yerr=np.maximum(ends, 0), fmt=MARKERS[0], ms=3, capsize=1.5, color=COLORS[0],
        label="steering vector",
    )  # fmt: skip
    axes.axhline(0, color="black", lw=0.5)
    axes.tick_params(labelsize=7)


def prices(summary: pd.DataFrame, model: str, method: str) -> Figure:
    """Draw effect against the perplexity of what is written, a panel a contrast, a line a layer."""
    table = summary.loc[(summary["kind"] == method) & summary["perplexity_sampled"].notna()]
    contrasts, layers = table["contrast"].unique(), sorted(table["layer"].unique())
    figure, all_axes = panels(len(contrasts), 3, (2.9, 2.5))
    for name, axes in zip(contrasts, all_axes, strict=True):
        plain = table.loc[table["contrast"] == name, "perplexity_sampled_plain"].iloc[0]
        for index, layer in enumerate(layers):
            part = table.loc[(table["contrast"] == name) & (table["layer"] == layer)]
            part = part.sort_values("multiplier")
            axes.plot(
                part["effect_null"], part["perplexity_sampled_null"], ls="", mfc="none",
                mec=NULL_COLOR, marker=look(index)["marker"], ms=4,
                label="null: random vectors of equal length (mean)" if index == 0 else None,
            )  # fmt: skip
            # As it is, every line has effect 0: they all meet there.
            zero = np.searchsorted(part["multiplier"], 0)
            axes.plot(
                np.insert(part["effect"].to_numpy(), zero, 0),
                np.insert(part["perplexity_sampled"].to_numpy(), zero, plain),
                label=f"layer {layer}", lw=0.9, **look(index),
            )  # fmt: skip
        axes.axhline(plain, color="black", lw=0.7, ls=":", label="as it is")
        axes.axvline(0, color="black", lw=0.5)
        axes.set_yscale("log")
        axes.set_title(name, fontsize=9)
        axes.set(xlabel="effect (nats)", ylabel="perplexity of the text")
    legend_below(figure, all_axes, 5)
    multipliers = ", ".join(f"{m:g}" for m in sorted(table["multiplier"].unique()))
    figure.suptitle(
        f"{model}: effect and side effect at multipliers {multipliers} (sampled continuations, "
        "perplexity under the model as it is)",
        fontsize=9,
    )
    return figure


def spread(table: pd.DataFrame, model: str) -> Figure:
    """Draw how a change goes on with depth: a row a measure, a column a steered layer and site."""
    places = table.loc[:, ["steered_layer", "site"]].drop_duplicates()
    places = places.sort_values(["steered_layer", "site"], ascending=[True, False])
    contrasts = table["contrast"].unique()
    size = (max(2.3, 6.0 / len(places)), 2.0)  # wide enough for title and legend
    figure, all_axes = panels(len(SPREAD) * len(places), len(places), size, sharey="row")
    for index, axes in enumerate(all_axes):
        measure, title = list(SPREAD.items())[index // len(places)]
        where = places.iloc[index % len(places)]
        part = table.loc[
            (table["steered_layer"] == where["steered_layer"]) & (table["site"] == where["site"])
        ]
        for number, name in enumerate(contrasts):
            rows = part.loc[part["contrast"] == name].sort_values("layer")
            axes.plot(
                rows["layer"], rows[f"{measure}_null"], ls=":", color=NULL_COLOR,
                marker=look(number)["marker"], mfc="none", ms=3.5, lw=0.8,
                label="null: random vectors of equal length" if number == 0 else None,
            )  # fmt: skip
            axes.plot(rows["layer"], rows[measure], label=name, **look(number), lw=1)
        axes.set_xticks(sorted(part["layer"].unique()))
        if index < len(places):
            site = _SITES.get(str(where["site"]), where["site"])
            axes.set_title(f"added in layer {where['steered_layer']}\n{site}", fontsize=8.5)
        if index >= len(all_axes) - len(places):
            axes.set_xlabel("layer")
        if index % len(places) == 0:
            axes.set_ylabel(title, fontsize=7.5)
    for axes in all_axes:  # after all of a row has been drawn: they share it
        axes.set_ylim(bottom=0)
    legend_below(figure, all_axes, 4)
    first = table.iloc[0]
    figure.suptitle(
        f"{model}: what multiplier {first['multiplier']:g} changes downstream\n"
        f"({first['n_positions']} positions of {first['n_documents']} documents, "
        f"{first['n_random']} random vectors)",
        fontsize=9,
    )
    return figure


def transfer(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw B steered with its own vector and with A's, mapped, at the largest multiplier."""
    sizes = [len(_largest(table)) for table in tables.values()]
    figure, all_axes = panels(len(tables), 2, (5.2, 0.24 * max(sizes) + 1.9))
    for (pair, table), axes in zip(tables.items(), all_axes, strict=True):
        rows = _largest(table)
        for place, row in enumerate(rows.to_dict("records")):
            first = place == 0
            for offset, null, hatch, label in (
                (-0.2, "random", "", "null: random vectors of B, 95%"),
                (0.2, "mapped_random", "////", "null: random vectors of A, mapped, 95%"),
            ):
                low, high = row[f"{null}_low"], row[f"{null}_high"]
                axes.barh(
                    place + offset, high - low, 0.36, left=low, color="#d9d9d9", hatch=hatch,
                    edgecolor=NULL_COLOR, lw=0.4, label=label if first else None,
                )  # fmt: skip
            low, high = row["shuffled_low"], row["shuffled_high"]
            axes.plot(
                [low, high], [place + 0.2] * 2, color="black", lw=1, ls=":",
                label="null: map of shuffled positions, 95%" if first else None,
            )  # fmt: skip
            for offset, kind, index, label in (
                (-0.2, "own", 0, "B's own vector"), (0.2, "mapped", 1, "A's vector, mapped"),
            ):  # fmt: skip
                value = row[kind]
                ends = [[max(value - row[f"{kind}_low"], 0)], [max(row[f"{kind}_high"] - value, 0)]]
                axes.errorbar(
                    value, place + offset, xerr=ends, fmt=MARKERS[index], ms=4, capsize=2,
                    color=COLORS[index], label=label if first else None,
                )  # fmt: skip
        names = [
            f"{row['contrast']}, {row['layer_a']} to {row['layer_b']}"
            for row in rows.to_dict("records")
        ]
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.invert_yaxis()
        axes.axvline(0, color="black", lw=0.5)
        axes.set_xlabel("effect in B (nats)")
        axes.set_title(
            f"{pair}, multiplier {rows['multiplier'].iloc[0]:g}, "
            f"n = {rows['n_prompts'].iloc[0]} prompts",
            fontsize=8.5,
        )
    legend_below(figure, all_axes, 2)
    figure.suptitle(
        "Vectors of A in B, layer of A to layer of B (bars: 95% over prompts)", fontsize=9
    )
    return figure


def _largest(table: pd.DataFrame) -> pd.DataFrame:
    return table.loc[table["multiplier"] == table["multiplier"].max()]


def matched(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw whether matched features change together: a point a pair of layers."""
    kinds = {"own": "B's own vector", "mapped": "A's vector, mapped", "random": "random vectors"}
    figure, all_axes = panels(len(tables), 2, (5.2, 3.4), sharey=True)
    for (pair, table), axes in zip(tables.items(), all_axes, strict=True):
        contrasts = table["contrast"].unique()
        for index, (kind, label) in enumerate(kinds.items()):
            for place, name in enumerate(contrasts):
                part = table.loc[(table["contrast"] == name) & (table["steered_b"] == kind)]
                x = place + 0.22 * (index - 1) + np.linspace(-0.07, 0.07, len(part))
                control = kind == "random"
                axes.plot(
                    x, part["spearman"], MARKERS[index], ms=3.5, ls="",
                    color=NULL_COLOR if control else COLORS[index],
                    mfc="none" if control else None,
                    label=f"{'null: ' * control}B steered with {label}" if place == 0 else None,
                )  # fmt: skip
        axes.axhline(0, color="black", lw=0.5, label="null: partners permuted (mean)")
        axes.set_xticks(range(len(contrasts)), list(contrasts), fontsize=7, rotation=20)
        axes.set_ylabel("Spearman correlation of changes")
        n = table["n_pairs"]
        axes.set_title(f"{pair}, n = {n.min()} to {n.max()} pairs", fontsize=8.5)
    legend_below(figure, all_axes, 2)
    figure.suptitle(
        "Do matched features change together? A steered with its own vector", fontsize=9
    )
    return figure
