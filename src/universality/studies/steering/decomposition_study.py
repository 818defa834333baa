"""The study of what steering vectors are made of: of one model and its SAEs, as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.core.corpora import load_tokenizer, load_tokens
from universality.core.features import hook_rows
from universality.core.hooks import layer as layer_of
from universality.core.models import load_bridge
from universality.core.randomness import generator
from universality.core.stats import document_weights, percentile_interval
from universality.core.tables import column, groups, where
from universality.core.unembedding import read_unembedding, written_rows
from universality.studies.matching.files import hook_name
from universality.studies.saes.evaluation import load_sae
from universality.studies.steering.causal import kept_table, share_of
from universality.studies.steering.contrasts import contrast_tokens
from universality.studies.steering.decomposition import (
    Case,
    Dictionary,
    activation_table,
    contributions,
    decompose,
    decompose_all,
    dictionary_of,
    fidelity_table,
    shuffled,
)
from universality.studies.steering.decomposition import (
    Decomposition as Found,
)
from universality.studies.steering.effects import Task
from universality.studies.steering.lens import direct_effect, top_tokens
from universality.studies.steering.misreading import lost_table, zero_table
from universality.studies.steering.params.decomposition import DecomposedModel, Decomposition
from universality.studies.steering.params.steering import Contrast, Steering
from universality.studies.steering.vectors import METHODS, last_activations

PURSUIT = ("non_negative_pursuit", "signed_pursuit", "omp")
SHUFFLED = "_shuffled"
"""What the names of these end in where they were made with a shuffled dictionary."""
_SHOWN_TOKENS = 8
_SHOWN_FEATURES = 3


@dataclass(frozen=True)
class Steered:
    """An opened model, its SAEs by hook, and what it is steered with."""

    bridge: Any
    model: Path
    dictionaries: Mapping[str, Dictionary]
    """Hook -> SAE."""
    cases: Mapping[str, Sequence[Case]]
    """Hook -> vectors."""
    tasks: Mapping[str, Task]
    """Contrast -> where its effect is measured."""


def open_steered(
    model: Path,
    saes: Sequence[Path],
    contrasts: Mapping[str, Contrast],
    n_prompts: int,
    method: str,
    centred: bool,
) -> Steered:
    """Open a model with its SAEs and make the vectors of `contrasts` at their hooks.

    With `centred`, the SAEs read activations less their mean over dimensions.
    """
    bridge = load_bridge(model)
    found = {hook_name(path): dictionary_of(load_sae(path), centred) for path in saes}
    hooks = list(found)
    cases: dict[str, list[Case]] = {hook: [] for hook in hooks}
    tasks = {}
    for name, contrast in contrasts.items():
        tokens = contrast_tokens(name, contrast, model, n_prompts)
        positive = last_activations(bridge, tokens.positive, hooks)
        negative = last_activations(bridge, tokens.negative, hooks)
        for hook in hooks:
            vector = METHODS[method](positive[hook], negative[hook])
            cases[hook].append(Case(name, vector, positive[hook], negative[hook]))
        tasks[name] = tokens.task
    return Steered(bridge, model, found, cases, tasks)


def decomposition_tables(
    key: str,
    steered: Steered,
    corpus: Path,
    max_tokens: int,
    wanted: DecomposedModel,
    settings: Decomposition,
    steering: Steering,
) -> dict[str, pd.DataFrame]:
    """Return every table of the study by its name; all have a column layer.

    fidelity, zero, lost, activations (see `decomposition`), kept (`causal`), lens, and
    summary, the means of fidelity and kept over vectors.
    """
    tokens = load_tokens(corpus, "validation", steered.model, max_tokens, settings.n_documents)
    hooks = list(steered.dictionaries)
    rows = hook_rows(steered.bridge, tokens, hooks, settings.batch_tokens)
    found: dict[str, list[pd.DataFrame]] = {}
    for hook, dictionary in steered.dictionaries.items():
        rng = generator(steering.seed, "decomposition", key, hook)
        x = rows.activations[hook].numpy().astype(np.float64)
        drawn = np.sort(rng.choice(len(x), min(settings.n_context, len(x)), replace=False))
        context, cases = x[drawn], steered.cases[hook]
        tables = {
            "fidelity": fidelity_table(
                dictionary, cases, context, settings.l0, settings.n_random, rng
            ),
            "zero": zero_table(
                dictionary, cases, settings.zero_multipliers, settings.n_top, settings.n_random, rng
            ),
            "lost": lost_table(dictionary, cases, context, settings.l0),
            "activations": activation_table(dictionary, context, settings.l0),
        }
        other = shuffled(dictionary, rng)
        decomposed = _with_shuffled(dictionary, other, cases, context, settings.l0)
        causal = [
            kept_table(
                steered.bridge, hook, case, steered.tasks[case.name], made, wanted.multipliers,
                steering.where, steering.batch_rows, settings.n_random, steering.n_bootstrap, rng,
            )
            for case, made in zip(cases, decomposed, strict=True)
        ]  # fmt: skip
        tables["kept"] = pd.concat(causal, ignore_index=True)
        tables["zero"]["typical_length"] = float(np.linalg.norm(x, axis=1).mean())
        for name, table in tables.items():
            table.insert(0, "layer", layer_of(hook))
            found.setdefault(name, []).append(table)
    whole = {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}
    rng = generator(steering.seed, "decomposition", key, "summary")
    whole["summary"] = summary(whole["fidelity"], whole["kept"], steering.n_bootstrap, rng)
    whole["lens"] = lens_table(key, steered, settings, steering)
    return whole


def _with_shuffled(
    dictionary: Dictionary, other: Dictionary, cases: Sequence[Case], context: np.ndarray, l0: int
) -> list[dict[str, Found]]:
    """Return every decomposition, and those of pursuit with the shuffled dictionary `other`."""
    both = (decompose_all(by, cases, context, l0) for by in (dictionary, other))
    return [
        found | {f"{name}{SHUFFLED}": by_chance[name] for name in PURSUIT}
        for found, by_chance in zip(*both, strict=True)
    ]


def summary(
    fidelity: pd.DataFrame, kept: pd.DataFrame, n_bootstrap: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Return means over vectors, a row for each layer and method, with 95% over vectors.

    Of cosine, norm_ratio, explained, l0 and negative_share also `_null` (random vectors, mean) and
    `_shuffled` (shuffled dictionary). share_own and share_matched are sums of effects over sums of
    originals, over the n_steering vectors whose effect is beyond that of all random vectors; their
    `_null`, `_null_low` and `_null_high` are the mean, the lowest and the highest share of random
    vectors, `_shuffled` is the share by a shuffled dictionary, and `_lead` what the real one keeps
    more than that, vector by vector.
    """
    rows = []
    for (layer, method), part in groups(fidelity, "layer", "method"):
        row: dict[str, Any] = {"layer": layer, "method": method}
        own = where(part, source="vector")
        weights = document_weights(len(own), n_bootstrap, rng) / len(own)
        for name in ("cosine", "norm_ratio", "explained", "l0", "negative_share"):
            low, high = percentile_interval(weights @ column(own, name))
            row |= {name: column(own, name).mean(), f"{name}_low": low, f"{name}_high": high}
            for source, ending in (("random", "null"), ("shuffled", "shuffled")):
                row[f"{name}_{ending}"] = column(where(part, source=source), name).mean()
        of_layer = where(kept.loc[column(kept, "beyond").astype(bool)], layer=layer)
        null = _pooled_null(of_layer)
        for length in ("own", "matched"):
            steered = where(of_layer, method=method, length=length)
            row["n_steering"] = len(steered)
            if len(steered) == 0:
                continue
            effect, original = column(steered, "effect"), column(steered, "original")
            by_chance = where(of_layer, method=f"{method}{SHUFFLED}", length=length)
            name = f"share_{length}"
            row |= share_of(name, effect, original, n_bootstrap, rng)
            row |= {f"{name}_null": float(null.mean())}
            row |= {f"{name}_null_low": float(null.min()), f"{name}_null_high": float(null.max())}
            if len(by_chance):
                other = column(by_chance, "effect")
                row |= share_of(f"{name}_shuffled", other, original, n_bootstrap, rng)
                row |= share_of(f"{name}_lead", effect - other, original, n_bootstrap, rng)
        rows.append(row | {"n_vectors": len(own)})
    return pd.DataFrame(rows)


def _pooled_null(kept: pd.DataFrame) -> np.ndarray:
    """Return the share of the effect that random vectors have, over all vectors, a draw each."""
    drawn = kept.loc[kept["method"].str.startswith("random_")]
    sums = [
        column(part, "effect").sum() / column(part, "original").sum()
        for _, part in groups(drawn, "method")
    ]
    return np.array(sums)


def lens_table(
    key: str, steered: Steered, settings: Decomposition, steering: Steering
) -> pd.DataFrame:
    """Return the logit lens of the vectors at every hook, and of their largest features.

    One row per layer, vector and what (`vector`, or `feature` and its rank in the signed code,
    with its coefficient): see `lens`.
    """
    unembedding = read_unembedding(steered.model)
    tokenizer, _ = load_tokenizer(steered.model)
    pieces = [tokenizer.id_to_token(i) or "" for i in range(len(unembedding))]
    rows = []
    for hook, cases in steered.cases.items():
        dictionary = steered.dictionaries[hook]
        for case in cases:
            rng = generator(steering.seed, "lens", key, hook, case.name)
            found = {"vector": (case.vector, -1, 1.0)}
            made = decompose(dictionary, case, case.negative, settings.l0)
            code = made["signed_pursuit"].code
            order = np.argsort(-contributions(code, dictionary.rows), kind="stable")
            for rank, feature in enumerate(order[:_SHOWN_FEATURES]):
                sign = np.sign(code[feature])
                found[f"feature {rank + 1}"] = (
                    sign * dictionary.rows[feature], int(feature), float(code[feature])
                )  # fmt: skip
            for what, (vector, feature, coefficient) in found.items():
                written = written_rows(vector[None], steered.model, hook)[0]
                words = steered.tasks[case.name].words
                rows.append(
                    {"layer": layer_of(hook), "vector": case.name, "what": what}
                    | {"feature": feature, "coefficient": coefficient}
                    | direct_effect(written, unembedding, words, settings.n_random, rng)
                    | top_tokens(written, unembedding, pieces, _SHOWN_TOKENS)
                )
    return pd.DataFrame(rows)
