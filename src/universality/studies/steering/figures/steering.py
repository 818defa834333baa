"""Figures of steering vectors: tables in, a figure out."""

from collections.abc import Mapping

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

SPREAD = {
    "relative_change": "length of the change /\nlength of the activation",
    "changed": "share of the firing features\nthat start or stop",
}
SITES = {"resid_post": "residual stream", "mlp_out": "MLP output"}
MOST_DOSE = 1.35
"""Doses shown: beyond, the text is gibberish whatever is added."""
BAND = "#e4e4e4"
"""The range of random vectors, behind everything else."""


def contrast(key: str) -> str:
    """Return the name of a contrast `<one>_<other>`."""
    return key.replace("_", " / ")


def doses(summary: pd.DataFrame, depth: pd.DataFrame, model: str, method: str) -> Figure:
    """Draw effect against dose, a panel a layer, and last the effect of one dose in every layer.

    A dose is the length of what is added over the mean length of the activations, so that panels
    compare. Grey: the range of random vectors as long as each vector.
    """
    table = summary.loc[summary["kind"] == method]
    contrasts, layers = list(table["contrast"].unique()), sorted(table["layer"].unique())
    within = table["dose"].abs() <= MOST_DOSE
    shown = table.loc[within] if within.any() else table
    edge = 1.05 * shown["dose"].abs().max()
    low, high = shown["effect_low"].min(), shown["effect_high"].max()
    n = len(layers) + (len(depth) > 0)
    figure, all_axes = panels(n, 4, (2.35, 2.35))
    for index, (layer, axes) in enumerate(zip(layers, all_axes, strict=False)):
        for number, name in enumerate(contrasts):
            part = shown.loc[(shown["contrast"] == name) & (shown["layer"] == layer)]
            _dose(axes, part.sort_values("dose"), number)
        axes.set(xlim=(-edge, edge), ylim=(low - 1, high + 1), title=f"layer {layer}")
        axes.axhline(0, color="black", lw=0.5)
        axes.axvline(0, color="black", lw=0.5)
        axes.set_xlabel("dose")
        axes.tick_params(labelleft=index % 4 == 0)
        if index % 4 == 0:
            axes.set_ylabel("effect (nats)")
    if len(depth):
        _depth(all_axes[-1], depth)
    legend_below(figure, all_axes, 4)
    first = table.iloc[0]
    figure.suptitle(
        f"{names.model(model)}: change of log P(first words) − log P(second words) after "
        f"{first['n_prompts']} prompts\n(dose: length of what is added / length of activations)",
        fontsize=9.5,
    )
    return figure


def _dose(axes: Axes, part: pd.DataFrame, number: int) -> None:
    """Draw effect against dose, through the origin, over the range of random vectors."""
    x, value = part["dose"].to_numpy(), part["effect"].to_numpy()
    zero = np.searchsorted(x, 0)
    places = np.insert(x, zero, 0)
    low, high = (
        np.insert(part[f"effect_null_{end}"].to_numpy(), zero, 0) for end in ("low", "high")
    )
    axes.fill_between(
        places, low, high, color=BAND, lw=0, zorder=0, label="null: range of random vectors"
    )
    style = look(number)
    axes.plot(
        places, np.insert(value, zero, 0), color=style["color"], ls=style["linestyle"], lw=0.9
    )
    ends = [value - part["effect_low"], part["effect_high"] - value]
    axes.errorbar(
        x, value, yerr=np.maximum(ends, 0), fmt=style["marker"], color=style["color"], ms=3,
        lw=0.8, capsize=1.5, label=contrast(str(part["contrast"].iloc[0])) if len(part) else None,
    )  # fmt: skip


def _depth(axes: Axes, depth: pd.DataFrame) -> None:
    """Draw the mean effect over contrasts of one dose, a point a layer, and random vectors."""
    x, value = depth["layer"].to_numpy(), depth["effect"].to_numpy()
    axes.fill_between(
        x, depth["effect_null_low"], depth["effect_null_high"], color=BAND, lw=0, zorder=0,
        label="null: range of random vectors",
    )  # fmt: skip
    ends = [value - depth["effect_low"], depth["effect_high"] - value]
    axes.errorbar(
        x, value, yerr=np.nan_to_num(np.maximum(ends, 0)), fmt="-s", color="black", ms=4, capsize=2,
        label="mean of the contrasts, 95% over these",
    )  # fmt: skip
    axes.axhline(0, color="black", lw=0.5)
    axes.set_xticks(x)
    axes.set(xlabel="layer", title=f"every layer at dose {depth['dose'].iloc[0]:g}")


def prices(summary: pd.DataFrame, model: str, method: str) -> Figure:
    """Draw effect against the perplexity of what is written, a panel a contrast, a line a layer."""
    table = summary.loc[(summary["kind"] == method) & summary["perplexity_sampled"].notna()]
    contrasts, layers = table["contrast"].unique(), sorted(table["layer"].unique())
    figure, all_axes = panels(len(contrasts), 3, (3.0, 2.4), sharey=True)
    for index, (name, axes) in enumerate(zip(contrasts, all_axes, strict=True)):
        plain = table.loc[table["contrast"] == name, "perplexity_sampled_plain"].iloc[0]
        for number, layer in enumerate(layers):
            part = table.loc[(table["contrast"] == name) & (table["layer"] == layer)]
            part = part.sort_values("multiplier")
            axes.plot(
                part["effect_null"], part["perplexity_sampled_null"], ls="", mfc="none",
                mec=NULL_COLOR, marker=look(number)["marker"], ms=4,
                label="null: random vectors of equal length (mean)" if number == 0 else None,
            )  # fmt: skip
            # As it is, every line has effect 0: they all meet there.
            zero = np.searchsorted(part["multiplier"], 0)
            axes.plot(
                np.insert(part["effect"].to_numpy(), zero, 0),
                np.insert(part["perplexity_sampled"].to_numpy(), zero, plain),
                label=f"layer {layer}", lw=0.9, **look(number),
            )  # fmt: skip
        axes.axhline(plain, color="black", lw=0.7, ls=":", label="model as it is")
        axes.axvline(0, color="black", lw=0.5)
        axes.set_yscale("log")
        axes.set_title(contrast(str(name)), fontsize=9)
        axes.set_xlabel("effect (nats)")
        if index % 3 == 0:
            axes.set_ylabel("perplexity of the text")
    legend_below(figure, all_axes, 4)
    multipliers = ", ".join(f"{m:g}".replace("-", "−") for m in sorted(set(table["multiplier"])))
    figure.suptitle(f"{names.model(model)}: effect and price at multipliers {multipliers}")
    return figure


def spread(table: pd.DataFrame, model: str) -> Figure:
    """Draw how a change goes on with depth: a row a measure, a column a steered layer and site."""
    places = table.loc[:, ["steered_layer", "site"]].drop_duplicates()
    places = places.sort_values(["steered_layer", "site"], ascending=[True, False])
    contrasts = list(table["contrast"].unique())
    size = (max(3.0, 6.4 / len(places)), 2.3)
    figure, all_axes = panels(len(SPREAD) * len(places), len(places), size, sharey="row")
    for index, axes in enumerate(all_axes):
        measure, title = list(SPREAD.items())[index // len(places)]
        place = places.iloc[index % len(places)]
        part = table.loc[
            (table["steered_layer"] == place["steered_layer"]) & (table["site"] == place["site"])
        ]
        for number, name in enumerate(contrasts):
            rows = part.loc[part["contrast"] == name].sort_values("layer")
            # Each contrast beside its own random vectors, and beside its neighbours.
            x = rows["layer"] + 0.11 * (number - (len(contrasts) - 1) / 2)
            middle = (rows[f"{measure}_null_low"] + rows[f"{measure}_null_high"]) / 2
            half = (rows[f"{measure}_null_high"] - rows[f"{measure}_null_low"]) / 2
            axes.errorbar(
                x, middle, yerr=half, fmt="none", color="#bdbdbd", lw=8, zorder=0,
                label="null: range of random vectors of equal length",
            )  # fmt: skip
            ends = [rows[measure] - rows[f"{measure}_low"], rows[f"{measure}_high"] - rows[measure]]
            axes.errorbar(
                x, rows[measure], yerr=np.maximum(ends, 0), fmt=look(number)["marker"], ms=3.5,
                lw=0.8, color=look(number)["color"], label=contrast(str(name)),
            )  # fmt: skip
        axes.set_xticks(sorted(part["layer"].unique()))
        if index < len(places):
            site = SITES.get(str(place["site"]), place["site"])
            seen = f"\nseen in the {site}" if len(set(table["site"])) > 1 else ""
            axes.set_title(f"added in layer {place['steered_layer']}{seen}")
        if index >= len(all_axes) - len(places):
            axes.set_xlabel("layer")
        if index % len(places) == 0:
            axes.set_ylabel(title)
    for axes in all_axes:  # after all of a row has been drawn: they share it
        axes.set_ylim(bottom=0)
    legend_below(figure, all_axes, 4)
    multiplier = table["multiplier"].iloc[0]
    figure.suptitle(f"{names.model(model)}: what multiplier {multiplier:g} changes downstream")
    return figure


def transfer(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw B steered with its own vector and with A's, mapped, at the largest multiplier."""
    sizes = [len(_largest(table)) for table in tables.values()]
    figure, all_axes = panels(len(tables), 2, (4.4, 0.22 * max(sizes) + 1.6))
    for (pair, table), axes in zip(tables.items(), all_axes, strict=True):
        rows = _largest(table)
        for place, row in enumerate(rows.to_dict("records")):
            first = place == 0
            for offset, null, hatch, label in (
                (-0.2, "random", "", "null: range of random vectors of B"),
                (0.2, "mapped_random", "////", "null: range of random vectors of A, mapped"),
            ):
                low, high = row[f"{null}_low"], row[f"{null}_high"]
                axes.barh(
                    place + offset, high - low, 0.36, left=low, color=BAND, hatch=hatch,
                    edgecolor=NULL_COLOR, lw=0.4, label=label if first else None,
                )  # fmt: skip
            low, high = row["shuffled_low"], row["shuffled_high"]
            axes.plot(
                [low, high], [place + 0.2] * 2, color="black", lw=1,
                ls=BASELINES["null"]["linestyle"],
                label="null: range of maps of shuffled positions" if first else None,
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
        labels = [
            f"{contrast(row['contrast'])}, {row['layer_a']} to {row['layer_b']}"
            for row in rows.to_dict("records")
        ]
        axes.set_yticks(range(len(labels)), labels, fontsize=7.5)
        axes.invert_yaxis()
        axes.axvline(0, color="black", lw=0.5)
        axes.set_xlabel("effect in B (nats)")
        axes.use_sticky_edges = False  # a bar that ends at the edge looks cut
        axes.margins(x=0.05, y=0.02)
        axes.set_title(f"{names.pair(pair)}: {rows['n_prompts'].iloc[0]} prompts")
    legend_below(figure, all_axes, 2)
    figure.suptitle("Vectors of A in B, from a layer of A to a layer of B")
    return figure


def _largest(table: pd.DataFrame) -> pd.DataFrame:
    return table.loc[table["multiplier"] == table["multiplier"].max()]
