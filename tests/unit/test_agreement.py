import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import scipy.stats
import torch
from matched import LISTS
from matched import SETTINGS as MATCHING
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from universality.core.errors import InputError
from universality.core.io import read_table, write_arrays, write_json, write_sparse, write_table
from universality.core.stats import kept_documents
from universality.core.unembedding import read_unembedding, written_rows
from universality.studies.matching.agreement import agreement
from universality.studies.matching.agreement.agreement import (
    Side,
    agree_layers,
    attributions,
    logit_correlation,
    logit_geometry,
    paired_r,
    predicting_rows,
    shared_tokens,
)
from universality.studies.matching.agreement.files import Directories, compare
from universality.studies.matching.agreement.tables import agreement_table, ranked
from universality.studies.matching.figures import agreement as draw
from universality.studies.matching.files import read_pair
from universality.studies.matching.pair_study import match_pair
from universality.studies.matching.params.agreement import Agreement


def random_sparse(rng, n, d, density=0.2):
    values = rng.random((n, d)).astype(np.float32)
    return sp.csr_matrix(np.where(rng.random((n, d)) < density, values, 0))


def test_rows_that_a_token_of_the_same_document_follows():
    document = np.array([0, 0, 0, 4, 4, 5, 5, 5])
    position = np.array([1, 2, 3, 1, 2, 1, 2, 4])  # 3 of document 5 was left out
    assert predicting_rows(document, position).tolist() == [0, 1, 3, 5]


def test_shared_tokens_across_tokenizer_families():
    byte_level = ["\u0120the", "cat", None, "\u0120cat", "s"]
    pieces = ["cat", "<s>", "\u2581cat", "\u2581the", "t"]
    ids_a, ids_b = shared_tokens(byte_level, pieces)
    assert list(zip(ids_a.tolist(), ids_b.tolist(), strict=True)) == [(0, 3), (1, 0), (3, 2)]
    same = shared_tokens(["a", None, "\u0120a", "\u2581a"], ["a", None, "\u0120a", "\u2581a"])
    assert [ids.tolist() for ids in same] == [[0, 2, 3], [0, 2, 3]]
    # Each token is used once.
    ids_a, ids_b = shared_tokens(["\u0120a", "\u2581a"], ["\u2581a"])
    assert (ids_a.tolist(), ids_b.tolist()) == ([0], [0])


def test_logit_correlation_is_that_of_the_logits_written_out():
    rng = np.random.default_rng(0)
    u, v = rng.normal(1, 1, size=(300, 8)), rng.normal(-2, 1, size=(300, 5))
    rows_a, rows_b = rng.normal(size=(6, 8)), rng.normal(size=(6, 5))
    order = rng.permutation(6)
    found, other = logit_correlation(rows_a, rows_b, logit_geometry(u, v), [order])
    np.testing.assert_allclose(
        other, logit_correlation(rows_a, rows_b[order], logit_geometry(u, v))[0]
    )
    expected = [np.corrcoef(u @ a, v @ b)[0, 1] for a, b in zip(rows_a, rows_b, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-10)
    # Another basis of B's residual stream changes nothing.
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    turned = logit_correlation(rows_a, rows_b @ turn, logit_geometry(u, v @ turn))[0]
    np.testing.assert_allclose(turned, found, atol=1e-10)
    rows_a[2] = 0
    assert logit_correlation(rows_a, rows_b, logit_geometry(u, v))[0, 2] == 0


def test_attributions_by_the_plain_formula(monkeypatch):
    rng = np.random.default_rng(1)
    features = random_sparse(rng, 60, 7)
    rows, unembedding = rng.normal(size=(7, 4)), rng.normal(1, 1, size=(20, 4))
    next_token = rng.integers(0, 20, 60)
    logits = rows @ unembedding.T
    logits -= logits.mean(1, keepdims=True)
    expected = features.toarray() * logits[:, next_token].T
    found = attributions(features, next_token, rows, unembedding)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-5)
    monkeypatch.setattr(agreement, "_BLOCK", 21)  # three tokens at a time
    again = attributions(features, next_token, rows, unembedding)
    np.testing.assert_allclose(again.toarray(), found.toarray(), atol=1e-6)
    # What all logits have in common does not count.
    moved = attributions(features, next_token, rows, unembedding + rng.normal(size=4))
    np.testing.assert_allclose(moved.toarray(), expected, atol=1e-5)


def test_paired_r_with_shifts_is_that_of_rolled_rows():
    rng = np.random.default_rng(2)
    a, b = random_sparse(rng, 90, 5), random_sparse(rng, 90, 5)
    b = sp.csr_matrix(b.toarray() * [1, 1, 0, 1, -1])
    for offset, found in zip((0, 30), paired_r(a, b, [0, 30]), strict=True):
        rolled = np.roll(b.toarray(), offset, axis=0)
        for column in (0, 1, 3, 4):
            expected = np.corrcoef(a.toarray()[:, column], rolled[:, column])[0, 1]
            assert found[column] == pytest.approx(expected, abs=1e-6)
        assert found[2] == 0


def test_ranked_is_spearmans():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=30).round(1), rng.normal(size=(4, 30)).round(1)
    expected = [scipy.stats.spearmanr(x, row).statistic for row in y]  # pyright: ignore
    np.testing.assert_allclose(ranked(x, y), expected)
    assert ranked(x, np.ones((1, 30))) == 0


def planted(rng, n=800, d=30):
    """Return two sides that are the same features in another order, but feature 4 of A's partner
    writes the opposite; and the partners."""  # fmt: skip
    features = random_sparse(rng, n, d, 0.1)
    rows, unembedding = rng.normal(size=(d, 12)), rng.normal(size=(50, 12))
    next_token = rng.integers(0, 50, n)
    order = rng.permutation(d)
    partner = np.argsort(order)
    turned = rows.copy()
    turned[4] *= -1
    sides = []
    for own, written in ((np.arange(d), rows), (order, turned)):
        matrix, written = features[:, own], written[own]
        sides.append(Side(matrix, attributions(matrix, next_token, written, unembedding), written))
    return sides, partner, logit_geometry(unembedding, unembedding)


def agree(rng, sides, partner, over, **options):
    documents = np.repeat(np.arange(40), sides[0].features.shape[0] // 40)
    settings: dict[str, Any] = {
        "offsets": np.arange(100, 600, 26)[:19],
        "kept": kept_documents(40, 10, rng),
        "n_shuffles": 99,
        "n_sampled": 12,
        "r": np.ones(len(partner)),
    }
    a, b = sides
    return agree_layers(
        a, b, documents, layers=(1, 2), partner=partner, over=over, rng=rng, **settings | options
    )


def test_features_that_write_the_opposite_are_told_from_those_that_agree():
    rng = np.random.default_rng(4)
    sides, partner, over = planted(rng)
    found = agree(rng, sides, partner, over)
    others = np.arange(30) != 4
    np.testing.assert_allclose(found.logit_r, np.where(others, 1, -1), atol=1e-9)
    np.testing.assert_allclose(found.attribution_r, np.where(others, 1, -1), atol=1e-5)
    np.testing.assert_allclose(found.r_left_out, 1, atol=1e-5)
    assert found.differs.tolist() == (~others).tolist()
    assert (found.best[others] == partner[others]).all()
    assert not found.differs_between_halves.any()
    assert found.attribution_differs_between_halves[others].sum() == 0
    assert found.logit_r_null.shape == (99, 30)
    assert found.attribution_r_null.shape == (19, 12)
    assert np.abs(found.attribution_r_null).max() < 0.4
    row = agreement_table([found], 0.7).iloc[0]
    assert (row["layer_a"], row["layer_b"]) == (1, 2)
    assert row["n_high"] == 30
    assert row["partner_differs"] == pytest.approx(1 / 30)
    assert row["partner_differs_null"] > 0.9
    assert row["partner_differs_high"] < row["partner_differs_null_low"]
    for kind in ("logit", "attribution"):
        assert row[f"high_negative_{kind}"] == pytest.approx(1 / 30)
        assert 0.2 < row[f"high_negative_{kind}_null"] < 0.8
        assert row[f"median_{kind}_r"] == pytest.approx(1)
        assert abs(row[f"median_{kind}_r_null"]) < 0.1
    assert row["high_negative_logit_low"] < 1 / 30 < row["high_negative_logit_high"]
    assert row["high_negative_logit_null_low"] > 1 / 30
    assert row["high_negative_attribution_null_low"] > 1 / 30


def test_the_null_of_logit_weights_shuffles_partners():
    rng = np.random.default_rng(5)
    sides, partner, over = planted(rng)
    found = agree(rng, sides, partner, over)
    every = [
        logit_correlation(sides[0].rows, np.tile(row, (30, 1)), over)[0] for row in sides[1].rows
    ]
    for draw_ in found.logit_r_null[:5]:
        assert np.isclose(draw_, np.array(every), atol=1e-9).any(axis=0).all()
    assert (found.logit_r_null[0] != found.logit_r_null[1]).any()


def test_tables_pool_layers_and_leave_open_what_no_feature_shows():
    rng = np.random.default_rng(6)
    sides, partner, over = planted(rng)
    low = agree(rng, sides, partner, over, r=np.full(30, 0.2))
    high = agree(rng, sides, partner, over)
    table = agreement_table([low, high], 0.7)
    assert table["layer_a"].tolist() == [1, 1, -1]
    assert table["n_features"].tolist() == [30, 30, 60]
    assert table["n_high"].tolist() == [0, 30, 30]
    for name in ("", "_low", "_high", "_null", "_null_low", "_null_high"):
        assert table[f"high_negative_logit{name}"].isna().tolist() == [True, False, False]
    pooled = table.iloc[2]
    assert pooled["high_negative_logit"] == pytest.approx(1 / 30)
    assert pooled["partner_differs"] == pytest.approx(2 / 60)
    numbers = table.drop(columns=[name for name in table if name.startswith("high")])
    assert np.isfinite(numbers.to_numpy(dtype=float)).all()


def write_model(path, rng, pieces, d_model, norm=None, tied=True, **config):
    names = {"model.embed_tokens.weight": rng.normal(size=(len(pieces), d_model))}
    names["model.norm.weight"] = norm if norm is not None else rng.uniform(0.5, 2, d_model)
    names["model.layers.0.mlp.down_proj.weight"] = rng.normal(size=(d_model, 2 * d_model))
    names["model.layers.0.input_layernorm.weight"] = np.ones(d_model)
    if not tied:
        names["lm_head.weight"] = rng.normal(size=(len(pieces), d_model))
    arrays = {name: array.astype(np.float32) for name, array in names.items()}
    write_arrays(path / "model.safetensors", arrays)
    config = {"bos_token_id": 0, "hidden_size": d_model, "model_type": "llama"} | config
    write_json(path / "config.json", config)
    Tokenizer(WordLevel({piece: i for i, piece in enumerate(pieces)}, "<s>")).save(
        str(path / "tokenizer.json")
    )
    return arrays


def test_unembedding_folds_the_final_norm(tmp_path):
    rng = np.random.default_rng(7)
    pieces, x = ["<s>", "a", "b"], rng.normal(size=6)
    arrays = write_model(tmp_path / "tied", rng, pieces, 6)
    scale, rows = arrays["model.norm.weight"], arrays["model.embed_tokens.weight"]
    np.testing.assert_allclose(
        read_unembedding(tmp_path / "tied") @ x, rows @ (scale * x), rtol=1e-4
    )
    arrays = write_model(tmp_path / "own", rng, pieces, 6, tied=False, model_type="gemma2")
    expected = arrays["lm_head.weight"] @ ((1 + arrays["model.norm.weight"]) * x)
    np.testing.assert_allclose(read_unembedding(tmp_path / "own") @ x, expected, rtol=1e-4)
    half = torch.from_numpy(rows).bfloat16()
    save_file(
        {"lm_head.weight": half, "model.norm.weight": torch.ones(6)},
        tmp_path / "own" / "model.safetensors",
    )
    expected = half.double().numpy() @ (2 * x)
    np.testing.assert_allclose(read_unembedding(tmp_path / "own") @ x, expected, rtol=1e-4)
    # GPT-2: a LayerNorm, which centres.
    layer_norm = {"wte.weight": rows, "ln_f.weight": scale, "ln_f.bias": scale}
    write_arrays(tmp_path / "own" / "model.safetensors", layer_norm)
    write_json(tmp_path / "own" / "config.json", {"model_type": "gpt2"})
    expected = rows @ (scale * (x - x.mean()))
    np.testing.assert_allclose(read_unembedding(tmp_path / "own") @ x, expected, rtol=1e-4)
    write_json(tmp_path / "own" / "config.json", {"tie_word_embeddings": False})
    with pytest.raises(InputError, match=r"no unembedding in safetensors.*ln_f\.bias"):
        read_unembedding(tmp_path / "own")


def test_what_features_of_a_hook_write(tmp_path):
    rng = np.random.default_rng(8)
    arrays = write_model(tmp_path, rng, ["<s>", "a"], 6)
    decoder = rng.normal(size=(4, 6))
    for hook in ("blocks.0.hook_mlp_out", "blocks.3.hook_resid_post"):
        assert written_rows(decoder, tmp_path, hook) is decoder
    neurons = rng.normal(size=(4, 12))
    np.testing.assert_allclose(
        written_rows(neurons, tmp_path, "blocks.0.mlp.hook_post"),
        neurons @ arrays["model.layers.0.mlp.down_proj.weight"].T.astype(float),
    )
    with pytest.raises(InputError, match="does not write to the residual stream"):
        written_rows(decoder, tmp_path, "blocks.0.attn.hook_z")


PIECES = ["<s>", *(f"\u2581w{i}" for i in range(30))]
OTHER_PIECES = ["<s>", "x", *(f"\u0120w{i}" for i in range(29, -1, -1))]
SETTINGS = Agreement(
    n_null=3, n_null_features=6, n_shuffles=9, n_groups=10, min_token_count=0,
    cosine_threshold=0.7, memory_mb=64, seed=0,
)  # fmt: skip


def write_side(path, rng, features, token, seed=0, decoder=None):
    """Write features of 20 documents of 20 tokens, and an SAE for each layer of `features`."""
    place = np.tile(np.arange(1, 21), 20).astype(np.int32)
    document = np.repeat(np.arange(20), 20).astype(np.int64)
    table = {"document": document, "position": place, "end": place, "token": token}
    table["piece"] = [f"▁w{number}" for number in token]
    write_table(path / "features" / "tokens.parquet", pd.DataFrame(table))
    for layer, matrix in enumerate(features):
        name = f"l{layer}_mlp_out_seed{seed}"
        write_sparse(path / "features" / f"{name}.safetensors", matrix)
        write_sparse(path / "features" / "bos" / f"{name}.safetensors", sp.csr_matrix(matrix[:1]))
        rows = rng.normal(size=(matrix.shape[1], 8)) if decoder is None else decoder
        arrays = {"W_enc": rows.T, "W_dec": rows, "b_enc": rows[:, 0]}
        arrays = {key: array.astype(np.float32) for key, array in arrays.items()}
        write_arrays(path / "saes" / name / "sae_weights.safetensors", arrays)
        config = {"metadata": {"hook_name": f"blocks.{layer}.hook_mlp_out"}}
        write_json(path / "saes" / name / "cfg.json", config)
    return Directories(path / "features", path / "model", path / "saes", seed)


def match(tmp_path, a, b):
    inputs = read_pair(a.features, b.features, a.seed, b.seed)
    for name, table in match_pair("k", inputs, MATCHING, LISTS).items():
        write_table(tmp_path / "matches" / f"{name}.parquet", table)
    return tmp_path / "matches"


def test_two_seeds_of_one_model_on_directories(tmp_path):
    rng = np.random.default_rng(9)
    features, decoder = random_sparse(rng, 400, 15), rng.normal(size=(15, 8))
    order, token = rng.permutation(15), rng.integers(1, 31, 400)
    write_model(tmp_path / "model", rng, PIECES, 8)
    a = write_side(tmp_path, rng, [features], token, 0, decoder)
    b = write_side(tmp_path, rng, [features[:, order]], token, 1, decoder[order])
    matches = match(tmp_path, a, b)
    tables = compare("k", a, b, matches, SETTINGS)
    assert set(tables) == {"pairs", "summary", "weights", "weights_and_activations"}
    pairs = tables["pairs"]
    assert pairs["partner"].tolist() == np.argsort(order).tolist()
    assert pairs["attribution_partner"].tolist() == pairs["partner"].tolist()
    ones = ["r", "logit_r", "attribution_r", "best_attribution_r", "decoder_cosine"]
    np.testing.assert_allclose(pairs[ones], 1, atol=1e-5)
    summary = tables["summary"].set_index("layer_a")
    assert summary.loc[-1, "partner_differs"] == 0
    assert set(summary["n_positions"]) == {380}  # without the last of each document
    assert set(summary["n_tokens"]) == {31}
    shared = tables["weights"].query("layer < 0 and pairing == 'hungarian_mean'")
    assert shared["share_above"].tolist() == [1, 1, 1]
    assert tables["weights_and_activations"]["nearest_agrees"].tolist() == [1, 1]
    again = compare("k", a, b, matches, SETTINGS)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, again[name], check_exact=True)
    assert draw.agreements({"k": tables}).axes


def test_other_tokens_count_where_both_models_have_them(tmp_path):
    rng = np.random.default_rng(10)
    features, token = random_sparse(rng, 400, 15), rng.integers(1, 21, 400)
    first, second = tmp_path / "a", tmp_path / "b"
    arrays = write_model(first / "model", rng, PIECES, 8, np.ones(8))
    decoder = rng.normal(size=(15, 8))
    a = write_side(first, rng, [features], token, 0, decoder)
    # B's vocabulary is A's in reverse, its residual stream turned: it writes the same.
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    write_model(second / "model", rng, OTHER_PIECES, 8, np.ones(8))
    rows = arrays["model.embed_tokens.weight"]
    place = [0, 0, *range(30, 0, -1)]
    turned = {"model.embed_tokens.weight": (rows[place] @ turn).astype(np.float32)}
    turned["model.norm.weight"] = np.ones(8, dtype=np.float32)
    write_arrays(second / "model" / "model.safetensors", turned)
    b = write_side(second, rng, [features], 32 - token, 0, decoder @ turn)
    tables = compare("k", a, b, match(tmp_path, a, b), SETTINGS)
    assert set(tables) == {"pairs", "summary"}
    pairs = {name: column.to_numpy() for name, column in tables["pairs"].items()}
    np.testing.assert_allclose(pairs["logit_r"], 1, atol=1e-5)
    # One token more in B's vocabulary moves the mean logit that is taken off.
    assert pairs["attribution_r"].min() > 0.99
    assert np.isnan(pairs["decoder_cosine"]).all()
    assert set(tables["summary"]["n_tokens"]) == {31}
    often = compare(
        "k", a, b, tmp_path / "matches", SETTINGS.model_copy(update={"min_token_count": 1})
    )
    assert set(often["summary"]["n_tokens"]) == {20}
    seldom = SETTINGS.model_copy(update={"min_token_count": 400})
    with pytest.raises(InputError, match=r"0 shared tokens occur 400 \(agreement.min_token_count"):
        compare("k", a, b, tmp_path / "matches", seldom)


def test_bad_directories_are_one_clear_line(tmp_path):
    rng = np.random.default_rng(11)
    features, token = random_sparse(rng, 400, 15), rng.integers(1, 31, 400)
    write_model(tmp_path / "model", rng, PIECES, 8)
    a = write_side(tmp_path, rng, [features], token)
    b = write_side(tmp_path, rng, [features], token, 1)
    matches = match(tmp_path, a, b)
    headline = read_table(matches / "headline.parquet")
    write_table(matches / "headline.parquet", headline.assign(layer_b=3))
    with pytest.raises(InputError, match=r"no SAE of layer 3 and seed 1.*layers: \[0\]"):
        compare("k", a, b, matches, SETTINGS)
    write_table(matches / "headline.parquet", headline)
    config = tmp_path / "saes" / "l0_mlp_out_seed1" / "cfg.json"
    config.write_text(json.dumps({"metadata": {"hook_name": "blocks.0.attn.hook_z"}}))
    with pytest.raises(InputError, match="does not write to the residual stream"):
        compare("k", a, b, matches, SETTINGS)
    write_model(tmp_path / "model", rng, PIECES[:12], 8)
    with pytest.raises(InputError, match="knows 12"):
        compare("k", a, b, matches, SETTINGS)
