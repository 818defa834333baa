"""The representations of models at positions that all of them have read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from universality.core.engine.moments import Sparse
from universality.core.errors import InputError
from universality.core.io import read_table
from universality.core.randomness import generator
from universality.core.shared_tokens import Vocabulary
from universality.studies.matching.files import (
    Directories,
    find_saes,
    hook_name,
    read_features,
    shared_positions,
)
from universality.studies.matching.params.matching import ConceptLists
from universality.studies.matching.study import alive_columns
from universality.studies.spaces.params.similarity import Similarity
from universality.studies.spaces.similarity.concepts import (
    MEASURE,
    concept_relations,
    inside_concepts,
)
from universality.studies.spaces.similarity.study import compare_layers


def tokens_of_all(
    places: Sequence[Directories], n_documents: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the positions that all models share, in the first documents that all have read.

    The table (`document`, `piece` of the first model), and for each model the rows of its features
    there, `(n_models, n)`.
    """
    tables = [read_table(place.features / "tokens.parquet") for place in places]
    documents = set.intersection(*(set(table["document"].unique()) for table in tables))
    chosen = sorted(documents)[:n_documents]
    own = np.flatnonzero(tables[0]["document"].isin(chosen))
    rows = [own]
    for place, table in zip(places[1:], tables[1:], strict=True):
        other = np.flatnonzero(table["document"].isin(chosen))
        aligned, _ = shared_positions(
            tables[0].iloc[rows[0]], table.iloc[other], f"{places[0].features} and {place.features}"
        )
        rows = [found[aligned.rows_a] for found in rows] + [other[aligned.rows_b]]
    shared = tables[0].iloc[rows[0]][["document", "piece"]].reset_index(drop=True)
    return shared, np.array(rows)


def draw_blocks(documents: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `size` rows of every document that has as many, `(n_documents, size)`, in any order.

    `documents` `(n,)` is the document of each row.
    """
    blocks = [
        rng.permutation(np.flatnonzero(documents == document))[:size]
        for document in np.unique(documents)
    ]
    blocks = [block for block in blocks if len(block) == size]
    if len(blocks) < 8:
        raise InputError(
            f"{len(blocks)} documents have {size} shared positions (similarity.per_document); "
            "at least 8 are needed"
        )
    return np.array(blocks)


def read_features_of(place: Directories, rows: np.ndarray) -> dict[int, Sparse]:
    """Return the features of every layer at `rows`, ascending; only those that fire there."""
    found = {}
    for layer, path in find_saes(place.features, place.seed).items():
        features = read_features(path, rows)
        found[layer] = features[:, alive_columns(features, 1, path)]
    return found


def read_activations(
    place: Directories, corpus: Path, max_tokens: int, batch_tokens: int, rows: np.ndarray
) -> dict[int, np.ndarray]:
    """Run the model and return its activations at the hook of every SAE: layer -> `(n, d)`.

    `rows` `(n,)` are rows of its features, whose table says which tokens these are: another token
    there is an error.
    """
    from universality.core.corpora import load_tokens
    from universality.core.features import hook_rows
    from universality.core.models import load_bridge

    table = read_table(place.features / "tokens.parquet").iloc[: rows.max() + 1]
    n_documents = table["document"].nunique()
    hooks = {
        layer: hook_name(place.saes / path.stem)
        for layer, path in find_saes(place.features, place.seed).items()
    }
    tokens = load_tokens(corpus, "validation", place.model, max_tokens, n_documents)
    read = hook_rows(load_bridge(place.model), tokens, list(hooks.values()), batch_tokens)
    if len(read.place) < len(table) or not np.array_equal(
        tokens.ids[read.place[: len(table)]], table["token"].to_numpy()
    ):
        raise InputError(
            f"{place.features}: its first {n_documents} documents are not those that "
            f"{place.model} reads in {corpus}"
        )
    return {layer: read.activations[hook].numpy()[rows] for layer, hook in hooks.items()}


def pair_tables(
    key: str,
    places: Sequence[Directories],
    corpus: Path,
    max_tokens: int,
    settings: Similarity,
    lists: ConceptLists,
) -> dict[str, pd.DataFrame]:
    """Return the tables of models A, B and the control (`places`) in both of their spaces.

    spaces: `study.compare_layers`; relations: `concepts.concept_relations`, both with a column
    `space`: `activations` of the LM at the SAEs' hooks, or `features` of the SAEs. inside:
    `concepts.inside_concepts` of activations, at the layers that are most alike.
    """
    shared, rows = tokens_of_all(places, settings.n_documents)
    documents = shared["document"].to_numpy()
    chosen = draw_blocks(documents, settings.per_document, generator(settings.seed, "rows", key))
    vocabulary = Vocabulary(set(shared["piece"]))
    token = vocabulary.encode(shared["piece"])
    masks = {
        concept: np.isin(token, vocabulary.find(words)) for concept, words in lists.concepts.items()
    }
    spaces = {
        "activations": [
            read_activations(place, corpus, max_tokens, settings.batch_tokens, own)
            for place, own in zip(places, rows, strict=True)
        ],
        "features": [read_features_of(place, own) for place, own in zip(places, rows, strict=True)],
    }
    found: dict[str, list[pd.DataFrame]] = {"spaces": [], "inside": [], "relations": []}
    for space, sides in spaces.items():
        # The same draws in both spaces: what differs is the space.
        rng = generator(settings.seed, "null", key)
        a, b, control = (
            {layer: _dense(x[chosen.ravel()]) for layer, x in side.items()} for side in sides
        )
        table = compare_layers(a, b, control, chosen.shape[1], settings, rng)
        if space == "activations":
            alike = table.query(f"measure == {MEASURE!r}")
            best = alike.loc[alike["value"].idxmax(), ["layer_a", "layer_b"]].astype(int)
            best_a, best_b = (
                side[best[f"layer_{x}"]] for x, side in zip("ab", sides, strict=False)
            )
            with threadpool_limits(1, "blas"):  # small products, as in `null.in_threads`
                inside = inside_concepts(best_a, best_b, masks, documents, settings, rng)
            found["inside"].append(inside.assign(layer_a=best["layer_a"], layer_b=best["layer_b"]))
        relations = concept_relations(sides[0], sides[1], masks, documents, settings, rng)
        found["spaces"].append(table.assign(space=space))
        found["relations"].append(relations.assign(space=space))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}


def _dense(x: Any) -> np.ndarray:
    return x.toarray() if sp.issparse(x) else x
