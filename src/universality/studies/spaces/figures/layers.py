"""Figures of whole layers: which is which across seeds, and stitching. Tables in, a figure out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.core import names
from universality.core.style import BASELINES, COLORS, MARKERS, legend_below, panels
from universality.studies.spaces import labels
from universality.studies.spaces.similarity.measures import RELATED

Tables = Mapping[str, Mapping[str, pd.DataFrame]]
"""Pair -> table name -> table, as `stitch-models` writes them."""

KORNBLITH_2019 = {
    "cca": 0.014, "cca_r2": 0.106, "svcca": 0.099, "svcca_r2": 0.151, "pwcca_of_query": 0.111,
    "regression_r2_of_query": 0.454, "linear_cka": 0.993,
    "rbf_cka_0.2": 0.806, "rbf_cka_0.4": 0.991, "rbf_cka_0.8": 0.993,
}  # fmt: skip
"""Table 2 of arXiv 1905.00414: ten 10-layer CNNs on CIFAR-10, logits left out. They do not say
which layer PWCCA weighs by and which one regression explains: here the one that looks."""
_SITES = {"resid_post": "residual stream after each block", "mlp_out": "output of each MLP"}
_FEW = RELATED.keys()
"""Measures that compare fewer positions, since all are compared with all."""


def _name(measure: str) -> str:
    return labels.measure(measure) + ("*" if any(map(measure.startswith, _FEW)) else "")


def identification(accuracy: pd.DataFrame, models: pd.DataFrame) -> Figure:
    """Draw the share of layers that each measure finds again in another seed: a panel a site."""
    measures = labels.in_order(accuracy["measure"].to_list())
    figure, all_axes = panels(len(_SITES), 2, (4.6, 0.27 * len(measures) + 1.2), sharey=True)
    y = np.arange(len(measures), dtype=float)
    for axes, (site, title) in zip(all_axes, _SITES.items(), strict=True):
        rows = accuracy.query(f"site == {site!r}").set_index("measure").loc[measures]
        axes.barh(
            y, rows["accuracy"], 0.62, color=COLORS[5], edgecolor="black", lw=0.6,
            label="trained LMs", **_bars(rows, ""),
        )  # fmt: skip
        axes.errorbar(
            rows["accuracy_null"], y + 0.18, fmt=BASELINES["untrained"]["marker"],
            color=BASELINES["untrained"]["color"], mec="black", mew=0.5, ms=5, lw=1,
            label="the same LMs before training", **_bars(rows, "_null"),
        )  # fmt: skip
        published = [(KORNBLITH_2019[m], at) for m, at in zip(measures, y, strict=True)
                     if m in KORNBLITH_2019]  # fmt: skip
        axes.plot(
            *zip(*published, strict=True), MARKERS[3], color=COLORS[1], mec="black", mew=0.6,
            ls="none", label="published: CNNs, biased CKA (Kornblith et al. 2019)",
        )  # fmt: skip
        chance = 1 / models["n_layers"].iloc[0]
        axes.axvline(chance, color="black", ls=":", lw=1.2, label=f"chance, 1 in {1 / chance:.0f}")
        axes.set(xlim=(-0.02, 1.03), xlabel="layers of A whose likest layer of B is the same")
        axes.set_title(title)
    all_axes[0].set_yticks(y, [_name(measure) for measure in measures], fontsize=7.5)
    all_axes[0].set_ylim(len(measures) - 0.4, -0.6)
    legend_below(figure, all_axes, 2)
    figure.suptitle(_about(models), fontsize=8.5)
    return figure


def _bars(rows: pd.DataFrame, ending: str) -> dict:
    value, low, high = (rows[f"accuracy{end}{ending}"] for end in ("", "_low", "_high"))
    found = [(value - low).clip(lower=0), (high - value).clip(lower=0)]
    return {"xerr": found, "error_kw": {"lw": 1}} if not ending else {"xerr": found}


def _about(models: pd.DataFrame) -> str:
    trained = models.query("kind == 'trained'")
    first = trained.iloc[0]
    low, high = trained["cross_entropy"].min(), trained["cross_entropy"].max()
    return (
        f"Is layer i of one LM seed most like layer i of another? {len(trained)} seeds, "
        f"{first['n_layers']} layers, d = {first['d']}, cross-entropy {low:.2f} to {high:.2f} nats"
        f"\nn = {first['n_positions']} positions (* {first['n_compared']}); bars: 95% jackknife "
        "over LMs, of no width where all LMs have the same share"
    )


_LOSSES = {
    "ce": ("stitched, layer of A with the best fit", {"color": COLORS[0], "marker": MARKERS[0]}),
    "ce_control": ("stitched, untrained LM in the place of A", BASELINES["untrained"]),
    "ce_shuffled": ("null: A's positions shuffled for the fit", BASELINES["null"]),
    "ce_mean": ("mean ablation", {"color": COLORS[3], "marker": MARKERS[6]}),
}


def stitch_losses(tables: Tables) -> Figure:
    """Draw B's loss as it is, stitched, and with what stands in the way of the stitch."""
    figure, all_axes = panels(len(tables), 2, (3.7, 2.9), sharey=True)
    for axes, (pair, named) in zip(all_axes, tables.items(), strict=True):
        for offset, (column, (label, look)) in enumerate(_LOSSES.items()):
            rows = _losses(named, column)
            x = rows["layer_b"] + 0.14 * (offset - 1.5)
            bars = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
            null = column == "ce_shuffled"
            axes.errorbar(
                x, rows["value"], yerr=None if null else np.maximum(bars, 0),
                fmt="_" if null else look["marker"], color=look["color"], ms=9 if null else 6,
                mew=2.5 if null else 0.5, mec=look["color"] if null else "black", lw=1.3,
                label=label,
            )  # fmt: skip
        _clean(axes, named["layers"])
        axes.set_xticks(named["layers"]["layer_b"].to_list())
        axes.set_ylim(0, None)
        axes.set(xlabel="layer of B that is replaced", title=names.pair(pair))
        axes.tick_params(labelleft=True)
    all_axes[0].set_ylabel("cross-entropy of B (nats / token)")
    legend_below(figure, all_axes, 2)
    return figure


def _losses(named: Mapping[str, pd.DataFrame], column: str) -> pd.DataFrame:
    if column in ("ce", "ce_mean"):
        table, name = (named["best"], "ce") if column == "ce" else (named["layers"], "ce_mean")
    else:
        table, name = named["stitches"].query(f"source == {column.removeprefix('ce_')!r}"), "ce"
    columns = {"value": name, "low": f"{name}_low", "high": f"{name}_high", "layer_b": "layer_b"}
    return pd.DataFrame({new: table[old] for new, old in columns.items()})


def _clean(axes: Axes, table: pd.DataFrame) -> None:
    value, low, high = (table[f"ce_clean{end}"].to_numpy()[0] for end in ("", "_low", "_high"))
    axes.axhspan(low, high, color=COLORS[6], alpha=0.15, lw=0)
    axes.axhline(value, color=COLORS[6], lw=1.2, label="B as it is")
