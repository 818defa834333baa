"""Figures of the study of spaces: tables in, a figure out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from universality.core import names
from universality.core.style import BASELINES, COLORS, HEAT_MAP, MARKERS, legend_below, panels
from universality.core.tables import where
from universality.studies.spaces.labels import MEASURES

IN_MAPS = list(MEASURES)[:3]
SPACES = {"activations": "LM activations", "features": "SAE features"}
CONCEPTS = {"she_her": "she, her"}
LAST_FILTER = "filter_min_r"
"""The pairing that has passed all filters, as published."""
Pairs = Mapping[str, pd.DataFrame]


def _baseline(axes: Axes, kind: str, x: Any, y: Any, label: str | None, ms: float = 6) -> None:
    """Mark values of a baseline in its own look."""
    look = BASELINES[kind]
    mark = {"color": look["color"], "marker": look["marker"], "ls": "none", "ms": ms}
    axes.plot(x, y, **mark, mew=2.2 if kind == "null" else 0.5, label=label)


def _interval(axes: Axes, row: Mapping[str, Any], place: float, **look: Any) -> None:
    """Mark a value with its interval, if it has one."""
    value = row["value"]
    low, high = (row.get(end, np.nan) for end in ("low", "high"))
    ends = [[value - low], [high - value]] if np.isfinite([low, high]).all() else None
    axes.errorbar(value, place, xerr=ends, capsize=2, **{"ms": 5, "lw": 1.3, **look})


def layers(pairs: Pairs) -> Figure:
    """Draw every layer of A against every layer of B: a row a pair, a column a space and measure.

    A dot marks what is not above the null at q < .05.
    """
    figure, all_axes = panels(
        len(pairs) * len(SPACES) * len(IN_MAPS), len(SPACES) * len(IN_MAPS), (1.75, 1.75)
    )
    images = []
    most = max(table.loc[table["measure"].isin(IN_MAPS), "value"].max() for table in pairs.values())
    places = [(pair, space, m) for pair in names.in_order(list(pairs))
              for space in SPACES for m in IN_MAPS]  # fmt: skip
    for index, (axes, (pair, space, measure)) in enumerate(zip(all_axes, places, strict=True)):
        part = where(pairs[pair], space=space, measure=measure)
        values, q = (
            part.pivot(index="layer_a", columns="layer_b", values=column)
            for column in ("value", "q")
        )
        grid = values.to_numpy()
        images.append(axes.imshow(grid, cmap=HEAT_MAP, norm=Normalize(0, most), aspect="auto"))
        rows, columns = np.nonzero(q.to_numpy() >= 0.05)
        axes.plot(columns, rows, ".", color="white", ms=5)
        axes.set_xticks(range(values.shape[1]), [str(x) for x in values.columns], fontsize=8)
        axes.set_yticks(range(values.shape[0]), [str(x) for x in values.index], fontsize=8)
        if index < len(SPACES) * len(IN_MAPS):
            axes.set_title(f"{SPACES[space]}\n{MEASURES[measure]}", fontsize=8.5)
        axes.set_xlabel("layer of B", fontsize=8)
        if index % (len(SPACES) * len(IN_MAPS)) == 0:
            axes.set_ylabel(
                names.pair(pair).replace(" and ", "\nand ") + "\nlayer of A", fontsize=8
            )
    figure.colorbar(images[0], ax=all_axes, label="similarity", shrink=0.5, aspect=25)
    return figure


def measures(pairs: Pairs) -> Figure:
    """Draw each measure at the layers it finds most alike, beside its null and an untrained LM."""
    keys = names.in_order(list(pairs))
    there = set(pairs[keys[0]]["measure"])
    shown = [m for m in MEASURES if m in there]
    height = 0.3 * len(shown) * len(keys) + 1.2
    figure, all_axes = panels(len(SPACES), 2, (4.4, height), sharey=True)
    for axes, space in zip(all_axes, SPACES, strict=True):
        for i, measure in enumerate(shown):
            for j, pair in enumerate(keys):
                place = i * (len(keys) + 0.8) + j
                part = where(pairs[pair], space=space, measure=measure)
                best = part.loc[part["value"].idxmax()].to_dict()
                first = i == j == 0
                _interval(
                    axes, best, place, fmt=MARKERS[0], color=COLORS[0],
                    label="highest of all pairs of layers (95%)" if first else None,
                )  # fmt: skip
                _baseline(axes, "null", best["null_high"], place, _once(first, NULL_OF_MAP), 10)
                _baseline(axes, "untrained", best["random_lm"], place,
                          _once(first, "an untrained LM in the place of B"))  # fmt: skip
        axes.axvline(0, color="black", lw=0.5)
        axes.set_xlim(-0.05, 1.05)
        axes.set_title(SPACES[space])
        axes.set_xlabel("similarity")
    labels = [f"{MEASURES[m]}: {names.pair(pair)}" for m in shown for pair in keys]
    places = [i * (len(keys) + 0.8) + j for i in range(len(shown)) for j in range(len(keys))]
    all_axes[0].set_yticks(places, labels)
    all_axes[0].invert_yaxis()
    legend_below(figure, all_axes, 3)
    return figure


NULL_OF_MAP = "null: 95% of maps of exchanged documents stay below"


def _in_lines(pair: str) -> str:
    """Return the name of a pair in two lines, where it names both models."""
    return names.pair(pair).replace(" and ", "\nand ")


def _once(first: bool, label: str) -> str | None:
    return label if first else None


def decoders(pairs: Pairs, published: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw the decoder rows of every pairing and filter, at the layers that are most alike.

    `published` are the values of Lan et al. 2024 on other models; their range is a band.
    """
    columns = {"svcca_k1_as_published": "published_svcca", "rsa": "published_rsa",
               "linear_cka_unbiased": None}  # fmt: skip
    keys = names.in_order(list(pairs))
    figure, all_axes = panels(len(columns), len(columns), (3.0, 4.6), sharey=True)
    middles = []
    for axes, (measure, column) in zip(all_axes, columns.items(), strict=True):
        if column is not None:
            values = [row[column] for row in published.values()]
            axes.axvspan(min(values), max(values), color=COLORS[1], alpha=0.25, lw=0,
                         label="published, on other models")  # fmt: skip
        place, middles = 0.0, []
        for pair in keys:
            rows = where(pairs[pair], best=True, measure=measure)
            rows = rows.sort_values("pairing", key=lambda x: x == LAST_FILTER)
            start = place
            for row in rows.to_dict("records"):
                last = row["pairing"] == LAST_FILTER
                _interval(
                    axes, row, place, fmt=MARKERS[0], color=COLORS[0], ms=6 if last else 4,
                    mfc=COLORS[0] if last else "white", lw=1,
                    label="all filters, as published (95%)" if last else "another pairing (95%)",
                )  # fmt: skip
                _baseline(axes, "null", row["null"], place, "null: partners exchanged", 5)
                place += 1
            middles.append((start + place - 1) / 2)
            place += 1.5
        axes.axvline(0, color="black", lw=0.5)
        axes.set_title(MEASURES[measure].replace("SVCCA, k = 1", "SVCCA as published (k = 1)"))
        axes.set_xlabel("similarity")
    all_axes[0].set_yticks(middles, [_in_lines(pair) for pair in keys])
    all_axes[0].tick_params(axis="y", length=0)
    all_axes[0].invert_yaxis()
    legend_below(figure, all_axes, 4)
    return figure


_INSIDE = ["concept", "n", "value", "low", "high", "null", "random"]


def concepts(inside: Pairs, relations: Pairs) -> Figure:
    """Draw concepts: activations at their words alone, and how concepts lie to each other."""
    keys = names.in_order(list(inside))
    figure, all_axes = panels(len(keys) + 1, 3, (3.3, 2.9))
    for axes, pair in zip(all_axes, keys, strict=False):
        # A short text has no concept with documents enough.
        table = where(inside[pair], measure="linear_cka_unbiased").reindex(columns=_INSIDE)
        rows = table.dropna(subset=["value"]).sort_values("concept").to_dict("records")
        for place, row in enumerate(rows):
            first = place == 0
            _interval(axes, row, place, fmt=MARKERS[0], color=COLORS[0],
                      label=_once(first, "positions of the concept (95%)"))  # fmt: skip
            axes.plot(row["random"], place, MARKERS[3], color=COLORS[3], ms=5, mfc="none",
                      label=_once(first, "as many random positions"))  # fmt: skip
            _baseline(axes, "null", row["null"], place, _once(first, "null: exchanged"), 8)
        labels = [f"{CONCEPTS.get(row['concept'], row['concept'])} ({row['n']})" for row in rows]
        axes.set_yticks(range(len(labels)), labels, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(-0.05, 1.05)
        axes.set_title(names.pair(pair), fontsize=9)
        axes.set_xlabel("unbiased CKA inside")
    _relations(all_axes[-1], relations)
    legend_below(figure, all_axes, 3)
    return figure


def _relations(axes: Axes, relations: Pairs) -> None:
    """Mark the most alike pair of layers by the distances from concept to concept."""
    keys = names.in_order(list(relations))
    for i, pair in enumerate(keys):
        for j, space in enumerate(SPACES):
            part = where(relations[pair], space=space)
            if "value" not in part or not np.isfinite(part["value"].to_numpy()).any():
                continue
            best = part.loc[part["value"].idxmax()].to_dict()
            _interval(axes, best, i + 0.3 * j - 0.15, fmt=MARKERS[j], color=COLORS[5 - 3 * j],
                      label=_once(i == 0, f"concept to concept, {SPACES[space]}"))  # fmt: skip
            _baseline(axes, "null", best["null"], i + 0.3 * j - 0.15, None, 6)
    axes.set_yticks(range(len(keys)), [_in_lines(pair) for pair in keys], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(-0.25, 1.05), xlabel="RSA of centroids, most alike layers")
    axes.set_title("From concept to concept", fontsize=9)


HOOKS = {"own": "own layer", "before": "layer before"}
KEPT = {"concept_tokens": "token filter", "none": "no token filter"}


def audit(
    random: pd.DataFrame, variants: pd.DataFrame, published: Mapping[str, Mapping[str, float]]
) -> Figure:
    """Draw what SVCCA gives for nothing, and as released and corrected on our models.

    `published` are the values of Lan et al. 2024, by name, beside ours.
    """
    ours = _audited(variants)
    figure, all_axes = panels(2, 2, (4.7, 0.26 * (len(published) + len(ours)) + 1.3))
    left, right = all_axes
    for index, (name, label) in enumerate(
        {"svcca": "99% of the variance", "svcca_k1": "k = 1, as published"}.items()
    ):
        value = random[name].to_numpy()
        ends = [value - random[f"{name}_low"], random[f"{name}_high"] - value]
        left.errorbar(
            random["n"], value, yerr=np.maximum(ends, 0), fmt=f"{MARKERS[index]}-",
            color=COLORS[5 - 2 * index], capsize=2, label=label,
        )  # fmt: skip
    left.plot(random["n"], random["k1_theory"], ":", color="black", label="√(2 / πn), for k = 1")
    d_a, d_b = int(random["d_a"].iloc[0]), int(random["d_b"].iloc[0])
    left.axvline(5 * (d_a + d_b), color="black", lw=0.7, ls="--", label="n = 5 (d₁ + d₂)")
    left.set(
        xscale="log", ylim=(0, 1.05), xlabel="rows", ylabel="SVCCA",
        title=f"Unrelated Gaussian rows,\n{d_a} and {d_b} columns",
    )  # fmt: skip
    left.legend()
    labels = []
    for row in published.values():
        right.plot(row["published_svcca"], len(labels), MARKERS[3], color=COLORS[1], ms=5,
                   label=_once(not labels, "published, on other models"))  # fmt: skip
        labels.append(f"{row['name']}, n = {int(row['published_n'])}")
    for label, row in ours:
        k1 = row["measure"] == "svcca_k1_as_published"
        _interval(
            right, row, len(labels), fmt=MARKERS[0], color=COLORS[0], mfc=COLORS[0] if k1 else "w",
            label="ours, k = 1 (95%)" if k1 else "ours, 99% of the variance (95%)",
        )  # fmt: skip
        _baseline(right, "null", row["null"], len(labels), "null: partners exchanged", 8)
        labels.append(label)
    right.set(xlim=(0, 1.03), xlabel="SVCCA of decoder rows", title="Published, and on our models")
    right.set_yticks(range(len(labels)), labels, fontsize=8)
    right.invert_yaxis()
    legend_below(figure, [right], 4)
    return figure


def _audited(variants: pd.DataFrame) -> "Sequence[tuple[str, dict[str, Any]]]":
    """Return label and row of every variant of the audit, k = 1 first."""
    found = []
    for measure in ("svcca_k1_as_published", "svcca"):
        for row in where(variants, measure=measure).to_dict("records"):
            layers = f"layers {row['layer_a']}, {row['layer_b']}"
            fed, kept = HOOKS[row["hook"]], KEPT[row["filter"]]
            found.append((f"{layers}: {fed}, {kept}, n = {int(row['n'])}", row))
    return found
