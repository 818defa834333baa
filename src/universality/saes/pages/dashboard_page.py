"""Dashboards as one HTML page that needs no network: template, style and script go into it."""

from collections.abc import Sequence

import numpy as np

from universality.saes.pages.dashboard_content import About, Feature

WIDTH, HEIGHT = 320, 90
"""Of the histograms, in units of their drawing."""
_CONTROL = {code: chr(0x2400 + code) for code in range(32)} | {ord("\n"): "↵", 0x7F: "␡"}


def render(about: About, features: Sequence[Feature]) -> str:
    """Return the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("universality.saes.pages", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "num": number,
        "fixed": fixed,
        "shown": visible,
        "spaced": spaced,
        "bars": bars,
    }
    page = environment.get_template("dashboard.html")
    source = {name: environment.loader.get_source(environment, f"dashboard.{name}")[0]  # pyright: ignore[reportOptionalMemberAccess]
              for name in ("css", "js")}  # fmt: skip
    shown = {feature.firing.feature for feature in features}
    return page.render(about=about, features=features, shown_features=shown, **source)


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
