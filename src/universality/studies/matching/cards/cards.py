"""Cards of matched features: what fires each of the two, side by side in the same text.

Top contexts flatter a pair, so each card also has contexts, drawn at random, where only one of the
two fires, and beside the best pairs there are pairs drawn at random.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from universality.core.bootstrap import document_sums, resampled_r
from universality.core.contexts import Example, Positions, positions, top_rows
from universality.core.engine.moments import Sparse
from universality.core.randomness import generator
from universality.core.stats import percentile_interval
from universality.studies.matching.params.cards import Cards

GROUPS = {
    "top_a": "where A fires most",
    "top_b": "where B fires most",
    "only_a": "drawn where A fires and B does not",
    "only_b": "drawn where B fires and A does not",
}
DRAWN = "drawn at random"


@dataclass(frozen=True)
class Reading:
    """The text as one model reads it, and which rows of it both models share."""

    at: Positions
    end: np.ndarray
    """Where each row's token ends in its document, in characters, `(n_rows,)`."""
    rows: np.ndarray
    """The shared rows, in the order of the other model's, `(n_shared,)`."""


@dataclass(frozen=True)
class Context:
    """The same characters of a document, read by both models; a peak is the shared position."""

    a: Example
    b: Example


@dataclass(frozen=True)
class Card:
    """One matched pair."""

    pair: Mapping[str, Any]
    """Its row of the asymmetry table."""
    chosen: str
    r_interval: tuple[float, float]
    highest: tuple[float, float]
    """Highest activation of each feature, over all positions of its model."""
    contexts: Mapping[str, list[Context]]
    """Keys are those of `GROUPS`."""


def reading(table: pd.DataFrame, texts: Mapping[int, str], rows: np.ndarray) -> Reading:
    """Return the text of the rows of `table` (see `features.position_table`)."""
    return Reading(positions(table, texts), table["end"].to_numpy(), rows)


def habits(a: Sparse, features: np.ndarray, text: Reading) -> dict[str, Any]:
    """Return what `features` of `a` (shared rows) fire on most: a token, a place in the document.

    Words in different case, with or without their space, count as one token. The shares are of the
    feature's firing: `top_token_share`, and `position_share` for the most frequent place.
    """
    fires = sp.csc_matrix(a[:, features])
    texts = (text.at.shown[row] for row in text.rows)
    shown = [one.strip(" ").casefold() or one for one in texts]
    names, word = np.unique(shown, return_inverse=True)
    token, token_share = _most_common(fires, word)
    _, position_share = _most_common(fires, text.at.position[text.rows])
    return {
        "top_token": names[token],
        "top_token_share": token_share,
        "position_share": position_share,
    }


def _most_common(fires: Any, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the most frequent `kind` `(n,)` of each column's firing rows, and its share."""
    most, share = np.zeros(fires.shape[1], np.int64), np.zeros(fires.shape[1])
    for j in range(fires.shape[1]):
        part = slice(fires.indptr[j], fires.indptr[j + 1])
        counts = np.bincount(kind[fires.indices[part][fires.data[part] != 0]], minlength=1)
        most[j] = counts.argmax()
        share[j] = counts.max() / max(1, counts.sum())
    return most, share


def choose_pairs(table: pd.DataFrame, params: Cards) -> tuple[dict[int, str], int]:
    """Return the rows of `table` to show and why, and how many the top pairs passed over.

    Top pairs: the layers of A take turns, each with its pair of next highest r. The very best would
    all be features of the first word of a story, constant where they fire. So pairs are passed over
    if A fires mostly at one place of the documents, or if its top token has been shown.
    """
    passed, seen = 0, set()
    turns = {
        layer: iter(part.index[np.argsort(-part["r"].to_numpy(), kind="stable")].tolist())
        for layer, part in table.groupby("layer_a")
    }
    reasons: dict[int, list[str]] = {}
    while turns and len(reasons) < params.n_top:
        for layer in list(turns):
            for row in turns[layer]:
                token = table.at[row, "top_token"]
                if table.at[row, "position_share"] <= params.max_position_share and (
                    token not in seen
                ):
                    seen.add(token)
                    reasons[row] = [f"among the highest r of layer {layer}"]
                    break
                passed += 1
            else:
                del turns[layer]
            if len(reasons) == params.n_top:
                break
    random = generator(params.seed, "cards").permutation(len(table))[: params.n_random]
    for row in table.index[random].tolist():
        reasons.setdefault(row, []).append(DRAWN)
    return {row: ", ".join(why) for row, why in reasons.items()}, passed


def layer_cards(
    a: Sparse,
    b: Sparse,
    texts: tuple[Reading, Reading],
    pairs: pd.DataFrame,
    chosen: Mapping[int, str],
    weights: np.ndarray,
    params: Cards,
) -> dict[int, Card]:
    """Return the cards of the rows `chosen` of `pairs`, all of one layer of A and one of B.

    `a` and `b` have a row for each row of their `texts`; `weights` are the resampled documents.
    """
    rows = list(chosen)
    wanted = pairs.loc[rows, "feature_a"].to_numpy(), pairs.loc[rows, "partner"].to_numpy()
    columns = [sp.csr_matrix(side)[:, names] for side, names in zip((a, b), wanted, strict=True)]
    shared_a, shared_b = (side[text.rows] for side, text in zip(columns, texts, strict=True))
    documents = texts[0].at.document[texts[0].rows]
    r = resampled_r(document_sums(shared_a, shared_b, documents), weights)
    dense = [side.toarray() for side in columns]
    return {
        row: Card(
            pair={str(name): value for name, value in pairs.loc[row].items()},
            chosen=chosen[row],
            r_interval=percentile_interval(r[:, j]),
            highest=(float(dense[0][:, j].max()), float(dense[1][:, j].max())),
            contexts=_contexts((dense[0][:, j], dense[1][:, j]), texts, params, row),
        )
        for j, row in enumerate(rows)
    }


Columns = tuple[np.ndarray, np.ndarray]
Readings = tuple[Reading, Reading]


def _contexts(
    columns: Columns, texts: Readings, params: Cards, row: int
) -> dict[str, list[Context]]:
    document = texts[0].at.index[texts[0].rows]
    a, b = (column[text.rows] for column, text in zip(columns, texts, strict=True))
    random = generator(params.seed, "card contexts", row)
    only_a, only_b = np.flatnonzero((a != 0) & (b == 0)), np.flatnonzero((b != 0) & (a == 0))
    places = {
        "top_a": (0, _top(a, document, params.n_contexts)),
        "top_b": (1, _top(b, document, params.n_contexts)),
        "only_a": (0, _drawn(only_a, document, params.n_alone, random)),
        "only_b": (1, _drawn(only_b, document, params.n_alone, random)),
    }
    return {
        name: [_context(int(k), side, columns, texts, params.context) for k in shared]
        for name, (side, shared) in places.items()
    }


def _top(values: np.ndarray, document: np.ndarray, n: int) -> np.ndarray:
    fires = np.flatnonzero(values)
    return top_rows(fires, values[fires], document, n)


def _drawn(
    places: np.ndarray, document: np.ndarray, n: int, random: np.random.Generator
) -> np.ndarray:
    """Return `n` of `places` drawn at random, at most one per document."""
    mixed = random.permutation(places)
    _, first = np.unique(document[mixed], return_index=True)
    return mixed[np.sort(first)[:n]]


def _context(k: int, side: int, columns: Columns, texts: Readings, width: int) -> Context:
    """Return the text around shared position `k`: `width` tokens of one side on either hand."""
    own, other = texts[side], texts[1 - side]
    row = int(own.rows[k])
    begin, stop = _document(own, row)
    first, last = max(row - width, begin), min(row + width + 1, stop)
    # From the character after which the window starts; at least the shared token is in it, even
    # if all of the window are bytes of one character.
    after = min(int(own.end[first - 1]) if first > begin else -1, int(own.end[row]) - 1)
    there = int(other.rows[k])
    begin, stop = _document(other, there)
    found = begin + np.searchsorted(
        other.end[begin:stop], (after, int(own.end[last - 1])), side="right"
    )
    windows = {
        side: _example(columns[side], own, row, (first, last)),
        1 - side: _example(columns[1 - side], other, there, (int(found[0]), int(found[1]))),
    }
    return Context(windows[0], windows[1])


def _document(text: Reading, row: int) -> tuple[int, int]:
    """Return the first row of the document of `row`, and the one after its last."""
    begin, stop = text.at.bounds[text.at.index[row] : text.at.index[row] + 2]
    return int(begin), int(stop)


def _example(column: np.ndarray, text: Reading, row: int, window: tuple[int, int]) -> Example:
    begin, stop = _document(text, row)
    first, last = window
    return Example(
        document=int(text.at.document[row]),
        position=int(text.at.position[row]),
        value=float(column[row]),
        tokens=[(text.at.shown[i], float(column[i])) for i in range(first, last)],
        peak=row - first,
        cut=(first > begin, last < stop),
    )


def card_table(cards: Sequence[Card]) -> pd.DataFrame:
    """Return one row per card: its pair, why it was chosen, r with its interval."""
    rows = [
        {"card": number, "chosen": card.chosen, "top": card.chosen != DRAWN, **card.pair}
        | dict(zip(("r_low", "r_high"), card.r_interval, strict=True))
        | dict(zip(("highest_a", "highest_b"), card.highest, strict=True))
        for number, card in enumerate(cards)
    ]
    return pd.DataFrame(rows)


def context_table(cards: Sequence[Card]) -> pd.DataFrame:
    """Return one row per token of the contexts: its text, activation, whether it is the peak."""
    columns = ("card", "group", "rank", "side", "document", "token", "text", "value", "peak")
    rows = [
        (number, group, rank, side, example.document, i, text, value, i == example.peak)
        for number, card in enumerate(cards)
        for group, contexts in card.contexts.items()
        for rank, context in enumerate(contexts)
        for side, example in (("a", context.a), ("b", context.b))
        for i, (text, value) in enumerate(example.tokens)
    ]
    return pd.DataFrame(rows, columns=list(columns)).astype({"value": np.float32})
