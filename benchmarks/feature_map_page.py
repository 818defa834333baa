"""How long a feature map takes to open: 5,000 features a side, in headless Chromium.

`python benchmarks/feature_map_page.py`: the size of a synthetic page, and medians in ms of opening
it (from the address to the first picture with all points), and of what a reader waits for.
"""

import logging
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from playwright.sync_api import Page, sync_playwright

from universality.core.contexts import positions
from universality.studies.matching.labels import PAIRINGS
from universality.studies.matching.pairings import Pairing
from universality.studies.matching.params.matching import Pair
from universality.studies.spaces.linked_maps.content import Layer, Side, page_data
from universality.studies.spaces.linked_maps.page import about, render
from universality.studies.spaces.linked_maps.partners import Paired
from universality.studies.spaces.linked_maps.words import describe, words_of
from universality.studies.spaces.params.linked_maps import LinkedMaps

N_FEATURES, N_LAYERS, N_POSITIONS, N_DOCUMENTS, N_WORDS, L0 = 5000, 3, 20000, 100, 3000, 32
REPEATS = 5
SETTINGS = LinkedMaps(
    max_features=N_FEATURES, n_neighbors=15, min_dist=0.05, n_epochs=200, layers="all",
    n_tokens=4, n_top=2, n_random=1, before=10, after=3, max_mb=15, seed=0,
)  # fmt: skip
PICTURE = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"


def synthetic_page(n_features: int = N_FEATURES, n_layers: int = N_LAYERS) -> str:
    """Return a page with `n_features` features in each of `n_layers` layers of either side.

    All layers of a side are the same, which nothing in the page makes use of.
    """
    rng = np.random.default_rng(0)
    one, two = (_side(name, n_features, n_layers, rng) for name in ("one", "two"))
    layers = [(i, j, i == j) for i in range(n_layers) for j in range(n_layers)]
    found = []
    for i, j, best in layers:
        for name in PAIRINGS if best else ["a_to_b"]:
            pairs = np.arange(n_features), rng.permutation(n_features)
            r = rng.uniform(-0.1, 1, n_features)
            numbers = {"median_r": float(np.median(r)), "median_r_null": 0.0, "n_null": 1.0}
            found.append(Paired(i, j, name, Pairing(*pairs, r), numbers))
    head = about(
        Pair(a="one", b="two", a_seed=0, b_seed=0), "synthetic", {}, N_POSITIONS, N_DOCUMENTS,
        SETTINGS,
    )  # fmt: skip
    return render(head, page_data(one, two, layers, found, SETTINGS), SETTINGS.max_mb)


def _side(name: str, n_features: int, n_layers: int, rng: np.random.Generator) -> Side:
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(N_WORDS)]
    token = rng.integers(0, N_WORDS, N_POSITIONS)
    pieces = [f" {words[i]}" for i in token]
    length = N_POSITIONS // N_DOCUMENTS
    document = np.arange(N_POSITIONS) // length
    size = np.array([len(piece) for piece in pieces]).reshape(-1, length)
    end = size.cumsum(axis=1).ravel()
    table = pd.DataFrame(
        {
            "document": document, "position": 1 + np.arange(N_POSITIONS) % length,
            "start": end - size.ravel(), "end": end, "token": token, "piece": pieces,
        }
    )  # fmt: skip
    texts = {i: "".join(pieces[i * length : (i + 1) * length]) for i in range(N_DOCUMENTS)}
    at = positions(table, texts)
    columns = rng.integers(0, n_features, N_POSITIONS * L0)
    rows = np.repeat(np.arange(N_POSITIONS), L0)
    values = rng.exponential(size=len(rows)).astype(np.float32)
    shape = N_POSITIONS, n_features
    features = sp.csr_matrix(sp.coo_matrix((values, (rows, columns)), shape=shape))
    feature = np.arange(n_features)
    place = pd.DataFrame(
        {
            "feature": feature, "count": np.bincount(features.indices, minlength=n_features),
            "x": rng.random(n_features), "y": rng.random(n_features),
            "n_features": n_features, "n_firing": n_features, "sae": "synthetic",
        }
    )  # fmt: skip
    found = words_of(at)
    layer = Layer(place, describe(features, feature, at, found, SETTINGS, rng))
    return Side(name, at, found, dict.fromkeys(range(n_layers), layer))


def _median(page: Page, act: Callable[[], object]) -> float:
    """Return the median milliseconds from before `act` until a picture after it is made."""
    times = []
    for _ in range(REPEATS):
        before = page.evaluate("performance.now()")
        act()
        page.evaluate(PICTURE)
        times.append(page.evaluate("performance.now()") - before)
    return statistics.median(times)


def main() -> None:
    """Measure and log."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder, "index.html")
        file.write_text(synthetic_page(), encoding="utf-8")
        logging.info("%-28s %6.1f MB", "size of the page", file.stat().st_size / 1e6)
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        opened = []
        for _ in range(REPEATS):
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.goto(file.as_uri())
            page.evaluate(PICTURE)
            # Since the address was entered, by the page's own clock.
            opened.append(page.evaluate("performance.now()"))
            page.close()
        logging.info("%-28s %6.0f ms", "open, all points drawn", statistics.median(opened))
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(file.as_uri())
        middle = page.evaluate("featureMap.place('a', 7)")
        names = iter(["mutual", "hungarian", "one_per_b", "b_to_a", "a_to_b"])
        layers = iter(["1,1", "2,2", "0,1", "1,2", "2,0"])
        acts: dict[str, Callable[[], object]] = {
            "point at a feature": lambda: page.mouse.move(*middle),
            "search": lambda: page.fill("#search", "ab"),
            "another pairing, first time": lambda: page.select_option("#pairing", next(names)),
            "other layers, first time": lambda: page.select_option("#layers", next(layers)),
        }
        for name, act in acts.items():
            logging.info("%-28s %6.0f ms", name, _median(page, act))
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
