"""Norms of reconstructions, fitted scales, residual SAEs and orthogonality."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from stand_ins import Signs, intervals

from universality.core.splicing import LinearDecoder
from universality.studies.saes.evaluation import Reconstruction
from universality.studies.saes.study import remedies, scales

# Norms and scales


def test_norm_ratio_by_hand_and_of_a_projection():
    x = np.array([[3.0, 4.0], [0.0, 2.0]], dtype=np.float32)
    shrunk = 0.5 * x
    ratio, found = scales.norm_ratios(x, shrunk, intervals(np.arange(2)))
    np.testing.assert_allclose(ratio, 0.5)
    assert found["norm_ratio_null"] == pytest.approx(np.sqrt(0.75))
    assert found["norm_below_1"] == 1
    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    projected = x * np.array([1, 1, 1, 0, 0, 0], dtype=np.float32)
    _, found = scales.norm_ratios(x, projected, intervals(np.arange(50)))
    assert found["norm_ratio"] == pytest.approx(found["norm_ratio_null"], rel=1e-5)


class Plain:
    """A decoder with given rows and offset."""

    def __init__(self, rows, offset):
        self.rows, self.offset = rows.astype(np.float32), offset


def test_fit_recovers_planted_scales():
    rng = np.random.default_rng(0)
    rows, offset = rng.normal(size=(30, 12)), rng.normal(size=12)
    dense = rng.gamma(2, size=(500, 30)) * (rng.random((500, 30)) < 0.2)
    dense[:, 7] = 0
    features, truth = sp.csr_matrix(dense), rng.uniform(0.5, 2, 30)
    x = (dense * truth) @ rows + offset
    decoder: LinearDecoder = Plain(rows, offset)  # pyright: ignore[reportAssignmentType]
    documents = np.repeat(np.arange(50), 10)
    found = scales.fit_scales(x, features, decoder, 1e-9, intervals(documents))
    alive = np.arange(30) != 7
    np.testing.assert_allclose(found.per_feature[alive], truth[alive], rtol=1e-4)
    assert found.per_feature[7] == pytest.approx(1)
    assert found.count[7] == 0
    assert found.count[3] == np.count_nonzero(dense[:, 3])
    held = scales.fit_scales(x, features, decoder, 1e9, intervals(documents))
    np.testing.assert_allclose(held.per_feature, 1, atol=1e-4)
    uniform = scales.fit_scales(
        1.3 * dense @ rows + offset, features, decoder, 1, intervals(documents)
    )
    assert uniform.one["global_scale"] == pytest.approx(1.3, rel=1e-5)
    mean = scales.mean_scale(found, 100, rng)
    weight = found.count / found.count.sum()
    assert mean["mean_scale"] == pytest.approx(weight @ found.per_feature)
    assert mean["mean_scale_low"] < mean["mean_scale"] < mean["mean_scale_high"]


def test_fit_minimises_the_penalised_error():
    rng = np.random.default_rng(1)
    rows, features = rng.normal(size=(6, 4)), sp.csr_matrix(rng.gamma(1, size=(40, 6)))
    x = rng.normal(size=(40, 4))
    decoder: LinearDecoder = Plain(rows, np.zeros(4))  # pyright: ignore[reportAssignmentType]
    best = scales.fit_scales(x, features, decoder, 5, intervals(np.arange(40))).per_feature
    rows = decoder.rows.astype(np.float64)
    contribution = np.square(features.toarray()) * np.square(rows).sum(1)
    pull = 5 * contribution.sum() / features.nnz

    def objective(s):
        error = x - np.asarray(features @ (s[:, None] * rows))
        return np.square(error).sum() + pull * np.square(s - 1).sum()

    lowest = objective(best)
    for _ in range(50):
        assert objective(best + 0.01 * rng.normal(size=6)) > lowest


def test_scaled_columns():
    features = sp.csr_matrix(np.array([[1.0, 0, 2], [0, 3, 0]]))
    found = scales.scaled(features, np.array([2.0, 10, 0.5])).toarray()
    assert found.tolist() == [[2, 0, 1], [0, 30, 0]]
    assert scales.scaled(features, 2.0).toarray().tolist() == [[2, 0, 4], [0, 6, 0]]
    assert features.toarray()[0, 0] == 1


# Remedies


def test_residual_pair_adds_both_reconstructions():
    first, second = Signs(0.6), Signs(0.5)
    pair = remedies.ResidualPair(first, second)
    x = torch.randn(7, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pair.reconstruct(x), (0.6 + 0.4 * 0.5) * x)
    assert pair.encode(x).shape == (7, pair.cfg.d_sae) == (7, 64)
    sums = Reconstruction(pair, 1)  # the evaluation takes it for an SAE
    sums.add(np.zeros(7, dtype=np.int64), x)
    assert sums.residual.sum() == pytest.approx(float((0.2 * x).square().sum()), rel=1e-5)
    assert sums.active.sum() == 7 * 32
    second.cfg.d_in = 8
    with pytest.raises(ValueError, match="16 and 8"):
        remedies.ResidualPair(first, second)


def test_orthogonality_of_known_decoders():
    rng = np.random.default_rng(0)
    null = remedies.random_cosines((200, 50), 19, rng)
    assert null[:, 0].mean() == pytest.approx(1 / 50, rel=0.02)
    random = remedies.decoder_orthogonality(rng.normal(size=(200, 50)), null, 100, rng)
    assert random["mean_squared_cosine"] == pytest.approx(1 / 50, rel=0.05)
    assert random["mean_max_cosine"] == pytest.approx(random["mean_max_cosine_null"], rel=0.05)
    basis = remedies.decoder_orthogonality(3 * np.eye(50), null, 100, rng)
    assert basis["mean_squared_cosine"] == basis["mean_max_cosine"] == 0
    assert basis["mean_max_cosine"] < basis["mean_max_cosine_null_low"]
    rows = rng.normal(size=(100, 50))
    doubled = remedies.decoder_orthogonality(np.concatenate([rows, 2 * rows]), null, 100, rng)
    assert doubled["mean_max_cosine"] == pytest.approx(1)
    assert doubled["mean_max_cosine"] > doubled["mean_max_cosine_null_high"]
    assert doubled["mean_squared_cosine"] == pytest.approx((1 + 198 / 50) / 199, rel=0.05)
