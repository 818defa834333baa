"""The SAEs of a grid matched with each other and with those of other models."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from universality.core.alignment import align
from universality.core.corpora import Tokens
from universality.core.engine.moments import Sparse
from universality.core.errors import InputError
from universality.core.features import encode, hook_rows
from universality.core.hooks import sae_id
from universality.core.io import read_sparse, read_table
from universality.core.nulls import shift_offsets
from universality.core.progress import progress
from universality.core.randomness import generator
from universality.studies.matching.conditions.conditions import BestR, best_r, summary
from universality.studies.matching.params.conditions import MatchGrids
from universality.studies.matching.params.matching import Matching
from universality.studies.matching.study import Sample, alive_columns, match_layers
from universality.studies.saes.grid import find, member_table
from universality.studies.saes.params.saes import SaeGrid

RECIPE = ["model", "family", "architecture", "sparsity", "expansion", "hook", "layer", "site"]
"""Columns by which the SAEs of a grid that differ in their seed alone are alike."""


def shared_positions(
    documents: np.ndarray, ends: np.ndarray, others: Mapping[str, Path]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the rows at which all models have read the same text: ours, and of each of `others`.

    `documents` and `ends` `(n,)` are our positions, `others` feature directories.
    """
    rows, theirs = np.arange(len(documents)), {}
    for name, directory in others.items():
        tokens = read_table(directory / "tokens.parquet")
        found = align(documents, ends, tokens["document"].to_numpy(), tokens["end"].to_numpy())
        rows = np.intersect1d(rows, found.rows_a, assume_unique=True)
        theirs[name] = found
    if len(np.unique(documents[rows])) < 2:
        listed = " and ".join(str(directory) for directory in others.values())
        raise InputError(f"{listed}: fewer than 2 documents are shared with the grid's model")
    return rows, {
        name: found.rows_b[np.searchsorted(found.rows_a, rows)] for name, found in theirs.items()
    }


def read_alive(path: Path, rows: np.ndarray, min_count: int) -> Sparse:
    """Read the features of `path` that are alive on the rows `rows`."""
    features: Sparse = read_sparse(path)[rows]
    return features[:, alive_columns(features, min_count, path)]


def read_shared(
    bridge: Any,
    tokens: Tokens,
    hooks: list[str],
    others: Mapping[str, Path],
    section: MatchGrids,
    min_count: int,
) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, Sparse]], np.ndarray]:
    """Return what `match_grid` reads, over the positions that all models share.

    That is by hook the activations `(n, d_in)` and the alive features of one SAE of each of the
    directories `others`; and the document of each position, `(n,)`.
    """
    read = hook_rows(bridge, tokens, hooks, section.batch_tokens)
    documents = np.repeat(tokens.documents, tokens.lengths)[read.place]
    rows, theirs = shared_positions(documents, tokens.end[read.place], others)
    elsewhere = {
        hook: {
            name: read_alive(
                folder / f"{sae_id(hook, section.sae_seed)}.safetensors", theirs[name], min_count
            )
            for name, folder in others.items()
        }
        for hook in hooks
    }
    activations = {hook: x[rows] for hook, x in read.activations.items()}
    return activations, elsewhere, documents[rows]


def draw(features: Sparse, n_wanted: int, rng: np.random.Generator) -> Sparse:
    """Return `n_wanted` of the columns of `(n, d)` at random, or all where there are no more."""
    d = features.shape[1]
    chosen = rng.choice(d, min(n_wanted, d), replace=False)
    return features[:, np.sort(chosen)]


def match_recipe(
    name: str,
    by_seed: Mapping[int, Sparse],
    elsewhere: Mapping[str, Sparse],
    documents: np.ndarray,
    section: MatchGrids,
    matching: Matching,
) -> Iterator[tuple[int, str, BestR]]:
    """Yield SAE seed, where partners were sought, and how well each feature was matched.

    `by_seed` are the features `(n, d_sae)` of the SAEs of one recipe, `elsewhere` those of other
    models, alive ones only; `documents` `(n,)` is each row's. Where there are several seeds, the
    partner of each is the next, and of the last the first.
    """
    kept = {
        seed: features[:, alive_columns(features, matching.min_count)]
        for seed, features in by_seed.items()
    }
    seeds = list(kept)
    no_groups = np.zeros((0, len(np.unique(documents))))
    for seed, following in zip(seeds, [*seeds[1:], seeds[0]], strict=True):
        sides = dict(elsewhere)
        if following != seed:
            rng = generator(matching.seed, "drawn", name, following)
            drawn = draw(kept[following], section.n_searched, rng)
            sides = {"sae_seed": kept[following], "sae_seed_drawn": drawn} | sides
        for partner, b in sides.items():
            rng = generator(matching.seed, "null", name, seed, partner)
            offsets = shift_offsets(documents, section.n_null, rng)
            sample = Sample(documents, offsets, no_groups, matching.min_count, matching.memory_mb)
            yield seed, partner, best_r(match_layers(kept[seed], b, sample))


def match_grid(
    grid: SaeGrid,
    load: Callable[[str], Any],
    activations: Mapping[str, torch.Tensor],
    elsewhere: Mapping[str, Mapping[str, Sparse]],
    documents: np.ndarray,
    section: MatchGrids,
    matching: Matching,
) -> pd.DataFrame:
    """Match all SAEs of `grid`, which `load` opens by id; return a row per SAE and partner.

    `activations` `(n, d_in)` and `elsewhere` (see `match_recipe`) are given by hook, all over the
    same positions.
    """
    numbers = []
    for what, _ in progress(list(member_table(grid).groupby(RECIPE, sort=False)), desc="recipes"):
        where: dict[str, Any] = dict(zip(RECIPE, what, strict=True))  # pyright: ignore
        hook = where["hook"]
        group = find(grid, where["family"], where["sparsity"], where["expansion"], hook)
        encoded = {one.seed: encode(load(one.sae), activations[hook]) for one in group}
        features = {seed: one.features for seed, one in encoded.items()}
        found = match_recipe(group[0].sae, features, elsewhere[hook], documents, section, matching)
        for seed, partner, best in found:
            this = where | {"partner": partner, "seed": seed}
            one = encoded[seed]
            quality = {"l0": one.l0, "explained_variance": one.explained_variance}
            d_sae = one.features.shape[1]
            quality |= {"d_sae": d_sae, "n_positions": len(documents)}
            numbers.append(this | quality | summary(best, matching.threshold, d_sae))
    return pd.DataFrame(numbers).assign(threshold=matching.threshold)
