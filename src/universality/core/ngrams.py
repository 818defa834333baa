"""Unigram and bigram language models: what a cross-entropy is compared with."""

import numpy as np

from universality.core.corpora import Tokens

_DISCOUNT = 0.75


def unigram_losses(train: Tokens, held_out: Tokens, vocab_size: int) -> np.ndarray:
    """Summed cross-entropy (nats) of each document under add-one-smoothed token frequencies."""
    log_p = np.log(_unigram(train, vocab_size))
    return _per_document(held_out, -log_p[_pairs(held_out)[1]])


def bigram_losses(train: Tokens, held_out: Tokens, vocab_size: int) -> np.ndarray:
    """Summed cross-entropy (nats) of each document under an interpolated bigram model.

    Absolute discounting (Ney, Essen & Kneser 1994) with discount 0.75; the mass goes to the
    unigram distribution.
    """
    unigram = _unigram(train, vocab_size)
    first, second = _pairs(train)
    codes, counts = np.unique(first.astype(np.int64) * vocab_size + second, return_counts=True)
    total = np.bincount(codes // vocab_size, weights=counts, minlength=vocab_size)
    kinds = np.bincount(codes // vocab_size, minlength=vocab_size)
    first, second = _pairs(held_out)
    wanted = first.astype(np.int64) * vocab_size + second
    place = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    count = np.where(codes[place] == wanted, counts[place], 0)
    seen = np.maximum(total[first], 1)
    direct = np.maximum(count - _DISCOUNT, 0) / seen
    left = np.where(total[first] > 0, _DISCOUNT * kinds[first] / seen, 1.0)
    return _per_document(held_out, -np.log(direct + left * unigram[second]))


def _unigram(train: Tokens, vocab_size: int) -> np.ndarray:
    counts = np.bincount(_pairs(train)[1], minlength=vocab_size) + 1.0
    return counts / counts.sum()


def _pairs(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Each predicted token with the one before it; the first token of a document is given."""
    predicted = np.ones(len(tokens.ids), dtype=bool)
    predicted[tokens.bounds[:-1]] = False
    place = np.flatnonzero(predicted)
    return tokens.ids[place - 1], tokens.ids[place]


def _per_document(tokens: Tokens, losses: np.ndarray) -> np.ndarray:
    document = np.repeat(np.arange(tokens.n_documents), tokens.lengths - 1)
    return np.bincount(document, weights=losses, minlength=tokens.n_documents)
