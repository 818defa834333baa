"""The data of feature maps: what lies where, who is whose partner, what is said of each."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import planted_map as planted
from universality.core.contexts import positions
from universality.core.errors import InputError
from universality.core.io import read_sparse, read_table, tables_by_name, write_json, write_table
from universality.studies.matching.pairings import Partners, assignment, by_nearest
from universality.studies.matching.params.matching import Pair
from universality.studies.spaces.linked_maps.coordinates import (
    fitted,
    layer_coordinates,
    mapped_models,
)
from universality.studies.spaces.linked_maps.packed import (
    R_UNIT,
    UNIT,
    pack,
    script_json,
    shared,
    unpack,
)
from universality.studies.spaces.linked_maps.partners import correlations
from universality.studies.spaces.linked_maps.words import LEVELS, describe, words_of
from universality.studies.spaces.params.linked_maps import LinkedMaps

SETTINGS = LinkedMaps.model_validate(planted.SECTION)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return planted.write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def page(world, tmp_path_factory):
    return planted.write_page(world, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def data(page):
    return planted.data_of(page)


def _pairs(data, layers, pairing):
    """Return the decoded pairs: feature of A -> (feature of B, r), or B -> (A, r) for b_to_a."""
    packed = data["pairs"][layers][pairing]
    return unpack(packed["a"]), unpack(packed["b"]), unpack(packed["r"]) / R_UNIT


@given(st.lists(st.integers(0, 2**32 - 1), max_size=9))
def test_integers_come_back_from_base64(values):
    array = np.array(values, dtype=np.int64)
    assert unpack(pack(array)).tolist() == values


@pytest.mark.parametrize(("top", "kind"), [(255, "u1"), (256, "u2"), (65536, "u4")])
def test_the_shortest_kind_is_taken(top, kind):
    assert pack(np.array([0, top]))[0] == kind


def test_signed_and_float_come_back_flat():
    table = np.array([[-3, 2], [R_UNIT, -R_UNIT]])
    assert unpack(pack(table, "i2")).tolist() == [-3, 2, R_UNIT, -R_UNIT]
    assert unpack(pack(np.array([[0.5], [-2.25]]), "f4")).tolist() == [0.5, -2.25]


@pytest.mark.parametrize("values", [[-1], [2**32]])
def test_what_does_not_fit_is_refused(values):
    with pytest.raises(ValueError, match="do not fit"):
        pack(np.array(values))


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="there are: u1"):
        pack(np.zeros(1), "f8")


@given(st.text())
def test_json_in_a_script_cannot_end_it(text):
    written = script_json({"x": [text]})
    assert not set(written) & set("<>&\u2028")
    assert json.loads(written) == {"x": [text]}


def test_texts_are_shared_shown_and_cut():
    names, number = shared(["a", "\n", "a", "long word"], 5)
    assert [names[i] for i in number] == ["a", "↵", "a", "long…"]
    assert len(names) == 3


def test_maps_fill_the_unit_square_undistorted():
    flat = np.array([[-2.0, 5.0], [6.0, 7.0], [2.0, 9.0]])
    found = fitted(flat)
    assert found[:, 0].tolist() == [0, 1, 0.5]
    assert found[:, 1].tolist() == [0.25, 0.5, 0.75]


def test_coordinates_are_of_features_that_fire(rng):
    dense = rng.random((300, 40)) * (rng.random((300, 40)) < 0.1)
    dense[:, [3, 7]] = 0
    decoder = rng.normal(size=(40, 8))
    found = layer_coordinates(sp.csr_matrix(dense), decoder, SETTINGS, "m/s")
    assert found["feature"].tolist() == [i for i in range(40) if i not in (3, 7)]
    assert found["count"].tolist() == np.count_nonzero(dense, axis=0)[found["feature"]].tolist()
    assert set(found["n_features"]) == {40}
    assert found[["x", "y"]].to_numpy().min() >= 0
    assert found[["x", "y"]].to_numpy().max() <= 1
    again = layer_coordinates(sp.csr_matrix(dense), decoder, SETTINGS, "m/s")
    pd.testing.assert_frame_equal(found, again)
    # Two directions, well apart: neighbours by cosine are neighbours on the map, whatever the norm.
    two = np.repeat(np.eye(2, 8), 20, axis=0) + 0.05 * rng.normal(size=(40, 8))
    two *= rng.uniform(0.1, 10, size=(40, 1))
    table = layer_coordinates(sp.csr_matrix(dense), two, SETTINGS, "m/s")
    place, first = table[["x", "y"]].to_numpy(), table["feature"].to_numpy() < 20
    apart = np.linalg.norm(place[:, None] - place, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (first[apart.argmin(axis=1)] == first).all()


def test_of_too_many_features_some_are_drawn(rng):
    features = sp.csr_matrix(rng.random((50, 30)))
    few = SETTINGS.model_copy(update={"max_features": 12})
    found = layer_coordinates(features, rng.normal(size=(30, 8)), few, "m/s")
    assert len(set(found["feature"])) == len(found) == 12
    assert found["feature"].is_monotonic_increasing
    assert set(found["n_firing"]) == {30}


def test_an_sae_that_hardly_fires_has_no_map(rng):
    features = sp.csr_matrix(np.eye(30, 4))
    with pytest.raises(InputError, match="m/s: 4 features fire; at least 5"):
        layer_coordinates(features, rng.normal(size=(4, 8)), SETTINGS, "m/s")
    with pytest.raises(InputError, match="4 features in the activations, 6 in the SAE"):
        layer_coordinates(features, rng.normal(size=(6, 8)), SETTINGS, "m/s")


def test_each_model_is_mapped_once():
    def files(**changed):
        pair = Pair.model_validate(planted.PAIR | changed)
        return [model.file for model in mapped_models(pair)]

    assert files() == ["one_seed0.parquet", "two_seed1.parquet"]
    assert files(b="one") == ["one_seed0.parquet", "one_seed1.parquet"]
    assert files(b="one", b_seed=0) == ["one_seed0.parquet"]


def test_the_stage_maps_every_layer_of_every_model(world, tmp_path):
    from universality.studies.spaces.stages.feature_coordinates import command

    write_json(
        tmp_path / "params.yaml",
        {"linked_pairs": {"pair": planted.PAIR}, "linked_maps": planted.SECTION},
    )
    for name in ("once", "twice"):
        command(
            "pair", world / "features", world / "saes", tmp_path / name, tmp_path / "params.yaml"
        )
    found = tables_by_name(tmp_path / "once")
    assert sorted(found) == ["one_seed0", "two_seed1"]
    assert found["one_seed0"].groupby("layer")["feature"].apply(list).to_dict() == {
        layer: list(range(planted.D_A - planted.DEAD)) for layer in (0, 1)
    }
    for file in sorted((tmp_path / "once").iterdir()):
        assert file.read_bytes() == (tmp_path / "twice" / file.name).read_bytes()


def test_words_and_contexts_of_a_feature(world):
    table = pd.DataFrame(
        {
            "document": [1, 1, 1, 1, 2, 2],
            "position": [1, 2, 3, 4, 1, 2],
            "start": [0, 1, 5, 9, 0, 1],
            "end": [1, 5, 9, 13, 1, 5],
            "token": [0, 1, 2, 3, 0, 1],
            "piece": ["x"] * 6,
        }
    )
    texts = {1: "A cat CAT dog", 2: "A cat"}
    at = positions(table, texts)
    words = words_of(at)
    assert [words.names[i] for i in words.number] == ["a", "cat", "cat", "dog", "a", "cat"]
    # Feature 1 fires on 2 cats and the dog of document 1 and on the cat of document 2.
    features = sp.csr_matrix(
        np.array([[1, 0], [0, 2], [0, 8], [0, 1], [0, 0], [0, 4]], dtype=np.float32)
    )
    settings = SETTINGS.model_copy(update={"before": 1, "after": 1, "n_tokens": 3})
    found = describe(features, np.array([1]), at, words, settings, np.random.default_rng(0))
    assert [words.names[i] for i in found.word[0] if i >= 0] == ["cat", "dog"]
    assert found.share[0].tolist() == [0.75, 0.25, 0]
    # The highest of each document, then one of the others.
    assert found.row[0, :2].tolist() == [2, 5]
    assert found.row[0, 2] in (1, 3)
    assert found.value[0, :2].tolist() == [8, 4]
    assert found.before[0, :2].tolist() == [1, 1]
    # A context ends with its document.
    assert found.after[0, :2].tolist() == [1, 0]
    levels = [np.ceil(LEVELS * value / 8) for value in (2, 8, 1, 0, 4)]
    assert found.level[:5].tolist() == levels


def test_features_that_fire_once_have_one_context(world):
    table = read_table(world / "features/one/tokens.parquet")
    texts = dict.fromkeys(range(planted.N_DOCUMENTS + 1), "")
    for document, piece in zip(table["document"], table["piece"], strict=True):
        texts[document] += piece
    at = positions(table, texts)
    dense = np.zeros((len(table), 2), dtype=np.float32)
    dense[5, 1] = 3
    found = describe(
        sp.csr_matrix(dense), np.array([0, 1]), at, words_of(at), SETTINGS, np.random.default_rng(0)
    )
    assert found.row.tolist() == [[-1, -1, -1], [5, -1, -1]]
    assert found.word[0].tolist() == [-1, -1, -1]
    assert found.level.tolist() == [0, 0, 0, 0, LEVELS, 0, 0]


def test_words_that_hardly_matter_are_left_out():
    """One word 599 times and another once; 600 words once each, of which the first is named."""
    n = 600
    table = pd.DataFrame({"document": 1, "position": np.arange(1, n + 1), "token": 0}, range(n))
    pieces = [" x"] * (n - 1) + [" y"]
    for texts, expected in ((pieces, [["x"]]), ([f" {i:03d}" for i in range(n)], [["000"]])):
        end = np.cumsum([len(text) for text in texts])
        start = np.append(0, end[:-1])
        at = positions(table.assign(start=start, end=end, piece=texts), {1: "".join(texts)})
        words = words_of(at)
        found = describe(
            sp.csr_matrix(np.ones((n, 1), np.float32)), np.array([0]), at, words, SETTINGS,
            np.random.default_rng(0),
        )  # fmt: skip
        shown = [[words.names[i] for i in row if i >= 0] for row in found.word]
        assert shown == expected


@pytest.mark.parametrize("n_documents", [1, 2, 400])
def test_top_contexts_are_the_highest_of_each_document(rng, n_documents):
    """Among many positions, with equal activations, and where few documents have them all."""
    n = 800
    document = np.sort(rng.integers(0, n_documents, n))
    ends = np.concatenate([np.arange(1, size + 1) for size in np.bincount(document) if size])
    table = pd.DataFrame({"document": document, "position": ends, "start": ends - 1, "end": ends})
    table = table.assign(token=0, piece="x")
    at = positions(table, dict.fromkeys(range(n_documents), "x" * n))
    values = np.ceil(4 * rng.random(n)).astype(np.float32)
    found = describe(sp.csr_matrix(values[:, None]), np.array([0]), at, words_of(at), SETTINGS, rng)
    ranked = sorted(range(n), key=lambda row: (-values[row], row))
    expected: dict[int, int] = {}
    for row in ranked:
        expected.setdefault(int(document[row]), row)
    top = list(expected.values())[: SETTINGS.n_top]
    assert found.row[0, : len(top)].tolist() == top
    assert found.row[0, 2] not in (-1, *top)


def test_planted_partners_are_found(data):
    a, b, r = _pairs(data, "0,0", "mutual")
    found = dict(zip(a.tolist(), b.tolist(), strict=True))
    for feature in range(planted.PLANTED):
        assert found[feature] == planted.partner(feature)
    assert r[a < planted.PLANTED].min() > 0.9


def test_pairings_are_those_of_the_matching_study(world, data):
    tables = tables_by_name(world / "matches")
    rows = {
        name: tables[name].query("layer_a == 0 and layer_b == 0")
        for name in ("features", "backward", "pairs")
    }
    expected = by_nearest(
        Partners(rows["features"]["partner"].to_numpy(), rows["features"]["r"].to_numpy()),
        Partners(rows["backward"]["partner"].to_numpy(), rows["backward"]["r"].to_numpy()),
    )
    for name, pairs in expected.items():
        a, b, r = _pairs(data, "0,0", name)
        assert a.tolist() == pairs.a.tolist()
        assert b.tolist() == pairs.b.tolist()
        np.testing.assert_allclose(r, pairs.score, atol=1 / R_UNIT)
    # Rivals share a partner, and one is left of them.
    assert len(expected["a_to_b"].a) > len(expected["one_per_b"].a)
    sides = [read_sparse(world / f"features/{name}.safetensors").toarray() for name in (
        "one/l0_mlp_out_seed0", "two/l0_mlp_out_seed1"
    )]  # fmt: skip
    alive = [np.flatnonzero(rows[name]["alive"]) for name in ("features", "backward")]
    scores = np.corrcoef(sides[0][:, alive[0]].T, sides[1][:, alive[1]].T)
    best = assignment(scores[: len(alive[0]), len(alive[0]) :])
    a, b, r = _pairs(data, "0,0", "hungarian")
    assert a.tolist() == alive[0][best.a].tolist()
    assert b.tolist() == alive[1][best.b].tolist()
    np.testing.assert_allclose(r, best.score, atol=1e-4)
    assert "transport" in data["pairs"]["0,0"]


def test_numbers_are_those_of_the_tables(world, data):
    tables = tables_by_name(world / "matches")
    best = tables["pairings"].query("layer_a >= 0").set_index(["layer_a", "layer_b", "pairing"])
    every = tables["layers"].set_index(["layer_a", "layer_b"])
    seen = set()
    for layers, pairings in data["pairs"].items():
        la, lb = map(int, layers.split(","))
        for name, packed in pairings.items():
            seen.add((la, lb, name))
            known = (la, lb, name) in best.index
            row = best.loc[la, lb, name] if known else every.loc[la, lb]
            numbers = packed["numbers"]
            for key in ("median_r", "median_r_low", "median_r_high", "median_r_null"):
                assert numbers[key] == pytest.approx(row[key], abs=1e-5)
            assert ("n_pairs_null" in numbers) == known
            a, _, r = _pairs(data, layers, name)
            assert np.median(r) == pytest.approx(row["median_r"], abs=1e-4)
            if known:
                assert len(a) == row["n_pairs"]
    # Every pairing of the best layers, the nearest of the others.
    assert {(la, lb) for la, lb, _ in seen} == set(every.index)
    assert {one for one in seen if one in best.index} == set(best.index)
    assert {name for *layers, name in seen if tuple(layers) not in
            {index[:2] for index in best.index}} == {"a_to_b"}  # fmt: skip


def test_best_layers_alone(world, tmp_path):
    found = planted.data_of(planted.write_page(world, tmp_path, layers="best"))
    assert len(found["layers"]) == 2
    assert all(best for _, _, best in found["layers"])
    assert set(found["pairs"]) == {f"{la},{lb}" for la, lb, _ in found["layers"]}


def test_correlations_are_pearsons(rng):
    a, b = (rng.random((50, 4)) * (rng.random((50, 4)) < 0.4) for _ in range(2))
    pairs = np.array([0, 3, 1]), np.array([2, 2, 0])
    found = correlations(sp.csr_matrix(a), sp.csr_matrix(b), pairs)
    expected = [np.corrcoef(a[:, i], b[:, j])[0, 1] for i, j in zip(*pairs, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_page_says_what_a_feature_fires_on(world, data):
    side = data["a"]
    layer = side["layers"]["0"]
    feature = unpack(layer["feature"]).tolist()
    assert feature == list(range(planted.D_A - planted.DEAD))
    word = unpack(layer["word"]).reshape(-1, side["n_words"])
    share = unpack(layer["share"]).reshape(-1, side["n_words"])
    # Feature 1 fires on cats alone, in either case.
    assert [side["words"][i - 1] for i in word[1] if i] == ["cat"]
    assert share[1].tolist() == [100, 0, 0]
    dense = read_sparse(world / "features/one/l0_mlp_out_seed0.safetensors").toarray()
    table = read_table(world / "features/one/tokens.parquet")
    pieces, own = table["piece"].tolist(), table["document"].tolist()
    text, documents = unpack(side["text"]), unpack(side["document"])
    row = unpack(layer["row"]).reshape(-1, side["n_contexts"])
    before, after = (unpack(layer[key]).reshape(row.shape) for key in ("before", "after"))
    value = unpack(layer["value"]).reshape(row.shape)
    for i in feature:
        assert value[i, 0] == dense[:, i].max()
        peak = int(dense[:, i].argmax())
        at = row[i, 0] - 1
        assert documents[at] == own[peak]
        shown = [side["strings"][text[k]] for k in range(at - before[i, 0], at + after[i, 0] + 1)]
        inside = [
            pieces[k].replace("\n", "↵")
            for k in range(max(peak - SETTINGS.before, 0), peak + SETTINGS.after + 1)
            if k < len(own) and own[k] == own[peak]
        ]
        # Long ones are cut.
        assert [one for one in shown if "…" not in one] == [one for one in inside if len(one) <= 32]
    assert layer["n_features"] == planted.D_A
    assert unpack(layer["x"]).max() == UNIT


def test_text_of_tokens_cannot_become_markup(page):
    text = page.read_text("utf-8")
    assert "alert(1)" in text
    assert planted.ENDS not in text
    assert text.count("<script") == text.count("</script>") == 2


def test_the_page_is_the_same_twice_and_asks_for_nothing(world, page, tmp_path):
    again = planted.write_page(world, tmp_path)
    assert again.read_bytes() == page.read_bytes()
    text = page.read_text("utf-8")
    assert "default-src 'none'" in text
    assert not re.findall(r"""(?:src|href)=(?!"#)|@import|url\(|https?:""", text)


def test_the_page_says_how_to_read_it(page):
    text = page.read_text("utf-8")
    for said in (
        "sampled from stories &lt;15m&gt;, not written by people",
        "Distances on these maps are no evidence",
        "B&#39;s positions are shifted against A&#39;s",
        "Features that never fire on the text are not shown",
        "<noscript>",
    ):
        assert said in text


def test_a_page_that_is_too_large_is_refused(world, tmp_path):
    with pytest.raises(InputError, match=r"more than linked_maps\.max_mb, 0\.01"):
        planted.write_page(world, tmp_path, max_mb=0.01)
    assert not (tmp_path / "page").exists()


def test_coordinates_of_another_run_are_named(world, tmp_path):
    other = tmp_path / "world"
    other.mkdir()
    for folder in ("features", "matches", "corpus"):
        (other / folder).symlink_to(world / folder)
    for name in ("one_seed0", "two_seed1"):
        table = read_table(world / f"coordinates/{name}.parquet")
        kept = table.query("layer == 0") if name == "one_seed0" else table
        write_table(other / "coordinates" / f"{name}.parquet", kept)
    with pytest.raises(InputError, match="no coordinates of l1_mlp_out_seed0"):
        planted.write_page(other, tmp_path / "out")
