"""Activations of single tokens, alone or after the beginning of a story."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from universality.core.corpora import Tokens
from universality.core.errors import InputError
from universality.core.progress import progress


def prefixes(tokens: Tokens, wanted: np.ndarray, longest: int, n: int) -> list[np.ndarray]:
    """Return the first `n` beginnings of documents that one of the tokens `wanted` follows.

    Each has at most `longest` tokens, BOS among them, and at least 4. InputError if there are
    fewer.
    """
    found = []
    for first, last in zip(tokens.bounds[:-1], tokens.bounds[1:], strict=True):
        ids = tokens.ids[first : min(last, first + longest + 1)]
        places = np.flatnonzero(np.isin(ids, wanted))
        if len(places) and places[-1] >= 4:
            found.append(ids[: places[-1]])
        if len(found) == n:
            return found
    raise InputError(
        f"{len(found)} documents have a token of a concept among the first {longest}, expected {n}"
    )


@torch.inference_mode()
def activations_after(
    bridge: Any, prefix: np.ndarray, tokens: np.ndarray, hooks: Sequence[str], batch_rows: int
) -> dict[str, np.ndarray]:
    """Return hook -> activations `(n, d)`, float32, at each of `tokens` `(n,)` after `prefix`.

    The prefix `(n_prefix,)` is run once and its keys and values are kept.
    """
    trunk = bridge.original_model.base_model
    cache = trunk(torch.from_numpy(prefix)[None], use_cache=True).past_key_values
    found: dict[str, list[np.ndarray]] = {hook: [] for hook in hooks}

    def keep(name: str) -> Any:
        def hook(value: torch.Tensor, **_: Any) -> None:
            found[name].append(value[:, -1].float().numpy().copy())

        return hook

    with bridge.hooks(fwd_hooks=[(name, keep(name)) for name in hooks]):
        starts = range(0, len(tokens), batch_rows)
        for start in progress(list(starts), desc="tokens"):
            ids = torch.from_numpy(tokens[start : start + batch_rows])[:, None]
            own = copy.deepcopy(cache)  # which the model extends
            own.batch_repeat_interleave(len(ids))
            trunk(ids, past_key_values=own, use_cache=True)
    return {hook: np.concatenate(parts) for hook, parts in found.items()}
