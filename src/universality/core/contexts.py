"""The text around the positions of a feature matrix: which token each row is, and its context."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from universality.core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Positions:
    """The rows of a feature matrix, in reading order; arrays are `(n_rows,)`."""

    document: np.ndarray
    """Id of the row's document."""
    index: np.ndarray
    """Number of the row's document, from 0."""
    position: np.ndarray
    token: np.ndarray
    shown: list[str]
    """The text of each row; of the bytes of one character only the last shows it."""
    bounds: np.ndarray
    """First row of each document, and the number of rows, `(n_documents + 1,)`."""


@dataclass(frozen=True)
class Example:
    """One position in its context."""

    document: int
    position: int
    value: float
    tokens: list[tuple[str, float]]
    """Text and activation of the tokens of the window."""
    peak: int
    """Index of the position in `tokens`."""
    cut: tuple[bool, bool]
    """Whether the document goes on before and after the window."""


def positions(table: "pd.DataFrame", texts: Mapping[int, str]) -> Positions:
    """Return the rows of `table` (see `features.position_table`) with the text that they stand for.

    Raises InputError if a row is BOS (its activations are like no other's, and would be the maximum
    of many features) or does not fit the text.
    """
    document, position, start, end = (
        table[name].to_numpy() for name in ("document", "position", "start", "end")
    )
    if not len(table):
        raise InputError("the feature matrices have no rows")
    if (position == 0).any():
        row = int(np.argmax(position == 0))
        raise InputError(
            f"row {row} of the features is position 0 of document {document[row]}, its BOS; "
            "dashboards need features.mask_special: true"
        )
    lengths = {int(d): len(texts.get(int(d), "")) for d in np.unique(document)}
    outside = end > np.array([lengths[int(d)] for d in document])
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(
            f"the text of document {document[row]} has {lengths[int(document[row])]} characters in "
            f"the corpus, and a token ends at {end[row]}: the features are of another corpus"
        )
    new = np.append(True, document[1:] != document[:-1])
    bounds = np.append(np.flatnonzero(new), len(table))
    if len(np.unique(document)) != len(bounds) - 1 or (np.diff(position)[~new[1:]] <= 0).any():
        raise InputError("the rows of the features are not in reading order")
    before = np.where(new, 0, np.append(0, end[:-1]))
    # The bytes of one character share its place; where it stands is shown once, by the last.
    partial = np.append((start[1:] < end[:-1]) & ~new[1:], False)
    pieces = table["piece"].tolist()
    shown = [
        pieces[i] if partial[i] else texts[int(document[i])][min(before[i], start[i]) : end[i]]
        for i in range(len(table))
    ]
    shown = [text or piece for text, piece in zip(shown, pieces, strict=True)]
    index = np.cumsum(new) - 1
    return Positions(document, index, position, table["token"].to_numpy(), shown, bounds)


def top_rows(rows: np.ndarray, values: np.ndarray, document: np.ndarray, n: int) -> np.ndarray:
    """Return the `n` of `rows` with the highest `values`, at most one per document.

    `rows` and `values` are `(n_firing,)`, only positions where the feature fires, so a feature that
    never does has none; `document` is that of every row. Of equal values the earlier row wins.
    """
    ranked = rows[np.lexsort((rows, -values))]
    _, first = np.unique(document[ranked], return_index=True)
    return ranked[np.sort(first)[:n]]


def example(row: int, column: np.ndarray, at: Positions, context: int) -> Example:
    """Return row `row` with `context` tokens around it; `column` `(n_rows,)` are activations."""
    begin, stop = at.bounds[at.index[row] : at.index[row] + 2]
    first, last = max(row - context, begin), min(row + context + 1, stop)
    return Example(
        document=int(at.document[row]),
        position=int(at.position[row]),
        value=float(column[row]),
        tokens=[(at.shown[i], float(column[i])) for i in range(first, last)],
        peak=int(row - first),
        cut=(bool(first > begin), bool(last < stop)),
    )
