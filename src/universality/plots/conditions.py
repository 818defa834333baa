"""Figures about the conditions under which features are shared: tables in, a figure out."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from universality.matching.conditions.conditions import pair_curve
from universality.plots.style import NULL_COLOR, legend_below, line_look, look, panels

Table = Any
"""A pandas DataFrame or a row of one, whose stubs know too little of what a column gives."""

PARTNERS = {
    "sae_seed": "same LM, other SAE seed",
    "sae_seed_drawn": "same LM, other SAE seed,\nequal number searched",
    "other_lm": "other LM",
    "random_lm": "control: untrained LM",
}
COMPARISONS = {
    "sae_seed": "A in A, other SAE seed",
    "other_lm": "A in B, equally trained",
    "final": "trained A in A so far",
    "final_of_other_lm": "trained A in B so far",
}
_R = "best-match Pearson correlation r"


def pair_curves(tables: Mapping[str, Mapping[str, Table]]) -> Figure:
    """Draw the share of features above each threshold, a line per pair of the matching study.

    `tables` are those of `match`, by pair and name. Intervals are drawn where they are known: at
    one threshold.
    """
    thresholds = np.linspace(0, 1, 101)
    curves, headlines = {}, {}
    for pair, named in tables.items():
        curves[pair] = pair_curve(named["features"], named["headline"], thresholds)
        pooled = named["headline"].query("selection == 'best_layer' and layer_a < 0")
        headlines[pair] = pooled.iloc[0]
    figure, (axes,) = panels(1, 1, (6.4, 4.2))
    for index, (pair, table) in enumerate(curves.items()):
        style, row = line_look(index), headlines[pair]
        n = int(table["n_features"].iloc[0])
        axes.plot(table["threshold"], table["share"], **style, label=f"{pair} (n = {n})")
        axes.plot(table["threshold"], table["share_null"], color=NULL_COLOR, lw=0.9)
        value, low, high = (row[f"share_above{end}"] for end in ("", "_low", "_high"))
        axes.errorbar(
            # Side by side, so that none hides another.
            row["threshold"] + 0.006 * (index - (len(curves) - 1) / 2), value,
            _bars(value, low, high), fmt=look(index)["marker"], color=style["color"], capsize=2,
            ms=4, lw=1,
        )  # fmt: skip
    axes.plot([], [], color=NULL_COLOR, lw=0.9, label="null: positions of B shifted, each pair")
    axes.axhline(0.5, color="black", lw=0.6, ls=":", label="half of the features: the median r")
    axes.set(xlabel=f"threshold on the {_R}", ylabel="share of A's alive features", ylim=(0, 1.02))
    axes.set_xlim(0, 1)
    axes.legend(fontsize=7)
    n = sorted({int(row["n_positions"]) for row in headlines.values()})
    figure.suptitle(
        "Shared features by what counts as shared\n(each layer of A with its best layer of B; "
        f"bars: 95% over documents, {_span(n)} positions)",
        fontsize=9,
    )
    return figure


def of_grid(recipes: Table) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of one grid of SAEs, and their names: by L0 and by width."""
    for hook, here in recipes.groupby("hook", sort=False):
        end = "" if recipes["hook"].nunique() == 1 else f"_{str(hook).replace('.', '_')}"
        if (here.groupby("family")["sparsity"].nunique() > 1).any():
            yield f"l0{end}", by_l0(here)
        for (family, sparsity), sweep in here.groupby(["family", "sparsity"]):
            if sweep["expansion"].nunique() > 1:
                yield f"{family}_{sparsity:g}{end}", by_width(sweep)


def recipe_curves(curves: Table, recipes: Table) -> Figure:
    """Draw the same for the SAEs of a grid: a panel per partner, a line per family and width.

    Of each family and width one sparsity is drawn: that whose L0 is nearest to the median L0.
    """
    partners = [name for name in PARTNERS if (curves["partner"] == name).any()]
    figure, all_axes = panels(len(partners), 2, (4.4, 3.2), sharey=True)
    chosen = _nearest(recipes, float(recipes["l0"].median()))
    for axes, partner in zip(all_axes, partners, strict=True):
        for index, one in enumerate(chosen):
            same = (curves[list(_RECIPE)] == [one[name] for name in _RECIPE]).all(axis=1)
            rows = curves[same & (curves["partner"] == partner)]
            style = line_look(index)
            label = f"{one['family']} ×{one['expansion']}, L0 {one['l0']:.0f}"
            axes.plot(rows["threshold"], rows["share"], **style, label=label)
            axes.fill_between(
                rows["threshold"], rows["share_low"], rows["share_high"], color=style["color"],
                alpha=0.15, lw=0,
            )  # fmt: skip
            axes.plot(rows["threshold"], rows["share_null"], color=NULL_COLOR, lw=0.8)
        axes.set_title(PARTNERS[partner].replace("\n", " "))
        axes.set(xlabel=f"threshold on the {_R}", ylim=(0, 1.02), xlim=(0, 1))
        axes.tick_params(labelleft=True)
    for axes in all_axes[::2]:
        axes.set_ylabel("share of alive features")
    legend_below(figure, all_axes, 3)
    figure.suptitle(
        f"{_name(recipes)}: shared features by what counts as shared\n{_seeds(recipes)}"
    )
    return figure


def by_l0(recipes: Table) -> Figure:
    """Draw median r and shares above the threshold over L0, a line per family.

    `recipes` has one row per recipe and partner, with means and t intervals over SAE seeds.
    """
    partners = [name for name in ("sae_seed", "other_lm", "random_lm") if name in _in(recipes)]
    measures = _measures(recipes)
    n = len(measures) * len(partners)
    figure, all_axes = panels(n, len(partners), (3.6, 2.7), sharey="row", sharex=True)
    cells = [(measure, partner) for measure in measures for partner in partners]
    for axes, (measure, partner) in zip(all_axes, cells, strict=True):
        rows = recipes[recipes["partner"] == partner]
        for index, (family, line) in enumerate(rows.groupby("family", sort=False)):
            line = line.sort_values(by="l0")
            _line(axes, line["l0"], line, measure, look(index), str(family))
        axes.set_xscale("log", base=2)
        ticks = [2.0**k for k in range(11) if 0.8 * rows["l0"].min() < 2**k < rows["l0"].max()]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(PARTNERS[partner] if measure == "median_r" else "")
        axes.set(xlabel="L0 (active features / token)", ylim=(-0.02, 1))
        axes.tick_params(labelleft=True, labelbottom=True)
    for index, label in enumerate(measures.values()):
        all_axes[index * len(partners)].set_ylabel(label)
    legend_below(figure, all_axes, 5)
    figure.suptitle(f"{_name(recipes)}: sparsity and architecture\n{_seeds(recipes)}")
    return figure


def by_width(recipes: Table) -> Figure:
    """Draw median r, shares above the threshold and alive features over width, a line per partner.

    `recipes` are those of one family and sparsity.
    """
    measures = _measures(recipes)
    figure, all_axes = panels(len(measures) + 1, 2, (4.2, 3.1))
    for axes, (measure, label) in zip(all_axes, measures.items(), strict=False):
        for index, (partner, name) in enumerate(PARTNERS.items()):
            line = recipes[recipes["partner"] == partner].sort_values(by="expansion")
            x = line["expansion"] * 1.03 ** (index - 1.5)  # a small step sideways
            _line(axes, x, line, measure, look(index), name)
        axes.set(ylabel=label, ylim=(-0.02, 1))
    line = recipes[recipes["partner"] == "sae_seed"].sort_values(by="expansion")
    counts = {"d_sae": "all", "n_features": "alive", "n_shared": "shared (other SAE seed)"}
    for index, (column, name) in enumerate(counts.items()):
        all_axes[-1].plot(line["expansion"], line[column], **look(index + 4), label=name)
    all_axes[-1].set_yscale("log", base=2)
    all_axes[-1].set_ylabel("features (mean over SAE seeds)")
    all_axes[-1].legend()
    widths = sorted(recipes["expansion"].unique())
    for axes in all_axes:
        axes.set_xscale("log", base=2)
        axes.set_xticks(widths, [f"×{width}" for width in widths])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("expansion (d_sae / d_in)")
    legend_below(figure, all_axes[:1], 3)
    l0 = recipes["l0"].mean()
    family = recipes["family"].iloc[0]
    figure.suptitle(f"{_name(recipes)}: width of {family} at L0 {l0:.0f}\n{_seeds(recipes)}")
    return figure


def by_training(shares: Table, losses: Table) -> Figure:
    """Draw what is shared along the training of two LMs, a column per hook; below it their loss."""
    hooks = list(dict.fromkeys(shares["hook"]))
    measures = dict(list(_measures(shares).items())[:2])  # all SAEs are of one size
    n_rows = len(measures) + 2
    figure, axes_list = panels(n_rows * len(hooks), len(hooks), (4.6, 2.5), sharey="row")
    grid = np.array(axes_list).reshape(n_rows, len(hooks))
    for column, hook in zip(grid.T, hooks, strict=True):
        found = shares[shares["hook"] == hook]
        for axes, measure in zip(column, measures, strict=False):
            for index, (comparison, label) in enumerate(COMPARISONS.items()):
                rows = found[found["comparison"] == comparison].sort_values(by="share")
                _line(axes, _places(rows, losses, index), rows, measure, look(index), label)
            axes.set_ylim(-0.02, 1)
        _counts(column[-2], found[found["comparison"] == "other_lm"], losses)
        _losses(column[-1], losses)
        column[0].set_title(hook)
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


def _places(rows: Table, losses: Table, index: int) -> np.ndarray:
    """Return where to draw: shares one by one, since they are far from evenly spaced."""
    return np.searchsorted(sorted(losses["share"].unique()), rows["share"]) + 0.05 * (index - 1.5)


def _counts(axes: Axes, rows: Table, losses: Table) -> None:
    rows = rows.sort_values(by="share")
    for index, (name, label) in enumerate({"n_features": "alive", "n_shared": "in B"}.items()):
        axes.plot(_places(rows, losses, 1), rows[name], **look(index + 4), label=label)
    axes.set_ylim(0, 1.35 * rows["n_features"].max())
    axes.legend(loc="upper left", ncols=2)


def _losses(axes: Axes, losses: Table) -> None:
    for index, (lm, rows) in enumerate(losses.groupby("lm")):
        rows = rows.sort_values(by="share")
        bars = _bars(rows["loss"], rows["loss_low"], rows["loss_high"])
        axes.errorbar(
            _places(rows, losses, index + 1), rows["loss"], bars, capsize=2,
            label=f"LM {str(lm).upper()}: {rows['model'].iloc[-1]}", **look(index + 5),
        )  # fmt: skip
    axes.legend()


def _line(axes: Axes, x: Any, rows: Table, measure: str, style: dict, label: str) -> None:
    bars = _bars(rows[measure], rows[f"{measure}_low"], rows[f"{measure}_high"])
    axes.errorbar(x, rows[measure], bars, capsize=2, elinewidth=0.8, label=label, **style)
    known = "null: positions shifted" in axes.get_legend_handles_labels()[1]
    axes.plot(
        x, rows[f"{measure}_null"], "_", color=NULL_COLOR, mew=1.5,
        label=None if known else "null: positions shifted",
    )  # fmt: skip


def _bars(value: Any, low: Any, high: Any) -> np.ndarray:
    """Return the lengths of error bars `(2, n)`."""
    ends = np.atleast_2d(np.array([value - low, high - value], dtype=float))
    return np.maximum(ends.reshape(2, -1), 0)


_RECIPE = ("family", "sparsity", "expansion")


def _nearest(recipes: Table, l0: float) -> list[dict[str, Any]]:
    """Return, of each family and width, the recipe whose L0 is nearest to `l0`, by ratio."""
    own = recipes.drop_duplicates(list(_RECIPE))
    off = np.abs(np.log(own["l0"] / l0))
    rows = off.groupby([own["family"], own["expansion"]], sort=False).idxmin()
    return own.loc[rows, [*_RECIPE, "l0"]].to_dict("records")


def _measures(table: Table) -> dict[str, str]:
    threshold = table["threshold"].iloc[0]
    return {
        "median_r": "median best-match r",
        "share_above": f"alive features\nwith r of {threshold:g} or more",
        "share_of_all": f"all features, dead ones too,\nwith r of {threshold:g} or more",
    }


def _in(recipes: Table) -> set[str]:
    return set(recipes["partner"])


def _name(recipes: Table) -> str:
    first = recipes.iloc[0]
    return f"{first['model']} layer {first['layer']} {first['site']}"


def _seeds(recipes: Table) -> str:
    n = recipes["n_features"]
    return (
        f"(bars and bands: 95% t intervals over {recipes['n_seeds'].max()} SAE seeds; "
        f"n = {n.min():.0f} to {n.max():.0f} alive features, "
        f"{recipes['n_positions'].iloc[0]:.0f} positions)"
    )


def _span(values: list[int]) -> str:
    return f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
