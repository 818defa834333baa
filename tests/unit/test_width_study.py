from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from universality.errors import InputError
from universality.io import read_table
from universality.params.anatomy import Widths
from universality.params.base import load_section
from universality.params.saes import SaeGrid, SaeTraining
from universality.plots import widths as draw
from universality.plots.style import NULL_COLOR, save, styled
from universality.saes.grid import member_table, members
from universality.saes.study.width_study import over_seeds, pairs, split_table, sweeps
from universality.saes.training.architectures import new_sae
from universality.saes.training.loop import save_sae
from universality.stages import sae_widths

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "threshold": 0.7, "n_positions": 100, "n_documents": 3, "batch_tokens": 100, "n_points": 4,
    "stitched_seeds": 1, "n_bootstrap": 100, "seed": 0,
}  # fmt: skip


def _sweep(rng, widths=(4, 8), seeds=(0, 1, 2)) -> Any:
    """Dictionaries of random directions, all of whose features fire."""
    return {
        (width, seed): SimpleNamespace(
            decoder=SimpleNamespace(rows=rng.normal(size=(3 * width, 24))),
            fires=np.ones(3 * width, dtype=bool),
        )
        for width in widths
        for seed in seeds
    }


def test_pairs_are_narrower_ones_and_the_next_seed(rng):
    found = pairs(_sweep(rng, (2, 4, 8), (0, 1)))
    assert found.count(("seed", (2, 0), (2, 1))) == 1
    assert found.count(("seed", (2, 1), (2, 0))) == 1
    assert ("width", (8, 1), (2, 1)) in found
    assert len(found) == 3 * 2 + 3 * 2
    assert all(kind == "width" for kind, _, _ in pairs(_sweep(rng, seeds=(5,))))


def test_means_over_seeds(rng):
    table = split_table(_sweep(rng), Widths(**SETTINGS))
    means = over_seeds(table).set_index(["kind", "wide", "narrow"])
    assert means.index.tolist() == [("seed", 4, 4), ("seed", 8, 8), ("width", 8, 4)]
    rows = table.query("kind == 'width'")
    found = means.loc[("width", 8, 4)]
    assert found["n_seeds"] == 3
    assert found["cosine"] == pytest.approx(rows["cosine"].mean())
    half = 4.302653 * rows["cosine"].std() / 3**0.5
    assert found["cosine_high"] - found["cosine"] == pytest.approx(half)
    assert over_seeds(split_table(_sweep(rng, seeds=(0,)), Widths(**SETTINGS))).empty


def test_sweeps_of_a_grid_differ_in_width_alone():
    rows = [
        {"model": "m", "family": family, "architecture": "topk", "sparsity": sparsity,
         "hook": "h", "layer": 0, "site": "s", "expansion": expansion, "sae": f"{sparsity}{seed}",
         "seed": seed}
        for family, sparsity, expansion in (("a", 4, 2), ("a", 4, 8), ("a", 8, 2), ("b", 4, 8))
        for seed in (0, 1)
    ]  # fmt: skip
    found = sweeps(pd.DataFrame(rows))
    assert len(found) == 1
    assert (found[0][0]["family"], found[0][0]["sparsity"]) == ("a", 4)
    assert [row["expansion"] for row in found[0][1]] == [2, 2, 8, 8]


@pytest.fixture
def grid(tmp_path):
    """Params, untrained SAEs and activations of a grid on the tiny model."""

    def write(expansions):
        hook = "blocks.0.hook_mlp_out"
        family = {"architecture": "topk", "sparsity": [3], "expansion": expansions}
        example = load_section(ROOT / "params.yaml", SaeGrid, "sae_grids", "widths").model_dump()
        changes = {"model": "tiny", "hooks": [hook], "seeds": [0, 1], "families": {"topk": family}}
        section = example | changes
        params = {"sae_widths": SETTINGS, "sae_grids": {"widths": section}}
        YAML().dump(params, tmp_path / "params.yaml")
        training = load_section(ROOT / "params.yaml", SaeTraining, "sae_training")
        for member in members(SaeGrid.model_validate(section)):
            sae = new_sae(member.recipe, training, 10, 16, hook, "tiny", member.seed)
            sae.fold_activation_norm_scaling_factor(1.0)
            save_sae(sae, tmp_path / "saes" / member.sae)
        (tmp_path / "activations").mkdir()
        x = np.random.default_rng(0).normal(size=(150, 16)).astype(np.float16)
        np.save(tmp_path / "activations" / f"{hook}.npy", x)
        return SaeGrid.model_validate(section)

    return write


def _run(tmp_path, tiny_model, tiny_corpus, out):
    sae_widths.command(
        "widths", tiny_model, tmp_path / "saes", tmp_path / "activations", tiny_corpus, 64,
        tmp_path / out, tmp_path / "params.yaml",
    )  # fmt: skip
    return tmp_path / out


def test_stage_writes_the_same_tables_twice(grid, tmp_path, tiny_model, tiny_corpus):
    table = member_table(grid([2, 4]))
    first, second = (_run(tmp_path, tiny_model, tiny_corpus, name) for name in ("one", "two"))
    names = ["insertion", "seeds", "splitting", "stitching"]
    assert sorted(path.stem for path in first.iterdir()) == names
    for name in names:
        assert (first / f"{name}.parquet").read_bytes() == (second / f"{name}.parquet").read_bytes()
    splitting_table = read_table(first / "splitting.parquet")
    assert len(splitting_table) == 2 + 4
    assert set(splitting_table["hook"]) == set(table["hook"])
    stitching = read_table(first / "stitching.parquet")
    assert stitching.groupby("path").size().to_dict() == dict.fromkeys(
        ["insert_found", "insert_novel", "swap", "swap_null"], 4
    )
    start = stitching.query("point == 0")
    assert len(set(start["mse"])) == 1
    assert set(start["n_wide"]) == {0}
    ends = stitching.query("point == 3 and path in ('swap', 'swap_null')")
    assert len(set(ends["mse"])) == 1
    assert set(ends["n_narrow"]) == {0}
    assert set(ends["l0"]) == {3.0}
    assert len(read_table(first / "seeds.parquet")) == 3


def test_a_grid_of_one_width_is_one_line(grid, tmp_path, tiny_model, tiny_corpus):
    grid([2])
    with pytest.raises(InputError, match=r"sae_grids\.widths: no family has several widths"):
        _run(tmp_path, tiny_model, tiny_corpus, "none")
    assert not (tmp_path / "none").exists()


def _evaluation(table):
    numbers = {"dead_fraction": 0.0, "n_positions": 90}
    for name in ("explained_variance", "ce_loss_recovered"):
        numbers |= {name: 0.8, f"{name}_low": 0.7, f"{name}_high": 0.9}
    return table.assign(**numbers)


def test_figures_show_every_pair_and_its_null(grid, tmp_path, tiny_model, tiny_corpus):
    evaluation = _evaluation(member_table(grid([2, 4])))
    folder = _run(tmp_path, tiny_model, tiny_corpus, "tables")
    tables = {path.stem: read_table(path) for path in folder.iterdir()}
    with styled():
        figure = draw.sweep(evaluation, tables["splitting"], tables["insertion"])
        labels = [text.get_text() for text in figure.axes[3].get_xticklabels()]
        assert labels == ["×4\nin\n×2", "×2\nseed", "×4\nseed"]
        points = [line for line in figure.axes[3].lines if line.get_color() == NULL_COLOR]
        drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in points])
        np.testing.assert_allclose(np.sort(drawn), np.sort(tables["splitting"]["found_null"]))
        figure = draw.stitching(tables["stitching"])
        assert len(figure.axes) == 2
        swaps = tables["stitching"].query("path == 'swap'")
        np.testing.assert_allclose(
            np.asarray(figure.axes[0].lines[0].get_ydata(), dtype=float), swaps["mse"]
        )
        assert "null: swap random groups" in [t.get_text() for t in figure.legends[0].texts]
        save(figure, tmp_path / "figures", "stitching")
    assert (tmp_path / "figures" / "stitching.png").stat().st_size > 10_000
