"""Null distributions: the same measurement on data whose relation was destroyed."""

import numpy as np


def permutation_p(observed: float, null: np.ndarray) -> float:
    """Return the one-sided p-value (1 + b) / (1 + n), b of n null values being >= `observed`.

    It is never 0: n draws cannot show more than 1 / (1 + n) (Phipson & Smyth 2010).
    """
    null = np.asarray(null)
    return float((1 + np.count_nonzero(null >= observed)) / (1 + null.size))


def shift_offsets(documents: np.ndarray, n_null: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n_null` random circular shifts, in rows, for the shuffled-position null.

    `documents` `(n,)` is the document of every row, in order. Shifting B's rows against A's
    destroys their relation but keeps each feature's values and their autocorrelation. A shift is
    at least the longest document, both ways round, so that no position meets its own document;
    where documents are too few for that, at least a quarter of the rows.
    """
    n = len(documents)
    if n < 4:
        raise ValueError(f"{n} positions are too few for a shifted null; 4 are needed")
    longest = int(np.unique(documents, return_counts=True)[1].max())
    smallest = min(longest, n // 4)
    return rng.integers(smallest, n - smallest + 1, size=n_null)


def documents_meeting(documents: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows `(m,)` of A and of B such that document i of A meets document i + `shift` of B.

    `documents` `(n,)` is the document of every row, in order. Positions meet their like from the
    first of each document on, up to the end of the shorter one; documents go round in a circle.
    What depends on the place in a document alone, such as how stories begin, stays shared, which
    `shift_offsets` would destroy: the stricter null.
    """
    _, first, count = np.unique(documents, return_index=True, return_counts=True)
    length = np.minimum(count, np.roll(count, -shift))
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    rows_a = np.repeat(first, length) + within
    rows_b = np.repeat(np.roll(first, -shift), length) + within
    return rows_a, rows_b
