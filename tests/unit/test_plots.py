import numpy as np
import pandas as pd
import pytest
from matched import random_sparse, tables_of, write_model

from universality.errors import InputError
from universality.summaries.saes import grid_metrics, model_metrics, sae_metrics
from universality.io import read_table, write_table
from universality.summaries.matching import matching_metrics, neuron_metrics, text_metrics
from universality.plots import grids, saes
from universality.saes.matched import at_matched_l0
from universality.stages import plot_matching, plot_models, plot_saes

NUMBERS = ["explained_variance", "ce_loss_recovered", "ce_loss_recovered_mean", "ce_difference"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables of the real shape, small."""
    path = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    for model in ("seed_a", "seed_b"):
        write_table(path / "training" / f"{model}.parquet", model_log(rng))
        numbers = {"cross_entropy": 2.0, "cross_entropy_low": 1.9, "cross_entropy_high": 2.1}
        numbers |= {"unigram": 5.0, "bigram": 3.5, "bits_per_character": 0.7, "n_tokens": 1000}
        row = pd.DataFrame([{"model": model, "corpus": "stories", **numbers}])
        write_table(path / "models" / f"{model}_stories.parquet", row)
        write_saes(path, model, rng)
    write_grid(path / "sae_grids" / "grid")
    write_pairs(path)
    return path


def model_log(rng):
    step = np.arange(1, 31)
    validation = np.where(step % 10 == 0, 3.0, np.nan)
    columns = {"step": step, "tokens": step * 4096, "loss": 3 + rng.random(30)}
    return pd.DataFrame(columns | {"validation_loss": validation, "learning_rate": 0.003})


def write_saes(path, model, rng):
    rows, features, logs = [], [], []
    for layer in (0, 1):
        keys = {"model": model, "sae": f"l{layer}_mlp_out_seed0", "layer": layer, "seed": 0}
        row = keys | {"hook": f"blocks.{layer}.hook_mlp_out", "l0": 32.0, "dead_fraction": 0.05}
        row |= {"n_positions": 5000, "n_tokens_ce": 900}
        for name in NUMBERS:
            row |= {name: 0.9, f"{name}_low": 0.8, f"{name}_high": 0.95}
        rows.append(row)
        density = np.where(rng.random(50) < 0.1, 0, 10 ** -(4 * rng.random(50)))
        features.append(pd.DataFrame({**keys, "feature": np.arange(50), "density": density}))
        step = np.arange(1, 20)
        log = {"sae": keys["sae"], "step": step, "samples": step * 64, "loss": 10 / step}
        logs.append(pd.DataFrame(log))
    write_table(path / "saes" / model / "evaluation.parquet", pd.DataFrame(rows))
    write_table(path / "saes" / model / "features.parquet", pd.concat(features))
    write_table(path / "sae_training" / f"{model}.parquet", pd.concat(logs))


def write_grid(path):
    """Two hooks, three families of three sparsities and two seeds, and PCA."""
    rows = []
    for layer, site in ((0, "hook_mlp_out"), (1, "hook_mlp_out")):
        where = {"model": "m", "hook": f"blocks.{layer}.{site}", "layer": layer, "site": site}
        for index, family in enumerate(("topk", "standard", "gated", "pca")):
            for seed in (0, 1) if family != "pca" else (0,):
                for l0 in (8, 16, 32):
                    value = 0.3 + 0.1 * index + 0.01 * l0 + 0.02 * seed
                    row = where | {"family": family, "seed": seed, "l0": float(l0), "expansion": 8}
                    row |= {"sparsity": float(l0), "n_tokens_ce": 900, "dead_fraction": 0.1}
                    rows.append(row | dict.fromkeys(NUMBERS, value))
    table = pd.DataFrame(rows)
    write_table(path / "evaluation.parquet", table)
    write_table(path / "matched.parquet", at_matched_l0(table, [8, 16, 64]))


def write_pairs(path):
    """Write the tables of matching made-up models, of neurons and of other texts."""
    rng = np.random.default_rng(1)
    folders = path / "features"
    for model, widths in {"a": (12, 14), "b": (13, 12), "c": (12, 13, 9)}.items():
        features = [random_sparse(rng, 200, d, 0.2) for d in widths]
        write_model(folders / model, np.arange(1, 11), features)
    for pair in ("a_vs_b", "a_vs_c"):
        for name, table in tables_of(folders / pair[0], folders / pair[-1]).items():
            write_table(path / "matching" / pair / f"{name}.parquet", table)
    neurons = path / "match_neurons" / "a_vs_b"
    for name in ("features", "headline"):
        write_table(
            neurons / f"{name}.parquet", read_table(path / f"matching/a_vs_b/{name}.parquet")
        )
    numbers = {"median_r": 0.5, "median_r_low": 0.4, "median_r_high": 0.6, "median_r_null": 0.02}
    numbers |= {"median_r_first": 0.55, "median_r_anew": 0.52, "n_pairs": 40, "n_known": 50}
    numbers |= {"same_partner": 0.8, "same_partner_null": 0.01}
    texts = pd.DataFrame([{"text": text, "layer_a": -1} | numbers for text in ("same", "other")])
    write_table(path / "match_text" / "a_vs_b.parquet", texts)


def draw(tables, out):
    plot_models.command(tables / "training", tables / "models", out / "models")
    evaluations, training = tables / "saes", tables / "sae_training"
    plot_saes.command(evaluations, training, tables / "sae_grids", out / "saes")
    matching = tables / "matching", tables / "match_neurons", tables / "match_text"
    plot_matching.command(*matching, out / "matching")
    return {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*.*"))}


def test_figures_are_the_same_bytes_twice_and_not_empty(tables, tmp_path):
    first, second = draw(tables, tmp_path / "one"), draw(tables, tmp_path / "two")
    assert sorted(map(str, first)) == [
        f"{name}.{suffix}"
        for name in [
            *("matching/best_r", "matching/concepts", "matching/filters", "matching/layers"),
            *("matching/other_texts", "matching/pairings", "matching/scatter", "matching/subsets"),
            *("models/cross_entropy", "models/training"),
            *("saes/density", "saes/evaluation", "saes/frontiers", "saes/sites"),
            "saes/training",
        ]
        for suffix in ("pdf", "png", "svg")
    ]
    for path, content in first.items():
        assert content == second[path], path
        assert len(content) > 10_000
        assert b"matplotlib.org/" not in content.replace(b"https://matplotlib.org/ -->", b"")
        assert b"<dc:date>" not in content


def test_pairings_without_optimal_transport(tables):
    """As `transport_epsilon: null` leaves them."""
    from universality.plots.matching import pairings

    folder = tables / "matching" / "a_vs_b"
    table = read_table(folder / "pairings.parquet")

    def drawn(rows):
        return [text.get_text() for text in pairings({"x": {"pairings": rows}}).legends[0].texts]

    label = "optimal transport (entropic)"
    assert label in drawn(table)
    without = drawn(table[table["pairing"] != "transport"])
    assert without == [text for text in drawn(table) if text != label]


def test_figures_do_not_depend_on_the_users_own_style(tables, tmp_path):
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 20, "axes.facecolor": "pink", "svg.hashsalt": "other"}):
        pink = draw(tables, tmp_path / "pink")
    assert pink == draw(tables, tmp_path / "plain")


def test_missing_tables_are_one_clear_line(tables, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        others = tables / "match_neurons", tables / "match_text"
        plot_matching.command(tmp_path / "empty", *others, tmp_path / "out")
    with pytest.raises(InputError, match="empty"):
        plot_models.command(tables / "training", tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match="empty"):
        training, grid = tables / "sae_training", tables / "sae_grids"
        plot_saes.command(tmp_path / "empty", training, grid, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_metrics_pass_the_numbers_through(tables):
    models = model_metrics(tables / "models")
    assert models["seed_a_stories"]["cross_entropy_low"] == 1.9
    assert set(models) == {"seed_a_stories", "seed_b_stories"}
    trained = sae_metrics(tables / "saes")
    assert trained["seed_b_l1_mlp_out_seed0"]["ce_difference_high"] == 0.95
    assert "hook" not in trained["seed_b_l1_mlp_out_seed0"]
    matching = matching_metrics(tables / "matching")
    matching |= neuron_metrics(tables / "match_neurons") | text_metrics(tables / "match_text")
    headline = read_table(tables / "matching" / "a_vs_c" / "headline.parquet")
    pooled = headline.query("layer_a < 0 and selection == 'best_layer'").iloc[0]
    assert matching["a_vs_c_best_of_3_layers"]["median_r"] == pooled["median_r"]
    assert matching["a_vs_b_on_other"]["same_partner"] == 0.8
    assert matching["neurons_a_vs_b"]["n_features"] == 26
    for name in ("concept_one", "tokens_one", "topic_one", "filter_min_r", "meeting_documents"):
        assert 0 < matching[f"a_vs_b_{name}"]["median_r"] < 1
    assert matching["a_vs_b_concept_none"]["n_features"] == 0


def test_metrics_of_grids_have_their_baseline_and_interval(tables):
    found = grid_metrics(tables / "sae_grids")
    row = found["grid_gated_x8_l1_mlp_out_l0_16"]
    assert row["explained_variance"] == pytest.approx(0.3 + 0.2 + 0.16 + 0.01)
    assert row["explained_variance_pca"] == pytest.approx(0.3 + 0.3 + 0.16)
    assert row["explained_variance_low"] < row["explained_variance"] < 1
    assert not any("pca_" in name or name.endswith("l0_64") for name in found)


def test_a_nan_among_the_numbers_is_an_error(tmp_path):
    row = pd.DataFrame([{"model": "m", "corpus": "c", "cross_entropy": np.nan}])
    write_table(tmp_path / "m.parquet", row)
    with pytest.raises(InputError, match="'cross_entropy' holds a NaN"):
        model_metrics(tmp_path)


def test_frontiers_draw_what_the_table_says(tables):
    table = pd.read_parquet(tables / "sae_grids" / "grid" / "evaluation.parquet").assign(grid="g")
    matched = pd.read_parquet(tables / "sae_grids" / "grid" / "matched.parquet").assign(grid="g")
    figure = grids.frontiers(table, matched)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    drawn = np.asarray(lines["standard"].get_xydata(), dtype=float)
    np.testing.assert_allclose(drawn[:, 0], [8, 16, 32])
    np.testing.assert_allclose(
        drawn[:, 1], [1 - (0.3 + 0.1 + 0.01 * l0 + 0.01) for l0 in (8, 16, 32)]
    )
    assert grids.with_several(table, "family", 5).empty
    assert len(grids.with_several(table, "hook", 2)) == len(table)


def test_undefined_shares_are_named_and_not_drawn(tables):
    table = pd.read_parquet(tables / "saes" / "seed_a" / "evaluation.parquet")
    column = "ce_loss_recovered"
    control = table.assign(model="random_a", **{column: 3.0, f"{column}_low": -4.0})
    figure = saes.evaluations(pd.concat([table, control], ignore_index=True))
    axes = figure.axes[list(saes.EVALUATIONS).index(column)]
    assert "2 SAEs (random_a) not drawn" in axes.get_title()
    drawn = [float(y) for line in axes.lines for y in np.asarray(line.get_ydata())]
    assert drawn
    assert max(drawn) < 1
    assert figure.axes[0].get_title() == ""
