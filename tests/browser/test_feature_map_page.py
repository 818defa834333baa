"""The feature map in a real browser: what a reader points at, selects, searches and types."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

import planted_map as planted
from universality.core.io import tables_by_name, write_table
from universality.studies.spaces.linked_maps.packed import R_UNIT, unpack

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import feature_map_page  # pyright: ignore[reportMissingImports]

WIDE = {"width": 1400, "height": 1000}
PARTNER = (0xD5, 0x5E, 0)
"""--partner of the style sheet."""


class Watched:
    """A page with all that it said or asked for."""

    def __init__(self, page: Page, file: Path) -> None:
        self.page, self.said, self.asked = page, [], []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: self.said.append(dialog.message))
        page.on("request", self._see)
        self.url = file.as_uri()
        page.goto(self.url)

    def _hear(self, message: ConsoleMessage) -> None:
        self.said.append(message.text)

    def _see(self, request: Request) -> None:
        self.asked.append(request.url.partition("#")[0])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def file(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write_page(world, tmp_path_factory.mktemp("page"))


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Watched]:
    """The page from its file. Whatever a test does, nothing is asked for and nothing goes wrong."""
    context = browser.new_context(viewport=WIDE, color_scheme="light")  # pyright: ignore
    watched = Watched(context.new_page(), file)
    yield watched
    assert watched.said == []
    assert set(watched.asked) == {watched.url}
    context.close()


@pytest.fixture
def page(opened: Watched) -> Page:
    return opened.page


def place(page: Page, side: str, feature: int) -> tuple[float, float]:
    """Return where a feature lies in the window."""
    x, y = page.evaluate("([side, id]) => featureMap.place(side, id)", [side, feature])
    return x, y


def point(page: Page, side: str, feature: int) -> None:
    page.mouse.move(*place(page, side, feature))


def drag(page: Page, path: list[tuple[float, float]]) -> None:
    page.mouse.move(*path[0])
    page.mouse.down()
    for x, y in path[1:]:
        page.mouse.move(x, y, steps=6)
    page.mouse.up()


def selected(page: Page, column: int = 0) -> list[int]:
    """Return the features in a column of the table of the selection."""
    cells = page.locator(f"#rows tbody tr td:nth-child({column + 1})").all_inner_texts()
    return [int(text) for text in cells if text.isdigit()]


def colour(page: Page, side: str, feature: int) -> tuple[int, ...]:
    """Return the colour of the mark on a feature; without one it is transparent, all zeros."""
    x, y = place(page, side, feature)
    found = page.evaluate(
        """([side, x, y]) => {
          const canvas = document.getElementById("map-" + side);
          const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
          // A copy: reading the canvas itself would make the browser complain.
          const copy = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
          const context = copy.getContext("2d");
          const at = [(x - box.left) * scale, (y - box.top) * scale].map(Math.round);
          context.drawImage(canvas, -at[0], -at[1]);
          return [...context.getImageData(0, 0, 1, 1).data];
        }""",
        [side, x, y],
    )
    return tuple(found[:3]) if found[3] else (0, 0, 0, 0)


def pairs_of(file: Path, layers: str, pairing: str) -> list[tuple[int, int, float]]:
    packed = planted.data_of(file)["pairs"][layers][pairing]
    r = unpack(packed["r"]) / R_UNIT
    both = unpack(packed["a"]).tolist(), unpack(packed["b"]).tolist()
    return list(zip(*both, r.tolist(), strict=True))


def test_pointing_shows_a_feature_and_its_partner(page, file):
    expect(page.locator("#details")).to_contain_text("Point at a feature")
    known = {a: (b, r) for a, b, r in pairs_of(file, "0,0", "a_to_b")}
    for feature in (1, 4):
        before = place(page, "a", feature)
        point(page, "a", feature)
        assert place(page, "a", feature) == before  # what is shown does not push the map away
        partner, r = known[feature]
        assert partner == planted.partner(feature)
        blocks = page.locator("#details > div")
        expect(blocks.nth(0).locator("h3")).to_have_text(f"A/0/{feature}")
        expect(blocks.nth(1).locator("h3")).to_have_text(f"B/0/{partner}")
        expect(blocks.nth(1)).to_contain_text(f"r {r:.2f}, null")
        expect(blocks.nth(0).locator(".examples li")).to_have_count(3)
        assert colour(page, "b", partner) == PARTNER
        expect(page.locator("#panel-a .tip")).to_contain_text(f"A/0/{feature}")
    assert colour(page, "b", planted.partner(1)) == (0, 0, 0, 0)


def test_the_feature_of_cats_shows_cats(page):
    point(page, "a", 1)
    own = page.locator("#details > div").nth(0)
    expect(own.locator("p.tokens")).to_have_text("cat 100%")
    framed = own.locator("mark").all_inner_texts()
    assert len(framed) == 3
    assert {text.strip().lower() for text in framed} == {"cat"}


def test_tokens_that_are_markup_are_text(page, file):
    ids = unpack(planted.data_of(file)["a"]["layers"]["0"]["feature"]).tolist()
    seen = ""
    for feature in ids:
        point(page, "a", feature)
        seen += page.inner_text("#details")
    for text in ("<b>", "&amp;", "</script>", "↵"):
        assert text in seen
    expect(page.locator("#details b")).to_have_count(0)


def test_a_box_selects_and_marks_partners(page, file):
    # Features 0 to 7 of A lie in the two lower rows.
    (left, bottom), (right, top) = place(page, "a", 0), place(page, "a", 7)
    drag(page, [(left - 6, bottom + 6), (right + 6, top - 6)])
    known = {a: b for a, b, _ in pairs_of(file, "0,0", "a_to_b")}
    assert sorted(selected(page)) == list(range(8))
    partners = {known[feature] for feature in range(8)}
    assert set(selected(page, 3)) == partners
    expect(page.locator("#selected")).to_have_text(
        f"8 features of A are selected; {len(partners)} partners in B are marked."
    )
    for feature in range(planted.D_B):
        assert (colour(page, "b", feature) == PARTNER) == (feature in partners)
    # With Shift, more; a box on the other side begins anew.
    page.keyboard.down("Shift")
    x, y = place(page, "a", 9)
    drag(page, [(x - 6, y - 6), (x + 6, y + 6)])
    page.keyboard.up("Shift")
    assert sorted(selected(page)) == [*range(8), 9]
    x, y = place(page, "b", 5)
    drag(page, [(x - 6, y - 6), (x + 6, y + 6)])
    assert selected(page) == [5]
    page.click("#clear")
    assert selected(page) == []
    expect(page.locator("#selected")).to_have_text("Nothing is selected.")


def test_the_table_is_in_the_order_of_r(page):
    (left, bottom), (right, top) = place(page, "a", 0), place(page, "a", 13)
    drag(page, [(left - 6, bottom + 6), (right + 300, top - 6)])
    shown = page.locator("#rows tbody tr td:nth-child(3)").all_inner_texts()
    values = [float(text) for text in shown if text]
    assert len(values) > planted.PLANTED
    assert values == sorted(values, reverse=True)


def test_a_lasso_selects_what_is_in_it(page):
    page.check("input[value=lasso]")
    corners = [place(page, "a", feature) for feature in (0, 3, 12)]
    middle = np.mean(corners, axis=0)
    outline = [tuple(middle + 1.08 * (np.array(corner) - middle)) for corner in corners]
    ids = range(planted.D_A - planted.DEAD)
    inside = Outline(outline).contains_points([place(page, "a", feature) for feature in ids])
    expected = [feature for feature, within in zip(ids, inside, strict=True) if within]
    assert 3 < len(expected) < len(ids)
    drag(page, [*outline, outline[0]])
    assert sorted(selected(page)) == expected


def test_a_click_selects_one_and_another_nothing(page):
    page.mouse.click(*place(page, "a", 6))
    assert selected(page) == [6]
    x, y = place(page, "a", 6)
    page.mouse.click(x + 40, y + 25)
    assert selected(page) == []


def test_search_finds_tokens_and_numbers(page, file):
    side = planted.data_of(file)["a"]
    layer = side["layers"]["0"]
    words = unpack(layer["word"]).reshape(-1, side["n_words"])
    expected = [
        feature
        for feature, row in zip(unpack(layer["feature"]).tolist(), words.tolist(), strict=True)
        if any(i and "sun" in side["words"][i - 1] for i in row)
    ]
    assert 0 < len(expected) < len(words)
    page.fill("#search", "SUN")
    expect(page.locator("#found")).to_contain_text(f"Found {len(expected)} of {len(words)} in A")
    page.click("text=Select those of A")
    assert sorted(selected(page)) == expected
    page.fill("#search", "7")
    expect(page.locator("#found")).to_contain_text("Found 1 of 14 in A, 1 of 12 in B")
    page.press("#search", "Enter")
    expect(page.locator("#details h3").first).to_have_text("A/0/7")
    page.fill("#search", "nowhere")
    expect(page.locator("#found")).to_contain_text("Found 0 of 14 in A, 0 of 12 in B")
    expect(page.locator("text=Select those of A")).to_be_disabled()
    page.fill("#search", "")
    expect(page.locator("#found")).to_be_empty()


def test_pairings_change_partners_and_numbers(page, file, world):
    table = tables_by_name(world / "matches")["pairings"]
    rows = table.query("layer_a == 0 and layer_b == 0").set_index("pairing")
    rival = planted.PLANTED  # its nearest one is nearer to feature 0
    for pairing, name in (
        ("a_to_b", "nearest in B, may be shared"),
        ("b_to_a", "nearest in A, may be shared"),
        ("one_per_b", "nearest in B, one for each of B"),
        ("mutual", "mutual nearest"),
        ("hungarian", "one to one (Hungarian)"),
        ("transport", "optimal transport (entropic)"),
    ):
        page.select_option("#pairing", pairing)
        row = rows.loc[pairing]
        interval = f"[{row['median_r_low']:.2f}, {row['median_r_high']:.2f}]".replace("-", "−")
        expect(page.locator("#numbers")).to_have_text(
            f"Layer 0 of A, layer 0 of B, {name}: {int(row['n_pairs'])} pairs, median r "
            f"{row['median_r']:.2f} {interval}; null: median r {row['median_r_null']:.2f}, "
            f"{round(row['n_pairs_null'])} pairs."
        )
        known = {a: b for a, b, _ in pairs_of(file, "0,0", pairing)}
        page.mouse.move(5, 5)
        point(page, "a", rival)
        second = page.locator("#details .partner")
        if rival in known and pairing != "b_to_a":
            expect(second.locator("h3")).to_have_text(f"B/0/{known[rival]}")
        elif rival not in known:
            expect(second).to_have_text("It has no partner in this pairing.")
    assert rival in {a for a, *_ in pairs_of(file, "0,0", "a_to_b")}
    assert rival not in {a for a, *_ in pairs_of(file, "0,0", "mutual")}


def test_a_shared_partner_lists_all_that_share_it(page, file):
    shared = planted.partner(0)
    known = [a for a, b, _ in pairs_of(file, "0,0", "a_to_b") if b == shared]
    assert len(known) > 1
    point(page, "b", shared)
    expect(page.locator("#details .partner h3")).to_have_text("A/0/0")
    expect(page.locator("#details .others button")).to_have_count(len(known) - 1)
    page.click(f".others button:has-text('{planted.PLANTED} (')")
    expect(page.locator("#details h3").first).to_have_text(f"A/0/{planted.PLANTED}")


def test_layers_change_maps_and_pairings(page, file):
    best = [f"{a},{b}" for a, b, is_best in planted.data_of(file)["layers"] if is_best]
    other = next(f"{a},{b}" for a, b, is_best in planted.data_of(file)["layers"] if not is_best)
    page.mouse.click(*place(page, "a", 6))
    page.select_option("#pairing", "hungarian")
    assert selected(page) == [6]  # another pairing, the same selection
    page.select_option("#layers", other)
    a, b = other.split(",")
    expect(page.locator("#caption-a")).to_contain_text(f"A: one, layer {a}")
    expect(page.locator("#caption-b")).to_contain_text(f"B: two, layer {b}")
    n = len(pairs_of(file, other, "a_to_b"))
    shown = f"nearest in B, may be shared: {n} pairs, median r"
    expect(page.locator("#numbers")).to_contain_text(shown)
    expect(page.locator("#meaning")).to_contain_text("judged for the best layers only")
    assert page.locator("#pairing option:not([disabled])").count() == 1
    page.select_option("#layers", best[1])
    assert page.locator("#pairing option:not([disabled])").count() == 6
    # A number means another feature in another layer.
    assert selected(page) == []


def test_dead_features_are_not_shown_and_said_to_be(page):
    expect(page.locator("#caption-a")).to_contain_text(
        f"14 features, {14} with a partner; 2 of 16 never fire and are not shown."
    )
    assert page.evaluate("featureMap.place('a', 15)") is None


def test_a_partner_that_was_not_drawn_is_named(browser, world, tmp_path):
    lost = planted.partner(1)
    other = tmp_path / "world"
    other.mkdir()
    for folder in ("features", "matches", "corpus"):
        (other / folder).symlink_to(world / folder)
    for name, table in tables_by_name(world / "coordinates").items():
        kept = table.query(f"feature != {lost}") if name == "two_seed1" else table
        write_table(other / "coordinates" / f"{name}.parquet", kept)
    context = browser.new_context(viewport=WIDE)
    watched = Watched(context.new_page(), planted.write_page(other, tmp_path / "page"))
    page = watched.page
    expect(page.locator("#caption-b")).to_contain_text("11 features drawn of 12 that fire")
    page.mouse.click(*place(page, "a", 1))
    expect(page.locator("#details .partner h3")).to_have_text(f"B/0/{lost}")
    expect(page.locator("#details .partner")).to_contain_text("not among the features drawn")
    expect(page.locator("#rows tbody")).to_contain_text(f"{lost} (not on the map)")
    expect(page.locator("#selected")).to_contain_text("1 feature of A is selected; 0 partners")
    page.locator("#map-a").focus()
    page.keyboard.press("p")
    expect(page.locator("#spoken")).to_have_text("No partner on the map.")
    assert watched.said == []
    context.close()


def test_keys_reach_everything(page, file):
    ids = []
    for _ in range(16):
        page.keyboard.press("Tab")
        ids.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    for wanted in ("layers", "pairing", "search", "map-a", "map-b", "details"):
        assert wanted in ids
    page.locator("#map-a").focus()
    ordered = sorted(pairs_of(file, "0,0", "a_to_b"), key=lambda pair: -pair[2])
    title = page.locator("#details h3").first
    page.keyboard.press("Home")
    expect(title).to_have_text(f"A/0/{ordered[0][0]}")
    page.keyboard.press("PageDown")
    expect(title).to_have_text(f"A/0/{ordered[1][0]}")
    page.keyboard.press("PageUp")
    expect(title).to_have_text(f"A/0/{ordered[0][0]}")
    point(page, "a", 5)
    for key, feature in (
        ("ArrowRight", 6), ("ArrowUp", 10), ("ArrowLeft", 9), ("ArrowDown", 5), ("ArrowDown", 1),
    ):  # fmt: skip
        page.keyboard.press(key)
        expect(title).to_have_text(f"A/0/{feature}")
    expect(page.locator("#spoken")).to_contain_text("Feature 1 of A: cat; r ")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert sorted(selected(page)) == [1, 2]
    page.keyboard.press("Space")
    assert selected(page) == [1]
    page.keyboard.press("n")
    assert len(selected(page)) == 11
    page.keyboard.press("Escape")
    assert selected(page) == []
    page.keyboard.press("p")
    assert page.evaluate("document.activeElement.id") == "map-b"
    expect(title).to_have_text(f"B/0/{planted.partner(2)}")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "3px"
    # Passing a map with Tab leaves what is looked at; its keys begin at the partner.
    page.locator("#map-a").focus()
    page.keyboard.press("Home")
    page.locator("#panel-a button").last.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "map-b"
    expect(title).to_have_text(f"A/0/{ordered[0][0]}")
    page.keyboard.press("ArrowUp")
    expect(title).to_have_text(f"B/0/{ordered[0][1]}")


def test_zoom_keeps_what_is_pointed_at(page):
    before = place(page, "a", 5)
    page.mouse.move(*before)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    assert place(page, "a", 5) == pytest.approx(before, abs=1)
    assert place(page, "a", 6)[0] - before[0] > 1.2 * (
        place(page, "b", 6)[0] - place(page, "b", 5)[0]
    )
    page.click("#panel-a [data-zoom='0']")
    assert place(page, "a", 5) == pytest.approx(before, abs=1)
    # The arrow keys bring into view what zooming has moved out of it.
    page.locator("#map-a").focus()
    point(page, "a", 0)
    for _ in range(6):
        page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#details h3").first).to_have_text("A/0/1")
    box = page.locator("#map-a").bounding_box()
    assert box is not None
    assert box["x"] < place(page, "a", 1)[0] < box["x"] + box["width"]


def test_the_address_brings_back_what_was_shown(page, browser, file):
    page.select_option("#pairing", "mutual")
    point(page, "a", 3)
    page.wait_for_url("**/index.html#layers=0,0&pairing=mutual&a=3")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator("#pairing")).to_have_value("mutual")
    expect(page.locator("#details h3").first).to_have_text("A/0/3")
    # Nothing that a careless hand writes there breaks the page.
    for wrong in ("#layers=9,9&pairing=none&a=x", "#pairing=toString&layers=toString", "#main"):
        page.goto("about:blank")
        page.goto(file.as_uri() + wrong)
        expect(page.locator("#numbers")).to_contain_text("Layer 0 of A, layer 0 of B, nearest in B")


def test_a_phone_has_no_sideways_scroll_and_taps_show(browser, file):
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    watched = Watched(context.new_page(), file)
    page = watched.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(page.locator("input[value=look]")).to_be_checked()
    page.locator("#map-a").scroll_into_view_if_needed()
    page.touchscreen.tap(*place(page, "a", 1))
    expect(page.locator("#details h3").first).to_have_text("A/0/1")
    expect(page.locator("#details h3").first).to_be_in_viewport()
    expect(page.locator("#panel-a .tip")).to_contain_text(f"with B/0/{planted.partner(1)}")
    assert watched.said == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(browser, file, scheme):
    context = browser.new_context(viewport=WIDE, color_scheme=scheme)
    page = Watched(context.new_page(), file).page
    point(page, "a", 1)
    for where in ("#numbers", "#meaning", "#caption-a", "#details .where", ".legend span", "label"):
        found = page.eval_on_selector(
            where,
            """(element) => {
              const paper = (at) => {
                const colour = getComputedStyle(at).backgroundColor;
                return colour === "rgba(0, 0, 0, 0)" ? paper(at.parentElement) : colour;
              };
              return [getComputedStyle(element).color, paper(element)];
            }""",
        )
        assert _contrast(*found) >= 4.5, where
    context.close()


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours after WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_five_thousand_features_a_side(browser, tmp_path):
    """The page stays small and all of it works; `benchmarks/` says how long it takes."""
    file = tmp_path / "index.html"
    file.write_text(feature_map_page.synthetic_page(5000, 1), encoding="utf-8")
    assert file.stat().st_size < 15e6
    context = browser.new_context(viewport=WIDE)
    watched = Watched(context.new_page(), file)
    page = watched.page
    for side in "ab":
        expect(page.locator(f"#caption-{side}")).to_contain_text("5,000 features, 5,000 with a")
    page.locator("#map-b").focus()
    page.keyboard.press("Home")
    expect(page.locator("#spoken")).to_contain_text("r 1.00 with")
    x, y = place(page, "a", 17)
    page.mouse.move(x, y)
    # Of points this dense the nearest is shown.
    found = re.findall(r"A/0/(\d+)", page.inner_text("#details h3 >> nth=0"))
    assert np.hypot(*np.subtract(place(page, "a", int(found[0])), (x, y))) < 1
    box = page.locator("#map-a").bounding_box()
    assert box is not None
    drag(page, [(box["x"] + 2, box["y"] + 2), (box["x"] + box["width"], box["y"] + box["height"])])
    expect(page.locator("#selected")).to_contain_text("5,000 features of A are selected; 5,000")
    assert len(selected(page)) == 200
    expect(page.locator("#rows")).to_contain_text("The 200 of highest r, of 5,000.")
    assert watched.said == []
    assert set(watched.asked) == {watched.url}
    context.close()
