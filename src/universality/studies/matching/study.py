"""One study: the features of every SAE of A against every SAE of B, with null and interval."""

from dataclasses import dataclass

import numpy as np

from universality.core.bootstrap import document_sums, resampled_r
from universality.core.engine.moments import Sparse, moments
from universality.core.engine.partners import Matcher, Matches
from universality.core.errors import InputError
from universality.core.nulls import documents_meeting, shift_offsets
from universality.core.randomness import generator
from universality.core.stats import kept_documents
from universality.studies.matching.pairings import (
    Pairing,
    Partners,
    by_all_scores,
    by_nearest,
    nearest,
)
from universality.studies.matching.params.matching import Matching

N_FEW_NULL = 3
"""Null draws of what is slow, or a variant of which only the size of the effect is asked."""


@dataclass(frozen=True)
class Sample:
    """The positions that two models share, and how numbers are judged on them."""

    documents: np.ndarray
    """Document of every row, `(n,)`."""
    offsets: np.ndarray
    """Shifts of B's rows that make the null (`nulls.shift_offsets`)."""
    kept: np.ndarray
    """The documents that stay when one group is left out (`stats.kept_documents`)."""
    min_count: int
    memory_mb: float = 1024


def draw_sample(documents: np.ndarray, settings: Matching, *names: str) -> Sample:
    """Draw the null's shifts and the groups of documents for rows of `documents` `(n,)`.

    `names` tell draws apart.
    """
    return Sample(
        documents,
        shift_offsets(documents, settings.n_null, generator(settings.seed, "null", *names)),
        kept_documents(
            len(np.unique(documents)),
            settings.n_groups,
            generator(settings.seed, "groups", *names),
        ),
        settings.min_count,
        settings.memory_mb,
    )


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
    forward: Partners
    """Best partner in B of every feature of A, `(d_a,)`."""
    backward: Partners
    """Best partner in A of every feature of B, `(d_b,)`."""
    null_forward: list[Partners]
    """The same under each shift of B."""
    null_backward: list[Partners]
    left_out_r: np.ndarray
    """r without one group of documents each, partners held fixed, `(groups, alive of A)`."""

    @property
    def alive_r(self) -> np.ndarray:
        """Best r of A's alive features."""
        return self.forward.r[self.alive_a]

    @property
    def alive_null_r(self) -> np.ndarray:
        """Best r of A's alive features under each shift, `(n_null, alive of A)`."""
        return np.array([null.r[self.alive_a] for null in self.null_forward])


def match_layers(
    a: Sparse,
    b: Sparse,
    sample: Sample,
    layers: tuple[int, int] = (0, 0),
    *,
    exclude_self: bool = False,
) -> LayerMatch:
    """Match features `(n, d_a)` with `(n, d_b)` over the n positions of `sample`, both ways.

    Under the null the best partner is searched anew, so it carries the same selection.
    """
    kept_a, count_a = alive_features(a, sample.min_count)
    kept_b, count_b = alive_features(b, sample.min_count)
    alive_a, alive_b = (np.flatnonzero(kept) for kept in (kept_a, kept_b))
    if exclude_self and not np.array_equal(kept_a, kept_b):
        raise ValueError("exclude_self needs A and B to be the same features")
    used_a, used_b = a[:, alive_a], b[:, alive_b]
    matcher = Matcher(used_a, used_b, exclude_self=exclude_self, memory_mb=sample.memory_mb)

    def partners(offset: int) -> tuple[Partners, Partners]:
        forward, backward = matcher.partners(1, offset)
        return (
            _among_all(forward, alive_a, alive_b, a.shape[1]),
            _among_all(backward, alive_b, alive_a, b.shape[1]),
        )

    forward, backward = partners(0)
    nulls = [partners(int(offset)) for offset in sample.offsets]
    pairs = nearest(forward)
    left_out_r = np.zeros((len(sample.kept), len(alive_a)), dtype=np.float32)
    left_out_r[:, np.searchsorted(alive_a, pairs.a)] = _left_out(a, b, pairs, sample)
    return LayerMatch(
        *layers,
        kept_a,
        kept_b,
        count_a,
        count_b,
        forward,
        backward,
        [null[0] for null in nulls],
        [null[1] for null in nulls],
        left_out_r,
    )


@dataclass(frozen=True)
class PairedLayers:
    """One way of pairing the features of one SAE of A with those of one SAE of B."""

    pairing: str
    layer_a: int
    layer_b: int
    n_alive_a: int
    pairs: Pairing
    null_r: list[np.ndarray]
    """r of the pairs that are found under each shift of B, which may be fewer or more."""
    left_out_r: np.ndarray
    """r of the pairs without one group of documents each, `(groups, n_pairs)`."""


def pair_layers(
    match: LayerMatch,
    a: Sparse,
    b: Sparse,
    sample: Sample,
    *,
    epsilon: float | None = None,
    exclude_self: bool = False,
) -> list[PairedLayers]:
    """Pair the alive features of `match`, which is of the same `a`, `b` and `sample`, in every way.

    `epsilon` is that of `pairings.transport`, which is left out without one.
    """
    alive_a, alive_b = np.flatnonzero(match.alive_a), np.flatnonzero(match.alive_b)
    matcher = Matcher(
        a[:, alive_a], b[:, alive_b], exclude_self=exclude_self, memory_mb=sample.memory_mb
    )

    def left_out(pairs: Pairing) -> np.ndarray:
        # Those of A with their best partner are known already.
        if np.array_equal(match.forward.partner[pairs.a], pairs.b):
            return match.left_out_r[:, np.searchsorted(alive_a, pairs.a)]
        return _left_out(a, b, pairs, sample)

    def from_scores(offset: int) -> dict[str, Pairing]:
        pairings = by_all_scores(matcher.all_scores(offset), epsilon)
        return {
            name: Pairing(alive_a[found.a], alive_b[found.b], found.score)
            for name, found in pairings.items()
        }

    nulls = [
        by_nearest(forward, backward) | (from_scores(int(offset)) if draw < N_FEW_NULL else {})
        for draw, (offset, forward, backward) in enumerate(
            zip(sample.offsets, match.null_forward, match.null_backward, strict=True)
        )
    ]
    return [
        PairedLayers(
            name,
            match.layer_a,
            match.layer_b,
            len(alive_a),
            pairs,
            [null[name].score for null in nulls if name in null],
            left_out(pairs),
        )
        for name, pairs in (by_nearest(match.forward, match.backward) | from_scores(0)).items()
    ]


def null_of_meeting_documents(
    match: LayerMatch, a: Sparse, b: Sparse, sample: Sample, shifts: np.ndarray
) -> np.ndarray:
    """Return the best r of A's alive features `(n_shifts, alive of A)` under the stricter null.

    Document i of A meets document i + shift of B, position by position
    (`nulls.documents_meeting`), so that what depends on the place in a document stays shared.
    """
    used_a, used_b = a[:, np.flatnonzero(match.alive_a)], b[:, np.flatnonzero(match.alive_b)]
    found = []
    for shift in shifts:
        rows_a, rows_b = documents_meeting(sample.documents, int(shift))
        matcher = Matcher(used_a[rows_a], used_b[rows_b], memory_mb=sample.memory_mb)
        found.append(matcher.partners()[0].r[:, 0])
    return np.array(found)


def _left_out(a: Sparse, b: Sparse, pairs: Pairing, sample: Sample) -> np.ndarray:
    if not len(sample.kept):
        return np.zeros((0, len(pairs.a)))
    sums = document_sums(a[:, pairs.a], b[:, pairs.b], sample.documents)
    return resampled_r(sums, sample.kept)


def _among_all(found: Matches, own: np.ndarray, others: np.ndarray, d: int) -> Partners:
    """Return the best of matches between the features `own` and `others`, for all `d` features."""
    partner, r = np.full(d, -1), np.zeros(d)
    if len(others):
        partner[own] = np.where(found.found[:, 0], others[found.partner[:, 0]], -1)
        r[own] = found.r[:, 0]
    return Partners(partner, r)


def alive_features(features: Sparse, min_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which columns fire on at least `min_count` rows and vary, and how often each fires."""
    found = moments(features)
    return (found.count >= min_count) & (found.sd > 0), found.count


def alive_columns(features: Sparse, min_count: int, where: object = None) -> np.ndarray:
    """Return the alive columns, ascending; InputError about `where`, if given, without any."""
    columns = np.flatnonzero(alive_features(features, min_count)[0])
    if where is not None:
        require_alive(columns, min_count, where)
    return columns


def require_alive(columns: np.ndarray, min_count: int, where: object) -> None:
    """Raise InputError about `where` unless some feature is alive."""
    if not columns.size:
        raise InputError(
            f"{where}: a dead SAE: no feature fires on {min_count} (matching.min_count) of the "
            "shared positions"
        )
