"""The matching study on feature directories: which SAEs meet, on which positions."""

import logging
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from universality.alignment import Alignment, align
from universality.errors import InputError
from universality.io import read_sparse, read_table
from universality.matching.moments import Sparse
from universality.matching.study import LayerMatch, PairedLayers, match_layers, pair_layers
from universality.matching.tables import (
    backward_table,
    feature_table,
    headline_table,
    layer_table,
    pairing_table,
    scatter_table,
)
from universality.nulls import shift_offsets
from universality.params.matching import Matching, Pair
from universality.progress import progress
from universality.randomness import generator
from universality.stats import document_weights

SAE_ID = re.compile(r"l(\d+)_(.+)_seed(\d+)")

Compared = TypeVar("Compared")
_log = logging.getLogger(__name__)


def find_saes(directory: Path, seed: int) -> dict[int, Path]:
    """Return the feature matrix of each layer of `directory` for SAE seed `seed`."""
    ids = {path: SAE_ID.fullmatch(path.stem) for path in sorted(directory.glob("*.safetensors"))}
    found: dict[int, Path] = {}
    for path, match in ids.items():
        if match is None or int(match[3]) != seed:
            continue
        layer = int(match[1])
        if layer in found:
            raise InputError(
                f"{directory}: {found[layer].name} and {path.name} are of one layer and seed; "
                "matching takes one hook of each layer"
            )
        found[layer] = path
    if not found:
        seeds = sorted({int(match[3]) for match in ids.values() if match})
        raise InputError(f"{directory}: no SAE with seed {seed}; there are seeds: {seeds}")
    return dict(sorted(found.items()))


def align_directories(a: Path, b: Path) -> tuple[Alignment, np.ndarray]:
    """Return the positions that two feature directories share, and the document of each."""
    tokens_a, tokens_b = (read_table(directory / "tokens.parquet") for directory in (a, b))
    documents = tokens_a["document"].to_numpy()
    aligned = align(
        documents,
        tokens_a["end"].to_numpy(),
        tokens_b["document"].to_numpy(),
        tokens_b["end"].to_numpy(),
    )
    documents = documents[aligned.rows_a]
    if len(np.unique(documents)) < 2:
        raise InputError(
            f"{a} and {b}: {len(documents)} shared positions in {len(np.unique(documents))} "
            "documents; at least 2 documents are needed"
        )
    return aligned, documents


def read_features(path: Path, rows: np.ndarray) -> Sparse:
    """Read the rows `rows` of a feature matrix."""
    matrix: Sparse = read_sparse(path)
    if len(rows) and rows[-1] >= matrix.shape[0]:
        raise InputError(f"{path}: {matrix.shape[0]} rows, fewer than tokens.parquet has")
    if not np.isfinite(matrix.data).all():
        raise InputError(f"{path}: holds NaN or infinite activations")
    return matrix if len(rows) == matrix.shape[0] else matrix[rows]


def match_directories(
    key: str, a: Path, b: Path, pair: Pair, settings: Matching
) -> dict[str, pd.DataFrame]:
    """Return the tables of `key`: features, backward, layers, headline, pairings, scatter."""
    paths_a, paths_b = find_saes(a, pair.a_seed), find_saes(b, pair.b_seed)
    aligned, documents = align_directories(a, b)
    _log.info(
        "%s: %d shared positions, %.1f%% of A and %.1f%% of B",
        *(key, len(documents), 100 * aligned.share_a, 100 * aligned.share_b),
    )
    n_documents = len(np.unique(documents))
    options: dict[str, Any] = {
        "offsets": shift_offsets(documents, settings.n_null, generator(settings.seed, "null", key)),
        "weights": document_weights(
            n_documents, settings.n_bootstrap, generator(settings.seed, "bootstrap", key)
        ),
        "min_count": settings.min_count,
        "memory_mb": settings.memory_mb,
    }
    all_a = {layer: read_features(path, aligned.rows_a) for layer, path in paths_a.items()}
    all_b = {layer: read_features(path, aligned.rows_b) for layer, path in paths_b.items()}

    def compare(how: Callable[..., Compared], layer_a: int, layer_b: int) -> Compared:
        same = paths_a[layer_a].resolve() == paths_b[layer_b].resolve()
        sides = all_a[layer_a], all_b[layer_b], documents
        return how(*sides, layers=(layer_a, layer_b), exclude_self=same, **options)

    matches: list[LayerMatch] = []
    for layer_a, layer_b in progress(list(product(paths_a, paths_b)), desc=key):
        matches.append(compare(match_layers, layer_a, layer_b))
        _require_alive(matches[-1], paths_a[layer_a], paths_b[layer_b], settings.min_count)
    headline = headline_table(matches, settings.threshold)
    chosen = headline.query("selection == 'best_layer' and layer_a >= 0")
    paired: list[PairedLayers] = []
    for layer_a, layer_b in zip(chosen["layer_a"], chosen["layer_b"], strict=True):
        paired += compare(pair_layers, layer_a, layer_b)
    best = chosen.loc[chosen["median_r"].idxmax()]
    layers = int(best["layer_a"]), int(best["layer_b"])
    example = next(match for match in matches if (match.layer_a, match.layer_b) == layers)
    scatter = scatter_table(example, all_a[layers[0]], all_b[layers[1]], settings.n_scatter)
    positions = {
        "n_positions": len(documents),
        "n_documents": n_documents,
        "aligned_share_a": aligned.share_a,
        "aligned_share_b": aligned.share_b,
        "threshold": settings.threshold,
    }
    return {
        "features": pd.concat(map(feature_table, matches), ignore_index=True),
        "backward": pd.concat(map(backward_table, matches), ignore_index=True),
        "layers": layer_table(matches, settings.threshold).assign(**positions),
        "headline": headline.assign(**positions),
        "pairings": pairing_table(paired, settings.threshold).assign(**positions),
        "scatter": scatter,
    }


def _require_alive(match: LayerMatch, path_a: Path, path_b: Path, min_count: int) -> None:
    for path, alive in ((path_a, match.alive_a), (path_b, match.alive_b)):
        if not alive.any():
            raise InputError(
                f"{path}: a dead SAE: no feature fires on {min_count} (matching.min_count) of the "
                "shared positions"
            )
