"""The paper's own setting, end to end with the hub switched off.

Parameters are the profile with smaller sizes, commands those of dvc.yaml; the hub's cache holds
tiny models and a tiny dataset in the format of the real ones.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_hub
import torch
from ruamel.yaml import YAML
from torch.nn.functional import cross_entropy

import parameter_sets
from universality.core.params.base import read_yaml
from universality.params import load_params

ROOT = Path(__file__).resolve().parents[2]
PROFILE = parameter_sets.file("tinystories")
MODELS = {"ts_1l_21m": (1, 32), "ts_2l_33m": (2, 32), "ts_1m": (8, 8), "ts_3m": (8, 16)}
"""Layers as in the real models, and a small width."""
TEXTS = [
    "Anna had a red kite. The wind took it up, up, up into the big blue sky!",
    "A small frog sat on a leaf. “Hello,” said the frog, “will you play with me?”",
    "Max was sad because his cake fell down. His sister gave him half of her cake.",
    "The moon came out and the little owl woke up. She liked the quiet, dark wood.",
    "One day it rained so much that the café had to close, and Mia went home.",
]
TRAIN = ["", *(f"{text} {index} times. {text.upper()}" for index in range(14) for text in TEXTS)]
VALIDATION = [f" {text} The end.\n" for text in TEXTS * 3]
MAX_TOKENS, STEPS, BATCH = 48, 40, 64


def test_the_profile_is_the_papers_setting():
    params = load_params(PROFILE)
    training = params.sae_training
    for name in MODELS:
        wanted = params.sae_models[name]
        assert (wanted.architecture, wanted.sparsity, wanted.expansion) == ("standard", 5, 16)
        assert wanted.n_samples == 30_000 * training.batch_size
        assert wanted.seeds[0] == 42
        assert all(hook.endswith(".hook_mlp_out") for hook in wanted.hooks)
    assert params.sae_models["ts_1l_21m"].hooks == ["blocks.0.hook_mlp_out"]
    hooks = ["blocks.0.hook_mlp_out", "blocks.1.hook_mlp_out"]
    assert params.sae_models["ts_2l_33m"].hooks == hooks
    assert (training.learning_rate, training.batch_size) == (5e-5, 4096)
    assert (training.warmup_fraction, training.decay_fraction) == (0, 0.2)
    assert training.sparsity_warmup_fraction == 0.05
    assert params.activations.max_tokens == 512
    pair = params.pairs["ts_1l_vs_ts_2l"]
    assert (pair.a, pair.b) == ("ts_1l_21m", "ts_2l_33m")


def smaller(profile: dict[str, Any], sha256: dict[str, str]) -> dict[str, Any]:
    """The profile with smaller sizes, and the hashes of the tiny files that are read by hash."""
    profile["hub_corpora"]["tinystories"] |= {"n_documents": 65, "n_validation": 12}
    profile["activations"] |= {
        "max_tokens": MAX_TOKENS, "n_tokens": 2000, "batch_tokens": 512, "memory_mb": 1,
    }  # fmt: skip
    for wanted in profile["sae_models"].values():
        wanted["n_samples"] = STEPS * BATCH
    profile["sae_training"] |= {"batch_size": BATCH, "checkpoint_every": 15, "log_every": 10}
    profile["sae_evaluation"] |= {"n_documents": 8, "batch_tokens": 512, "n_bootstrap": 100}
    profile["features"] |= {"n_documents": 10, "batch_tokens": 512}
    profile["matching"] |= {"min_count": 2, "n_null": 2, "n_groups": 4}
    for name, value in sha256.items():
        profile["hub_models"][name]["pytorch_model_sha256"] = value
    return profile


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Folder of a run of the profile at toy size, and the models that the cache was made from."""
    folder = tmp_path_factory.mktemp("tinystories")
    hub = folder / "hf" / "hub"
    params = read_yaml(PROFILE)
    tokenizer, end = tiny_hub.tokenizer_files(TEXTS)
    models, sha256 = {}, {}
    for name, (n_layers, d) in MODELS.items():
        place = params["hub_models"][name]
        models[name] = tiny_hub.new_model(n_layers, d, end)
        pickled = "pytorch_model_sha256" in place
        files = tiny_hub.model_files(models[name], pickled)
        if pickled:
            sha256[name] = hashlib.sha256(files["pytorch_model.bin"]).hexdigest()
        if "tokenizer_revision" in place:
            tiny_hub.cache(hub, place["repo"], "model", place["tokenizer_revision"], tokenizer)
        else:
            files |= tokenizer
        tiny_hub.cache(hub, place["repo"], "model", place["revision"], files)
    text = params["hub_corpora"]["tinystories"]
    files = tiny_hub.dataset_files(TRAIN, VALIDATION)
    tiny_hub.cache(hub, text["path"], "dataset", text["revision"], files)
    params = smaller(params, sha256)
    YAML().dump(params, folder / "params.yaml")
    stages = [("hub_corpus", "tinystories"), *(("hub_model", name) for name in MODELS)]
    stages += [("activations", name) for name in ("ts_1l_21m", "ts_2l_33m", "ts_1m")]
    for stage in ("train_saes", "evaluate_saes", "features"):
        stages += [(stage, name) for name in ("ts_1l_21m", "ts_2l_33m")]
    close = ("match", "match_text", "match_agreement", "match_cards")
    stages += [(stage, "ts_1l_vs_ts_2l") for stage in close]
    stages.append(("match_neurons", "ts_1l_21m_vs_ts_2l_33m"))
    done = tiny_hub.run(folder, [["check"], *tiny_hub.commands(params, stages)])
    assert done.returncode == 0, done.stderr
    return folder / "data", models


def test_models_arrive_whole_as_safetensors(run):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    data, models = run
    for name, model in models.items():
        path = data / "models" / name
        assert not list(path.glob("*.bin"))
        loaded = AutoModelForCausalLM.from_pretrained(path)
        tokenizer = AutoTokenizer.from_pretrained(path)
        ids = tokenizer(TEXTS[2], return_tensors="pt").input_ids
        assert tokenizer.bos_token_id == loaded.config.bos_token_id == tokenizer.vocab_size - 1
        assert tokenizer.decode(ids[0]) == TEXTS[2]
        with torch.no_grad():
            assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_text_is_the_datasets_first_stories(run):
    from universality.core.corpora import read_corpus

    data, _ = run
    documents, texts = read_corpus(data / "corpora" / "tinystories", "train")
    assert texts == TRAIN[1:66]
    assert documents == list(range(65))
    _, texts = read_corpus(data / "corpora" / "tinystories", "validation")
    assert texts == [text.strip() for text in VALIDATION[:12]]


def forward(model: Any, ids: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits of one document, and the output of every MLP."""
    outputs: list[torch.Tensor] = []
    hooks = [
        block.mlp.register_forward_hook(lambda _module, _input, output: outputs.append(output[0]))
        for block in model.transformer.h
    ]
    with torch.no_grad():
        logits = model(ids[None]).logits[0]
    for hook in hooks:
        hook.remove()
    return logits, outputs


def tokens_of(data: Path, name: str, split: str) -> list[torch.Tensor]:
    from universality.core.corpora import load_tokens

    tokens = load_tokens(data / "corpora" / "tinystories", split, data / "models" / name, 48)
    parts = np.split(tokens.ids, tokens.bounds[1:-1])
    return [torch.from_numpy(part.astype(np.int64)) for part in parts]


@pytest.mark.parametrize("name", ["ts_1l_21m", "ts_2l_33m", "ts_1m"])
def test_activations_are_the_outputs_of_the_mlps(run, name):
    """Without padding, hooks or bridge, and longer than the window of local attention."""
    data, models = run
    folder = data / "activations" / name
    document, position = (np.load(folder / f"{key}.npy") for key in ("document", "position"))
    ids = tokens_of(data, name, "train")
    lengths = [len(ids[d]) for d in np.unique(document)]
    assert max(lengths) == MAX_TOKENS > 2 * tiny_hub.WINDOW
    assert len(document) == sum(lengths) - len(lengths) <= 2000  # every position but BOS
    assert position.min() == 1
    outputs = [forward(models[name], row)[1] for row in ids]
    files = sorted(folder.glob("blocks.*.npy"))
    assert len(files) == {"ts_1l_21m": 1, "ts_2l_33m": 2, "ts_1m": 3}[name]
    for file in files:
        layer = int(file.name.split(".")[1])
        expected = torch.stack(
            [outputs[d][layer][p] for d, p in zip(document, position, strict=True)]
        )
        stored = torch.from_numpy(np.load(file).astype(np.float32))
        assert expected.std() > 0.1
        torch.testing.assert_close(stored, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", ["ts_1l_21m", "ts_2l_33m"])
def test_saes_are_the_papers_and_are_judged_on_the_model(run, name):
    data, models = run
    folders = sorted((data / "saes" / name).iterdir())
    assert len(folders) == 2
    for folder in folders:
        config = json.loads((folder / "cfg.json").read_text())
        assert config["architecture"] == "standard"
        assert (config["d_in"], config["d_sae"]) == (32, 16 * 32)
    log = pd.read_parquet(data / "tables" / "saes" / "training" / f"{name}.parquet")
    assert log.groupby("sae").samples.max().tolist() == [STEPS * BATCH] * 2
    table = pd.read_parquet(data / "tables" / "saes" / "evaluation" / name / "evaluation.parquet")
    assert table.sae.tolist() == [folder.name for folder in folders]
    ids = tokens_of(data, name, "validation")[:8]
    losses = [cross_entropy(forward(models[name], row)[0][:-1], row[1:]) for row in ids]
    expected = np.average(losses, weights=[len(row) - 1 for row in ids])
    assert table.ce.to_numpy() == pytest.approx(expected, rel=1e-5)


def test_features_of_the_two_models_are_matched(run):
    folder = run[0] / "tables" / "matching" / "pairs" / "ts_1l_vs_ts_2l"
    table = pd.read_parquet(folder / "layers.parquet")
    assert table[["layer_a", "layer_b"]].to_numpy().tolist() == [[0, 0], [0, 1]]
    assert table[["d_a", "d_b"]].to_numpy().tolist() == [[512, 512]] * 2
    assert (table.n_features > 0).all()


def test_neurons_are_matched_layer_by_layer_as_far_as_both_go(run):
    table = pd.read_parquet(
        run[0] / "tables/matching/neurons/ts_1l_21m_vs_ts_2l_33m/headline.parquet"
    )
    assert table[["layer_a", "layer_b"]].to_numpy().tolist() == [[0, 0], [-1, -1]]
    assert (table.n_features > 0).all()


def test_partners_are_looked_at_again_by_text_weights_and_as_cards(run):
    name = "ts_1l_vs_ts_2l"
    text = pd.read_parquet(run[0] / "tables" / "matching" / "texts" / f"{name}.parquet")
    assert set(text["text"]) == {"training_text"}
    agreement = pd.read_parquet(
        run[0] / "tables" / "matching" / "agreement" / name / "summary.parquet"
    )
    assert (agreement["n_features"].to_numpy() > 0).all()
    assert (run[0] / "cards" / name / "index.html").stat().st_size > 1000
