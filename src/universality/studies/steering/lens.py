"""The logit lens of vectors and of features: what they would say without the layers above.

The final norm's scale is folded into the unembedding and its division by a length left out, so that
only directions count (see `universality.core.unembedding`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from universality.studies.steering.vectors import random_like


def direct_effect(
    vector: np.ndarray,
    unembedding: np.ndarray,
    words: tuple[np.ndarray, np.ndarray],
    n_random: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return how much `vector` `(d,)` itself raises the first words' mean logit over the second's.

    direct is the cosine of the vector with the difference of the words' mean rows of `unembedding`
    `(n_vocab, d)`; direct_null is the mean of its size in random directions, direct_null_high the
    largest.
    """
    wanted = unembedding[words[0]].mean(0) - unembedding[words[1]].mean(0)
    wanted = wanted / np.linalg.norm(wanted)
    null = np.abs(random_like(vector, n_random, rng) @ wanted) / np.linalg.norm(vector)
    return {
        "direct": float(vector @ wanted / np.linalg.norm(vector)),
        "direct_null": float(null.mean()),
        "direct_null_high": float(null.max()),
    }


def top_tokens(
    vector: np.ndarray, unembedding: np.ndarray, pieces: Sequence[str], n: int
) -> dict[str, Any]:
    """Return the `n` tokens that `vector` raises and lowers most, as text, best first."""
    order = np.argsort(-(unembedding @ vector), kind="stable")
    return {
        "raised": " ".join(pieces[int(i)].strip("▁Ġ ") for i in order[:n]),
        "lowered": " ".join(pieces[int(i)].strip("▁Ġ ") for i in order[::-1][:n]),
    }
