"""Figures of the cards of matched features: tables in, a figure out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from universality.core import names
from universality.core.style import COLORS
from universality.studies.saes.pages.dashboard_page import visible

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

_WIDTH, _GAP, _FONT = 54, 3, 6.8
"""Characters of a context, between the columns, and their size in points."""
_HEAD, _LINE = 4.7, 1.75
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
    height = 4.3 + sum(_HEAD + len(of_card) for of_card in lines)
    n_columns = 2 * _WIDTH + _GAP + 4
    size = n_columns * _ADVANCE * _FONT / 72, height * _LINE * _FONT / 72
    figure = Figure(figsize=size)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-2, n_columns - 2), ylim=(height, 0))
    axes.axis("off")
    title = f"{names.pair(name)}: matched features on the same text (left: A, right: B)"
    axes.text(0, 1, title, fontsize=9.5)
    y = 2.5
    for card, of_card in zip(shown, lines, strict=True):
        _draw_head(axes, y, card)
        for place, line in enumerate(of_card):
            _draw_line(axes, y + _HEAD - 0.7 + place, card, line)
        y += _HEAD + len(of_card)
    axes.text(
        0, height - 0.3, "shading: activation over the feature's highest; frame: the position that "
        "the context is about,\ndotted where the feature does not fire; intervals: 95% over "
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
        0, y + 2.4, f"r = {interval('r')}, null {card['null_r']:.2f};  A fires on {card['n_a']} "
        f"positions, B on {card['n_b']}, both on {card['n_both']};\n"
        f"B where A fires: {interval('p_b_given_a')}, null {card['p_b_given_a_null']:.3f};  "
        f"A where B fires: {interval('p_a_given_b')}, null {card['p_a_given_b_null']:.3f}",
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
