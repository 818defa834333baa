"""Figures of the grids: SAEs of several architectures, sparsities, sites and seeds."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from universality.plots.style import NULL_COLOR, legend_below, look, panels

Table = Any
"""A pandas DataFrame, whose stubs know too little of what a column gives."""

METRICS = {
    "explained_variance": "unexplained variance\n(1 - explained, log scale)",
    "ce_loss_recovered": "CE lost (1 - recovered,\nzero ablation, log scale)",
    "dead_fraction": "dead features (share)",
}
LOST = ("explained_variance", "ce_loss_recovered")
"""Drawn as what is missing from 1: near the top all architectures would look alike."""
SITE_METRICS = {
    "explained_variance": "explained variance",
    "ce_loss_recovered": "CE recovered\n(against zero ablation)",
    "ce_difference": "CE with SAE - CE\n(nats / token, log scale)",
}
SITES = {"hook_mlp_out": "MLP output", "mlp.hook_post": "MLP hidden", "hook_resid_post": "residual"}


def frontiers(table: Table, matched: Table) -> Figure:
    """Draw each number over L0: a row per grid and hook, a line per family, bars over seeds.

    `table` has a row per SAE (grid, model, hook, layer, site, family, sparsity, seed, l0 and the
    metrics); lines join the means over seeds of each sparsity, small marks are single seeds.
    `matched` gives the t intervals at equal L0 (`at_matched_l0`), drawn as bars.
    """
    table, matched = _lost(table), _lost(matched)
    cells = list(table.groupby(["grid", "hook"], sort=False))
    figure, all_axes = panels(len(cells) * len(METRICS), len(METRICS), (3.7, 3.4))
    families = [f for f in dict.fromkeys(table["family"]) if f != "pca"]
    looks = {family: look(index) for index, family in enumerate(families)}
    for row, ((grid, hook), cell) in enumerate(cells):
        equal = matched[(matched["grid"] == grid) & (matched["hook"] == hook)]
        for column, (metric, label) in enumerate(METRICS.items()):
            axes = all_axes[row * len(METRICS) + column]
            for family in families:
                _frontier(axes, cell[cell["family"] == family], metric, looks[family], family)
                _bars(axes, equal[equal["family"] == family], metric, looks[family]["color"])
            if metric != "dead_fraction":
                pca = cell[cell["family"] == "pca"].sort_values(by="l0")
                axes.plot(pca["l0"], pca[metric], color=NULL_COLOR, ls="--", label="PCA, L0 axes")
            axes.set_xscale("log")
            if metric in LOST:
                _log_scale(axes)
            _plain_ticks(axes, cell["l0"])
            axes.set(xlabel="L0 (active features / token)", ylabel=label)
            _limit(axes, cell, metric)
            if column == 0:
                first = cell.iloc[0]
                axes.set_title(f"{first['model']}, layer {first['layer']}, {SITES[first['site']]}")
    legend_below(figure, all_axes, 4)
    n_tokens = int(table["n_tokens_ce"].to_numpy().max())
    n_seeds = int(table["seed"].nunique())
    figure.suptitle(
        "SAEs of each architecture on sampled validation text\n"
        f"({n_seeds} seeds; bars: 95% t intervals over seeds at equal L0; n = {n_tokens} tokens)"
    )
    return figure


def _frontier(axes: Axes, rows: Table, metric: str, style: dict, family: str) -> None:
    if not len(rows):
        return
    style = dict(style)
    marker = style.pop("marker")
    axes.plot(
        rows["l0"], rows[metric], color=style["color"], marker=marker, ls="", ms=2.5, alpha=0.6
    )
    mean = rows.groupby("sparsity")[["l0", metric]].mean().sort_values(by="l0")
    axes.plot(mean["l0"], mean[metric], **style, marker=marker, ms=4, label=family)


def _bars(axes: Axes, rows: Table, metric: str, color: str) -> None:
    if len(rows) and np.isfinite(rows[f"{metric}_low"]).all():
        ends = [rows[metric] - rows[f"{metric}_low"], rows[f"{metric}_high"] - rows[metric]]
        axes.errorbar(
            rows["l0"], rows[metric], yerr=np.maximum(ends, 0), fmt="none", ecolor=color,
            capsize=2.5, lw=1,
        )  # fmt: skip


def _limit(axes: Axes, cell: Table, metric: str) -> None:
    """Keep the SAEs in sight where the baseline is far from them."""
    values = cell.loc[cell["family"] != "pca", metric].to_numpy()
    if metric in LOST:
        axes.set_ylim(values.min() / 1.4, values.max() * 1.8)
    else:
        axes.set_ylim(0, max(1.15 * values.max(), 0.01))


def _lost(table: Table) -> Table:
    """Return `table` with `LOST` as the distance to 1."""
    ends = {f"{name}{end}" for name in LOST for end in ("", "_low", "_high")}
    table = table.assign(**{name: 1 - table[name] for name in ends & set(table.columns)})
    swapped = {f"{n}_low": f"{n}_high" for n in LOST} | {f"{n}_high": f"{n}_low" for n in LOST}
    return table.rename(columns=swapped)


def _log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(NullLocator())


def _plain_ticks(axes: Axes, l0: Table) -> None:
    ticks = [2.0**power for power in range(11) if l0.min() * 0.8 <= 2**power <= l0.max() * 1.2]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def with_several(table: Table, column: str, least: int) -> Table:
    """Return the rows of the grids with at least `least` different values of `column`."""
    return table[table.groupby("grid")[column].transform("nunique") >= least]


def sites(table: Table) -> Figure:
    """Draw each number over layers, a line per site, from grids that share one L0.

    Lines join means over seeds, marks are single seeds. The PCA baseline is that with as many
    components as the SAEs have active features, where there is one.
    """
    l0 = set(table.loc[table["family"] != "pca", "sparsity"])
    table = table[table["sparsity"].isin(l0)]
    figure, all_axes = panels(len(SITE_METRICS), len(SITE_METRICS), (3.5, 2.8))
    for axes, (metric, label) in zip(all_axes, SITE_METRICS.items(), strict=True):
        for index, ((site, family), rows) in enumerate(table.groupby(["site", "family"])):
            pca = family == "pca"
            style: dict[str, Any] = {"color": NULL_COLOR, **_PCA[site]} if pca else look(index)
            mean = rows.groupby("layer")[metric].mean()
            axes.plot(mean.index, mean, **style, label=f"{SITES[site]}, {family}")
            if not pca:
                axes.plot(
                    rows["layer"], rows[metric], ls="", marker=".", ms=4, color="black", alpha=0.6
                )
        axes.set(xlabel="layer", ylabel=label)
        if metric == "ce_difference":
            _log_scale(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, all_axes, 3)
    at = ", ".join(f"{value:g}" for value in sorted(l0))
    n_seeds, n_tokens = table["seed"].nunique(), int(table["n_tokens_ce"].max())
    figure.suptitle(
        f"Layers and sites of {', '.join(dict.fromkeys(table['model']))} at L0 {at} "
        f"(dots: {n_seeds} seeds; PCA: as many components; n = {n_tokens} tokens)"
    )
    return figure


_PCA: dict[str, dict[str, Any]] = {
    "hook_mlp_out": {"ls": "--", "marker": ""},
    "mlp.hook_post": {"ls": ":", "marker": ""},
    "hook_resid_post": {"ls": "-.", "marker": ""},
}
