"""The report of the committed results, opened from its folder as a reader would."""

from pathlib import Path

import pytest

from universality.present.report.content import STUDIES
from universality.present.report.site import build

ROOT = Path(__file__).parents[2]
PAGES = ["index", "published", "parameters", "provenance", *(study.id for study in STUDIES)]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report")
    build(ROOT, out)
    assert {page.stem for page in out.glob("*.html")} == set(PAGES)
    return out


def opened(browser, page_file, width=1200, scheme="light"):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    return page, said, asked


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone_and_asks_for_nothing_outside(browser, report, name):
    page, said, asked = opened(browser, report / f"{name}.html", width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.evaluate("Promise.all([...document.images].map(image => image.decode()))")  # or it fails
    assert page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.src)") == []
    assert said == []
    assert all(url.startswith("file://") for url in asked)
    page.close()


def test_light_and_dark(browser, report):
    shades = {}
    for scheme in ("light", "dark"):
        page, _, _ = opened(browser, report / "index.html", scheme=scheme)
        shades[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.close()
    assert shades["light"] == "rgb(255, 255, 255)"
    assert max(int(part) for part in shades["dark"][4:-1].split(", ")) < 60


def test_by_keyboard_from_the_index_to_where_a_figure_comes_from(browser, report):
    page, said, _ = opened(browser, report / "index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.get_by_role("link", name="Matching features").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/matching.html")
    figure = page.locator("[id='matching.best_r']")
    figure.locator("summary").focus()
    page.keyboard.press("Enter")
    assert "universality run plot-matching" in figure.locator("pre").inner_text()
    assert said == []
    page.close()
