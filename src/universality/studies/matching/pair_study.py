"""The study of one pair of models: every table of it, from their features."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from universality.core.progress import progress
from universality.core.randomness import generator
from universality.core.shared_tokens import top_tokens
from universality.studies.matching.concepts import (
    concept_features,
    concept_rows,
    concept_table,
    subset_table,
    topic_rows,
)
from universality.studies.matching.files import PairInputs
from universality.studies.matching.filters import ALL, Filters, filtered, removed_alone
from universality.studies.matching.pairings import NEEDS_EVERY_SCORE, nearest
from universality.studies.matching.params.matching import ConceptLists, Matching, Subsets
from universality.studies.matching.study import (
    N_FEW_NULL,
    LayerMatch,
    PairedLayers,
    Sample,
    draw_sample,
    match_layers,
    null_of_meeting_documents,
    pair_layers,
    require_alive,
)
from universality.studies.matching.tables import (
    backward_table,
    best_layers,
    feature_table,
    filter_table,
    headline_table,
    layer_table,
    meeting_table,
    pairing_table,
    pairs_table,
    summary,
)

_log = logging.getLogger(__name__)
Tops = tuple[dict[int, np.ndarray], dict[int, np.ndarray]]


def match_pair(
    key: str, inputs: PairInputs, settings: Matching, lists: ConceptLists
) -> dict[str, pd.DataFrame]:
    """Return the tables of pair `key`, by name; `matching.tables` and `concepts` say what each is.

    Every SAE of A meets every SAE of B. What is costly, or hard to read for all of these, is done
    for the layer of B that is best for each layer of A.
    """
    documents = inputs.documents
    n_documents = len(np.unique(documents))
    _log.info(
        "%s: %d shared positions, %.1f%% of A and %.1f%% of B",
        *(key, len(documents), 100 * inputs.aligned.share_a, 100 * inputs.aligned.share_b),
    )
    sample = draw_sample(documents, settings, key)
    matches: list[LayerMatch] = []
    for layers in progress(list(product(inputs.a, inputs.b)), desc=key):
        matches.append(_match(inputs, sample, layers))
        for path, alive in (
            (inputs.paths_a[layers[0]], matches[-1].alive_a),
            (inputs.paths_b[layers[1]], matches[-1].alive_b),
        ):
            require_alive(np.flatnonzero(alive), settings.min_count, path)
    headline = headline_table(matches, settings.threshold)
    best = best_layers(headline)
    by_layers = {(match.layer_a, match.layer_b): match for match in matches}
    chosen = [by_layers[layers] for layers in zip(best["layer_a"], best["layer_b"], strict=True)]
    top = best.loc[best["median_r"].idxmax()]
    example = by_layers[int(top["layer_a"]), int(top["layer_b"])]
    positions = {
        "n_positions": len(documents),
        "n_documents": n_documents,
        "aligned_share_a": inputs.aligned.share_a,
        "aligned_share_b": inputs.aligned.share_b,
        "threshold": settings.threshold,
    }
    paired = _paired(inputs, sample, chosen, settings)
    by_tokens, kept = _by_tokens(key, inputs, chosen, settings, lists)
    tables = {
        "layers": layer_table(matches, settings.threshold),
        "headline": headline,
        "pairings": pairing_table(paired, settings.threshold),
        "meeting": _meeting(key, inputs, sample, chosen, settings),
        **by_tokens,
    }
    if settings.variants:
        tables["unfiltered"] = _unfiltered(inputs, sample, chosen, settings)
    if settings.concepts.subsets:
        wanted = settings.concepts.subsets
        tables["subsets"] = _subsets(key, inputs, example, settings, wanted, lists)
    every_score = [one for one in paired if one.pairing in NEEDS_EVERY_SCORE]
    pairs = [
        *(pairs_table(one.pairing, by_layers[one.layer_a, one.layer_b], one.pairs)
          for one in every_score),
        *kept,
    ]  # fmt: skip
    return {
        "pairs": pd.concat(pairs, ignore_index=True),
        "features": pd.concat(map(feature_table, matches), ignore_index=True),
        "backward": pd.concat(map(backward_table, matches), ignore_index=True),
    } | {name: table.assign(**positions) for name, table in tables.items()}


def _match(inputs: PairInputs, sample: Sample, layers: tuple[int, int]) -> LayerMatch:
    sides = inputs.a[layers[0]], inputs.b[layers[1]]
    return match_layers(*sides, sample, layers, exclude_self=inputs.same_sae(*layers))


def _paired(
    inputs: PairInputs, sample: Sample, chosen: Sequence[LayerMatch], settings: Matching
) -> list[PairedLayers]:
    paired: list[PairedLayers] = []
    for match in chosen:
        layers = match.layer_a, match.layer_b
        paired += pair_layers(
            match, inputs.a[layers[0]], inputs.b[layers[1]], sample,
            epsilon=settings.transport_epsilon, exclude_self=inputs.same_sae(*layers),
        )  # fmt: skip
    return paired


def _meeting(
    key: str, inputs: PairInputs, sample: Sample, chosen: Sequence[LayerMatch], settings: Matching
) -> pd.DataFrame:
    random = generator(settings.seed, "meeting documents", key)
    n_documents = len(np.unique(sample.documents))
    shifts = random.integers(1, n_documents, size=min(settings.n_null, N_FEW_NULL))
    nulls = [
        null_of_meeting_documents(
            match, inputs.a[match.layer_a], inputs.b[match.layer_b], sample, shifts
        )
        for match in chosen
    ]
    return meeting_table(chosen, nulls, settings.threshold)


def _by_tokens(
    key: str,
    inputs: PairInputs,
    chosen: Sequence[LayerMatch],
    settings: Matching,
    lists: ConceptLists,
) -> tuple[dict[str, pd.DataFrame], list[pd.DataFrame]]:
    """Return what needs the tokens that features fire on most: filters and concepts.

    Also the pairs (`pairs_table`) that each filter leaves (`filter_` and its name), and those of
    which both features are of a concept (`concept_` and its name).
    """
    chooses = settings.filters
    tops = [
        (
            top_tokens(inputs.a[match.layer_a], inputs.token_a, chooses.n_top),
            top_tokens(inputs.b[match.layer_b], inputs.token_b, chooses.n_top),
        )
        for match in chosen
    ]
    non_concept = inputs.vocabulary.find(lists.non_concept if chooses.non_concept else [])
    filters = Filters(non_concept, chooses.shared_token, chooses.one_per_b, chooses.min_r)
    steps = [
        step for match, pair in zip(chosen, tops, strict=True)
        for step in filtered(match, *pair, filters)
    ]  # fmt: skip
    alone = [removed_alone(match, *pair, filters) for match, pair in zip(chosen, tops, strict=True)]
    members = {
        concept: [
            [
                concept_features(side, inputs.vocabulary.find(words), settings.concepts.min_hits)
                for side in pair
            ]
            for pair in tops
        ]
        for concept, words in lists.concepts.items()
    }
    by_layers = {(match.layer_a, match.layer_b): match for match in chosen}
    kept = [
        pairs_table(f"filter_{step.pairing}", by_layers[step.layer_a, step.layer_b], step.pairs)
        for step in steps
        if step.pairing != ALL
    ]
    for concept, masks in members.items():
        for match, (of_a, of_b) in zip(chosen, masks, strict=True):
            pairs = nearest(match.forward)
            both = pairs.subset(of_a[pairs.a] & of_b[pairs.b])
            kept.append(pairs_table(f"concept_{concept}", match, both))
    of_a = {concept: [mask for mask, _ in masks] for concept, masks in members.items()}
    random = generator(settings.seed, "concepts", key)
    return {
        "filters": filter_table(steps, alone, settings.threshold),
        "concepts": concept_table(chosen, of_a, settings.concepts.n_random, random),
    }, kept


def _subsets(
    key: str,
    inputs: PairInputs,
    match: LayerMatch,
    settings: Matching,
    wanted: Subsets,
    lists: ConceptLists,
) -> pd.DataFrame:
    """Match one pair of layers anew on a concept's positions, and on the text of one topic."""
    rows: dict[tuple[str, str], np.ndarray] = {}
    for concept, words in lists.concepts.items():
        keywords = inputs.vocabulary.find(words)
        rows["tokens", concept] = concept_rows(inputs.token_a, keywords)
        rows["topic", concept] = topic_rows(
            inputs.token_a, inputs.documents, keywords, wanted.topic_share
        )

    def sample(documents: np.ndarray, *names: str) -> Sample:
        return draw_sample(documents, settings, key, *names)

    return subset_table(
        inputs.a[match.layer_a], inputs.b[match.layer_b], inputs.documents, rows, sample,
        generator(settings.seed, "subsets", key), settings.threshold,
        wanted.min_positions,
    ).assign(layer_a=match.layer_a, layer_b=match.layer_b)  # fmt: skip


def _unfiltered(
    inputs: PairInputs, sample: Sample, chosen: Sequence[LayerMatch], settings: Matching
) -> pd.DataFrame:
    """Return the headline numbers with rare features kept, and with BOS among the positions."""
    few = replace(sample, offsets=sample.offsets[:N_FEW_NULL])
    documents = np.concatenate([sample.documents, np.unique(sample.documents)])
    variants: Mapping[str, Any] = {
        "rare_kept": replace(few, min_count=1),
        "bos_kept": replace(few, documents=documents),
    }
    rows = []
    for name, changed in variants.items():
        matches = []
        for match in chosen:
            layers = match.layer_a, match.layer_b
            if name == "bos_kept":
                sides = inputs.with_bos(layers[0], "a"), inputs.with_bos(layers[1], "b")
            else:
                sides = inputs.a[layers[0]], inputs.b[layers[1]]
            same = inputs.same_sae(*layers)
            matches.append(match_layers(*sides, changed, layers, exclude_self=same))
        under_null = [matches] * len(few.offsets)
        rows.append({"variant": name, **summary(matches, under_null, settings.threshold)})
    return pd.DataFrame(rows)
