"""Whether what a vector was decomposed into also does what the vector does."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from universality.core.stats import ratio_interval
from universality.studies.steering.decomposition import Case, Decomposition
from universality.studies.steering.effects import Task, Trial, measure
from universality.studies.steering.vectors import random_like


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


def kept_table(
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
) -> pd.DataFrame:
    """Steer with every reconstruction of a vector, as it is and made as long as the vector.

    A row for each method and length (`own`, `matched`): effect, the mean change of the score over
    multipliers and prompts, nats; original, that of the vector, and beyond, whether this is above
    the effects of all `n_random` random vectors as long (which have rows too); share, effect over
    original, with its 95% interval over prompts.
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
    of = {key: total(change["/".join(key)], multipliers) for key in vectors}
    whole = of["original", "own"]
    beyond = all(whole.sum() > of[f"random_{draw}", "own"].sum() for draw in range(n_random))
    rows = [
        {"vector": case.name, "method": method, "length": size}
        | {"effect": float(effect.mean()), "original": float(whole.mean()), "beyond": beyond}
        | share_of("share", effect, whole, n_bootstrap, rng)
        | {"n_prompts": len(whole)}
        for (method, size), effect in of.items()
    ]
    return pd.DataFrame(rows)
