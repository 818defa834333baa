"""Decompositions of steering vectors: by hand, with planted answers, and steering with them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from stand_ins import Signs

from universality.core.errors import InputError
from universality.core.io import read_table, write_arrays, write_json
from universality.core.tables import column, groups, where
from universality.studies.steering.causal import changes, kept_table, total, with_length
from universality.studies.steering.decomposition import (
    METHODS,
    Case,
    Decomposition,
    Dictionary,
    activation_table,
    decompose,
    decompose_all,
    dictionary_of,
    fidelity,
    fidelity_table,
    largest,
    shuffled,
)
from universality.studies.steering.decomposition_study import summary
from universality.studies.steering.decomposition_summary import decomposition_metrics, part_metrics
from universality.studies.steering.effects import Task, Writing
from universality.studies.steering.figures import decomposition as figures
from universality.studies.steering.intervene import Addition
from universality.studies.steering.lens import direct_effect, top_tokens
from universality.studies.steering.misreading import lost_table, overlap, top_features, zero_table
from universality.studies.steering.part_study import pareto, patch_summary
from universality.studies.steering.parts import part_table, part_vectors, patched
from universality.studies.steering.stages import decompose_vectors, steer_parts

HOOK, LATER = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
TASK = Task(
    [np.array([0, 5, 9, 40, 7]), np.array([0, 11, 12, 40]), np.array([0, 30, 31, 7, 8, 9])],
    (np.array([20, 21]), np.array([30])),
)


def relu_dictionary(bias: np.ndarray | None = None) -> Dictionary:
    """Features are the positive parts of the coordinates, plus `bias`."""
    shift = np.zeros(4) if bias is None else bias
    return Dictionary(lambda x: np.maximum(x + shift, 0), np.eye(4), np.zeros(4), None)


@pytest.fixture
def case() -> Case:
    """A vector that adds 3 to coordinate 0 and takes 2 from coordinate 1."""
    positive = np.array([[3.0, 1, 0, 5], [3, 1, 0, 7]])
    negative = np.array([[0.0, 3, 0, 5], [0, 3, 0, 7]])
    return Case("planted", np.array([3.0, -2, 0, 0]), positive, negative)


def test_an_encoder_loses_what_is_taken_away_and_other_ways_do_not(case):
    context = np.full((5, 4), 10.0)
    found = decompose(relu_dictionary(), case, context, 2)
    assert found.keys() == METHODS.keys()
    for name in ("encode", "encode_and_bias", "non_negative_pursuit", "encoder_support"):
        np.testing.assert_allclose(found[name].reconstruction, [3, 0, 0, 0], atol=1e-6)
    for name in ("encode_shift", "encode_shift_top", "prompt_difference", "signed_pursuit", "omp"):
        np.testing.assert_allclose(found[name].reconstruction, [3, -2, 0, 0], atol=1e-6)
    low = np.zeros((5, 4))  # where nothing is, nothing can be taken away
    np.testing.assert_allclose(
        decompose(relu_dictionary(), case, low, 2)["encode_shift"].code, [3, 0, 0, 0]
    )


def test_the_decoders_bias_is_in_one_way_only(case):
    bias = np.array([0.0, 0, 1, 0])
    by = Dictionary(relu_dictionary().encode, np.eye(4), bias, None)
    found = decompose(by, case, np.zeros((2, 4)), 2)
    np.testing.assert_allclose(found["encode_and_bias"].reconstruction, [3, 0, 1, 0])
    np.testing.assert_allclose(found["encode"].reconstruction, [3, 0, 0, 0])


def test_many_vectors_at_once_are_as_one_by_one(rng):
    rows = rng.standard_normal((30, 12))
    by = Dictionary(lambda x: np.maximum(x @ rows.T - 2, 0), rows, rng.standard_normal(12), None)
    context = rng.standard_normal((7, 12))
    cases = [
        Case(name, length * rng.standard_normal(12), *rng.standard_normal((2, 3, 12)))
        for name, length in (("long", 3.0), ("short", 0.1), ("middling", 1.0))
    ]
    together = decompose_all(by, cases, context, 5)
    for case, found in zip(cases, together, strict=True):
        for name, one in decompose(by, case, context, 5).items():
            np.testing.assert_allclose(found[name].code, one.code, atol=1e-5)
            np.testing.assert_allclose(found[name].reconstruction, one.reconstruction, atol=1e-4)


def test_fidelity_by_hand():
    vector, rows = np.array([3.0, 4, 0]), np.array([[1.0, 0, 0], [0, -2, 0], [0, 0, 1]])
    half = fidelity(vector, Decomposition(np.array([1.5, -1, 0]), np.array([1.5, 2, 0])), rows)
    assert half["cosine"] == pytest.approx(1)
    assert half["norm_ratio"] == pytest.approx(0.5)
    assert half["explained"] == pytest.approx(0.75)
    assert half["l0"] == 2
    assert half["negative_share"] == pytest.approx(4 / (2.25 + 4))
    nothing = fidelity(vector, Decomposition(np.zeros(3), np.zeros(3)), rows)
    assert nothing == {
        "cosine": 0, "norm_ratio": 0, "explained": 0, "l0": 0, "negative_share": 0
    }  # fmt: skip


def test_the_largest_are_by_what_they_add_not_by_coefficient():
    rows = np.diag([1.0, 10, 1])
    np.testing.assert_array_equal(largest(np.array([3.0, -1, 2]), rows, 1), [0, -1, 0])
    np.testing.assert_array_equal(largest(np.array([3.0, -1, 2]), rows, 2), [3, -1, 0])


def test_a_shuffled_dictionary_keeps_lengths_and_loses_directions(rng):
    rows = rng.standard_normal((50, 40)) + 2  # all alike
    other = shuffled(Dictionary(lambda x: x, rows, np.zeros(40), None), rng)
    np.testing.assert_allclose(np.sort(other.rows, axis=1), np.sort(rows, axis=1))
    assert not np.array_equal(other.rows, rows)
    spread = rng.standard_normal((50, 40)) * np.logspace(0, -3, 40)
    mixed = shuffled(Dictionary(lambda x: x, spread, np.zeros(40), None), rng).rows

    def mean_cosine(x):
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        return np.abs(unit @ unit.T)[np.triu_indices(50, 1)].mean()

    assert mean_cosine(spread) > 2 * mean_cosine(mixed)


def test_vectors_of_few_features_stand_out_from_both_controls(rng):
    rows = rng.standard_normal((80, 30))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    by = Dictionary(lambda x: np.maximum(x @ rows.T - 0.5, 0), rows, np.zeros(30), None)
    cases = []
    for name in "abcd":
        features = rng.choice(80, 3, replace=False)
        vector = np.array([2, -2, 1]) @ rows[features]
        context = rng.standard_normal((6, 30))
        cases.append(Case(name, vector, context + vector, context))
    table = fidelity_table(by, cases, rng.standard_normal((20, 30)), 4, 5, rng)
    assert table.groupby("source").size().to_dict() == {
        "random": 4 * 5 * len(METHODS), "shuffled": 4 * len(METHODS), "vector": 4 * len(METHODS),
    }  # fmt: skip
    by_omp = where(table, method="omp")
    cosine = {key[0]: column(part, "cosine").mean() for key, part in groups(by_omp, "source")}
    assert cosine["vector"] > 0.98
    assert cosine["random"] < 0.9
    assert cosine["shuffled"] < 0.9
    kept = pd.DataFrame(
        [
            {"layer": 1, "vector": name, "method": method, "length": length, "effect": effect,
             "original": 2.0, "beyond": beyond}
            for name, beyond in (("a", True), ("b", True), ("c", False))
            for method, length, effect in (
                ("omp", "own", 1.0), ("omp", "matched", 2.0), ("random_0", "own", 0.1),
                ("random_1", "own", -0.1), ("omp_shuffled", "own", 0.5),
            )
        ]
    )  # fmt: skip
    found = summary(table.assign(layer=1), kept, 100, rng)
    found = where(found, method="omp").to_dict("records")[0]
    assert found["n_steering"] == 2  # c has no effect that could be kept
    assert found["cosine"] == pytest.approx(cosine["vector"])
    assert found["cosine_null"] == pytest.approx(cosine["random"])
    assert found["cosine_low"] <= found["cosine"] <= found["cosine_high"]
    assert found["share_own"] == pytest.approx(0.5)
    assert found["share_matched"] == pytest.approx(1)
    assert found["share_own_shuffled"] == pytest.approx(0.25)
    assert found["share_own_lead"] == pytest.approx(0.25)
    assert found["share_own_null"] == pytest.approx(0, abs=1e-12)
    assert found["share_own_null_low"] == pytest.approx(-0.05)
    assert found["share_own_null_high"] == pytest.approx(0.05)


def test_activations_of_an_sae_have_little_taken_away(rng):
    rows = rng.standard_normal((40, 30))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    bias = rng.standard_normal(30)
    by = Dictionary(lambda x: x, rows, bias, None)
    codes = np.zeros((10, 40))
    for code in codes:
        code[rng.choice(40, 2, replace=False)] = (3, 2)
    table = activation_table(by, codes @ rows + bias, 2)
    assert column(table, "explained").mean() > 0.9
    assert column(table, "negative_share").mean() < 0.1


def test_short_vectors_read_as_zero_and_long_ones_as_themselves(rng):
    bias = np.array([0.5, 0.4, 0.0, -5])
    vectors = {"two": np.array([0.0, 0, 1, 0]), "three": np.array([-1.0, -1, 0, 1])}
    cases = [Case(name, v, v[None], v[None]) for name, v in vectors.items()]
    table = zero_table(relu_dictionary(bias), cases, [0.01, 100], 1, 3, rng)
    rows = table.set_index(["vector", "multiplier"])
    for name in vectors:
        assert rows.loc[(name, 0.01), "overlap_zero"] == 1
        assert rows.loc[(name, 0.01), "overlap_others"] == 1
        assert rows.loc[(name, 100), "overlap_zero"] == 0
        assert rows.loc[(name, 100), "overlap_others"] == 0
    assert rows.loc[("two", 100), "length"] == pytest.approx(100)
    assert rows.loc[("two", 100), "activation_zero"] == pytest.approx(0.9 / 100.9)
    assert rows.loc[("two", 0.01), "overlap_zero_random"] == 1


def test_features_that_fall_are_lost_by_hand(case):
    row = lost_table(relu_dictionary(), [case], np.full((2, 4), 10.0), 2).iloc[0]
    assert row["positive_share"] == pytest.approx(9 / 13)
    assert row["negative_share"] == pytest.approx(4 / 13)
    assert (row["positive_named"], row["negative_named"]) == (1, 0)
    assert (row["positive_named_by_zero"], row["negative_named_by_zero"]) == (0, 0)


def test_top_features_are_those_that_fire():
    code = np.array([0, 3.0, 0, 5, -1])
    np.testing.assert_array_equal(top_features(code, 4), [3, 1])
    assert overlap(np.array([3, 1]), np.array([1, 2])) == 0.5
    assert overlap(np.array([], dtype=int), np.array([1])) == 0


@pytest.fixture
def signs() -> Dictionary:
    return dictionary_of(Signs(), False)


@pytest.fixture
def vector(rng) -> np.ndarray:
    return 3 * rng.standard_normal(16)


def test_a_centred_sae_reads_activations_less_their_mean(rng):
    x = rng.standard_normal((3, 16)) + 5
    found = dictionary_of(Signs(), True).encode(x)
    np.testing.assert_allclose(
        found[:, :16] - found[:, 16:], x - x.mean(1, keepdims=True), atol=1e-5
    )


def test_an_exact_reconstruction_keeps_the_whole_effect(bridge, vector, rng):
    found = {
        "exact": Decomposition(np.zeros(1), vector),
        "half": Decomposition(np.zeros(1), vector / 2),
        "opposite": Decomposition(np.zeros(1), -vector),
        "nothing": Decomposition(np.zeros(1), 0 * vector),
    }
    case = Case("v", vector, vector[None], vector[None])
    kept = kept_table(bridge, HOOK, case, TASK, found, [0.5, 1], "after_prompt", 8, 4, 100, rng)
    rows = kept.set_index(["method", "length"])
    assert rows.loc[("exact", "own"), "share"] == pytest.approx(1)
    assert rows.loc[("half", "matched"), "share"] == pytest.approx(1)
    assert rows.loc[("half", "own"), "share"] != pytest.approx(1, abs=0.05)
    assert rows.loc[("nothing", "matched"), "effect"] == pytest.approx(0, abs=1e-6)
    effect: Any = rows["effect"]
    assert effect["opposite", "own"] != pytest.approx(effect["original", "own"], abs=0.01)
    highest = max(effect[f"random_{draw}", "own"] for draw in range(4))
    assert set(rows["beyond"]) == {bool(effect["original", "own"] > highest)}


def test_effects_are_towards_where_multipliers_point():
    np.testing.assert_allclose(total(np.array([[-1.0, 2], [3, 4]]), [-2, 2]), [2, 1])
    np.testing.assert_allclose(with_length(np.array([3.0, 4]), 10), [6, 8])


def test_parts_add_up(rng):
    rows, vector = rng.standard_normal((9, 5)), rng.standard_normal(5)
    code = np.array([0, 2.0, 0, -3, 0, 1, 0.5, -0.1, 4])
    parts = part_vectors(vector, code, rows, np.zeros(5))
    for one, other in (
        ("code", "remainder"), ("top_5", "without_top_5"),
    ):  # fmt: skip
        np.testing.assert_allclose(parts[one] + parts[other], vector)
    np.testing.assert_allclose(parts["code_positive"] + parts["code_negative"], parts["code"])
    biggest = np.argmax(np.abs(code) * np.linalg.norm(rows, axis=1))
    np.testing.assert_allclose(parts["top_1"], code[biggest] * rows[biggest])


def test_parts_have_the_effect_of_steering_and_nothing_costs_nothing(bridge, vector):
    parts = {"whole": vector, "remainder": 0 * vector}
    table = part_table(
        bridge, HOOK, parts, TASK, [2], "after_prompt", Writing(4, frozenset([1]), 0), 8
    )
    rows = table.set_index(["part", "prompt"])
    own = changes(bridge, HOOK, {"v": vector}, TASK, [2], "after_prompt", 8)["v"][0]
    np.testing.assert_allclose(rows.loc["whole"]["effect"], own, atol=1e-5)
    np.testing.assert_allclose(rows.loc["remainder"][["effect", "price"]], 0, atol=1e-6)
    assert (rows.loc["whole"]["price"] != 0).any()
    found = pareto(table.assign(layer=0, vector="v"), 100, np.random.default_rng(0))
    whole = found.set_index("part").loc["whole"]
    assert whole["effect"] == pytest.approx(own.mean())
    assert (whole["effect_share"], whole["price_share"]) == (1, 1)
    assert found.set_index("part").loc["remainder", "effect_share"] == pytest.approx(0, abs=1e-6)


def test_patches_pass_the_effect_by_features_or_by_error(bridge, signs, vector, rng):
    addition = Addition(HOOK, vector, 1.0)
    own = changes(bridge, HOOK, {"v": vector}, TASK, [1], "after_prompt", 8)["v"][0]
    exact = patched(bridge, signs, LATER, addition, TASK, rng)
    np.testing.assert_allclose(exact["original"], own, atol=1e-4)
    np.testing.assert_allclose(exact["features"], own, atol=1e-4)
    np.testing.assert_allclose(exact["reconstruction"], own, atol=1e-4)
    np.testing.assert_allclose(exact["error"], 0, atol=1e-4)
    assert not np.allclose(exact["random"], own, atol=0.05)
    blind = patched(bridge, dictionary_of(Signs(0.0), False), LATER, addition, TASK, rng)
    np.testing.assert_allclose(blind["features"], 0, atol=1e-4)
    np.testing.assert_allclose(blind["reconstruction"], 0, atol=1e-4)
    np.testing.assert_allclose(blind["error"], own, atol=1e-4)
    rows = [
        {"layer": 0, "patched": 1, "patch": name, "vector": "v", "effect": value}
        for name, values in exact.items()
        for value in values
    ]
    found = patch_summary(pd.DataFrame(rows), 100, rng).set_index("patch")
    assert found.loc["features", "share"] == pytest.approx(1, abs=1e-3)
    assert found.loc["error", "share"] == pytest.approx(0, abs=1e-3)


def test_logit_lens_by_hand(rng):
    unembedding = np.eye(4)
    words = (np.array([0]), np.array([1]))
    row = direct_effect(np.array([2.0, -2, 0, 0]), unembedding, words, 19, rng)
    assert row["direct"] == pytest.approx(1)
    assert 0.2 < row["direct_null"] < 0.7
    assert row["direct_null"] < row["direct_null_high"] < 1
    named = top_tokens(np.array([1.0, -3, 2, 0]), unembedding, ["▁a", "Ġb", "c", "d"], 2)
    assert named == {"raised": "c a", "lowered": "b d"}


SECTIONS = """
steering: {method: mean, where: after_prompt, batch_rows: 16, n_bootstrap: 100, seed: 0}
decomposition:
  {l0: 4, n_context: 20, n_documents: 5, batch_tokens: 256, zero_multipliers: [0.1, 1],
   n_top: 3, n_random: 19}
decomposed_models:
  tiny: {folder: saes/tiny, saes: [l0, l1], centred: false, contrasts: [one, other],
         multipliers: [1, 2], n_prompts: 2}
steered_parts:
  tiny: {folder: saes/tiny, saes: [l0], downstream: [l1], centred: false, contrasts: [one, other],
         multipliers: [2], n_prompts: 2, n_new: 3}
"""
CONTRASTS = """
one:
  pairs: [["The cat was big. It", "The dog was red. It"], [Tom ran, Lily ran]]
  words: [[was, the], [to, and]]
  prompts: [Once upon a time, The bird]
other:
  pairs: [["Ben was happy. He", "Ben was sad. He"]]
  words: [[the], [was, and]]
  prompts: [The girl, One day]
"""


@pytest.fixture
def inputs(tmp_path, tiny_model, tiny_corpus, rng) -> dict:
    """What both stages read: a tiny model, two TopK SAEs, contrasts and parameters."""
    for layer in range(2):
        folder = tmp_path / "saes" / f"l{layer}"
        decoder = rng.standard_normal((24, 16))
        decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
        arrays = {
            "W_enc": decoder.T, "W_dec": decoder, "b_enc": np.zeros(24), "b_dec": np.zeros(16)
        }  # fmt: skip
        write_arrays(
            folder / "sae_weights.safetensors",
            {name: value.astype(np.float32) for name, value in arrays.items()},
        )
        config = {
            "architecture": "topk", "d_in": 16, "d_sae": 24, "k": 4, "dtype": "float32",
            "device": "cpu", "apply_b_dec_to_input": True, "normalize_activations": "none",
            "reshape_activations": "none", "rescale_acts_by_decoder_norm": True,
            "metadata": {"hook_name": f"blocks.{layer}.hook_resid_post"},
        }  # fmt: skip
        write_json(folder / "cfg.json", config)
    (tmp_path / "params.yaml").write_text(SECTIONS)
    (tmp_path / "contrasts.yaml").write_text(CONTRASTS)
    return {
        "model": tiny_model, "saes": tmp_path / "saes", "contrasts": tmp_path / "contrasts.yaml",
        "corpus": tiny_corpus, "max_tokens": 64, "params": tmp_path / "params.yaml",
    }  # fmt: skip


def _read_by(stage, inputs: dict) -> dict:
    """What a stage reads: parts of vectors need no text."""
    if stage is decompose_vectors:
        return inputs
    return {name: one for name, one in inputs.items() if name not in ("corpus", "max_tokens")}


@pytest.mark.parametrize("stage", [decompose_vectors, steer_parts])
def test_stages_write_the_same_tables_twice_and_figures_show_them(stage, inputs, tmp_path):
    for run in ("first", "second"):
        stage.command("tiny", **_read_by(stage, inputs), out=tmp_path / run / "tiny")
    first, second = (sorted((tmp_path / run / "tiny").iterdir()) for run in ("first", "second"))
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    names = {path.stem for path in first}
    if stage is decompose_vectors:
        assert names == {
            "activations", "fidelity", "kept", "lens", "lost", "summary", "zero"
        }  # fmt: skip
        metrics = decomposition_metrics(tmp_path / "first")
        assert 0 <= metrics["misreading_tiny_layer_0"]["negative_named"] <= 1
        found = metrics["decomposition_tiny_layer_1_omp"]
        assert 0 < found["cosine"] <= 1
        assert found["l0"] == 4
        assert metrics["lens_tiny_layer_0"]["n_vectors"] == 2
        tables = {path.stem: read_table(path) for path in first}
        assert figures.fidelity(tables["summary"], "tiny").axes
        zero, lost, activations = (tables[name] for name in ("zero", "lost", "activations"))
        assert figures.misreading(zero, lost, activations, "tiny").axes
    else:
        assert names == {"pareto", "parts", "patches"}
        metrics = part_metrics(tmp_path / "first")
        assert metrics["part_tiny_layer_0_whole_times_2"]["effect_share"] == 1
        assert "patches_tiny_layer_0_1_features" in metrics
        table = read_table(tmp_path / "first" / "tiny" / "pareto.parquet")
        assert figures.pareto(table, "tiny").axes


def test_bad_parameters_are_one_line(inputs, tmp_path):
    for old, new, message in (
        ("l0: 4", "l0: 25", "l0 is 25; expected 1 to 24"),
        ("[one, other]", "[none]", "no contrast 'none'; there is: one, other"),
        ("saes: [l0, l1]", "saes: [l9]", "no such file"),
    ):
        (tmp_path / "bad.yaml").write_text(SECTIONS.replace(old, new))
        with pytest.raises(InputError, match=message):
            decompose_vectors.command(
                "tiny", **inputs | {"params": tmp_path / "bad.yaml"}, out=tmp_path / "none"
            )
        assert not (tmp_path / "none").exists()
