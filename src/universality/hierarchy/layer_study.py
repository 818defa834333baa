"""The claims in the activations of single tokens, layer by layer, and SAE features beside them.

The paper's whitening is defined at the unembedding alone. Here every layer has its own, by the
covariance of the activations of a sample of tokens.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.hierarchy import polytopes, sae_space
from universality.hierarchy.claims import Family, family
from universality.hierarchy.graph import Concepts, renumbered, restricted
from universality.hierarchy.single_tokens import activations_after, prefixes
from universality.hierarchy.study import Space, mean_interval, orders, study
from universality.hierarchy.vectors import concept_vectors, shared_moments, whitening
from universality.nulls import permutation_p
from universality.params.hierarchy import ConceptGraph, ConceptLayers, Hierarchy
from universality.randomness import generator
from universality.stats import percentile_interval

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
    """Return the activations of `tokens` `(n,)` after BOS alone, and after beginnings of stories.

    `in context` is the mean over `n_contexts` beginnings, `one context` the first alone, which an
    SAE can read.
    """
    from universality.corpora import load_tokenizer, load_tokens
    from universality.models import load_bridge

    bridge = load_bridge(model)
    _, bos = load_tokenizer(model)
    text = load_tokens(corpus, "validation", model, wanted.context_tokens + 1)
    contexts = prefixes(text, of_concepts, wanted.context_tokens, wanted.n_contexts)
    found: dict[tuple[str, str], np.ndarray] = {}
    alone = activations_after(bridge, np.array([bos]), tokens, hooks, wanted.batch_rows)
    for number, prefix in enumerate(contexts):
        after = activations_after(bridge, prefix, tokens, hooks, wanted.batch_rows)
        for hook, rows in after.items():
            if number == 0:
                found["one context", hook] = rows
            mean = found.get(("in context", hook), 0)
            found["in context", hook] = mean + rows / len(contexts)
    return found | {("alone", hook): rows for hook, rows in alone.items()}


def depth_tables(
    key: str,
    rows: Rows,
    hooks: Mapping[int, str],
    concepts: Concepts,
    graph: ConceptGraph,
    settings: Hierarchy,
) -> dict[str, pd.DataFrame]:
    """Return the claims and the polytopes at every layer of `hooks`, in both forms.

    With LDA and with plain means, both whitened.
    """
    related = family(concepts, generator(settings.seed, key, "strangers"))
    summaries, shapes = [], []
    for form in ("alone", "in context"):
        for layer, hook in hooks.items():
            x = rows[form, hook].astype(np.float64)
            white = whitening(x)(x).astype(np.float32)
            at = {"form": form, "layer": layer}
            for estimator in ("lda", "mean"):
                space = Space(white, concepts, related, estimator, settings)
                rng = generator(settings.seed, key, "claims")
                found = study(space, settings.ablation_nulls, rng)
                summaries.append(found.summary.assign(estimator=estimator, **at))
            shapes.append(_shapes(key, white, concepts, graph, settings).assign(**at))
    return {
        "summary": pd.concat(summaries, ignore_index=True),
        "polytopes": pd.concat(shapes, ignore_index=True),
    }


def _shapes(
    key: str, white: np.ndarray, concepts: Concepts, graph: ConceptGraph, settings: Hierarchy
) -> pd.DataFrame:
    """Return the statistics of those polytopes whose categories are all among `concepts`."""
    known = {name for names in concepts.merged for name in names}
    tables = [pd.DataFrame()]
    for name, synsets in graph.polytopes.items():
        if not known.issuperset(synsets):
            continue
        rng = generator(settings.seed, key, "polytope", name)
        members = [concepts.members[concepts.find(synset)] for synset in synsets]
        real = polytopes.corners(members[0], members[1:])
        n = settings.ablation_nulls.n_nested
        random = [polytopes.random_corners(real, rng) for _ in range(n)]
        found = polytopes.compared(white, real, random, "lda", settings.n_groups, rng)
        tables.append(found.assign(polytope=name))
    return pd.concat(tables, ignore_index=True)


def sae_tables(
    key: str,
    sae_id: str,
    x: np.ndarray,
    features: Any,
    decoder: np.ndarray,
    pieces: list[str],
    concepts: Concepts,
    wanted: ConceptLayers,
    settings: Hierarchy,
) -> dict[str, pd.DataFrame]:
    """Return how an SAE's features lie to concept vectors, and what these are made of.

    `x` `(n, d)` are the activations the SAE read, `features` `(n, n_features)` what it made of
    them, `pieces` `(n,)` the tokens. `nested` is a control of `study`: random concepts have
    features and vectors of their own.
    """
    related = family(concepts, generator(settings.seed, key, "strangers"))
    white = whitening(x.astype(np.float64))
    rows = white(x)
    live = np.flatnonzero(np.asarray((features != 0).sum(axis=0)).ravel())
    directions = decoder @ white.root_inverse
    rng = generator(settings.seed, key, sae_id)
    space = Space(rows, concepts, related, "lda", settings)

    def measured(members: list[np.ndarray]) -> tuple[dict[str, np.ndarray], Any, Any]:
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
        }, chosen, parts  # fmt: skip

    real, chosen, parts = measured(concepts.members)
    drawn = [
        {name: float(values.mean()) for name, values in measured(members)[0].items()}
        for control, members in orders(space, settings.nulls, rng)
        if control == "nested"
    ]
    groups = np.array([some[0] if some else -1 for some in concepts.parents])
    table = []
    for name, values in real.items():
        low, high = mean_interval(values, groups, settings.n_bootstrap, rng)
        null = np.array([one[name] for one in drawn])
        ends = percentile_interval(null)
        table.append(
            {"sae": sae_id, "statistic": name, "n": len(values), "value": float(values.mean()),
             "low": low, "high": high, "nested": float(null.mean()), "nested_low": ends[0],
             "nested_high": ends[1], "nested_p": permutation_p(float(values.mean()), null)}
        )  # fmt: skip
    return {
        "features": pd.DataFrame(table),
        "made_of": _made_of_table(sae_id, concepts, chosen, parts, live, features, pieces),
    }


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


def _made_of_table(
    sae_id: str,
    concepts: Concepts,
    chosen: sae_space.Selective,
    parts: sae_space.MadeOf,
    live: np.ndarray,
    features: Any,
    pieces: list[str],
) -> pd.DataFrame:
    """Return a row per concept and feature of its vector, with the tokens it fires on most."""
    by_feature = features.tocsc()
    rows = []
    for node, name in enumerate(concepts.names):
        for place, coefficient in zip(parts.features[node], parts.coefficients[node], strict=True):
            if place < 0:
                continue
            feature = int(live[place])
            span = slice(by_feature.indptr[feature], by_feature.indptr[feature + 1])
            best = by_feature.indices[span][np.argsort(-by_feature.data[span], kind="stable")[:8]]
            rows.append(
                {"sae": sae_id, "concept": name, "feature": feature,
                 "coefficient": float(coefficient), "cosine": float(parts.cosine[node]),
                 "selective": bool(feature in chosen.features[node]),
                 "tokens": " ".join(pieces[row] for row in best)}
            )  # fmt: skip
    return pd.DataFrame(rows)
