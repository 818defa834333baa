import dataclasses

import numpy as np
import pytest
import scipy.stats

from universality.studies.matching import labels
from universality.studies.matching.agreement.weights import (
    Weights,
    activation_table,
    cosines,
    match_weights,
    paired_cosines,
    rank_correlation,
    weight_pairings,
    weight_table,
)
from universality.studies.matching.tables import POOLED


def random_weights(rng, d, d_in):
    return Weights(rng.normal(size=(d, d_in)), rng.normal(size=(d, d_in)))


def pairs_of(pairing):
    return list(zip(pairing.a.tolist(), pairing.b.tolist(), strict=True))


def test_cosines_by_hand_do_not_depend_on_norms():
    a = Weights(np.array([[3.0, 0.0]]), np.array([[0.0, 2.0]]))
    b = Weights(np.array([[1.0, 1.0], [-5.0, 0.0]]), np.array([[0.0, 1.0], [4.0, 0.0]]))
    found = cosines(a, b)
    np.testing.assert_allclose(found["encoder"], [[np.sqrt(0.5), -1]])
    np.testing.assert_allclose(found["decoder"], [[1, 0]])
    np.testing.assert_allclose(found["mean"], [[(1 + np.sqrt(0.5)) / 2, -0.5]])
    paired = paired_cosines(a, Weights(b.encoder[:1], b.decoder[:1]))
    for measure, values in paired.items():
        np.testing.assert_allclose(values, found[measure][:, 0])


def test_one_permutation_of_coordinates_keeps_the_inner_geometry():
    rng = np.random.default_rng(0)
    one = random_weights(rng, 6, 20)
    other = one.permuted(rng.permutation(20))
    for matrix, moved in ((one.encoder, other.encoder), (one.decoder, other.decoder)):
        np.testing.assert_allclose(matrix @ matrix.T, moved @ moved.T)
    assert np.abs(np.diag(cosines(one, other)["mean"])).max() < 0.9


def test_pairings_by_hand():
    decoder = np.array([[0.9, 0.8, 0.1], [0.95, 0.2, 0.3], [0.1, 0.4, 0.2]])
    encoder = np.array([[0.9, 0.1, 0.2], [0.1, 0.3, 0.8], [0.2, 0.7, 0.1]])
    found = weight_pairings(
        {"decoder": decoder, "encoder": encoder, "mean": (decoder + encoder) / 2}
    )
    assert pairs_of(found["a_to_b"]) == [(0, 0), (1, 0), (2, 1)]
    assert pairs_of(found["b_to_a"]) == [(0, 1), (1, 0), (1, 2)]
    assert pairs_of(found["mutual"]) == [(1, 0)]
    assert pairs_of(found["hungarian_decoder"]) == [(0, 1), (1, 0), (2, 2)]
    assert pairs_of(found["hungarian_encoder"]) == [(0, 0), (1, 2), (2, 1)]
    # .9 + .55 + .55, more than with any other choice
    assert pairs_of(found["hungarian_mean"]) == [(0, 0), (1, 2), (2, 1)]
    np.testing.assert_allclose(found["hungarian_mean"].score, [0.9, 0.55, 0.55])
    assert pairs_of(found["hungarian_both"]) == []
    same = weight_pairings({"decoder": decoder, "encoder": decoder, "mean": decoder})
    assert pairs_of(same["hungarian_both"]) == pairs_of(same["hungarian_decoder"])


def planted(rng, d=60, d_in=80, found=40, noise=0.3):
    """Return A, and B: A's first `found` features in another order with noise, and others."""
    a, b = random_weights(rng, d, d_in), random_weights(rng, d, d_in)
    order = rng.permutation(d)
    partner = np.argsort(order)
    for one, other in ((a.encoder, b.encoder), (a.decoder, b.decoder)):
        kept = one[:found] + noise * rng.normal(size=(found, d_in))
        other[partner[:found]] = kept
    return a, b, partner


def test_planted_features_are_found_by_every_pairing_and_not_under_the_null():
    rng = np.random.default_rng(1)
    a, b, partner = planted(rng)
    r = np.where(np.arange(60) < 40, 0.9, 0.1) + 0.01 * rng.random(60)
    match = match_weights(2, a, b, r, partner, 19, rng)
    both = [match, dataclasses.replace(match, layer=3)]
    table = weight_table(both, 0.7).set_index(["layer", "pairing", "measure"])
    assert set(table.index.get_level_values("pairing")) == set(labels.BY_WEIGHTS)
    for pairing in ("a_to_b", "b_to_a", "mutual", "hungarian_decoder", "hungarian_both"):
        row = table.loc[(2, pairing, "mean")]
        assert row["share_above"] == pytest.approx(40 / 60)
        assert row["share_above_low"] < 40 / 60 < row["share_above_high"]
        assert row["share_above_null"] == 0
        assert row["share_above_null_high"] == 0
    assert table.loc[(2, "hungarian_mean", "decoder"), "n_pairs"] == 60
    assert table.loc[(2, "mutual", "decoder"), "n_pairs"] < 60
    paired = table.loc[(2, "hungarian_decoder", "decoder")]
    assert 0.6 < paired["mean_cosine"] < 0.9  # 40 of 60 at about .96
    assert paired["mean_cosine_low"] < paired["mean_cosine"] < paired["mean_cosine_high"]
    assert paired["mean_cosine_low"] > paired["mean_cosine_null_high"]
    assert table.loc[(2, "hungarian_mean", "mean"), "median_cosine_null"] < 0.4
    pooled = table.loc[(POOLED, "hungarian_both", "mean")]
    assert pooled["n"] == 120
    assert pooled["share_above"] == pytest.approx(40 / 60)
    row = activation_table([match]).iloc[0]
    assert row["nearest_agrees"] >= 40 / 60
    assert row["nearest_agrees_null"] < 0.1
    assert row["rank_r_decoder"] > 0.6 > 0.3 > row["rank_r_decoder_null"]
    assert row["median_decoder_cosine"] > 0.9 > 0.3 > row["median_decoder_cosine_null"]


def test_partners_by_activation_are_judged_wherever_weights_point():
    rng = np.random.default_rng(2)
    a, b, partner = planted(rng)
    wrong = np.roll(partner, 1)
    match = match_weights(0, a, b, np.ones(60), wrong, 2, rng)
    assert not match.agrees[:40].any()
    expected = paired_cosines(a, Weights(b.encoder[wrong], b.decoder[wrong]))
    for measure, values in match.partner.items():
        np.testing.assert_allclose(values, expected[measure])


def test_the_share_counts_what_has_no_partner():
    rng = np.random.default_rng(3)
    a, b, partner = planted(rng)
    few = Weights(b.encoder[partner[:20]], b.decoder[partner[:20]])
    match = match_weights(0, a, few, np.ones(60), np.zeros(60, dtype=int), 1, rng)
    table = weight_table([match], 0.7).set_index(["layer", "pairing", "measure"])
    assert table.loc[(0, "hungarian_mean", "mean"), "n_pairs"] == 20
    assert table.loc[(0, "hungarian_mean", "mean"), "share_above"] == pytest.approx(20 / 60)
    assert table.loc[(0, "b_to_a", "mean"), "share_above"] == 1


def test_rank_correlation_is_spearmans_and_its_interval_covers():
    rng = np.random.default_rng(4)
    x = rng.normal(size=50).round(1)  # with ties
    y = x + rng.normal(size=50)
    expected: float = scipy.stats.spearmanr(x, y).statistic  # pyright: ignore
    assert rank_correlation("rho", x, y)["rho"] == pytest.approx(expected)
    assert rank_correlation("rho", np.ones(50), y)["rho"] == 0
    truth, hits = 6 / np.pi * np.arcsin(0.6 / 2), 0  # Spearman's of a bivariate normal, r = .6
    for _ in range(300):
        x, other = rng.normal(size=(2, 60))
        row = rank_correlation("rho", x, 0.6 * x + 0.8 * other)
        hits += row["rho_low"] <= truth <= row["rho_high"]
    assert 0.9 <= hits / 300 <= 0.99
