import numpy as np
import pytest
import scipy.sparse as sp
import torch

from universality.studies.saes.study.neurons import unit
from universality.studies.saes.study.widths import (
    Dictionary,
    best_match,
    insert,
    insertion,
    insertion_effects,
    paths,
    splitting,
    stitched,
    swap,
)


class Linear:
    """An SAE whose features are the positive parts of projections on its unit decoder rows."""

    class cfg:
        normalize_activations = "none"

    def __init__(self, rows, offset=0.0):
        self.rows = torch.from_numpy(np.asarray(rows, dtype=np.float32))
        self.offset, self.cfg = offset, type("cfg", (self.cfg,), {"d_sae": len(rows)})

    def encode(self, x):
        return ((x - self.offset) @ self.rows.T).relu()

    def decode(self, features):
        return features @ self.rows + self.offset


def _between(a, b, cosine, d=64):
    """A unit vector with the given cosine with axis `a`, the rest along axis `b`."""
    row = np.zeros(d)
    row[a], row[b] = cosine, (1 - cosine**2) ** 0.5
    return row


def test_best_match_by_hand():
    wide = np.array([[2.0, 0], [0, 3], [-1, 0], [1, 1.1]])
    best, cosine = best_match(wide, np.array([[0, 0.5], [4.0, 0]]))
    assert best.tolist() == [1, 0, 0, 0]
    np.testing.assert_allclose(cosine, [1, 1, 0, 1.1 / 2.21**0.5])


def test_planted_splitting(rng):
    """Of 40 narrow features 20 are kept, 10 split in two, 10 lost; 5 wide features are novel."""
    narrow = np.eye(64)[:40]
    kept = [5 * narrow[i] for i in range(20)]
    children = [_between(i, 50 + side, 0.8) for i in range(20, 30) for side in (0, 1)]
    novel = [_between(35, 55 + i, 0.6) for i in range(5)]
    found = splitting(np.array(kept + children + novel), narrow, 0.7, rng)
    assert (found["n_wide"], found["n_narrow"]) == (45, 40)
    assert found["found"] == pytest.approx(40 / 45)
    assert found["found_low"] < found["found"] < found["found_high"]
    assert (found["kept"], found["split"], found["lost"]) == (0.5, 0.25, 0.25)
    assert found["cosine"] == pytest.approx(0.8)
    assert found["found_null"] < 0.1
    assert found["cosine_null"] < 0.6


def test_insertion_effects_are_those_of_inserting(rng):
    residual = rng.normal(size=(30, 5)).astype(np.float32)
    features = rng.random((30, 8)) * (rng.random((30, 8)) < 0.3)
    rows = rng.normal(size=(8, 5)).astype(np.float32)
    expected = [
        np.square(residual - np.outer(f, row)).sum(1).mean() - np.square(residual).sum(1).mean()
        for f, row in zip(features.T, rows, strict=True)
    ]
    found = insertion_effects(residual, sp.csr_matrix(features), rows)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def _sparse_activations(rng, n=400, d=24):
    return (rng.random((n, d)) * (rng.random((n, d)) < 0.15)).astype(np.float32)


def test_novel_features_help_and_those_found_again_harm(rng):
    x = _sparse_activations(rng)
    narrow, wide = Dictionary(Linear(np.eye(24)[:16]), x), Dictionary(Linear(np.eye(24)), x)
    found = insertion(narrow, wide, x, 0.7, rng)
    assert (found["n_novel"], found["n_found"]) == (8, 16)
    assert found["novel_helps"] == 1
    assert found["found_helps"] == 0
    assert found["novel_helps_null"] < 0.5  # at shuffled positions it mostly harms
    assert found["rank_correlation"] > 0.5
    assert found["rank_p"] < 1e-3


def test_features_that_never_fire_are_left_out(rng):
    x = np.abs(_sparse_activations(rng))
    rows = np.concatenate([np.eye(24), -np.eye(24)[:5]])  # negative ones cannot fire here
    wide = Dictionary(Linear(rows), x)
    assert wide.fires.tolist() == [True] * 24 + [False] * 5
    narrow = Dictionary(Linear(rows[[0, 24, 25]]), x)
    assert narrow.fires.tolist() == [True, False, False]
    found = insertion(narrow, wide, x, 0.7, rng)
    assert (found["n_novel"], found["n_found"]) == (23, 1)


def test_a_group_comes_when_its_narrow_feature_goes(rng):
    best = np.array([0, 0, 3, 1, 3, 3])
    path = swap(best, 5, 6, rng)
    assert sorted(path.leaves) == [1, 2, 3, 4, 5]  # one narrow feature a point
    for point in range(6):
        keep, come = path.kept(point)
        assert keep.sum() == 5 - point
        assert np.array_equal(come, ~keep[best])
    even = swap(rng.integers(100, size=300), 100, 5, rng)
    assert np.bincount(even.leaves).tolist() == [0, 25, 25, 25, 25]


def test_insertion_takes_nothing_away(rng):
    members = np.array([True, False, True, True])
    path = insert(members, 7, 4, rng)
    assert [path.kept(point)[1].sum() for point in range(4)] == [0, 1, 2, 3]
    assert np.array_equal(path.kept(3)[1], members)
    assert path.kept(3)[0].all()
    empty = insert(np.zeros(4, dtype=bool), 7, 4, rng)
    assert not empty.kept(3)[1].any()


def test_paths_are_those_of_the_seed_and_the_null_has_groups_of_the_same_sizes(rng):
    best, cosine = rng.integers(20, size=50), rng.random(50)
    ways, again, other = (paths(best, cosine, 20, 6, 0.7, seed) for seed in (3, 3, 4))
    for name, path in ways.items():
        assert np.array_equal(path.arrives, again[name].arrives)
        assert not np.array_equal(path.arrives, other[name].arrives)
    assert np.array_equal(ways["swap"].leaves, ways["swap_null"].leaves)
    assert np.array_equal(
        np.sort(ways["swap"].arrives), np.sort(ways["swap_null"].arrives)
    )  # fmt: skip
    assert not np.array_equal(ways["swap"].arrives, ways["swap_null"].arrives)
    novel, found = (ways[f"insert_{name}"].kept(5)[1] for name in ("novel", "found"))
    assert np.array_equal(novel, cosine <= 0.7)
    assert np.array_equal(found, cosine > 0.7)


def _end(sae, x):
    with torch.inference_mode():
        return sae.decode(sae.encode(torch.from_numpy(x))).numpy()


def test_both_ends_of_a_stitching_are_the_saes(rng):
    x = _sparse_activations(rng)
    saes = Linear(np.eye(24)[:6], 0.25), Linear(unit(rng.normal(size=(12, 24))), -0.5)
    narrow, wide = (Dictionary(sae, x) for sae in saes)
    path = swap(rng.integers(6, size=12), 6, 4, rng)
    sides = (narrow.decoder, narrow.features), (wide.decoder, wide.features)
    start, first = stitched(path, 0, *sides)
    end, last = stitched(path, 3, *sides)
    np.testing.assert_allclose(start, _end(saes[0], x), atol=1e-5)
    np.testing.assert_allclose(end, _end(saes[1], x), atol=1e-5)
    assert (first["n_narrow"], first["n_wide"]) == (6, 0)
    assert (last["n_narrow"], last["n_wide"]) == (0, 12)
    assert first["l0"] == pytest.approx(narrow.features.nnz / 400)
    middle, _ = stitched(path, 1, *sides)
    keep, come = path.kept(1)
    expected = narrow.features.toarray()[:, keep] @ narrow.decoder.rows[keep]
    expected = expected + wide.features.toarray()[:, come] @ wide.decoder.rows[come]
    offset = 0.25 * keep.mean() - 0.5 * (1 - keep.mean())
    np.testing.assert_allclose(middle, expected + offset, atol=1e-5)


def test_swapping_groups_beats_swapping_at_random(rng):
    """The wide SAE is the narrow one, shuffled and slightly turned: groups cost nothing."""
    x = _sparse_activations(rng)
    order = rng.permutation(24)
    rows = unit(np.eye(24)[order] + 0.02 * rng.normal(size=(24, 24)))
    narrow, wide = Dictionary(Linear(np.eye(24)), x), Dictionary(Linear(rows), x)
    best, cosine = best_match(wide.decoder.rows, narrow.decoder.rows)
    assert np.array_equal(best, order)
    ways = paths(best, cosine, 24, 5, 0.7, 0)
    sides = (narrow.decoder, narrow.features), (wide.decoder, wide.features)
    error = {
        name: np.square(x - stitched(ways[name], 2, *sides)[0]).sum() / np.square(x).sum()
        for name in ways
    }
    assert error["swap"] < 0.05 < 0.3 < error["swap_null"]
    assert error["insert_found"] > 0.2
    assert error["insert_novel"] == pytest.approx(0, abs=1e-9)  # there is none
