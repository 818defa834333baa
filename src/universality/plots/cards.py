"""Figures of the cards of matched features: tables in, a figure out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from universality.plots.style import COLORS, COUNTS, HATCHES, NULL_COLOR, legend_below, panels
from universality.saes.pages.dashboard_page import visible

Tables = Mapping[str, Mapping[str, pd.DataFrame]]
"""Pair -> table name -> table, as the stage of the cards writes them."""

LABELS = {
    "a_more_general": "A more general",
    "alike": "alike",
    "b_more_general": "B more general",
    "apart": "apart: neither in the other",
    "undecided": "undecided",
}
GROUPS = {
    "top_a": "where A fires most",
    "top_b": "where B fires most",
    "only_a": "where A fires and B does not (drawn at random)",
    "only_b": "where B fires and A does not (drawn at random)",
}

_WIDTH, _GAP, _FONT = 78, 4, 6.8
"""Characters of a context, between the columns, and their size in points."""
_HEAD, _LINE = 4, 1.75
"""Lines of a card before its contexts; distance of lines, over the size of the characters."""
_ADVANCE = 0.602
"""Width of a character of DejaVu Sans Mono, over its size."""


def cards(tables: Mapping[str, pd.DataFrame], name: str, n_each: int, n_top: int) -> Figure:
    """Draw `n_each` of the best pairs and of those drawn at random, each with some contexts.

    A's activations are on the left, B's on the same text on the right: `n_top` contexts where each
    of the two fires most, and one where it fires alone.
    """
    shown = tables["cards"].groupby("top", sort=False).head(n_each).to_dict(orient="records")
    lines = [_lines(tables["contexts"], card["card"], n_top) for card in shown]
    height = 3.5 + sum(_HEAD + len(of_card) for of_card in lines)
    n_columns = 2 * _WIDTH + _GAP + 4
    size = n_columns * _ADVANCE * _FONT / 72, height * _LINE * _FONT / 72
    figure = Figure(figsize=size)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-2, n_columns - 2), ylim=(height, 0))
    axes.axis("off")
    title = f"{name}: cards of matched features (left: A, right: B, on the same text)"
    axes.text(0, 1, title, fontsize=9.5)
    y = 2.5
    for card, of_card in zip(shown, lines, strict=True):
        _draw_head(axes, y, card)
        for place, line in enumerate(of_card):
            _draw_line(axes, y + _HEAD - 0.7 + place, card, line)
        y += _HEAD + len(of_card)
    axes.text(
        0, height - 0.3, "shading: activation over the feature's highest; frame: the position that "
        "the context is about, dotted where the feature does not fire; intervals: 95% over "
        "documents", fontsize=_FONT, color="#4d4d4d", va="bottom",
    )  # fmt: skip
    return figure


def _lines(contexts: pd.DataFrame, card: int, n_top: int) -> list[Any]:
    """Return the lines of a card: titles of groups, and contexts, A's tokens and B's."""
    lines: list[Any] = []
    for group, title in GROUPS.items():
        most = n_top if group.startswith("top") else 1
        rows = contexts.query(f"card == {card} and group == {group!r} and rank < {most}")
        lines += [title] if len(rows) else []
        lines += [[side for _, side in both.groupby("side")] for _, both in rows.groupby("rank")]
    return lines


def _draw_head(axes: Axes, y: float, card: Mapping[str, Any]) -> None:
    def interval(name: str) -> str:
        return f"{card[name]:.2f} [{card[f'{name}_low']:.2f}, {card[f'{name}_high']:.2f}]"

    axes.axhline(y - 0.4, color="#b0b0b0", lw=0.6)
    axes.text(
        0, y + 0.8, f"A/{card['layer_a']}/{card['feature_a']} and B/{card['layer_b']}/"
        f"{card['partner']}  ({card['chosen']}): {LABELS[card['label']]}",
        fontsize=8, fontweight="bold", va="center",
    )  # fmt: skip
    axes.text(
        0, y + 2.1, f"r = {interval('r')}, null {card['null_r']:.2f};  "
        f"P(B|A) = {interval('p_b_given_a')}, null {card['p_b_given_a_null']:.3f};  "
        f"P(A|B) = {interval('p_a_given_b')}, null {card['p_a_given_b_null']:.3f};  "
        f"n = {card['n_a']} positions of A, {card['n_b']} of B, {card['n_both']} of both",
        fontsize=_FONT + 0.4, va="center",
    )  # fmt: skip


def _draw_line(axes: Axes, y: float, card: Mapping[str, Any], line: Any) -> None:
    if isinstance(line, str):
        axes.text(0, y + 0.5, line, fontsize=_FONT, style="italic", color="#4d4d4d", va="center")
        return
    for left, side, tokens in zip((0, _WIDTH + _GAP), "ab", line, strict=True):
        _draw_context(axes, left, y, tokens, card[f"highest_{side}"])


def _draw_context(axes: Axes, left: float, y: float, tokens: pd.DataFrame, highest: float) -> None:
    """Draw one line of text with the peak in its middle, as far as it fits."""
    texts = [visible(text) for text in tokens["text"]]
    values, peak = tokens["value"].to_numpy(), int(np.argmax(tokens["peak"]))
    ends = np.cumsum([0, *map(len, texts)])
    ends = ends - ends[peak] + _WIDTH // 2
    for i, text in enumerate(texts):
        if ends[i] < 0 or ends[i + 1] > _WIDTH:
            continue
        x, is_peak = left + ends[i], i == peak
        if values[i] > 0 or is_peak:
            axes.add_patch(
                Rectangle(
                    (x, y + 0.06), len(text), 0.88,
                    facecolor=_heat(values[i] / highest) if values[i] > 0 else "none",
                    edgecolor="black" if is_peak else "none", lw=0.8,
                    linestyle="-" if values[i] > 0 else ":", zorder=2 if is_peak else 1,
                )
            )  # fmt: skip
        # Spaces are counted, not drawn.
        indent = len(text) - len(text.lstrip(" "))
        axes.text(
            x + indent, y + 0.66, text.strip(" "), fontsize=_FONT, family="DejaVu Sans Mono",
            parse_math=False, zorder=3,
        )  # fmt: skip


def _heat(share: float) -> tuple[float, ...]:
    alpha = 0.12 + 0.88 * min(1.0, float(share))
    return tuple(1 - alpha * (1 - channel) for channel in to_rgb(COLORS[4]))


def asymmetry(tables: Tables) -> Figure:
    """Draw P(B|A) against P(A|B) of every pair of features, one panel per pair of models."""
    figure, all_axes = panels(len(tables), 3, (3.5, 3.3), sharex=True, sharey=True)
    images = []
    for axes, (name, named) in zip(all_axes, tables.items(), strict=True):
        table = named["asymmetry"]
        pooled = named["summary"].query("layer_a < 0 and subset == 'all'").iloc[0]
        hexagons = axes.hexbin(
            table["p_a_given_b"], table["p_b_given_a"], gridsize=24, extent=(0, 1, 0, 1),
            bins="log", mincnt=1, cmap=COUNTS, linewidths=0.1, rasterized=True,
        )  # fmt: skip
        images.append(hexagons)
        contained, wider = pooled["contained"], pooled["wider"]
        axes.plot([0, 1], [0, 1], color="black", lw=0.8, label="both fire as often")
        for x, y in ((1 / wider, 1), (1, 1 / wider)):
            label = f"one fires {wider:g} times as often" if y == 1 else None
            axes.plot([0, x], [0, y], color="black", lw=0.8, ls=":", label=label)
        null = [table[f"{key}_null"].median() for key in ("p_a_given_b", "p_b_given_a")]
        axes.plot(
            *([value] for value in null), "P", color=NULL_COLOR, mec="black", ms=8, clip_on=False,
            label="null: median densities", ls="none",
        )  # fmt: skip
        axes.plot(
            [contained, contained, 0], [0, contained, contained], color=COLORS[1], ls="--", lw=1,
            label=f"both below {contained:g}: apart",
        )  # fmt: skip
        general = " ".join(
            f"{side} {pooled[f'share_{side.lower()}_more_general']:.0%}" for side in "AB"
        )
        axes.set_title(f"{name}\nn = {len(table)} pairs; more general: {general}", fontsize=8.5)
        axes.set(xlabel="P(A fires | B fires)", ylabel="P(B fires | A fires)")
        axes.tick_params(labelbottom=True, labelleft=True)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.text(0.03, 0.97, "B more general", fontsize=7, va="top")
        axes.text(0.97, 0.03, "A more general", fontsize=7, ha="right")
    most = max(float(image.get_array().max()) for image in images)
    for image in images:
        image.set_clim(1, max(most, 10))
    figure.colorbar(images[0], ax=all_axes, label="pairs of features", shrink=0.7)
    legend_below(figure, all_axes, 2)
    figure.suptitle("Whose firing contains whose")
    return figure


def label_shares(tables: Tables) -> Figure:
    """Draw the share of each label by pair of models: of all pairs, and of mutual ones."""
    subsets = {"all": "all of A's features", "mutual": "mutual nearest only"}
    figure, all_axes = panels(2, 2, (4.6, 1.0 * len(tables) + 1.1), sharey=True, sharex=True)
    names = list(tables)
    for axes, (subset, title) in zip(all_axes, subsets.items(), strict=True):
        rows = {
            name: named["summary"].query("layer_a < 0 and subset == @subset").iloc[0]
            for name, named in tables.items()
            if subset in named["summary"]["subset"].unique()
        }
        _label_bars(axes, rows, [names.index(name) for name in rows])
        axes.set_xlabel(f"share of pairs: {title}")
    all_axes[0].set_yticks(range(len(names)), names)
    all_axes[0].invert_yaxis()
    legend_below(figure, all_axes, 3)
    figure.suptitle(
        "Which of two matched features is the more general (all layers; bars: 95% over partners; "
        "null: partners dealt anew)",
        fontsize=9,
    )
    return figure


def _label_bars(axes: Axes, rows: Mapping[str, pd.Series], places: Sequence[int]) -> None:
    table, height = pd.DataFrame(list(rows.values())), 0.8 / len(LABELS)
    for index, (key, label) in enumerate(LABELS.items()):
        name = f"share_{key}"
        ends = table[[f"{name}_low", f"{name}_high", name, f"{name}_null"]].to_numpy(float)
        low, high, value, null = ends.T
        y = np.array(places) + (index - (len(LABELS) - 1) / 2) * height
        axes.barh(
            y, value, height * 0.9, color=COLORS[index], hatch=HATCHES[index], edgecolor="black",
            xerr=[np.maximum(value - low, 0), np.maximum(high - value, 0)], lw=0.6,
            error_kw={"lw": 1}, label=label,
        )  # fmt: skip
        axes.plot(null, y, "|", color="black", ms=7, mew=2, label="null" if not index else None)
    for place, n in zip(places, table["n_pairs"], strict=True):
        axes.text(1.01, place, f"n = {n}", va="center", fontsize=6.5)
    axes.set_xlim(0, 1.12)
