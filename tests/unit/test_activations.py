import json

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kurtosis

from universality.core.activations import (
    ShuffledWriter,
    Statistics,
    collect,
    open_activations,
    write_cache,
)
from universality.core.corpora import load_tokens
from universality.core.errors import InputError
from universality.core.models import load_bridge
from universality.core.params.activations import Activations

HOOKS = ["blocks.0.hook_mlp_out", "blocks.1.hook_resid_post"]


@pytest.fixture(scope="module")
def tokens(tiny_corpus, tiny_model):
    """The tokens of the train split: more documents than in the validation split."""
    return load_tokens(tiny_corpus, "train", tiny_model, 64)


def _params(**changes) -> Activations:
    values = {
        "max_tokens": 64, "n_tokens": 10_000, "batch_tokens": 300, "dtype": "float16",
        "mask_special": True, "memory_mb": 64, "seed": 0,
    }  # fmt: skip
    return Activations(**(values | changes))


def test_cache_holds_every_position_of_every_hook_once(plain_bridge, tokens, tmp_path):
    write_cache(tmp_path, plain_bridge, tokens, HOOKS, _params())
    document, position = np.load(tmp_path / "document.npy"), np.load(tmp_path / "position.npy")
    assert len(document) == (~tokens.special).sum()
    assert len(set(zip(document.tolist(), position.tolist(), strict=True))) == len(document)
    assert position.min() == 1
    for row in (0, 7, len(document) - 1):
        first = tokens.bounds[document[row]]
        ids = torch.from_numpy(tokens.ids[first : tokens.bounds[document[row] + 1]]).long()
        with torch.inference_mode():
            cache = plain_bridge.run_with_cache(ids[None])[1]
        for hook in HOOKS:
            stored = open_activations(tmp_path, hook)[row].astype(np.float32)
            expected = cache[hook][0, position[row]].numpy()
            np.testing.assert_allclose(stored, expected, rtol=2e-3, atol=1e-3)
    assert json.loads((tmp_path / "tokens.json").read_text())["n_tokens"] == len(tokens.ids)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f"{hook}.npy" for hook in HOOKS]
        + ["document.npy", "position.npy", "statistics.json", "tokens.json"]
    )


def test_special_tokens_can_be_kept(plain_bridge, tokens, tmp_path):
    write_cache(tmp_path, plain_bridge, tokens, HOOKS[:1], _params(mask_special=False))
    assert (np.load(tmp_path / "position.npy") == 0).sum() == tokens.n_documents


def test_unknown_hook_names_those_there_are(plain_bridge, tokens):
    with pytest.raises(InputError, match=r"no hook 'blocks\.9\.hook_mlp_out'.*hook_mlp_out"):
        next(collect(plain_bridge, tokens, ["blocks.9.hook_mlp_out"], 100, True))


def test_a_hook_has_one_value_whatever_else_is_collected(plain_bridge, tokens):
    alone, both = (
        [part.activations[HOOKS[0]] for part in collect(plain_bridge, tokens, hooks, 300, True)]
        for hooks in (HOOKS[:1], HOOKS)
    )
    assert all(map(torch.equal, alone, both))
    assert len(alone) == len(both) > 1


def test_nan_names_hook_and_document(tiny_model, tokens):
    bridge = load_bridge(tiny_model)
    only_there = int(tokens.ids[tokens.bounds[5] + 4 :][0])
    with torch.no_grad():
        bridge.original_model.get_input_embeddings().weight[only_there] = torch.nan
    with pytest.raises(InputError, match=r"blocks\.0\.hook_mlp_out: NaN.* in document \d+"):
        list(collect(bridge, tokens, HOOKS, 300, True))


def test_overflow_of_half_precision_is_an_error(tiny_model, tokens, tmp_path):
    bridge = load_bridge(tiny_model)
    with torch.no_grad():
        for name, weight in bridge.original_model.named_parameters():
            if "down_proj" in name:
                weight *= 1e8
    with pytest.raises(InputError, match="as float16: NaN or infinite activation in document"):
        write_cache(tmp_path, bridge, tokens, HOOKS[:1], _params())


def _shuffle(folder, n, memory, seed, width=3):
    folder.mkdir(exist_ok=True)
    writer = ShuffledWriter(folder, {"x": (width, "float32"), "id": (0, "int64")}, n, memory, seed)
    for part in np.array_split(np.arange(n), 7):
        writer.add({"x": np.repeat(part[:, None], width, 1).astype("float32"), "id": part})
    writer.finish()
    return writer, np.load(folder / "id.npy"), np.load(folder / "x.npy")


@pytest.mark.parametrize("memory", [10**9, 4000])
def test_shuffle_is_a_permutation_shared_by_all_arrays(tmp_path, memory):
    writer, ids, x = _shuffle(tmp_path / "s", 1000, memory, 0)
    assert writer.n_buckets == (1 if memory > 10**6 else 9)
    assert np.array_equal(np.sort(ids), np.arange(1000))
    assert np.array_equal(x[:, 0], ids)
    assert np.array_equal(ids, _shuffle(tmp_path / "t", 1000, memory, 0)[1])
    assert not np.array_equal(ids, _shuffle(tmp_path / "u", 1000, memory, 1)[1])


def test_shuffle_is_uniform_over_buckets(tmp_path):
    # Where does row 0 of 6 end up? Equally often everywhere, although there are several buckets.
    counts = np.zeros(6)
    for seed in range(600):
        counts[np.flatnonzero(_shuffle(tmp_path / "s", 6, 60, seed)[1] == 0)] += 1
    assert chisquare(counts).pvalue > 1e-3


def test_announced_rows_are_checked(tmp_path):
    writer = ShuffledWriter(tmp_path, {"id": (0, "int64")}, 4, 1000, 0)
    writer.add({"id": np.arange(3)})
    with pytest.raises(ValueError, match="3 rows were added, 4 were announced"):
        writer.finish()


def test_statistics_are_those_of_scipy():
    x = np.random.default_rng(0).gamma(2.0, size=(500, 4))
    statistics = Statistics(4)
    for part in np.array_split(x, 3):
        statistics.add(torch.from_numpy(part))
    summary = statistics.summary()
    assert summary["n"] == 500
    assert summary["mean_norm"] == pytest.approx(np.linalg.norm(x, axis=1).mean())
    assert summary["rms"] == pytest.approx(np.sqrt(x.var(0).sum()))
    assert summary["excess_kurtosis"] == pytest.approx(np.median(kurtosis(x)))
