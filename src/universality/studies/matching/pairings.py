"""Ways to pair the features of two sets, once it is known how alike they are."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

_NEVER = -10.0
"""So far below every score that no assignment gains by it."""


@dataclass(frozen=True)
class Pairing:
    """Pairs of features with their scores, `(n_pairs,)` each, in the order of A's features."""

    a: np.ndarray
    b: np.ndarray
    score: np.ndarray

    def subset(self, kept: np.ndarray) -> "Pairing":
        """Return the pairs that `kept`, a mask or indices, names."""
        return Pairing(self.a[kept], self.b[kept], self.score[kept])


@dataclass(frozen=True)
class Partners:
    """The best partner of every feature and its score, `(d,)` each; -1 and 0 if there is none."""

    partner: np.ndarray
    r: np.ndarray


def nearest(best: Partners) -> Pairing:
    """Pair every feature with its best partner, which several may share (many to one)."""
    a = np.flatnonzero(best.partner >= 0)
    return Pairing(a, best.partner[a], best.r[a])


def swapped(pairing: Pairing) -> Pairing:
    """Return the same pairs with the sides exchanged."""
    order = np.lexsort((pairing.a, pairing.b))
    return Pairing(pairing.b[order], pairing.a[order], pairing.score[order])


def best_of_rivals(pairing: Pairing) -> Pairing:
    """Keep, of the pairs that share a partner, the best (Lan et al. 2024, "1-1")."""
    order = np.lexsort((pairing.a, -pairing.score))
    return pairing.subset(np.sort(order[np.unique(pairing.b[order], return_index=True)[1]]))


def mutual(forward: Partners, backward: Partners) -> Pairing:
    """Pair features that are each other's best partner."""
    pairs = nearest(forward)
    return pairs.subset(backward.partner[pairs.b] == pairs.a)


def assignment(scores: np.ndarray) -> Pairing:
    """Pair one to one so that the sum of `scores` `(d_a, d_b)` is largest (Hungarian method).

    NaN is a pair that may not be. All others of the smaller side are paired, however little that
    says, so look at the scores.
    """
    a, b = linear_sum_assignment(np.where(np.isnan(scores), _NEVER, scores), maximize=True)
    kept = ~np.isnan(scores[a, b])
    return Pairing(a[kept], b[kept], scores[a, b][kept])


def transport(scores: np.ndarray, epsilon: float) -> Pairing:
    """Pair every feature of A with where most of its mass goes in entropic optimal transport.

    Every feature has the same mass, moving it costs 1 - score, and `epsilon` is the weight of the
    entropy (Cuturi 2013, through POT): between the nearest partner, which costs nothing to share,
    and the assignment, which none may share. NaN is a pair that may not be.
    """
    if not scores.size:
        none = np.zeros(0, dtype=np.int64)
        return Pairing(none, none, np.zeros(0))
    # Or POT would import torch, which takes longer than the transport.
    os.environ.setdefault("POT_BACKEND_DISABLE_PYTORCH", "1")
    import ot

    cost = 1 - np.where(np.isnan(scores), _NEVER, scores)
    mass_a, mass_b = (np.full(n, 1 / n) for n in scores.shape)
    plan: Any = ot.sinkhorn(mass_a, mass_b, cost, epsilon, numItermax=1000, stopThr=1e-4)
    b = np.where(np.isnan(scores), -1.0, plan).argmax(axis=1)
    a = np.arange(len(b))
    kept = ~np.isnan(scores[a, b])
    return Pairing(a[kept], b[kept], scores[a, b][kept])


def by_nearest(forward: Partners, backward: Partners) -> dict[str, Pairing]:
    """Return the pairings that need only the best partners of both sides.

    a_to_b and b_to_a: many to one, the best partner of each; one_per_b: of A's features that share
    a best partner, the best; mutual.
    """
    best = nearest(forward)
    return {
        "a_to_b": best,
        "b_to_a": swapped(nearest(backward)),
        "one_per_b": best_of_rivals(best),
        "mutual": mutual(forward, backward),
    }


NEEDS_EVERY_SCORE = ("hungarian", "transport")
"""Pairings that the best partners do not tell: their pairs are written down."""


def by_all_scores(scores: np.ndarray, epsilon: float | None) -> dict[str, Pairing]:
    """Return the pairings that need every score: hungarian and, with an `epsilon`, transport."""
    found = {"hungarian": assignment(scores)}
    return found if epsilon is None else found | {"transport": transport(scores, epsilon)}
