"""Figures and summaries of the language models and of the SAEs, from small made-up tables."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from universality.core.errors import InputError
from universality.core.io import write_table
from universality.core.style import BASELINES, styled
from universality.studies.models.figures import models
from universality.studies.models.stages import plot_models
from universality.studies.saes.figures import by_sae, grids, saes
from universality.studies.saes.matched import against, at_matched_l0
from universality.studies.saes.stages import plot_saes
from universality.studies.saes.summary import grid_metrics, model_metrics, sae_metrics

NUMBERS = ["explained_variance", "ce_loss_recovered", "ce_loss_recovered_mean", "ce_difference"]


def evaluation(model, layers=(0, 1), seeds=(0,), cost=2.0):
    """One row per SAE; zero ablation costs `cost` nats."""
    rows = []
    for layer in layers:
        for seed in seeds:
            row = {"model": model, "sae": f"l{layer}_mlp_out_seed{seed}", "layer": layer}
            row |= {"hook": f"blocks.{layer}.hook_mlp_out", "seed": seed, "l0": 32.0}
            row |= {"dead_fraction": 0.05, "n_positions": 5000, "n_tokens_ce": 900}
            row |= {"ce": 3.0, "ce_zero": 3.0 + cost, "ce_mean": 3.0 + cost}
            for name in NUMBERS:
                row |= {name: 0.9, f"{name}_low": 0.8, f"{name}_high": 0.95}
            rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture
def grid():
    """Two hooks; TopK with three sparsities, gated SAEs with one, two seeds, and PCA."""
    rows = []
    for layer in (0, 1):
        hook = f"blocks.{layer}.hook_mlp_out"
        where = {"model": "m", "hook": hook, "layer": layer, "site": "hook_mlp_out"}
        for index, (family, sparsities) in enumerate(
            {"topk": (8, 16, 32), "gated": (16,), "pca": (8, 16, 32)}.items()
        ):
            for seed in (0, 1) if family != "pca" else (0,):
                for l0 in sparsities:
                    value = 0.3 + 0.1 * index + 0.01 * l0 + 0.02 * seed
                    row = where | {"family": family, "seed": seed, "l0": float(l0), "expansion": 8}
                    row |= {"sparsity": float(l0), "n_tokens_ce": 900, "dead_fraction": 0.1}
                    rows.append(row | dict.fromkeys(NUMBERS, value))
    return pd.DataFrame(rows)


def test_every_layer_of_every_model_has_its_place():
    table = pd.concat([evaluation("seed_a"), evaluation("other", (3,)), evaluation("stories15m")])
    where = by_sae.places(table)
    assert list(where) == [
        ("stories15m", 0), ("stories15m", 1), ("seed_a", 0), ("seed_a", 1), ("other", 3),
    ]  # fmt: skip
    assert list(where.values()) == pytest.approx([0, 1, 2.9, 3.9, 5.8])


def test_cross_entropies_stand_beside_their_n_grams():
    numbers = {"cross_entropy": 2.0, "cross_entropy_low": 1.9, "cross_entropy_high": 2.3}
    numbers |= {"unigram": 5.0, "bigram": 3.5, "corpus": "stories"}
    rows = [{"model": "random_a", **numbers}, {"model": "seed_a", **numbers, "cross_entropy": 2.1}]
    with styled():
        figure = models.cross_entropies(pd.DataFrame(rows))
        figure.draw_without_rendering()
    axes: Any = figure.axes[0]
    assert [bar.get_height() for bar in axes.patches] == [2.1, 2.0]  # trained models first
    assert to_hex(axes.patches[1].get_facecolor()) == BASELINES["untrained"]["color"]
    levels = [float(path.vertices[0, 1]) for part in axes.collections
              for path in part.get_paths() if len(path.vertices) == 2]  # fmt: skip
    assert {5.0, 3.5} <= set(levels)
    assert {text.get_text() for text in axes.texts} == {"2.10", "2.00"}


def test_shares_of_next_to_nothing_are_not_drawn():
    both = evaluation("seed_a", seeds=(0, 1))
    table = pd.concat([both, evaluation("random_a", cost=0.001)], ignore_index=True)
    with styled():
        figure = saes.evaluations(table)
        figure.draw_without_rendering()
    axes = figure.axes[list(saes.EVALUATIONS).index("ce_loss_recovered")]
    where = by_sae.places(table)
    drawn = np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in axes.lines])
    inside = drawn[drawn >= 0]
    assert {0.0, 1.0, 0.25, 1.25} <= set(inside.tolist())  # the second seed stands beside the first
    assert not np.isclose(inside, where["random_a", 0]).any()
    assert [text.get_text() for text in axes.texts] == ["ablation costs\nnext to nothing"]
    other = figure.axes[0]
    drawn = np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in other.lines])
    assert np.isclose(drawn, where["random_a", 0]).any()


def test_frontiers_draw_what_the_tables_say(grid):
    table = grid.assign(grid="g")
    matched = at_matched_l0(grid, [8, 16, 64]).assign(grid="g")
    alone = against(grid, "topk").assign(grid="g")
    with styled():
        figure = grids.frontiers(table, matched, alone)
        figure.draw_without_rendering()
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    drawn = np.asarray(lines["TopK"].get_xydata(), dtype=float)
    np.testing.assert_allclose(drawn[:, 0], [8, 16, 32])
    np.testing.assert_allclose(drawn[:, 1], [1 - (0.3 + 0.01 * l0 + 0.01) for l0 in (8, 16, 32)])
    one = np.asarray(lines["gated"].get_xydata(), dtype=float)
    np.testing.assert_allclose(one, [[16, 1 - (0.4 + 0.16 + 0.01)]])
    assert grids.with_several(table, "family", 4).empty
    assert len(grids.with_several(table, "hook", 2)) == len(table)


def test_summaries_pass_the_numbers_through(tmp_path):
    row = {"model": "m", "corpus": "stories", "cross_entropy": 2.0, "cross_entropy_low": 1.9}
    write_table(tmp_path / "models" / "m.parquet", pd.DataFrame([row]))
    assert model_metrics(tmp_path / "models") == {
        "m_stories": {"cross_entropy": 2.0, "cross_entropy_low": 1.9}
    }
    for model, cost in (("seed_a", 2.0), ("random_a", 0.001)):
        table = evaluation(model, cost=cost)
        write_table(tmp_path / "saes" / model / "evaluation.parquet", table)
    found = sae_metrics(tmp_path / "saes")
    assert found["seed_a_l1_mlp_out_seed0"]["ce_loss_recovered_high"] == 0.95
    assert "hook" not in found["seed_a_l1_mlp_out_seed0"]
    untrained = found["random_a_l1_mlp_out_seed0"]
    assert untrained["ce_difference_high"] == 0.95
    assert not any(name.startswith("ce_loss_recovered") for name in untrained)


def test_summaries_of_grids_have_their_baselines_and_intervals(tmp_path, grid):
    folder = tmp_path / "grid"
    write_table(folder / "matched.parquet", at_matched_l0(grid, [8, 16, 64]))
    write_table(folder / "against.parquet", against(grid, "topk"))
    found = grid_metrics(tmp_path)
    row = found["grid_topk_x8_l1_mlp_out_l0_16"]
    assert row["explained_variance"] == pytest.approx(0.3 + 0.16 + 0.01)
    assert row["explained_variance_pca"] == pytest.approx(0.3 + 0.2 + 0.16)
    assert row["explained_variance_low"] < row["explained_variance"] < 1
    alone = found["grid_gated_16_x8_l0_mlp_out_alone"]
    assert alone["explained_variance_gain"] == pytest.approx(0.1)
    assert alone["explained_variance_pca"] == pytest.approx(0.3 + 0.2 + 0.16)
    assert not any("pca_" in name or name.endswith("l0_64") for name in found)


def test_a_nan_among_the_numbers_is_an_error(tmp_path):
    row = pd.DataFrame([{"model": "m", "corpus": "c", "cross_entropy": np.nan}])
    write_table(tmp_path / "m.parquet", row)
    with pytest.raises(InputError, match="'cross_entropy' holds a NaN"):
        model_metrics(tmp_path)


@pytest.fixture
def language_models(tmp_path):
    numbers = {"cross_entropy": 2.0, "cross_entropy_low": 1.9, "cross_entropy_high": 2.1}
    row = {"model": "m", "corpus": "stories", "unigram": 5.0, "bigram": 3.5, **numbers}
    write_table(tmp_path / "tables" / "evaluation" / "m.parquet", pd.DataFrame([row]))

    def drawn(name, file_format):
        plot_models.command(tmp_path / "tables", tmp_path / name, file_format)
        return (tmp_path / name / f"cross_entropy.{file_format}").read_bytes()

    return drawn


@pytest.mark.parametrize("file_format", ["svg", "png", "pdf"])
def test_figures_are_the_same_bytes_twice_and_name_no_date(language_models, file_format):
    content = language_models("one", file_format)
    assert content == language_models("two", file_format)
    assert len(content) > 5000
    assert b"<dc:date>" not in content
    assert b"CreationDate" not in content


def test_figures_do_not_depend_on_the_users_own_style(language_models):
    import matplotlib as mpl

    plain = language_models("plain", "svg")
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "pink", "svg.hashsalt": "other"}):
        assert language_models("pink", "svg") == plain


def test_missing_tables_are_one_clear_line(tmp_path):
    for command in (plot_models.command, plot_saes.command):
        with pytest.raises(InputError, match="evaluation: no"):
            command(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
