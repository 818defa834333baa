"""The study in the space where the paper has it: a model's unembedding."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.core.randomness import generator
from universality.studies.hierarchy import interventions, polytopes
from universality.studies.hierarchy.claims import family
from universality.studies.hierarchy.graph import Concepts, restricted
from universality.studies.hierarchy.params.hierarchy import ConceptGraph, Hierarchy
from universality.studies.hierarchy.study import Outcome, Space, mean_and_range, orders, study
from universality.studies.hierarchy.vectors import Estimator, Whitening, concept_vectors, whitening


def claim_tables(
    key: str, unembedding: np.ndarray, concepts: Concepts, wanted: ConceptGraph, settings: Hierarchy
) -> dict[str, pd.DataFrame]:
    """Return the claims about every concept with enough tokens, under every ablation.

    `unembedding` `(n_vocab, d)`. `summary` has all ablations, `heat` the first alone.
    """
    tested = restricted(concepts, concepts.tokens, wanted.min_tokens)
    related = family(tested, generator(settings.seed, key, "strangers"))
    found: dict[str, pd.DataFrame] = {}
    summaries = []
    for number, ablation in enumerate(settings.ablations):
        rows = whitening(unembedding, ablation.causal)(unembedding)
        if ablation.estimator != "lda_unshrunk":  # which divides by small variances
            rows = rows.astype(np.float32)
        space = Space(rows, tested, related, ablation.estimator, settings)
        # The same draws for every ablation: what differs is how vectors are made.
        rng = generator(settings.seed, key, "claims")
        outcome: Outcome = study(space, settings.ablation_nulls if number else settings.nulls, rng)
        named = {"estimator": ablation.estimator, "causal": ablation.causal}
        summaries.append(outcome.summary.assign(**named))
        if number == 0:
            found = {"heat": outcome.heat}
    return {"summary": pd.concat(summaries, ignore_index=True), **found}


def polytope_tables(
    key: str,
    rows: np.ndarray,
    concepts: Concepts,
    wanted: ConceptGraph,
    settings: Hierarchy,
) -> dict[str, pd.DataFrame]:
    """Return the statistics of every polytope beside its controls, and its points.

    `rows` `(n_vocab, d)` are whitened. Controls are random parts of the parent, random words of the
    graph, and, as published, shuffled unembeddings.
    """
    estimator: Estimator = settings.ablations[0].estimator
    tables: list[pd.DataFrame] = []
    points: list[pd.DataFrame] = []
    for name, synsets in wanted.polytopes.items():
        rng = generator(settings.seed, key, "polytope", name)
        nodes = [concepts.find(synset) for synset in synsets]
        real = polytopes.corners(
            concepts.members[nodes[0]], [concepts.members[node] for node in nodes[1:]]
        )
        random = [polytopes.random_corners(real, rng) for _ in range(settings.nulls.n_nested)]
        others: dict[str, list[polytopes.Corners]] = {"nested": [], "shuffled": []}
        for control, order in orders(len(rows), concepts.tokens, settings.nulls, rng):
            others[control].append(polytopes.exchanged(real, order))
        table = polytopes.compared(rows, real, random, others, estimator, settings.n_groups, rng)
        tables.append(table.assign(polytope=name))
        for kind, some in (("real", real), ("random", random[0])):
            points += _points(name, kind, rows, some, synsets, estimator)
    if not tables:
        return {}
    return {
        "polytopes": pd.concat(tables, ignore_index=True),
        "points": pd.concat(points, ignore_index=True),
    }


def _points(
    name: str,
    kind: str,
    rows: np.ndarray,
    found: polytopes.Corners,
    synsets: list[str],
    estimator: Estimator,
) -> list[pd.DataFrame]:
    """Return the corners, and the tokens of each category, in the widest plane of the corners."""
    vectors = concept_vectors(rows, found.categories, estimator)
    plane = polytopes.span_of(vectors)[:2].T
    tables = []
    for category, vector, some in zip(synsets[1:], vectors, found.categories, strict=True):
        x, y = (np.vstack([vector[None], rows[some]]) @ plane).T.astype(np.float32)
        is_corner = np.arange(len(x)) == 0
        at = {"polytope": name, "kind": kind, "category": category, "corner": is_corner}
        tables.append(pd.DataFrame(at | {"x": x, "y": y}))
    return tables


def intervention_table(
    key: str,
    white: Whitening,
    prompts: interventions.Prompts,
    documents: np.ndarray,
    concepts: Concepts,
    wanted: ConceptGraph,
    settings: Hierarchy,
) -> pd.DataFrame:
    """Return how adding l_child - l_parent changes mean logits at real prompts.

    `documents` `(n,)` is each prompt's. A row per pair and `contrast`, child or parent. Two
    controls: a random part of the real parent as the child (`nested`), and a random vector of equal
    length.
    """
    rows = white(prompts.unembedding)
    estimator: Estimator = settings.ablations[0].estimator
    strength, share = settings.intervening.strength, settings.train_share
    every = np.arange(len(rows))
    table: list[dict[str, Any]] = []
    for parent_name, child_name in wanted.interventions:
        rng = generator(settings.seed, key, "intervention", parent_name, child_name)
        parent, child = (
            concepts.members[concepts.find(name)] for name in (parent_name, child_name)
        )
        outside = np.setdiff1d(every, parent)

        def changes(
            some: np.ndarray, parent: np.ndarray = parent, outside: np.ndarray = outside,
            rng: np.random.Generator = rng,
        ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:  # fmt: skip
            own = interventions.halves(some, share, rng)
            rest = interventions.halves(np.setdiff1d(parent, some), share, rng)
            vector = interventions.direction(
                white, rows, own.train, np.union1d(own.train, rest.train), estimator
            )
            return vector, (own.test, rest.test, outside)

        vector, sets = changes(child)
        found = interventions.contrasts(prompts, vector, strength, *sets)
        controls: Mapping[str, list[tuple[np.ndarray, ...]]] = {"nested": [], "random": []}
        for _ in range(settings.nulls.n_nested):
            drawn, of = changes(rng.choice(parent, size=len(child), replace=False))
            controls["nested"].append(interventions.contrasts(prompts, drawn, strength, *of))
            step = rng.normal(size=len(vector))
            step *= np.linalg.norm(vector) / np.linalg.norm(step)
            controls["random"].append(interventions.contrasts(prompts, step, strength, *sets))
        for number, contrast in enumerate(("child", "parent")):
            row: dict[str, Any] = {
                "parent": parent_name, "child": child_name, "contrast": contrast,
                "n_prompts": len(documents), "n_test": len(sets[number]),
            }  # fmt: skip
            row |= interventions.mean_and_interval(
                found[number], documents, settings.n_bootstrap, rng
            )
            for control, draws in controls.items():
                means = np.array([draw[number].mean() for draw in draws])
                row |= mean_and_range(control, means)
            table.append(row)
    return pd.DataFrame(table)


def read_prompts(
    model: Path, corpus: Path, max_tokens: int, unembedding: np.ndarray, settings: Hierarchy
) -> tuple[interventions.Prompts, np.ndarray]:
    """Return the last residuals of `model` at random positions of real text, and their documents.

    `unembedding` as `read_unembedding` gives it.
    """
    from universality.core.activations import collect
    from universality.core.corpora import load_tokens
    from universality.core.io import read_json
    from universality.core.models import load_bridge

    wanted = settings.intervening
    config = read_json(model / "config.json")
    tokens = load_tokens(corpus, "validation", model, max_tokens, wanted.n_documents)
    bridge = load_bridge(model)
    hook = f"blocks.{config['num_hidden_layers'] - 1}.hook_resid_post"
    found = list(collect(bridge, tokens, [hook], max_tokens, mask_special=True))
    residuals = np.concatenate([some.activations[hook].double().numpy() for some in found])
    documents = np.concatenate([some.document for some in found])
    rng = generator(settings.seed, model.name, "prompts")
    chosen = np.sort(rng.permutation(len(residuals))[: wanted.n_prompts])
    centred = "layer_norm_epsilon" in config or "layer_norm_eps" in config
    epsilon = next(
        (config[name] for name in ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps")
         if name in config), 1e-5,
    )  # fmt: skip
    prompts = interventions.Prompts(
        residuals[chosen], unembedding.astype(np.float64), centred, float(epsilon)
    )
    return prompts, documents[chosen]
