import numpy as np
import pytest
import scipy.sparse as sp
from ruamel.yaml import YAML

from universality.errors import InputError
from universality.io import read_table, write_arrays, write_sparse
from universality.params.anatomy import Anatomy
from universality.plots import anatomy as draw
from universality.plots.style import save, styled
from universality.saes.study.anatomy import common_direction, compare_direction, describe, geometry
from universality.saes.study.neurons import unit
from universality.saes.weights import SaeWeights, read_weights
from universality.stages import sae_anatomy

SETTINGS = {
    "rare_below": 1e-4, "explained": 0.9, "few": 5, "n_null": 19, "n_positions": 200,
    "n_rotations": 5, "n_axes": 8, "seed": 0,
}  # fmt: skip


def test_geometry_by_hand():
    encoder = np.array([[3.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 2]])
    decoder = np.array([[2.0, 0, 0, 0], [0, 0, 0.5, 0], [0, 0, 1, 0]])
    found = geometry(SaeWeights(encoder, decoder, np.array([-1.0, -1, 4])))
    np.testing.assert_allclose(found["encoder_bias"], [-2, -0.5, 4])
    np.testing.assert_allclose(found["encoder_decoder_cosine"], [1, 0.5**0.5, 0])
    # of (1, 0, 0, 0): mean 1/4, variance 3/16, fourth moment 84/1024
    np.testing.assert_allclose(found["decoder_kurtosis"], 84 / 1024 / (3 / 16) ** 2 - 3)


def test_common_direction_by_hand(rng):
    same = np.tile([[0.6, 0.8, 0]], (4, 1))
    assert common_direction(same) == pytest.approx({"mean_cosine": 1, "first_share": 1})
    assert common_direction(np.eye(5)) == pytest.approx({"mean_cosine": 0, "first_share": 0.2})
    rows = unit(rng.normal(size=(7, 4)))
    cosines = rows @ rows.T
    found = common_direction(rows)
    assert found["mean_cosine"] == pytest.approx(cosines[np.triu_indices(7, 1)].mean())
    assert found["first_share"] == pytest.approx(np.linalg.svd(rows)[1][0] ** 2 / 7)
    wide = unit(rng.normal(size=(3, 20)))  # fewer rows than dimensions
    assert common_direction(wide)["first_share"] == pytest.approx(
        np.linalg.svd(wide)[1][0] ** 2 / 3
    )


def test_planted_common_direction_stands_out_and_a_random_group_does_not(rng):
    others = rng.normal(size=(300, 32))
    shared = rng.normal(size=(60, 32)) + 8 * np.eye(32)[0]
    found = compare_direction(3 * shared, others, 39, rng)
    for name in ("mean_cosine", "first_share"):
        assert found[f"{name}_p"] == pytest.approx(1 / 40)
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
        assert found[f"{name}_low"] > 3 * found[f"{name}_null_high"]
    assert found["mean_cosine_gaussian"] == pytest.approx(0, abs=0.01)
    plain = compare_direction(rng.normal(size=(60, 32)), others, 39, rng)
    assert plain["mean_cosine_p"] > 0.05
    assert plain["mean_cosine_low"] < 0 < plain["mean_cosine_high"]


def test_groups_are_compared_at_equal_size(rng):
    rows = rng.normal(size=(50, 4))
    assert compare_direction(rows, rows[:7], 19, rng)["n"] == 7
    with pytest.raises(ValueError, match="2 features are too few"):
        compare_direction(rows[:2], rows, 19, rng)


def _planted(rng, d_sae=200, d_in=16):
    """20 dead and 40 ultralow features with one encoder direction, the others at random."""
    encoder = rng.normal(size=(d_sae, d_in))
    encoder[:60] = np.eye(d_in)[0] + 0.1 * rng.normal(size=(60, d_in))
    decoder = 0.5 * encoder + 0.1 * rng.normal(size=(d_sae, d_in))
    density = 10 ** rng.normal(-2, 0.3, d_sae)
    density[20:60] = 10 ** rng.normal(-5, 0.3, 40)
    density[:20] = 0
    return SaeWeights(encoder, decoder, rng.normal(size=d_sae)), density


def test_planted_anatomy_is_described(rng):
    weights, density = _planted(rng)
    neurons = unit(rng.normal(size=(40, 16)))
    weights.decoder[100:110] = 3 * neurons[:10]
    found = describe("planted", weights, density, neurons, Anatomy(**SETTINGS), rng)
    assert found.summary["separated"] == 1
    assert found.summary["dead_share"] == 0.1
    assert found.summary["ultralow_share"] == 0.2
    assert found.summary["delta_bic"] > found.summary["delta_bic_null_high"]
    rows = {row["cluster"]: row for row in found.clusters}
    assert {name: row["n"] for name, row in rows.items()} == {
        "dead": 20, "ultralow": 40, "high": 140
    }  # fmt: skip
    assert rows["ultralow"]["log10_density_low"] < -5 < rows["ultralow"]["log10_density_high"]
    assert rows["high"]["encoder_decoder_cosine_low"] > 0.8
    assert abs(rows["high"]["encoder_decoder_cosine_null"]) < 0.05
    assert rows["ultralow"]["encoder_decoder_cosine_null"] > 0.6  # all encoders are alike
    directions = {row["group"]: row for row in found.directions}
    assert set(directions) == {"dead", "rare", "ultralow"}
    assert directions["ultralow"]["mean_cosine_low"] > 0.8
    assert directions["ultralow"]["mean_cosine_null_high"] < 0.2
    assert found.neurons["one_neuron"] == 0.05
    assert found.neurons["one_neuron_null"] == 0
    shares = [found.neurons[name] for name in ("one_neuron", "few_neurons", "dense")]
    assert sum(shares) == pytest.approx(1)
    assert found.features.loc[100:109, "best_neuron"].tolist() == list(range(10))
    assert len(found.features) == 200


def test_a_site_without_neurons_has_no_neuron_numbers(rng):
    weights, density = _planted(rng)
    found = describe("planted", weights, density, None, Anatomy(**SETTINGS), rng)
    assert found.neurons == {}
    assert set(found.features["n_neurons"]) == {0}
    assert set(found.features["best_neuron"]) == {-1}


def test_an_sae_that_hardly_fires_is_one_line(rng):
    weights, density = _planted(rng)
    density[9:] = 0
    density[:9] = 0.1
    with pytest.raises(InputError, match="planted: 9 of 200 features fire; 10 are needed"):
        describe("planted", weights, density, None, Anatomy(**SETTINGS), rng)


def _write_sae(path, weights, **names):
    arrays = {"W_enc": weights.encoder.T, "W_dec": weights.decoder, "b_enc": weights.bias}
    renamed = {names.get(name, name): array.astype(np.float32) for name, array in arrays.items()}
    write_arrays(path / "sae_weights.safetensors", renamed)


def test_weights_are_read_with_features_as_rows(tmp_path, rng):
    weights = _planted(rng)[0]
    _write_sae(tmp_path / "a", weights)
    found = read_weights(tmp_path / "a")
    np.testing.assert_allclose(found.encoder, weights.encoder, rtol=1e-6)
    np.testing.assert_allclose(found.decoder, weights.decoder, rtol=1e-6)
    _write_sae(tmp_path / "gated", weights, b_enc="b_gate")
    np.testing.assert_allclose(read_weights(tmp_path / "gated").bias, weights.bias, rtol=1e-6)
    _write_sae(tmp_path / "bad", weights, W_dec="decoder")
    with pytest.raises(InputError, match="expected W_enc, W_dec and b_enc or b_gate"):
        read_weights(tmp_path / "bad")


@pytest.fixture
def cached(tmp_path, tiny_model, rng):
    """SAEs, features and activations of a tiny model, on disk as the stages before leave them."""
    hooks = ["blocks.1.hook_mlp_out", "blocks.0.mlp.hook_post", "blocks.1.hook_resid_post"]
    for name, d_in in {"l1_mlp_out": 16, "l0_mlp_hook_post": 24, "l1_resid_post": 16}.items():
        weights, density = _planted(rng, d_in=d_in)
        _write_sae(tmp_path / "saes" / f"{name}_seed0", weights)
        fires = rng.random((3000, 200)) < 30 * density
        write_sparse(
            tmp_path / "features" / f"{name}_seed0.safetensors", sp.csr_matrix(1.0 * fires)
        )
    (tmp_path / "activations").mkdir()
    for hook, d in (*zip(hooks, (16, 24, 16), strict=True), ("document", 0)):
        x = rng.normal(size=(300, d)).astype(np.float16) if d else np.arange(300) // 10
        np.save(tmp_path / "activations" / f"{hook}.npy", x)
    model = {"hooks": hooks, "also_cache": [], "seeds": [0], "n_samples": 100}
    recipe = {"architecture": "topk", "sparsity": 2, "expansion": 8}
    params = {"anatomy": SETTINGS, "sae_models": {"tiny": model | recipe}}
    YAML().dump(params, tmp_path / "params.yaml")

    def run(out):
        sae_anatomy.command(
            "tiny", tiny_model, tmp_path / "saes", tmp_path / "features",
            tmp_path / "activations", tmp_path / out, tmp_path / "params.yaml",
        )  # fmt: skip
        return tmp_path / out

    return run


def test_stage_writes_the_same_tables_twice(cached):
    first, second = cached("one"), cached("two")
    names = sorted(path.name for path in first.iterdir())
    assert names == [
        f"{name}.parquet"
        for name in ("clusters", "directions", "features", "kurtosis", "neurons", "summary")
    ]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    summary = read_table(first / "summary.parquet")
    assert summary["sae"].tolist() == [
        "l1_mlp_out_seed0", "l0_mlp_hook_post_seed0", "l1_resid_post_seed0"
    ]  # fmt: skip
    assert summary["layer"].tolist() == [1, 0, 1]
    assert set(summary["n_positions"]) == {3000}
    neurons = read_table(first / "neurons.parquet").set_index("sae")
    assert neurons["n_neurons"].tolist() == [24, 24]  # neither has the residual stream
    assert len(read_table(first / "features.parquet")) == 600
    kurtosis = read_table(first / "kurtosis.parquet")
    assert sorted(kurtosis["n_neurons"]) == [16, 16, 24]
    assert set(kurtosis["n_positions"]) == {200}


def test_stage_without_activations_is_one_line(cached, tmp_path):
    for path in (tmp_path / "activations").glob("blocks*"):
        path.unlink()
    with pytest.raises(InputError, match="no activations in it"):
        cached("none")
    assert not (tmp_path / "none").exists()


def test_figures_show_clusters_counts_and_nulls(cached, tmp_path):
    folder = cached("tables")
    tables = {path.stem: read_table(path) for path in folder.iterdir()}
    one = tables["features"].query("sae == 'l1_mlp_out_seed0'")
    summary = tables["summary"].query("sae == 'l1_mlp_out_seed0'")
    with styled():
        figure = draw.clusters(one, summary)
        histogram, bias, _ = figure.axes
        counts = one["cluster"].value_counts()
        texts = histogram.get_legend_handles_labels()[1]
        names = ("high", "ultralow", "dead")
        assert texts == [f"{name}: {counts[name]}" for name in names]
        shown = [np.asarray(part.get_offsets()) for part in bias.collections]
        assert sum(map(len, shown)) == 200
        assert "two clusters" in histogram.get_title()
        figure = draw.directions(tables["directions"])
        entries = [text.get_text() for text in figure.legends[0].texts]
        assert entries[:3] == ["dead", "rare", "ultralow"]
        assert entries[3:] == ["null: Gaussian directions", "null: as many other features"]
        figure = draw.neurons(tables["neurons"], 5)
        assert [axes.get_title().split("\n")[0] for axes in figure.axes[:2]] == [
            "tiny, hook_mlp_out", "tiny, mlp.hook_post"
        ]  # fmt: skip
        figure = draw.kurtosis(tables["kurtosis"])
        assert "n = 200 positions" in figure.get_suptitle()
        save(figure, tmp_path / "figures", "kurtosis")
    assert (tmp_path / "figures" / "kurtosis.png").stat().st_size > 10_000
