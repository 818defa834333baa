"""What the SVCCA of Lan et al. 2024 measures, on random numbers and on our models.

The released code has three errors that change its numbers: it keeps one principal component where
it means 99% of the variance (`linear.svcca_k1_as_published`), its filter of tokens that name
nothing does nothing, and the SAE of a layer reads the activations of the layer before.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.core.corpora import load_tokenizer, load_tokens
from universality.core.features import Encoded, encode, hook_rows, position_table
from universality.core.models import load_bridge
from universality.core.randomness import generator
from universality.core.sae_weights import read_weights
from universality.core.shared_tokens import Vocabulary, top_tokens
from universality.studies.matching.files import Directories, hook_name, shared_positions
from universality.studies.matching.filters import ALL, Filters
from universality.studies.matching.pairings import nearest
from universality.studies.matching.params.matching import ConceptLists, Matching
from universality.studies.matching.study import Sample, match_layers
from universality.studies.saes.evaluation import load_sae
from universality.studies.spaces.params.similarity import Audit, Similarity
from universality.studies.spaces.similarity.decoders import (
    Decoders,
    compare_pairs,
    projected,
    sae_of,
)
from universality.studies.spaces.similarity.linear import compare, svcca, svcca_k1_as_published


def random_table(settings: Audit, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """Return SVCCA of unrelated Gaussian rows: what it gives for nothing as n grows.

    `random_d` columns; mean, least and most over `n_random` repetitions. `k1_theory` is the mean
    absolute correlation of two random directions, sqrt(2 / (pi n)).
    """
    rows = []
    for n in settings.random_n:
        links = [
            compare(*(rng.standard_normal((n, d)) for d in settings.random_d))
            for _ in range(settings.n_random)
        ]
        full = [float(svcca(link, share)) for link in links]
        k1 = [float(svcca_k1_as_published(link)) for link in links]
        rows.append(
            {
                "n": n,
                "d_a": settings.random_d[0],
                "d_b": settings.random_d[1],
                "n_random": settings.n_random,
                "svcca": np.mean(full),
                "svcca_low": min(full),
                "svcca_high": max(full),
                "svcca_k1": np.mean(k1),
                "svcca_k1_low": min(k1),
                "svcca_k1_high": max(k1),
                "k1_theory": np.sqrt(2 / (np.pi * n)),
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Read:
    """One model's SAE, fed with the activations of its own layer or of the one before."""

    own: Encoded
    before: Encoded | None
    """None for the first layer, which has none before it."""
    token: np.ndarray
    """Token number of each position, `(n,)`."""
    decoder: np.ndarray
    """Shape `(d_sae, d_in)`."""


def variants(
    a: Read,
    b: Read,
    documents: np.ndarray,
    min_count: int,
    filters: Filters,
    n_top: int,
    settings: Similarity,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return `decoders.compare_pairs` as released, corrected, and in between.

    `hook` is `own` or, where both layers have one before them, `before`; `filter` says whether
    pairs with tokens that name nothing are dropped. All other filters are those of the paper.
    `ev_a` and `ev_b` are the shares of variance that the SAEs explain of what they were fed, which
    give the wrong hook away.
    """
    rows: list[dict[str, Any]] = []
    fed: dict[str, list[Encoded]] = {"own": [a.own, b.own]}
    if a.before is not None and b.before is not None:
        fed["before"] = [a.before, b.before]
    for hook, read in fed.items():
        sample = Sample(documents, np.zeros(0, dtype=np.int64), np.zeros((0, 1)), min_count)
        match = match_layers(read[0].features, read[1].features, sample)
        tops = [
            top_tokens(encoded.features, side.token, n_top)
            for encoded, side in zip(read, (a, b), strict=True)
        ]
        alive = [np.flatnonzero(kept) for kept in (match.alive_a, match.alive_b)]
        whole = [
            projected(side.decoder, kept, side.decoder.shape[1])
            for side, kept in zip((a, b), alive, strict=True)
        ]
        decoders = Decoders(whole[0], whole[1])
        for name, chosen in (
            ("none", replace(filters, non_concept=np.zeros(0, dtype=np.int64))),
            ("concept_tokens", filters),
        ):
            steps = chosen.steps(nearest(match.forward), *tops)
            pairs = list(steps.values())[-1]
            of = {
                "hook": hook,
                "filter": name,
                "n_before_filters": len(steps[ALL].a),
                "ev_a": read[0].explained_variance,
                "ev_b": read[1].explained_variance,
            }
            rows += [of | row for row in compare_pairs(decoders, pairs, settings, rng)]
    return pd.DataFrame(rows)


def read_pair(
    places: tuple[Directories, Directories],
    layers: tuple[int, int],
    corpus: Path,
    max_tokens: int,
    n_documents: int,
    batch_tokens: int,
) -> tuple[Read, Read, np.ndarray, Vocabulary]:
    """Encode shared positions with the SAE of a layer of each model, fed rightly and wrongly.

    Returns both models, the document of every position and the numbers of tokens.
    """
    tables, rows, saes = [], [], []
    for place, layer in zip(places, layers, strict=True):
        path = sae_of(place.saes, layer, place.seed)
        hook = hook_name(path)
        hooks = {"own": hook}
        if layer > 0:
            hooks["before"] = hook.replace(f"blocks.{layer}.", f"blocks.{layer - 1}.")
        tokens = load_tokens(corpus, "validation", place.model, max_tokens, n_documents)
        found = hook_rows(load_bridge(place.model), tokens, list(hooks.values()), batch_tokens)
        tables.append(position_table(tokens, found.place, load_tokenizer(place.model)[0]))
        rows.append({name: found.activations[at] for name, at in hooks.items()})
        saes.append(path)
    where = f"{places[0].model} and {places[1].model}"
    aligned, documents = shared_positions(tables[0], tables[1], where)
    vocabulary = Vocabulary(*(set(table["piece"]) for table in tables))
    read = []
    for own, table, fed, path in zip(
        (aligned.rows_a, aligned.rows_b), tables, rows, saes, strict=True
    ):
        sae = load_sae(path)
        read.append(
            Read(
                own=encode(sae, fed["own"][own]),
                before=encode(sae, fed["before"][own]) if "before" in fed else None,
                token=vocabulary.encode(table["piece"].to_numpy()[own]),
                decoder=read_weights(path).decoder,
            )
        )
    return read[0], read[1], documents, vocabulary


def audit_tables(
    places: tuple[Directories, Directories],
    corpus: Path,
    max_tokens: int,
    audit: Audit,
    settings: Similarity,
    matching: Matching,
    lists: ConceptLists,
) -> dict[str, pd.DataFrame]:
    """Return `random_table`, and the `variants` at every pair of layers of the audit."""
    chooses = matching.filters
    parts = []
    for layer_a, layer_b in audit.layers:
        a, b, documents, vocabulary = read_pair(
            places, (layer_a, layer_b), corpus, max_tokens, audit.n_documents,
            settings.batch_tokens,
        )  # fmt: skip
        filters = Filters(
            vocabulary.find(lists.non_concept), chooses.shared_token, chooses.one_per_b,
            chooses.min_r,
        )  # fmt: skip
        rng = generator(settings.seed, "audit", str(layer_a), str(layer_b))
        found = variants(a, b, documents, matching.min_count, filters, chooses.n_top, settings, rng)
        parts.append(found.assign(layer_a=layer_a, layer_b=layer_b, n_positions=len(documents)))
    return {
        "random": random_table(
            audit, settings.variance_share, generator(settings.seed, "audit", "random")
        ),
        "variants": pd.concat(parts, ignore_index=True),
    }
