"""Steering vectors from contrastive prompts, at any hook."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from universality.core.activations import collect
from universality.core.corpora import Tokens


def last_activations(
    bridge: Any, prompts: Sequence[np.ndarray], hooks: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return hook -> activations at the last position of `prompts`, `(n_prompts, d)`, float64.

    Prompts are token ids `(n_prompt,)`, BOS first.
    """
    bounds = np.concatenate([[0], np.cumsum([len(prompt) for prompt in prompts])])
    ids = np.concatenate(prompts).astype(np.int32)
    nowhere = np.zeros(len(ids), dtype=np.int32)
    tokens = Tokens(
        ids, nowhere, nowhere, np.isin(np.arange(len(ids)), bounds[:-1]),
        np.arange(len(prompts)), bounds,
    )  # fmt: skip
    found: dict[str, np.ndarray] = {}
    for part in collect(bridge, tokens, list(hooks), 4096, mask_special=False):
        last = part.position == tokens.lengths[part.document] - 1
        for hook, value in part.activations.items():
            rows = found.setdefault(hook, np.zeros((len(prompts), value.shape[1])))
            rows[part.document[last]] = value[torch.from_numpy(last)].double().numpy()
    return found


def difference_of_means(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Return mean(positive) - mean(negative) of activations `(n_pairs, d)`, `(d,)`.

    Of one pair, the activation addition of Turner et al. (2023); of many, the contrastive
    activation addition of Rimsky et al. (2024).
    """
    return positive.mean(axis=0) - negative.mean(axis=0)


def principal_direction(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Return the first principal component of the differences of pairs `(n_pairs, d)`, `(d,)`.

    As in representation engineering (Zou et al. 2023, arXiv 2310.01405): a pair's order is taken
    as arbitrary, so the differences are not centred. Turned towards, and made as long as, the
    difference of means, so that a multiplier means the same for both.
    """
    mean = difference_of_means(positive, negative)
    direction = np.linalg.svd(positive - negative, full_matrices=False)[2][0]
    sign = 1.0 if direction @ mean >= 0 else -1.0
    return sign * np.linalg.norm(mean) * direction


METHODS = {"mean": difference_of_means, "pca": principal_direction}


def cosine(x: np.ndarray, vector: np.ndarray) -> Any:
    """Return the cosine of `x` `(d,)`, or of each of its rows `(n, d)`, with `vector` `(d,)`."""
    length = np.linalg.norm(x, axis=None if x.ndim == 1 else 1)
    return x @ vector / (length * np.linalg.norm(vector))


def random_like(vector: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n` vectors of random direction, as long as `vector` `(d,)`: `(n, d)`."""
    drawn = rng.standard_normal((n, len(vector)))
    return drawn * np.linalg.norm(vector) / np.linalg.norm(drawn, axis=1, keepdims=True)


def pair_activations(
    bridge: Any,
    pairs: Mapping[str, tuple[Sequence[np.ndarray], Sequence[np.ndarray]]],
    hooks: Sequence[str],
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Return (contrast, hook) -> activations of its prompts, `(n_pairs, d)` each, in one run.

    `pairs` are contrast -> positive and negative prompts, token ids with BOS first.
    """
    prompts = [ids for sides in pairs.values() for side in sides for ids in side]
    found = last_activations(bridge, prompts, hooks)
    cut, first = {}, 0
    for name, (positive, negative) in pairs.items():
        middle, last = first + len(positive), first + len(positive) + len(negative)
        for hook in hooks:
            cut[name, hook] = found[hook][first:middle], found[hook][middle:last]
        first = last
    return cut
