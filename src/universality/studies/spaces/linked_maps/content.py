"""The data of the page, as the script in it reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from universality.core.contexts import Positions
from universality.studies.matching.labels import PAIRINGS
from universality.studies.spaces.linked_maps.packed import R_UNIT, UNIT, Packed, pack, shared
from universality.studies.spaces.linked_maps.partners import Paired
from universality.studies.spaces.linked_maps.words import Described, Words
from universality.studies.spaces.params.linked_maps import LinkedMaps

LONGEST = 32
"""Characters of one token that are shown."""


@dataclass(frozen=True)
class Layer:
    """The map of one layer of a model."""

    table: pd.DataFrame
    """See `coordinates.layer_coordinates`."""
    described: Described
    """In the order of `table`."""


@dataclass(frozen=True)
class Side:
    """One model: its text, and its layers by number."""

    name: str
    at: Positions
    words: Words
    layers: Mapping[int, Layer]


def page_data(
    a: Side, b: Side, pairs: Sequence[tuple[int, int, bool]], found: Sequence[Paired],
    settings: LinkedMaps,
) -> dict[str, Any]:  # fmt: skip
    """Return what the script reads; `pairs` are `partners.layer_pairs`."""
    by_layers: dict[str, dict[str, Any]] = {}
    for one in found:
        by_layers.setdefault(f"{one.layer_a},{one.layer_b}", {})[one.pairing] = _pairs(one)
    return {
        "a": _side(a, settings),
        "b": _side(b, settings),
        "layers": [[layer_a, layer_b, best] for layer_a, layer_b, best in pairs],
        "pairings": [[key, label.name, label.what] for key, label in PAIRINGS.items()],
        "pairs": by_layers,
        "n_top": settings.n_top,
    }


def _pairs(one: Paired) -> dict[str, Any]:
    return {
        "a": pack(one.pairs.a),
        "b": pack(one.pairs.b),
        "r": pack(np.round(one.pairs.score * R_UNIT), "i2"),
        "numbers": {key: round(value, 5) for key, value in one.numbers.items()},
    }


def _side(side: Side, settings: LinkedMaps) -> dict[str, Any]:
    """Return one side; of the text only what some context shows, as rows of one table."""
    shown = np.zeros(len(side.at.token), dtype=bool)
    words = np.zeros(len(side.words.names), dtype=bool)
    for layer in side.layers.values():
        about = layer.described
        words[about.word[about.word >= 0]] = True
        known = about.row >= 0
        edges = np.zeros(len(shown) + 1, dtype=np.int64)
        np.add.at(edges, (about.row - about.before)[known], 1)
        np.add.at(edges, (about.row + about.after)[known] + 1, -1)
        shown |= np.cumsum(edges)[:-1] > 0
    names, text = shared((side.at.shown[i] for i in np.flatnonzero(shown)), LONGEST)
    spoken, number = shared((side.words.names[i] for i in np.flatnonzero(words)), LONGEST)
    word_number = np.zeros(len(words), dtype=np.int64)
    word_number[words] = number
    # Whether a context is cut: its document goes on beyond it.
    first, last = np.zeros_like(shown), np.zeros_like(shown)
    first[side.at.bounds[:-1]] = last[side.at.bounds[1:] - 1] = True
    return {
        "name": side.name,
        "n_rows": len(shown),
        "strings": names,
        "text": pack(text),
        "ends": pack((first + 2 * last)[shown].astype(np.uint8)),
        "document": pack(side.at.document[shown]),
        "words": spoken,
        "n_words": settings.n_tokens,
        "n_contexts": settings.n_top + settings.n_random,
        "layers": {
            str(number): _layer(layer, np.cumsum(shown) - 1, word_number)
            for number, layer in side.layers.items()
        },
    }


def _layer(layer: Layer, place: np.ndarray, word_number: np.ndarray) -> dict[str, Any]:
    table, about = layer.table, layer.described
    return {
        "sae": str(table["sae"].iloc[0]),
        "n_features": int(table["n_features"].iloc[0]),
        "n_firing": int(table["n_firing"].iloc[0]),
        "feature": pack(table["feature"].to_numpy()),
        "count": pack(table["count"].to_numpy()),
        "x": pack(_steps(table["x"].to_numpy())),
        "y": pack(_steps(table["y"].to_numpy())),
        # 0 is none.
        "word": _or_none(about.word, word_number),
        "share": pack(np.round(100 * about.share)),
        "row": _or_none(about.row, place),
        "before": pack(np.maximum(about.before, 0)),
        "after": pack(np.maximum(about.after, 0)),
        "value": pack(about.value, "f4"),
        "level": pack(about.level),
    }


def _steps(x: np.ndarray) -> np.ndarray:
    return np.round(x * UNIT).astype(np.int64)


def _or_none(index: np.ndarray, number: np.ndarray) -> Packed:
    """Return 1 + `number[index]`, and 0 where `index` is -1."""
    return pack(np.where(index >= 0, 1 + number[np.maximum(index, 0)], 0))
