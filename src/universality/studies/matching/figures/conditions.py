"""Figures about the conditions under which features are shared: tables in, a figure out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from universality.core import names
from universality.core.style import BASELINES, COLORS, NULL_COLOR, legend_below, look, panels
from universality.studies.matching.conditions.conditions import pair_curve
from universality.studies.matching.figures.matching import looks, pooled

Table = Any
"""A pandas DataFrame or a row of one, whose stubs know too little of what a column gives."""

PARTNERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sae_seed": ("ceiling: another SAE seed", BASELINES["ceiling"]),
    "sae_seed_drawn": (
        "the same, equally many candidates",
        {"color": COLORS[3], "linestyle": (0, (1, 1)), "marker": "D"},
    ),
    "other_lm": ("another LM seed", {"color": COLORS[0], "linestyle": "-", "marker": "o"}),
    "random_lm": ("an untrained LM", BASELINES["untrained"]),
}
"""Where partners are sought: label and look."""
FAMILIES = {
    "topk": "TopK",
    "batchtopk": "BatchTopK",
    "matryoshka": "Matryoshka",
    "jumprelu": "JumpReLU",
    "gated": "gated",
    "standard": "ReLU, L1",
}
"""Families of the figure of architectures, by their names; others are left out."""
COMPARISONS: dict[str, tuple[str, dict[str, Any]]] = {
    "sae_seed": ("A in A, other SAE seed (ceiling)", BASELINES["ceiling"]),
    "other_lm": ("A in B, equally trained", look(0)),
    "final": ("trained A in A so far", look(3)),
    "final_of_other_lm": ("trained A in B so far", look(6)),
}
_R = "best-match correlation r"


def pair_curves(tables: Mapping[str, Mapping[str, Table]]) -> Figure:
    """Draw the share of features above each threshold, a line per pair of the matching study.

    `tables` are those of `match`, by pair and name. Intervals are drawn where they are known: at
    one threshold. The nulls of all pairs are one grey band.
    """
    thresholds = np.linspace(0, 1, 101)
    styles, nulls = looks(tables), []
    figure, (axes,) = panels(1, 1, (6.2, 3.9))
    for index, (pair, style) in enumerate(styles.items()):
        table = pair_curve(tables[pair]["features"], tables[pair]["headline"], thresholds)
        row = pooled(tables[pair])
        nulls.append(table["share_null"].to_numpy())
        axes.plot(
            table["threshold"], table["share"], lw=1.8, label=names.pair(pair), markevery=10,
            ms=5.5, **style,
        )  # fmt: skip
        value, low, high = (row[f"share_above{end}"] for end in ("", "_low", "_high"))
        # Side by side, so that none hides another.
        place = row["threshold"] + 0.006 * (index - (len(styles) - 1) / 2)
        axes.errorbar(
            place, value, _bars(value, low, high), color=style["color"], capsize=2, lw=1.4
        )
    axes.fill_between(
        thresholds, np.min(nulls, axis=0), np.max(nulls, axis=0), color=NULL_COLOR, alpha=0.35, lw=0
    )
    axes.plot(
        thresholds, np.mean(nulls, axis=0), color=NULL_COLOR, ls=BASELINES["null"]["linestyle"],
        lw=2, label="null of all pairs: positions of B shifted",
    )  # fmt: skip
    axes.axhline(0.5, color="black", lw=0.6)
    axes.text(0.995, 0.51, "half of the features", ha="right", va="bottom", fontsize=8)
    axes.set(ylim=(0, 1.02), xlim=(0, 1))
    axes.set_xlabel(f"threshold on the {_R}", fontsize=10)
    axes.set_ylabel("share of A's features above it", fontsize=10)
    legend_below(figure, [axes], 2)
    return figure


def recipes(grids: Mapping[str, Table]) -> Figure | None:
    """Draw what SAEs of each width and of each architecture share; None without such SAEs.

    `grids` are the tables of means over SAE seeds, by name. Widths are those of the family with
    most, architectures those of `FAMILIES` at the L0 that is nearest to that family's.
    """
    table: Table = pd.concat(grids.values(), ignore_index=True)
    n_widths = table.groupby(["hook", "family", "sparsity"])["expansion"].nunique()
    if not len(n_widths) or n_widths.max() < 2:
        return None
    hook, family, sparsity = n_widths.idxmax()
    here: Table = table[table["hook"] == hook]
    widths = here[(here["family"] == family) & (here["sparsity"] == sparsity)]
    widths = widths.drop_duplicates(["expansion", "partner"])
    rest = here[here["expansion"].isin(_usual(here)) & here["family"].isin(list(FAMILIES))]
    kinds = _nearest(rest, float(widths["l0"].mean()))
    threshold = table["threshold"].iloc[0]
    figure, all_axes = panels(3, 3, (2.75, 2.9), sharey=True)
    measures = {
        "share_above": "of the features that fire",
        "share_of_all": "of all features, dead ones too",
    }
    for axes, (measure, title) in zip(all_axes, measures.items(), strict=False):
        for partner, (label, style) in PARTNERS.items():
            line = widths[widths["partner"] == partner].sort_values(by="expansion")
            _line(axes, line["expansion"], line, measure, style, label)
        ticks = sorted(widths["expansion"].unique())
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"×{width}" for width in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("width of the SAE")
        axes.set_title(f"widths: {title}", fontsize=9)
    all_axes[0].set_ylabel(f"share of features with\na partner of r {threshold:g} or more")
    families = [name for name in FAMILIES if name in set(kinds["family"])]
    for index, (partner, (label, style)) in enumerate(PARTNERS.items()):
        found = kinds[kinds["partner"] == partner].set_index("family").reindex(families)
        x = np.arange(len(families)) + 0.12 * (index - 1.5)
        _line(all_axes[2], x, found, "share_above", style | {"linestyle": "none"}, label)
    all_axes[2].set_xticks(
        range(len(families)), [FAMILIES[name] for name in families], rotation=40, ha="right"
    )
    all_axes[2].set_title("architectures: of features that fire", fontsize=9)
    all_axes[0].set_ylim(-0.02, 1)
    legend_below(figure, all_axes[:1], 3)
    return figure


def _usual(table: Table) -> list[int]:
    """Return the width that most families have."""
    return table.groupby("expansion")["family"].nunique().sort_values().index[-1:].tolist()


def _nearest(table: Table, l0: float) -> Table:
    """Return the rows of one sparsity of each family: that whose L0 is nearest, by ratio."""
    off = np.abs(np.log(table["l0"] / l0)).groupby([table["family"], table["sparsity"]]).first()
    chosen = off.reset_index().sort_values("l0").drop_duplicates("family")
    return table.merge(chosen[["family", "sparsity"]]).drop_duplicates(["family", "partner"])


def by_training(shares: Table, losses: Table) -> Figure:
    """Draw what is shared along the training of two LMs, a column per hook; below it their loss."""
    hooks = list(dict.fromkeys(shares["hook"]))
    measures = _measures(shares)
    n_rows = len(measures) + 2
    figure, axes_list = panels(n_rows * len(hooks), len(hooks), (4.6, 2.5), sharey="row")
    grid = np.array(axes_list).reshape(n_rows, len(hooks))
    for column, hook in zip(grid.T, hooks, strict=True):
        found = shares[shares["hook"] == hook]
        for axes, measure in zip(column, measures, strict=False):
            for index, (comparison, (label, style)) in enumerate(COMPARISONS.items()):
                rows = found[found["comparison"] == comparison].sort_values(by="share")
                _line(axes, _places(rows, losses, index), rows, measure, style, label)
            axes.set_ylim(-0.02, 1)
        _counts(column[-2], found[found["comparison"] == "other_lm"], losses)
        _losses(column[-1], losses)
        column[0].set_title(_hook(hook))
    labels = [*measures.values(), "features of A", "cross-entropy\n(nats / token)"]
    ticks = sorted(losses["share"].unique())
    for row, label in zip(grid, labels, strict=True):
        row[0].set_ylabel(label)
        for axes in row:
            axes.set_xticks(range(len(ticks)), [f"{tick:.3g}" for tick in ticks])
            axes.tick_params(labelleft=True)
    for axes in grid[-1]:
        axes.set_xlabel("share of the training done (0: untrained LMs)")
    legend_below(figure, grid[0], 3)
    first = shares.iloc[0]
    figure.suptitle(
        "When do features come to be shared? (bars: 95% over documents; "
        f"n = {first['n_positions']} positions, {first['n_documents']} documents)"
    )
    return figure


def _hook(name: str) -> str:
    """Return a hook in words: layer 3, MLP output."""
    _, layer, *site = name.split(".")
    sites = {"hook_mlp_out": "MLP output", "hook_resid_post": "residual stream"}
    return f"layer {layer}, {sites.get('.'.join(site), '.'.join(site))}"


def _places(rows: Table, losses: Table, index: int) -> np.ndarray:
    """Return where to draw: shares one by one, since they are far from evenly spaced."""
    return np.searchsorted(sorted(losses["share"].unique()), rows["share"]) + 0.05 * (index - 1.5)


def _counts(axes: Axes, rows: Table, losses: Table) -> None:
    rows = rows.sort_values(by="share")
    for index, (name, label) in enumerate({"n_features": "alive", "n_shared": "in B"}.items()):
        axes.plot(_places(rows, losses, 1), rows[name], **look(3 * index), label=label)
    axes.set_ylim(bottom=0)
    axes.legend(loc="best")


def _losses(axes: Axes, losses: Table) -> None:
    for index, (_, rows) in enumerate(losses.groupby("lm")):
        rows = rows.sort_values(by="share")
        bars = _bars(rows["loss"], rows["loss_low"], rows["loss_high"])
        axes.errorbar(
            _places(rows, losses, index + 1), rows["loss"], bars, capsize=2,
            label=names.model(str(rows["model"].iloc[-1])), **look(index + 5),
        )  # fmt: skip
    axes.legend()


def _line(axes: Axes, x: Any, rows: Table, measure: str, style: dict, label: str) -> None:
    bars = _bars(rows[measure], rows[f"{measure}_low"], rows[f"{measure}_high"])
    axes.errorbar(x, rows[measure], bars, capsize=2, elinewidth=0.8, label=label, **style)
    name = "null: positions shifted"
    known = name in axes.get_legend_handles_labels()[1]
    axes.plot(
        x, rows[f"{measure}_null"], "_", color=NULL_COLOR, mew=1.8, ms=7,
        label=None if known else name,
    )  # fmt: skip


def _bars(value: Any, low: Any, high: Any) -> np.ndarray:
    """Return the lengths of error bars `(2, n)`."""
    ends = np.atleast_2d(np.array([value - low, high - value], dtype=float))
    return np.nan_to_num(np.maximum(ends.reshape(2, -1), 0))


def _measures(table: Table) -> dict[str, str]:
    threshold = table["threshold"].iloc[0]
    return {
        "median_r": "median best-match r",
        "share_above": f"features that fire\nwith r of {threshold:g} or more",
    }
