"""Figure of two proposed remedies: residual SAEs, and decoders made orthogonal."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.core.style import NULL_COLOR, look, panels

Table = Any
"""A pandas DataFrame, whose stubs know too little of what a column gives."""

KINDS = {
    "first": "first alone",
    "residual": "first + second\non its residual",
    "single": "one, twice as\nwide and dense",
    "single_longer": "the same, twice\nthe samples",
}
METRICS = {
    "explained_variance": "explained variance",
    "ce_difference": "CE with SAE - CE (nats / token)",
}


def remedies(rivals: Table, cosines: Table, evaluated: Table) -> Figure:
    """Draw residual SAEs against single ones, and plain decoders against penalised ones.

    `rivals` has kind, seed and the metrics; `cosines` family, seed, mean_max_cosine and its null;
    `evaluated` the evaluation of the same grid.
    """
    figure, axes = panels(4, 2, (4.8, 2.9))
    for panel, (metric, label) in zip(axes, METRICS.items(), strict=False):
        names = [kind for kind in KINDS if kind in set(rivals["kind"])]
        groups = [rivals.loc[rivals["kind"] == kind, metric] for kind in names]
        _dots(panel, groups, [KINDS[kind] for kind in names])
        panel.set_ylabel(label)
    families = list(dict.fromkeys(cosines["family"]))
    groups = [cosines.loc[cosines["family"] == name, "mean_max_cosine"] for name in families]
    _dots(axes[2], groups, families)
    null = float(cosines["mean_max_cosine_null"].mean())
    axes[2].axhline(null, color=NULL_COLOR, ls="--", label=f"random directions (null, {null:.2f})")
    axes[2].set_ylabel("largest cosine with another\ndecoder row (mean over features)")
    axes[2].legend(loc="best")
    l0 = round(float(rivals.loc[rivals["kind"] == "first", "l0"].mean()))
    here = evaluated[evaluated["hook"] == cosines["hook"].iloc[0]]
    here = here[(here["l0"] - l0).abs() < 0.5]
    groups = [here.loc[here["family"] == name, "explained_variance"] for name in families]
    _dots(axes[3], groups, families)
    axes[3].set_ylabel("explained variance")
    n_seeds, n_tokens = rivals["seed"].nunique(), int(rivals["n_tokens_ce"].max())
    figure.suptitle(
        f"Remedies on {cosines['model'].iloc[0]}, {cosines['hook'].iloc[0]}, L0 {l0} + {l0} "
        f"(dots: {n_seeds} seeds, bar: their mean; n = {n_tokens} tokens)"
    )
    return figure


def _dots(axes: Axes, groups: list[Table], labels: list[str]) -> None:
    for index, values in enumerate(groups):
        values = np.asarray(values)
        style = look(index)
        axes.plot(np.full(len(values), index), values, ls="", marker=style["marker"],
                  color=style["color"])  # fmt: skip
        axes.hlines(values.mean(), index - 0.25, index + 0.25, color=style["color"], lw=1.2)
    axes.set_xticks(range(len(labels)), labels, fontsize=7.5)
    axes.set_xlim(-0.6, len(labels) - 0.4)
