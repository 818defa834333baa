"""The claims in the activations of single tokens, layer by layer, and SAE features beside them.

The paper's whitening is defined at the unembedding alone. Here every layer has its own, by the
covariance of the activations of a sample of tokens.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from universality.core.features import encode
from universality.core.randomness import generator
from universality.core.sae_weights import read_weights
from universality.studies.hierarchy import polytopes, sae_space
from universality.studies.hierarchy.claims import Family, family
from universality.studies.hierarchy.graph import Concepts, renumbered, restricted
from universality.studies.hierarchy.params.hierarchy import ConceptGraph, ConceptLayers, Hierarchy
from universality.studies.hierarchy.single_tokens import activations_after, prefixes
from universality.studies.hierarchy.study import (
    Space,
    controls,
    mean_and_range,
    mean_interval,
    study,
)
from universality.studies.hierarchy.vectors import concept_vectors, shared_moments, whitening

Rows = Mapping[tuple[str, str], np.ndarray]
"""(form, hook) -> activations `(n, d)`."""


def choose(
    concepts: Concepts, wanted: ConceptLayers, n_vocab: int, rng: np.random.Generator
) -> tuple[np.ndarray, Concepts]:
    """Return tokens `(n,)`, ascending, and the concepts among them, as places in them.

    All tokens of `roots`, and `n_other` of no concept for the covariance.
    """
    inside = np.unique(
        np.concatenate([concepts.members[concepts.find(name)] for name in wanted.roots])
    )
    outside = np.setdiff1d(np.arange(n_vocab), concepts.tokens)
    others = rng.permutation(outside)[: wanted.n_other]
    tokens = np.sort(np.concatenate([inside, others]))
    return tokens, renumbered(restricted(concepts, inside, wanted.min_tokens), tokens)


def collect_rows(
    model: Path,
    corpus: Path,
    tokens: np.ndarray,
    of_concepts: np.ndarray,
    hooks: list[str],
    wanted: ConceptLayers,
) -> Rows:
    """Return the activations of `tokens` `(n,)` in the forms that are wanted.

    `alone` is after BOS, `in context` the mean over `n_contexts` beginnings of stories, and `one
    context`, which an SAE can read, the first of these; it is always there.
    """
    from universality.core.corpora import load_tokenizer, load_tokens
    from universality.core.models import load_bridge

    bridge = load_bridge(model)
    _, bos = load_tokenizer(model)
    text = load_tokens(corpus, "validation", model, wanted.context_tokens + 1)
    n = wanted.n_contexts if "in context" in wanted.forms else 1
    contexts = prefixes(text, of_concepts, wanted.context_tokens, n)
    found: dict[tuple[str, str], np.ndarray] = {}
    for number, prefix in enumerate(contexts):
        after = activations_after(bridge, prefix, tokens, hooks, wanted.batch_rows)
        for hook, rows in after.items():
            if number == 0:
                found["one context", hook] = rows
            mean = found.get(("in context", hook), 0)
            found["in context", hook] = mean + rows / len(contexts)
    if "alone" in wanted.forms:
        after = activations_after(bridge, np.array([bos]), tokens, hooks, wanted.batch_rows)
        found |= {("alone", hook): rows for hook, rows in after.items()}
    return found


def depth_tables(
    key: str,
    rows: Rows,
    hooks: Mapping[int, str],
    concepts: Concepts,
    graph: ConceptGraph,
    forms: Sequence[str],
    settings: Hierarchy,
) -> dict[str, pd.DataFrame]:
    """Return the claims and the corners of categories at every layer of `hooks`, in all `forms`.

    The claims with LDA and with plain means, both whitened.
    """
    related = family(concepts, generator(settings.seed, key, "strangers"))
    summaries: list[pd.DataFrame] = []
    corners: list[dict[str, Any]] = []
    for form in forms:
        for layer, hook in hooks.items():
            x = rows[form, hook].astype(np.float64)
            white = whitening(x)(x).astype(np.float32)
            at = {"form": form, "layer": layer}
            for estimator in ("lda", "mean"):
                space = Space(white, concepts, related, estimator, settings)
                rng = generator(settings.seed, key, "claims")
                found = study(space, settings.ablation_nulls, rng)
                summaries.append(found.summary.assign(estimator=estimator, **at))
            corners += [row | at for row in _corners(key, white, concepts, graph, settings)]
    return {
        "summary": pd.concat(summaries, ignore_index=True),
        "corners": pd.DataFrame(corners, columns=["polytope", "value", "random", "form", "layer"]),
    }


def _corners(
    key: str, white: np.ndarray, concepts: Concepts, graph: ConceptGraph, settings: Hierarchy
) -> list[dict[str, Any]]:
    """Return how often words are nearest to their own corner, beside random parts of the parent.

    Of those polytopes whose categories are all among `concepts`.
    """
    known = {name for names in concepts.merged for name in names}
    found = []
    for name, synsets in graph.polytopes.items():
        if not known.issuperset(synsets):
            continue
        rng = generator(settings.seed, key, "polytope", name)
        members = [concepts.members[concepts.find(synset)] for synset in synsets]
        real = polytopes.corners(members[0], members[1:])
        n = settings.ablation_nulls.n_nested
        drawn = [real, *(polytopes.random_corners(real, rng) for _ in range(n))]
        value, *random = (
            float(polytopes.nearest_corner(white, one, "lda", settings.n_groups, rng).mean())
            for one in drawn
        )
        found.append({"polytope": name, "value": value, "random": float(np.mean(random))})
    return found


def feature_tables(
    key: str,
    folder: Path,
    saes: Mapping[str, Any],
    read: Mapping[str, np.ndarray],
    concepts: Concepts,
    wanted: ConceptLayers,
    settings: Hierarchy,
) -> dict[str, pd.DataFrame]:
    """Return `features`, the `sae_table` of every SAE of `saes`, or nothing if there is none.

    `read` are the activations `(n, d)` that each reads; `folder` holds their weights.
    """
    tables = []
    for name, sae in saes.items():
        features = encode(sae, torch.from_numpy(read[name])).features
        decoder = read_weights(folder / name).decoder
        tables.append(
            sae_table(key, name, read[name], features, decoder, concepts, wanted, settings)
        )
    return {"features": pd.concat(tables, ignore_index=True)} if tables else {}


def sae_table(
    key: str,
    sae_id: str,
    x: np.ndarray,
    features: Any,
    decoder: np.ndarray,
    concepts: Concepts,
    wanted: ConceptLayers,
    settings: Hierarchy,
) -> pd.DataFrame:
    """Return how an SAE's features lie to concept vectors.

    `x` `(n, d)` are the activations the SAE read, `features` `(n, n_features)` what it made of
    them. `nested` is a control of `study`: random concepts have features and vectors of their own.
    """
    related = family(concepts, generator(settings.seed, key, "strangers"))
    white = whitening(x.astype(np.float64))
    rows = white(x)
    live = np.flatnonzero(np.asarray((features != 0).sum(axis=0)).ravel())
    directions = decoder @ white.root_inverse
    rng = generator(settings.seed, key, sae_id)
    space = Space(rows, concepts, related, "lda", settings)

    def measured(members: list[np.ndarray]) -> dict[str, np.ndarray]:
        moments = shared_moments(rows, members, related.largest_part)
        vectors = concept_vectors(rows, members, "lda", moments)
        chosen = sae_space.selective(features, members, wanted.n_features, rng)
        parts = sae_space.made_of(directions[live], vectors, wanted.l0, _places(chosen, live))
        at = np.arange(len(members))
        strangers = _strangers(related, len(members), rng)
        random = rng.choice(live, size=chosen.features.shape)
        return {
            "selectivity": chosen.held_out.mean(axis=1),
            "own_cosine": sae_space.own_cosines(directions, vectors, chosen.features, at),
            "stranger_cosine": sae_space.own_cosines(
                directions, vectors, chosen.features, strangers
            ),
            "random_feature_cosine": sae_space.own_cosines(directions, vectors, random, at),
            "made_of_cosine": parts.cosine,
            "made_of_own": parts.own_share,
        }

    real = measured(concepts.members)
    drawn = [
        {name: float(values.mean()) for name, values in measured(members).items()}
        for control, members in controls(space, settings.nulls, rng)
        if control == "nested"
    ]
    groups = np.array([some[0] if some else -1 for some in concepts.parents])
    table = []
    for name, values in real.items():
        low, high = mean_interval(values, groups, settings.n_bootstrap, rng)
        table.append(
            {"sae": sae_id, "statistic": name, "n": len(values), "value": float(values.mean()),
             "low": low, "high": high}
            | mean_and_range("nested", np.array([one[name] for one in drawn]))
        )  # fmt: skip
    return pd.DataFrame(table)


def _places(chosen: sae_space.Selective, live: np.ndarray) -> np.ndarray:
    """Return the selective features as places in `live`, -1 for a feature that never fires."""
    place = np.searchsorted(live, chosen.features)
    found = live[np.minimum(place, len(live) - 1)] == chosen.features
    return np.where(found, place, -1)


def _strangers(related: Family, k: int, rng: np.random.Generator) -> np.ndarray:
    """Return for every concept another with no token in common, itself if there is none."""
    return np.array(
        [rng.choice(some) if len(some := np.flatnonzero(related.apart[node])) else node
         for node in range(k)]
    )  # fmt: skip
