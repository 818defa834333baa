"""Add vectors to activations while a model runs, and write what it says then.

Activation additions (Turner et al. 2023, arXiv 2308.10248; Rimsky et al. 2024, arXiv 2312.06681).
All rows of a batch have prompts of one length: nothing is padded, so a row does not depend on the
others. BOS, which takes much of the attention and is like no other position, is never changed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from universality.core.errors import InputError
from universality.core.sampling import draw

WHERE = {
    "last": "the last position of the prompt",
    "after_prompt": "every position that predicts what follows the prompt: its last one, and all "
    "that are generated",
    "all": "every position but BOS",
}


@dataclass(frozen=True)
class Addition:
    """`multiplier` x `vector` is added to the activations of `hook`."""

    hook: str
    vector: np.ndarray
    """Shape `(d,)`, or `(n_rows, d)`: one for each row of the batch."""
    multiplier: float = 1.0
    where: str = "after_prompt"
    """Key of `WHERE`."""


@contextmanager
def steered(bridge: Any, additions: Sequence[Addition], n_prompt: int) -> Iterator[None]:
    """Add `additions` in every forward pass of the model, with or without a key-value cache.

    `n_prompt` is the length of all prompts, BOS included. The hooks are removed however the block
    is left. InputError for an unknown hook or place, and for a vector that does not fit.
    """
    for addition in additions:
        _check(bridge, addition)
    start = [0]

    def note(_: Any, __: Any, named: dict[str, Any]) -> None:
        # With a cache a pass sees only what is new: where that begins, the cache knows.
        cache = named.get("past_key_values")
        start[0] = 0 if cache is None else cache.get_seq_length()

    trunk = bridge.original_model.base_model
    handle = trunk.register_forward_pre_hook(note, with_kwargs=True)
    hooks = [(addition.hook, _adder(addition, n_prompt, start)) for addition in additions]
    try:
        with bridge.hooks(fwd_hooks=hooks):
            yield
    finally:
        handle.remove()


def _check(bridge: Any, addition: Addition) -> None:
    if addition.hook not in bridge.hook_dict:
        known = ", ".join(name for name in bridge.hook_dict if name.startswith("blocks.0."))
        raise InputError(f"the model has no hook {addition.hook!r}; in block 0 there are: {known}")
    if addition.where not in WHERE:
        raise InputError(f"where is {addition.where!r}, expected one of: {', '.join(WHERE)}")
    if not (np.isfinite(addition.vector).all() and np.isfinite(addition.multiplier)):
        raise InputError(f"{addition.hook}: the vector or its multiplier is NaN or infinite")


def _adder(addition: Addition, n_prompt: int, start: list[int]) -> Any:
    scaled = addition.multiplier * np.asarray(addition.vector, dtype=np.float64)
    vector = torch.from_numpy(np.atleast_2d(scaled)).float()[:, None]
    first = 1 if addition.where == "all" else n_prompt - 1
    stop = n_prompt if addition.where == "last" else None

    def add(value: Tensor, **_: Any) -> Tensor:
        if vector.shape[-1] != value.shape[-1] or len(vector) not in (1, len(value)):
            raise InputError(
                f"{addition.hook}: a vector of shape {np.shape(addition.vector)} does not fit "
                f"{len(value)} rows of width {value.shape[-1]}"
            )
        low = max(first - start[0], 0)
        high = value.shape[1] if stop is None else min(stop - start[0], value.shape[1])
        if low >= high:
            return value
        new = value.clone()
        new[:, low:high] += vector
        return new

    return add


@torch.inference_mode()
def begin(
    bridge: Any, prompts: np.ndarray, additions: Sequence[Addition] = (), hooks: Sequence[Any] = ()
) -> tuple[Tensor, Any]:
    """Run `prompts` `(n_rows, n_prompt)`: logits after them, `(n_rows, vocab)`, and the cache.

    `hooks` are TransformerLens forward hooks, `(name, function)`, active beside the additions; they
    must treat all rows alike, since what comes before the last position is run once for equal
    prompts, if no addition is made there.
    """
    from transformers import DynamicCache

    model, n_prompt = bridge.original_model, prompts.shape[1]
    ids = torch.from_numpy(np.ascontiguousarray(prompts, dtype=np.int64))
    cache = DynamicCache(config=model.config)
    shared = n_prompt > 1 and all(addition.where != "all" for addition in additions)
    if shared:
        different, rows = np.unique(prompts[:, :-1], axis=0, return_inverse=True)
        with bridge.hooks(fwd_hooks=list(hooks)):
            prefix = torch.from_numpy(np.ascontiguousarray(different, dtype=np.int64))
            model.base_model(prefix, past_key_values=cache, use_cache=True)
        cache.batch_select_indices(torch.from_numpy(rows.reshape(-1)))
        ids = ids[:, -1:]
    with bridge.hooks(fwd_hooks=list(hooks)), steered(bridge, additions, n_prompt):
        out = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return out.logits[:, -1], cache


@torch.inference_mode()
def generate(
    bridge: Any,
    prompts: np.ndarray,
    n_new: int,
    additions: Sequence[Addition] = (),
    hooks: Sequence[Any] = (),
    uniform: np.ndarray | None = None,
) -> np.ndarray:
    """Return `n_new` tokens after each of `prompts` `(n_rows, n_prompt)`, `(n_rows, n_new)`.

    Greedy, or with `uniform` `(n_rows, n_new)` in [0, 1) sampled at temperature 1 by inverting the
    distribution: rows with equal numbers differ only by what they were given; NaN in it is greedy.
    `hooks` as in `begin`. Nothing stops a row: what follows a stop token is the caller's to drop.
    """
    logits, cache = begin(bridge, prompts, additions, hooks)
    found = []
    with bridge.hooks(fwd_hooks=list(hooks)), steered(bridge, additions, prompts.shape[1]):
        for step in range(n_new):
            ids = logits.argmax(-1)
            if uniform is not None:
                numbers = torch.from_numpy(uniform[:, step].copy())
                rows = ~numbers.isnan()
                ids[rows] = draw(logits[rows], numbers[rows])
            found.append(ids)
            if step + 1 < n_new:
                out = bridge.original_model(
                    ids[:, None], past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                logits = out.logits[:, -1]
    return torch.stack(found, dim=1).numpy()
