"""Whether what a vector was decomposed into also does what the vector does."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from universality.nulls import permutation_p
from universality.stats import document_weights, percentile_interval, ratio_interval
from universality.steering.decomposition import Case, Decomposition
from universality.steering.effects import Task, Trial, measure
from universality.steering.vectors import random_like


def changes(
    bridge: Any,
    hook: str,
    vectors: Mapping[str, np.ndarray],
    task: Task,
    multipliers: Sequence[float],
    where: str,
    batch_rows: int,
    hooks: Sequence[Any] = (),
) -> dict[str, np.ndarray]:
    """Return by how much each vector, added at `hook`, changes the score of every prompt.

    Arrays are `(n_multipliers, n_prompts)`, nats; `hooks` are active with and without the vector.
    """
    zero = np.zeros_like(next(iter(vectors.values())))
    added = [zero] + [m * vector for vector in vectors.values() for m in multipliers]
    trials = [Trial(ids, task.words, hook, one) for one in added for ids in task.prompts]
    score = measure(bridge, trials, where, None, hooks, batch_rows).score
    score = score.reshape(len(added), len(task.prompts))
    change = (score[1:] - score[0]).reshape(len(vectors), len(multipliers), -1)
    return dict(zip(vectors, change, strict=True))


def total(change: np.ndarray, multipliers: Sequence[float]) -> np.ndarray:
    """Return the mean change over multipliers, towards where each points, `(n_prompts,)`."""
    return np.mean(np.sign(multipliers)[:, None] * change, axis=0)


def with_length(vector: np.ndarray, length: float) -> np.ndarray:
    """Return `vector` made `length` long; a zero vector stays zero."""
    now = np.linalg.norm(vector)
    return vector * (length / now) if now else vector


def share_of(
    name: str, part: np.ndarray, whole: np.ndarray, n_bootstrap: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return sum(part) / sum(whole) as `name`, and its 95% interval over the entries.

    NaN where the whole is 0 throughout.
    """
    if not whole.any():
        return {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}
    low, high = ratio_interval(part, whole, n_bootstrap, rng)
    value = float(part.sum() / whole.sum())
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def kept_tables(
    bridge: Any,
    hook: str,
    case: Case,
    task: Task,
    found: Mapping[str, Decomposition],
    multipliers: Sequence[float],
    where: str,
    batch_rows: int,
    n_random: int,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Steer with every reconstruction of a vector, as it is and made as long as the vector.

    The first table has a row for each method and length (`own`, `matched`): effect, the mean change
    of the score over multipliers and prompts, nats, and original, that of the vector (original_p:
    of as large an effect of a random vector); share, the first over the second. Intervals are 95%
    over prompts; _null and _p are of `n_random` random vectors as long as the vector, which have
    rows too. The second has the dose-response, a row for each multiplier.
    """
    length = float(np.linalg.norm(case.vector))
    vectors = {("original", "own"): case.vector}
    for name, one in found.items():
        vectors[name, "own"] = one.reconstruction
        vectors[name, "matched"] = with_length(one.reconstruction, length)
    for draw, vector in enumerate(random_like(case.vector, n_random, rng)):
        vectors[f"random_{draw}", "own"] = vector
    named = {"/".join(key): vector for key, vector in vectors.items()}
    change = changes(bridge, hook, named, task, multipliers, where, batch_rows)
    of = {key: change["/".join(key)] for key in vectors}
    whole = total(of["original", "own"], multipliers)
    by_chance = [total(of[f"random_{i}", "own"], multipliers).sum() for i in range(n_random)]
    null = np.array(by_chance) / (whole.sum() or np.inf)
    original_p = permutation_p(whole.sum(), np.array(by_chance))
    rows, doses = [], []
    for (method, size), values in of.items():
        keys = {"vector": case.name, "method": method, "length": size}
        effect = total(values, multipliers)
        share = share_of("share", effect, whole, n_bootstrap, rng)
        rows.append(
            keys
            | {"effect": float(effect.mean()), "original": float(whole.mean())}
            | {"original_p": original_p}
            | share
            | {"share_null": float(null.mean())}
            | {"share_p": permutation_p(share["share"], null) if whole.any() else 1.0}
            | {"n_prompts": len(whole)}
        )
        doses += dose_rows(keys, values, multipliers, n_bootstrap, rng)
    return pd.DataFrame(rows), pd.DataFrame(doses)


def dose_rows(
    keys: Mapping[str, Any],
    change: np.ndarray,
    multipliers: Sequence[float],
    n_bootstrap: int,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Return `keys`, multiplier, change (mean over prompts) and its 95% interval over prompts."""
    weights = document_weights(change.shape[1], n_bootstrap, rng) / change.shape[1]
    rows = []
    for multiplier, values in zip(multipliers, change, strict=True):
        low, high = percentile_interval(weights @ values)
        row = {"multiplier": multiplier, "change": float(values.mean())}
        rows.append({**keys, **row, "change_low": low, "change_high": high})
    return rows
