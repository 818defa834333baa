"""The two sides of a page and their pairs, from feature directories and tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from universality.core.contexts import positions
from universality.core.errors import InputError
from universality.core.io import read_sparse, read_table
from universality.core.randomness import generator
from universality.studies.matching.files import align_directories, find_saes, read_features
from universality.studies.matching.params.matching import Pair
from universality.studies.spaces.linked_maps.content import Layer, Side
from universality.studies.spaces.linked_maps.coordinates import MappedModel
from universality.studies.spaces.linked_maps.partners import (
    Paired,
    correlations,
    layer_pairs,
    paired,
)
from universality.studies.spaces.linked_maps.words import describe, words_of
from universality.studies.spaces.params.linked_maps import LinkedMaps


@dataclass(frozen=True)
class Found:
    """What a page shows."""

    a: Side
    b: Side
    layers: list[tuple[int, int, bool]]
    paired: list[Paired]
    n_positions: int
    """Positions that both models share, on which features were matched."""
    n_documents: int


def read_linked(
    pair: Pair,
    a: Path,
    b: Path,
    matches: Mapping[str, pd.DataFrame],
    coordinates: Path,
    texts: Mapping[int, str],
    settings: LinkedMaps,
) -> Found:
    """Return what the page of `pair` shows.

    `a` and `b` are the feature directories, `matches` the tables of the matching study by name,
    `coordinates` the folder of `coordinates.read_coordinates`, `texts` the documents by id.
    """
    models = MappedModel(pair.a, pair.a_seed), MappedModel(pair.b, pair.b_seed)
    aligned, documents = align_directories(a, b)
    paths = find_saes(a, pair.a_seed), find_saes(b, pair.b_seed)

    def r_of(layer_a: int, layer_b: int, of_a: np.ndarray, of_b: np.ndarray) -> np.ndarray:
        sides = (
            read_features(paths[0][layer_a], aligned.rows_a),
            read_features(paths[1][layer_b], aligned.rows_b),
        )
        return correlations(*sides, (of_a, of_b))

    layers = layer_pairs(matches, settings.layers)
    found = [one for *two, _ in layers for one in paired(matches, (two[0], two[1]), r_of)]
    used = {layer for layer, _, _ in layers}, {layer for _, layer, _ in layers}
    side_a, side_b = (
        _side(model, folder, layers_of, coordinates, texts, settings)
        for model, folder, layers_of in zip(models, (a, b), used, strict=True)
    )
    return Found(side_a, side_b, layers, found, len(documents), len(np.unique(documents)))


def _side(
    model: MappedModel, folder: Path, used: set[int], coordinates: Path,
    texts: Mapping[int, str], settings: LinkedMaps,
) -> Side:  # fmt: skip
    at = positions(read_table(folder / "tokens.parquet"), texts)
    words = words_of(at)
    table = read_table(coordinates / model.file)
    layers: dict[int, Layer] = {}
    for layer, path in find_saes(folder, model.seed).items():
        if layer not in used:
            continue
        rows = table.query(f"sae == {path.stem!r}").reset_index(drop=True)
        if rows.empty:
            raise InputError(f"{coordinates / model.file}: no coordinates of {path.stem}")
        random = generator(settings.seed, "map contexts", model.name, path.stem)
        chosen = rows["feature"].to_numpy()
        about = describe(read_sparse(path), chosen, at, words, settings, random)
        layers[layer] = Layer(rows, about)
    return Side(model.name, at, words, layers)
