"""A few numbers of every study, and the curves that `dvc plots` draws."""

import json
from pathlib import Path

import pandas as pd
import pytest

import committed
from universality.core.numbers import STUDIES
from universality.present import overview
from universality.present.summaries import read_summaries

ROOT = Path(__file__).parents[2]


def test_means_over_layers_and_nothing_else():
    saes = {
        "m_l0_mlp_out_seed0": {"l0": 2.0, "explained_variance": 0.5, "low": 9.0},
        "m_l1_mlp_out_seed0": {"l0": 4.0, "explained_variance": 0.7, "low": 9.0},
        "m_l1_mlp_out_seed1": {"l0": 100.0, "explained_variance": 0.0},
        "grid_l0_of_something": {"l0": 100.0},
    }
    matching = {
        "a_vs_b_best_of_4_layers": {"median_r": 0.5, "median_r_null": 0.1, "share_above": 0.2},
        "a_vs_b_layer_0_best_of_4_layers": {"median_r": 0.9},
    }
    studies = {study: {} for study in overview.SHOWN} | {"saes": saes, "matching": matching}
    found = overview.summary(studies)
    assert found["saes"]["m"]["l0"] == 3
    assert found["saes"]["m"]["explained_variance"] == pytest.approx(0.6)
    assert set(found["saes"]) == {"m"}
    assert found["matching"] == {"a_vs_b": matching["a_vs_b_best_of_4_layers"]}


def test_the_committed_summary_is_of_the_committed_numbers(tmp_path):
    committed.copy("data/tables/summaries", tmp_path)
    found = overview.summary(read_summaries(tmp_path / "data" / "tables" / "summaries", STUDIES))
    assert found.keys() == overview.SHOWN.keys()
    assert all(found.values())
    assert found == json.loads((ROOT / "metrics" / "overview" / "summary.json").read_text())


@pytest.fixture
def matching(tmp_path):
    folder = tmp_path / "a_vs_b"
    folder.mkdir()
    features = pd.DataFrame(
        {"layer_a": 0, "layer_b": [0, 0, 0, 1], "r": [0.91, 0.92, 0.11, 0.5]}
        | {"null_r": [0.01, 0.02, 0.03, 0.5], "alive": [True, True, False, True]}
    )
    best = pd.DataFrame(
        {"layer_a": [-1, 0, 0], "layer_b": [-1, 0, 1]}
        | {"selection": ["best_layer", "best_layer", "any"]}
    )
    layers = pd.DataFrame(
        {"layer_a": [0, 0], "layer_b": [0, 1], "median_r": [0.91, 0.5], "median_r_null": 0.02}
    )
    for name, table in (("features", features), ("headline", best), ("layers", layers)):
        table.to_parquet(folder / f"{name}.parquet")
    return tmp_path


def test_histogram_of_living_features_with_their_best_layer(matching):
    found = overview.best_r(matching).query("share > 0 or null_share > 0")
    assert found["pair"].unique().tolist() == ["a_vs_b"]
    assert found[["share", "null_share"]].sum().tolist() == [1, 1]
    high = found.query("share > 0")
    assert high["r"].tolist() == pytest.approx([0.9125])
    assert found.query("null_share > 0")["r"].between(0, 0.03).all()


def test_heat_map(matching):
    found = overview.layer_pairs(matching)
    assert found[["pair", "layer_a", "layer_b", "median_r"]].to_numpy().tolist() == [
        ["a_vs_b", 0, 0, 0.91],
        ["a_vs_b", 0, 1, 0.5],
    ]
