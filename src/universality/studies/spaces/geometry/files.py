"""The features of a pair at one layer each, and what both models make of words of known orders."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.core.corpora import load_tokenizer, tokenize
from universality.core.engine.moments import Sparse
from universality.core.errors import InputError
from universality.core.features import encode, hook_rows
from universality.core.io import read_json, read_table
from universality.core.models import load_bridge
from universality.core.splicing import LinearDecoder
from universality.studies.matching.files import PairInputs, read_pair
from universality.studies.saes.evaluation import load_sae
from universality.studies.spaces.params.feature_maps import Cycle, FeatureMap, Maps

_LEAST = 10
"""Pairs without which there is nothing to compare."""


@dataclass(frozen=True)
class Words:
    """A model at the words of one order, `s` sentences and `k` words."""

    activations: np.ndarray
    """Shape `(s, k, d_in)`, at the hook of the SAE."""
    features: Sparse
    """Rows sentence by sentence, `(s * k, d_sae)`."""
    n_tokens: np.ndarray
    """Tokens of each word behind the first beginning, `(k,)`."""


@dataclass(frozen=True)
class Side:
    """One model's SAE: its decoder, its features on the shared text, and the words."""

    name: str
    layer: int
    decoder: np.ndarray
    """What a feature of activation 1 adds to the reconstruction, `(d_sae, d_in)`."""
    features: Sparse
    """Shape `(n, d_sae)`, at the positions that both models share."""
    token: np.ndarray
    """Number of the token of every row, `(n,)`."""
    alive: np.ndarray
    """Features that were matched, ascending."""
    words: dict[str, Words]


@dataclass(frozen=True)
class MapInputs:
    """Both sides, their pairs, and the names of tokens."""

    a: Side
    b: Side
    pairs: np.ndarray
    """Mutual nearest features of A and of B, `(m, 2)`, by A."""
    tokens: list[str]
    """Names of the token numbers."""


@dataclass(frozen=True)
class Place:
    """Where a model, its SAEs and their features are."""

    features: Path
    model: Path
    saes: Path


def read_map(
    at_a: Place,
    at_b: Place,
    matches: Path,
    wanted: FeatureMap,
    cycles: Mapping[str, Cycle],
    settings: Maps,
) -> MapInputs:
    """Read one pair of layers; InputError if it was not matched or an SAE is missing."""
    inputs = read_pair(at_a.features, at_b.features, wanted.a_seed, wanted.b_seed)
    layers = wanted.layer_a, wanted.layer_b
    for own, layer, at in ((inputs.a, layers[0], at_a), (inputs.b, layers[1], at_b)):
        if layer not in own:
            raise InputError(f"{at.features}: no SAE of layer {layer}; there are: {list(own)}")
    forward, backward = (
        read_table(matches / f"{name}.parquet").query(
            f"layer_a == {layers[0]} and layer_b == {layers[1]} and alive"
        )
        for name in ("features", "backward")
    )
    if forward.empty or backward.empty:
        raise InputError(f"{matches}: layer {layers[0]} was not matched with layer {layers[1]}")
    mutual = forward.query("mutual").sort_values("feature_a")
    if len(mutual) < _LEAST:
        raise InputError(
            f"{matches}: {len(mutual)} mutual nearest pairs of layers {layers[0]} and {layers[1]}; "
            f"at least {_LEAST} are needed for a map"
        )
    ids = inputs.paths_a[layers[0]].stem, inputs.paths_b[layers[1]].stem
    sides = [
        _side(at, name, sae, layer, features, token, alive, cycles, settings)
        for at, name, sae, layer, features, token, alive in (
            (at_a, wanted.a, ids[0], layers[0], inputs.a[layers[0]], inputs.token_a,
             np.sort(forward["feature_a"].to_numpy())),
            (at_b, wanted.b, ids[1], layers[1], inputs.b[layers[1]], inputs.token_b,
             np.sort(backward["feature_b"].to_numpy())),
        )
    ]  # fmt: skip
    pairs = mutual[["feature_a", "partner"]].to_numpy()
    return MapInputs(sides[0], sides[1], pairs, _names(inputs))


def _names(inputs: PairInputs) -> list[str]:
    return sorted(inputs.vocabulary.number, key=lambda text: inputs.vocabulary.number[text])


def _side(
    at: Place, name: str, sae_id: str, layer: int, features: Sparse, token: np.ndarray,
    alive: np.ndarray, cycles: Mapping[str, Cycle], settings: Maps,
) -> Side:  # fmt: skip
    folder = at.saes / sae_id
    sae = load_sae(folder)
    hook = read_json(folder / "cfg.json")["metadata"]["hook_name"]
    bridge = load_bridge(at.model)
    words = {
        order: read_words(bridge, at.model, sae, hook, cycle, settings.batch_tokens)
        for order, cycle in cycles.items()
    }
    decoder = np.asarray(LinearDecoder(sae).rows, dtype=np.float64)
    return Side(name, layer, decoder, features, token, alive, words)


def read_words(
    bridge: Any, model: Path, sae: Any, hook: str, cycle: Cycle, batch_tokens: int
) -> Words:
    """Run every beginning with every word through the model; keep the last token of each."""
    tokenizer, bos = load_tokenizer(model)
    texts = [f"{first} {word}" for first in cycle.beginnings for word in cycle.words]
    tokens = tokenize(texts, range(len(texts)), tokenizer, bos, max(map(len, texts)) + 2)
    rows = hook_rows(bridge, tokens, [hook], batch_tokens)
    last = np.searchsorted(rows.place, tokens.bounds[1:] - 1)
    x = rows.activations[hook][last]
    k = len(cycle.words)
    start = len(tokenizer.encode(cycle.beginnings[0], add_special_tokens=False).ids)
    return Words(
        x.numpy().astype(np.float64).reshape(-1, k, x.shape[1]),
        encode(sae, x).features,
        tokens.lengths[:k] - 1 - start,
    )


def spoken(inputs: MapInputs, cycle: Cycle) -> list[np.ndarray]:
    """Return the rows of the shared text at each word, where either model has it as one token."""
    number = {text: place for place, text in enumerate(inputs.tokens)}
    found = []
    for word in cycle.words:
        wanted = number.get(word.lower(), -1)
        found.append(np.flatnonzero((inputs.a.token == wanted) | (inputs.b.token == wanted)))
    return found


def word_table(inputs: MapInputs, cycles: Mapping[str, Cycle], least: int) -> pd.DataFrame:
    """Return a row per model and word: how often the shared text has it, in how many tokens."""
    rows = []
    for order, cycle in cycles.items():
        positions = spoken(inputs, cycle)
        for side, model in zip("ab", (inputs.a, inputs.b), strict=True):
            for place, word in enumerate(cycle.words):
                n = len(positions[place])
                rows.append(
                    {
                        "side": side, "model": model.name, "order": order, "word": word,
                        "n_tokens": int(model.words[order].n_tokens[place]), "n_positions": n,
                        "enough": n >= least, "n_sentences": len(cycle.beginnings),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)
