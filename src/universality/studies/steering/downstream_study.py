"""Which features a vector changes downstream: every contrast, layer by layer."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.core.contexts import positions
from universality.core.corpora import Tokens, load_tokenizer, read_corpus, tokenize
from universality.core.errors import InputError
from universality.core.features import encode, hook_rows, position_table
from universality.core.hooks import layer as layer_of
from universality.core.hooks import site
from universality.core.progress import progress
from universality.core.randomness import generator
from universality.studies.matching.files import hook_name
from universality.studies.saes.evaluation import load_sae
from universality.studies.steering.contexts import all_contexts
from universality.studies.steering.contrasts import ContrastTokens
from universality.studies.steering.downstream import (
    Text,
    change,
    changed_features,
    read,
    spread_row,
)
from universality.studies.steering.intervene import Addition
from universality.studies.steering.params.steering import Downstream, Steering
from universality.studies.steering.vectors import METHODS, pair_activations, random_like

_BATCH_TOKENS = 4096


def find_saes(folder: Path, seed: int, prefix: str = "") -> dict[str, Path]:
    """Return hook -> SAE of a folder, named `<prefix>l<layer>_..._seed<seed>`."""
    name = re.compile(rf"{re.escape(prefix)}l\d+_.+_seed{seed}")
    found = {
        hook_name(path.parent): path.parent
        for path in sorted(folder.glob("*/cfg.json"))
        if name.fullmatch(path.parent.name)
    }
    if not found:
        raise InputError(f"{folder}: no SAE named {prefix}l..._seed{seed}")
    return found


def downstream_hooks(saes: Mapping[str, Any], steered_at: str) -> list[str]:
    """Return those hooks of `saes` that an addition at `steered_at` can change, in order."""
    layer = layer_of(steered_at)
    found = [hook for hook in saes if hook == steered_at or layer_of(hook) > layer]
    return sorted(found, key=lambda hook: (layer_of(hook), hook))


def place_columns(
    contrast: str, steered_at: str, multiplier: float, place: str
) -> dict[str, str | int | float]:
    """Return the columns that say what was added where, and where it was looked at."""
    return {
        "contrast": contrast, "steered_layer": layer_of(steered_at), "multiplier": multiplier,
        "hook": place, "site": site(place).removeprefix("hook_"), "layer": layer_of(place),
    }  # fmt: skip


def fixed_text(corpus: Path, model: Path, n_documents: int, n_tokens: int) -> np.ndarray:
    """Return the first validation documents that are long enough, cut: `(n, n_tokens)`."""
    documents, texts = read_corpus(corpus, "validation")
    tokenizer, bos = load_tokenizer(model)
    found, first = [], 0
    while len(found) < n_documents and first < len(texts):
        part = slice(first, first + n_documents)
        tokens = tokenize(texts[part], documents[part], tokenizer, bos, n_tokens)
        whole = np.flatnonzero(tokens.lengths == n_tokens)
        found += [tokens.ids[tokens.bounds[i] : tokens.bounds[i + 1]] for i in whole]
        first += n_documents
    if len(found) < n_documents:
        raise InputError(
            f"{corpus}: {len(found)} validation documents have {n_tokens} tokens; "
            f"{n_documents} are needed"
        )
    return np.stack(found[:n_documents]).astype(np.int64)


def study(
    bridge: Any, ids: np.ndarray, saes: Mapping[str, Any],
    contrasts: Mapping[str, ContrastTokens], section: Downstream, shared: Steering,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return the tables `spread` (see `spread_row`) and `features` (see `changed_features`).

    Both name contrast, steered_layer, multiplier, hook, site and layer.
    """
    hooks = [section.hook(layer) for layer in section.layers]
    pairs = {name: (one.positive, one.negative) for name, one in contrasts.items()}
    activations = pair_activations(bridge, pairs, hooks)
    text = Text(saes, read(bridge, ids, list(saes), section.n_prompt), section.centred)
    before = {hook: text.encode(hook, x) for hook, x in text.plain.items()}
    error = {hook: text.error(hook, x, before[hook]) for hook, x in text.plain.items()}
    spread, features = [], []
    for name, hook in progress(list(activations), desc="downstream"):
        own = METHODS[shared.method](*activations[name, hook])
        rng = generator(shared.seed, "downstream", name, hook)
        added = [own, *random_like(own, section.n_random, rng)]
        after = downstream_hooks(saes, hook)
        found: dict[str, list] = {place: [] for place in after}
        for vector in added:
            additions = [Addition(hook, vector, section.multiplier, shared.where)]
            activation = read(bridge, ids, after, section.n_prompt, additions)
            for place, x in activation.items():
                found[place].append(change(text, place, before[place], x))
        for place in after:
            where = place_columns(name, hook, section.multiplier, place)
            changes = found[place]
            row = spread_row(changes[0], changes[1:], shared.n_bootstrap, rng)
            spread.append(where | row | {"error_plain": error[place]})
            top = changed_features(changes[0], changes[1:], section.n_top)
            features.append(top.assign(**where))
    return {"spread": pd.DataFrame(spread), "features": pd.concat(features, ignore_index=True)}


def contexts(
    bridge: Any, model: Path, corpus: Path, max_tokens: int, saes: Mapping[str, Any],
    wanted: pd.DataFrame, section: Downstream,
) -> pd.DataFrame:  # fmt: skip
    """Return where in training documents the features of `wanted` (hook, feature) fire most."""
    documents, texts = read_corpus(corpus, "train", section.n_context_documents)
    tokenizer, bos = load_tokenizer(model)
    tokens: Tokens = tokenize(texts, documents, tokenizer, bos, max_tokens)
    used = set(wanted["hook"])
    hooks = [hook for hook in saes if hook in used]
    found = hook_rows(bridge, tokens, hooks, _BATCH_TOKENS)
    at = positions(
        position_table(tokens, found.place, tokenizer), dict(zip(documents, texts, strict=True))
    )
    matrices = {}
    for hook in hooks:
        x = found.activations[hook]
        matrices[hook] = encode(saes[hook], x - x.mean(1, keepdim=True) if section.centred else x)
    features = {hook: one.features for hook, one in matrices.items()}
    return all_contexts(features, at, wanted, section.n_contexts, section.context)


def load_saes(folder: Path, seed: int, prefix: str = "") -> dict[str, Any]:
    """Open the SAEs of a folder: hook -> SAE."""
    return {hook: load_sae(path) for hook, path in find_saes(folder, seed, prefix).items()}
