import numpy as np
import pytest
import scipy.sparse as sp
from ruamel.yaml import YAML

from universality.core.errors import InputError
from universality.core.io import read_table, write_arrays, write_sparse
from universality.core.sae_weights import SaeWeights, read_weights
from universality.core.style import styled
from universality.studies.saes.figures import anatomy as draw
from universality.studies.saes.params.anatomy import Anatomy
from universality.studies.saes.stages import sae_anatomy
from universality.studies.saes.study.anatomy import describe, geometry
from universality.studies.saes.study.neurons import unit

SETTINGS = {
    "rare_below": 1e-4, "explained": 0.9, "few": 5, "seed": 0,
}  # fmt: skip


def test_geometry_by_hand():
    encoder = np.array([[3.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 2]])
    decoder = np.array([[2.0, 0, 0, 0], [0, 0, 0.5, 0], [0, 0, 1, 0]])
    found = geometry(SaeWeights(encoder, decoder, np.array([-1.0, -1, 4])))
    np.testing.assert_allclose(found["encoder_bias"], [-2, -0.5, 4])
    np.testing.assert_allclose(found["encoder_decoder_cosine"], [1, 0.5**0.5, 0])


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
    counts = found.features["cluster"].value_counts().to_dict()
    assert counts == {"dead": 20, "ultralow": 40, "high": 140}
    assert set(found.features.query("cluster == 'ultralow'")["feature"]) == set(range(20, 60))
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
    """SAEs and features of a tiny model, on disk as the stages before leave them."""
    hooks = ["blocks.1.hook_mlp_out", "blocks.0.mlp.hook_post", "blocks.1.hook_resid_post"]
    for name, d_in in {"l1_mlp_out": 16, "l0_mlp_hook_post": 24, "l1_resid_post": 16}.items():
        weights, density = _planted(rng, d_in=d_in)
        _write_sae(tmp_path / "saes" / f"{name}_seed0", weights)
        fires = rng.random((3000, 200)) < 30 * density
        write_sparse(
            tmp_path / "features" / f"{name}_seed0.safetensors", sp.csr_matrix(1.0 * fires)
        )
    model = {"hooks": hooks, "also_cache": [], "seeds": [0], "n_samples": 100}
    recipe = {"architecture": "topk", "sparsity": 2, "expansion": 8}
    params = {"anatomy": SETTINGS, "sae_models": {"tiny": model | recipe}}
    YAML().dump(params, tmp_path / "params.yaml")

    def run(out):
        sae_anatomy.command(
            "tiny", tiny_model, tmp_path / "saes", tmp_path / "features", tmp_path / out,
            tmp_path / "params.yaml",
        )  # fmt: skip
        return tmp_path / out

    return run


def test_stage_writes_the_same_tables_twice(cached):
    first, second = cached("one"), cached("two")
    names = sorted(path.name for path in first.iterdir())
    assert names == [f"{name}.parquet" for name in ("features", "neurons", "summary")]
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


def test_figures_show_clusters_counts_and_nulls(cached):
    folder = cached("tables")
    tables = {path.stem: read_table(path) for path in folder.iterdir()}
    # Layer 0 has the neurons' SAE, layer 1 two: the first layer and the last are drawn.
    features = tables["features"].query("site != 'hook_resid_post'")
    with styled():
        figure = draw.clusters(features)
        figure.draw_without_rendering()
        assert [axes.get_title() for axes in figure.axes] == ["tiny, layer 0", "tiny, layer 1"]
        dead = (features.query("layer == 1")["density"] == 0).mean()
        assert figure.axes[1].texts[0].get_text() == f"never: {100 * dead:.0f}%"
        entries = [text.get_text() for text in figure.legends[0].texts]
        assert "lower of two clusters (ultralow)" in entries

        figure = draw.neurons(tables["neurons"], 5)
        figure.draw_without_rendering()
    first = tables["neurons"].query("site == 'hook_mlp_out'")
    lines = [np.asarray(line.get_ydata(), dtype=float) for line in figure.axes[1].lines]
    drawn = np.concatenate([line for line in lines if len(line) == 1])
    for column in ("best_neuron_cosine", "best_neuron_cosine_null"):
        assert np.isclose(drawn, first[column].item()).any(), column
