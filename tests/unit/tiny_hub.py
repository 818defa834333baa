"""Tiny models and datasets in exactly the format of the hub's local cache, for tests.

The models are GPT-Neo as in roneneldan/TinyStories-*: files as transformers 4.28 wrote them, the
attention masks among the weights, GPT-2's tokenizer.
"""

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from universality.core.params.base import read_yaml

ROOT = Path(__file__).resolve().parents[2]
END = "<|endoftext|>"
WINDOW = 8
"""Of local attention, in tokens."""


def tokenizer_files(texts: list[str]) -> tuple[dict[str, bytes], int]:
    """Files of a GPT-2 tokenizer trained on `texts`, and the id of `<|endoftext|>`, the last."""
    from universality.core.models import train_tokenizer

    model = json.loads(train_tokenizer(texts, 330).to_str())["model"]
    pieces = [piece for piece in model["vocab"] if piece not in ("<s>", "</s>")]
    vocab = {piece: index for index, piece in enumerate([*pieces, END])}
    merges = [" ".join(pair) for pair in model["merges"]]
    token = {
        "content": END, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False,
    }  # fmt: skip
    tokens = ("bos_token", "eos_token", "unk_token")
    added = {"__type": "AddedToken", **token}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    state = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": vocab[END], "special": True, **token, "normalized": False}],
        "normalizer": None, "pre_tokenizer": byte_level,
        "post_processor": byte_level | {"add_prefix_space": True, "trim_offsets": False},
        "decoder": byte_level | {"add_prefix_space": True},
        "model": {
            "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "vocab": vocab, "merges": merges,
        },
    }  # fmt: skip
    config = {
        "add_bos_token": False, "add_prefix_space": False, "errors": "replace",
        "model_max_length": 2048, "pad_token": None, "special_tokens_map_file": None,
        "tokenizer_class": "GPT2Tokenizer", **dict.fromkeys(tokens, added),
    }  # fmt: skip
    files = {
        "tokenizer.json": json.dumps(state),
        "tokenizer_config.json": json.dumps(config, indent=2, sort_keys=True),
        "special_tokens_map.json": json.dumps(dict.fromkeys(tokens, token), indent=2),
        "vocab.json": json.dumps(vocab),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]),
    }
    return {name: text.encode() for name, text in files.items()}, vocab[END]


def new_model(n_layers: int, d: int, end: int) -> Any:
    """Return a model with random weights that are large enough to see what they do."""
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    kinds = ["global", "local"][:n_layers]
    config = GPTNeoConfig(
        activation_function="gelu_new", attention_dropout=0, bos_token_id=end, embed_dropout=0,
        attention_types=[[kinds, n_layers // len(kinds)]], eos_token_id=end, hidden_size=d,
        max_position_embeddings=64, num_heads=4, num_layers=n_layers, resid_dropout=0,
        vocab_size=end + 1, window_size=WINDOW,
    )  # fmt: skip
    torch.manual_seed(n_layers + d)
    model = GPTNeoForCausalLM(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return model


def model_files(model: Any, pickled: bool) -> dict[str, bytes]:
    """Return config and weights: `pytorch_model.bin`, and unless `pickled` also safetensors."""
    from safetensors.torch import save

    c = model.config
    config = {
        "activation_function": "gelu_new", "architectures": ["GPTNeoForCausalLM"],
        "attention_dropout": 0, "attention_layers": c.attention_layers,
        "attention_types": c.attention_types, "bos_token_id": c.bos_token_id, "embed_dropout": 0,
        "eos_token_id": c.eos_token_id, "gradient_checkpointing": False,
        "hidden_size": c.hidden_size, "initializer_range": 0.02, "intermediate_size": None,
        "layer_norm_epsilon": 1e-05, "max_position_embeddings": c.max_position_embeddings,
        "model_type": "gpt_neo", "num_heads": c.num_heads, "num_layers": c.num_layers,
        "resid_dropout": 0, "summary_activation": None, "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True, "summary_type": "cls_index", "summary_use_proj": True,
        "torch_dtype": "float32", "transformers_version": "4.28.1", "use_cache": True,
        "vocab_size": c.vocab_size, "window_size": c.window_size,
    }  # fmt: skip
    weights = dict(model.state_dict())
    for index, block in enumerate(model.transformer.h):
        name = f"transformer.h.{index}.attn.attention"
        weights[f"{name}.bias"] = block.attn.attention.bias.clone()
        weights[f"{name}.masked_bias"] = torch.tensor(-1e9)
    files = {"config.json": json.dumps(config, indent=2).encode()}
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    files["pytorch_model.bin"] = buffer.getvalue()
    if not pickled:
        del weights["lm_head.weight"]
        files["model.safetensors"] = save(weights, {"format": "pt"})
    return files


def cache(hub: Path, repo: str, kind: str, revision: str, files: dict[str, bytes]) -> None:
    """Add a commit to the cache: its files are links to blobs."""
    folder = hub / f"{kind}s--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(revision)
    for name, content in files.items():
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(content)
        link = folder / "snapshots" / revision / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))


def dataset_files(train: list[str], validation: list[str]) -> dict[str, bytes]:
    """Return the files of roneneldan/TinyStories: parquet shards, and others beside them."""
    half = len(train) // 2
    shards = {
        "train-00000-of-00002-2d5a1467fff1081b": train[:half],
        "train-00001-of-00002-5852b56a2bd28fd9": train[half:],
        "validation-00000-of-00001-869c898b519ad725": validation,
    }
    card = b"---\nlicense: cdla-sharing-1.0\n---\n"
    files = {"README.md": card, "TinyStories-train.txt": b"another version\n"}
    for name, texts in shards.items():
        buffer = io.BytesIO()
        pd.DataFrame({"text": texts}).to_parquet(buffer, index=False)
        files[f"data/{name}.parquet"] = buffer.getvalue()
    return files


def commands(params: dict[str, Any], stages: list[tuple[str, str]]) -> list[list[str]]:
    """Arguments of `universality` for (stage of dvc.yaml, key)."""
    defined = read_yaml(ROOT / "dvc.yaml")["stages"]
    found = []
    for stage, key in stages:
        section = re.sub(r"[${}]", "", defined[stage]["foreach"])
        context = params | {"key": key, "item": params[section][key]}

        def value(match: re.Match, context: dict = context) -> str:
            current: Any = context
            for part in match[1].split("."):
                current = current[part]
            return str(current)

        cmd = re.sub(r"\$\{([^}]+)\}", value, defined[stage]["do"]["cmd"])
        found.append(shlex.split(cmd)[1:])
    return found


RUN = """
import json, sys
from universality.cli import app
for command in json.loads(sys.argv[1]):
    app(command, standalone_mode=False)
"""


def run(folder: Path, arguments: list[list[str]]) -> subprocess.CompletedProcess[str]:
    """Run commands of `universality` in `folder` with its params.yaml and the cache in hf/hub."""
    (folder / "data").mkdir(exist_ok=True)
    shutil.copy(ROOT / "data" / "concepts.yaml", folder / "data")
    environment = os.environ | {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1"}
    for variable in ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HUGGINGFACE_HUB_CACHE"):
        environment.pop(variable, None)
    command = [sys.executable, "-c", RUN, json.dumps(arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
