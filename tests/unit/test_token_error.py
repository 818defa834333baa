"""Spliced losses, and the statistics of per-token errors."""

import dataclasses

import numpy as np
import pytest
import torch
from stand_ins import HOOKS, Signs, intervals

from universality.core.errors import InputError
from universality.core.models import document_losses
from universality.core.splicing import (
    LinearDecoder,
    SplicedModel,
    encode,
)
from universality.studies.saes.evaluation import replaced_losses
from universality.studies.saes.study import neighbourhoods, token_error

# Splicing


def test_losses_are_those_of_each_token(spliced, bridge, tokens):
    bounds = tokens.bounds
    assert len(spliced.place) == len(tokens.ids) - 2 * tokens.n_documents
    for document in (0, 3):
        ids = torch.from_numpy(tokens.ids[bounds[document] : bounds[document + 1]].astype(np.int64))
        with torch.inference_mode():
            log_p = bridge(ids[None]).log_softmax(-1)[0]
        expected = -log_p[torch.arange(1, len(ids) - 1), ids[2:]].numpy()
        mine = spliced.documents == document
        np.testing.assert_allclose(spliced.clean[mine], expected, rtol=1e-4)
        assert np.array_equal(spliced.place[mine] - bounds[document], np.arange(1, len(ids) - 1))


def test_splicing_agrees_with_the_evaluation(spliced, bridge, tokens):
    x = spliced.activations[HOOKS[1]]
    np.testing.assert_allclose(spliced.losses(HOOKS[1], x), spliced.clean, rtol=1e-4, atol=1e-5)
    replaced = spliced.losses(HOOKS[1], -2 * x)
    clean, _ = document_losses(bridge, tokens, 100)
    # The evaluation also counts the prediction at BOS, which nothing changes.
    at_bos = clean - np.bincount(spliced.documents, weights=spliced.clean)
    expected = replaced_losses(bridge, tokens, HOOKS[1], lambda value: -2 * value, 100)
    np.testing.assert_allclose(
        np.bincount(spliced.documents, weights=replaced) + at_bos, expected, rtol=1e-4
    )
    assert np.abs(replaced - spliced.clean).max() > 0.01
    np.testing.assert_allclose(spliced.losses(), spliced.clean)  # the hooks are gone


def test_outcomes_at_both_ends(outcomes):
    x = outcomes.x
    perfect = outcomes.row(x, outcomes.losses(x))
    assert perfect["ce_loss_recovered"] == pytest.approx(1, abs=1e-3)
    assert perfect["explained_variance"] == pytest.approx(1)
    blind = outcomes.row(np.zeros_like(x), outcomes.zero)
    assert blind["ce_loss_recovered"] == pytest.approx(0)
    assert blind["mse"] == pytest.approx(np.square(x).sum(1).mean(), rel=1e-5)
    assert blind["ce_difference"] == pytest.approx((outcomes.zero - outcomes.model.clean).mean())


def test_intervals_resample_documents():
    documents = np.array([0, 0, 0, 1])
    found = intervals(documents).ratio("x", np.array([1.0, 2.0, 3.0, 10.0]))
    assert found == {"x": 4.0, "x_low": 2.0, "x_high": 10.0}
    ratio = intervals(documents).ratio("r", np.array([1, 1, 1, 4]), np.array([2, 2, 2, 8]))
    assert ratio == {"r": 0.5, "r_low": 0.5, "r_high": 0.5}


def test_too_short_a_text_is_one_line(bridge, tokens):
    with pytest.raises(InputError, match="too few"):
        SplicedModel(bridge, _cut(tokens, 4), HOOKS, 100)


def _cut(tokens, n):
    return dataclasses.replace(
        tokens, ids=tokens.ids[:n], special=tokens.special[:n], bounds=np.array([0, n]),
        documents=tokens.documents[:1],
    )  # fmt: skip


def test_linear_decoder_is_that_of_the_sae():
    class Offset(Signs):
        def decode(self, features):
            return super().decode(features) + 3

    sae, x = Offset(0.5), np.random.default_rng(0).normal(size=(10, 16)).astype(np.float32)
    decoder, features = LinearDecoder(sae), encode(sae, x, block=3)
    np.testing.assert_allclose(decoder.decode(features), 0.5 * x + 3, rtol=1e-5, atol=1e-5)
    assert features.nnz == x.size
    sae.cfg.normalize_activations = "layer_norm"
    with pytest.raises(InputError, match="layer_norm"):
        LinearDecoder(sae)


# Per-token statistics


def test_other_errors_keep_the_norm():
    rng = np.random.default_rng(0)
    error, documents = rng.normal(size=(400, 8)).astype(np.float32), np.repeat(np.arange(20), 20)
    norm = np.linalg.norm(error, axis=1)
    random = token_error.random_error(error, rng)
    np.testing.assert_allclose(np.linalg.norm(random, axis=1), norm, rtol=1e-5)
    cosine = (random * error).sum(1) / norm**2
    assert abs(cosine.mean()) < 0.06  # 0 +- 1 / sqrt(8 * 400)
    exchanged = token_error.exchanged_error(error, documents, rng)
    np.testing.assert_allclose(np.linalg.norm(exchanged, axis=1), norm, rtol=1e-5)
    cosines = (exchanged / norm[:, None]) @ (error / norm[:, None]).T
    giver = cosines.argmax(1)
    np.testing.assert_allclose(cosines.max(1), 1, rtol=1e-4)
    assert (documents[giver] != documents).all()


def test_correlation_finds_what_was_planted():
    rng = np.random.default_rng(1)
    documents = np.repeat(np.arange(50), 40)
    x = rng.normal(size=2000)
    y = 0.6 * x + 0.8 * rng.normal(size=2000)
    found = token_error.correlation(x, y, documents, 99, 200, rng)
    assert found["pearson"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found["pearson_low"] < 0.6 < found["pearson_high"]
    assert found["pearson_high"] - found["pearson_low"] < 0.12
    assert found["pearson_p"] == found["spearman_p"] == 0.01
    assert abs(found["spearman_null"]) < 0.02
    monotone = token_error.correlation(x, np.exp(3 * x), documents, 19, 100, rng)
    assert monotone["spearman"] == pytest.approx(1)
    assert monotone["pearson"] < 0.8
    none = token_error.correlation(x, rng.normal(size=2000), documents, 99, 100, rng)
    assert none["pearson"] < 2 * none["pearson_null_high"]
    assert none["pearson_p"] > 0.02
    assert token_error.correlation(x, np.ones(2000), documents, 19, 100, rng)["pearson"] == 0


def test_layers_are_paired_once():
    documents = np.repeat(np.arange(10), 10)
    x = np.random.default_rng(0).normal(size=100)
    rng = np.random.default_rng(0)
    table = token_error.layer_correlations({"a": x, "b": -x, "c": x}, documents, 19, 100, rng)
    assert list(zip(table["sae_a"], table["sae_b"], table["pearson"].round(6), strict=True)) == [
        ("a", "b", -1), ("a", "c", 1), ("b", "c", -1),
    ]  # fmt: skip
    assert token_error.layer_correlations({"a": x}, documents, 19, 100, rng).empty


def test_tail_share_by_hand():
    values = np.array([1.0, 4.0, 2.0, 3.0])
    shares = [token_error.tail_share(values, share)[0] for share in (0.25, 0.5, 0.3, 1)]
    assert shares == pytest.approx([0.4, 0.7, (4 + 0.2 * 3) / 10, 1])
    weights = np.array([[0, 1, 0, 3], [4, 0, 0, 0], [1, 1, 1, 1]])
    found = token_error.tail_share(values, 0.25, weights)
    np.testing.assert_allclose(found, [4 / 13, 0.25, 0.4])
    assert token_error.tail_share(np.zeros(3), 0.5)[0] == 0


def test_tails_of_known_distributions():
    rng, documents = np.random.default_rng(0), np.repeat(np.arange(100), 100)
    table = token_error.tails(rng.normal(1, 3, 10_000), documents, [0.01, 0.05], 100, rng)
    absolute = table.query("part == 'absolute'")
    np.testing.assert_allclose(absolute["carried"], absolute["carried_normal"], rtol=0.03)
    low, carried, high = (table[f"carried{end}"].to_numpy() for end in ("_low", "", "_high"))
    assert ((low < carried) & (carried < high)).all()
    laplace = token_error.tails(rng.laplace(0, 2, 10_000), documents, [0.01], 100, rng)
    np.testing.assert_allclose(laplace["carried"], laplace["carried_laplace"], rtol=0.06)
    # Of a Laplace distribution, the worst share q carries q (1 + log(1 / q)).
    expected = 0.01 * (1 + np.log(100))
    np.testing.assert_allclose(laplace["carried_laplace"].iloc[0], expected, rtol=0.02)
    long = token_error.tails(rng.standard_t(2, 10_000), documents, [0.01], 100, rng)
    assert (long["carried_low"].to_numpy() > long["carried_laplace"].to_numpy()).all()


def test_quantiles_of_a_normal_are_the_reference():
    difference = np.random.default_rng(0).normal(5, 2, 100_000)
    table = token_error.quantile_table(difference)
    np.testing.assert_allclose(table["z"], table["normal"], atol=0.1)
    np.testing.assert_allclose(table["ce_difference"], 5 + 2 * table["z"], atol=0.05)
    assert table["laplace"].iloc[-1] > table["normal"].iloc[-1]


def test_neighbours_lie_in_other_documents():
    documents = np.repeat([0, 1, 2], 30)
    x = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
    found = neighbourhoods.nearest_neighbours(x, documents, 4)
    assert (documents[found] != documents[:, None]).all()
    rows = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = np.where(documents != documents[7], rows @ rows[7], -2)
    assert set(found[7]) == set(np.argsort(-cosine)[:4])
    with pytest.raises(ValueError, match="fewer than 61"):
        neighbourhoods.nearest_neighbours(x, documents, 61)


def test_moran_i_of_planted_values():
    rng, documents = np.random.default_rng(0), np.tile(np.arange(30), 10)
    angle = rng.uniform(0, 2 * np.pi, 300)
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    found = neighbourhoods.nearest_neighbours(x, documents, 5)

    def agreement(values):
        return neighbourhoods.neighbour_agreement(
            found, values, intervals(documents), 99, np.random.default_rng(1)
        )

    smooth, noise = agreement(np.cos(angle)), agreement(rng.normal(size=300))
    assert smooth["moran_i"] > 0.98
    assert smooth["moran_i_p"] == 0.01
    assert abs(smooth["moran_i_null"]) < 0.03
    assert abs(noise["moran_i"]) < 0.15
    assert noise["moran_i_p"] > 0.02
    # Two tokens that are each other's only neighbour: sum z m / sum z^2 by hand.
    pair = neighbourhoods.neighbour_agreement(
        np.array([[1], [0], [3], [2]]), np.array([1.0, 3.0, -1.0, -3.0]),
        intervals(np.arange(4)), 19, rng,
    )  # fmt: skip
    assert pair["moran_i"] == pytest.approx((3 + 3 + 3 + 3) / 20)
    with pytest.raises(ValueError, match="equal"):
        agreement(np.ones(300))
