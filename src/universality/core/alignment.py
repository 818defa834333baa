"""Positions at which two models have read the same text, whatever their tokenizers."""

from dataclasses import dataclass

import numpy as np

from universality.core.errors import InputError


@dataclass(frozen=True)
class Alignment:
    """Rows of A and of B at the same place in the text, both increasing."""

    rows_a: np.ndarray
    rows_b: np.ndarray
    share_a: float
    """Share of A's rows that have a counterpart."""
    share_b: float
    """Share of B's rows that have a counterpart."""


def align(
    document_a: np.ndarray, end_a: np.ndarray, document_b: np.ndarray, end_b: np.ndarray
) -> Alignment:
    """Pair the rows of two tokenizations that end at the same character of the same document.

    `document` and `end` (exclusive character offset) are `(n,)`, in reading order. A causal model
    has at such a row read exactly the text before `end`. Of several tokens with one end (bytes of
    one character, empty tokens) only the last has read it all, so only the last is paired; equal
    tokenizations are paired row by row.
    """
    if np.array_equal(document_a, document_b) and np.array_equal(end_a, end_b):
        rows = np.arange(len(document_a))
        return Alignment(rows, rows, 1.0, 1.0)
    width = 1 + max(int(np.max(end, initial=0)) for end in (end_a, end_b))
    rows_a, keys_a = _last_of_each_end(document_a, end_a, width, "A")
    rows_b, keys_b = _last_of_each_end(document_b, end_b, width, "B")
    _, in_a, in_b = np.intersect1d(keys_a, keys_b, assume_unique=True, return_indices=True)
    n = len(in_a)
    return Alignment(
        rows_a[in_a], rows_b[in_b], n / max(1, len(document_a)), n / max(1, len(document_b))
    )


def _last_of_each_end(
    document: np.ndarray, end: np.ndarray, width: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the last row of every (document, end), and one integer key for each."""
    keys = document.astype(np.int64) * width + end
    steps = np.diff(keys)
    if (steps < 0).any():
        row = int(np.argmax(steps < 0)) + 1
        raise InputError(
            f"tokens of {name}: row {row} (document {document[row]}, end {end[row]}) comes before "
            "the row above it; rows must be in reading order"
        )
    rows = np.flatnonzero(np.append(steps > 0, len(keys) > 0)) if len(keys) else np.arange(0)
    return rows, keys[rows]
