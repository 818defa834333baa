"""Figures of the grids: SAEs of several architectures, sparsities, sites and seeds."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from universality.core import names
from universality.core.style import NULL_COLOR, legend_below, look, panels

Table = Any
"""A pandas DataFrame, whose stubs know too little of what a column gives."""

METRICS = {
    "explained_variance": "unexplained variance\n(share, log scale)",
    "ce_loss_recovered": "CE not recovered\n(share, log scale)",
    "dead_fraction": "dead features (share)",
}
LOST = ("explained_variance", "ce_loss_recovered")
"""Drawn as what is missing from 1: near the top all architectures would look alike."""
SITE_METRICS = {
    "explained_variance": "explained variance",
    "ce_loss_recovered": "CE recovered\n(against zero ablation)",
    "ce_difference": "CE with SAE - CE\n(nats / token, log scale)",
}
SITES = {
    "hook_mlp_out": "MLP output",
    "mlp.hook_post": "MLP neurons",
    "hook_resid_post": "residual stream",
}


def frontiers(table: Table, matched: Table, alone: Table) -> Figure:
    """Draw each number over L0: a row per grid and hook, a series per family.

    `table` has a row per SAE (grid, model, hook, layer, site, family, sparsity, seed, l0 and the
    metrics); lines join the means over seeds of each sparsity, small marks are single seeds.
    Bars are t intervals over seeds: of families with several sparsities those at equal L0
    (`matched`, from `at_matched_l0`), of the others those at their own (`alone`, from `against`).
    """
    table, matched, alone = _lost(table), _lost(matched), _lost(alone)
    cells = list(table.groupby(["grid", "hook"], sort=False))
    figure, all_axes = panels(len(cells) * len(METRICS), len(METRICS), (3.1, 3.0))
    families = [f for f in dict.fromkeys(table["family"]) if f != "pca"]
    looks = {family: look(index) for index, family in enumerate(families)}
    for row, ((grid, hook), cell) in enumerate(cells):
        equal, own = (rows[(rows["grid"] == grid) & (rows["hook"] == hook)]
                      for rows in (matched, alone))  # fmt: skip
        for column, (metric, label) in enumerate(METRICS.items()):
            axes = all_axes[row * len(METRICS) + column]
            for family in families:
                rows = cell[cell["family"] == family]
                several = rows["sparsity"].nunique() > 1
                bars = (equal if several else own).query("family == @family")
                _frontier(axes, rows, metric, looks[family], FAMILIES.get(str(family), str(family)))
                _bars(axes, bars, metric, looks[family]["color"])
            if metric != "dead_fraction":
                pca = cell[cell["family"] == "pca"].sort_values(by="l0")
                axes.plot(
                    pca["l0"], pca[metric], color=NULL_COLOR, ls="--",
                    label="principal components",
                )  # fmt: skip
            axes.set_xscale("log")
            if metric in LOST:
                _log_scale(axes)
            _plain_ticks(axes, cell["l0"])
            axes.set(xlabel="active features / token", ylabel=label)
            _limit(axes, cell, metric)
            if len(cells) > 1 and column == 0:
                first = cell.iloc[0]
                axes.set_title(
                    f"{names.model(first['model'])}, layer {first['layer']}, {SITES[first['site']]}"
                )
    legend_below(figure, all_axes, 4)
    return figure


FAMILIES = {
    "topk": "TopK",
    "batchtopk": "BatchTopK",
    "matryoshka": "Matryoshka",
    "standard": "L1",
    "standard_resampled": "L1, resampled",
    "gated": "gated",
    "jumprelu": "JumpReLU",
    "topk_orthogonal": "TopK, orthogonal decoder",
}
"""Family of a grid -> its name."""


def _frontier(axes: Axes, rows: Table, metric: str, style: dict, label: str) -> None:
    if not len(rows):
        return
    style = dict(style)
    marker = style.pop("marker")
    axes.plot(
        rows["l0"], rows[metric], color=style["color"], marker=marker, ls="", ms=2.5, alpha=0.6
    )
    mean = rows.groupby("sparsity")[["l0", metric]].mean().sort_values(by="l0")
    if len(mean) == 1:
        style["linestyle"] = ""
    axes.plot(mean["l0"], mean[metric], **style, marker=marker, ms=6, label=label)


def _bars(axes: Axes, rows: Table, metric: str, color: str) -> None:
    if len(rows) and np.isfinite(rows[f"{metric}_low"]).all():
        ends = [rows[metric] - rows[f"{metric}_low"], rows[f"{metric}_high"] - rows[metric]]
        axes.errorbar(
            rows["l0"], rows[metric], yerr=np.maximum(ends, 0), fmt="none", ecolor=color,
            capsize=2.5, lw=1,
        )  # fmt: skip


def _limit(axes: Axes, cell: Table, metric: str) -> None:
    """Leave room around the SAEs."""
    values = cell.loc[cell["family"] != "pca", metric].to_numpy()
    if metric in LOST:
        axes.set_ylim(bottom=values.min() / 1.6)
    else:
        top = max(1.15 * values.max(), 0.01)
        axes.set_ylim(-0.04 * top, top)


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
            what = "principal components" if pca else FAMILIES.get(family, family)
            axes.plot(mean.index, mean, **style, label=f"{SITES[site]}, {what}")
            if not pca:
                axes.plot(
                    rows["layer"], rows[metric], ls="", marker=".", ms=4, color="black", alpha=0.6
                )
        axes.set(xlabel="layer", ylabel=label)
        if metric == "ce_difference":
            _log_scale(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, all_axes, 3)
    return figure


_PCA: dict[str, dict[str, Any]] = {
    "hook_mlp_out": {"ls": "--", "marker": ""},
    "mlp.hook_post": {"ls": ":", "marker": ""},
    "hook_resid_post": {"ls": "-.", "marker": ""},
}
