import numpy as np
import pandas as pd
import pytest
import torch

from universality.studies.saes.baselines import PrincipalComponents
from universality.studies.saes.grid import member_table, members, pca_table
from universality.studies.saes.matched import METRICS, against, at_l0, at_matched_l0, seed_interval
from universality.studies.saes.params.saes import SaeGrid


def _grid(**changes) -> SaeGrid:
    values = {
        "model": "m", "hooks": ["blocks.1.hook_mlp_out", "blocks.0.mlp.hook_post"],
        "n_samples": 1000, "batch_size": 100, "learning_rate": 0.001, "dead_window": 100,
        "seeds": [0, 3],
        "families": {
            "topk": {"architecture": "topk", "sparsity": [8, 16], "expansion": [2]},
            "l1": {"architecture": "standard", "sparsity": [0.5], "expansion": [2, 4]},
        },
    }  # fmt: skip
    return SaeGrid.model_validate(values | changes)


def test_every_combination_is_a_member_with_its_own_id():
    found = members(_grid())
    assert len(found) == len({one.sae for one in found}) == 2 * (2 + 2) * 2
    assert all(one.sae.replace("_", "").isalnum() for one in found)
    assert found[0].sae == "topk_8_x2_l1_mlp_out_seed0"
    one = next(one for one in found if one.sae == "l1_0p5_x4_l0_mlp_hook_post_seed3")
    assert (one.recipe.architecture, one.recipe.sparsity, one.recipe.expansion) == (
        "standard", 0.5, 4,
    )  # fmt: skip


def test_table_has_a_row_per_member_and_the_baseline_its_own():
    grid = _grid()
    table = member_table(grid)
    assert table["sae"].tolist() == [one.sae for one in members(grid)]
    assert set(table["site"]) == {"hook_mlp_out", "mlp.hook_post"}
    pca = pca_table(grid, "blocks.1.hook_mlp_out", [2, 4])
    assert list(pca.columns) == list(table.columns)
    assert pca["sparsity"].tolist() == [2, 4]


def test_impossible_families_are_refused():
    family = {"architecture": "topk", "sparsity": [8.5], "expansion": [2]}
    with pytest.raises(ValueError, match="whole k"):
        _grid(families={"topk": family}).recipes()


def test_a_hook_named_twice_is_refused():
    with pytest.raises(ValueError, match="hooks names something twice"):
        _grid(hooks=["blocks.1.hook_mlp_out", "blocks.1.hook_mlp_out"])


def test_curves_are_read_off_in_log_l0_and_never_beyond_their_ends():
    l0, values = np.array([32.0, 8.0]), np.array([1.0, 0.0])
    assert at_l0(l0, values, 16) == pytest.approx(0.5)
    assert at_l0(l0, values, 8) == 0
    assert np.isnan(at_l0(l0, values, 7))
    assert np.isnan(at_l0(l0, values, 33))
    # TopK's L0 falls short of k by rounding alone.
    assert at_l0(np.array([7.99, 31.9]), np.array([0.0, 1.0]), 32) == pytest.approx(1)


def test_interval_over_seeds_is_students():
    low, high = seed_interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert np.isnan(seed_interval(np.array([1.0]))).all()


def test_families_are_compared_only_where_all_seeds_reach():
    rows = []
    for seed, ends in ((0, (8, 32)), (1, (10, 32))):
        for l0 in ends:
            rows.append({"hook": "h", "family": "f", "expansion": 8, "seed": seed, "l0": float(l0)})
            rows[-1] |= dict.fromkeys(METRICS, float(np.log(l0) + seed) - 9)
    found = at_matched_l0(pd.DataFrame(rows), [8, 16, 64])
    assert found["l0"].tolist() == [16]
    row = found.iloc[0]
    assert row["explained_variance"] == pytest.approx(np.log(16) - 8.5)
    half = 12.706205 * 0.5  # Student's t with one degree of freedom, standard error 1/2
    assert row["ce_difference_high"] == pytest.approx(np.log(16) - 8.5 + half)
    assert row["explained_variance_low"] == pytest.approx(np.log(16) - 8.5 - half)
    assert row["dead_fraction_low"] == 0  # no share is below 0
    assert row["n_seeds"] == 2


def test_a_family_of_one_sparsity_is_compared_at_its_own_l0():
    def row(family, seed, l0, value, sparsity=1.0):
        where = {"hook": "h", "family": family, "expansion": 8, "sparsity": sparsity, "seed": seed}
        return where | {"l0": l0} | dict.fromkeys(METRICS, value)

    table = pd.DataFrame(
        [
            row("topk", 0, 8.0, 0.2, 8), row("topk", 0, 32.0, 0.6, 32),
            row("topk", 1, 8.0, 0.1, 8), row("topk", 1, 32.0, 0.5, 32),
            row("gated", 0, 16.0, 0.5), row("gated", 1, 16.0, 0.5),
            row("wide", 0, 16.0, 0.5), row("wide", 1, 40.0, 0.5),
            row("pca", 0, 8.0, 0.0, 8), row("pca", 0, 32.0, 0.2, 32),
        ]
    )  # fmt: skip
    found = against(table, "topk")
    assert found["family"].tolist() == ["gated"]  # a seed of the other is beyond the curve
    one = found.iloc[0]
    assert (one["l0"], one["n_seeds"]) == (16, 2)
    assert one["ce_difference_reference"] == pytest.approx((0.4 + 0.3) / 2)
    assert one["ce_difference_pca"] == pytest.approx(0.1)
    assert one["ce_difference_gain"] == pytest.approx((0.1 + 0.2) / 2)
    assert one["ce_difference_gain_high"] == pytest.approx(0.15 + 12.706205 * 0.05)
    assert one["ce_difference_low"] == one["ce_difference_high"] == 0.5
    assert against(table, "gone").empty


def test_principal_components_are_the_best_plane():
    random = np.random.default_rng(0)
    rows = random.normal(size=(500, 6)) * [9, 5, 1, 0.5, 0.2, 0.1] + 3
    x = torch.from_numpy(rows).float()
    pca = PrincipalComponents(x, 2)
    features = pca.encode(x)
    assert features.shape == (500, 4)
    assert ((features > 0).sum(1) == 2).all()
    error = float((pca.decode(features) - x).square().sum())
    _, singular, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    assert error == pytest.approx(float((singular[2:] ** 2).sum()), rel=1e-4)
