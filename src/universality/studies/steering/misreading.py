"""What an encoder makes of a steering vector: its own bias, and only what the vector adds.

After Mayne et al. (2024, arXiv 2411.08790): the features of a vector may be those of the zero
vector, and features that it takes away read as 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from universality.studies.steering.decomposition import Case, Dictionary, contributions, decompose
from universality.studies.steering.downstream import top_features
from universality.studies.steering.vectors import random_like


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the share of the features `a` that are in `b`; 0 if there are none."""
    return float(np.isin(a, b).mean()) if len(a) else 0.0


def zero_table(
    dictionary: Dictionary,
    cases: Sequence[Case],
    multipliers: Sequence[float],
    n_top: int,
    n_random: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return how far the encoder sees a vector, and how far its own bias, at each multiplier.

    One row per vector and multiplier: length (of the vector, multiplied); overlap_zero, the share
    of the `n_top` strongest features of encode(multiplier x v) that are among those of encode(0);
    activation_zero, the share of its activation that is in features of encode(0); overlap_others,
    the mean share of its strongest features that are also another vector's; each as `_random` for
    the mean of `n_random` vectors of equal length.
    """
    nothing = dictionary.encode(np.zeros_like(cases[0].vector)[None])[0]
    drawn = {case.name: random_like(case.vector, n_random, rng) for case in cases}
    rows = []
    for multiplier in multipliers:
        codes = {c.name: dictionary.encode(multiplier * c.vector[None])[0] for c in cases}
        for case in cases:
            others = [code for name, code in codes.items() if name != case.name]
            of_random = dictionary.encode(multiplier * drawn[case.name])
            row: dict[str, Any] = {
                "vector": case.name,
                "multiplier": multiplier,
                "length": float(multiplier * np.linalg.norm(case.vector)),
            }
            row |= _seen(codes[case.name], nothing, others, n_top)
            by_chance = [_seen(code, nothing, others, n_top) for code in of_random]
            for name in by_chance[0] if by_chance else ():
                row[f"{name}_random"] = float(np.mean([one[name] for one in by_chance]))
            rows.append(row)
    return pd.DataFrame(rows)


def _seen(
    code: np.ndarray, nothing: np.ndarray, others: Sequence[np.ndarray], n_top: int
) -> dict[str, float]:
    top = top_features(code, n_top)
    total = code.sum()
    return {
        "overlap_zero": overlap(top, top_features(nothing, n_top)),
        "activation_zero": float(code[nothing > 0].sum() / total) if total else 0.0,
        "overlap_others": float(np.mean([overlap(top, top_features(o, n_top)) for o in others]))
        if others
        else 0.0,
    }


def lost_table(
    dictionary: Dictionary, cases: Sequence[Case], context: np.ndarray, l0: int
) -> pd.DataFrame:
    """Return what encode(v) makes of the features in which a vector's prompts differ, a row each.

    The differences are `prompt_difference_top`. Of the squared contributions: positive_share and
    negative_share, that of features which rise and which fall from the second prompts to the first;
    of either, `_named`, what is in features that encode(v) names at all, and `_named_by_zero`, that
    encode(0) does.
    """
    rows = []
    base = dictionary.encode(np.zeros((1, len(cases[0].vector))))[0] > 0
    for case in cases:
        made = decompose(dictionary, case, context, l0)
        code = made["prompt_difference_top"].code
        weight = contributions(code, dictionary.rows) ** 2
        named = made["encode"].code > 0
        row: dict[str, Any] = {"vector": case.name}
        for side, mask in (("positive", code > 0), ("negative", code < 0)):
            total = weight[mask].sum()
            row[f"{side}_share"] = float(total / weight.sum()) if total else 0.0
            for name, hit in (("named", named), ("named_by_zero", base)):
                row[f"{side}_{name}"] = float(weight[mask & hit].sum() / total) if total else 0.0
        rows.append(row)
    return pd.DataFrame(rows)
