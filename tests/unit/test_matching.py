import numba
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from matched import SETTINGS, random_sparse, tables_of, write_model

from universality.core.bootstrap import document_sums, resampled_r
from universality.core.engine.moments import moments
from universality.core.engine.partners import Matcher, best_matches
from universality.core.engine.sparse_file import open_sparse
from universality.core.errors import InputError
from universality.core.io import write_sparse, write_table
from universality.core.stats import jackknife_interval, kept_documents
from universality.studies.matching import labels, pairings
from universality.studies.matching.files import find_saes
from universality.studies.matching.pairings import Partners
from universality.studies.matching.study import (
    Sample,
    match_layers,
    null_of_meeting_documents,
    pair_layers,
)
from universality.studies.matching.summary import BRICKEN_2023, matching_metrics
from universality.studies.matching.tables import POOLED, feature_table, headline_table


def reference(a, b):
    """All correlations by numpy, NaN for constant features."""
    with np.errstate(invalid="ignore", divide="ignore"):
        both = np.corrcoef(np.hstack([a.toarray(), b.toarray()]).astype(np.float64).T)
    return np.atleast_2d(both)[: a.shape[1], a.shape[1] :]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 9), st.integers(1, 9))
def test_agrees_with_corrcoef_in_both_directions(seed, n, d_a, d_b):
    rng = np.random.default_rng(seed)
    a, b = random_sparse(rng, n, d_a), random_sparse(rng, n, d_b, 0.4)
    expected = reference(a, b)
    found = best_matches(a, b, 10)
    for matches, r in zip(found, (expected, expected.T), strict=True):
        for feature, row in enumerate(r):
            defined = np.flatnonzero(np.isfinite(row))
            k = len(defined)
            assert matches.found[feature].sum() == k
            np.testing.assert_allclose(matches.r[feature, :k], -np.sort(-row[defined]), atol=1e-9)
            partners = matches.partner[feature, :k]
            assert sorted(partners) == list(defined)
            np.testing.assert_allclose(row[partners], matches.r[feature, :k], atol=1e-9)
            assert (matches.partner[feature, k:] == -1).all()
            assert (matches.r[feature, k:] == 0).all()


def test_moments_agree_with_numpy():
    matrix = random_sparse(np.random.default_rng(0), 200, 6)
    dense = matrix.toarray().astype(np.float64)
    found = moments(matrix)
    np.testing.assert_allclose(found.mean, dense.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.sd, dense.std(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(found.count, (dense != 0).sum(axis=0))


def test_planted_partners_are_found_under_permutation():
    rng = np.random.default_rng(0)
    a = random_sparse(rng, 3000, 40, 0.05)
    order = rng.permutation(40)
    noise = random_sparse(rng, 3000, 40, 0.01)
    b = sp.hstack([a[:, order] * 3 + noise, random_sparse(rng, 3000, 20, 0.05)], format="csr")
    forward, backward = best_matches(a, b)
    np.testing.assert_array_equal(forward.partner[:, 0], np.argsort(order))
    np.testing.assert_array_equal(backward.partner[:40, 0], order)
    assert forward.r.min() > 0.9 > 0.2 > backward.r[40:].max()


def test_directions_are_each_other_swapped():
    rng = np.random.default_rng(1)
    a, b = random_sparse(rng, 300, 30), random_sparse(rng, 300, 17)
    forward, backward = best_matches(a, b)
    swapped_forward, swapped_backward = best_matches(b, a)
    np.testing.assert_array_equal(forward.partner, swapped_backward.partner)
    np.testing.assert_array_equal(backward.partner, swapped_forward.partner)
    np.testing.assert_allclose(backward.r, swapped_forward.r, atol=1e-12)


def same(one, other):
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine.partner, theirs.partner)
        np.testing.assert_array_equal(mine.r, theirs.r)


def test_neither_blocks_nor_threads_nor_files_change_anything(tmp_path):
    rng = np.random.default_rng(2)
    a, b = random_sparse(rng, 400, 30), random_sparse(rng, 400, 50)
    b = sp.csr_matrix(b.toarray()[:, [*range(49), 7]])  # a tie
    whole = best_matches(a, b, 3)
    paths = [tmp_path / name for name in ("a", "b")]
    for path, matrix in zip(paths, (a, b), strict=True):
        write_sparse(path, matrix)
    for memory_mb in (0.001, 0.01):
        matcher = Matcher(open_sparse(paths[0]), open_sparse(paths[1]), memory_mb=memory_mb)
        assert min(len(matcher.a.blocks), len(matcher.b.blocks)) > 1
        same(matcher.partners(3), whole)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        same(best_matches(a, b, 3), whole)
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("measure", ["pearson", "cosine", "jaccard"])
def test_measures_by_their_plain_formulas(measure):
    rng = np.random.default_rng(14)
    a, b = random_sparse(rng, 300, 9), random_sparse(rng, 300, 400, 0.3)
    b = sp.csr_matrix(b.toarray() * (np.arange(400) != 3))
    b.data[:20] = 0  # zeros that are stored are not firings
    x, y = a.toarray().astype(np.float64), b.toarray().astype(np.float64)
    if measure == "cosine":
        expected = x.T @ y / np.outer(np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0) + 1e-99)
    elif measure == "jaccard":
        both = (x != 0).T.astype(float) @ (y != 0)
        expected = both / ((x != 0).sum(0)[:, None] + (y != 0).sum(0) - both)
    else:
        expected = np.nan_to_num(reference(a, b))
    expected[:, 3] = -2
    forward, backward = best_matches(a, b, 5, measure)
    for matches, scores in ((forward, expected), (backward, np.delete(expected, 3, axis=1).T)):
        found = np.delete(matches.r, 3, axis=0) if matches is backward else matches.r
        np.testing.assert_allclose(found, -np.sort(-scores, axis=1)[:, :5], atol=1e-9)
    assert not backward.found[3].any()
    full = Matcher(a, b, measure, memory_mb=0.01).all_scores()
    assert np.isnan(full[:, 3]).all()
    np.testing.assert_allclose(np.delete(full - expected, 3, axis=1), 0, atol=1e-9)


def test_a_killed_matching_goes_on_where_it_was(tmp_path, monkeypatch):
    rng = np.random.default_rng(15)
    a, b = random_sparse(rng, 300, 30), random_sparse(rng, 300, 20)
    state = tmp_path / "state.safetensors"
    scanned = []
    scan = Matcher._scan

    def killed(self, one, other, *rest):
        if len(scanned) == 3:
            raise KeyboardInterrupt
        scanned.append((one, other))
        scan(self, one, other, *rest)

    monkeypatch.setattr(Matcher, "_scan", killed)
    with pytest.raises(KeyboardInterrupt):
        Matcher(a, b, memory_mb=0.003).partners(2, checkpoint=state)
    again = []
    monkeypatch.setattr(
        Matcher, "_scan", lambda self, *rest: (again.append(rest[:2]), scan(self, *rest))
    )
    with pytest.raises(InputError, match="another matching"):
        Matcher(a, b, memory_mb=0.003).partners(3, checkpoint=state)
    matcher = Matcher(a, b, memory_mb=0.003)
    found = matcher.partners(2, checkpoint=state)
    assert again
    assert not set(map(str, again)) & set(map(str, scanned))
    assert len(again) + 3 == len(matcher.a.blocks) * len(matcher.b.blocks)
    assert not state.exists()
    same(found, best_matches(a, b, 2))


def test_infinite_activations_are_an_error():
    a = random_sparse(np.random.default_rng(16), 30, 3)
    a.data[0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        best_matches(a, a)


def test_constant_features_have_no_partner_and_are_none():
    rng = np.random.default_rng(3)
    a = random_sparse(rng, 50, 4).toarray()
    a[:, 1] = 0
    a[:, 2] = 0.1
    forward, backward = best_matches(sp.csr_matrix(a), sp.csr_matrix(a))
    for matches in (forward, backward):
        assert matches.found[:, 0].tolist() == [True, False, False, True]
        assert matches.partner[:, 0].tolist() == [0, -1, -1, 3]
        assert matches.r[[1, 2], 0].tolist() == [0, 0]


def test_self_match_is_excluded():
    a = random_sparse(np.random.default_rng(4), 200, 12)
    expected = reference(a, a)
    np.fill_diagonal(expected, -2)
    for matches in best_matches(a, a, exclude_self=True):
        np.testing.assert_array_equal(matches.partner[:, 0], expected.argmax(axis=1))
        np.testing.assert_allclose(matches.r[:, 0], expected.max(axis=1), atol=1e-9)
    assert (best_matches(a, a)[0].partner[:, 0] == np.arange(12)).all()


def test_shifts_are_rolled_rows():
    rng = np.random.default_rng(5)
    a, b = random_sparse(rng, 90, 9), random_sparse(rng, 90, 11)
    offsets = np.array([0, 1, 40, 89])
    matcher = Matcher(a, b)
    for offset in offsets:
        rolled = sp.csr_matrix(np.roll(b.toarray(), offset, axis=0))
        for found, expected in zip(
            matcher.partners(1, int(offset)), best_matches(a, rolled), strict=True
        ):
            np.testing.assert_allclose(found.r, expected.r, atol=1e-12)


def test_null_of_independent_features_is_the_largest_of_normals():
    # r of independent features is about N(0, 1/n); the best of d is about sqrt(2 log d / n).
    rng = np.random.default_rng(6)
    n, d = 4000, 300
    a, b = random_sparse(rng, n, 50, 0.3), random_sparse(rng, n, d, 0.3)
    null = [Matcher(a, b).partners(1, shift)[0].r for shift in (700, 1500, 2200)]
    expected = np.median(rng.normal(size=(2000, d)).max(axis=1)) / np.sqrt(n)
    assert np.median(null) == pytest.approx(expected, rel=0.1)


def test_document_sums_give_the_correlation_and_weights_repeat_documents():
    rng = np.random.default_rng(7)
    a, b = random_sparse(rng, 60, 5), random_sparse(rng, 60, 5)
    documents = np.repeat([3, 4, 9], 20)
    weights = np.array([[1.0, 1, 1], [2, 0, 1]])
    found = resampled_r(document_sums(a, b, documents), weights)
    for rows, r in zip((np.r_[0:60], np.r_[0:20, 0:20, 40:60]), found, strict=True):
        np.testing.assert_allclose(r, np.diag(reference(a[rows], b[rows])), atol=1e-9)


def test_a_resample_without_the_feature_gives_zero():
    a = sp.csr_matrix(np.r_[np.zeros((5, 1)), [[1.0], [0.5]]])
    sums = document_sums(a, a, np.repeat([0, 1], [5, 2]))
    assert resampled_r(sums, np.array([[2.0, 0.0], [1, 1]]))[:, 0] == pytest.approx([0, 1])


def test_jackknife_interval_covers_the_true_correlation():
    rng = np.random.default_rng(8)
    hits, trials, n = 0, 150, 800
    documents = np.repeat(np.arange(40), 20)
    truth = 1 / np.sqrt(1 + 0.5**2)
    for _ in range(trials):
        x = rng.normal(size=(n, 1)) + np.repeat(rng.normal(size=40), 20)[:, None]
        y = x + 0.5 * np.sqrt(2) * rng.normal(size=(n, 1))
        sums = document_sums(sp.csr_matrix(x), sp.csr_matrix(y), documents)
        r = resampled_r(sums, np.vstack([np.ones(40), kept_documents(40, 10, rng)]))[:, 0]
        low, high = jackknife_interval(r[0], r[1:], (-1, 1))
        hits += low <= truth <= high
    assert 0.86 <= hits / trials <= 0.99


def sample_of(n, size=20):
    documents = np.repeat(np.arange(n // size), size)
    kept = kept_documents(len(np.unique(documents)), 10, np.random.default_rng(0))
    return Sample(documents, np.array([40, 101, 77]), kept, min_count=3)


def layer_match(a, b, layers=(0, 0)):
    return match_layers(a, b, sample_of(a.shape[0]), layers)


def test_rare_features_take_no_part_on_either_side():
    rng = np.random.default_rng(9)
    a = random_sparse(rng, 400, 6, 0.2).toarray()
    a[:, 2] = 0
    a[[5, 9], 2] = 1
    b = a[:, [2, 5, 0, 1, 3, 4]]
    match = layer_match(sp.csr_matrix(a), sp.csr_matrix(b))
    assert match.alive_a.tolist() == [True, True, False, True, True, True]
    assert match.alive_b.tolist() == [False, True, True, True, True, True]
    assert match.forward.partner.tolist() == [2, 3, -1, 4, 5, 1]
    assert match.backward.partner.tolist() == [-1, 5, 0, 1, 3, 4]
    table = feature_table(match)
    assert table["mutual"].tolist() == [True, True, False, True, True, True]
    assert table["partner_count"].tolist() == [
        (b != 0).sum(axis=0)[i] if i >= 0 else 0 for i in match.forward.partner
    ]
    np.testing.assert_allclose(match.left_out_r, 1, atol=1e-6)
    assert (match.alive_null_r < 0.5).all()


def test_headline_takes_the_best_layer_and_pools_the_features():
    rng = np.random.default_rng(10)
    layers = [random_sparse(rng, 400, d, 0.1) for d in (10, 14)]
    noise = random_sparse(rng, 400, 8, 0.1)
    crossed = {0: layers[1], 1: layers[0], 2: noise}
    matches = [layer_match(a, b, (i, j)) for i, a in enumerate(layers) for j, b in crossed.items()]
    table = headline_table(matches, threshold=0.7)
    assert set(table["selection"]) == {"best_layer"}
    rows = table.set_index("layer_a")
    assert rows["layer_b"].to_dict() == {0: 1, 1: 0, POOLED: POOLED}
    assert set(rows["n_layers_searched"]) == {3}
    assert rows["n_features"].to_dict() == {0: 10, 1: 14, POOLED: 24}
    assert rows["median_r"].to_numpy() == pytest.approx(1)
    assert rows["share_above"].to_numpy() == pytest.approx(1)
    low, high = (rows[f"median_r_null_{end}"].to_numpy() for end in ("low", "high"))
    assert (low < high).all()
    assert (high < rows["median_r"].to_numpy()).all()
    # The null searched the same layers: no single layer's null is above it.
    for layer in (0, 1):
        single = [
            np.median(match.alive_null_r, axis=1) for match in matches if match.layer_a == layer
        ]
        assert rows.loc[layer, "median_r_null"] == pytest.approx(np.max(single, axis=0).mean())
    square = [match for match in matches if match.layer_b < 2]
    table = headline_table(square, threshold=0.7)
    same = table.query("selection == 'same_layer' and layer_a < 0").iloc[0]
    own = np.concatenate([m.alive_r for m in square if m.layer_a == m.layer_b])
    assert same["median_r"] == pytest.approx(np.median(own))
    assert same["n_layers_searched"] == 1


def by_hand(scores):
    """Return the best partners of both sides from all scores."""
    return tuple(Partners(r.argmax(1), r.max(1)) for r in (scores, scores.T))


def pairs_of(pairing):
    return list(zip(pairing.a.tolist(), pairing.b.tolist(), strict=True))


def test_pairings_by_hand():
    scores = np.array([[0.9, 0.8, 0.1], [0.95, 0.2, 0.3], [0.1, 0.4, 0.2], [0.5, 0.6, 0.0]])
    forward, backward = by_hand(scores)
    best = pairings.nearest(forward)
    assert pairs_of(best) == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert pairs_of(pairings.swapped(pairings.nearest(backward))) == [(0, 1), (1, 0), (1, 2)]
    assert pairs_of(pairings.best_of_rivals(best)) == [(1, 0), (3, 1)]
    assert pairs_of(pairings.mutual(forward, backward)) == [(1, 0)]
    # 0.95 + 0.8 + 0.2, more than with any greedy choice of the third
    one_to_one = pairings.assignment(scores)
    assert pairs_of(one_to_one) == [(0, 1), (1, 0), (2, 2)]
    assert one_to_one.score.tolist() == [0.8, 0.95, 0.2]
    barred = scores.copy()
    barred[1] = np.nan
    barred[2, 2] = np.nan
    assert pairs_of(pairings.assignment(barred)) == [(0, 0), (2, 1), (3, 2)]
    barred[:, 2] = np.nan
    assert pairs_of(pairings.assignment(barred)) == [(0, 0), (3, 1)]
    assert len(pairings.assignment(np.full((2, 3), np.nan)).a) == 0


def test_transport_lies_between_sharing_and_not_sharing():
    # Both features of A like B's first best, the first of them hardly more than the second.
    scores = np.array([[0.9, 0.85], [0.9, 0.5]])
    assert pairs_of(pairings.transport(scores, 0.1)) == [(0, 1), (1, 0)]
    assert pairs_of(pairings.transport(scores, 0.1)) != pairs_of(
        pairings.nearest(by_hand(scores)[0])
    )
    # More features in A than in B: some must share.
    rng = np.random.default_rng(3)
    square = np.eye(5) * 0.9 + rng.random((5, 5)) * 0.05
    found = pairings.transport(np.vstack([square, square]), 0.1)
    assert pairs_of(found) == [(i, i % 5) for i in range(10)]
    np.fill_diagonal(square, np.nan)
    barred = pairings.transport(square, 0.1)
    assert (barred.a != barred.b).all()


def test_all_pairings_of_permuted_features():
    rng = np.random.default_rng(17)
    a = sp.csr_matrix(random_sparse(rng, 500, 12).toarray() * (np.arange(12) != 4))
    order = rng.permutation(12)
    b = sp.csr_matrix(a[:, order])
    sample = sample_of(500)
    expected = [pair for pair in enumerate(np.argsort(order)) if pair[0] != 4]
    found = pair_layers(match_layers(a, b, sample), a, b, sample, epsilon=0.05)
    assert {one.pairing: len(one.null_r) for one in found} == dict.fromkeys(labels.PAIRINGS, 3)
    for one in found:
        assert pairs_of(one.pairs) == expected
        np.testing.assert_allclose(one.pairs.score, 1)
        np.testing.assert_allclose(one.left_out_r, 1, atol=1e-6)
        assert max(values.max() for values in one.null_r) < 0.5
    rolled = sp.csr_matrix(np.roll(b.toarray(), 101, axis=0))
    met = pair_layers(match_layers(a, rolled, sample), a, rolled, sample)
    for one, other in zip(met, found, strict=False):
        np.testing.assert_allclose(one.pairs.score, other.null_r[1], atol=1e-12)
    own = match_layers(a, a, sample, exclude_self=True)
    for one in pair_layers(own, a, a, sample, epsilon=0.05, exclude_self=True):
        assert (one.pairs.a != one.pairs.b).all()


def test_meeting_documents_keep_what_depends_on_the_place_alone():
    rng = np.random.default_rng(18)
    n, size = 800, 20
    place = np.zeros((size, 2))
    place[0, 0] = place[5, 1] = 1
    a = sp.csr_matrix(
        np.hstack([np.tile(place, (n // size, 1)), random_sparse(rng, n, 6).toarray()])
    )
    sample = sample_of(n)
    match = match_layers(a, a, sample)
    assert (match.alive_r > 0.999).all()
    null = null_of_meeting_documents(match, a, a, sample, np.array([1, 7, 39]))
    assert (null[:, :2] > 0.999).all()
    assert (null[:, 2:] < 0.4).all()
    assert (match.alive_null_r[1:, :2] < 0.5).all()  # shifts by 101 and 77 rows keep no place


def test_directories_with_different_tokenizers(tmp_path):
    rng = np.random.default_rng(12)
    fine = [random_sparse(rng, 200, d, 0.2) for d in (6, 7)]
    write_model(tmp_path / "a", np.arange(1, 11), fine)
    write_model(tmp_path / "b", np.arange(2, 11, 2), [matrix[1::2] for matrix in fine])
    tables = tables_of(tmp_path / "a", tmp_path / "b")
    assert set(tables) == {
        "features", "backward", "layers", "headline", "pairings", "meeting", "filters",
        "concepts", "subsets", "unfiltered", "pairs",
    }  # fmt: skip
    written = tables["pairs"]["pairing"].tolist()
    counted = tables["pairings"].query("layer_a < 0 and pairing == 'hungarian'")["n_pairs"]
    assert written.count("hungarian") == counted.item()
    assert not {"a_to_b", "mutual"} & set(written)  # the best partners tell these
    layers = tables["layers"].set_index(["layer_a", "layer_b"])
    assert set(layers["n_positions"]) == {100}
    assert set(layers["aligned_share_a"]) == {0.5}
    assert set(layers["aligned_share_b"]) == {1.0}
    assert layers.loc[(0, 0), "median_r"] == pytest.approx(1)
    assert layers.loc[(0, 1), "median_r"] < 0.7
    gaps = {name for name, table in tables.items() if table.isna().to_numpy().any()}
    assert gaps <= {"concepts", "subsets"}  # of concepts that are not there
    concepts = SETTINGS.concepts.model_copy(update={"subsets": None})
    less = {"concepts": concepts, "transport_epsilon": None, "variants": False}
    fewer = tables_of(tmp_path / "a", tmp_path / "b", SETTINGS.model_copy(update=less))
    assert set(tables) - set(fewer) == {"subsets", "unfiltered"}
    assert "transport" not in set(fewer["pairings"]["pairing"])
    pd.testing.assert_frame_equal(fewer["headline"], tables["headline"], check_exact=True)
    again = tables_of(tmp_path / "a", tmp_path / "b")
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, again[name], check_exact=True)
        write_table(tmp_path / "tables" / "pair" / f"{name}.parquet", table)
    paired = tables["pairings"].query("layer_a < 0").set_index("pairing")
    assert paired["median_r"].to_numpy() == pytest.approx(1)  # each layer met its own copy
    assert set(paired["n_pairs"]) == {13}
    assert paired.loc["hungarian", "median_r_null"] < 0.5
    assert not [name for name in paired if name.endswith("_p")]
    metrics = matching_metrics(tmp_path / "tables")
    assert metrics["pair_pairing_mutual"]["n_pairs"] == 13
    assert BRICKEN_2023["bricken_2023_features"] == {"published_median_r": 0.72}
    assert metrics["pair_best_of_2_layers"]["median_r"] == pytest.approx(1)
    assert metrics["pair_same_layer"]["median_r_null_high"] < 0.5
    assert metrics["pair_layer_1_best_of_2_layers"]["layer_b"] == 1


def test_bad_directories_are_one_clear_line(tmp_path):
    rng = np.random.default_rng(13)
    write_model(tmp_path / "a", np.arange(1, 11), [random_sparse(rng, 200, 6)], seed=4)
    with pytest.raises(InputError, match=r"no SAE with seed 0; there are seeds: \[4\]"):
        find_saes(tmp_path / "a", 0)
    (tmp_path / "a" / "l0_resid_post_seed4.safetensors").touch()
    with pytest.raises(InputError, match="one layer and seed"):
        find_saes(tmp_path / "a", 4)
    write_model(tmp_path / "b", np.arange(1, 11), [sp.csr_matrix((200, 6), dtype=np.float32)])
    with pytest.raises(InputError, match="dead SAE"):
        tables_of(tmp_path / "b", tmp_path / "b")
    nan = random_sparse(rng, 200, 6)
    nan.data[3] = np.nan
    write_model(tmp_path / "c", np.arange(1, 11), [nan])
    with pytest.raises(InputError, match="NaN or infinite"):
        tables_of(tmp_path / "c", tmp_path / "c")
