"""Ways to pair the features of two sets, once it is known how alike they are."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from universality.matching.partners import Matcher, Matches

_NEVER = -10.0
"""So far below every score that no assignment gains by it."""


@dataclass(frozen=True)
class Pairing:
    """Pairs of features with their scores, `(n_pairs,)` each, in the order of A's features."""

    a: np.ndarray
    b: np.ndarray
    score: np.ndarray


def nearest(matches: Matches) -> Pairing:
    """Pair every feature with its best partner, which several may share (many to one)."""
    a = np.flatnonzero(matches.found[:, 0])
    return Pairing(a, matches.partner[a, 0], matches.r[a, 0])


def swapped(pairing: Pairing) -> Pairing:
    """Return the same pairs with the sides exchanged."""
    order = np.lexsort((pairing.a, pairing.b))
    return Pairing(pairing.b[order], pairing.a[order], pairing.score[order])


def best_of_rivals(pairing: Pairing) -> Pairing:
    """Keep, of the pairs that share a partner, the best (Lan et al. 2024, "1-1")."""
    order = np.lexsort((pairing.a, -pairing.score))
    kept = np.sort(order[np.unique(pairing.b[order], return_index=True)[1]])
    return Pairing(pairing.a[kept], pairing.b[kept], pairing.score[kept])


def mutual(forward: Matches, backward: Matches) -> Pairing:
    """Pair features that are each other's best partner."""
    pairs = nearest(forward)
    kept = backward.partner[pairs.b, 0] == pairs.a
    return Pairing(pairs.a[kept], pairs.b[kept], pairs.score[kept])


def assignment(scores: np.ndarray) -> Pairing:
    """Pair one to one so that the sum of `scores` `(d_a, d_b)` is largest (Hungarian method).

    NaN is a pair that may not be. All others of the smaller side are paired, however little that
    says, so look at the scores.
    """
    a, b = linear_sum_assignment(np.where(np.isnan(scores), _NEVER, scores), maximize=True)
    kept = ~np.isnan(scores[a, b])
    return Pairing(a[kept], b[kept], scores[a, b][kept])


def all_pairings(matcher: Matcher, shift: int = 0) -> dict[str, Pairing]:
    """Return every pairing, with A's row i meeting B's row i - `shift`.

    a_to_b and b_to_a: many to one, the best partner of each; one_per_b: of A's features that share
    a best partner, the best; mutual; hungarian: one to one.
    """
    forward, backward = matcher.partners(1, shift)
    best = nearest(forward)
    return {
        "a_to_b": best,
        "b_to_a": swapped(nearest(backward)),
        "one_per_b": best_of_rivals(best),
        "mutual": mutual(forward, backward),
        "hungarian": assignment(matcher.all_scores(shift)),
    }
