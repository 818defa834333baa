"""Figures of what the features of SAEs are: a table in, a figure out."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from universality.plots.style import COLORS, HATCHES, NULL_COLOR, legend_below, look, panels

_CLUSTERS = ["high", "firing", "ultralow", "dead"]
_SIDEWAYS = 0.12  # layers; keeps the intervals of two series apart


def clusters(features: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Draw density, encoder bias and encoder-decoder cosine of one model's features by cluster.

    `features` has one row per feature and `summary` one per SAE, of one model; a column of panels
    per layer, its first SAE seed.
    """
    seed = int(np.min(features["seed"].to_numpy()))
    features = features.loc[features["seed"] == seed]
    layers = sorted(features["layer"].unique())
    figure = Figure(figsize=(2.5 * len(layers) + 0.5, 6.2))
    grid = figure.subplots(3, len(layers), squeeze=False, sharex="col")
    lowest = np.floor(np.log10(features.loc[features["density"] > 0, "density"].min()))
    bins = np.linspace(lowest, 0, 41)
    for column, layer in zip(grid.T, layers, strict=True):
        rows = features.loc[features["layer"] == layer]
        one = summary.query("layer == @layer and seed == @seed").to_dict("records")[0]
        _cluster_histogram(column[0], rows, bins)
        verdict = "two clusters" if one["separated"] else "one cluster"
        column[0].set_title(
            f"layer {layer}: {verdict}\nΔBIC {one['delta_bic']:.0f} "
            f"(null {one['delta_bic_null']:.0f}), modes: {one['n_modes']:.0f}",
            fontsize=8,
        )
        _cluster_scatter(column[1], rows, "encoder_bias", lowest - 0.25)
        _cluster_scatter(column[2], rows, "encoder_decoder_cosine", lowest - 0.25)
        column[2].set(xlabel="log10 share of tokens", ylim=(-1, 1))
        column[2].axhline(0, color=NULL_COLOR, lw=0.8, ls="--")
    for axes, label in zip(
        grid[:, 0], ["features", "encoder bias\n(unit decoder)", "encoder-decoder cosine"],
        strict=True,
    ):  # fmt: skip
        axes.set_ylabel(label)
    n = int(summary["n_positions"].iloc[0])
    figure.suptitle(
        f"{summary['model'].iloc[0]}, SAE seed {seed}: features by cluster "
        f"(n = {n} positions; crosses at the left: never fired; null: one Gaussian)"
    )
    return figure


def _cluster_look(name: str) -> dict[str, Any]:
    index = _CLUSTERS.index(name)
    return {"color": COLORS[[0, 0, 1, 6][index]], "marker": [".", ".", "^", "x"][index]}


def _cluster_histogram(axes: Axes, rows: pd.DataFrame, bins: np.ndarray) -> None:
    for name in _CLUSTERS[:3]:
        density = rows.loc[rows["cluster"] == name, "density"].to_numpy()
        if len(density):
            axes.hist(
                np.log10(density), bins.tolist(), histtype="stepfilled", lw=0.8, alpha=0.8,
                edgecolor="black", color=_cluster_look(name)["color"],
                hatch=HATCHES[name == "ultralow"], label=f"{name}: {len(density)}",
            )  # fmt: skip
    dead = np.count_nonzero(rows["cluster"] == "dead")
    axes.plot([], [], "x", color="black", ls="none", label=f"dead: {dead}")
    axes.margins(y=0.35)
    axes.legend(loc="upper left", fontsize=6.5, handlelength=1.4)


def _cluster_scatter(axes: Axes, rows: pd.DataFrame, column: str, left: float) -> None:
    for name in _CLUSTERS:
        part = rows.loc[rows["cluster"] == name]
        x = np.log10(part["density"]) if name != "dead" else np.full(len(part), left)
        size = 5 if name in ("high", "firing") else 9
        axes.scatter(x, part[column], s=size, lw=0.5, alpha=0.5, rasterized=True,
                     **_cluster_look(name))  # fmt: skip


def directions(table: pd.DataFrame) -> Figure:
    """Draw how much the encoder rows of dead, rare and ultralow features share one direction.

    `table` has one row per SAE and group; a row of panels per number, a column per model.
    """
    numbers = {
        "mean_cosine": "mean cosine of\ntwo encoder rows",
        "first_share": "share of encoder norm\nalong first direction",
    }
    models = sorted(table["model"].unique())
    figure, all_axes = panels(len(numbers) * len(models), len(models), (2.9, 2.4), sharey="row")
    places = [(number, model) for number in numbers for model in models]
    for axes, (number, model) in zip(all_axes, places, strict=True):
        rows = table.loc[table["model"] == model]
        groups = ["dead", "rare", "ultralow"]
        for index, group in enumerate(groups):
            _points(axes, rows.loc[rows["group"] == group], number, index, group)
        for index, group in enumerate(groups):
            part = rows.loc[rows["group"] == group]
            _null(axes, part, f"{number}_null", index, "null: as many other features")
        low, high = (rows[f"{number}_gaussian_{end}"] for end in ("low", "high"))
        axes.axhspan(low.min(), high.max(), color="#d9d9d9", label="null: Gaussian directions")
        axes.set_title(model)
        _by_layer(axes)
    for axes, (number, model) in zip(all_axes, places, strict=True):
        if model == models[0]:
            axes.set_ylabel(numbers[number])
    legend_below(figure, all_axes, 5)
    figure.suptitle(
        "Do features that hardly fire share one encoder direction? "
        "(bars: 95%, jackknife over features; grey: nulls)"
    )
    return figure


def neurons(table: pd.DataFrame, few: int) -> Figure:
    """Draw the share of features that are one neuron or 2 to `few`, and the nearest neuron.

    `table` has one row per SAE on an MLP; a column of panels per model and site.
    """
    groups = [(f"{m}, {s}", rows) for (m, s), rows in table.groupby(["model", "site"])]  # pyright: ignore
    figure, all_axes = panels(2 * len(groups), len(groups), (2.9, 2.4), sharey="row")
    for axes, (name, rows) in zip(all_axes[: len(groups)], groups, strict=True):
        _points(axes, rows, "one_neuron", 0, "one neuron")
        _points(axes, rows, "few_neurons", 1, f"2 to {few} neurons")
        for index, column in enumerate(["one_neuron_null", "few_neurons_null"]):
            _null(axes, rows, column, index, "null: random directions")
        axes.axhline(0.04, color="black", ls=":", lw=0.9, label="Nanda 2023, each (other model)")
        axes.set_yscale("symlog", linthresh=0.001)
        axes.set_ylim(-2e-4, 1)
        axes.set_title(f"{name}\nn = {rows['n_features'].iloc[0]} features", fontsize=8.5)
        _by_layer(axes)
    for axes, (_, rows) in zip(all_axes[len(groups) :], groups, strict=True):
        _points(axes, rows, "best_neuron_cosine", 0, "")
        x = rows["layer"] - _SIDEWAYS
        axes.plot(x, rows["best_neuron_cosine_null"], "_", color=NULL_COLOR, ms=7, mew=1.5)
        axes.set_ylim(0, 1)
        _by_layer(axes)
    all_axes[0].set_ylabel("share of features\n(log above .001)")
    all_axes[len(groups)].set_ylabel("|cosine| with nearest\nneuron, median")
    legend_below(figure, all_axes[: len(groups)], 5)
    figure.suptitle(
        "How many neurons is a feature's decoder?\n"
        "(bars: 95% over features; null: random directions with the same second moment)"
    )
    return figure


def kurtosis(table: pd.DataFrame) -> Figure:
    """Draw the kurtosis of activations along neurons and along random axes.

    `table` has one row per model and hook; a panel per model.
    """
    models = sorted(table["model"].unique())
    sites = sorted(table["site"].unique())
    figure, all_axes = panels(len(models), 4, (2.9, 2.7))
    for axes, model in zip(all_axes, models, strict=True):
        for index, site in enumerate(sites):
            rows = table.query("model == @model and site == @site")
            _points(axes, rows, "kurtosis", index, site)
            _null(axes, rows, "kurtosis_null", index, "null: random rotations")
        axes.axhline(0, color="black", lw=0.7, ls=":")
        axes.set_title(model)
        _by_layer(axes)
    all_axes[0].set_ylabel("excess kurtosis, median of axes\n(Gaussian: 0)")
    legend_below(figure, all_axes, 5)
    n = int(np.max(table["n_positions"].to_numpy()))
    figure.suptitle(
        f"Is the neuron basis privileged? (n = {n} positions; bars: 95%, jackknife over documents, "
        "range of rotations)"
    )
    return figure


def _points(axes: Axes, rows: pd.DataFrame, column: str, index: int, label: str) -> None:
    shape = look(index)
    x = rows["layer"] + 2 * _SIDEWAYS * (index - 1)
    _bars(axes, rows, column, x, fmt=shape["marker"], color=shape["color"], label=label)


def _null(axes: Axes, rows: pd.DataFrame, column: str, index: int, label: str) -> None:
    x = rows["layer"] + 2 * _SIDEWAYS * (index - 1) + _SIDEWAYS
    _bars(axes, rows, column, x, fmt="_", color=NULL_COLOR, label=label)


def _bars(axes: Axes, rows: pd.DataFrame, column: str, x: Any, **options: Any) -> None:
    """Draw values and intervals; SAE seeds stand side by side."""
    if "seed" in rows:
        x = x + 0.04 * (rows["seed"].rank(method="dense") - 1)
    bars = np.stack([rows[column] - rows[f"{column}_low"], rows[f"{column}_high"] - rows[column]])
    axes.errorbar(x, rows[column], np.maximum(bars, 0), capsize=2, lw=1, **options)


def _by_layer(axes: Axes) -> None:
    axes.set_xlabel("layer")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelleft=True)
