"""The page of a dashboard, read as a browser would."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from dashboard_section import HOOK, SECTION

from universality.core.errors import InputError
from universality.core.io import read_table, write_arrays, write_json, write_sparse, write_table
from universality.studies.saes.pages.dashboard_page import bars, number, spaced

TEXT = '</p><img src=x onerror=alert(1)> &amp; "it\'s"\n\x07<b>'
N_DOCUMENTS, PLANTED = 6, 60


class Page(HTMLParser):
    """The parts of the page that the tests look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.article = self.inside = ""
        self.texts: dict[str, str] = {}
        self.contexts: dict[str, list[str]] = {}
        self.marks: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if tag == "article":
            self.article = attributes["id"]
            self.contexts[self.article], self.marks[self.article] = [], []
        if attributes.get("class") == "context":
            self.contexts[self.article].append("")
            self.inside = "context"
        if tag == "mark":
            self.marks[self.article].append("")
            self.inside = "mark"

    def handle_endtag(self, tag):
        if tag in ("p", "article"):
            self.inside = ""
        if tag == "mark":
            self.inside = "context"
        if tag == "article":
            self.article = ""

    def handle_data(self, data):
        self.texts[self.article] = self.texts.get(self.article, "") + data
        if self.inside:
            self.contexts[self.article][-1] += data
        if self.inside == "mark":
            self.marks[self.article][-1] += data


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_model) -> Path:
    """An SAE of 5 features on 6 documents; 0 fires on one token, 1 often, 4 never."""
    from universality.core.corpora import load_tokenizer, write_corpus

    folder = tmp_path_factory.mktemp("dashboard")
    tokenizer, _ = load_tokenizer(tiny_model)
    write_corpus(
        folder / "corpus",
        {"train": ["x"], "validation": [f"{TEXT}{i}" for i in range(N_DOCUMENTS)]},
        {"sampled_from": "tiny <model>", "seed": 0},
    )
    rows = []
    for document in range(1, N_DOCUMENTS + 1):
        code = tokenizer.encode(f"{TEXT}{document - 1}", add_special_tokens=False)
        for i, (token, (start, end), piece) in enumerate(
            zip(code.ids, code.offsets, code.tokens, strict=True)
        ):
            rows.append((document, i + 1, start, end, token, piece))
    columns = ["document", "position", "start", "end", "token", "piece"]
    table = pd.DataFrame(rows, columns=columns)
    n = len(table)
    dense = np.zeros((n, 5), dtype=np.float32)
    dense[PLANTED, 0] = 2.5
    dense[:, 1] = np.random.default_rng(0).gamma(2.0, size=n) + 0.1
    dense[n - 1, 2] = dense[3, 3] = 1
    write_table(folder / "features" / "tokens.parquet", table)
    write_sparse(folder / "features" / "l1_mlp_out_seed0.safetensors", sp.csr_matrix(dense))
    random = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)
    weights = {"W_dec": random, "W_enc": random.T, "b_enc": np.zeros(5), "b_dec": np.zeros(16)}
    write_arrays(folder / "sae" / "sae_weights.safetensors", weights)
    config = {"architecture": "topk", "d_in": 16, "d_sae": 5, "metadata": {"hook_name": HOOK}}
    write_json(folder / "sae" / "cfg.json", config)
    return folder


def _run(files: Path, model: Path, out: Path, **changes) -> str:
    from universality.studies.saes.stages.dashboard import command

    params = out.with_suffix(".yaml")
    write_json(params, {"dashboards": {"x": SECTION | changes}})  # JSON is YAML
    command("x", model, files / "sae", files / "features", files / "corpus", out, params)
    return (out / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(files, tiny_model, tmp_path_factory) -> str:
    return _run(files, tiny_model, tmp_path_factory.mktemp("page") / "x", listed=[0, 1, 2, 4])


def test_page_loads_nothing_and_runs_nothing_from_the_text(html):
    page = Page(html)
    names = {name for tag, attributes in page.tags for name in attributes if name.startswith("on")}
    assert not names
    tags = [tag for tag, _ in page.tags]
    assert not {"img", "link", "iframe"} & set(tags)
    assert tags.count("b") == 4  # the numbers in the list of features
    assert tags.count("script") == 1
    links = [a[name] for _, a in page.tags for name in ("href", "src", "action") if name in a]
    assert links
    assert all(link.startswith("#") for link in links)
    targets = {a["id"] for _, a in page.tags if "id" in a}
    assert {link[1:] for link in links} <= targets
    for word in ("http:", "https:", "//", "@import", "url(", "fetch(", "XMLHttpRequest"):
        assert word not in html.replace("// ", ""), word
    policy = [
        a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy[0].startswith("default-src 'none'")


def test_page_shows_the_planted_example_with_its_text(html, files):
    page = Page(html)
    table = read_table(files / "features" / "tokens.parquet")
    text = f"{TEXT}{table['document'][PLANTED] - 1}"
    start, end = table["start"].tolist(), table["end"].tolist()
    window = text[start[PLANTED - 2] : end[PLANTED + 2]]
    assert len(set(table["document"][PLANTED - 2 : PLANTED + 3])) == 1
    # It fires once, so the top example is also the one that is drawn.
    assert [_raw(context) for context in page.contexts["f0"]] == [window, window]
    token = text[start[PLANTED] : end[PLANTED]]
    assert [_raw(mark) for mark in page.marks["f0"]] == [token, token]
    assert "Fires on 1 of" in page.texts["f0"]
    # Feature 1 fires everywhere: three top examples and two from each of two intervals.
    assert len(page.contexts["f1"]) == 3 + 2 * 2


def _raw(shown: str) -> str:
    return shown.replace("…", "").replace("↵", "\n").replace("␇", "\x07")


def test_context_is_the_text_itself(files, tiny_model, tmp_path):
    page = Page(_run(files, tiny_model, tmp_path / "x", context=1000))
    shown = _raw(page.contexts["f0"][0])
    assert shown[:-1] == TEXT
    assert shown[-1] in "012345"


def test_feature_that_never_fires_has_no_examples(html):
    page = Page(html)
    assert page.contexts["f4"] == []
    assert page.marks["f4"] == []
    assert "never fires" in page.texts["f4"]
    assert "Top examples" not in page.texts["f4"]
    assert "Top logits" in page.texts["f4"]
    assert "never fires" not in page.texts["f2"].replace("4 never fires", "")


def test_page_says_what_it_is_made_of(html):
    text = Page(html).texts[""]
    for words in (
        "tiny, l1_mlp_out_seed0", HOOK, "sampled from tiny <model>", "BOS is left out",
        "at most one per document", "through the final norm and the unembedding", "20.0% never do",
    ):  # fmt: skip
        assert words in text, words
    assert "random direction" in Page(html).texts["f0"]
    assert len(html) < 5e6


def test_page_is_the_same_every_time(files, tiny_model, tmp_path):
    pages = [_run(files, tiny_model, tmp_path / name, n_random=3) for name in "ab"]
    assert pages[0] == pages[1]
    other = _run(files, tiny_model, tmp_path / "c", n_random=3, seed=1)
    assert other != pages[0]


def test_activations_of_another_sae(files, tiny_model, tmp_path):
    matrix = sp.csr_matrix(np.ones((7, 5), dtype=np.float32))
    write_sparse(files / "features" / "other.safetensors", matrix)
    with pytest.raises(InputError, match=r"activations of other have the shape \(7, 5\), expected"):
        _run(files, tiny_model, tmp_path / "x", sae="other")
    assert not (tmp_path / "x").exists()


def test_numbers_and_tokens_for_reading():
    assert [number(x) for x in (0, 1234.5, -0.25, 0.00001)] == ["0", "1234", "−0.25", "1.00e−05"]
    assert spaced(" a\n\t") == "␣a↵␉"
    assert bars((np.array([0, 2, 1]), np.arange(4))) == [
        (106.67, 0.0, 106.07, 90.0),
        (213.33, 45.0, 106.07, 45.0),
    ]
