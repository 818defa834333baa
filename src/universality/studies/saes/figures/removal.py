"""Figures of what SAEs lose and gain when features are removed or scaled: tables in, a figure out.

Tables are those of `universality sae-errors`: model -> table name -> table.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from universality.core import names
from universality.core.style import COLORS, LINES, NULL_COLOR, legend_below, look, panels
from universality.studies.saes.figures.token_error import Tables, interval_line, null_look

REMOVED = {
    "lowest": ("the weakest active features", 0),
    "random": ("as many random ones", None),
    "highest": ("the strongest ones", 1),
}
"""`which` of a removal -> label, index of its look; None is the look of nulls."""


def removals(tables: Tables) -> Figure:
    """Draw CE added against active features removed per token, three layers of each model."""
    cells = _cells(tables, "removal", 3)
    figure, all_axes = panels(len(cells), min(3, len(cells)), (2.9, 2.3))
    for axes, (title, rows) in zip(all_axes, cells, strict=True):
        start = rows.loc[rows["removed"] == 0]
        for index, (which, (label, color)) in enumerate(REMOVED.items()):
            part = pd.concat([start, rows.loc[(rows["which"] == which) & (rows["removed"] > 0)]])
            x = part["removed"].to_numpy() * (1 + 0.05 * (index - 1))
            interval_line(axes, x, part, "ce_difference", label, _series_look(color))
        _power_of_two_axis(axes, rows["removed"].to_numpy())
        if rows["ce_difference"].to_numpy().min() > 0:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(f"{title} (L0 {float(start['l0'].iloc[0]):.0f})")
        axes.set_xlabel("features removed / token")
        axes.set_ylabel("CE added (nats / token)")
    legend_below(figure, all_axes, 3)
    return figure


def _power_of_two_axis(axes: Axes, values: np.ndarray) -> None:
    axes.set_xscale("symlog", linthresh=1, linscale=0.5, base=2)
    ticks = sorted(set(values.astype(int).tolist()))
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(-0.4, 1.3 * max(ticks))


def high_frequency(tables: Tables, evaluations: pd.DataFrame) -> Figure:
    """Draw CE recovered against L0 as features go, beside SAEs that were trained to that L0.

    `evaluations` has one row per trained SAE: model, hook, l0, ce_loss_recovered and its _low and
    _high; rows of other models and hooks are not drawn.
    """
    cells = _cells(tables, "removal")
    series = {
        "high_frequency": ("densest features removed", look(1)),
        "random": ("random features of equal L0 removed (null)", null_look()),
    }
    figure, all_axes = panels(len(cells), 5, (2.6, 2.4))
    for axes, (title, rows) in zip(all_axes, cells, strict=True):
        model, sae, hook = (rows[name].iloc[0] for name in ("model", "sae", "hook"))
        weak = rows.loc[rows["which"] == "lowest"]
        frequency = tables[model]["frequency"]
        for which, (label, how) in series.items() if len(frequency) else ():
            wanted = (frequency["sae"] == sae) & (frequency["which"] == which)
            part = pd.concat([weak.loc[weak["removed"] == 0], frequency.loc[wanted]])
            interval_line(axes, part["l0"], part, "ce_loss_recovered", label, how)
        interval_line(
            axes, weak["l0"], weak, "ce_loss_recovered", "lowest of each token removed", look(0)
        )
        trained = evaluations.loc[
            (evaluations["model"] == model) & (evaluations["hook"] == hook)
        ].sort_values(by="l0")
        how = {"color": COLORS[2], "marker": "*", "linestyle": "none", "markersize": 9}
        interval_line(
            axes, trained["l0"], trained, "ce_loss_recovered", "SAEs trained to that L0", how
        )
        axes.set_ylim(max(-0.5, axes.get_ylim()[0]), 1.04)
        axes.set_title(title)
        axes.set(xlabel="L0 (active features / token)", ylabel="CE recovered\n(zero ablation)")
    legend_below(figure, all_axes, 4)
    figure.suptitle("Ways to a lower L0 (bars: 95% over documents)")
    return figure


def norms_and_scales(tables: Tables) -> Figure:
    """Draw, a row per model: norms of reconstructions, feature scales, and what scales recover."""
    figure = Figure(figsize=(13.2, 3.0 * len(tables) + 0.3))
    grid = figure.subplots(len(tables), 4, squeeze=False)
    for row, (model, named) in zip(grid, tables.items(), strict=True):
        layers = named["layers"].sort_values(by="layer")
        _norm_quantiles(row[0], named["norm_quantiles"], layers)
        _feature_scales(row[1], named["feature_scales"], layers)
        for axes, column, label in (
            (row[2], "explained_variance_gain", "gain in explained variance"),
            (row[3], "ce_gain", "fall of CE (nats / token)"),
        ):
            for index, (scale, text) in enumerate(
                (("one", "one scale"), ("per_feature", "a scale per feature"))
            ):
                rows = named["scales"].loc[named["scales"]["scale"] == scale]
                x = rows["layer"] + 0.08 * (index - 0.5)
                interval_line(axes, x, rows, column, text, look(index))
            axes.axhline(0, color=NULL_COLOR, lw=1.5, label="no scale")
            axes.set(xlabel="layer", ylabel=label)
            axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
            axes.margins(y=0.35)
            axes.legend(
                loc="upper left", fontsize=6.5, ncols=3, columnspacing=0.8, handlelength=1.4
            )
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        row[0].set_title(f"{model}: n = {int(layers['n_tokens'].iloc[0])} tokens")
    figure.suptitle(
        "Do reconstructions come out too short, and what do scales on a frozen encoder recover? "
        "(bars: 95% over documents)"
    )
    return figure


def _norm_quantiles(axes: Axes, quantiles: pd.DataFrame, layers: pd.DataFrame) -> None:
    wide = quantiles.pivot(index="layer", columns="quantile", values="norm_ratio")
    spans = ((0.05, 0.95, 1.2, "5 to 95% of tokens"), (0.25, 0.75, 5, "25 to 75%"))
    for low, high, width, label in spans:
        axes.vlines(wide.index, wide[low], wide[high], color=COLORS[5], lw=width, label=label)
    axes.plot(wide.index, wide[0.5], "o", color=COLORS[0], label="median")
    axes.plot(
        layers["layer"] + 0.15, layers["norm_ratio"], "_", color="black", ms=9, mew=2, label="mean"
    )
    axes.plot(
        layers["layer"] + 0.15, layers["norm_ratio_null"], "_", color=NULL_COLOR, ms=9, mew=2,
        label="null: projection",
    )  # fmt: skip
    axes.axhline(1, color="black", lw=0.5)
    axes.set(xlabel="layer", ylabel="norm of reconstruction / of input")
    low = axes.get_ylim()[0]
    axes.set_ylim(low - 0.5 * (1.05 - low), 1.05)  # the legend is below
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower left", fontsize=6.5, ncols=2, columnspacing=1)


def _feature_scales(axes: Axes, scales: pd.DataFrame, layers: pd.DataFrame) -> None:
    bins = np.linspace(0.9, 1.1, 41).tolist()
    for index, (layer, rows) in enumerate(scales.loc[scales["count"] > 0].groupby("layer")):
        row = layers.loc[layers["layer"] == layer].iloc[0]
        mean, low, high = (row[f"mean_scale{end}"] for end in ("", "_low", "_high"))
        label = f"layer {layer}: {mean:.3f} [{low:.3f}, {high:.3f}]"
        axes.hist(
            np.clip(rows["scale"], 0.9, 1.1), bins, weights=rows["count"] / rows["count"].sum(),
            histtype="step", lw=1.2, color=COLORS[index % len(COLORS)],
            ls=LINES[index % len(LINES)], label=label,
        )  # fmt: skip
    axes.axvline(1, color=NULL_COLOR, lw=1)
    axes.set(xlabel="best scale of a feature (ends: beyond)", ylabel="share of firings")
    axes.set_ylim(0, 1.9 * axes.get_ylim()[1])
    axes.legend(loc="upper left", fontsize=6, title="mean [95% over features]", title_fontsize=6)


def _cells(tables: Tables, name: str, most: int | None = None) -> list[tuple[str, pd.DataFrame]]:
    """Return title and rows of each SAE, models in their order and then by layer.

    Of a model with more than `most` SAEs, so many are taken, the first and the last among them.
    """
    found = []
    for model, named in tables.items():
        groups = [rows for _, rows in named[name].groupby(["layer", "sae"])]
        if most is not None and len(groups) > most:
            chosen = np.linspace(0, len(groups) - 1, most).round().astype(int)
            groups = [groups[index] for index in chosen]
        found += [(f"{names.model(model)}, layer {g['layer'].iloc[0]}", g) for g in groups]
    return found


def _series_look(index: int | None) -> dict:
    return null_look() if index is None else look(index)
