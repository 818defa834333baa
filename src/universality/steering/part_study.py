"""The study of what parts of steering vectors do, of one model and its SAEs, as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.corpora import load_tokenizer, load_tokens
from universality.features import position_table, sparse_features
from universality.matching.concepts import concept_features
from universality.matching.files import hook_name
from universality.matching.tokens import Vocabulary, top_tokens
from universality.params.decomposition import Decomposition, SteeredParts
from universality.params.steering import Steering
from universality.randomness import generator
from universality.saes.evaluation import load_sae
from universality.saes.grid import layer as layer_of
from universality.stats import document_weights, percentile_interval
from universality.steering.causal import share_of
from universality.steering.contrasts import stop_tokens, word_ids
from universality.steering.decomposition import Case, Dictionary, decompose, dictionary_of
from universality.steering.decomposition_study import Steered
from universality.steering.effects import Writing
from universality.steering.intervene import Addition
from universality.steering.parts import ablation_table, part_table, part_vectors, patched
from universality.steering.vectors import random_like
from universality.tables import column, groups, means, where
from universality.unembedding import read_unembedding, written_rows


@dataclass(frozen=True)
class Downstream:
    """The SAEs above a hook, and which of their features are about what."""

    dictionaries: Mapping[str, Dictionary]
    """Hook -> SAE."""
    counts: Mapping[str, np.ndarray]
    """Hook -> on how many positions of the text each feature fires."""
    named: Mapping[str, Mapping[tuple[str, str], Mapping[str, np.ndarray]]]
    """Key of `ablated` -> (name, `fires_on` or `writes`) -> hook -> features."""


def read_downstream(
    steered: Steered,
    saes: Sequence[Path],
    corpus: Path,
    max_tokens: int,
    wanted: SteeredParts,
    settings: Decomposition,
) -> Downstream:
    """Open SAEs and find their features that are about the words of `wanted.ablated`.

    By two rules: `min_hits` of the `n_top` positions on which a feature fires most, or of the
    tokens whose logits its decoder row raises most, are one of the words.
    """
    tokens = load_tokens(corpus, "validation", steered.model, max_tokens, settings.n_documents)
    opened = {hook_name(path): load_sae(path) for path in saes}
    by_hook = {hook: (hook, sae) for hook, sae in opened.items()}
    place, matrices = sparse_features(
        steered.bridge, tokens, by_hook, settings.batch_tokens, mask_special=True
    )
    positions = position_table(tokens, place, steered.bridge.tokenizer.backend_tokenizer)
    vocabulary = Vocabulary(set(positions["piece"]))
    token = vocabulary.encode(positions["piece"])
    dictionaries = {hook: dictionary_of(sae, wanted.centred) for hook, sae in opened.items()}
    unembedding = read_unembedding(steered.model)
    tokenizer, _ = load_tokenizer(steered.model)
    tops, raised = {}, {}
    for hook, matrix in matrices.items():
        tops[hook] = top_tokens(matrix, token, wanted.n_top)
        written = written_rows(dictionaries[hook].rows, steered.model, hook)
        raised[hook] = most_raised(written, unembedding, wanted.n_top)
    named = {
        key: {
            (name, by): {
                hook: np.flatnonzero(concept_features(top, keywords, wanted.min_hits))
                for hook, top in found.items()
            }
            for name, words in ablated.words.items()
            for by, found, keywords in (
                ("fires_on", tops, vocabulary.find(words)),
                ("writes", raised, word_ids(tokenizer, words)[0]),
            )
        }
        for key, ablated in wanted.ablated.items()
    }
    counts = {hook: matrix.getnnz(axis=0) for hook, matrix in matrices.items()}
    return Downstream(dictionaries, counts, named)


def most_raised(rows: np.ndarray, unembedding: np.ndarray, n: int, block: int = 256) -> np.ndarray:
    """Return the `n` tokens whose logits each of `rows` `(m, d)` raises most, `(m, n)`."""
    found = []
    for first in range(0, len(rows), block):
        logits = rows[first : first + block] @ unembedding.T
        some = np.argpartition(-logits, n, axis=1)[:, :n]
        order = np.argsort(-np.take_along_axis(logits, some, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(some, order, axis=1))
    return np.concatenate(found)


def part_tables(
    key: str,
    steered: Steered,
    downstream: Downstream,
    wanted: SteeredParts,
    settings: Decomposition,
    steering: Steering,
) -> dict[str, pd.DataFrame]:
    """Return the tables parts, pareto, ablation and patches, which have a column layer."""
    writing = Writing(wanted.n_new, stop_tokens(steered.model), steering.seed)
    found: dict[str, list[pd.DataFrame]] = {"parts": [], "ablation": [], "patches": []}
    for hook, dictionary in steered.dictionaries.items():
        above = [name for name in downstream.dictionaries if layer_of(name) > layer_of(hook)]
        for case in steered.cases[hook]:
            rng = generator(steering.seed, "parts", key, hook, case.name)
            task = steered.tasks[case.name]
            code = decompose(dictionary, case, case.negative, settings.l0)["signed_pursuit"].code
            random = random_like(case.vector, 1, rng)[0]
            parts = part_vectors(case.vector, code, dictionary.rows, random)
            tables = {
                "parts": part_table(
                    steered.bridge, hook, parts, task, wanted.multipliers, steering.where, writing,
                    steering.batch_rows,
                ),
                "ablation": _ablated(
                    hook, case, steered, downstream, above, wanted, steering, rng
                ),
                "patches": _patched(hook, case, steered, downstream, above, wanted, steering, rng),
            }  # fmt: skip
            for name, table in tables.items():
                if len(table):
                    given = {"layer": layer_of(hook), "vector": case.name}
                    found[name].append(table.assign(**given))
    whole = {name: pd.concat(tables, ignore_index=True) for name, tables in found.items() if tables}
    rng = generator(steering.seed, "parts", key, "summary")
    whole["pareto"] = pareto(whole["parts"], steering.n_bootstrap, rng)
    if "patches" in whole:
        whole["patches"] = patch_summary(whole["patches"], steering.n_bootstrap, rng)
    return whole


def _ablated(
    hook: str,
    case: Case,
    steered: Steered,
    downstream: Downstream,
    above: Sequence[str],
    wanted: SteeredParts,
    steering: Steering,
    rng: np.random.Generator,
) -> pd.DataFrame:
    tables = []
    for key, ablated in wanted.ablated.items():
        if ablated.contrast == case.name and above:
            named = {
                name: {one: by_hook[one] for one in above}
                for name, by_hook in downstream.named[key].items()
            }
            table = ablation_table(
                steered.bridge, hook, case, steered.tasks[case.name], downstream.dictionaries,
                named, downstream.counts, wanted.multipliers, steering.where, steering.batch_rows,
                wanted.n_random, steering.n_bootstrap, rng,
            )  # fmt: skip
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _patched(
    hook: str,
    case: Case,
    steered: Steered,
    downstream: Downstream,
    above: Sequence[str],
    wanted: SteeredParts,
    steering: Steering,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the effect on every prompt, a row each, of every patch at every hook above."""
    rows: list[dict[str, Any]] = []
    for later in above:
        for multiplier in wanted.multipliers:
            addition = Addition(hook, case.vector, multiplier, steering.where)
            effects = patched(
                steered.bridge, downstream.dictionaries[later], later, addition,
                steered.tasks[case.name], rng,
            )  # fmt: skip
            for patch, values in effects.items():
                rows += [
                    {"patched": layer_of(later), "multiplier": multiplier, "patch": patch}
                    | {"prompt": prompt, "effect": float(value)}
                    for prompt, value in enumerate(values)
                ]
    return pd.DataFrame(rows)


def pareto(parts: pd.DataFrame, n_bootstrap: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return effect and price of each part and multiplier, means over prompts and vectors.

    With 95% intervals over vectors, and the shares of the whole vector's effect and price at the
    same multiplier.
    """
    keys = ["layer", "part", "multiplier"]
    of_vectors = means(parts, [*keys, "vector"], ["effect", "price", "length"])
    rows = []
    for (layer, part, multiplier), own in groups(of_vectors, *keys):
        whole = where(of_vectors, layer=layer, part="whole", multiplier=multiplier)
        row: dict[str, Any] = {
            "layer": layer,
            "part": part,
            "multiplier": multiplier,
            "n_vectors": len(own),
        }
        row["length"] = column(own, "length").mean()
        weights = document_weights(len(own), n_bootstrap, rng) / len(own)
        for name in ("effect", "price"):
            values, of_whole = column(own, name), column(whole, name)
            low, high = percentile_interval(weights @ values)
            row |= {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}
            row |= share_of(f"{name}_share", values, of_whole, n_bootstrap, rng)
        rows.append(row)
    return pd.DataFrame(rows)


def patch_summary(
    patches: pd.DataFrame, n_bootstrap: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Return which share of the effect of all vectors a patch keeps, with 95% over vectors.

    One row per layer of the vector, layer patched and patch: effect and original (nats, means over
    vectors, prompts and multipliers), share.
    """
    keys = ["layer", "patched", "patch", "vector"]
    of_vectors = means(patches, keys, ["effect"])
    rows = []
    for (layer, later, patch), own in groups(of_vectors, *keys[:3]):
        if patch == "original":
            continue
        whole = where(of_vectors, layer=layer, patched=later, patch="original")
        effect, original = column(own, "effect"), column(whole, "effect")
        rows.append(
            {"layer": layer, "patched": later, "patch": patch, "effect": float(effect.mean())}
            | {"original": float(original.mean()), "n_vectors": len(own)}
            | share_of("share", effect, original, n_bootstrap, rng)
        )
    return pd.DataFrame(rows)
