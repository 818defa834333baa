"""Filters on pairs of features, one after another, with what each takes away.

Lan et al. (2024, arXiv 2410.06981) keep pairs whose top tokens are concepts and overlap, one pair
per feature, above a correlation. Under the null the same filters act on the pairs of each shift.
"""

from dataclasses import dataclass, replace

import numpy as np

from universality.studies.matching.pairings import Pairing, best_of_rivals, nearest
from universality.studies.matching.study import LayerMatch, PairedLayers

ALL = "all"


@dataclass(frozen=True)
class Filters:
    """Which filters act, in this order: concept tokens, shared token, one per B, least r."""

    non_concept: np.ndarray
    """Token numbers that no feature of a pair may have among its top tokens; empty: no filter."""
    shared_token: bool
    one_per_b: bool
    min_r: float | None

    def steps(self, pairs: Pairing, tops_a: np.ndarray, tops_b: np.ndarray) -> dict[str, Pairing]:
        """Return the pairs that are left after each filter, `ALL` first.

        `tops_a` `(d_a, n_top)` and `tops_b` are `tokens.top_tokens`.
        """
        found = {ALL: pairs}
        if len(self.non_concept):
            tops = np.hstack([tops_a[pairs.a], tops_b[pairs.b]])
            pairs = pairs.subset(np.flatnonzero(~np.isin(tops, self.non_concept).any(axis=1)))
            found["concept_tokens"] = pairs
        if self.shared_token:
            pairs = pairs.subset(share_a_token(tops_a[pairs.a], tops_b[pairs.b]))
            found["shared_token"] = pairs
        if self.one_per_b:
            pairs = best_of_rivals(pairs)
            found["one_per_b"] = pairs
        if self.min_r is not None:
            pairs = pairs.subset(pairs.score > self.min_r)
            found["min_r"] = pairs
        return found


def share_a_token(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return which rows of `(m, n_top)` token numbers have one in common; -1 is none."""
    alike = one[:, :, None] == other[:, None, :]
    return (alike & (one >= 0)[:, :, None]).any(axis=(1, 2))


def filtered(
    match: LayerMatch, tops_a: np.ndarray, tops_b: np.ndarray, filters: Filters
) -> list[PairedLayers]:
    """Return the pairs of A's features with their nearest after each filter."""
    place = np.cumsum(match.alive_a) - 1
    nulls = [filters.steps(nearest(null), tops_a, tops_b) for null in match.null_forward]
    return [
        PairedLayers(
            name,
            match.layer_a,
            match.layer_b,
            int(match.alive_a.sum()),
            pairs,
            [null[name].score for null in nulls],
            match.left_out_r[:, place[pairs.a]],
        )
        for name, pairs in filters.steps(nearest(match.forward), tops_a, tops_b).items()
    ]


def removed_alone(
    match: LayerMatch, tops_a: np.ndarray, tops_b: np.ndarray, filters: Filters
) -> dict[str, int]:
    """Return how many pairs each filter would take away by itself."""
    none = np.zeros(0, dtype=np.int64)
    nothing = Filters(non_concept=none, shared_token=False, one_per_b=False, min_r=None)
    pairs = nearest(match.forward)
    found = {}
    for field in ("non_concept", "shared_token", "one_per_b", "min_r"):
        alone = replace(nothing, **{field: getattr(filters, field)})
        for name, left in alone.steps(pairs, tops_a, tops_b).items():
            if name != ALL:
                found[name] = len(pairs.a) - len(left.a)
    return found
