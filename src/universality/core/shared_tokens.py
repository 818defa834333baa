"""The tokens that features fire on most: what filters and concepts judge them by."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse as sp

from universality.core.engine.moments import Sparse


def normalised(piece: str) -> str:
    """Return a token's text as any tokenizer would have it: no mark of a space, lower case.

    Only the marks of leading spaces and line ends of SentencePiece and byte-level BPE are taken
    off; a token of spaces alone is one space.
    """
    text = piece.replace("<0x0A>", "\n").replace("Ċ", "\n")
    text = text.replace("▁", " ").replace("Ġ", " ")
    return text.strip(" ").lower() or " "


class Vocabulary:
    """Numbers for normalised tokens, shared by tokenizers."""

    def __init__(self, *pieces: Iterable[str]) -> None:
        """Take the tokens of each tokenizer that occur."""
        texts = sorted({normalised(piece) for some in pieces for piece in some})
        self.number = {text: number for number, text in enumerate(texts)}

    def encode(self, pieces: Iterable[str]) -> np.ndarray:
        """Return the numbers of tokens that were given at the start, `(n,)`."""
        pieces = list(pieces)
        of = {piece: self.number[normalised(piece)] for piece in set(pieces)}
        return np.array([of[piece] for piece in pieces], dtype=np.int64)

    def find(self, texts: Iterable[str]) -> np.ndarray:
        """Return the numbers of those of `texts` that occur, ascending."""
        known = {self.number[text] for text in map(normalised, texts) if text in self.number}
        return np.array(sorted(known), dtype=np.int64)


def top_tokens(features: Sparse, token: np.ndarray, n_top: int) -> np.ndarray:
    """Return the tokens at the `n_top` strongest positions of each feature, `(d, n_top)`.

    `token` `(n,)` is the number of the token of every row of `features` `(n, d)`; -1 where a
    feature fires less often. Of equal activations the earlier position comes first.
    """
    by_feature: Any = sp.csc_matrix(features)
    found = np.full((features.shape[1], n_top), -1)
    for j in range(features.shape[1]):
        part = slice(by_feature.indptr[j], by_feature.indptr[j + 1])
        rows, values = by_feature.indices[part], by_feature.data[part]
        rows, values = rows[values != 0], values[values != 0]
        best = np.argsort(-values, kind="stable")[:n_top]
        found[j, : len(best)] = token[rows[best]]
    return found
