"""Profile `pretrained`, end to end with the hub switched off.

Parameters are the profile with smaller sizes, commands those of dvc.yaml; the hub's cache holds
tiny models of the same families and depths, and SAEs in the same files, made to explain what is at
the hooks that the profile names.
"""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import tiny_hub
import tiny_saes
import torch
from ruamel.yaml import YAML

import parameter_sets
from universality.core.errors import InputError
from universality.core.params.base import read_yaml
from universality.params import load_params

ROOT = tiny_hub.ROOT
PROFILE = parameter_sets.file("pretrained")
MODELS = {
    "gpt2_small": ("gpt2", 12), "gemma_2b": ("gemma", 18), "pythia_70m": ("neox", 6),
    "pythia_160m": ("neox", 12), "llama_3_8b": ("llama", 32),
}  # fmt: skip
"""Family and layers, as of the real models."""
PLACES = {
    "gpt2_small": [("stream", 6), ("stream", 8)],
    "gemma_2b": [("stream", 7), ("stream", 13)],
    "pythia_70m": [("mlp", 2), ("mlp", 3)],
    "pythia_160m": [("mlp", 5), ("mlp", 7)],
    "llama_3_8b": [("stream", 17)],
}
"""Where the SAEs of the profile belong: ("stream", 7) is what block 6 leaves and block 7 gets."""
PAIRS = ("gpt2_small_vs_gemma_2b", "pythia_70m_vs_pythia_160m", "gpt2_small_vs_llama_3_8b")
COMMIT = "c0ffee" + 34 * "0"
TEXTS = [
    "Anna had a red kite. The wind took it up, up, up into the big blue sky!",
    "A small frog sat on a leaf. “Hello,” said the frog, “will you play with me?”",
    "Max was sad because his cake fell down. His sister gave him half of her cake.",
    "The moon came out and the little owl woke up. She liked the quiet, dark wood.",
]
MAX_TOKENS, N_AXES = 48, 16
FACTOR = 0.21381938399317255


class Run(NamedTuple):
    """The profile at toy size."""

    folder: Path
    found: dict[str, dict[Any, torch.Tensor]]
    """Activations of each model on the validation text, by transformers alone."""


def test_middle_layers_are_compared_with_middle_layers():
    params = load_params(PROFILE)
    assert set(params.hub_saes) == set(params.hub_models) == set(MODELS)
    for name, (_, n_layers) in MODELS.items():
        for hook in params.hub_saes[name].hooks:
            assert 0.3 <= int(hook.split(".")[1]) / n_layers <= 0.7, hook
    assert {p.a for p in params.pairs.values()} | {p.b for p in params.pairs.values()} > set(MODELS)
    assert not set(params.sae_models) & set(MODELS)


def smaller(profile: dict[str, Any]) -> dict[str, Any]:
    """The profile with smaller sizes."""
    profile["hub_corpora"]["minipile"] |= {"n_documents": 4, "n_validation": 12}
    profile["activations"]["max_tokens"] = MAX_TOKENS
    profile["features"] |= {"n_documents": 12}
    profile["hub_saes"]["gemma_2b"]["n_documents"] = 10
    profile["hub_saes"]["llama_3_8b"]["n_documents"] = 8
    profile["sae_hooks"] |= {"n_bootstrap": 100}
    profile["matching"] |= {"min_count": 2, "n_null": 2, "n_groups": 4}
    subsets = {"topic_share": 0.2, "min_positions": 20}
    profile["matching"]["concepts"] |= {"n_random": 19, "subsets": subsets}
    return profile


def sae_files(name: str, section: dict[str, Any], found: dict[Any, torch.Tensor]) -> dict:
    """Files of a repository of SAEs, planted at `PLACES`."""
    files: dict[str, bytes] = {"README.md": b"---\nlicense: mit\n---\n"}
    for one, place in zip(section["saes"], PLACES[name], strict=True):
        x = found[place]
        if section["format"] == "sparsify":
            weights = tiny_saes.remembering(x, len(x))
            if name == "llama_3_8b":
                weights = {key: value.bfloat16() for key, value in weights.items()}
            files |= tiny_saes.sparsify_files(one["folder"], weights, k=1)
            continue
        factor = one.get("norm_scaling_factor")
        config: dict[str, Any] = {"model_name": name}
        if factor:
            config["normalize_activations"] = "expected_average_only_in"
        if section.get("centred"):
            x = x - x.mean(1, keepdim=True)
        weights = tiny_saes.principal(x, N_AXES, factor or 1)
        files |= tiny_saes.saelens_files(one["folder"], one["hook"], weights, **config)
    return files


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run everything that concerns pretrained models."""
    from tokenizers import Tokenizer

    from universality.core.corpora import tokenize

    folder = tmp_path_factory.mktemp("pretrained")
    hub = folder / "hf" / "hub"
    params = smaller(read_yaml(PROFILE))
    files, end = tiny_hub.tokenizer_files(TEXTS)
    found: dict[str, dict[Any, torch.Tensor]] = {}
    validation = [f" {text} The end.\n" for text in TEXTS * 3]
    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    texts = [text.strip() for text in validation]
    tokens = tokenize(texts, range(12), tokenizer, end, MAX_TOKENS)
    documents = [torch.from_numpy(ids).long() for ids in np.split(tokens.ids, tokens.bounds[1:-1])]
    for name, (family, n_layers) in MODELS.items():
        place = params["hub_models"][name]
        model = tiny_saes.new_model(family, n_layers, 32, end)
        # As on the hub: the large ones in half precision. Rounded first, so that both are the same.
        dtype = torch.bfloat16 if name in ("gemma_2b", "llama_3_8b") else torch.float32
        written = tiny_saes.model_files(model, tmp_path_factory.mktemp(name), dtype)
        tiny_hub.cache(hub, place["repo"], "model", place["revision"], written | files)
        section = params["hub_saes"][name]
        found[name] = tiny_saes.activations(model, documents)
        shared = sae_files(name, section, found[name])
        revision = COMMIT if section["revision"] == "main" else section["revision"]
        tiny_hub.cache(hub, section["repo"], "model", revision, shared)
    text = params["hub_corpora"]["minipile"]
    rows = tiny_hub.dataset_files(TEXTS, validation)
    tiny_hub.cache(hub, text["path"], "dataset", text["revision"], rows)
    YAML().dump(params, folder / "params.yaml")
    stages = [("hub_corpus", "minipile")]
    for stage in ("hub_model", "hub_saes", "sae_hooks", "hub_features"):
        stages += [(stage, name) for name in MODELS]
    stages += [("match", name) for name in PAIRS]
    done = tiny_hub.run(folder, [["check"], *tiny_hub.commands(params, stages)])
    assert done.returncode == 0, done.stderr
    return Run(folder, found)


@pytest.mark.parametrize("name", MODELS)
def test_saes_explain_most_at_the_hooks_of_the_profile(run, name):
    table = pd.read_parquet(run.folder / "data" / "tables" / "saes" / "hooks" / f"{name}.parquet")
    hooks = load_params(PROFILE).hub_saes[name].hooks
    assert table["hook"].drop_duplicates().tolist() == hooks
    for _, rows in table.groupby("sae"):
        own = rows["own"].to_numpy()
        assert own.sum() == 1
        assert rows["measured_at"][rows["own"]].item() == rows["hook"].iloc[0]
        explained = rows["explained_variance"].to_numpy()
        assert explained[own].item() > 0.75
        assert explained[~own].max() < explained[own].item() - 0.005
        assert len(rows) >= 4


def test_the_commit_that_main_was_is_known(run):
    for name, commit in {"pythia_70m": COMMIT, "llama_3_8b": None}.items():
        section = load_params(PROFILE).hub_saes[name]
        for path in (run.folder / "data" / "saes" / name).glob("*/cfg.json"):
            config = json.loads(path.read_text())
            assert config["metadata"]["hub_commit"] == (commit or section.revision)
            assert config["dtype"] == "float32"


def features(run: Run, name: str, sae: str) -> torch.Tensor:
    """Features by the pipeline, `(n_positions, d_sae)`."""
    from universality.core.io import read_sparse

    matrix = read_sparse(run.folder / "data" / "features" / name / f"{sae}.safetensors")
    return torch.from_numpy(matrix.toarray())


def test_features_are_the_shared_saes_on_the_models_own_states(run):
    """All by transformers and plain torch, in reading order."""
    x = run.found["gpt2_small"]["stream", 6]
    x = x - x.mean(1, keepdim=True)
    w = tiny_saes.principal(x, N_AXES)
    expected = ((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]).relu()
    found = features(run, "gpt2_small", "l6_resid_pre_seed0")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)

    x = run.found["gemma_2b"]["stream", 13]
    w = tiny_saes.principal(x, N_AXES, FACTOR)
    expected = ((FACTOR * x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]).relu()
    found = features(run, "gemma_2b", "l12_resid_post_seed0")
    assert len(found) < len(expected)  # it reads fewer documents
    torch.testing.assert_close(found, expected[: len(found)], rtol=1e-4, atol=1e-3)

    x = run.found["pythia_160m"]["mlp", 7]
    w = tiny_saes.remembering(x, len(x))
    highest = ((x - w["b_dec"]) @ w["encoder.weight"].T).max(1).values
    found = features(run, "pythia_160m", "l7_mlp_out_seed0")
    assert found.count_nonzero(1).tolist() == [1] * len(x)
    torch.testing.assert_close(found.max(1).values, highest, rtol=1e-4, atol=1e-3)


def test_slow_models_read_less(run):
    for name, n in {"gpt2_small": 12, "gemma_2b": 10, "llama_3_8b": 8}.items():
        tokens = json.loads((run.folder / "data" / "features" / name / "tokens.json").read_text())
        assert len(tokens["documents"]) == n


@pytest.mark.parametrize("name", PAIRS)
def test_features_of_each_pair_are_matched(run, name):
    table = pd.read_parquet(
        run.folder / "data" / "tables" / "matching" / "pairs" / name / "layers.parquet"
    )
    pair = load_params(PROFILE).pairs[name]
    hooks = [load_params(PROFILE).hub_saes[key].hooks for key in (pair.a, pair.b)]
    layers = [[int(hook.split(".")[1]) for hook in side] for side in hooks]
    expected = [[a, b] for a in layers[0] for b in layers[1]]
    assert table[["layer_a", "layer_b"]].to_numpy().tolist() == expected
    assert (table.n_features > 0).all()


def test_saes_at_the_wrong_layer_stop_the_pipeline(run):
    """Pythia's two SAEs with their places exchanged: one line, the table, and no features."""
    from universality.studies.saes.stages import hub_features, sae_hooks

    data, names = run.folder / "data", ("l2_mlp_out_seed0", "l3_mlp_out_seed0")
    for one, other in (names, names[::-1]):
        shutil.copytree(data / "saes" / "pythia_70m" / one, data / "saes" / "swapped" / other)
    table, out = data / "tables" / "swapped.parquet", data / "features" / "swapped"
    common: dict[str, Any] = {
        "key": "pythia_70m", "model": data / "models" / "pythia_70m",
        "saes": data / "saes" / "swapped", "corpus": data / "corpora" / "minipile",
        "max_tokens": MAX_TOKENS, "params": run.folder / "params.yaml",
    }  # fmt: skip
    with pytest.raises(InputError) as error:
        sae_hooks.command(**common, out=table)
    said = str(error.value)
    assert said.startswith("hub_saes.pythia_70m: l2_mlp_out_seed0 explains ")
    assert ", and 1.000 at blocks.3.hook_mlp_out; l3_mlp_out_seed0 explains " in said
    assert "\n" not in said
    assert len(pd.read_parquet(table)) >= 8
    with pytest.raises(InputError, match="l2_mlp_out_seed0 explains"):
        hub_features.command(**common, hooks=table, out=out)
    assert not out.exists()


def test_models_of_both_kinds_cannot_share_a_name(tmp_path):
    params = read_yaml(PROFILE)
    params["sae_models"]["gpt2_small"] = params["sae_models"]["seed_a"]
    params["pairs"]["gpt2_small_vs_gemma_2b"]["b_seed"] = 3
    params["close_pairs"]["gpt2_small_vs_llama_3_8b"] = params["pairs"]["gpt2_small_vs_llama_3_8b"]
    YAML().dump(params, tmp_path / "params.yaml")
    with pytest.raises(InputError) as error:
        load_params(tmp_path / "params.yaml")
    assert "'gpt2_small' is in both sae_models and hub_saes" in str(error.value)
    assert "names SAE seed 3 of gemma_2b; there is: 0" in str(error.value)
    assert "close_pairs.gpt2_small_vs_llama_3_8b names 'llama_3_8b'" in str(error.value)
