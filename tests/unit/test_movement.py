"""Positions before and after steering: how far they go, and what maps keep of them."""

import numpy as np
import pytest
from stand_ins import Signs

import parameter_sets
from universality.core.errors import InputError
from universality.core.maps import umap_map, umap_onto
from universality.core.params.base import load_section
from universality.studies.spaces.params.feature_maps import Maps
from universality.studies.steering import movement_study
from universality.studies.steering.contrasts import ContrastTokens
from universality.studies.steering.effects import Task
from universality.studies.steering.movement import (
    direction,
    ground,
    judged,
    principal_plane,
    travel,
)
from universality.studies.steering.params.steering import SteeredMap, Steering

HOOK = "blocks.0.hook_resid_post"
ONCE = np.ones((1, 6))


@pytest.fixture
def places(rng):
    """Positions of 6 documents in 5 dimensions."""
    return rng.normal(size=(6, 4, 5))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_what_does_not_move_keeps_its_neighbours(places, metric):
    before = ground(places, metric, 3)
    found = travel(before, places.copy(), ONCE)
    assert found["moved"].item() == 0
    assert found["kept"].item() == 1
    plane = principal_plane(places.reshape(-1, 5))
    assert all(np.isnan(value).all() for value in direction(places, places, plane, ONCE).values())


def test_length_is_in_units_of_the_distance_between_documents(places):
    shift = np.array([3.0, 0, 0, 4, 0])
    before = ground(places, "euclidean", 3)
    twice = np.array([[2.0, 1, 0, 1, 1, 1]])
    found = travel(before, places + shift, np.vstack([ONCE, twice]))
    for kept, value in (
        ([0, 1, 2, 3, 4, 5], found["moved"][0]),
        ([0, 0, 1, 3, 4, 5], found["moved"][1]),
    ):
        distances = [
            np.linalg.norm(x - y)
            for i in kept for j in kept if i != j for x in places[i] for y in places[j]
        ]  # fmt: skip
        assert value == pytest.approx(5 / np.mean(distances))


def test_neighbours_kept_are_counted_without_the_position_itself():
    line = np.array([0.0, 1, 2, 10, 11, 12])[:, None, None]
    before = ground(line, "euclidean", 2)
    assert travel(before, line + 0.1, ONCE)["kept"].item() == 1
    moved = line.copy()
    moved[0] = 11.2  # among the others now; its own two were 1 and 2
    assert travel(before, moved, ONCE)["kept"].item() == pytest.approx(5 / 6)
    moved[0] = 6  # 2 and 10 are nearest
    assert travel(before, moved, ONCE)["kept"].item() == pytest.approx(5.5 / 6)


def test_a_constant_is_a_translation_and_the_plane_has_its_share(places, rng):
    wide = places * [9, 5, 1, 1, 1]
    plane = principal_plane(wide.reshape(-1, 5))
    centred = wide.reshape(-1, 5) - wide.mean((0, 1))
    variance = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    assert plane.share == pytest.approx(variance[:2].sum() / variance.sum())
    assert np.square(plane.put(wide)).sum() == pytest.approx(variance[:2].sum())
    inside = plane.axes @ [2.0, -1]
    found = direction(wide, wide + inside, plane, ONCE)
    assert found["common"].item() == pytest.approx(1)
    assert found["plane"].item() == pytest.approx(1)
    across = np.linalg.svd(plane.axes)[0][:, 4]
    found = direction(wide, wide + across, plane, ONCE)
    assert found["plane"].item() == pytest.approx(0, abs=1e-12)
    sides = rng.permutation(np.repeat([-1.0, 1], 12)).reshape(6, 4, 1)
    assert direction(wide, wide + sides * across, plane, ONCE)["common"].item() < 1e-12


def test_few_neighbours_kept_is_as_much_as_far_moved():
    own = {name: np.array([0.5, 0.4, 0.6]) for name in ("moved_umap", "kept_umap")}
    random = [dict.fromkeys(own, value) for value in (0.6, 0.7, 0.8)]
    row = judged(own, random)
    assert (row["kept_umap_null_low"], row["kept_umap_null_high"]) == (0.6, 0.8)
    assert row["kept_umap_low"] == pytest.approx(0.405)
    nothing = judged({"common": np.full(3, np.nan)}, [{"common": 0.1}])
    assert np.isnan([nothing["common"], nothing["common_low"]]).all()


def test_resamples_of_one_document_say_nothing(places):
    alone = np.array([[6.0, 0, 0, 0, 0, 0]])
    found = travel(ground(places, "cosine", 3), places + 1, np.vstack([ONCE, alone]))
    assert np.isnan(found["moved"]).tolist() == [False, True]
    row = judged({"moved": found["moved"][[0, 0, 1]]}, [{"moved": 1.0, "kept": 1.0}])
    assert row["moved_low"] == row["moved_high"] == row["moved"]


def test_new_rows_come_to_lie_among_those_they_are_like(rng):
    centres = np.eye(3) * 20
    x = np.concatenate([rng.normal(size=(20, 3)) + centre for centre in centres])
    moved = x.copy()
    moved[0] = x[25] + 0.1
    flat, again, after = umap_onto(x, [x, moved], 8, 0.1, 3, 60)
    np.testing.assert_array_equal(flat, umap_map(x, 8, 0.1, 3, n_epochs=60))
    assert not np.array_equal(flat, again)  # it is placed anew, not looked up
    middles = flat.reshape(3, 20, 2).mean(axis=1)
    nearest = np.linalg.norm(after[:, None] - middles, axis=-1).argmin(axis=1)
    assert nearest.tolist() == [1, *[0] * 19, *[1] * 20, *[2] * 20]
    for one, other in zip(umap_onto(x, [x, moved], 8, 0.1, 3, 60), (flat, again, after),
                          strict=True):  # fmt: skip
        np.testing.assert_array_equal(one, other)


SETTINGS = load_section(parameter_sets.file("smoke"), Maps, "maps")
SECTION = SteeredMap(
    contrasts=["one"], layers=[0], site="hook_mlp_out", multiplier=3, saes="saes/tiny", prefix="",
    sae_seed=0, seen=["blocks.1.hook_resid_post"], n_random=2, n_documents=5, n_tokens=8,
    n_prompt=3, n_near=3,
)  # fmt: skip
SHARED = Steering(method="mean", where="after_prompt", batch_rows=8, n_bootstrap=100, seed=0)


def _study(bridge, positive, negative):
    ids = np.random.default_rng(0).integers(5, 60, size=(5, 8))
    one = ContrastTokens(positive, negative, Task([], (np.array([]), np.array([]))), ([], []))
    saes = {hook: Signs() for hook in SECTION.seen}
    return movement_study.study(bridge, ids, saes, {"one": one}, SECTION, SETTINGS, SHARED)


def test_no_vector_moves_nothing_but_what_the_map_moves(bridge):
    prompts = [np.array([0, 5, 9]), np.array([0, 7, 8])]
    tables = _study(bridge, prompts, prompts)
    row = tables["summary"].iloc[0]
    assert row["moved_features"] == row["moved_pca"] == 0
    assert row["kept_features"] == row["kept_pca"] == 1
    assert row["kept_umap"] == pytest.approx(row["kept_umap_unmoved"])
    assert row["moved_umap"] == pytest.approx(row["moved_umap_unmoved"])
    assert row["moved_umap"] > 0
    places = tables["places"].set_index("kind")
    same = ["document", "position", "pc1", "pc2"]
    np.testing.assert_array_equal(places.loc["before", same], places.loc["vector", same])


def test_a_vector_stands_beside_random_ones(bridge):
    tables = _study(bridge, [np.array([0, 5, 9])], [np.array([0, 7, 8])])
    row, moves = tables["summary"].iloc[0], tables["moves"].set_index("kind")
    assert list(moves.index) == ["vector", "random_0", "random_1"]
    for name in ("moved_features", "kept_features", "common", "plane", "kept_umap", "moved_pca"):
        assert row[name] == moves.loc["vector", name]
        assert row[f"{name}_null"] == pytest.approx(moves[name].iloc[1:].mean())
    assert row["moved_features"] > 0
    assert row["n_positions"] == 5 * 6 == (tables["places"]["kind"] == "before").sum()


def test_hooks_that_do_not_change_are_refused(tmp_path):
    for name, hook in (
        ("l0_resid_post_seed0", HOOK),
        ("l1_mlp_out_seed0", "blocks.1.hook_mlp_out"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cfg.json").write_text(f'{{"metadata": {{"hook_name": "{hook}"}}}}')
    section = SECTION.model_copy(update={"seen": [HOOK], "layers": [1]})
    with pytest.raises(InputError, match=r"no SAE at 'blocks.0.hook_resid_post' that layer 1"):
        movement_study.seen_saes(tmp_path, section)


def test_more_neighbours_than_positions_are_refused():
    with pytest.raises(ValueError, match="n_near is 30, expected below the number of positions 30"):
        SteeredMap.model_validate(SECTION.model_dump() | {"n_near": 30})
