"""The one style of all figures: colour-blind-safe, readable in grey, the same bytes every time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from universality.core.errors import InputError

COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
"""Okabe and Ito's palette, which colour-blind readers tell apart."""
LINES: list[Any] = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 2))]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
HATCHES = ["", "////", "....", "\\\\\\\\", "xxxx", "++", "oo"]
NULL_COLOR = "#8c8c8c"
"""Nulls, controls and baselines."""
BASELINES: dict[str, dict[str, Any]] = {
    "null": {"color": NULL_COLOR, "linestyle": ":", "marker": "|"},
    "untrained": {"color": "#e69f00", "linestyle": "--", "marker": "v"},
    "ceiling": {"color": "#009e73", "linestyle": "-.", "marker": "^"},
}
"""The look of the three baselines, the same in every figure: positions or pairs shuffled; an
untrained model; another SAE seed of the same model, which is as much as can be expected."""
HEAT_MAP = "cividis"
COUNTS = ListedColormap(mpl.colormaps["Blues"](np.linspace(0.35, 1, 256)), "counts")
"""From a blue that shows on white to a dark one."""

_RC: Any = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "hatch.linewidth": 0.6,
    # Letters as letters, not as Type 3 drawings, which journals refuse.
    "pdf.fonttype": 42,
    # Ids in SVG files would be random without it.
    "svg.hashsalt": "universality",
}


_METADATA: dict[str, dict[str, None]] = {
    "svg": dict.fromkeys(("Date", "Creator")),
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
    "png": {"Software": None},
}
"""Format -> what a file of it would say of date and version, and must not."""


@contextmanager
def styled(file_format: str = "svg") -> Iterator[None]:
    """Draw with this style, whatever the user's own matplotlib settings are; `save` in a format."""
    if file_format not in _METADATA:
        raise InputError(f"format is {file_format!r}; there are: {', '.join(_METADATA)}")
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        mpl.rcParams["savefig.format"] = file_format
        yield


def panels(
    n: int, columns: int, size: tuple[float, float], **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a grid of `n` panels of `size` inches each, and its axes."""
    columns = min(columns, n)
    rows = -(-n // columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows))
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    axes = list(grid.flat)
    for unused in axes[n:]:
        unused.remove()
    return figure, axes[:n]


def look(index: int) -> dict[str, Any]:
    """Return colour, line style and marker of series `index`: three ways to tell it apart."""
    n = len(COLORS)
    return {
        "color": COLORS[index % n],
        "linestyle": LINES[(index + index // n) % n],
        "marker": MARKERS[(index + index // n) % n],
    }


def line_look(index: int) -> dict[str, Any]:
    """Return the look of series `index` without markers, for curves of many points."""
    return {name: value for name, value in look(index).items() if name != "marker"}


def legend_below(figure: Figure, all_axes: Iterable[Axes], columns: int) -> None:
    """Put what the panels name below the figure, each name once, nulls last."""
    entries: dict[str, Any] = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    names = sorted(entries, key=lambda name: name.startswith("null"))
    handles = [entries[name] for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=min(columns, len(names)))


def save(figure: Figure, directory: Path, name: str, *, also_png: bool = False) -> None:
    """Write `name` in the format of `styled`, with no date and no version in it.

    Also as PNG where a README shows it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    formats = [mpl.rcParams["savefig.format"], *(["png"] if also_png else [])]
    for file_format in dict.fromkeys(formats):
        figure.savefig(directory / f"{name}.{file_format}", metadata=_METADATA[file_format])
