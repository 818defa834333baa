import numpy as np
import pytest
import torch
from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from stand_ins import Signs

from universality.core.corpora import load_tokenizer
from universality.core.features import (
    first_token_features,
    position_table,
    sparse_features,
    write_features,
)
from universality.core.io import read_sparse
from universality.core.models import document_losses
from universality.studies.saes.evaluation import judge_hook, reconstruct, replaced_losses
from universality.studies.saes.params.saes import SaeEvaluation

HOOK = "blocks.0.hook_mlp_out"


class Blind(Signs):
    """An "SAE" whose features never fire: the zero ablation."""

    def encode(self, x):
        return torch.zeros(*x.shape[:-1], 32)


def test_oracle_and_blind_sae_are_the_ends_of_the_scale(bridge, tokens):
    params = SaeEvaluation(n_documents=5, batch_tokens=100, n_bootstrap=100, seed=0)
    sums = reconstruct(bridge, tokens, {HOOK: [Signs(), Blind()]}, 100)[HOOK]
    clean = document_losses(bridge, tokens, 100)
    oracle, blind = judge_hook(bridge, tokens, HOOK, sums, clean, params)
    assert oracle["explained_variance"] == pytest.approx(1)
    assert oracle["ce_loss_recovered"] == pytest.approx(1, abs=1e-4)
    assert oracle["ce_difference"] == pytest.approx(0, abs=1e-5)
    assert oracle["l0"] == pytest.approx(16)
    assert blind["ce_loss_recovered"] == pytest.approx(0, abs=1e-4)
    assert blind["ce_with_sae"] == pytest.approx(blind["ce_zero"])
    assert abs(blind["ce_zero"] - blind["ce"]) > 0.01
    assert blind["dead_fraction"] == 1
    assert blind["explained_variance"] < 0.1
    assert oracle["ce_low"] < oracle["ce"] < oracle["ce_high"]


def test_reconstruction_sums_against_the_plain_formulas(bridge, tokens, tiny_model):
    config = TopKTrainingSAEConfig(d_in=16, d_sae=32, k=4, device="cpu")
    sae = TopKTrainingSAE(config).eval()
    one = reconstruct(bridge, tokens, {HOOK: [sae]}, 64)[HOOK][0]
    rows = []
    for index in range(tokens.n_documents):
        ids = tokens.ids[tokens.bounds[index] : tokens.bounds[index + 1]].astype(np.int64)
        with torch.inference_mode():
            rows.append(bridge.run_with_cache(torch.from_numpy(ids)[None])[1][HOOK][0, 1:])
    x = torch.cat(rows)
    with torch.inference_mode():
        features = sae.encode(x)
        residual = (sae.decode(features) - x).square().sum()
    total = (x - x.mean(0)).square().sum()
    assert one.residual.sum() / one.variance.sum() == pytest.approx(float(residual / total), 1e-4)
    np.testing.assert_allclose(one.density, (features > 0).float().mean(0), atol=1e-6)
    assert one.count.sum() == len(x)
    np.testing.assert_allclose(one.mean, x.mean(0), rtol=1e-4, atol=1e-5)


def test_bos_is_left_alone_and_hooks_are_removed(bridge, tokens):
    before = document_losses(bridge, tokens, 100)[0]
    seen = []

    def change(value):
        seen.append(value)
        return value + 100

    changed = replaced_losses(bridge, tokens.first(1), HOOK, change, 100)
    assert changed[0] != pytest.approx(before[0])
    assert np.array_equal(before, document_losses(bridge, tokens, 100)[0])
    # a document of BOS and one token: the only prediction is made at BOS, which is not replaced
    import dataclasses

    two = dataclasses.replace(tokens.first(1), ids=tokens.ids[:2], bounds=np.array([0, 2]))
    assert replaced_losses(bridge, two, HOOK, change, 100)[0] == pytest.approx(
        document_losses(bridge, two, 100)[0][0], rel=1e-6
    )


def test_features_round_trip_in_document_order(bridge, tokens, tiny_model, tmp_path):
    place, matrices = sparse_features(bridge, tokens, {"l0": (HOOK, Signs())}, 64, True)
    table = position_table(tokens, place, load_tokenizer(tiny_model)[0])
    bos = first_token_features(bridge, tokens, {"l0": (HOOK, Signs())})
    write_features(tmp_path, table, matrices, bos)
    stored = read_sparse(tmp_path / "l0.safetensors")
    assert stored.shape == (len(table), 32)
    assert np.array_equal(place, np.flatnonzero(~tokens.special))
    assert table.groupby("document")["position"].is_monotonic_increasing.all()
    row = int(np.flatnonzero(table["document"] == tokens.documents[2])[4])
    ids = tokens.ids[tokens.bounds[2] : tokens.bounds[3]].astype(np.int64)
    with torch.inference_mode():
        x = bridge.run_with_cache(torch.from_numpy(ids)[None])[1][HOOK]
        expected = Signs().encode(x)[0, 5].numpy()
        at_bos = Signs().encode(x)[0, :1].numpy()
    np.testing.assert_allclose(stored[row].toarray()[0], expected, rtol=1e-3, atol=1e-4)
    of_bos = read_sparse(tmp_path / "bos" / "l0.safetensors").toarray()
    np.testing.assert_allclose(of_bos, at_bos, rtol=1e-3, atol=1e-4)
