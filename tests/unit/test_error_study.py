"""Removal of features, and the whole study of an SAE's error: tables, figures, stage."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from stand_ins import HOOKS, Signs

from universality.core.corpora import load_tokenizer, load_tokens
from universality.core.errors import InputError
from universality.core.features import position_table
from universality.core.splicing import (
    LinearDecoder,
    encode,
)
from universality.core.style import styled
from universality.studies.saes.figures import removal as draw_removal
from universality.studies.saes.figures import token_error as draw_error
from universality.studies.saes.params.token_error import SaeErrors
from universality.studies.saes.stages import sae_errors
from universality.studies.saes.study import removal
from universality.studies.saes.study.error_study import Texts, read_texts, study

NEIGHBOURS = {
    "n_neighbours": 3, "umap_hook": 0, "umap_tokens": 60, "umap_neighbours": 5,
    "umap_min_dist": 0.05,
}  # fmt: skip
FITS = {"n_documents": 8, "density_thresholds": [0.4], "ridge": 1.0}
VALUES = {
    "n_documents": 5, "n_removal_documents": 4, "batch_tokens": 100, "tail_shares": [0.05],
    "removed": [1, 4, 99], "neighbours": NEIGHBOURS, "fits": FITS, "n_null": 199,
    "n_bootstrap": 100, "seed": 0,
}  # fmt: skip


# Removal


def test_ranks_and_removal_by_hand():
    features = sp.csr_matrix(np.array([[5.0, 0, 1, 3], [0, 0, 0, 0], [0, 2, 4, 0]]))
    ranks = removal.ranks_in_rows(features, features.data)
    assert ranks.tolist() == [2, 0, 1, 0, 1]
    left = removal.without(features, ranks < 1)
    assert left.toarray().tolist() == [[5, 0, 0, 3], [0, 0, 0, 0], [0, 0, 4, 0]]
    assert left.nnz == 3


def test_removing_features_of_each_token(outcomes):
    sae = Signs()
    features, decoder = encode(sae, outcomes.x), LinearDecoder(sae)
    rng = np.random.default_rng(0)
    table = removal.remove_per_token(features, decoder, [4, 1, 99], outcomes, rng)
    assert list(zip(table["which"], table["removed"], strict=True)) == [
        ("lowest", 0), ("random", 1), ("lowest", 1), ("highest", 1),
        ("random", 4), ("lowest", 4), ("highest", 4),
    ]  # fmt: skip
    # The decoder is orthonormal: what is lost is the squared size of what is removed.
    square = np.sort(np.square(outcomes.x, dtype=np.float64), axis=1)
    mse, ce, against = (table[name].to_numpy() for name in ("mse", "ce_difference",
                                                            "ce_minus_random"))  # fmt: skip
    sums = [square[:, part].sum(1).mean() for part in (slice(1), slice(-1, None), slice(4),
                                                       slice(-4, None))]  # fmt: skip
    np.testing.assert_allclose(mse[[2, 3, 5, 6]], sums, rtol=1e-4, atol=1e-8)
    assert mse[1] == pytest.approx(square.mean(), rel=0.25)
    assert mse[4] == pytest.approx(4 * square.mean(), rel=0.25)
    np.testing.assert_allclose(table["l0"], [16, 15, 15, 15, 12, 12, 12])
    assert ce[0] == pytest.approx(0, abs=1e-4)
    assert against[1] == against[4] == 0
    assert against[6] == pytest.approx(ce[6] - ce[4])
    assert against[6] != 0


def test_height_is_what_a_feature_adds(outcomes):
    class Rescaled(Signs):
        """The same reconstruction, with the sizes of the activations turned upside down."""

        def encode(self, x):
            return super().encode(x) * self.scale

        def decode(self, features):
            return super().decode(features / self.scale)

        scale = 10.0 ** torch.arange(32).float().remainder(5)

    tables = []
    for sae in (Signs(), Rescaled()):
        features, rng = encode(sae, outcomes.x), np.random.default_rng(0)
        decoder = LinearDecoder(sae)
        tables.append(removal.remove_per_token(features, decoder, [3], outcomes, rng))
    np.testing.assert_allclose(tables[0]["mse"], tables[1]["mse"], rtol=1e-3, atol=1e-8)


def test_random_set_of_equal_l0():
    rng = np.random.default_rng(0)
    density = np.concatenate([[0.9, 0.6], rng.uniform(0, 0.05, 500), np.zeros(100)])
    like = density > 0.5
    sets = [removal.random_of_equal_l0(density, like, rng) for _ in range(20)]
    for chosen in sets:
        assert density[chosen].sum() == pytest.approx(1.5, abs=0.02)
        assert not chosen[density == 0].any()
    assert len({chosen.tobytes() for chosen in sets}) == 20


def test_removing_the_densest(outcomes):
    sae = Signs()
    features, decoder = encode(sae, outcomes.x), LinearDecoder(sae)
    density = np.linspace(0.01, 0.9, 32)
    table = removal.remove_dense(
        features, density, decoder, [0.5, 0.8, 0.95], outcomes, np.random.default_rng(0)
    )
    assert table["which"].tolist() == ["random", "high_frequency"] * 2  # nothing is above .95
    assert table["threshold"].tolist() == [0.8, 0.8, 0.5, 0.5]
    dense = table.query("which == 'high_frequency'")
    assert dense["n_removed"].tolist() == [int((density > t).sum()) for t in (0.8, 0.5)]
    left = features.toarray()[:, density <= 0.5]
    assert dense["l0"].iloc[1] == pytest.approx((left > 0).sum(1).mean())
    fewer, more = dense["mse"].to_numpy()
    assert more > fewer > 0
    against = table["ce_minus_random"].to_numpy()
    assert not against[[0, 2]].any()
    assert against[[1, 3]].all()


# The whole study, its figures and its stage


@pytest.fixture(scope="module")
def texts(bridge, tokens, tiny_corpus, tiny_model) -> Texts:
    train = load_tokens(tiny_corpus, "train", tiny_model, 64, 8)
    return read_texts(bridge, tokens, train, HOOKS, SaeErrors(**VALUES))


@pytest.fixture(scope="module")
def tables(texts, tiny_model):
    tokenizer = load_tokenizer(tiny_model)[0]
    pieces = position_table(texts.judged.tokens, texts.judged.place, tokenizer)
    saes = {hook: (f"l{i}", Signs(0.8)) for i, hook in enumerate(HOOKS)}

    def run():
        found = study(texts, saes, pieces, SaeErrors(**VALUES))
        return {
            name: table if name == "correlations" else table.assign(
                model="tiny", layer=[int(sae[1]) for sae in table["sae"]],
                hook=[HOOKS[int(sae[1])] for sae in table["sae"]],
            )
            for name, table in found.items()
        }  # fmt: skip

    first, second = run(), run()
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, second[name], check_exact=True, obj=name)
    return first


def test_study_of_an_sae_that_shrinks(tables, texts):
    layers = tables["layers"]
    np.testing.assert_allclose(layers["norm_ratio"], 0.8, rtol=1e-5)
    np.testing.assert_allclose(layers["global_scale"], 1.25, rtol=1e-5)
    assert (layers["norm_ratio_null"] > 0.97).all()
    rescaled = tables["scales"].set_index(["sae", "scale"])
    for sae in ("l0", "l1"):
        assert rescaled.loc[(sae, "one"), "explained_variance"] == pytest.approx(1)
        gain = rescaled.loc[(sae, "one"), "ce_gain"]
        assert gain == pytest.approx(rescaled.loc[(sae, "none"), "ce_difference"], abs=1e-4)
        assert rescaled.loc[(sae, "per_feature"), "explained_variance"] > 0.98
    assert len(tables["tokens"]) == 2 * len(texts.judged.place)
    first = tables["tokens"].query("sae == 'l0'")
    np.testing.assert_allclose(first["error"], 0.2 * first["norm"], rtol=1e-4)
    assert layers["ce_difference"][0] == pytest.approx(first["ce_difference"].mean(), abs=1e-6)
    assert texts.removal.tokens.n_documents == 4
    assert len(tables["map"]) == 60
    assert np.isfinite(tables["map"][["x", "y"]].to_numpy()).all()
    for name, table in tables.items():
        assert np.isfinite(table.select_dtypes("number").to_numpy()).all(), name


def test_what_is_not_asked_for_is_not_computed(bridge, tokens, tiny_model, tables):
    params = SaeErrors.model_validate(VALUES | {"neighbours": None, "fits": None})
    texts = read_texts(bridge, tokens, None, HOOKS[:1], params)
    assert texts.fit is None
    pieces = position_table(tokens, texts.judged.place, load_tokenizer(tiny_model)[0])
    found: Any = study(texts, {HOOKS[0]: ("l0", Signs(0.8))}, pieces, params)
    assert set(found) == {"layers", "tokens", "quantiles", "tails", "removal", "correlations"}
    # What is computed is the same as beside the rest.
    whole = tables["layers"].query("sae == 'l0'")
    columns = [name for name in found["layers"] if name != "sae"]
    pd.testing.assert_frame_equal(found["layers"][columns], whole[columns], check_exact=True)
    more = set(whole.columns) - set(found["layers"].columns) - {"model", "hook", "layer"}
    starts = {name.split("_")[0] for name in more}
    assert starts == {"norm", "neighbours", "global", "mean", "scale"}


def test_figures_show_the_tables(tables):
    named = {"tiny": tables}
    evaluation = {"model": "tiny", "hook": HOOKS[0], "l0": 8.0, "ce_loss_recovered": 0.5}
    evaluations = pd.DataFrame(
        [evaluation | {"ce_loss_recovered_low": 0.4, "ce_loss_recovered_high": 0.6}]
    )
    with styled():
        errors, maps = draw_error.error_tokens(named), draw_error.error_maps(named)
        lost = draw_removal.removals(named)
        dense = draw_removal.high_frequency(named, evaluations)
        norms = draw_removal.norms_and_scales(named)
        for figure in (errors, maps, lost, dense, norms):
            figure.draw_without_rendering()
    costs = [np.asarray(line.get_ydata(), dtype=float) for line in errors.axes[0].lines]
    assert any(np.array_equal(y, tables["layers"]["ce_difference"]) for y in costs)
    points: Any = maps.axes[0].collections[0].get_offsets()
    assert len(points) == 60
    stars = [
        [list(np.asarray(line.get_xdata())) for line in axes.lines if line.get_marker() == "*"]
        for axes in dense.axes
    ]
    assert stars == [[[8.0]], [[]]]  # the other layer has no trained SAE
    lowest = tables["removal"].query("sae == 'l0' and which == 'lowest'")
    drawn = np.asarray(lost.axes[0].lines[0].get_ydata())
    np.testing.assert_allclose(drawn, lowest["ce_difference"])
    assert len(norms.axes) == 4


def test_figure_of_a_model_with_one_layer(tables):
    one = {name: table.query("sae == 'l0'") for name, table in tables.items()
           if name != "correlations"}  # fmt: skip
    one["correlations"] = pd.DataFrame(columns=["sae_a", "sae_b"])
    with styled():
        figure = draw_error.error_tokens({"tiny": one})
        figure.draw_without_rendering()
    assert "nothing to correlate" in figure.axes[2].get_title()


def test_a_hook_that_is_not_there_is_one_line(tmp_path):
    from ruamel.yaml import YAML

    model = {
        "architecture": "topk", "sparsity": 3, "expansion": 2, "hooks": HOOKS, "also_cache": [],
        "n_samples": 1000, "seeds": [0],
    }  # fmt: skip
    path = tmp_path / "params.yaml"
    beyond = VALUES | {"neighbours": NEIGHBOURS | {"umap_hook": 2}}
    values = {"sae_errors": beyond, "sae_models": {"m": model}}
    YAML(typ="safe").dump(values, path)
    with pytest.raises(InputError, match=r"umap_hook is 2; m has 2 hooks"):
        sae_errors.command("m", tmp_path, tmp_path, tmp_path, 64, tmp_path / "out", path)
    loose = VALUES | {"fits": FITS | {"ridge": 0}}
    YAML(typ="safe").dump({"sae_errors": loose, "sae_models": {"m": model}}, path)
    with pytest.raises(InputError, match=r"'fits\.ridge' is 0"):
        sae_errors.command("m", tmp_path, tmp_path, tmp_path, 64, tmp_path / "out", path)
    assert not (tmp_path / "out").exists()
