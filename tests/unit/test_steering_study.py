"""The study of steering: contrasts, effects, downstream features, transfer, and `steer` itself."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from stand_ins import Signs

import parameter_sets
from universality.core.alignment import Alignment
from universality.core.contexts import Positions
from universality.core.corpora import load_tokenizer
from universality.core.errors import InputError
from universality.core.params.base import load_section
from universality.params import load_params
from universality.studies.spaces.similarity.stitching import AffineMap
from universality.studies.steering.contexts import context_table
from universality.studies.steering.contrasts import choose, contrast_tokens, until_stop, word_ids
from universality.studies.steering.downstream import (
    Change,
    Text,
    change,
    changed_features,
    read,
    spread_row,
)
from universality.studies.steering.downstream_study import downstream_hooks, find_saes
from universality.studies.steering.effects import Writing
from universality.studies.steering.intervene import Addition
from universality.studies.steering.matched_changes import COLUMNS, Steered, matched_table
from universality.studies.steering.params.steering import (
    Contrast,
    Contrasts,
    MatchedChanges,
    SteeredModel,
    Steering,
)
from universality.studies.steering.study import (
    depth_table,
    run_trials,
    steering_vectors,
    summary,
    trial_table,
    with_dose,
)
from universality.studies.steering.transfer import Map, Reading, fit_maps, together, transferred

ROOT = Path(__file__).parents[2]

HOOK = "blocks.0.hook_resid_post"
SHARED = Steering(method="mean", where="after_prompt", batch_rows=64, n_bootstrap=100, seed=0)
SECTION = SteeredModel.model_validate(
    {
        "contrasts": ["one"], "layers": [0, 1], "site": "hook_resid_post", "n_prompts": 3,
        "multipliers": [-2, 1, 2], "n_random": 5, "dose": 0.1,
        "writing": {"n_new": 3, "n_prompts": 2, "multipliers": [2], "n_random": 2},
    }
)  # fmt: skip
ONE = Contrast(
    pairs=[("Once upon a time", "The dog"), ("Lily went to the park", "Ben was sad")],
    words=(["a", "the"], ["was"]), prompts=["Tom liked to play", "One day", "They saw"],
)  # fmt: skip


# Contrasts.


def test_the_contrasts_of_the_repository_are_valid_and_profiles_name_them(tmp_path):
    contrasts = load_section(ROOT / "data" / "contrasts.yaml", Contrasts).root
    assert {"love_hate", "happy_sad", "she_he", "cat_dog", "parent_child"} <= set(contrasts)
    for path in (ROOT / "params.yaml", *(ROOT / "profiles").glob("*.yaml")):
        whole = tmp_path / path.name
        whole.write_text(parameter_sets.overlays.parameters(path))
        params = load_params(whole)
        groups = [
            params.steering_models, params.steering_downstream, params.steered_maps,
            params.steered_pairs,
        ]  # fmt: skip
        for group in groups:
            for one in group.values():
                found = choose(contrasts, one.contrasts)
                assert list(found) == one.contrasts
                assert getattr(one, "n_prompts", 2) <= min(len(c.prompts) for c in found.values())
    with pytest.raises(InputError, match="no contrast 'up_down'; there is: love_hate"):
        choose(contrasts, ["up_down"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pairs": [["I love", "I love"]]}, "both sides of a pair are 'I love'"),
        ({"pairs": [["I love ", "I hate"]]}, "'I love ' is empty or begins or ends with a space"),
        ({"pairs": []}, "pairs' is"),
        ({"prompts": ["Tom", "Tom"]}, "prompts names one twice"),
        ({"prompts": ["Tom", "I love"]}, "'I love' is a prompt and in pairs"),
        ({"words": [["good"], []]}, "words needs two lists, none of them empty"),
        ({"words": [["good"], ["very bad"]]}, "'very bad' is not a single word"),
        ({"words": [["good"], ["good"]]}, "words names one twice"),
        ({"wrods": []}, "'x.wrods' is not a known key"),
    ],
)
def test_bad_contrasts_are_one_line(tmp_path, changed, message):
    given = {"pairs": [["I love", "I hate"]], "words": [["good"], ["bad"]], "prompts": ["A", "B"]}
    path = tmp_path / "contrasts.yaml"
    path.write_text(f"x: {given | changed}")
    with pytest.raises(InputError, match=message) as error:
        load_section(path, Contrasts)
    assert "\n" not in str(error.value)


def test_words_that_are_no_single_tokens_are_dropped_and_counted(tiny_model):
    tokenizer, bos = load_tokenizer(tiny_model)
    ids, dropped = word_ids(tokenizer, ["the", "crocodile", "was"])
    assert [tokenizer.id_to_token(int(token)) for token in ids] == ["Ġthe", "Ġwas"]
    assert dropped == ["crocodile"]
    found = contrast_tokens("one", ONE, tiny_model, 2)
    assert len(found.task.prompts) == 2
    assert found.task.prompts[0][0] == bos
    none = ONE.model_copy(update={"words": (["crocodile"], ["was"])})
    with pytest.raises(InputError, match="'one': none of crocodile is a single token of tiny"):
        contrast_tokens("one", none, tiny_model, 2)
    assert contrast_tokens("one", none, tiny_model, 0).dropped[0] == ["crocodile"]


def test_a_text_ends_before_its_first_stop_token():
    assert until_stop([5, 6, 2, 7, 2], frozenset({1, 2})) == [5, 6]
    assert until_stop([5, 6], frozenset({1, 2})) == [5, 6]


# Dose and response.


@pytest.fixture(scope="module")
def trials(request):
    bridge = request.getfixturevalue("bridge")
    tiny_model = request.getfixturevalue("tiny_model")
    contrasts = {"one": contrast_tokens("one", ONE, tiny_model, 3)}
    vectors, about = steering_vectors(bridge, contrasts, SECTION, SHARED)
    table = trial_table(vectors, SECTION, SHARED)
    writing = Writing(3, frozenset(), 0)
    done, tokens = run_trials(bridge, table, vectors, contrasts, SECTION.hook, writing, SHARED)
    return vectors, about, done, tokens


def test_random_vectors_are_as_long_as_the_contrasts_own(trials):
    vectors, about, _, _ = trials
    for layer in (0, 1):
        own = np.linalg.norm(vectors["one", layer, "mean"])
        for kind in ("pca", "pair", "random"):
            np.testing.assert_allclose(
                np.linalg.norm(vectors["one", layer, kind], axis=1), own, rtol=1e-9
            )
        assert about.query("layer == @layer")["norm"].item() == pytest.approx(own)
    np.testing.assert_allclose(about["cosine_mean"], 1)


def test_every_cell_has_its_null_and_the_plain_model_its_zero(trials):
    _, _, done, tokens = trials
    counts = done.groupby("kind").size().to_dict()
    # 2 layers x 3 prompts: 3 multipliers of each kind, 5 random vectors at 2 sizes.
    assert counts == {"mean": 18, "pca": 18, "pair": 18, "random": 60, "none": 3}
    written = done[done["written"]].groupby("kind").size().to_dict()
    assert written == {"mean": 4, "random": 8, "none": 2}
    assert tokens["greedy"].shape == (14, 3)
    assert (done.query("kind == 'none'")["score_change"] == 0).all()
    assert done["ce_greedy"].notna().equals(done["written"])
    assert np.isfinite(done["score"]).all()


def test_summary_is_the_mean_over_prompts_beside_random_vectors(trials):
    _, _, done, _ = trials
    table = summary(done, SHARED).set_index(["contrast", "kind", "layer", "multiplier"])
    assert len(table) == 18
    row = table.loc[("one", "mean", 1, -2.0)]
    part = done.query("kind == 'mean' and layer == 1 and multiplier == -2")
    null = done.query("kind == 'random' and layer == 1 and multiplier == 2")
    assert row["effect"] == pytest.approx(part["score_change"].mean())
    assert row["effect_low"] <= row["effect"] <= row["effect_high"]
    draws = null.groupby("draw")["score_change"].mean()
    assert row["effect_null"] == pytest.approx(draws.mean())
    assert row["effect_null_low"] == pytest.approx(draws.min())
    assert row["effect_null_high"] == pytest.approx(draws.max())
    assert np.isnan(row["perplexity_greedy"])
    row = table.loc[("one", "mean", 0, 2.0)]
    ce = done.query("kind == 'mean' and layer == 0 and multiplier == 2 and written")["ce_sampled"]
    assert row["perplexity_sampled"] == pytest.approx(np.exp(ce.mean()))


def _doses(effects, kind="mean", draw=0):
    """Rows of one prompt in layer 0: contrast -> {multiplier: effect}."""
    return [
        {"contrast": name, "kind": kind, "draw": draw, "layer": 0, "multiplier": multiplier,
         "prompt": 0, "score_change": effect}
        for name, found in effects.items()
        for multiplier, effect in found.items()
    ]  # fmt: skip


def test_doses_of_vectors_of_other_lengths_compare():
    """Planted: `a` is a tenth of the activations, `b` a fifth; effects are read between doses."""
    about = pd.DataFrame({"contrast": ["a", "b"], "layer": 0, "share": [0.1, 0.2]})
    rows = _doses({"a": {-1: -9.0, 1: 1.0, 4: 4.0}, "b": {-1: -9.0, 1: 6.0, 4: 8.0}})
    for draw, size in enumerate((-0.2, 0.4)):
        nulls = {name: {1: size, 4: 4 * size} for name in "ab"}
        rows += _doses(nulls, "random", draw)
    table = pd.DataFrame(rows)
    (row,) = depth_table(table, about, 0.1, "mean").to_dict("records")
    # A dose of 0.1 is a's multiplier 1 and half of b's.
    assert (row["effect_least"], row["effect_most"]) == (1, 3)
    assert row["effect"] == 2
    assert row["effect_null_low"] == pytest.approx(-0.15)
    assert row["effect_null_high"] == pytest.approx(0.3)
    # The interval of a mean of two: 12.7 standard errors on either side.
    assert row["effect_high"] - row["effect"] == pytest.approx(12.706, abs=0.001)
    (row,) = depth_table(table, about, 0.3, "mean").to_dict("records")
    assert row["effect"] == pytest.approx((3 + (6 + 2 / 6)) / 2)
    assert depth_table(table, about, 0.5, "mean").empty  # more than a's largest
    dosed = with_dose(pd.DataFrame(
        {"contrast": ["a", "b"], "kind": "mean", "layer": 0, "multiplier": [-1, 4], "effect": 0.0}
    ), about)  # fmt: skip
    np.testing.assert_allclose(dosed["dose"], [-0.1, 0.8])


# Downstream.


def _change(before, after, length=1.0):
    before, after = (np.array(side, dtype=np.float32)[:, None] for side in (before, after))
    n = len(before)
    return Change(before, after, np.full(n, length), np.full(n, 4.0), length / 2)


def test_features_that_appear_vanish_grow_and_shrink_are_counted():
    one = _change([[0, 1, 2, 2, 0], [0, 1, 0, 0, 0]], [[3, 0, 3, 1, 0], [3, 0, 0, 0, 0]])
    found = {name: values.tolist() for name, values in one.counts().items()}
    assert found == {
        "appear": [1, 1], "vanish": [1, 1], "grow": [1, 0], "shrink": [1, 0], "either": [4, 2],
    }  # fmt: skip
    still = _change([[1, 1, 0, 0, 0]] * 2, [[1, 1, 0, 0, 0]] * 2, 0.5)
    far = _change([[1, 1, 0, 0, 0]] * 2, [[1, 0, 1, 0, 0]] * 2, 1.5)
    row = spread_row(one, [still, far], 200, np.random.default_rng(0))
    assert row["relative_change"] == 0.25
    assert (row["relative_change_null_low"], row["relative_change_null_high"]) == (0.125, 0.375)
    assert row["relative_change_null"] == 0.25
    assert row["changed"] == pytest.approx(4 / 6)
    assert (row["changed_null_low"], row["changed_null_high"]) == (0, pytest.approx(2 / 3))
    assert row["appear"] == 1
    assert (row["error"], row["error_null"], row["n_random"]) == (0.5, 0.5, 2)
    table = changed_features(one, [still], 4).set_index("feature")
    assert table["how"].to_dict() == {0: "appears", 1: "vanishes", 2: "grows", 3: "shrinks"}
    assert table["change"].to_list() == [3, -1, 0.5, -0.5]
    assert table["null_highest"].to_numpy().max() == 0


def test_a_zero_vector_changes_no_feature_and_a_planted_one_its_own(bridge):
    ids = np.array([[0, 5, 9, 40, 7, 3], [0, 11, 12, 40, 8, 4]])
    saes = {HOOK: Signs(), "blocks.1.hook_resid_post": Signs()}
    text = Text(saes, read(bridge, ids, list(saes), 3), centred=False)
    assert text.plain[HOOK].shape == (2, 4, 16)
    before = {hook: text.encode(hook, x) for hook, x in text.plain.items()}
    zero = read(bridge, ids, list(saes), 3, [Addition(HOOK, np.zeros(16), 3.0)])
    for hook, x in zero.items():
        assert torch.equal(x, text.plain[hook])
        one = change(text, hook, before[hook], x)
        assert one.length.sum() == 0
        assert len(changed_features(one, [one], 5)) == 0
    vector = np.zeros(16)
    vector[6] = 100
    after = read(bridge, ids, [HOOK], 3, [Addition(HOOK, vector)])
    one = change(text, HOOK, before[HOOK], after[HOOK])
    assert changed_features(one, [one], 1)["feature"].item() == 6
    np.testing.assert_allclose(one.length, 4 * 100, rtol=1e-5)
    assert one.error == pytest.approx(0, abs=1e-9)


def test_only_hooks_that_can_change_are_looked_at(tmp_path):
    names = [
        f"blocks.{layer}.hook_{site}" for layer in (2, 0, 1) for site in ("resid_post", "mlp_out")
    ]
    assert downstream_hooks(dict.fromkeys(names), "blocks.1.hook_resid_post") == [
        "blocks.1.hook_resid_post", "blocks.2.hook_mlp_out", "blocks.2.hook_resid_post",
    ]  # fmt: skip
    for name, hook in (("topk_l0_x_seed0", "a"), ("topk_l1_x_seed1", "b"), ("l0_x_seed0", "c")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cfg.json").write_text(f'{{"metadata": {{"hook_name": "{hook}"}}}}')
    assert {hook: path.name for hook, path in find_saes(tmp_path, 0).items()} == {"c": "l0_x_seed0"}
    assert list(find_saes(tmp_path, 1, "topk_")) == ["b"]
    with pytest.raises(InputError, match=r"no SAE named topk_l\.\.\._seed7"):
        find_saes(tmp_path, 7, "topk_")


def test_contexts_are_one_per_document_and_none_of_a_feature_that_never_fires():
    shown = ["Once", " upon", " a", " time", "The", " end"]
    at = Positions(
        np.array([7, 7, 7, 7, 9, 9]), np.array([0, 0, 0, 0, 1, 1]), np.array([1, 2, 3, 4, 1, 2]),
        np.arange(6), shown, np.array([0, 4, 6]),
    )  # fmt: skip
    features = np.zeros((6, 3), dtype=np.float32)
    features[[0, 2, 5], 1] = 1, 3, 2
    features[1, 2] = 4
    table = context_table(sp.csr_matrix(features), at, [0, 1], 3, 1)
    assert table["text"].to_list() == ["… upon [a] time", "The [end]"]
    assert table["value"].to_list() == [3, 2]
    assert table["document"].to_list() == [7, 9]
    assert set(table["feature"]) == {1}


# Transfer.


def test_a_planted_map_carries_the_vector_over(rng, monkeypatch):
    weight = rng.standard_normal((5, 4))
    x = [rng.standard_normal((300, 5)) for _ in range(2)]
    y = [values @ weight + 3 for values in x]
    rows = np.arange(300)
    monkeypatch.setattr(
        "universality.studies.steering.transfer.shared_positions",
        lambda *_: (Alignment(rows, rows, 1.0, 1.0), rows),
    )
    empty = pd.DataFrame()
    a = tuple(Reading(empty, {1: values}) for values in x)
    b = tuple(Reading(empty, {2: values}) for values in y)
    (found,) = fit_maps((a[0], a[1]), (b[0], b[1]), [(1, 2)], 0, 3, rng)
    assert found.r2 == pytest.approx(1)
    np.testing.assert_allclose(found.found.weight, weight, atol=1e-8)
    own_a = rng.standard_normal(5)
    vectors = transferred(own_a, 7 * own_a @ weight, found, 4, rng)
    np.testing.assert_allclose(vectors["mapped"], vectors["own"], rtol=1e-8)
    for rows_of in vectors.values():
        np.testing.assert_allclose(
            np.linalg.norm(rows_of, axis=1), np.linalg.norm(vectors["own"]), rtol=1e-8
        )
    assert len(vectors["random"]) == len(vectors["mapped_random"]) == 4
    assert len(vectors["shuffled"]) == 3


def test_changes_go_together_where_they_should(rng):
    x = rng.standard_normal(200)
    same = together(x, np.exp(x), 99, 100, rng)
    assert same["spearman"] == pytest.approx(1)
    assert same["spearman_p"] == 0.01
    none = together(x, rng.standard_normal(200), 99, 100, rng)
    assert none["spearman_low"] < 0 < none["spearman_high"]
    assert abs(none["spearman_null"]) < 0.05


def test_matched_features_of_a_model_and_itself_change_together(bridge):
    ids = np.array([[0, 5, 9, 40, 7, 3], [0, 11, 12, 40, 8, 4]])
    model = Steered(bridge, ids, {1: ("blocks.1.hook_resid_post", Signs())}, 3)
    vector = np.random.default_rng(0).standard_normal(16)
    plain = AffineMap(np.eye(16), np.zeros(16), np.zeros(16))
    maps = [Map(0, 0, plain, [], 1.0, 1.0)]
    partners = pd.DataFrame(
        {"layer_a": 1, "layer_b": 1, "feature_a": np.arange(32), "feature_b": np.arange(32)}
    )
    section = SimpleNamespace(hook=lambda layer: f"blocks.{layer}.hook_resid_post")
    how = MatchedChanges(
        multiplier=2.0, n_documents=2, n_tokens=6, n_prompt=3, n_random=2, n_permutations=19
    )
    kinds = {
        "own": vector[None], "mapped": -vector[None],
        "random": np.random.default_rng(1).standard_normal((3, 16)),
    }  # fmt: skip
    table = matched_table(
        (model, model), {("one", 0): vector}, {("one", 0): kinds}, maps, partners, how,
        section, SHARED,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    assert table.columns.to_list() == COLUMNS
    assert table["steered_b"].to_list() == ["mapped", "own", "random", "random"]
    found: Any = table.groupby("steered_b")["spearman"].mean()
    assert found["own"] == pytest.approx(1)
    assert found["mapped"] < 0
