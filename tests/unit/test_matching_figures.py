"""The figures of the matching study, and its summary, from tables of the real shape."""

import numpy as np
import pandas as pd
import pytest
from matched import random_sparse, tables_of, write_model

from universality.core.errors import InputError
from universality.core.io import read_table, write_table
from universality.studies.matching.conditions.conditions import MEASURES
from universality.studies.matching.conditions.progress_study import COMPARISONS
from universality.studies.matching.figures.conditions import recipes
from universality.studies.matching.figures.matching import looks, pairings, role
from universality.studies.matching.stages import plot_matching
from universality.studies.matching.summary import all_matching_metrics

PAIRS = {
    "seed_a_vs_sae_seed": ("a", "b"),
    "seed_a_vs_seed_b": ("a", "b"),
    "seed_a_vs_random_a": ("a", "c"),
}
ENDS = ("", "_low", "_high", "_null", "_null_low", "_null_high")
PARTNERS = ("sae_seed", "sae_seed_drawn", "other_lm", "random_lm")


def numbers(*names):
    """Return each of the names as .5, in [.4, .6], with a null of .05, in [.04, .06]."""
    values = (0.5, 0.4, 0.6, 0.05, 0.04, 0.06)
    return {f"{name}{end}": x for name in names for end, x in zip(ENDS, values, strict=True)}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(1)
    for model, widths in {"a": (12, 14), "b": (13, 12), "c": (12, 13, 9)}.items():
        features = [random_sparse(rng, 200, d, 0.2) for d in widths]
        write_model(path / "features" / model, np.arange(1, 11), features)
    for pair, sides in PAIRS.items():
        found = tables_of(*(path / "features" / side for side in sides))
        for name, table in found.items():
            write_table(path / "matching" / "pairs" / pair / f"{name}.parquet", table)
        for name in ("features", "headline"):
            target = path / "matching" / "neurons" / pair / f"{name}.parquet"
            write_table(target, found[name])
        write_texts(path / "matching" / "texts" / f"{pair}.parquet")
        write_agreement(path / "matching" / "agreement" / pair, rng)
        write_cards(path / "matching" / "cards" / pair)
    write_grid(path / "matching" / "grids" / "kinds", [("topk", 16.0, 8), ("gated", 3.0, 8)])
    write_grid(path / "matching" / "grids" / "widths", [("topk", 16.0, x) for x in (2, 4, 8)])
    write_progress(path / "matching" / "progress" / "two")
    return path / "matching"


def write_texts(path):
    row = {"layer_a": -1, "median_r_first": 0.55, "median_r_anew": 0.52, "n_pairs": 40}
    row |= numbers("median_r", "same_partner") | {"n_known": 50}
    write_table(path, pd.DataFrame([{"text": text} | row for text in ("training_text", "other")]))


def write_agreement(folder, rng):
    pairs = pd.DataFrame({name: rng.random(30) for name in ("r", "logit_r", "attribution_r")})
    row = {"layer_a": -1, "layer_b": -1, "threshold": 0.7, "n_high": 9}
    row |= numbers("high_negative_logit", "high_negative_attribution")
    write_table(folder / "pairs.parquet", pairs)
    write_table(folder / "summary.parquet", pd.DataFrame([row]))


def write_cards(folder):
    card = {"card": 0, "chosen": "drawn at random", "top": False, "label": "alike"}
    card |= {"layer_a": 0, "feature_a": 3, "layer_b": 1, "partner": 4, "null_r": 0.02}
    card |= {"n_a": 30, "n_b": 40, "n_both": 20, "highest_a": 2.0, "highest_b": 3.0}
    card |= numbers("r", "p_b_given_a", "p_a_given_b")
    token = [
        {"card": 0, "group": "top_a", "rank": 0, "side": side, "text": text, "value": value,
         "peak": value > 1}
        for side in "ab"
        for text, value in ((" a", 0.0), (" dog", 2.0), (".", 0.5))
    ]  # fmt: skip
    summary = {"layer_a": -1, "layer_b": -1, "subset": "all", "n_pairs": 9}
    write_table(folder / "cards.parquet", pd.DataFrame([card]))
    write_table(folder / "contexts.parquet", pd.DataFrame(token))
    write_table(folder / "summary.parquet", pd.DataFrame([summary | numbers("share_alike")]))


def write_grid(folder, wanted):
    where = {"model": "seed_a", "architecture": "topk", "hook": "blocks.0.hook_mlp_out"}
    where |= {"layer": 0, "site": "hook_mlp_out", "n_seeds": 3, "threshold": 0.7}
    rows = [
        where | {"family": family, "sparsity": sparsity, "expansion": expansion, "partner": partner}
        | numbers(*MEASURES) | {"l0": 16.0, "d_sae": 128.0 * expansion}
        for family, sparsity, expansion in wanted
        for partner in PARTNERS
    ]  # fmt: skip
    write_table(folder / "recipes.parquet", pd.DataFrame(rows))


def write_progress(folder):
    steps, hooks = (0.0, 0.1, 1.0), ("blocks.0.hook_mlp_out", "blocks.3.hook_mlp_out")
    row = numbers(*MEASURES) | {"threshold": 0.7, "n_positions": 90, "n_documents": 9}
    row |= {"n_features": 30, "n_shared": 10}
    shares = [
        {"comparison": name, "hook": hook, "share": share} | row
        for name in COMPARISONS
        for hook in hooks
        for share in steps
    ]
    write_table(folder / "shares.parquet", pd.DataFrame(shares))
    loss = {"loss": 3.0, "loss_low": 2.9, "loss_high": 3.1, "model": "seed"}
    losses = [{"lm": lm, "share": share} | loss for lm in "ab" for share in steps]
    write_table(folder / "losses.parquet", pd.DataFrame(losses))


FIGURES = {
    "agreement", "best_r", "cards", "concepts", "conditions", "filters", "layers", "other_texts",
    "pairings", "recipes", "training_two",
}  # fmt: skip


def test_every_figure_is_drawn_and_the_same_bytes_twice(tables, tmp_path):
    drawn = []
    for name in ("one", "two"):
        plot_matching.command(tables, tmp_path / name)
        files = sorted((tmp_path / name).iterdir())
        drawn.append({path.name: path.read_bytes() for path in files})
    assert set(drawn[0]) == {f"{name}.svg" for name in FIGURES} | {"best_r.png"}
    for name, content in drawn[0].items():
        assert content == drawn[1][name], name
        assert len(content) > 10_000


def test_names_of_models_are_plain(tables, tmp_path):
    plot_matching.command(tables, tmp_path / "out")
    for path in (tmp_path / "out").glob("*.svg"):
        text = path.read_text()
        assert "seed_a" not in text, path
        assert "_vs_" not in text, path


def test_missing_tables_are_one_clear_line(tables, tmp_path):
    (tmp_path / "pairs").mkdir()
    with pytest.raises(InputError, match="pairs"):
        plot_matching.command(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_baselines_have_their_own_look():
    assert [role(pair) for pair in PAIRS] == ["ceiling", "pair", "untrained"]
    found = looks([*PAIRS, "random_a_vs_random_b", "stories15m_vs_smollm2"])
    assert found["seed_a_vs_random_a"]["color"] == found["random_a_vs_random_b"]["color"]
    told = {(x["color"], str(x["linestyle"]), x.get("markerfacecolor")) for x in found.values()}
    assert len(told) == 5
    assert len({x["color"] for x in found.values()}) == 4


def test_pairings_without_optimal_transport(tables):
    """As `transport_epsilon: null` leaves them."""
    table = read_table(tables / "pairs" / "seed_a_vs_seed_b" / "pairings.parquet")

    def drawn(rows):
        return [text.get_text() for text in pairings({"x": {"pairings": rows}}).legends[0].texts]

    label = "optimal transport (entropic)"
    assert label in drawn(table)
    without = drawn(table[table["pairing"] != "transport"])
    assert without == [text for text in drawn(table) if text != label]


def test_recipes_take_the_l0_that_is_nearest_and_need_two_widths(tables):
    grids = {name: read_table(tables / "grids" / name / "recipes.parquet") for name in
             ("kinds", "widths")}  # fmt: skip
    far = grids["kinds"].assign(sparsity=99.0, l0=60.0, share_above=0.9)
    figure = recipes(grids | {"far": far})
    assert figure is not None
    shown = {float(y) for line in figure.axes[2].lines for y in np.asarray(line.get_ydata(), float)}
    assert 0.5 in shown
    assert 0.9 not in shown  # of the SAEs with another L0
    assert recipes({"kinds": grids["kinds"]}) is None


def test_the_summary_passes_numbers_through(tables):
    found = all_matching_metrics(tables)
    headline = read_table(tables / "pairs" / "seed_a_vs_random_a" / "headline.parquet")
    pooled = headline.query("layer_a < 0 and selection == 'best_layer'").iloc[0]
    assert found["seed_a_vs_random_a_best_of_3_layers"]["median_r"] == pooled["median_r"]
    assert found["seed_a_vs_seed_b_on_other"]["same_partner"] == 0.5
    assert found["neurons_seed_a_vs_seed_b"]["n_features"] == 26
    for name in ("concept_one", "tokens_one", "topic_one", "filter_min_r", "meeting_documents",
                 "unfiltered_bos_kept"):  # fmt: skip
        assert 0 < found[f"seed_a_vs_seed_b_{name}"]["median_r"] < 1
    assert found["seed_a_vs_seed_b_concept_none"]["n_features"] == 0
    assert found["widths_topk_16_x4_l0_mlp_out_in_other_lm"]["share_of_all"] == 0.5
    assert found["training_two_final_l0_mlp_out_at_0.1"]["median_r"] == 0.5
    assert found["seed_a_vs_seed_b_agreement"]["high_negative_logit_null_low"] == 0.04
