"""The stages of the cards: page, tables and figures, from feature directories."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from matched import LISTS, SETTINGS
from matplotlib.colors import to_rgba

from planted_map import positions
from universality.core.errors import InputError
from universality.core.io import read_table, tables_by_name, write_json, write_sparse, write_table
from universality.studies.matching.figures import cards as draw
from universality.studies.matching.files import read_pair
from universality.studies.matching.pair_study import match_pair

N_DOCUMENTS = 30
WORDS = [" <b>", " sun", " cat", " &amp;", " hen", "\n", " ran"]
PAIR = {"a": "one", "b": "two", "a_seed": 0, "b_seed": 1}
MATCHING = SETTINGS.model_copy(update={"min_count": 5, "n_null": 2})
SECTION = {
    "n_top": 2, "n_random": 2, "n_contexts": 2, "n_alone": 1, "context": 3,
    "max_position_share": 0.5, "contained": 0.5, "wider": 1.5,
    "min_documents": 5, "n_bootstrap": 100, "seed": 0,
}  # fmt: skip


class Page(HTMLParser):
    """Tags, the text of each article, and what is marked in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: dict[str, str] = {}
        self.contexts: dict[str, list[str]] = {}
        self.marks: dict[str, list[str]] = {}
        self.article, self.inside = "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if tag == "article":
            self.article = attributes["id"]
        kind = "mark" if tag == "mark" else attributes.get("class")
        if kind in ("mark", "context"):
            found = self.marks if kind == "mark" else self.contexts
            found.setdefault(self.article, []).append("")
            self.inside.append(kind)

    def handle_endtag(self, tag):
        if tag == "article":
            self.article = ""
        if self.inside and tag == {"mark": "mark", "context": "p"}[self.inside[-1]]:
            self.inside.pop()

    def handle_data(self, data):
        self.texts[self.article] = self.texts.get(self.article, "") + data
        for kind in self.inside:
            (self.marks if kind == "mark" else self.contexts)[self.article][-1] += data


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A reads words, B reads halves of words; A/0 fires on the cat, B/1 on the cat and the hen."""
    from universality.core.corpora import write_corpus

    folder = tmp_path_factory.mktemp("cards")
    rng = np.random.default_rng(0)
    documents = [["Once", *rng.choice(WORDS, 40)] for _ in range(N_DOCUMENTS)]
    texts = ["".join(words) for words in documents]
    write_corpus(folder / "corpus", {"train": ["x"], "validation": texts}, {"kind": "test"})
    halves = [[part for word in words for part in (word[:2], word[2:])] for words in documents]
    for model, pieces, seed in (("one", documents, 0), ("two", halves, 1)):
        table = positions([[piece for piece in one if piece] for one in pieces])
        path = folder / "features" / model
        write_table(path / "tokens.parquet", table)
        for layer in (0, 1):
            dense = fires(table, [[text, text] for text in texts], rng, model == "two", layer)
            name = f"l{layer}_mlp_out_seed{seed}.safetensors"
            write_sparse(path / name, sp.csr_matrix(dense))
            write_sparse(path / "bos" / name, sp.csr_matrix(dense[:1]))
    inputs = read_pair(folder / "features/one", folder / "features/two", 0, 1)
    tables = match_pair("x", inputs, MATCHING, LISTS)
    for name, found in tables.items():
        write_table(folder / "matches" / f"{name}.parquet", found)
    return folder


def fires(table, texts, rng, wide: bool, layer: int) -> np.ndarray:
    """Features: the cat (B: and the hen), the sun, the first word, &amp;."""
    ends = [texts[d - 1][0][:end] for d, end in zip(table["document"], table["end"], strict=True)]
    wanted = [(" cat", " hen") if wide else " cat", " sun", "Once", " &amp;"]
    dense = np.array([[text.endswith(word) for word in wanted] for text in ends], np.float32)
    noise = 0.5 + rng.random((len(dense), 3)) * (1 + layer)
    dense[:, [0, 1, 3]] *= noise
    return dense[:, [3, 0, 1, 2]] if wide else dense


def run(files: Path, out: Path, **changes) -> tuple[str, dict[str, pd.DataFrame]]:
    from universality.studies.matching.stages.match_cards import command

    out.mkdir(exist_ok=True)
    sections = {"pairs": {"x": PAIR}, "match_cards": SECTION | changes}
    write_json(out / "params.yaml", sections)  # JSON is YAML
    features = files / "features"
    command(
        "x", features / "one", features / "two", files / "matches", files / "corpus",
        out / "page", out / "tables" / "x", out / "params.yaml",
    )  # fmt: skip
    page = (out / "page" / "index.html").read_text(encoding="utf-8")
    return page, tables_by_name(out / "tables" / "x")


@pytest.fixture(scope="module")
def made(files, tmp_path_factory):
    return run(files, tmp_path_factory.mktemp("made"), n_random=8)


def test_planted_pairs_and_their_labels(made):
    tables = made[1]
    found = tables["asymmetry"].set_index(["layer_a", "feature_a"]).sort_index()
    assert len(found) == 8
    for layer in (0, 1):
        assert found.loc[layer]["partner"].tolist() == [1, 2, 3, 0]
        # Every document begins alike: nothing that could differ.
        assert found.loc[layer]["label"].tolist() == ["b_more_general", "alike", "alike", "alike"]
        assert found.loc[layer]["top_token"].tolist() == ["cat", "sun", "once", "&amp;"]
    cat = found.loc[(0, 0)]
    assert (cat["p_b_given_a"], cat["n_both"]) == (1, cat["n_a"])
    assert cat["p_a_given_b"] == pytest.approx(cat["n_a"] / cat["n_b"])
    pooled = tables["summary"].query("layer_a < 0 and subset == 'all'").iloc[0]
    assert (pooled["share_b_more_general"], pooled["share_alike"]) == (0.25, 0.75)
    assert pooled["n_positions"] == N_DOCUMENTS * 41
    # Constant where they fire, at one place: shown if drawn, never among the best.
    cards = tables["cards"]
    assert set(cards.loc[cards["top_token"] == "once", "chosen"]) == {"drawn at random"}
    assert (cards["r_low"] <= cards["r"] + 1e-9).all()
    assert (cards["r"] <= cards["r_high"] + 1e-9).all()


def test_page_shows_the_text_of_both(made, files):
    html, tables = made
    page = Page(html)
    assert len(page.contexts) == len(tables["cards"]) == 8
    corpus = read_table(files / "features/one/tokens.parquet")
    pieces = {document: part["piece"].tolist() for document, part in corpus.groupby("document")}
    texts = ["".join(words).replace("\n", "↵") for words in pieces.values()]
    for contexts in page.contexts.values():
        for text in contexts:
            assert any(text.replace("…", "") in whole for whole in texts), text
        left, right = contexts[::2], contexts[1::2]
        for a, b in zip(left, right, strict=True):
            # Where B's features set the window, it may begin within a word of A.
            inner, outer = sorted((a.replace("…", ""), b.replace("…", "")), key=len)
            assert inner in outer
            assert len(outer) - len(inner) <= 4
    where = tables["cards"].index[tables["cards"]["top_token"] == "cat"][0]
    marks = page.marks[f"c{where + 1}"]
    assert marks[:2] == [" cat", "at"]
    # Drawn where only B fires: the hen. Nowhere only A.
    assert marks[-2:] == [" hen", "en"]
    assert "Nowhere." in page.texts[f"c{where + 1}"]
    assert "B more general: A fires on" in page.texts[f"c{where + 1}"]


def test_page_loads_nothing_and_runs_nothing_from_the_text(made):
    html = made[0]
    page = Page(html)
    tags = [tag for tag, _ in page.tags]
    assert not {"img", "link", "iframe", "script"} & set(tags)
    assert tags.count("b") == 8  # the numbers in the list
    assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    links = [found["href"] for _, found in page.tags if "href" in found]
    targets = [found["id"] for _, found in page.tags if "id" in found]
    assert {link[1:] for link in links if link.startswith("#")} <= set(targets)
    assert len(links) == len([link for link in links if link.startswith("#")]) > 8
    assert len(targets) == len(set(targets))
    for word in ("http:", "https:", "@import", "url("):
        assert word not in html
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html


def test_page_says_how_it_was_made(made):
    text = Page(made[0]).texts[""]
    for words in ("one (A) and two (B)", "drawn at random", "1230 positions of 30 documents",
                  "100% of A's, 5", "passed over", "dealt anew"):  # fmt: skip
        assert words in text, words


def test_same_bytes_every_time(files, tmp_path):
    one, other = (run(files, tmp_path / name) for name in "ab")
    assert one[0] == other[0]
    for name in one[1]:
        paths = [tmp_path / part / "tables" / "x" / f"{name}.parquet" for part in "ab"]
        assert paths[0].read_bytes() == paths[1].read_bytes(), name
    assert run(files, tmp_path / "c", seed=1)[0] != one[0]


def test_bad_input(files, tmp_path):
    with pytest.raises(InputError, match="match_cards: 'contained' is 1"):
        run(files, tmp_path, contained=1)
    matches = files / "matches" / "features.parquet"
    table = read_table(matches)
    try:
        write_table(matches, table.assign(alive=False))
        with pytest.raises(InputError, match="x: no feature of A is alive and has a partner"):
            run(files, tmp_path)
    finally:
        write_table(matches, table)
    assert not (tmp_path / "page").exists()


# Figures.


def test_figure_of_cards(made):
    tables = made[1]
    figure = draw.cards(tables, "x", n_each=8, n_top=1)
    (axes,) = figure.axes
    frames = [patch for patch in axes.patches if to_rgba(patch.get_edgecolor())[3] > 0]
    peaks = tables["contexts"].query("peak and rank < 1")
    assert len(frames) == len(peaks) > 8
    silent = [patch for patch in frames if patch.get_linestyle() == ":"]
    assert len(silent) == len(peaks.query("value == 0")) > 0
    assert {to_rgba(patch.get_facecolor())[3] for patch in silent} == {0}
    titles = " ".join(text.get_text() for text in axes.texts)
    assert "among the highest r of layer" in titles
    assert "drawn at random): B more general" in titles
