"""A clone at toy size for the explorer: two models, their SAEs and features, one matched pair."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import parameter_sets
from universality.core.corpora import load_tokenizer, tokenize
from universality.core.features import (
    first_token_features,
    position_table,
    sparse_features,
    write_features,
)
from universality.core.io import read_sparse, write_table
from universality.core.models import load_bridge, new_model, save_model, train_tokenizer
from universality.core.params.models import SmallModel
from universality.studies.matching.params.matching import Pair

ROOT = Path(__file__).parents[1]
TEXTS = [
    "Once upon a time, there was a little cat named Tom. Tom liked to play in the sun.",
    "The dog saw a big red ball. It ran and ran until it was very tired.",
    "One day, a bird flew over the house. “Hello, bird,” said the girl. The naïve bird sang.",
]
D_SAE = 32
NAME = "seed_a_vs_stories15m"
PAIRS = {NAME: Pair(a="seed_a", b="stories15m", a_seed=0, b_seed=0)}
"""As in profiles/smoke.yaml."""
SIZE = SmallModel(
    vocab_size=300, d_model=16, n_layers=2, n_heads=2, d_mlp=24, context=128, n_tokens=1000,
    batch_tokens=256, learning_rate=0.01, warmup_fraction=0.1, weight_decay=0.1, log_every=5,
    checkpoints=[],
)  # fmt: skip


def make(root: Path) -> Path:
    """Fill `root`; the models of the pair have tokenizers of their own."""
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(parameter_sets.file("smoke"), root / "params.yaml")
    data = root / "data"
    for seed, (model, vocab_size) in enumerate((("seed_a", 300), ("stories15m", 270))):
        shape = SIZE.model_copy(update={"vocab_size": vocab_size})
        path = data / "models" / model
        save_model(new_model(shape, seed), train_tokenizer(TEXTS, vocab_size), path)
        _write_saes(data, model, seed)
    _write_tables(data)
    return root


def _write_saes(data: Path, model: str, seed: int) -> None:
    from sae_lens import TopKSAE, TopKSAEConfig

    bridge = load_bridge(data / "models" / model)
    tokenizer, bos = load_tokenizer(data / "models" / model)
    tokens = tokenize(TEXTS, range(len(TEXTS)), tokenizer, bos, 512)
    saes = {}
    for layer in (0, 1):
        torch.manual_seed(10 * seed + layer)
        sae = TopKSAE(TopKSAEConfig(d_in=16, d_sae=D_SAE, k=4))
        hook = sae.cfg.metadata.hook_name = f"blocks.{layer}.hook_mlp_out"
        with torch.no_grad():  # else what the untrained MLPs write is almost nothing
            sae.W_enc.mul_(100)
        name = f"l{layer}_mlp_out_seed0"
        sae.save_model(data / "saes" / model / name)
        saes[name] = (hook, sae)
    place, matrices = sparse_features(bridge, tokens, saes, 256, mask_special=True)
    write_features(
        data / "features" / model,
        position_table(tokens, place, tokenizer),
        matrices,
        first_token_features(bridge, tokens, saes),
    )


def partner_of(feature: int, layer: int) -> int:
    """Return the partner of a feature of A in either layer of B; -1: it has none."""
    return -1 if feature == 3 else (5 * feature + layer) % D_SAE


def _write_tables(data: Path) -> None:
    """Write what the explorer reads of the matching study, in which r is feature / 100."""
    folder = data / "tables" / "matching" / "pairs" / NAME
    count = {
        (model, layer): read_sparse(
            data / "features" / model / f"l{layer}_mlp_out_seed0.safetensors"
        ).getnnz(axis=0)
        for model in ("seed_a", "stories15m")
        for layer in (0, 1)
    }
    features = np.arange(D_SAE)
    forward, backward = [], []
    for a in (0, 1):
        for b in (0, 1):
            partner = np.array([partner_of(int(f), a) for f in features])
            back = np.full(D_SAE, -1)
            back[partner[partner >= 0]] = features[partner >= 0]
            back[partner[7]] = 9  # so that 7 is not mutual
            layers = {"layer_a": a, "layer_b": b}
            found = partner >= 0
            mutual = found & (back[partner] == features)
            columns = {"feature_a": features, "partner": partner, "r": features / 100}
            columns |= {"null_r": features / 1000, "mutual": mutual}
            columns |= {"count_a": count["seed_a", a]}
            forward.append(pd.DataFrame(columns).assign(**layers))
            columns = {"feature_b": features, "partner": back, "r": features / 200}
            columns |= {"count_b": count["stories15m", b]}
            backward.append(pd.DataFrame(columns).assign(**layers))
    for name, tables in (("features", forward), ("backward", backward)):
        table = pd.concat(tables, ignore_index=True)
        write_table(folder / f"{name}.parquet", table.sample(frac=1, random_state=0))
