"""The study of hierarchical concepts: controls, polytopes, interventions, layers, SAEs, stages."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy.stats import spearmanr
from tiny_saes import new_model as new_tiny

from universality.core.corpora import Tokens, write_corpus
from universality.core.errors import InputError
from universality.core.io import read_json, read_table, tables_by_name
from universality.core.models import new_model, save_model, train_tokenizer
from universality.core.unembedding import read_unembedding
from universality.studies.hierarchy import between_models, interventions, polytopes, sae_space
from universality.studies.hierarchy.claims import family, overlaps
from universality.studies.hierarchy.figures.hierarchy import coarse
from universality.studies.hierarchy.graph import Concepts
from universality.studies.hierarchy.interventions import Prompts, contrasts, direction, halves
from universality.studies.hierarchy.params.hierarchy import Hierarchy
from universality.studies.hierarchy.single_tokens import activations_after, prefixes
from universality.studies.hierarchy.stages import (
    compare_concepts,
    concept_graph,
    concept_layers,
    wordnet_words,
)
from universality.studies.hierarchy.stages import concept_vectors as vector_stage
from universality.studies.hierarchy.study import (
    Space,
    controls,
    heat_table,
    mean_interval,
    measure,
    study,
)
from universality.studies.hierarchy.summary import intervention_counts, polytope_counts
from universality.studies.hierarchy.unembedding_study import read_prompts
from universality.studies.hierarchy.vectors import Estimator, concept_vectors, whitening

NULLS = {"n_nested": 9, "n_shuffled": 4, "n_random_children": 3}
SETTINGS = {
    "train_share": 0.7, "min_rest": 5, "nulls": NULLS,
    "ablations": [{"estimator": "lda", "causal": True}, {"estimator": "mean", "causal": False}],
    "ablation_nulls": {"n_nested": 3, "n_shuffled": 0, "n_random_children": 2},
    "intervening": {"n_documents": 3, "n_prompts": 20, "strength": 1.0},
    "n_groups": 3, "n_bootstrap": 100, "n_permutations": 199, "seed": 0,
}  # fmt: skip


def tree(rng, n_rows=400, n_leaf=20, n_children=4, n_leaves=3):
    """A root, its children and theirs, of random rows; of each row its child and leaf, or -1."""
    mixed = rng.permutation(n_rows)
    leaf, child = np.full(n_rows, -1), np.full(n_rows, -1)
    leaf[mixed[: n_leaf * n_children * n_leaves]] = np.repeat(
        np.arange(n_children * n_leaves), n_leaf
    )
    child[leaf >= 0] = leaf[leaf >= 0] // n_leaves
    members, parents = [np.flatnonzero(leaf >= 0)], [[]]
    for one in range(n_children):
        members.append(np.flatnonzero(child == one))
        parents.append([0])
    for one in range(n_children * n_leaves):
        members.append(np.flatnonzero(leaf == one))
        parents.append([1 + one // n_leaves])
    names = [f"c{node}" for node in range(len(members))]
    return Concepts(names, [[name] for name in names], members, parents), child, leaf


def space_of(rng, planted, d=30, estimator: Estimator = "lda", **sizes):
    concepts, child, leaf = tree(rng, **sizes)
    rows = rng.standard_normal((len(child), d))
    if planted:
        inside = child >= 0
        rows[inside] += 3 * np.eye(d)[child[inside]] + 3 * np.eye(d)[5 + leaf[inside]]
    settings = Hierarchy.model_validate(SETTINGS)
    return Space(rows, concepts, family(concepts, rng), estimator, settings)


# The claims beside their controls.


def test_a_planted_hierarchy_stands_out(rng):
    space = space_of(rng, planted=True)
    found = study(space, space.settings.nulls, rng)
    table: Any = found.summary.set_index("statistic")
    assert table.loc["held_out_test", "low"] > table.loc["held_out_test", "nested_high"]
    assert table.loc["held_out_test", "low"] > table.loc["held_out_test", "shuffled_high"]
    for name in ("to_parent_abs", "to_grandparent_abs"):
        assert table.loc[name, "value"] < table.loc[name, "nested_low"], name
    assert table.loc["held_out_test", "value"] > table.loc["held_out_test", "nested"] + 0.3
    expected = {"to_parent": 16, "to_stranger": 16, "to_grandparent": 12, "siblings": 6 + 4 * 3,
                "held_out_test": 17, "held_out_child_on_rest": 16, "closeness": 17}  # fmt: skip
    assert {name: table.loc[name, "n"] for name in expected} == expected
    assert np.all(table["low"] <= table["value"])
    assert np.all(table["value"] <= table["high"])
    for control in ("nested", "shuffled"):
        assert np.all(table[f"{control}_low"] <= table[control])
        assert np.all(table[control] <= table[f"{control}_high"])
        assert table[control].notna().all()
    assert set(table.index[table["random_child"].notna()]) == {"to_parent", "to_parent_abs"}
    assert not {"p", "nested_p", "shuffled_p"} & set(table.columns)  # too few draws
    # The root's children share nothing and the leaves of each child do.
    members, edges = space.concepts.members, space.family.edges
    values = measure(space, members, space.vectors(members), rng)
    of_root = edges[:, 1] == 0
    assert np.all(values["held_out_child_on_rest"][of_root] < 0.35)
    # Of two siblings the rest has the parent's 3 and half of 3 each.
    of_leaves = values["held_out_child_on_rest"][~of_root]
    assert of_leaves.mean() == pytest.approx(9 / (9 + 4.5), abs=0.1)
    assert values["held_out_rest_on_rest"][~of_root].mean() == pytest.approx(1, abs=0.1)


def test_noise_is_like_its_controls():
    names = ["held_out_test", "held_out_child_above_stranger", "to_parent_abs", "closeness_apart"]
    above = []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        space = space_of(
            rng, planted=False, d=12, estimator="mean", n_rows=120, n_leaf=8, n_children=3
        )
        table = study(space, space.settings.nulls, rng).summary.set_index("statistic").loc[names]
        above.append([table["value"] > table["nested_high"], table["value"] < table["nested_low"]])
    share = np.array(above).mean(axis=(0, 2))  # beyond all 9 draws, on either side
    np.testing.assert_allclose(share, 0.1, atol=0.1)


def test_heat_maps_are_in_the_order_of_the_tree(rng):
    space = space_of(rng, planted=True)
    members = space.concepts.members
    k = len(members)
    cosine = np.add.outer(np.arange(k), np.arange(k)) / 40
    heat = heat_table(space, cosine, None)
    assert list(heat.columns) == ["closeness", "cosine"]
    assert len(heat) == k * (k - 1) // 2
    assert set(map(str, heat.dtypes)) == {"int8"}
    # Root 0, its child 1, whose leaves are 5, 6, 7; then 2: the first rows are pairs with the root.
    assert heat["cosine"][:6].tolist() == [round(2.5 * node) for node in (1, 5, 6, 7, 2, 8)]
    assert heat["closeness"][:5].tolist() == [50, 33, 33, 33, 50]
    both = heat_table(space, cosine, {"cosine": -cosine})
    assert both["cosine_nested"].tolist() == (-both["cosine"]).tolist()


def test_the_same_seed_makes_the_same_tables():
    def tables(seed):
        space = space_of(np.random.default_rng(1), planted=True, n_leaf=10)
        return vars(study(space, space.settings.nulls, np.random.default_rng(seed)))

    once, again, other = tables(0), tables(0), tables(1)
    for name, table in once.items():
        pd.testing.assert_frame_equal(table, again[name], check_exact=True)
    assert not once["summary"]["nested"].equals(other["summary"]["nested"])


def test_coarse_maps_are_means_of_blocks():
    grid = np.arange(9.0).reshape(3, 3)
    np.testing.assert_allclose(coarse(grid, 2), [[2, 3.5], [6.5, 8]])
    np.testing.assert_array_equal(coarse(grid, 1), grid)


def test_random_concepts_have_the_sizes_and_the_nesting(rng):
    space = space_of(rng, planted=False)
    real, tokens = space.concepts.members, set(space.concepts.tokens.tolist())
    drawn = list(controls(space, space.settings.nulls, rng))
    assert [name for name, _ in drawn] == ["nested"] * 9 + ["shuffled"] * 4
    for name, members in drawn:
        np.testing.assert_array_equal(overlaps(members), overlaps(real))
        assert all(np.all(np.diff(some) > 0) for some in members)
        inside = set(np.concatenate(members).tolist()) == tokens
        assert inside == (name == "nested")
        assert members[-1].tolist() != real[-1].tolist()


def test_intervals_are_over_groups_and_leave_out_what_is_unknown(rng):
    values = np.repeat([0.0, 1.0, np.nan], [50, 50, 7])
    low, high = mean_interval(values, np.repeat([4, 9, 9], [50, 50, 7]), 400, rng)
    assert (low, high) == (0, 1)  # two groups: of a resample one is often missing
    low, high = mean_interval(values, np.arange(107), 400, rng)
    assert 0.35 < low < 0.5 < high < 0.65


# Polytopes.


def simplex(moved=1.0, n=6):
    """Four corners e1 to e4 above 3 e0, the first `moved` times as far, of `n` equal rows."""
    e = np.eye(6)
    heights = np.array([moved, 1, 1, 1])[:, None] * e[1:5]
    rows = np.repeat(3 * e[0] + heights, n, axis=0)
    return rows, polytopes.Corners(np.arange(4 * n), list(np.arange(4 * n).reshape(4, n)))


def test_simplices_by_hand():
    rows, regular = simplex()
    assert polytopes.shape(rows, regular, "mean") == pytest.approx(
        {"edge_variation": 0, "angle": -1 / 3, "angle_spread": 0, "parent_in_span": 0,
         "corner_cosine": 0.9, "parent_cosine": 0}, abs=1e-12,
    )  # fmt: skip
    sided = polytopes.Corners(regular.categories[0], regular.categories)
    found = polytopes.shape(rows, sided, "mean")  # of the parent 3 e0 + e1
    assert found["parent_in_span"] == pytest.approx(np.sqrt(3 / 4 / 10))
    edges = np.repeat(np.sqrt([2, 5]), 3)
    rows, other = simplex(moved=2.0)
    found = polytopes.shape(rows, other, "mean")
    assert found["edge_variation"] == pytest.approx(edges.std() / edges.mean())
    # By hand as well: the middle is (2, 1, 1, 1) / 4.
    seen = np.diag([2.0, 1, 1, 1]) - np.array([2, 1, 1, 1]) / 4
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    angles = (seen @ seen.T)[np.triu_indices(4, 1)]
    assert found["angle"] == pytest.approx(angles.mean())
    assert found["angle_spread"] == pytest.approx(angles.std())


def test_spans_are_of_the_differences(rng):
    vectors = rng.standard_normal((4, 9)) + 5
    span = polytopes.span_of(vectors)
    np.testing.assert_allclose(span @ span.T, np.eye(3), atol=1e-12)
    differences = vectors[1:] - vectors[0]
    np.testing.assert_allclose(differences @ span.T @ span, differences, atol=1e-12)
    assert len(polytopes.span_of(np.array([[0.0, 0, 1], [1, 0, 1], [2, 0, 1]]))) == 1  # a line


@pytest.mark.parametrize("estimator", ["lda", "mean"])
def test_tokens_are_nearest_to_their_own_corner(estimator, rng):
    e = np.eye(20)
    rows = np.repeat(4 * e[0] + 6 * e[1:5], 40, axis=0) + rng.standard_normal((160, 20))
    real = polytopes.Corners(np.arange(160), list(np.arange(160).reshape(4, 40)))
    near = polytopes.nearest_corner(rows, real, estimator, 5, rng)
    assert near.shape == (5,)
    assert near.mean() > 0.95
    random = [polytopes.random_corners(real, rng) for _ in range(9)]
    by_chance = [polytopes.nearest_corner(rows, one, estimator, 5, rng).mean() for one in random]
    assert np.mean(by_chance) == pytest.approx(1 / 4, abs=0.04)
    # Rows that are all noise: their own corners are estimated without them.
    noise = rng.standard_normal((160, 20))
    near = [polytopes.nearest_corner(noise, one, estimator, 5, rng).mean() for one in random]
    assert np.mean(near) == pytest.approx(1 / 4, abs=0.04)
    others = {"shuffled": [polytopes.exchanged(real, rng.permutation(160)) for _ in range(4)]}
    table: Any = polytopes.compared(rows, real, random, others, estimator, 5, rng)
    table = table.set_index("statistic")
    assert table.loc["nearest_corner", "low"] > table.loc["nearest_corner", "random_high"]
    assert table.loc["nearest_corner", "value"] > 0.95
    assert set(table["k"]) == {4}
    assert set(table["n"]) == {160}
    assert set(table.index[table["shuffled"].isna()]) == {"nearest_corner"}
    assert np.all((table["low"] <= table["value"]) & (table["value"] <= table["high"]))
    assert np.all(
        (table["random_low"] <= table["random"]) & (table["random"] <= table["random_high"])
    )
    for name, (least, most) in polytopes.RANGES.items():
        assert least <= table.loc[name, "low"] <= table.loc[name, "high"] <= most, name


def test_exchanged_corners_have_other_rows_and_the_same_sizes():
    real = polytopes.Corners(np.array([0, 1, 2, 3]), [np.array([0, 2]), np.array([3])])
    found = polytopes.exchanged(real, np.array([9, 5, 7, 6]))
    assert found.parent.tolist() == [9, 5, 7, 6]
    assert [some.tolist() for some in found.categories] == [[9, 7], [6]]


def test_corners_share_no_token(rng):
    parent = np.arange(30)
    categories = [np.array([1, 2, 3, 9]), np.array([3, 4, 5, 6, 7]), np.array([10, 11, 12, 5])]
    real = polytopes.corners(parent, categories)
    assert [some.tolist() for some in real.categories] == [[1, 2, 9], [4, 6, 7], [10, 11, 12]]
    with pytest.raises(InputError, match="category 1 of a polytope has 2 tokens"):
        polytopes.corners(parent, [*categories, np.array([1, 20, 21, 22])])
    drawn = [polytopes.random_corners(real, rng) for _ in range(60)]
    for one in drawn:
        found = np.concatenate(one.categories)
        assert [len(some) for some in one.categories] == [3, 3, 3]
        assert len(set(found.tolist())) == 9
        assert set(found.tolist()) <= set(parent.tolist())
        assert one.parent is real.parent
    assert len({token for one in drawn for token in one.categories[0].tolist()}) == 30


def test_polytopes_beyond_all_random_ones_are_counted():
    def of(statistic, value, low, high, random):
        names = ("random", "random_low", "random_high")
        return {"statistic": statistic, "value": value, "low": low, "high": high} | dict(
            zip(names, random, strict=True)
        )

    rows = [
        of("nearest_corner", 0.9, 0.8, 1, (0.3, 0.2, 0.4)),
        of("nearest_corner", 0.5, 0.35, 0.6, (0.3, 0.2, 0.4)),
        of("edge_variation", 0.1, 0.05, 0.12, (0.2, 0.15, 0.3)),
        of("edge_variation", 0.2, 0.15, 0.3, (0.4, 0.2, 0.5)),
        of("angle", 0, 0, 0, (1, 1, 1)),
    ]
    assert polytope_counts(rows) == pytest.approx(
        {"n": 2, "distinct": 1, "regular": 1, "edges": 0.15, "edges_min": 0.1, "edges_max": 0.2,
         "edges_random": 0.3}
    )  # fmt: skip


# Interventions.


def test_interventions_beyond_their_controls_are_counted():
    def of(contrast, value, nested_high, random_low, random_high):
        return {
            "contrast": contrast, "value": value, "low": value - 0.1, "high": value + 0.1,
            "nested_high": nested_high, "random": random_low / 2, "random_low": random_low,
            "random_high": random_high,
        }  # fmt: skip

    rows = [
        of("child", 3, 1, -1, 2), of("parent", -2, 5, -1, 1),
        of("child", 2, 1, -1, 2), of("parent", -0.5, 5, -1, 0.5),
        of("child", 1, 1.5, -1, 0), of("parent", 0, 5, -4, 2),
    ]  # fmt: skip
    assert intervention_counts(rows) == pytest.approx(
        {"n": 3, "child_rises": 1, "parent_falls": 2, "parent_beyond_random": 1,
         "parent_random": -1, "parent_random_low": -4, "parent_random_high": 2,
         "child": 2, "child_min": 1, "child_max": 3,
         "parent": -2.5 / 3, "parent_min": -2, "parent_max": 0}
    )  # fmt: skip


def test_prompts_make_the_models_own_logits(plain_bridge, tiny_model, tokens):
    ids = torch.from_numpy(tokens.ids[: tokens.bounds[1]])[None]
    hook = "blocks.1.hook_resid_post"
    with torch.inference_mode():
        logits, cache = plain_bridge.run_with_cache(ids, names_filter=[hook])
    residuals = cache[hook][0].double().numpy()
    epsilon = read_json(tiny_model / "config.json")["rms_norm_eps"]
    unembedding = read_unembedding(tiny_model).astype(np.float64)
    prompts = Prompts(residuals, unembedding, False, epsilon)
    expected = logits[0].double().numpy()
    scale = np.abs(expected).max()
    made = prompts.normed(residuals) @ unembedding.T
    np.testing.assert_allclose(made, expected, atol=1e-5 * scale)
    # And those of the residuals that a vector is added to.
    vector = np.random.default_rng(0).standard_normal(16)
    final = plain_bridge.original_model.base_model.norm
    moved = residuals + 0.7 * prompts.scales(residuals)[:, None] * vector
    with torch.inference_mode():
        after = final(torch.from_numpy(moved).float()).double().numpy()
        before = final(torch.from_numpy(residuals).float()).double().numpy()
    rows = plain_bridge.original_model.get_output_embeddings().weight.detach().double().numpy()
    expected = (after - before) @ rows.T
    found = prompts.added(vector, 0.7) @ unembedding.T
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_prompts_of_a_layer_norm_differ_by_its_bias_alone(tmp_path):
    model = new_tiny("gpt2", 2, 16, 90)
    model.save_pretrained(tmp_path)
    ids = torch.arange(12)[None]
    seen = []
    handle = model.transformer.ln_f.register_forward_hook(
        lambda _m, given, _o: seen.append(given[0])
    )
    with torch.inference_mode():
        logits = model(ids).logits[0].double().numpy()
    handle.remove()
    unembedding = read_unembedding(tmp_path).astype(np.float64)
    residuals = seen[0][0].double().numpy()
    epsilon = model.config.layer_norm_epsilon
    prompts = Prompts(residuals, unembedding, True, epsilon)
    left = logits - prompts.normed(residuals) @ unembedding.T
    assert np.abs(left).max() > 0.1
    np.testing.assert_allclose(left, np.broadcast_to(left[0], left.shape), atol=1e-4)


def test_prompts_are_read_where_they_are(plain_bridge, tiny_model, tiny_corpus, tokens):
    settings = Hierarchy.model_validate(SETTINGS)
    unembedding = read_unembedding(tiny_model)
    prompts, documents = read_prompts(tiny_model, tiny_corpus, 64, unembedding, settings)
    assert len(documents) == len(prompts.residuals) == 20
    assert set(documents.tolist()) <= set(tokens.documents[:3].tolist()) | {0, 1, 2}
    assert not prompts.centred
    hook, every = "blocks.1.hook_resid_post", []
    for number in range(3):
        span = slice(tokens.bounds[number], tokens.bounds[number + 1])
        with torch.inference_mode():
            cache = plain_bridge.run_with_cache(
                torch.from_numpy(tokens.ids[span])[None], names_filter=[hook]
            )[1]
        every.append(cache[hook][0, 1:].double().numpy())  # without BOS
    every = np.concatenate(every)
    away = np.abs(prompts.residuals[:, None] - every).max(axis=2)
    assert np.all(away.min(axis=1) < 1e-4 * np.abs(every).max())
    assert len(np.unique(away.argmin(axis=1))) > 15


def planted_prompts(rng, d=24, n_vocab=300):
    """Prompts and an unembedding with a parent, all even tokens up to 120, and its child."""
    rows = rng.standard_normal((n_vocab, d))
    parent, child = np.arange(0, 120, 2), np.arange(0, 40, 2)
    rows[parent] += 3 * np.eye(d)[0]
    rows[child] += 3 * np.eye(d)[1]
    return Prompts(5 * rng.standard_normal((40, d)), rows, False, 1e-5), parent, child


def test_a_planted_child_rises_and_its_parent_stays(rng):
    prompts, parent, child = planted_prompts(rng)
    white = whitening(prompts.unembedding)
    rows = white(prompts.unembedding)
    own, rest = halves(child, 0.7, rng), halves(np.setdiff1d(parent, child), 0.7, rng)
    union = np.union1d(own.train, rest.train)
    vector = direction(white, rows, own.train, union, "lda")
    outside = np.setdiff1d(np.arange(300), parent)
    sets = (own.test, rest.test, outside)
    rises, stays = contrasts(prompts, vector, 0.5, *sets)
    assert rises.min() > 0
    assert abs(stays.mean()) < 0.25 * rises.mean()
    for some in contrasts(prompts, vector, 0.0, *sets):
        np.testing.assert_array_equal(some, np.zeros(40))
    # A contrast is of mean logits.
    moved = prompts.residuals + 0.5 * prompts.scales(prompts.residuals)[:, None] * vector
    logits = (prompts.normed(moved) - prompts.normed(prompts.residuals)) @ prompts.unembedding.T
    of = [logits[:, some].mean(axis=1) for some in sets]
    np.testing.assert_allclose(rises, of[0] - of[1])
    np.testing.assert_allclose(stays, of[1] - of[2])
    # A whitened row times the difference of whitened vectors is what a logit changes by.
    difference = np.subtract(*concept_vectors(rows, [own.train, union]))
    shift = (prompts.unembedding - prompts.unembedding.mean(axis=0)) @ vector
    np.testing.assert_allclose(shift, rows @ difference)


def test_halves_and_means(rng):
    found = halves(np.arange(10, 20), 0.7, rng)
    assert (len(found.train), len(found.test)) == (7, 3)
    assert sorted([*found.train.tolist(), *found.test.tolist()]) == list(range(10, 20))
    values, documents = rng.standard_normal(60) + 2, np.repeat(np.arange(6), 10) * 7
    one = interventions.mean_and_interval(values, documents, 300, rng)
    assert one["value"] == pytest.approx(values.mean())
    assert one["spread"] == pytest.approx(values.std())
    means = values.reshape(6, 10).mean(axis=1)
    assert means.min() < one["low"] < one["value"] < one["high"] < means.max()


# Activations of single tokens.

PLACES = ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post", "blocks.0.hook_mlp_out",
          "blocks.1.hook_mlp_out"]  # fmt: skip


def test_single_tokens_are_those_of_whole_texts(plain_bridge, tiny_model, tokens):
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    prefix, some = tokens.ids[:7], np.array([5, 80, 250, 3, 299, 80, 17])
    outputs = {}
    for number, block in enumerate(plain.model.layers):
        block.register_forward_hook(
            lambda _m, _i, out, n=number: outputs.__setitem__(
                f"blocks.{n}.hook_resid_post", out[0] if isinstance(out, tuple) else out
            )
        )
        block.mlp.register_forward_hook(
            lambda _m, _i, out, n=number: outputs.__setitem__(f"blocks.{n}.hook_mlp_out", out)
        )
    ids = np.concatenate([np.repeat(prefix[None], len(some), axis=0), some[:, None]], axis=1)
    with torch.inference_mode():
        plain(torch.from_numpy(ids))
    for batch_rows in (1, 3, 100):
        found = activations_after(plain_bridge, prefix, some, PLACES, batch_rows)
        assert list(found) == PLACES
        for hook, rows in found.items():
            expected = outputs[hook][:, -1].numpy()
            assert rows.shape == (7, 16)
            assert rows.dtype == np.float32
            np.testing.assert_allclose(rows, expected, atol=1e-5, err_msg=hook)
            np.testing.assert_allclose(rows, expected, atol=1e-4 * np.abs(expected).max())
    alone = activations_after(plain_bridge, prefix[:1], some, PLACES, 3)
    for hook, rows in alone.items():  # what comes before does matter
        largest = np.abs(rows).max()
        assert np.abs(rows - outputs[hook][:, -1].numpy()).max() > 1e-3 * largest


def test_prefixes_end_before_a_wanted_token(tokens, tiny_model):
    texts = [
        [1, 7, 7, 3, 9, 5, 7],
        [1, 9, 4, 4, 4],
        [1, 2, 2, 2, 9, 2, 9, 2, 9],
        [1, 2, 2, 2, 2, 9],
    ]
    ids = np.concatenate(texts)
    bounds = np.cumsum([0, *map(len, texts)])
    flat = Tokens(ids, ids * 0, ids * 0, ids == 1, np.arange(4), bounds)
    wanted = np.array([5, 9])
    found = prefixes(flat, wanted, 6, 3)
    # The second document has its 9 too early; of the third the last 9 is too far off.
    assert [some.tolist() for some in found] == [
        [1, 7, 7, 3, 9], [1, 2, 2, 2, 9, 2], [1, 2, 2, 2, 2],
    ]  # fmt: skip
    assert [some.tolist() for some in prefixes(flat, wanted, 5, 2)] == [
        [1, 7, 7, 3, 9], [1, 2, 2, 2],
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"3 documents have .* first 6, expected 4"):
        prefixes(flat, wanted, 6, 4)
    with pytest.raises(InputError, match="0 documents"):
        prefixes(flat, wanted, 3, 1)
    bos = read_json(tiny_model / "config.json")["bos_token_id"]
    chosen = np.unique(tokens.ids[10:40])
    for some in prefixes(tokens, chosen, 12, 3):
        assert some[0] == bos
        assert 4 <= len(some) <= 12
        starts = [first for first in tokens.bounds[:-1]
                  if tokens.ids[first : first + len(some)].tolist() == some.tolist()]  # fmt: skip
        assert all(tokens.ids[first + len(some)] in chosen for first in starts)
        assert starts


# Features of SAEs.


def test_planted_features_are_the_selective_ones(rng):
    members = [np.arange(0, 60), np.arange(0, 30), np.arange(60, 100)]
    dense = np.where(rng.random((200, 40)) < 0.1, rng.random((200, 40)), 0)
    for node, some in enumerate(members):
        dense[:, 7 * node] = 0
        dense[some, 7 * node] = 0.5 + rng.random(len(some))
    found = sae_space.selective(sp.csr_matrix(dense), members, 2, rng)
    assert found.features.shape == found.held_out.shape == (3, 2)
    assert found.features[:, 0].tolist() == [0, 7, 14]
    np.testing.assert_allclose(found.held_out[:, 0], 1)
    assert found.features[1, 1] == 0  # the parent's
    assert found.held_out[1, 1] == pytest.approx(1 - 30 / 170, abs=0.1)
    # Of features that know nothing, held-out tokens have none of what the chosen ones seemed to.
    noise = sp.csr_matrix((rng.random((200, 400)) < 0.2).astype(float))
    found = sae_space.selective(noise, members, 5, rng)
    assert abs(found.held_out.mean()) < 0.08
    kept = rng.random(200) < 0.5
    fires = sp.csr_matrix((dense != 0).astype(float))
    rates = sae_space.rates(fires, members, kept)
    for node, some in enumerate(members):
        inside = np.isin(np.arange(200), some)
        expected = (dense[inside & kept] != 0).mean(axis=0) - (dense[~inside & kept] != 0).mean(
            axis=0
        )
        np.testing.assert_allclose(rates[node], expected)
    nobody = sae_space.rates(fires, [np.arange(200)], kept)
    np.testing.assert_allclose(nobody[0], (dense[kept] != 0).mean(axis=0))


def test_sparse_sums_are_taken_apart(rng):
    directions = rng.standard_normal((30, 80))
    vectors = np.array([2 * directions[3] + directions[9], 1.5 * directions[4] + directions[20]])
    own = np.array([[3, -1], [4, 20]])
    found = sae_space.made_of(directions, vectors, 2, own)
    np.testing.assert_allclose(found.cosine, 1)
    assert [sorted(some) for some in found.features.tolist()] == [[3, 9], [4, 20]]
    sums = np.einsum("kl,kld->kd", found.coefficients, directions[found.features])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(np.einsum("kd,kd->k", sums, unit) / np.linalg.norm(sums, axis=1), 1)
    np.testing.assert_allclose(found.own_share, [0.5, 1])
    one = sae_space.made_of(directions, vectors, 1, own)
    assert np.all(one.cosine < 0.99)
    np.testing.assert_allclose(one.own_share, [1, 1])


def test_cosines_with_features(rng):
    directions, vectors = rng.standard_normal((10, 6)), rng.standard_normal((3, 6))
    features, at = np.array([[1, 2], [0, 9], [5, 5]]), np.array([2, 1, 0])
    found = sae_space.own_cosines(directions, vectors, features, at)

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    expected = [np.mean([cosine(directions[f], vectors[to]) for f in some])
                for some, to in zip(features, at, strict=True)]  # fmt: skip
    np.testing.assert_allclose(found, expected)


# Between models.


def rotated(rows, rng):
    """Rows in an orthogonal basis of their own."""
    return rows @ np.linalg.qr(rng.standard_normal((rows.shape[1],) * 2))[0]


def draws(rng, n, k, d):
    return [tuple(rng.standard_normal((2, k, d))) for _ in range(n)]


def apart(k):
    return [np.arange(3 * node, 3 * node + 3) for node in range(k)]


def compared(a, b, nested, rng, members=None):
    some = members or apart(len(a))
    table = between_models.compare(a, b, (some, some), nested, 5, 99, rng)
    return table.set_index(["values", "pairs"])


def test_rotated_concepts_are_the_same(rng):
    a = rng.standard_normal((20, 12))
    found = compared(a, rotated(a, rng), draws(rng, 9, 20, 12), rng)
    np.testing.assert_allclose(found.loc["cosine", "value"], 1)
    np.testing.assert_allclose(found.loc["cosine", "low"], 1)
    np.testing.assert_allclose(found["p"], 1 / 100)
    assert np.all(found["low"] > found["nested_high"])
    assert np.all(found.loc["excess", "value"] > 0.7)
    assert np.all(found["permuted"].abs() < 0.1)
    assert set(found["n"]) == {190}


def test_unrelated_concepts_are_not():
    tables = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        a, b = rng.standard_normal((2, 20, 12))
        tables.append(compared(a, b, draws(rng, 9, 20, 12), rng)[["value", "nested", "p"]])
    mean = np.mean(tables, axis=0)
    np.testing.assert_allclose(mean[:, :2], 0, atol=0.06)
    np.testing.assert_allclose(mean[:, 2], 0.5, atol=0.3)


def test_nesting_alone_is_in_the_cosines_but_not_in_their_excess():
    rows, nested = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        concepts, _, _ = tree(rng, n_rows=240)
        members = concepts.members

        def random(rng=rng, members=members):
            x, order = rng.standard_normal((240, 100)), rng.permutation(240)
            return np.array([x[order[some]].mean(axis=0) for some in members])

        found = compared(
            random(), random(), [(random(), random()) for _ in range(19)], rng, members
        )
        rows.append(found["value"])
        nested.append(found["nested"])
        assert found.loc[("cosine", "all"), "value"] > 0.25
        assert found.loc[("cosine", "all"), "p"] <= 0.05
        kept = np.triu(overlaps(members) == 0, 1).sum()
        assert found.loc[("cosine", "apart"), "n"] == kept < found.loc[("cosine", "all"), "n"]
    mean = np.mean(rows, axis=0)
    assert abs(mean[found.index.get_loc(("excess", "all"))]) < 0.15
    assert abs(mean[found.index.get_loc(("excess", "apart"))]) < 0.15
    np.testing.assert_allclose(mean, np.mean(nested, axis=0), atol=0.15)


def test_exchanged_names(rng):
    a, b = (between_models.cosine_map(rng.standard_normal((9, 5))) for _ in range(2))
    everything = np.ones((9, 9), dtype=bool)
    orders = np.array([np.arange(9), *(rng.permutation(9) for _ in range(5))])
    found = between_models.permuted(a, b, everything, orders)
    i, j = np.triu_indices(9, 1)
    for order, value in zip(orders, found, strict=True):
        assert value == pytest.approx(spearmanr(a[i, j], b[order[i], order[j]])[0])
    chosen = rng.random((9, 9)) < 0.7
    chosen |= chosen.T
    found = between_models.permuted(a, b, chosen, orders[:1])
    assert found[0] == pytest.approx(between_models.rsa(a, b, chosen))
    some = chosen[i, j]
    assert found[0] == pytest.approx(spearmanr(a[i, j][some], b[i, j][some])[0])
    assert np.isnan(between_models.rsa(np.ones((9, 9)), b, everything))
    assert np.isnan(between_models.rsa(a, b, np.zeros((9, 9), dtype=bool)))


def test_shared_concepts_count_once():
    def graph(merged):
        some = [np.arange(9)] * len(merged)
        return Concepts([one[0] for one in merged], merged, some, [[]] * len(merged))

    a = graph([["r"], ["a", "b"], ["c"], ["d"], ["x", "e"], ["f"]])
    b = graph([["q", "r"], ["b"], ["a"], ["c", "d"], ["e"], ["y"]])
    names, of_a, of_b = between_models.shared_concepts(a, b)
    assert names == ["r", "a", "c", "e"]
    assert of_a == [0, 1, 2, 4]
    assert of_b == [0, 2, 3, 4]
    with pytest.raises(InputError, match="3 concepts in common"):
        between_models.shared_concepts(a, graph([["r"], ["a"], ["f"]]))


def test_two_vocabularies_of_the_same_words(rng):
    settings = Hierarchy.model_validate(SETTINGS)
    space = space_of(rng, planted=True)
    order = rng.permutation(400)  # token t is called order[t] in the other model
    place = np.argsort(order)
    other = Concepts(
        space.concepts.names, space.concepts.merged,
        [np.sort(order[some]) for some in space.concepts.members], space.concepts.parents,
    )  # fmt: skip
    rows = [space.rows, rotated(space.rows, rng)[place]]
    found = between_models.study(rows, [space.concepts, other], settings, "pair")
    again = between_models.study(rows, [space.concepts, other], settings, "pair")
    pd.testing.assert_frame_equal(found, again, check_exact=True)
    table = found.set_index(["values", "pairs"])
    assert set(table["k"]) == {17}
    np.testing.assert_allclose(table.loc["cosine", "value"], 1)
    assert np.all(table.loc["excess", "value"] > 0.9)
    assert np.all(table["low"] > table["nested_high"])
    # All but the root with every other concept, and the leaves with their own parent.
    assert table.loc[("cosine", "all"), "n"] == 136
    assert table.loc[("cosine", "apart"), "n"] == 136 - 16 - 12


# The stages.

CATEGORIES = {
    "dog": ["hound", "pup", "mutt", "pug", "collie", "boxer", "cur"],
    "bird": ["hen", "owl", "jay", "crow", "duck", "swan", "gull"],
    "fish": ["cod", "eel", "carp", "tuna", "bass", "pike", "trout"],
    "fruit": ["fig", "pear", "plum", "lime", "date", "peach"],
    "drink": ["tea", "rum", "gin", "ale", "milk", "cider"],
}
ABOVE = {"dog": "animal", "bird": "animal", "fish": "animal", "fruit": "food", "drink": "food",
         "animal": "entity", "food": "entity"}  # fmt: skip
KINDS = {kind: name for name, kinds in CATEGORIES.items() for kind in kinds}
NOUNS = ["entity", "animal", "food", *CATEGORIES, *KINDS]
PARAMS = f"""
wordnet:
  nouns: {{data: data_noun, index: index_noun, letter: n}}
concept_graphs:
  one_nouns: &graph
    model: one
    words: nouns
    min_tokens: 3
    min_example_tokens: 2
    polytopes: {{animals: [animal.n.01, dog.n.01, bird.n.01, fish.n.01]}}
    interventions: [[animal.n.01, dog.n.01], [entity.n.01, food.n.01]]
  two_nouns: {{<<: *graph, model: two}}
hierarchy: {SETTINGS}
concept_layers:
  one:
    graph: one_nouns
    roots: [animal.n.01, food.n.01]
    min_tokens: 3
    n_other: 60
    layers: [0, 1]
    forms: [alone, in context]
    n_contexts: 2
    context_tokens: 8
    batch_rows: 50
    saes: saes/one
    sae_ids: [l1_mlp_out_seed0]
    n_features: 2
    l0: 3
concept_pairs:
  pair: {{a: one, b: two, words: nouns}}
"""


def write_wordnet(folder):
    """Write `NOUNS` as one synset each, and a second sense of `dog` in no hierarchy."""
    offset = {word: 100 + 7 * number for number, word in enumerate(NOUNS)}
    above = ABOVE | KINDS
    data, index = ["  1 A licence"], ["  1 A licence"]
    for word in NOUNS:
        pointer = f"001 @ {offset[above[word]]:08d} n 0000" if word in above else "000"
        data.append(f"{offset[word]:08d} 03 n 01 {word} 0 {pointer} | a {word}")
        senses = [offset[word], *([90] if word == "dog" else [])]
        some = " ".join(f"{one:08d}" for one in senses)
        index.append(f"{word} n {len(senses)} 1 @ {len(senses)} 1 {some}")
    data.append("00000090 03 n 01 dog 0 000 | a dull fellow")
    (folder / "data_noun").write_text("\n".join(data) + "\n")
    (folder / "index_noun").write_text("\n".join(index) + "\n")


@pytest.fixture(scope="module")
def project(small, tmp_path_factory):
    """A folder with WordNet, two models, an SAE, and all that the stages write of them."""
    from sae_lens import TopKSAE, TopKSAEConfig

    root = tmp_path_factory.mktemp("hierarchy")
    found = SimpleNamespace(
        root=root, params=root / "params.yaml", artifacts=root / "raw", models=root / "models",
        saes=root / "saes", corpus=root / "corpus", words=root / "words", graphs=root / "graphs",
    )  # fmt: skip
    found.params.write_text(PARAMS)
    found.artifacts.mkdir()
    write_wordnet(found.artifacts)
    words = list(KINDS)
    texts = [
        f"{' '.join(np.random.default_rng(number).permutation(words))} and all the others"
        for number in range(12)
    ]
    tokenizer = train_tokenizer([f"{text} the {text}" for text in texts], 600)
    shape = small.model_copy(update={"vocab_size": tokenizer.get_vocab_size()})
    for seed, name in enumerate(("one", "two")):
        save_model(new_model(shape, seed), tokenizer, found.models / name)
    write_corpus(found.corpus, {"train": texts, "validation": texts[:6]}, {"kind": "test"})
    torch.manual_seed(0)
    sae = TopKSAE(TopKSAEConfig(d_in=16, d_sae=32, k=4))
    sae.cfg.metadata.hook_name = "blocks.1.hook_mlp_out"
    sae.save_model(found.saes / "l1_mlp_out_seed0")
    wordnet_words.command("nouns", found.artifacts, found.words / "nouns", found.params)
    for name in ("one", "two"):
        concept_graph.command(
            f"{name}_nouns",
            found.words,
            found.models,
            found.graphs / f"{name}_nouns",
            root / "counts" / f"{name}_nouns",
            found.params,
        )
    for out in ("tables", "again"):
        run(found, root / out)
    return found


def run(project, out):
    vector_stage.command(
        "one_nouns", project.graphs / "one_nouns", project.models / "one", project.corpus, 32,
        out / "vectors", project.params,
    )  # fmt: skip
    concept_layers.command(
        "one", project.graphs, project.models / "one", project.saes, project.corpus,
        out / "layers", project.params,
    )  # fmt: skip
    compare_concepts.command("pair", project.graphs, project.models, out / "pair", project.params)


def test_wordnet_and_its_graph(project):
    words = read_table(project.words / "nouns" / "words.parquet").set_index("word")["forms"]
    assert set(words.index) == set(NOUNS)
    assert list(words["pup"]) == ["pup", "pups", "Pup", "Pups"]
    synsets = set(read_table(project.words / "nouns" / "synsets.parquet")["synset"])
    assert {"dog.n.01", "dog.n.02", "entity.n.01"} <= synsets
    table = read_table(project.graphs / "one_nouns" / "concepts.parquet").set_index("concept")
    assert {"entity.n.01", "animal.n.01", "food.n.01"} < set(table.index)
    assert set(table.index) == {f"{name}.n.01" for name in (*CATEGORIES, *ABOVE.values())}
    names = table.index.to_list()
    for child, parent in ABOVE.items():
        row = table.loc[f"{child}.n.01"]
        assert [names[node] for node in row["parents"]] == [f"{parent}.n.01"]
        assert set(row["tokens"]) < set(table.loc[f"{parent}.n.01", "tokens"])
    tokens = table.loc["fish.n.01", "tokens"]
    assert len(tokens) == table.loc["fish.n.01", "n_tokens"] >= 7
    counts = read_table(project.root / "counts" / "one_nouns" / "counts.parquet")
    assert counts["min_tokens"].tolist() == [2, 3]
    assert counts["concepts"].tolist() == [8, 8]
    assert set(counts["edges"]) == {7}


def test_stages_write_finite_tables_the_same_every_time(project):
    expected = {
        "vectors": {"summary", "heat", "polytopes", "points", "interventions"},
        "layers": {"summary", "corners", "features"},
        "pair": {"rsa"},
    }
    for name, tables in expected.items():
        found = tables_by_name(project.root / "tables" / name)
        assert set(found) == tables
        for table, rows in found.items():
            path = f"{name}/{table}.parquet"
            same = [(project.root / out / path).read_bytes() for out in ("tables", "again")]
            assert same[0] == same[1], path
            assert len(rows), path
            values = rows.select_dtypes("number")
            if table == "summary":  # not every statistic has every control
                values = rows[["value", "nested", "n"]]
            if table == "polytopes":  # nor does `nearest_corner`
                values = values.dropna(axis="columns")
                assert {"value", "low", "high", "random"} <= set(values)
            assert np.isfinite(values.to_numpy()).all(), path


def test_tables_of_the_unembedding(project):
    tables = tables_by_name(project.root / "tables" / "vectors")
    summary = tables["summary"].set_index(["estimator", "statistic"])
    assert summary.loc["lda"]["causal"].all()
    assert not summary.loc["mean"]["causal"].any()
    assert summary.loc["mean"]["shuffled"].isna().all()
    assert len(tables["heat"]) == 8 * 7 // 2
    polytope: Any = tables["polytopes"].set_index("statistic")
    assert set(polytope["polytope"]) == {"animals"}
    assert set(polytope["k"]) == {3}
    assert set(polytope.index[polytope["shuffled"].isna()]) == {"nearest_corner"}
    points: Any = tables["points"]
    concepts = read_table(project.graphs / "one_nouns" / "concepts.parquet").set_index("concept")
    real = points.query("kind == 'real' and not corner")
    of_category = real.groupby("category").size()
    for name in ("dog.n.01", "bird.n.01", "fish.n.01"):
        assert of_category[name] == concepts.loc[name, "n_tokens"]
    assert points["corner"].sum() == 2 * 3
    moved = tables["interventions"].set_index(["child", "contrast"])
    assert moved.index.to_list() == [
        (child, contrast) for child in ("dog.n.01", "food.n.01") for contrast in ("child", "parent")
    ]
    assert np.all((moved["low"] <= moved["value"]) & (moved["value"] <= moved["high"]))
    assert set(moved["n_prompts"]) == {20}


def test_tables_of_the_layers(project):
    tables = tables_by_name(project.root / "tables" / "layers")
    summary = tables["summary"]
    kinds = summary[["form", "layer", "estimator"]].drop_duplicates()
    assert len(kinds) == 2 * 2 * 2
    corners = tables["corners"]
    assert len(corners) == 2 * 2
    assert corners["value"].between(0, 1).all()
    assert corners["random"].between(0, 1).all()
    # Two roots and five concepts below them; `entity` has the tokens of both.
    assert set(summary.query("statistic == 'closeness'")["n"]) == {8}
    features: Any = tables["features"].set_index("statistic")
    assert features.loc["selectivity", "value"] <= 1
    for name in ("own_cosine", "stranger_cosine", "random_feature_cosine", "made_of_cosine"):
        assert abs(features.loc[name, "value"]) <= 1
    assert features.loc["made_of_cosine", "value"] > features.loc["random_feature_cosine", "value"]


def test_tables_of_two_models(project):
    rsa = read_table(project.root / "tables" / "pair" / "rsa.parquet")
    assert set(rsa["k"]) == {8}
    assert set(rsa.query("pairs == 'all'")["n"]) == {28}
    assert set(rsa.query("pairs == 'apart'")["n"]) == {28 - 7 - 3 - 2}  # no ancestor and descendant


def test_wrong_keys_name_the_known_ones(project, tmp_path):
    with pytest.raises(InputError, match=r"no key 'wordnet\.verbs'; there is: nouns"):
        wordnet_words.command("verbs", project.artifacts, tmp_path, project.params)
    with pytest.raises(
        InputError, match=r"no key 'concept_graphs\.three'; there is: one_nouns, two_nouns"
    ):
        concept_graph.command(
            "three", project.words, project.models, tmp_path, tmp_path, project.params
        )
    with pytest.raises(
        InputError, match=r"no key 'concept_graphs\.three'; there is: one_nouns, two_nouns"
    ):
        vector_stage.command(
            "three", project.graphs / "one_nouns", project.models / "one", project.corpus, 32,
            tmp_path, project.params,
        )  # fmt: skip
    with pytest.raises(InputError, match=r"no key 'concept_layers\.two'; there is: one"):
        concept_layers.command(
            "two", project.graphs, project.models / "one", project.saes, project.corpus, tmp_path,
            project.params,
        )  # fmt: skip
    with pytest.raises(InputError, match=r"no key 'concept_pairs\.one'; there is: pair"):
        compare_concepts.command("one", project.graphs, project.models, tmp_path, project.params)
    wrong = tmp_path / "params.yaml"
    wrong.write_text(PARAMS.replace("dog.n.01, bird.n.01", "dog.n.01, wolf.n.01", 1))
    with pytest.raises(InputError, match=r"no concept 'wolf\.n\.01'"):
        vector_stage.command(
            "one_nouns", project.graphs / "one_nouns", project.models / "one", project.corpus, 32,
            tmp_path / "out", wrong,
        )  # fmt: skip
    wrong.write_text(PARAMS.replace("words: nouns", "word: nouns", 1))
    with pytest.raises(InputError, match="known keys: model, words, min_tokens"):
        concept_graph.command(
            "one_nouns", project.words, project.models, tmp_path / "out", tmp_path / "out", wrong
        )
    assert not (tmp_path / "out").exists()
