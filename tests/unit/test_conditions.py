import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from matched import SETTINGS
from pydantic import ValidationError
from scipy.stats import ttest_1samp

from universality.core.errors import InputError
from universality.core.features import encode, hook_rows
from universality.core.io import write_sparse, write_table
from universality.core.nulls import shift_offsets
from universality.core.stats import kept_documents
from universality.studies.matching.conditions.conditions import (
    BestR,
    best_r,
    over_seeds,
    pair_curve,
    shares_above,
    summary,
)
from universality.studies.matching.conditions.grid_study import (
    draw,
    match_grid,
    match_recipe,
    read_alive,
    shared_positions,
)
from universality.studies.matching.conditions.progress_study import (
    COMPARISONS,
    Step,
    keep_alive,
    match_stages,
    steps,
    train_and_encode,
)
from universality.studies.matching.params.conditions import MatchGrids, MatchProgress
from universality.studies.matching.study import Sample, alive_columns, match_layers
from universality.studies.saes.params.saes import SaeGrid, SaeTraining

MATCHING = SETTINGS.model_copy(update={"n_null": 4})
TRAINING = SaeTraining(
    step="sparse", batch_size=16, learning_rate=0.01, warmup_fraction=0.0, decay_fraction=0.2,
    sparsity_warmup_fraction=0.0, normalize_activations="expected_average_only_in",
    apply_b_dec_to_input=True, aux_coefficient=1.0, dead_window=1000, jumprelu_bandwidth=0.05,
    jumprelu_threshold=0.01, matryoshka_levels=[0.5], resample_at=[], resample_samples=8,
    resample_warmup=1, checkpoint_every=100, log_every=10,
)  # fmt: skip
N_DOCUMENTS, LENGTH = 20, 30
DOCUMENTS = np.repeat(np.arange(N_DOCUMENTS), LENGTH)


def random_sparse(rng, n, d, density=0.1):
    return sp.csr_matrix(rng.random((n, d)) * (rng.random((n, d)) < density), dtype=np.float32)


def noisy(features, rng):
    """The same features with a little of others, in another order."""
    n, d = features.shape
    return sp.csr_matrix(features[:, rng.permutation(d)] + random_sparse(rng, n, d, 0.005))


def matched(a, b, offsets, kept=np.zeros((0, N_DOCUMENTS))):
    return best_r(match_layers(a, b, Sample(DOCUMENTS, offsets, kept, min_count=1)))


def test_alive_features_fire_often_enough_and_vary():
    dense = np.zeros((6, 4), dtype=np.float32)
    dense[:3, 0] = 1  # fires on three
    dense[:2, 1] = 1  # on two
    dense[:, 2] = 5  # constant
    dense[:4, 3] = [1, 2, 3, 4]
    assert alive_columns(sp.csr_matrix(dense), 3).tolist() == [0, 3]
    assert alive_columns(sp.csr_matrix(dense), 2).tolist() == [0, 1, 3]


def test_shares_above_by_hand():
    r = np.array([[0.2, 0.5, 0.7, 1.0], [0.0, 0.0, 0.69, 0.7]])
    found = shares_above(r, [0, 0.5, 0.7, 1])
    np.testing.assert_array_equal(found, [[1, 0.75, 0.5, 0.25], [1, 0.5, 0.25, 0]])
    np.testing.assert_array_equal(shares_above(np.zeros((2, 0)), [0, 0.5]), np.zeros((2, 2)))


def test_summary_by_hand():
    r = np.array([0.9, 0.6, 0.8, 0.1])
    null = np.array([[0.1, 0.2, 0.3, 0.0], [0.7, 0.75, 0.8, 0.71], [0.1, 0.1, 0.1, 0.1]])
    left_out = np.tile(r, (4, 1)).astype(np.float32)
    left_out[:2, 1] = 0.75
    found = BestR(r, null, left_out, 9)
    row = summary(found, 0.7, 10)
    assert (row["n_features"], row["n_shared"], row["n_searched"]) == (4, 2, 9)
    assert row["share_of_all"] == pytest.approx(0.2)
    assert row["share_of_all_null"] == pytest.approx(0.4 / 3)
    assert row["median_r"] == pytest.approx(0.7)
    assert row["share_above"] == 0.5
    assert row["share_above_null"] == pytest.approx(1 / 3)
    assert row["median_r_null"] == pytest.approx((0.15 + 0.73 + 0.1) / 3)
    assert (row["median_r_null_low"], row["median_r_null_high"]) == pytest.approx((0.1, 0.73))
    # Shares without a group are .75, .75, .5 and .5: t(3) sqrt(3 * .125^2) = .689, cut at 0 and 1.
    assert (row["share_above_low"], row["share_above_high"]) == (0, 1)
    half = 3.1824463 * np.sqrt(3 * 0.05**2)  # of all 10 features: .3, .3, .2 and .2
    assert row["share_of_all_high"] == pytest.approx(0.2 + half)
    assert row["share_of_all_low"] == 0
    assert "median_r_low" not in summary(BestR(r, null, left_out[:0], 9), 0.7, 4)


def test_nothing_to_match_is_zero():
    nothing = sp.csr_matrix((len(DOCUMENTS), 0), dtype=np.float32)
    something = random_sparse(np.random.default_rng(0), len(DOCUMENTS), 3)
    found = matched(nothing, something, np.ones(2))
    assert (len(found.r), found.n_searched) == (0, 3)
    assert matched(something, nothing, np.ones(2)).r.tolist() == [0, 0, 0]
    row = summary(found, 0.7, 5)
    assert (row["n_features"], row["median_r"], row["share_of_all"]) == (0, 0, 0)


def test_planted_features_are_found_and_the_null_is_not(rng):
    a = random_sparse(rng, len(DOCUMENTS), 12)
    b = sp.hstack([noisy(a, rng), random_sparse(rng, len(DOCUMENTS), 5)], format="csr")
    offsets = shift_offsets(DOCUMENTS, 5, rng)
    found = matched(a, b, offsets, kept_documents(N_DOCUMENTS, 10, rng))
    assert found.r.min() > 0.9 > 0.4 > found.null_r.max()
    assert found.n_searched == 17
    row = summary(found, 0.7, 12)
    assert row["median_r_low"] < row["median_r"] < row["median_r_high"]
    best = [max(np.corrcoef(x, y)[0, 1] for y in b.toarray().T) for x in a.toarray().T]
    np.testing.assert_allclose(found.r, best, atol=1e-6)


def test_drawing_takes_whole_columns_and_no_more_than_there_are(rng):
    features = random_sparse(rng, 40, 8, 0.5)
    dense = features.toarray()
    drawn = draw(features, 3, rng).toarray()
    places = [np.flatnonzero((dense == column[:, None]).all(0))[0] for column in drawn.T]
    assert len(set(places)) == 3
    np.testing.assert_array_equal(draw(features, 99, rng).toarray(), dense)


def test_fewer_searched_are_matched_less_well_by_chance(rng):
    a, b = (random_sparse(rng, len(DOCUMENTS), d) for d in (30, 200))
    offsets = shift_offsets(DOCUMENTS, 3, rng)
    wide, narrow = (matched(a, side, offsets) for side in (b, draw(b, 20, rng)))
    assert np.median(wide.r) > np.median(narrow.r)
    assert np.median(wide.null_r) > np.median(narrow.null_r)


def test_means_over_seeds_with_t_intervals():
    table = pd.DataFrame(
        {
            "family": ["x", "x", "x", "y"],
            "seed": [0, 1, 2, 0],
            "median_r": [0.5, 0.6, 0.7, 0.1],
            "l0": [10.0, 11.0, 12.0, 4.0],
            "median_r_null_low": [0.02, 0.01, 0.03, 0.0],
            "median_r_null_high": [0.04, 0.05, 0.03, 0.1],
            "share_above": [0.9, 1.0, 1.0, 0.2],
        }
    )
    found = over_seeds(table, ["family"], ["median_r", "share_above"]).set_index("family")
    expected = ttest_1samp([0.5, 0.6, 0.7], 0).confidence_interval()
    assert found.loc["x", "median_r"] == pytest.approx(np.mean([0.5, 0.6, 0.7]))
    assert found.loc["x", "median_r_low"] == pytest.approx(expected.low)
    assert found.loc["x", "median_r_high"] == pytest.approx(expected.high)
    assert (found.loc["x", "l0"], found.loc["x", "n_seeds"]) == (11, 3)
    assert found.loc["y", "median_r"] == 0.1
    assert np.isnan(found.loc["y", "median_r_low"])
    assert found.loc["x", ["median_r_null_low", "median_r_null_high"]].tolist() == [0.01, 0.05]
    assert found.loc["x", "share_above_high"] == 1  # Student's interval would end at 1.11
    assert found.loc["x", "share_above_low"] < 0.9


def test_curve_of_a_pair_takes_each_layers_best_layer_and_alive_features():
    rows = [
        (0, 0, 0.9, 0.1, True), (0, 0, 0.4, 0.3, True), (0, 0, 0.99, 0.9, False),
        (0, 1, 0.2, 0.1, True), (1, 0, 0.1, 0.1, True), (1, 1, 0.8, 0.2, True),
    ]  # fmt: skip
    features = pd.DataFrame(rows, columns=["layer_a", "layer_b", "r", "null_r", "alive"])
    headline = pd.DataFrame(
        {
            "selection": ["best_layer"] * 3 + ["same_layer"],
            "layer_a": [0, 1, -1, 0],
            "layer_b": [0, 1, -1, 1],
        }
    )
    table = pair_curve(features, headline, np.array([0.25, 0.5, 0.85]))
    np.testing.assert_allclose(table["share"], [1, 2 / 3, 1 / 3])
    np.testing.assert_allclose(table["share_null"], [1 / 3, 0, 0])
    assert set(table["n_features"]) == {3}


GRIDS = MatchGrids(n_documents=4, batch_tokens=64, n_null=2, n_searched=3, sae_seed=0)


def test_each_seed_of_a_recipe_is_matched_with_the_next(rng):
    """SAE seeds 0 and 1 are alike and 2 is not, nor is the other model."""
    first = random_sparse(rng, len(DOCUMENTS), 6)
    by_seed = {0: first, 1: noisy(first, rng), 2: random_sparse(rng, len(DOCUMENTS), 6)}
    elsewhere = {"other_lm": random_sparse(rng, len(DOCUMENTS), 4)}
    found = {
        (seed, partner): best
        for seed, partner, best in match_recipe("x", by_seed, elsewhere, DOCUMENTS, GRIDS, MATCHING)
    }
    assert set(found) == {
        (seed, partner)
        for seed in by_seed
        for partner in ("sae_seed", "sae_seed_drawn", "other_lm")
    }
    assert found[0, "sae_seed"].r.min() > 0.9
    assert max(found[seed, "sae_seed"].r.max() for seed in (1, 2)) < 0.5
    assert (found[0, "sae_seed_drawn"].r > 0.9).sum() == GRIDS.n_searched
    assert found[0, "sae_seed_drawn"].n_searched == GRIDS.n_searched
    assert found[0, "other_lm"].n_searched == 4
    alone = match_recipe("x", {0: first}, elsewhere, DOCUMENTS, GRIDS, MATCHING)
    assert [partner for _, partner, _ in alone] == ["other_lm"]


def write_positions(folder, documents, ends):
    write_table(folder / "tokens.parquet", pd.DataFrame({"document": documents, "end": ends}))
    return folder


def test_only_positions_that_all_models_share_are_matched(tmp_path):
    documents, ends = np.array([0, 0, 0, 1, 1]), np.array([2, 5, 9, 3, 8])
    others = {
        "x": write_positions(tmp_path / "x", [0, 0, 0, 1, 1, 2], [2, 4, 9, 3, 8, 1]),
        "y": write_positions(tmp_path / "y", [0, 0, 1, 1], [5, 9, 3, 7]),
    }
    rows, theirs = shared_positions(documents, ends, others)
    assert rows.tolist() == [2, 3]
    assert {name: part.tolist() for name, part in theirs.items()} == {"x": [2, 3], "y": [1, 2]}
    other = {"x": write_positions(tmp_path / "z", [0, 0], [2, 9])}
    with pytest.raises(InputError, match="fewer than 2 documents"):
        shared_positions(documents, ends, other)


def test_a_dead_sae_is_said_to_be_one(tmp_path, rng):
    path = tmp_path / "l0_mlp_out_seed0.safetensors"
    features = random_sparse(rng, 40, 5, 0.4)
    features = sp.csr_matrix(features.multiply([1, 0, 1, 1, 1]))
    write_sparse(path, features)
    rows = np.arange(0, 40, 2)
    kept = read_alive(path, rows, 1)
    np.testing.assert_array_equal(kept.toarray(), features[rows][:, [0, 2, 3, 4]].toarray())
    with pytest.raises(InputError, match="dead SAE"):
        read_alive(path, rows, 41)


class Half(torch.nn.Module):
    """An SAE of 2 features on 2 inputs, whose reconstruction is half of what is above 0."""

    def encode(self, x):
        return x.clamp(min=0)

    def decode(self, features):
        return features / 2


def test_encoding_by_hand():
    x = torch.tensor([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0]])
    found = encode(Half(), x, chunk=3)
    np.testing.assert_array_equal(found.features.toarray(), x.clamp(min=0).numpy())
    assert found.l0 == 0.5
    # Errors 1, 1, 4 and 4 over squared distances of 4 each to the mean 0.
    assert found.explained_variance == pytest.approx(1 - 10 / 16)


def test_all_saes_of_a_grid_are_matched_under_their_names(rng):
    hook = "blocks.0.hook_mlp_out"
    grid = SaeGrid.model_validate(
        {
            "model": "seed_a",
            "hooks": [hook],
            "n_samples": 100,
            "batch_size": 8,
            "learning_rate": 0.01,
            "dead_window": 10,
            "seeds": [0, 4],
            "families": {
                "topk": {"architecture": "topk", "sparsity": [2, 3], "expansion": [1]},
                "gated": {"architecture": "gated", "sparsity": [1], "expansion": [2]},
            },
        }
    )
    x = torch.from_numpy(rng.standard_normal((len(DOCUMENTS), 2)).astype(np.float32))
    # Every SAE is opened as the same, so partners of other seeds are equal; the other LM is not.
    elsewhere = {hook: {"other_lm": random_sparse(rng, len(DOCUMENTS), 7)}}
    opened = []

    def load(sae):
        opened.append(sae)
        return Half()

    seeds = match_grid(grid, load, {hook: x}, elsewhere, DOCUMENTS, GRIDS, MATCHING)
    recipes = ["topk_2_x1", "topk_3_x1", "gated_1_x2"]
    assert opened == [f"{one}_l0_mlp_out_seed{seed}" for one in recipes for seed in (0, 4)]
    assert len(seeds) == 3 * 2 * 3
    assert set(seeds["sparsity"]) == {1, 2, 3}
    rows = seeds.set_index("partner")
    np.testing.assert_allclose(rows.loc["sae_seed", "median_r"].to_numpy(float), 1)
    assert rows.loc["other_lm", "median_r"].max() < 0.3
    assert set(rows.loc["other_lm", "n_searched"]) == {7}
    np.testing.assert_allclose(seeds["l0"], (x > 0).sum() / len(x))


def test_rows_of_hooks_come_in_reading_order(bridge, tiny_corpus, tiny_model):
    from universality.core.corpora import load_tokens

    tokens = load_tokens(tiny_corpus, "train", tiny_model, 64, 6)
    hooks = ["blocks.0.hook_mlp_out", "blocks.1.hook_mlp_out"]
    read = hook_rows(bridge, tokens, hooks, 150)
    np.testing.assert_array_equal(read.place, np.flatnonzero(~tokens.special))
    document = 3
    first, last = tokens.bounds[document], tokens.bounds[document + 1]
    ids = torch.from_numpy(tokens.ids[first:last].astype(np.int64))[None]
    with torch.inference_mode():
        expected = bridge.run_with_cache(ids)[1]
    rows = (read.place > first) & (read.place < last)
    for hook in hooks:
        np.testing.assert_allclose(
            read.activations[hook][torch.from_numpy(rows)], expected[hook][0, 1:], atol=1e-5
        )


def progress_section(**changed):
    values = {
        "a": {"trained": "a", "untrained": "u"},
        "b": {"trained": "b", "untrained": "v"},
        "shares": [0.5],
        "hooks": ["blocks.0.hook_mlp_out"],
        "recipe": {"architecture": "topk", "sparsity": 2, "expansion": 2},
        "sae_seeds": [0, 1],
        "n_tokens": 100,
        "n_samples": 100,
        "batch_size": 8,
        "learning_rate": 0.01,
        "dead_window": 100,
        "n_documents": 4,
        "batch_tokens": 64,
        "n_null": 2,
    }
    return MatchProgress.model_validate(values | changed)


def test_stages_of_training_are_compared_as_named(rng):
    """Planted: LM A learns its features in the second half, of which B has all but the first."""
    hook = "blocks.0.hook_mlp_out"
    late = random_sparse(rng, len(DOCUMENTS), 6)
    features = {
        (lm, share, hook, seed): random_sparse(rng, len(DOCUMENTS), 6)
        for lm in "ab"
        for share in (0.0, 0.5, 1.0)
        for seed in (0, 1)
    }
    features["a", 1.0, hook, 0] = late
    features["a", 1.0, hook, 1] = noisy(late, rng)
    features["b", 1.0, hook, 1] = noisy(late[:, 1:], rng)
    features["b", 0.5, hook, 1] = noisy(features["a", 0.5, hook, 0], rng)
    kept = keep_alive(features, 3)
    found = {
        (where["comparison"], where["share"]): best
        for where, best in match_stages(kept, DOCUMENTS, progress_section(), MATCHING)
    }
    assert set(found) == {(name, share) for name in COMPARISONS for share in (0, 0.5, 1)}
    shared = {key: int((best.r > 0.9).sum()) for key, best in found.items()}
    expected = {("sae_seed", 1): 6, ("final", 1): 6, ("other_lm", 1): 5, ("other_lm", 0.5): 6}
    expected |= {("final_of_other_lm", 1): 5}
    assert shared == {key: expected.get(key, 0) for key in found}
    assert all(best.left_out_r.shape[0] == MATCHING.n_groups for best in found.values())


def test_both_models_are_read_from_untrained_to_trained(tmp_path):
    ends = {lm: (tmp_path / f"{lm}_untrained", tmp_path / lm) for lm in "ab"}
    kept = {lm: tmp_path / f"{lm}_kept" for lm in "ab"}
    found = steps(progress_section(shares=[0.5, 0.02]), ends, kept)
    told = [
        (one.lm, one.model, one.share, one.path.relative_to(tmp_path).as_posix()) for one in found
    ]
    assert told[:4] == [
        ("a", "u", 0, "a_untrained"),
        ("a", "a", 0.02, "a_kept/0.02"),
        ("a", "a", 0.5, "a_kept/0.5"),
        ("a", "a", 1, "a"),
    ]
    assert [(one.lm, one.model) for one in found[4:]] == [("b", "v"), *[("b", "b")] * 3]
    assert {(one.lm, one.sae_seeds) for one in found} == {("a", (0, 1)), ("b", (1,))}


def test_a_dead_sae_of_a_checkpoint_is_named():
    empty = {("a", 0.02, "blocks.1.hook_mlp_out", 1): sp.csr_matrix((30, 4), dtype=np.float32)}
    with pytest.raises(InputError, match=r"LM a at share 0\.02, blocks\.1.*SAE seed 1: a dead SAE"):
        keep_alive(empty, 1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shares": [0.1, 0.1]}, "shares names something twice"),
        ({"sae_seeds": [3, 3]}, "sae_seeds are both 3"),
        ({"shares": [1.0]}, "less than 1"),
        ({"n_null": 0}, "greater than or equal to 1"),
    ],
)
def test_bad_parameters_are_named(changed, message):
    with pytest.raises(ValidationError, match=message):
        progress_section(**changed)


def test_saes_of_a_model_are_trained_alike_and_differ_by_seed(bridge, tiny_corpus, tiny_model):
    from universality.core.corpora import load_tokens

    tokens = load_tokens(tiny_corpus, "train", tiny_model, 64, 20)
    fresh = load_tokens(tiny_corpus, "validation", tiny_model, 64)
    section = progress_section(n_samples=1600, batch_size=16)
    step = Step("a", "seed_a", 0.5, tiny_model, (0, 1))
    found = train_and_encode(bridge, (tokens, fresh), step, section, TRAINING)
    hook = section.hooks[0]
    assert list(found) == [(hook, 0), (hook, 1)]
    step = Step("b", "seed_b", 1.0, tiny_model, (1,))
    again = train_and_encode(bridge, (tokens, fresh), step, section, TRAINING)[hook, 1]
    np.testing.assert_array_equal(again.features.toarray(), found[hook, 1].features.toarray())
    for one in found.values():
        assert one.features.shape == ((~fresh.special).sum(), 32)
        assert one.l0 <= 2
        assert one.explained_variance > 0.3
    assert (found[hook, 0].features != found[hook, 1].features).nnz > 0
