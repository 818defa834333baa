"""Figures of the sparse autoencoders: a table in, a figure out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from universality.plots.style import legend_below, line_look, look, panels

EVALUATIONS = {
    "explained_variance": "explained variance",
    "ce_loss_recovered": "CE recovered\n(against zero ablation)",
    "ce_loss_recovered_mean": "CE recovered\n(against mean ablation)",
    "ce_difference": "CE with SAE - CE\n(nats / token)",
    "dead_fraction": "dead features\n(share)",
    "l0": "L0\n(active features / token)",
}


def evaluations(table: pd.DataFrame) -> Figure:
    """Draw each number of `table` (one row per SAE) over layers, one line per model and seed."""
    figure, all_axes = panels(len(EVALUATIONS), 3, (3.4, 2.6), sharex=True)
    for axes, (column, label) in zip(all_axes, EVALUATIONS.items(), strict=True):
        for index, ((model, seed), rows) in enumerate(_groups(table, "model", "seed")):
            rows = rows.loc[_is_defined(rows, column)].sort_values(by="layer")
            _interval_line(axes, rows, column, index, f"{model}, SAE seed {seed}")
        axes.set(ylabel=label, xlabel="layer")
        undefined = table.loc[~_is_defined(table, column), "model"].tolist()
        if undefined:
            axes.set_title(
                f"{len(undefined)} SAEs ({', '.join(sorted(set(undefined)))}) not drawn:\n"
                "ablation leaves CE as it is", fontsize=7,
            )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelbottom=True)
    legend_below(figure, all_axes, 3)
    n_tokens, n_positions = (
        int(np.max(table[name].to_numpy())) for name in ("n_tokens_ce", "n_positions")
    )
    figure.suptitle(
        "SAEs on validation text (bars: 95% intervals over documents; "
        f"CE: n = {n_tokens} tokens, the rest: n = {n_positions})"
    )
    return figure


def _is_defined(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return which ratios mean something: of an untrained model's CE there is nothing to recover.

    There the interval is wider than a quarter of the scale from ablated (0) to intact (1).
    """
    if not column.startswith("ce_loss_recovered"):
        return np.ones(len(table), dtype=bool)
    low, high = (table[f"{column}_{end}"].to_numpy() for end in ("low", "high"))
    return high - low < 0.25


def _interval_line(axes: Axes, rows: pd.DataFrame, column: str, index: int, label: str) -> None:
    # A small sideways step keeps the intervals of two models apart.
    x = rows["layer"] + 0.06 * (index - 1.5)
    axes.plot(x, rows[column], **look(index), label=label)
    if f"{column}_low" in rows:
        ends = [rows[column] - rows[f"{column}_low"], rows[f"{column}_high"] - rows[column]]
        axes.errorbar(
            x, rows[column], yerr=np.maximum(ends, 0), fmt="none", ecolor=look(index)["color"],
            capsize=2, lw=1,
        )  # fmt: skip


def _groups(table: pd.DataFrame, *columns: str) -> list[tuple[tuple, pd.DataFrame]]:
    """Return the rows of each combination of values, in the order of the values."""
    return [(tuple(values), rows) for values, rows in table.groupby(list(columns))]  # pyright: ignore


def densities(table: pd.DataFrame) -> Figure:
    """Draw the histogram of log10 feature density, one panel per model and layer.

    `table` has one row per feature: model, layer, seed, feature, density. Features that never
    fire have no logarithm and are counted in the legend.
    """
    cells = _groups(table, "model", "layer")
    firing = table.loc[table["density"] > 0, "density"]
    lowest = np.floor(np.log10(firing.min())) if len(firing) else -6
    bins = np.linspace(lowest, 0, 41).tolist()
    figure, all_axes = panels(len(cells), 4, (2.7, 2.1), sharex=True)
    for axes, ((model, layer), features) in zip(all_axes, cells, strict=True):
        for index, (seed, rows) in enumerate(features.groupby("seed")):
            alive = rows["density"].to_numpy() > 0
            dead = f"seed {seed}: n = {len(rows)}, dead {np.count_nonzero(~alive)}"
            axes.hist(
                np.log10(rows["density"][alive]), bins, histtype="step", lw=1.3, label=dead,
                color=line_look(index)["color"], ls=line_look(index)["linestyle"],
            )  # fmt: skip
        axes.set_title(f"{model}, layer {layer}")
        axes.margins(y=0.35)
        axes.legend(loc="upper left", fontsize=6.5, handlelength=1.4)
        axes.tick_params(labelbottom=True)
        axes.set(xlabel="log10 share of tokens", ylabel="features")
    figure.suptitle("How often features fire")
    return figure


def training_curves(logs: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the reconstruction loss of each SAE (columns sae, samples, loss), a panel per model."""
    figure, all_axes = panels(len(logs), 2, (4.4, 3.0))
    for axes, (model, log) in zip(all_axes, logs.items(), strict=True):
        for index, (sae, rows) in enumerate(log.groupby("sae", sort=True)):
            axes.plot(rows["samples"] / 1e6, rows["loss"], **line_look(index), label=sae)
        axes.set(
            xlabel="activations seen (millions)",
            ylabel="squared error / token\n(mean input norm: √d)",
        )
        axes.set_yscale("log")
        axes.set_title(model)
        axes.legend(ncols=2, loc="upper right", fontsize=6.5, handlelength=2.6)
    figure.suptitle("Training of the SAEs")
    return figure
