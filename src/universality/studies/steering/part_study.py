"""The study of what parts of steering vectors do, of one model and its SAEs, as tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from universality.core.hooks import layer as layer_of
from universality.core.randomness import generator
from universality.core.stats import document_weights, percentile_interval
from universality.core.tables import column, groups, means, where
from universality.studies.steering.causal import share_of
from universality.studies.steering.contrasts import stop_tokens
from universality.studies.steering.decomposition import Case, Dictionary, decompose
from universality.studies.steering.decomposition_study import Steered
from universality.studies.steering.effects import Writing
from universality.studies.steering.intervene import Addition
from universality.studies.steering.params.decomposition import Decomposition, SteeredParts
from universality.studies.steering.params.steering import Steering
from universality.studies.steering.parts import part_table, part_vectors, patched
from universality.studies.steering.vectors import random_like


def part_tables(
    key: str,
    steered: Steered,
    later: Mapping[str, Dictionary],
    wanted: SteeredParts,
    settings: Decomposition,
    steering: Steering,
) -> dict[str, pd.DataFrame]:
    """Return the tables parts, pareto and patches, which have a column layer.

    `later` are SAEs by hook; those above the hook of a vector are patched in.
    """
    writing = Writing(wanted.n_new, stop_tokens(steered.model), steering.seed)
    found: dict[str, list[pd.DataFrame]] = {"parts": [], "patches": []}
    for hook, dictionary in steered.dictionaries.items():
        above = {name: sae for name, sae in later.items() if layer_of(name) > layer_of(hook)}
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
                "patches": _patched(hook, case, steered, above, wanted, steering, rng),
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


def _patched(
    hook: str,
    case: Case,
    steered: Steered,
    above: Mapping[str, Dictionary],
    wanted: SteeredParts,
    steering: Steering,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the effect on every prompt, a row each, of every patch at every hook above."""
    rows: list[dict[str, Any]] = []
    for later, dictionary in above.items():
        for multiplier in wanted.multipliers:
            addition = Addition(hook, case.vector, multiplier, steering.where)
            effects = patched(
                steered.bridge, dictionary, later, addition, steered.tasks[case.name], rng
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
