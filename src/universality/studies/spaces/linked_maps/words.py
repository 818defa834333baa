"""What the page says of a feature: the tokens that it fires on most, and some contexts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from universality.core.contexts import Positions, top_rows
from universality.core.engine.moments import Sparse
from universality.studies.spaces.params.linked_maps import LinkedMaps

LEAST_SHARE = 0.005
"""Of a feature's firing: words with less are left out, but for the first."""
LEVELS = 255
"""Steps of a shown activation, from 0 to the feature's highest."""


@dataclass(frozen=True)
class Words:
    """The text of every row as a word: without its spaces, in lower case."""

    names: list[str]
    number: np.ndarray
    """Index into `names` of every row, `(n_rows,)`."""


@dataclass(frozen=True)
class Described:
    """`m` features, each with up to `k` words and `c` contexts; -1 where there are fewer."""

    word: np.ndarray
    """Numbers of the words that it fires on most, most first, `(m, k)`."""
    share: np.ndarray
    """Share of the feature's firing on each, `(m, k)`."""
    row: np.ndarray
    """The row that each context is about, the drawn ones behind `n_top`, `(m, c)`."""
    value: np.ndarray
    """The activation there, `(m, c)`."""
    before: np.ndarray
    """Rows shown ahead of it, `(m, c)`."""
    after: np.ndarray
    """Rows shown behind it, `(m, c)`."""
    level: np.ndarray
    """Activation on every row that is shown, in the order of the contexts, as steps of `LEVELS` of
    the feature's highest, rounded up: 0 is where it does not fire."""


def words_of(at: Positions) -> Words:
    """Return the words of the rows; words that differ in case or leading space are one."""
    shown = [text.strip(" ").casefold() or text for text in at.shown]
    names = sorted(set(shown))
    number = {name: i for i, name in enumerate(names)}
    return Words(names, np.array([number[text] for text in shown], dtype=np.int64))


def describe(
    features: Sparse,
    chosen: np.ndarray,
    at: Positions,
    words: Words,
    settings: LinkedMaps,
    random: np.random.Generator,
) -> Described:
    """Describe the features `chosen` `(m,)`, ascending, of `features` `(n_rows, d_sae)`.

    Top contexts are the highest activations, one per document; the drawn ones are of all other
    rows on which the feature fires.
    """
    m, k, c = len(chosen), settings.n_tokens, settings.n_top + settings.n_random
    word, share = np.full((m, k), -1), np.zeros((m, k))
    row, value = np.full((m, c), -1), np.zeros((m, c), dtype=np.float32)
    before, after = np.full((m, c), -1), np.full((m, c), -1)
    levels: list[np.ndarray] = []
    columns: Any = sp.csc_matrix(features)[:, chosen]
    spoken = _counts(columns, words)
    dense = np.zeros(len(at.token), dtype=np.float32)
    for i in range(m):
        part = slice(columns.indptr[i], columns.indptr[i + 1])
        fires = columns.data[part] > 0
        rows, values = columns.indices[part][fires], columns.data[part][fires]
        own = slice(spoken.indptr[i], spoken.indptr[i + 1])
        numbers, counts = spoken.indices[own], spoken.data[own]
        most = np.argsort(-counts, kind="stable")[:k]
        most = most[(counts[most] >= LEAST_SHARE * len(rows)) | (np.arange(len(most)) == 0)]
        word[i, : len(most)] = numbers[most]
        share[i, : len(most)] = counts[most] / max(1, len(rows))
        top = _top(rows, values, at.index, settings.n_top)
        rest = rows[(rows[:, None] != top).all(axis=1)]
        drawn = random.choice(rest, min(settings.n_random, len(rest)), replace=False)
        dense[rows] = values
        for slot, at_row in [*enumerate(top), *enumerate(drawn, settings.n_top)]:
            begin, stop = at.bounds[at.index[at_row] : at.index[at_row] + 2]
            first = max(at_row - settings.before, begin)
            last = min(at_row + settings.after + 1, stop)
            row[i, slot], value[i, slot] = at_row, dense[at_row]
            before[i, slot], after[i, slot] = at_row - first, last - at_row - 1
            levels.append(np.ceil(LEVELS * (dense[first:last] / values.max())))
        dense[rows] = 0
    level = np.concatenate([np.zeros(0), *levels]).astype(np.uint8)
    return Described(word, share, row, value, before, after, level)


def _counts(columns: Any, words: Words) -> Any:
    """Return how often each feature fires on each word, CSC `(n_words, m)`, words ascending."""
    n = columns.shape[0]
    ones = np.ones(n, dtype=np.int64)
    fires = sp.csc_matrix(columns > 0, dtype=np.int64)
    of_word: Any = sp.csr_matrix((ones, (words.number, np.arange(n))), (len(words.names), n))
    counts = sp.csc_matrix(of_word @ fires)
    counts.sort_indices()
    return counts


def _top(rows: np.ndarray, values: np.ndarray, document: np.ndarray, n: int) -> np.ndarray:
    """Return `top_rows`, which is looked for among the highest first: sorting all takes longer."""
    few = 32 * n
    if len(rows) > few:
        high = values >= np.partition(values, -few)[-few]
        found = top_rows(rows[high], values[high], document, n)
        if len(found) == n:
            return found
    return top_rows(rows, values, document, n)
