"""Decoder rows of matched features: is the space of directions alike, feature by feature?

Lan et al. 2024 (arXiv 2410.06981) compare the decoders of two SAEs on the rows of matched features.
Here a sample is a pair of features, so the null exchanges partners.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.core.errors import InputError
from universality.core.io import read_table, require
from universality.core.nulls import permutation_p, with_q
from universality.core.progress import progress
from universality.core.randomness import generator
from universality.core.sae_weights import read_weights
from universality.studies.matching.files import SAE_ID
from universality.studies.matching.pairings import Pairing, Partners, by_nearest
from universality.studies.matching.tables import best_layers
from universality.studies.spaces.params.similarity import Similarity
from universality.studies.spaces.similarity.linear import compare
from universality.studies.spaces.similarity.measures import LINKED, RELATED
from universality.studies.spaces.similarity.null import (
    Compared,
    Reduced,
    blocks,
    compare_linear,
    compare_prepared,
    in_threads,
    kernels,
    prepared,
    reduced,
    straight,
)
from universality.studies.spaces.similarity.study import ENOUGH, told

CONCEPT = "concept_"
"""How the pairings of a concept's features are named (`matching.pair_study`)."""


@dataclass(frozen=True)
class Decoders:
    """The decoder rows of two SAEs, in the principal components of those of alive features."""

    a: Reduced
    """Scores `(d_sae, k)`, a row for each feature; rows of dead ones are not used."""
    b: Reduced


def compare_pairs(
    decoders: Decoders,
    pairs: Pairing,
    settings: Similarity,
    rng: np.random.Generator,
    among: Pairing | None = None,
) -> list[dict[str, Any]]:
    """Return a row for each of `decoder_measures` of the decoder rows of `pairs`.

    `value` with its interval (jackknife over groups of pairs, as if features were independent),
    `null` and `p` with partners exchanged and, with `among`, `random` and `random_p`: as many pairs
    drawn from it, `n_subsets` times. Measures of distances are of at most `n_distances` pairs. Too
    few pairs: one row with `n_pairs` and no name of a measure.
    """
    n = min(len(pairs.a), settings.n_pairs)
    counts = {"n_pairs": len(pairs.a)}
    if n < settings.min_pairs + settings.n_groups:
        return [counts | {"measure": "", "n": n, "few": True}]
    chosen = rng.choice(len(pairs.a), n, replace=False)
    near = chosen[: settings.n_distances]
    options, wanted = told(settings), settings.decoder_measures
    distances = [name for name in RELATED if name in wanted]
    samples = blocks(n, 1, settings.n_permutations, rng)
    few = blocks(len(near), 1, settings.n_permutations, rng)
    one, other = (
        Reduced(side.scores[rows], side.kept)
        for side, rows in ((decoders.a, pairs.a[chosen]), (decoders.b, pairs.b[chosen]))
    )
    found: dict[str, Compared] = {}
    if LINKED.keys() & set(wanted):
        found |= compare_linear({0: one}, other, samples, settings.n_groups, wanted, options)[0]
    if distances:
        sides = [
            prepared(side.scores[: len(near)], few, settings.n_groups, options, distances)
            for side in (one, other)
        ]
        found |= compare_prepared(sides[0], sides[1], few)
    drawn = [_drawn(decoders, n, among, settings, rng) for _ in range(settings.n_subsets)
             if among is not None]  # fmt: skip
    rows = []
    for name, compared in found.items():
        row = _row(name, compared, one, other, len(near) if name in distances else n)
        if drawn:
            chance = np.array([values[name] for values in drawn])
            row["random"] = float(chance.mean())
            row["random_p"] = permutation_p(compared.value, chance)
        rows.append(counts | row)
    return rows


def _row(name: str, compared: Compared, one: Reduced, other: Reduced, n: int) -> dict[str, Any]:
    d_a, d_b = one.scores.shape[1], other.scores.shape[1]
    return {
        "measure": name,
        **compared.row(),
        "n": n,
        "d_a": d_a,
        "d_b": d_b,
        "kept_a": one.kept,
        "kept_b": other.kept,
        "few": name in LINKED and n < ENOUGH * (d_a + d_b),
    }


def _drawn(
    decoders: Decoders, n: int, among: Pairing, settings: Similarity, rng: np.random.Generator
) -> dict[str, float]:
    """Return every measure of `n` pairs drawn from `among`."""
    rows = rng.choice(len(among.a), min(n, len(among.a)), replace=False)
    one, other = decoders.a.scores[among.a[rows]], decoders.b.scores[among.b[rows]]
    options, wanted = told(settings), settings.decoder_measures
    link = compare(one, other)
    found = {
        name: float(measure.of(link, options)) for name, measure in LINKED.items() if name in wanted
    }
    if not RELATED.keys() & set(wanted):
        return found
    near = [kernels(x[: settings.n_distances], options, wanted) for x in (one, other)]
    return found | straight(near[0], near[1])


def read_decoders(
    directory: Path, saes: tuple[Path, Path], seeds: tuple[int, int], n_directions: int
) -> dict[tuple[int, int], Decoders]:
    """Return the decoders of every pair of layers that the matching study's `directory` holds.

    `saes` are the directories of both models' SAEs. The principal components are those of the
    alive features' rows.
    """
    alive = [
        {layer: part.loc[part["alive"], name].unique() for layer, part in _by(table, [key])}
        for table, key, name in (
            (read_table(directory / "features.parquet"), "layer_a", "feature_a"),
            (read_table(directory / "backward.parquet"), "layer_b", "feature_b"),
        )
    ]
    sides = [
        {
            layer: projected(read_weights(sae_of(folder, layer, seed)).decoder, kept, n_directions)
            for layer, kept in layers.items()
        }
        for folder, seed, layers in zip(saes, seeds, alive, strict=True)
    ]
    return {(a, b): Decoders(sides[0][a], sides[1][b]) for a in sides[0] for b in sides[1]}


def _by(table: pd.DataFrame, keys: list[str]) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Yield the values of `keys`, one or several, with the rows that have them."""
    values: Any
    for values, part in table.groupby(keys):
        yield (tuple(values) if len(keys) > 1 else values[0]), part


def sae_of(folder: Path, layer: int, seed: int) -> Path:
    """Return the directory of the SAE of a layer and seed in a model's `folder`."""
    found = [
        path
        for path in sorted(require(folder).iterdir())
        if (match := SAE_ID.fullmatch(path.name))
        and (int(match[1]), int(match[3])) == (layer, seed)
    ]
    if len(found) != 1:
        raise InputError(
            f"{folder}: {len(found)} SAEs of layer {layer} and seed {seed}, expected 1"
        )
    return found[0]


def projected(rows: np.ndarray, alive: np.ndarray, n_directions: int) -> Reduced:
    """Reduce rows `(d_sae, d)` to principal components of the `alive` ones; 0 for the others."""
    found = reduced(rows[alive], n_directions)
    scores = np.zeros((len(rows), found.scores.shape[1]))
    scores[alive] = found.scores
    return Reduced(scores, found.kept)


def matched_pairs(directory: Path) -> dict[tuple[str, int, int], Pairing]:
    """Return every pairing of every pair of layers: (name, layer of A, layer of B) -> pairs.

    Those of nearest partners are known for all layers; `pairs.parquet` has the others, filters and
    concepts.
    """
    layers = ["layer_a", "layer_b"]
    back = dict(_by(read_table(directory / "backward.parquet"), layers))
    found: dict[tuple[str, int, int], Pairing] = {}
    for (layer_a, layer_b), part in _by(read_table(directory / "features.parquet"), layers):
        forward, backward = (
            Partners(side["partner"].to_numpy(), side["r"].to_numpy())
            for side in (part, back[layer_a, layer_b])
        )
        for name, pairs in by_nearest(forward, backward).items():
            found[name, layer_a, layer_b] = pairs
    for keys, part in _by(read_table(directory / "pairs.parquet"), ["pairing", *layers]):
        a, b = (part[f"feature_{side}"].to_numpy() for side in "ab")
        found[keys] = Pairing(a, b, np.full(len(a), np.nan))
    return found


def decoder_tables(
    key: str,
    directory: Path,
    saes: tuple[Path, Path],
    seeds: tuple[int, int],
    settings: Similarity,
) -> dict[str, pd.DataFrame]:
    """Return the tables of one pair of models.

    decoders: mutual partners in every pair of layers and, at the one that the matching study finds
    most alike (`best`), every other pairing and filter. concepts: partners at these layers of which
    both are of a concept, with random partners as second null. `q` is over the map, over the
    pairings, and over the concepts.
    """
    found = matched_pairs(directory)
    decoders = read_decoders(directory, saes, seeds, settings.n_directions)
    best = best_layers(read_table(directory / "headline.parquet"))
    highest = best.iloc[int(best["median_r"].to_numpy().argmax())]
    top = int(highest["layer_a"]), int(highest["layer_b"])
    wanted = [keys for keys in found if keys[0] == "mutual" or keys[1:] == top]

    def rows_of(keys: tuple[str, int, int]) -> list[dict[str, Any]]:
        name, *where = keys
        layers = (where[0], where[1])
        is_concept = name.startswith(CONCEPT)
        rows = compare_pairs(
            decoders[layers],
            found[keys],
            settings,
            generator(settings.seed, "decoders", key, name, *map(str, where)),
            found["a_to_b", layers[0], layers[1]] if is_concept else None,
        )
        of = {"layer_a": layers[0], "layer_b": layers[1], "best": layers == top, "pairing": name}
        return [of | row for row in rows]

    return tables_of(
        [row for part in in_threads(rows_of, progress(wanted, desc=key)) for row in part]
    )


def tables_of(rows: list[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    """Return `decoders` and `concepts` of `decoder_tables`, with q over each list of tests."""
    concepts = [row for row in rows if row["pairing"].startswith(CONCEPT)]
    maps = [row for row in rows if row["pairing"] == "mutual"]
    ways = [
        row for row in rows if row["pairing"] != "mutual" and not row["pairing"].startswith(CONCEPT)
    ]
    judged = [with_q(pd.DataFrame(part), "p", by="measure") for part in (concepts, maps, ways)]
    # Texts may be so short that no concept has a pair.
    table = (judged[0] if concepts else judged[1].iloc[:0]).rename(columns={"pairing": "concept"})
    return {
        "decoders": pd.concat(judged[1:], ignore_index=True),
        "concepts": table.assign(concept=table["concept"].str.removeprefix(CONCEPT)),
    }
