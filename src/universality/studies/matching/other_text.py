"""Whether features that are partners on one text are partners on another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from universality.core.bootstrap import document_sums, resampled_r
from universality.core.engine.moments import Sparse
from universality.core.engine.partners import Matcher
from universality.core.nulls import judged, null_range
from universality.studies.matching.pairings import Partners
from universality.studies.matching.study import Sample, alive_features
from universality.studies.matching.tables import RANGES, statistics


@dataclass(frozen=True)
class Carried:
    """Pairs of features that were found on one text, on another; `n_pairs` fire often enough.

    The first row of `r`, `best_r` and `same` is the text as it is, the others are under shifts of
    B's positions: `(1 + n_null, n_pairs)`.
    """

    n_known: int
    """Pairs on the first text."""
    first_r: np.ndarray
    """r on the first text, `(n_pairs,)`."""
    r: np.ndarray
    """r of the same pairs here."""
    best_r: np.ndarray
    """r of the partner that would be chosen here."""
    same: np.ndarray
    """Whether that is the same one."""
    left_out_r: np.ndarray
    """r of the same pairs without one group of documents each, `(groups, n_pairs)`."""


def carried_over(a: Sparse, b: Sparse, known: Partners, sample: Sample) -> Carried:
    """Look at the partners `known`, `(d_a,)`, on another text.

    Its features are `a` `(n, d_a)` and `b` `(n, d_b)`. Holds all scores of the alive features.
    """
    alive_a, alive_b = (alive_features(side, sample.min_count)[0] for side in (a, b))
    kept = known.partner >= 0
    n_known = int(kept.sum())
    kept[kept] = alive_a[kept] & alive_b[known.partner[kept]]
    features = np.flatnonzero(kept)
    partner = known.partner[features]
    place = (np.cumsum(alive_b) - 1)[partner]
    matcher = Matcher(a[:, features], b[:, np.flatnonzero(alive_b)], memory_mb=sample.memory_mb)
    r, best_r, same = [], [], []
    for shift in (0, *map(int, sample.offsets)):
        scores = matcher.all_scores(shift)
        r.append(scores[np.arange(len(features)), place])
        best_r.append(scores.max(axis=1, initial=-1))
        same.append(r[-1] >= best_r[-1])
    sums = document_sums(a[:, features], b[:, partner], sample.documents)
    arrays = np.array(r), np.array(best_r), np.array(same)
    return Carried(n_known, known.r[features], *arrays, resampled_r(sums, sample.kept))


def carried_row(parts: Sequence[Carried], threshold: float) -> dict[str, Any]:
    """Return what is carried over, pooled over `parts`; intervals are over documents.

    `median_r` and `share_above` are of the pairs that the first text gave, here; `_first` on that
    text itself; `_anew` of the best partners here. The null shifts B's positions, the pairs held
    fixed (for `same_partner` they are chosen under the shift too).
    """
    first, best = (np.concatenate(values) for values in zip(
        *((part.first_r, part.best_r[0]) for part in parts), strict=True
    ))  # fmt: skip
    r = np.concatenate([part.r for part in parts], axis=1)
    left_out = np.concatenate([part.left_out_r for part in parts], axis=1)
    row: dict[str, Any] = {"n_known": sum(part.n_known for part in parts), "n_pairs": len(first)}
    if not len(first):
        return row
    same = np.concatenate([part.same for part in parts], axis=1).mean(axis=1)
    row |= {"same_partner": float(same[0]), **null_range("same_partner", same[1:])}
    for name in ("median_r", "share_above"):
        statistic = statistics(threshold)[name]
        row |= judged(name, statistic, r[0], left_out, r[1:], RANGES[name])
        row |= {
            f"{name}_first": float(statistic(first)),
            f"{name}_anew": float(statistic(best)),
        }
    return row
