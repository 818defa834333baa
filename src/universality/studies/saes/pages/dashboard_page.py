"""Dashboards as one HTML page that needs no network: template, style and script go into it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from universality.studies.saes.pages.dashboard_content import About, Feature

if TYPE_CHECKING:
    from jinja2 import Environment

WIDTH, HEIGHT = 320, 90
"""Of the histograms, in units of their drawing."""
_CONTROL = {code: chr(0x2400 + code) for code in range(32)} | {ord("\n"): "↵", 0x7F: "␡"}


def render(about: About, features: Sequence[Feature]) -> str:
    """Return the page."""
    pages = templates("universality.studies.saes.pages")
    pages.filters["bars"] = bars
    return pages.get_template("dashboard.html").render(
        about=about,
        features=features,
        shown_features={feature.firing.feature for feature in features},
        items="features",
        css=source(pages, "dashboard.css"),
        js=source(pages, "dashboard.js"),
    )


def templates(package: str) -> "Environment":
    """Return the templates of `package` with the frame of all pages, and how they show values."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    places = dict.fromkeys((package, "universality.studies.saes.pages"))
    pages = Environment(
        loader=ChoiceLoader([PackageLoader(place, ".") for place in places]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"num": number, "fixed": fixed, "shown": visible, "spaced": spaced}
    return pages


def source(pages: "Environment", name: str) -> str:
    """Return the text of a style or script, which goes into the page as it is."""
    assert pages.loader is not None
    return pages.loader.get_source(pages, name)[0]


def number(value: float) -> str:
    """Return `value` with three significant digits, a true minus and no exponent where it fits."""
    if value == 0:
        return "0"
    text = f"{value:.2e}" if abs(value) < 1e-4 else f"{value:.3g}"
    if "e" in text and abs(value) >= 1e-4:
        text = f"{value:.0f}"
    return text.replace("-", "−")


def fixed(value: float) -> str:
    """Return `value` with two decimals and a true minus."""
    return f"{value:.2f}".replace("-", "−")


def visible(text: str) -> str:
    """Return `text` with control characters, line ends among them, as visible signs."""
    return text.translate(_CONTROL)


def spaced(text: str) -> str:
    """Return `visible(text)` with its spaces visible too, for tokens that stand by themselves."""
    return visible(text).replace(" ", "␣")


def bars(histogram: tuple[np.ndarray, np.ndarray]) -> list[tuple[float, float, float, float]]:
    """Return x, y, width and height of the bars of counts and edges, the highest `HEIGHT`."""
    counts, _ = histogram
    width = WIDTH / len(counts)
    heights = HEIGHT * counts / max(1, counts.max())
    return [
        (round(i * width, 2), round(HEIGHT - h, 2), round(width - 0.6, 2), round(float(h), 2))
        for i, h in enumerate(heights)
        if h > 0
    ]
