"""One study: the features of every SAE of A against every SAE of B, with null and interval."""

from dataclasses import dataclass

import numpy as np

from universality.matching.bootstrap import document_sums, resampled_r
from universality.matching.moments import Sparse, moments
from universality.matching.pairings import all_pairings
from universality.matching.partners import Matcher


@dataclass(frozen=True)
class LayerMatch:
    """The matches of one SAE of A with one SAE of B.

    Only alive features take part, on either side: those that fire on enough positions and vary.
    Arrays over `d_a` or `d_b` hold partner -1 and r 0 for the others.
    """

    layer_a: int
    layer_b: int
    alive_a: np.ndarray
    alive_b: np.ndarray
    count_a: np.ndarray
    count_b: np.ndarray
    partner: np.ndarray
    """Best partner in B of every feature of A, `(d_a,)`."""
    r: np.ndarray
    partner_backward: np.ndarray
    """Best partner in A of every feature of B, `(d_b,)`."""
    r_backward: np.ndarray
    null_r: np.ndarray
    """Best r of every feature of A under each shift of B, `(n_null, d_a)`."""
    bootstrap_r: np.ndarray
    """r with the partner held fixed, over resampled documents, `(n_bootstrap, alive of A)`."""

    @property
    def alive_r(self) -> np.ndarray:
        """Best r of A's alive features."""
        return self.r[self.alive_a]

    @property
    def alive_null_r(self) -> np.ndarray:
        """Best r of A's alive features under each shift, `(n_null, alive of A)`."""
        return self.null_r[:, self.alive_a]


def match_layers(
    a: Sparse,
    b: Sparse,
    documents: np.ndarray,
    *,
    layers: tuple[int, int],
    offsets: np.ndarray,
    weights: np.ndarray,
    min_count: int,
    memory_mb: float = 1024,
    exclude_self: bool = False,
) -> LayerMatch:
    """Match features `(n, d_a)` with `(n, d_b)` over the same n positions, in both directions.

    `documents` `(n,)` is each row's document, `offsets` the shifts of B's rows that make the null
    (`nulls.shift_offsets`), `weights` the resampled documents (`stats.document_weights`). Under
    the null the best partner is searched anew, so it carries the same selection.
    """
    kept_a, count_a = _alive(a, min_count)
    kept_b, count_b = _alive(b, min_count)
    alive_a, alive_b = (np.flatnonzero(kept) for kept in (kept_a, kept_b))
    if exclude_self and not np.array_equal(kept_a, kept_b):
        raise ValueError("exclude_self needs A and B to be the same features")
    used_a, used_b = a[:, alive_a], b[:, alive_b]
    partner, r = np.full(a.shape[1], -1), np.zeros(a.shape[1])
    partner_backward, r_backward = np.full(b.shape[1], -1), np.zeros(b.shape[1])
    null_r = np.zeros((len(offsets), a.shape[1]))
    bootstrap_r = np.zeros((len(weights), len(alive_a)), dtype=np.float32)
    if len(alive_a) and len(alive_b):
        matcher = Matcher(used_a, used_b, exclude_self=exclude_self, memory_mb=memory_mb)
        forward, backward = matcher.partners()
        found, best = forward.found[:, 0], forward.partner[:, 0]
        partner[alive_a] = np.where(found, alive_b[best], -1)
        r[alive_a] = forward.r[:, 0]
        partner_backward[alive_b] = np.where(
            backward.found[:, 0], alive_a[backward.partner[:, 0]], -1
        )
        r_backward[alive_b] = backward.r[:, 0]
        sums = document_sums(used_a[:, found], used_b[:, best[found]], documents)
        bootstrap_r[:, found] = resampled_r(sums, weights)
        null_r[:, alive_a] = matcher.best_under_shifts(offsets)
    return LayerMatch(
        *layers,
        kept_a,
        kept_b,
        count_a,
        count_b,
        partner,
        r,
        partner_backward,
        r_backward,
        null_r,
        bootstrap_r,
    )


@dataclass(frozen=True)
class PairedLayers:
    """One way of pairing the alive features of one SAE of A with those of one SAE of B."""

    pairing: str
    layer_a: int
    layer_b: int
    n_alive_a: int
    r: np.ndarray
    """Correlation of each pair, `(n_pairs,)`."""
    null_r: list[np.ndarray]
    """The same of the pairs that are found under each shift of B, which may be fewer or more."""
    bootstrap_r: np.ndarray
    """r of the pairs over resampled documents, `(n_bootstrap, n_pairs)`."""


def pair_layers(
    a: Sparse,
    b: Sparse,
    documents: np.ndarray,
    *,
    layers: tuple[int, int],
    offsets: np.ndarray,
    weights: np.ndarray,
    min_count: int,
    memory_mb: float = 1024,
    exclude_self: bool = False,
) -> list[PairedLayers]:
    """Pair features in every way of `pairings.all_pairings`; the arguments are `match_layers`'."""
    used_a, used_b = (side[:, _alive(side, min_count)[0]] for side in (a, b))
    matcher = Matcher(used_a, used_b, exclude_self=exclude_self, memory_mb=memory_mb)
    under_null = [all_pairings(matcher, int(offset)) for offset in offsets]
    found = []
    for name, pairs in all_pairings(matcher).items():
        sums = document_sums(used_a[:, pairs.a], used_b[:, pairs.b], documents)
        nulls = [pairings[name].score for pairings in under_null]
        resampled = resampled_r(sums, weights)
        found.append(PairedLayers(name, *layers, used_a.shape[1], pairs.score, nulls, resampled))
    return found


def _alive(features: Sparse, min_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which columns fire on at least `min_count` rows and vary, and how often each fires."""
    found = moments(features)
    return (found.count >= min_count) & (found.sd > 0), found.count
