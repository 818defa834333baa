"""Stitching: planted maps, parity, and a model stitched into itself and into another."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from universality.core.corpora import read_corpus
from universality.core.errors import InputError
from universality.core.io import read_table
from universality.core.models import load_bridge, new_model, save_model, train_tokenizer
from universality.core.splicing import Intervals
from universality.studies.spaces.params.layers import Stitching
from universality.studies.spaces.similarity import stitch_study
from universality.studies.spaces.similarity.stitching import apply, explained, fit
from universality.studies.spaces.stages import stitch_models

SECTION = Stitching(
    n_fit_documents=30, n_documents=5, batch_tokens=256, ridge=1e-9, n_bootstrap=100, seed=0
)


def chunks(x, y, size=70):
    return ((x[i : i + size], y[i : i + size]) for i in range(0, len(x), size))


def test_a_planted_map_is_found_exactly(rng):
    x = (rng.standard_normal((400, 6)) + 1000).astype(np.float32)
    weight, bias = rng.standard_normal((6, 4)), rng.standard_normal(4)
    y = x.astype(np.float64) @ weight + bias
    found = fit(chunks(x, y), 0)
    np.testing.assert_allclose(found.weight, weight, atol=1e-7)
    fresh = rng.standard_normal((50, 6)) + 1000
    np.testing.assert_allclose(apply(found, fresh), fresh @ weight + bias, atol=1e-6)
    assert explained(found, x, y) == pytest.approx(1)


def test_ridge_is_that_of_sklearn_and_does_not_shrink_the_mean(rng):
    x = rng.standard_normal((300, 5)) * [1, 2, 3, 4, 5] + 7
    y = x[:, :3] + rng.standard_normal((300, 3)) - 20
    theirs = Ridge(alpha=0.3 * x.var(axis=0).mean() * 300).fit(x, y)
    found = fit(chunks(x, y), 0.3)
    np.testing.assert_allclose(found.weight, theirs.coef_.T, atol=1e-10)
    np.testing.assert_allclose(apply(found, x), theirs.predict(x), atol=1e-9)
    error = np.sum((y - theirs.predict(x)) ** 2)
    assert explained(found, x, y) == pytest.approx(1 - error / np.sum((y - y.mean(0)) ** 2))


def test_shuffled_pairs_explain_nothing_of_other_samples(rng):
    x = rng.standard_normal((2000, 6))
    y = x @ rng.standard_normal((6, 4))
    true = fit([(x[:1000], y[:1000])], 0)
    shuffled = fit([(x[:1000], y[:1000][rng.permutation(1000)])], 0)
    assert explained(true, x[1000:], y[1000:]) == pytest.approx(1)
    assert abs(explained(shuffled, x[1000:], y[1000:])) < 0.05


def test_bad_samples_are_errors(rng):
    x = rng.standard_normal((10, 2))
    for bad, message in (
        ([], "no samples"),
        ([(x, x[1:])], "10 samples of one and 9"),
        ([(x, np.full((10, 1), np.nan))], "NaN"),
        ([(np.ones((10, 2)), x)], "no column"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(bad, 0.1)


@pytest.fixture(scope="module")
def models(small, tiny_corpus, tmp_path_factory) -> dict[str, Path]:
    """Two models of different seeds and one of another tokenizer, weights enlarged to matter."""
    folder, found = tmp_path_factory.mktemp("stitched"), {}
    _, texts = read_corpus(tiny_corpus, "validation")
    for name, seed, vocab_size in (("a", 0, 300), ("b", 1, 300), ("other", 2, 270)):
        tokenizer = train_tokenizer(texts, vocab_size)
        model = new_model(small.model_copy(update={"vocab_size": 300}), seed)
        with torch.no_grad():
            for key, weight in model.named_parameters():
                weight *= 10 if "down_proj" in key or "o_proj" in key else 3
        found[name] = folder / name
        save_model(model, tokenizer, found[name])
    return found


def _stitched(models, corpus, a, b):
    reader = stitch_study.Reader(models[b], corpus, 64, SECTION)
    of_b = reader.read("train"), reader.read("validation")
    source = stitch_study.Reader(models[a], corpus, 64, SECTION)
    of_a = source.read("train"), source.read("validation")
    rng = np.random.default_rng(0)
    sources = [
        stitch_study.fit_source("a", of_a, of_b, SECTION.ridge),
        stitch_study.fit_source("shuffled", of_a, of_b, SECTION.ridge, rng),
        stitch_study.fit_source("control", of_a, of_b, SECTION.ridge),
    ]
    model = reader.spliced()
    intervals = Intervals(model.documents, 100, np.random.default_rng(0))
    return stitch_study.stitch(model, reader.hooks, sources, intervals), model


def test_a_model_stitched_into_itself_is_unchanged_and_shuffled_is_not(models, tiny_corpus):
    tables, _ = _stitched(models, tiny_corpus, "a", "a")
    stitches = tables["stitches"].set_index(["source", "layer_a", "layer_b"])
    layers = tables["layers"].set_index("layer_b")
    assert layers["n_replaced"].to_list() == layers["n_judged"].to_list()
    for layer in range(2):
        own, clean = stitches.loc[("a", layer, layer)], layers.loc[layer, "ce_clean"]
        assert own["ce"] == pytest.approx(clean, abs=1e-4)
        assert own["recovered"] == pytest.approx(1, abs=1e-3)
        assert own["r2"] == pytest.approx(1, abs=1e-6)
        shuffled = stitches.loc[("shuffled", layer, layer)]
        assert shuffled["recovered"] < 0.5
        assert abs(shuffled["ce"] - clean) > 100 * abs(own["ce"] - clean)
    best = tables["best"]
    assert best["layer_a"].to_list() == [0, 1]
    np.testing.assert_allclose(best["recovered_control"], best["recovered"])
    np.testing.assert_allclose(best["over_control"], 0, atol=1e-12)


def test_hooks_are_gone_after_stitching(models, tiny_corpus):
    _, model = _stitched(models, tiny_corpus, "b", "a")
    ids = torch.tensor([[0, 5, 9, 40, 7]])
    fresh = load_bridge(models["a"])
    with torch.inference_mode():
        torch.testing.assert_close(model.bridge(ids), fresh(ids), rtol=0, atol=0)


def test_only_shared_positions_are_replaced_where_tokenizers_differ(models, tiny_corpus):
    tables, model = _stitched(models, tiny_corpus, "other", "a")
    layers = tables["layers"]
    assert 0 < layers["n_replaced"].iloc[0] < layers["n_judged"].iloc[0]
    reader = stitch_study.Reader(models["other"], tiny_corpus, 64, SECTION)
    positions = reader.read("validation").positions
    ends = set(zip(positions["document"], positions["end"], strict=True))
    tokens = model.tokens
    mine = zip(tokens.documents[model.documents], tokens.end[model.place], strict=True)
    expected = len({key for key in mine if key in ends})
    assert layers["n_replaced"].iloc[0] == expected


def test_stage_writes_its_tables(models, tiny_corpus, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("stitching: " + SECTION.model_dump_json())

    def run(a: str, out: Path) -> None:
        stitch_models.command(
            "pair", models[a], models["a"], models["b"], tiny_corpus, 64, out, path
        )

    run("other", tmp_path / "one")
    run("other", tmp_path / "two")
    for name in ("layers", "stitches", "best"):
        one, two = ((tmp_path / out / f"{name}.parquet").read_bytes() for out in ("one", "two"))
        assert one == two
    best = read_table(tmp_path / "one" / "best.parquet")
    assert np.isfinite(best.to_numpy(dtype=float)).all()
    stitches = read_table(tmp_path / "one" / "stitches.parquet")
    assert stitches["source"].value_counts().to_dict() == {"a": 4, "shuffled": 2, "control": 2}
    with pytest.raises(InputError, match=r"config\.json"):
        stitch_models.command(
            "pair", tmp_path / "none", models["a"], models["b"], tiny_corpus, 64, tmp_path, path
        )
