"""The explorer: what it answers, against the encoder applied by hand, and whom it refuses."""

import json
import shutil
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import explored
from universality.core.corpora import load_tokenizer
from universality.core.errors import InputError
from universality.core.models import load_bridge
from universality.present.explorer.catalogue import choices, first_pair, matched
from universality.present.explorer.explorer import BusyError, Explorer
from universality.present.explorer.reading import MAX_CHARACTERS, segments
from universality.present.explorer.server import create_app, listen, open_explorer, with_link
from universality.studies.saes.evaluation import load_sae

TEXT = "The naïve cat saw “Tom” 🙂.\nHello!"
A, B = "seed_a/l0_mlp_out_seed0", "stories15m/l1_mlp_out_seed0"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return explored.make(tmp_path_factory.mktemp("explored") / "clone")


@pytest.fixture(scope="module")
def explorer(root):
    return Explorer(root, explored.PAIRS)


@pytest.fixture(scope="module")
def answer(explorer):
    return explorer.features(TEXT, A, B)


@pytest.fixture
def client(explorer):
    return create_app(explorer).test_client()


def ask(client, **changes):
    asked = {"text": "a cat", "a": A, "b": B} | changes
    return client.post("/api/features", json=asked)


# What it answers.


@pytest.mark.parametrize(("side", "name"), [("a", A), ("b", B)])
def test_features_are_those_of_the_encoder(root, answer, side, name):
    """By hand: the model of transformers, the output of its MLP, the SAE's own matrices."""
    model, sae_id = name.split("/")
    bridge = load_bridge(root / "data" / "models" / model)
    tokenizer, bos = load_tokenizer(root / "data" / "models" / model)
    ids = [bos, *tokenizer.encode(TEXT, add_special_tokens=False).ids]
    layer = bridge.original_model.base_model.layers[int(sae_id[1])]
    outputs = []
    handle = layer.mlp.register_forward_hook(lambda *given: outputs.append(given[2]))
    with torch.inference_mode():
        bridge.original_model.base_model(torch.tensor([ids]))
    handle.remove()
    sae = load_sae(root / "data" / "saes" / model / sae_id)
    with torch.inference_mode():
        before = (outputs[0][0, 1:] - sae.b_dec) @ sae.W_enc + sae.b_enc
    values, features = before.topk(4)
    expected = [
        {int(f): float(v) for f, v in zip(fs, vs, strict=True) if v > 0}
        for fs, vs in zip(features, values, strict=True)
    ]
    tokens = answer[side]["tokens"]
    assert [set(dict(token["features"])) for token in tokens] == [set(row) for row in expected]
    for token, row in zip(tokens, expected, strict=True):
        assert dict(token["features"]) == pytest.approx(row, rel=1e-4)
        found = [value for _, value in token["features"]]
        assert found == sorted(found, reverse=True)
    assert max(map(len, expected)) == 4
    other = answer["b" if side == "a" else "a"]
    fired = {str(feature) for token in other["tokens"] for feature, _ in token["features"]}
    partners = [other["features"][feature]["partner"] for feature in fired]
    described = {f for row in expected for f in row} | {p["feature"] for p in partners if p}
    assert described == set(map(int, answer[side]["features"]))


def test_pieces_are_the_text_and_hold_each_token_once(answer):
    assert "".join(piece["text"] for piece in answer["pieces"]) == TEXT
    for side in "ab":
        rows = [row for piece in answer["pieces"] for row in piece[side]]
        assert rows == list(range(len(answer[side]["tokens"])))
    several = [piece for piece in answer["pieces"] if len(piece["a"]) != len(piece["b"])]
    assert several  # else the tokenizers of this test are alike, and it shows nothing


def test_segments_end_where_both_have_read_the_same():
    # A: once| upon|.     B: on|ce up|on|.  -> shared ends 4? no: 9 and 10
    assert segments(np.array([4, 9, 10]), np.array([2, 7, 9, 10])) == [
        (range(2), range(3)),
        (range(2, 3), range(3, 4)),
    ]
    # Bytes of one character share an end, and stay together.
    assert segments(np.array([1, 2, 2, 2]), np.array([1, 2])) == [
        (range(1), range(1)),
        (range(1, 4), range(1, 2)),
    ]
    # What one of them leaves over has a piece of its own.
    assert segments(np.array([3]), np.array([3, 4])) == [
        (range(1), range(1)),
        (range(1, 1), range(1, 2)),
    ]


def test_partners_are_those_of_the_tables(answer):
    assert answer["pair"] == explored.NAME
    for name, feature in answer["a"]["features"].items():
        id_, partner = int(name), explored.partner_of(int(name), 0)
        if partner < 0:
            assert feature["partner"] is None
            continue
        assert feature["partner"] == {
            "feature": partner,
            "r": id_ / 100,
            "null_r": id_ / 1000,
            "mutual": id_ != 7,
        }
    back = {explored.partner_of(f, 0): f for f in range(explored.D_SAE) if f != 3}
    back[explored.partner_of(7, 0)] = 9
    for name, feature in answer["b"]["features"].items():
        if int(name) not in back:
            assert feature["partner"] is None
            continue
        found = feature["partner"]
        assert found["feature"] == back[int(name)]
        assert found["r"] == int(name) / 200
        assert found["null_r"] is None
        assert found["mutual"] == (int(name) != explored.partner_of(7, 0))


def test_exchanged_sides_have_exchanged_partners(explorer, answer):
    other = explorer.features(TEXT, B, A)
    assert other["pair"] == explored.NAME
    assert (other["a"], other["b"]) == (answer["b"], answer["a"])


def test_tokens_and_highest_are_those_of_the_corpus(root, answer):
    from universality.core.io import read_sparse, read_table

    folder = root / "data" / "features" / "seed_a"
    matrix = read_sparse(folder / "l0_mlp_out_seed0.safetensors").toarray()
    pieces = read_table(folder / "tokens.parquet")["piece"].tolist()
    ids = read_table(folder / "tokens.parquet")["token"].to_numpy()
    here = np.zeros(explored.D_SAE)
    for token in answer["a"]["tokens"]:
        for feature, value in token["features"]:
            here[feature] = max(here[feature], value)
    compared = 0
    for name, feature in answer["a"]["features"].items():
        column = matrix[:, int(name)]
        assert feature["highest"] == pytest.approx(max(column.max(), here[int(name)]))
        rows = np.argsort(-column, kind="stable")[:50]
        rows = rows[column[rows] > 0]
        distinct = len(dict.fromkeys(ids[rows].tolist()))
        assert len(feature["tokens"]) == min(5, distinct)
        for text, row in zip(feature["tokens"][:1], rows[:1], strict=True):
            plain = pieces[row].replace("Ġ", " ")
            if plain.isascii():
                assert text == plain
                compared += 1
    assert compared > 3


def test_without_tables_and_features_the_rest_is_there(root, tmp_path, answer):
    bare = tmp_path / "bare"
    for name in ("models", "saes"):
        shutil.copytree(root / "data" / name, bare / "data" / name)
    found = Explorer(bare, explored.PAIRS).features(TEXT, A, B)
    assert found["pair"] is None
    assert not found["checked"]
    assert "`make pull STUDY=matching`" in found["unmatched"]
    assert found["a"]["tokens"] == answer["a"]["tokens"]
    assert {f["tokens"] for f in found["a"]["features"].values()} == {None}
    assert {f["partner"] for f in found["a"]["features"].values()} == {None}


def test_tables_of_other_saes_are_not_used(root):
    from dataclasses import replace

    known = choices(root / "data")
    tables = root / "data" / "tables" / "matching" / "pairs"
    wider = replace(known[A], d_sae=64)
    assert matched(explored.PAIRS, tables, wider, known[B]) == (
        None,
        f"the tables of the pair {explored.NAME} are not of these SAEs",
    )
    found, why = matched(explored.PAIRS, tables, known[A], known[A])
    assert found is None
    assert "does not match" in why


def test_tables_of_another_training_are_not_used(root, tmp_path, answer):
    """Published tables beside SAEs of one's own: numbers of features then mean nothing."""
    from universality.core.io import read_sparse, write_sparse

    assert answer["checked"]
    clone = shutil.copytree(root, tmp_path / "clone")
    file = clone / "data" / "features" / "stories15m" / "l1_mlp_out_seed0.safetensors"
    other = np.random.default_rng(0).permutation(explored.D_SAE)
    write_sparse(file, read_sparse(file)[:, other])
    explorer = Explorer(clone, explored.PAIRS)
    for sides in ((A, B), (B, A)):
        found = explorer.features(TEXT, *sides)
        assert found["pair"] is None
        assert "are of another training of these SAEs; `make repro`" in found["unmatched"]
    assert explorer.features(TEXT, A, B.replace("l1", "l0"))["pair"] == explored.NAME


def test_a_new_sae_is_loaded_anew(root, tmp_path):
    clone = shutil.copytree(root, tmp_path / "clone")
    explorer = Explorer(clone, explored.PAIRS)
    before = explorer.features("a cat", A, B)
    saes = clone / "data" / "saes" / "seed_a"
    weights = load_sae(saes / "l0_mlp_out_seed0")
    with torch.no_grad():
        weights.W_enc.mul_(-1)
    shutil.rmtree(saes / "l0_mlp_out_seed0")
    weights.save_model(saes / "l0_mlp_out_seed0")
    after = explorer.features("a cat", A, B)
    assert after["a"]["tokens"] != before["a"]["tokens"]
    assert after["b"]["tokens"] == before["b"]["tokens"]


def test_a_page_starts_with_a_pair_that_is_there(root):
    known = choices(root / "data")
    assert list(known) == [
        f"{model}/l{layer}_mlp_out_seed0" for model in ("seed_a", "stories15m") for layer in (0, 1)
    ]
    first = {model: f"{model}/l0_mlp_out_seed0" for model in ("seed_a", "stories15m")}
    assert first_pair(known, explored.PAIRS, None, None) == tuple(first.values())
    assert first_pair(known, {}, None, None) == tuple(first.values())
    assert first_pair(known, {}, "stories15m", None) == tuple(first.values())[::-1]
    assert first_pair(known, {}, None, "seed_a") == tuple(first.values())[::-1]
    assert first_pair(known, {}, "seed_a", "seed_a") == (first["seed_a"],) * 2


# What it refuses.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": "x" * (MAX_CHARACTERS + 1)}, "the text has 1001 characters; at most 1000 are"),
        ({"text": " x" * 400}, "seed_a reads at most 128 tokens, and the text has "),
        ({"text": " \n"}, "the text is empty"),
        ({"text": None}, "the text is missing"),
        ({"text": 5}, "the text is missing"),
        ({"text": "\ud800"}, "half a character"),
        ({"a": "seed_a"}, "a is 'seed_a'; there is: seed_a/l0_mlp_out_seed0, "),
        ({"b": "../../x"}, "b is '../../x'; there is: "),
        ({"b": ["x"]}, "b is ['x']; there is: "),
    ],
)
def test_what_cannot_be_answered_is_one_line(client, changes, said):
    found = ask(client, **changes)
    assert found.status_code == 400
    assert said in found.json["error"]
    assert "\n" not in found.json["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b""])
def test_what_is_no_question_is_one_line(client, body):
    found = client.post("/api/features", data=body, content_type="application/json")
    assert found.status_code == 400
    assert "\n" not in found.json["error"]


def test_only_json_is_read(client):
    """A form of another site can send text and form data without asking first, but no JSON."""
    body = json.dumps({"text": "a cat", "a": A, "b": B})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert client.post("/api/features", data=body, content_type=kind).status_code == 415
    assert client.get("/api/features").status_code == 405


def test_a_large_body_is_refused(client):
    assert ask(client, text="x" * 70000).status_code == 413


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "example.org:8765",
        "127.0.0.1.example.org",
        "localhost.example.org",
        "0.0.0.0",
    ],
)
@pytest.mark.parametrize("path", ["/", "/features", "/api/choices", "/explorer/explorer.js"])
def test_other_hosts_are_refused(client, host, path):
    """A name of another site that leads to this machine (DNS rebinding)."""
    assert client.get(path, headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "localhost"])
def test_this_machine_is_not_refused(client, host):
    assert client.get("/features", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://example.org"},
        {"Origin": "http://localhost:1"},
        {"Origin": "https://localhost"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_are_refused(client, headers):
    for path in ("/", "/features", "/api/choices"):
        assert client.get(path, headers=headers).status_code == 403
    found = client.post("/api/features", json={"text": "a", "a": A, "b": B}, headers=headers)
    assert found.status_code == 403
    assert "Access-Control-Allow-Origin" not in found.headers


def test_the_page_itself_may_ask(client):
    same = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    body = {"text": "a cat", "a": A, "b": B}
    assert client.post("/api/features", json=body, headers=same).status_code == 200
    assert client.get("/features", headers={"Sec-Fetch-Site": "none"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/features", "/api/choices", "/nothing"])
def test_nothing_from_elsewhere_runs_in_a_page(client, path):
    found = client.get(path)
    policy = found.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert found.headers["X-Content-Type-Options"] == "nosniff"


def test_the_text_of_a_request_is_not_repeated(client):
    found = client.get("/%3Cscript%3Ealert(1)%3C/script%3E")
    assert found.status_code == 404
    assert "alert" not in found.text


def test_one_text_at_a_time(root):
    explorer = Explorer(root, explored.PAIRS, wait=0.05)
    client = create_app(explorer).test_client()
    with explorer._lock:
        with pytest.raises(BusyError):
            explorer.features("a cat", A, B)
        found = ask(client)
    assert found.status_code == 503
    assert "try again" in found.get_json()["error"]
    assert ask(client).status_code == 200
    assert ask(client, text="x" * 400).status_code == 400  # fails inside, and frees the lock
    assert ask(client).status_code == 200


def test_two_texts_at_once_are_both_answered(explorer):
    found = {}
    threads = [
        threading.Thread(target=lambda t=text: found.update({t: explorer.features(t, A, B)}))
        for text in ("a cat", "the dog")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for text, answer in found.items():
        assert answer == explorer.features(text, A, B)
    assert len(found) == 2


# The static part.


@pytest.fixture
def with_report(root, tmp_path):
    clone = tmp_path / "clone"
    (clone / "report" / "pages").mkdir(parents=True)
    (clone / "params.yaml").write_text("secret: 1")
    (clone / "report-of-mine").mkdir()
    (clone / "report-of-mine" / "index.html").write_text("secret")
    page = "<html><body class=x><header><h1>R</h1></header>text</body></html>"
    (clone / "report" / "index.html").write_text(page)
    (clone / "report" / "pages" / "index.html").write_text("a page")
    (clone / "report" / "a.svg").write_text("<svg/>")
    return create_app(Explorer(clone, {})).test_client()


def test_the_report_is_served(with_report):
    def get(path):
        return with_report.get(path, buffered=True)

    first = get("/")
    assert "<h1>R</h1>" in first.text
    assert first.text.index('<a href="/features">') < first.text.index("</header>")
    assert get("/a.svg").text == "<svg/>"
    assert get("/pages/").text == "a page"
    assert get("/pages").headers["Location"] == "/pages/"
    assert get("/pages/other.html").status_code == 404
    for path in ("/", "/a.svg", "/pages/"):
        policy = get(path).headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self';")
        assert "http" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/../params.yaml",
        "/%2e%2e/params.yaml",
        "/..%2fparams.yaml",
        "/pages/../../params.yaml",
        "/pages/%2e%2e/%2e%2e/params.yaml",
        "/..%5cparams.yaml",
        "/a//etc/hostname",
        "/%2fetc/hostname",
        "/../report-of-mine/",
        "/../report-of-mine",
        "/explorer/../params.yaml",
        "/explorer/%2e%2e%2fserver.py",
    ],
)
def test_no_path_leads_out_of_the_report(with_report, path):
    found = with_report.get(path, follow_redirects=True, buffered=True)
    assert found.status_code == 404
    assert "secret" not in found.text


def test_the_link_is_there_without_a_header():
    assert with_link("<body>x").startswith('<body><p><a href="/features">')
    assert with_link("x").endswith("</p>x")


def test_without_a_report_the_start_page_says_what_there_is(client):
    page = client.get("/").text
    assert "<code>make report</code>" in page
    assert 'href="/features"' in page
    assert "seed_a, stories15m" in page


def test_without_models_one_line_says_how_to_make_them(tmp_path):
    client = create_app(Explorer(tmp_path, {})).test_client()
    page = client.get("/features")
    assert page.status_code == 200
    assert "`make repro` makes them" in page.text
    found = ask(client)
    assert found.status_code == 400
    assert "`make repro` makes them" in found.get_json()["error"]
    with pytest.raises(InputError, match=r"--b is 'x'; models with SAEs in .*: none; `make repro`"):
        open_explorer(tmp_path, {}, None, "x")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", ""])
def test_only_this_machine_is_listened_on(host):
    with pytest.raises(InputError, match=r"listens on 127\.0\.0\.1 only"):
        listen(host, 0)


def test_a_busy_port_is_one_line():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert first.getsockname()[0] == "127.0.0.1"
        with pytest.raises(InputError, match=rf"^--port is {port}: .*; another one: --port 0$"):
            listen("localhost", port)


def test_the_look_and_the_script_are_served(client):
    css = client.get("/explorer/explorer.css")
    assert css.mimetype == "text/css"
    assert "--heat" in css.text
    assert ".chip" in css.text
    assert client.get("/explorer/explorer.js").mimetype == "text/javascript"
    assert client.get("/explorer/server.py").status_code == 404


def test_package_data_names_every_file():
    import tomllib

    project = tomllib.loads((explored.ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["universality"]
    package = Path(explored.ROOT / "src" / "universality")
    named = {path for pattern in patterns for path in package.glob(pattern)}
    files = {path for path in package.rglob("*.*") if path.is_file() and path.suffix != ".py"}
    assert {path for path in files if "__pycache__" not in path.parts} == named


def test_free_ports_are_chosen():
    with listen("localhost", 0) as listener:
        assert isinstance(listener, socket.socket)
        assert listener.getsockname()[1] > 0
