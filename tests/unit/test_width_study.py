from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from universality.core.errors import InputError
from universality.core.io import read_table
from universality.core.params.base import load_section
from universality.core.style import styled
from universality.studies.saes.figures import widths as draw
from universality.studies.saes.grid import member_table, members
from universality.studies.saes.params.anatomy import Widths
from universality.studies.saes.params.saes import SaeGrid, SaeTraining
from universality.studies.saes.stages import sae_widths
from universality.studies.saes.study.width_study import over_seeds, pairs, split_table, sweeps
from universality.studies.saes.training.architectures import new_sae
from universality.studies.saes.training.loop import save_sae

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

    def write(expansions, **settings):
        hook = "blocks.0.hook_mlp_out"
        family = {"architecture": "topk", "sparsity": [3], "expansion": expansions}
        example = load_section(ROOT / "params.yaml", SaeGrid, "sae_grids", "widths").model_dump()
        changes = {"model": "tiny", "hooks": [hook], "seeds": [0, 1], "families": {"topk": family}}
        section = example | changes
        params = {"sae_widths": SETTINGS | settings, "sae_grids": {"widths": section}}
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


def test_no_seeds_stitched_is_no_stitching(grid, tmp_path, tiny_model, tiny_corpus):
    grid([2, 4], stitched_seeds=0)
    found = _run(tmp_path, tiny_model, tiny_corpus, "plain")
    assert sorted(path.stem for path in found.iterdir()) == ["insertion", "seeds", "splitting"]


def test_figures_show_every_pair_and_its_null(grid, tmp_path, tiny_model, tiny_corpus):
    numbers = {"dead_fraction": 0.0, "explained_variance": 0.8}
    evaluation = member_table(grid([2, 4])).assign(**numbers)
    folder = _run(tmp_path, tiny_model, tiny_corpus, "tables")
    tables = {path.stem: read_table(path) for path in folder.iterdir()}
    splitting: Any = tables["splitting"]
    with styled():
        figure = draw.sweep(evaluation, splitting, tables["insertion"])
        figure.draw_without_rendering()
        found = {line.get_label(): line for line in figure.axes[2].lines}
        for kind, label in (
            ("seed", "another SAE seed, same width"), ("width", "the next narrower SAE"),
        ):  # fmt: skip
            means = splitting[splitting["kind"] == kind].groupby("wide")["found"].mean()
            points: Any = found[label].get_xydata()
            np.testing.assert_allclose(points, means.reset_index().to_numpy(dtype=float))
        null: Any = found["random directions"].get_ydata()
        means = splitting.query("kind == 'seed'").groupby("wide")["found_null"].mean()
        np.testing.assert_allclose(null, means)
        figure = draw.stitching(tables["stitching"])
        assert len(figure.axes) == 2
        swaps = tables["stitching"].query("path == 'swap'")
        np.testing.assert_allclose(
            np.asarray(figure.axes[0].lines[0].get_ydata(), dtype=float), swaps["mse"]
        )
        assert "swap random groups" in [t.get_text() for t in figure.legends[0].texts]
