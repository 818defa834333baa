"""Whether features that fire together also write the same.

Bricken et al. 2023 (Towards Monosemanticity, universality) found pairs of features with an
activation correlation of .98 whose logit weights correlate negatively, and therefore compare
attribution vectors too: activation x logit weight of the token that actually came next.

Logit weights are those of the direct path: what the feature writes, through the final norm's scale
and the unembedding. Left out are the norm's division by the size of the residual stream, which
differs from position to position, and whatever later layers make of the feature.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

from universality.core.bootstrap import document_sums, resampled_r
from universality.core.engine.moments import PARTS, Sparse, moments
from universality.core.engine.partners import Matcher

_BLOCK = 2**26
"""Logit weights that are held at a time."""


def predicting_rows(document: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return the rows that are followed, in the next row, by the next token of their document.

    `document` and `position` are `(n,)`, in reading order; last positions drop out.
    """
    follows = (document[1:] == document[:-1]) & (position[1:] == position[:-1] + 1)
    return np.flatnonzero(follows)


def shared_tokens(
    pieces_a: Sequence[str | None], pieces_b: Sequence[str | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids in A and in B of the tokens that both vocabularies have, by A's ids.

    Tokens are the same if their strings are, a leading space being written as either tokenizer
    family does (U+2581 or U+0120). Other bytes that the families write differently (line ends,
    accents) are not found. Equal vocabularies are paired id by id.
    """
    if list(pieces_a) == list(pieces_b):
        ids = np.array([i for i, piece in enumerate(pieces_a) if piece is not None], dtype=np.int64)
        return ids, ids
    place: dict[str, int] = {}
    for i, piece in enumerate(pieces_b):
        if piece is not None:
            place.setdefault(piece.replace("\u0120", "\u2581"), i)
    pairs = {}
    for i, piece in enumerate(pieces_a):
        found = None if piece is None else place.pop(piece.replace("\u0120", "\u2581"), None)
        if found is not None:
            pairs[i] = found
    return np.array([*pairs], dtype=np.int64), np.array([*pairs.values()], dtype=np.int64)


@dataclass(frozen=True)
class LogitGeometry:
    """Covariances over a vocabulary of the logits that two residual streams' coordinates write.

    With these the logit weights of two features are correlated without being written out: for
    features x and y, U x and V y over all tokens have the covariance x' (U' V) y.
    """

    aa: np.ndarray
    ab: np.ndarray
    bb: np.ndarray


def logit_geometry(unembedding_a: np.ndarray, unembedding_b: np.ndarray) -> LogitGeometry:
    """Return the geometry of `(n_tokens, d_a)` and `(n_tokens, d_b)`; row i is one token."""
    a, b = (side - side.mean(0, dtype=np.float64) for side in (unembedding_a, unembedding_b))
    return LogitGeometry(a.T @ a, a.T @ b, b.T @ b)


def logit_correlation(
    rows_a: np.ndarray, rows_b: np.ndarray, over: LogitGeometry, orders: Iterable[np.ndarray] = ()
) -> np.ndarray:
    """Return the correlation over tokens of each pair's logit weights, `(1 + n_orders, n_pairs)`.

    `rows_a` `(n_pairs, d_a)` and `rows_b` `(n_pairs, d_b)` are what the features write; 0 where one
    writes nothing. The first row is of the pairs as they are, the others of B in another order.
    """
    written = rows_a @ over.ab
    square_a = np.einsum("ij,ij->i", rows_a @ over.aa, rows_a)
    square_b = np.einsum("ij,ij->i", rows_b @ over.bb, rows_b)
    found = []
    for order in (np.arange(len(rows_b)), *orders):
        square = square_a * square_b[order]
        covariance = np.einsum("ij,ij->i", written, rows_b[order])
        found.append(np.clip(covariance / np.sqrt(np.where(square > 0, square, np.inf)), -1, 1))
    return np.array(found)


def attributions(
    features: Sparse, next_token: np.ndarray, rows: np.ndarray, unembedding: np.ndarray
) -> sp.csr_matrix:
    """Return activation x logit weight of the next token, sparse as the features `(n, d)`.

    `next_token` `(n,)` came after each position, `rows` `(d, d_model)` is what features write and
    `unembedding` `(n_vocab, d_model)`. Logit weights are taken less their mean over the vocabulary,
    since the softmax ignores what all logits have in common.
    """
    tokens, index = np.unique(next_token, return_inverse=True)
    index = np.repeat(index, np.diff(features.indptr))
    wanted = (unembedding[tokens] - unembedding.mean(0, dtype=np.float64)).astype(np.float32)
    rows = rows.astype(np.float32)
    values = np.empty(len(features.data), dtype=np.float32)
    step = max(1, _BLOCK // max(1, len(rows)))
    for first in range(0, len(tokens), step):
        weights = wanted[first : first + step] @ rows.T
        here = np.flatnonzero((index >= first) & (index < first + step))
        values[here] = features.data[here] * weights[index[here] - first, features.indices[here]]
    # A copy: scipy sorts indices in place, which would leave the features' values behind.
    return sp.csr_matrix((values, features.indices.copy(), features.indptr), shape=features.shape)


_parallel = numba.njit(parallel=True, cache=True)


@_parallel
def _paired_sums(a_starts, a_rows, a_values, b_starts, b_rows, b_values, n, shift, sums):
    """Add a . b of every pair of columns to `sums` `(n_pairs,)`, b's rows moved by `shift`."""
    for part in numba.prange(PARTS):
        held = np.zeros(n)
        for j in range(part, len(sums), PARTS):
            for p in range(a_starts[j], a_starts[j + 1]):
                held[a_rows[p]] = a_values[p]
            for p in range(b_starts[j], b_starts[j + 1]):
                sums[j] += held[(b_rows[p] + shift) % n] * b_values[p]
            for p in range(a_starts[j], a_starts[j + 1]):
                held[a_rows[p]] = 0


def paired_r(a: Sparse, b: Sparse, offsets: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the correlation of column j of `a` and of `b` `(n, n_pairs)`: `(n_offsets, n_pairs)`.

    Row i of A meets row i - offset of B, circularly; 0 where a column is constant.
    """
    n = a.shape[0]
    of_a, of_b = moments(a), moments(b)
    scale = of_a.sd * of_b.sd
    columns_a, columns_b = _by_column(a), _by_column(b)
    found = []
    for offset in offsets:
        sums = np.zeros(len(scale))
        _paired_sums(*columns_a, *columns_b, n, int(offset), sums)
        covariance = sums / n - of_a.mean * of_b.mean
        found.append(np.clip(covariance / np.where(scale > 0, scale, np.inf), -1, 1))
    return np.array(found)


def _by_column(matrix: Sparse) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    columns = matrix.tocsc()
    # One type each, whatever scipy chose: every other is another compilation.
    starts, rows = columns.indptr.astype(np.int64), columns.indices.astype(np.int32)
    return starts, rows, columns.data.astype(np.float64)


@dataclass(frozen=True)
class Side:
    """The features of one SAE that take part, over positions that have a next token."""

    features: Sparse
    """Shape `(n, d)`."""
    attributions: Sparse
    """Shape `(n, d)`."""
    rows: np.ndarray
    """What each feature writes into the residual stream, `(d, d_model)`."""

    def __post_init__(self) -> None:
        """Sort, since scipy would do it later in arrays that a float64 copy shares."""
        self.features.sort_indices()
        self.attributions.sort_indices()


@dataclass(frozen=True)
class LayerAgreement:
    """The features of one SAE of A beside their best partners by activation in one SAE of B.

    Arrays over features are `(n,)`, nulls `(n_null, n)`, and without one group of
    documents each `(groups, n)`.
    """

    layer_a: int
    layer_b: int
    r: np.ndarray
    """Activation correlation of the pair."""
    r_left_out: np.ndarray
    logit_r: np.ndarray
    logit_r_null: np.ndarray
    """With the partners shuffled among the features of A."""
    attribution_r: np.ndarray
    attribution_r_left_out: np.ndarray
    best: np.ndarray
    """Best partner by attribution, -1 if none."""
    best_r: np.ndarray
    best_r_left_out: np.ndarray
    differs: np.ndarray
    """Whether that is not the best by activation."""
    differs_between_halves: np.ndarray
    """Whether the best by activation differs between the even and the odd documents."""
    attribution_differs_between_halves: np.ndarray
    sampled: np.ndarray
    """Features `(m,)` whose nulls under shifts of B were made; the nulls are `(n_null, m)`."""
    attribution_r_null: np.ndarray
    best_r_null: np.ndarray
    differs_null: np.ndarray


def agree_layers(
    a: Side,
    b: Side,
    documents: np.ndarray,
    *,
    layers: tuple[int, int],
    r: np.ndarray,
    partner: np.ndarray,
    over: LogitGeometry,
    offsets: np.ndarray,
    kept: np.ndarray,
    n_shuffles: int,
    n_sampled: int,
    rng: np.random.Generator,
    memory_mb: float = 1024,
    exclude_self: bool = False,
) -> LayerAgreement:
    """Compare features of A with their best partners by activation in three ways.

    `r` and `partner` `(n,)`, a column of B, are those by activation; `documents` is each row's
    document, `offsets` the shifts of B's rows that make the null (`nulls.shift_offsets`) and `kept`
    the documents that stay when one group is left out (`stats.kept_documents`). Under shifts,
    partners by attribution are searched anew, for `n_sampled` features of A drawn at random.
    """
    options: dict[str, Any] = {"exclude_self": exclude_self, "memory_mb": memory_mb}
    best = Matcher(a.attributions, b.attributions, **options).partners()[0]
    found = best.partner[:, 0]
    paired = [_columns(b.features, partner), _columns(b.attributions, partner)]
    sides = (
        (a.features, paired[0]),
        (a.attributions, paired[1]),
        (a.attributions, _columns(b.attributions, np.maximum(found, 0))),
    )
    left_out = [
        resampled_r(document_sums(x, y, documents), kept).astype(np.float32) for x, y in sides
    ]
    left_out[2][:, found < 0] = 0
    n = len(partner)
    sampled = np.sort(rng.permutation(n)[:n_sampled])
    matcher = Matcher(a.attributions[:, sampled], b.attributions, memory_mb=memory_mb)
    under_shifts = [matcher.partners(1, int(offset))[0] for offset in offsets]
    some = _columns(a.attributions, sampled), _columns(paired[1], sampled)
    shuffles = [rng.permutation(n) for _ in range(n_shuffles)]
    logit_r = logit_correlation(a.rows, b.rows[partner], over, shuffles)
    return LayerAgreement(
        *layers,
        r=r,
        r_left_out=left_out[0],
        logit_r=logit_r[0],
        logit_r_null=logit_r[1:],
        attribution_r=paired_r(a.attributions, paired[1], [0])[0],
        attribution_r_left_out=left_out[1],
        best=found,
        best_r=best.r[:, 0],
        best_r_left_out=left_out[2],
        differs=found != partner,
        differs_between_halves=_between_halves(a.features, b.features, documents, options),
        attribution_differs_between_halves=_between_halves(
            a.attributions, b.attributions, documents, options
        ),
        sampled=sampled,
        attribution_r_null=paired_r(*some, offsets),
        best_r_null=np.array([matches.r[:, 0] for matches in under_shifts]),
        differs_null=np.array(
            [matches.partner[:, 0] != partner[sampled] for matches in under_shifts]
        ),
    )


def _columns(matrix: Sparse, which: np.ndarray) -> Sparse:
    """Return the columns `which`, sorted: see `Side`."""
    chosen = matrix[:, which]
    chosen.sort_indices()
    return chosen


def _between_halves(
    a: Sparse, b: Sparse, documents: np.ndarray, options: dict[str, Any]
) -> np.ndarray:
    """Return whether the best partner differs between the even and the odd documents, `(d_a,)`."""
    half = np.unique(documents, return_inverse=True)[1] % 2
    one, other = (
        Matcher(a[half == which], b[half == which], **options).partners()[0].partner[:, 0]
        for which in (0, 1)
    )
    return one != other
