"""Steer with parts of a vector: single features, the top ones, and what is left without them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from universality.studies.steering.causal import with_length
from universality.studies.steering.decomposition import Dictionary, contributions
from universality.studies.steering.effects import Task, Trial, Writing, measure, word_score
from universality.studies.steering.intervene import Addition, steered

PARTS = {
    "whole": "the vector",
    "top_1": "its largest feature",
    "top_5": "its 5 largest features",
    "code": "all features of its code",
    "code_positive": "features that it adds",
    "code_negative": "features that it takes away",
    "without_top_5": "the vector without its 5 largest",
    "remainder": "the vector without its code",
    "random": "null: random vector as long",
}


def part_vectors(
    vector: np.ndarray, code: np.ndarray, rows: np.ndarray, random: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the `PARTS` of `vector` `(d,)`, of which `code` `(m,)` is a signed code."""
    order = np.argsort(-contributions(code, rows), kind="stable")
    top_1, top_5 = (code[order[:n]] @ rows[order[:n]] for n in (1, 5))
    whole_code = code @ rows
    return {
        "whole": vector,
        "top_1": top_1,
        "top_5": top_5,
        "code": whole_code,
        "code_positive": np.maximum(code, 0) @ rows,
        "code_negative": np.minimum(code, 0) @ rows,
        "without_top_5": vector - top_5,
        "remainder": vector - whole_code,
        "random": random,
    }


def part_table(
    bridge: Any,
    hook: str,
    parts: Mapping[str, np.ndarray],
    task: Task,
    multipliers: Sequence[float],
    where: str,
    writing: Writing,
    batch_rows: int,
) -> pd.DataFrame:
    """Return effect and price of every part, multiplier and prompt, a row each.

    effect is the change of the score (nats); price that of the cross-entropy of what the steered
    model goes on to write, under the unsteered one (nats per token), mean of greedy and sampled.
    """
    zero = np.zeros_like(next(iter(parts.values())))
    keys = [(name, m) for name in parts for m in multipliers]
    added = [zero] + [m * parts[name] for name, m in keys]
    trials = [Trial(ids, task.words, hook, one) for one in added for ids in task.prompts]
    found = measure(bridge, trials, where, writing, (), batch_rows)
    score, price = (
        value.reshape(len(added), -1)
        for value in (found.score, np.mean(list(found.ce.values()), axis=0))
    )
    rows = [
        {
            "part": name, "multiplier": multiplier, "prompt": prompt,
            "length": float(np.linalg.norm(parts[name])),
            "effect": score[i + 1, prompt] - score[0, prompt],
            "price": price[i + 1, prompt] - price[0, prompt],
        }
        for i, (name, multiplier) in enumerate(keys)
        for prompt in range(len(task.prompts))
    ]  # fmt: skip
    return pd.DataFrame(rows)


PATCHES = {
    "reconstruction": "SAE's reconstruction, steered and not",
    "features": "steered features, unsteered error",
    "error": "unsteered features, steered error",
    "random": "null: unsteered, moved at random as far as the features' change",
}


@torch.inference_mode()
def patched(
    bridge: Any,
    dictionary: Dictionary,
    hook: str,
    addition: Addition,
    task: Task,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Return the effect of `addition` with activations at a later `hook` patched, `(n_prompts,)`.

    An activation x is its reconstruction, of features, and an error. At the prompt's last position
    the steered run's x is replaced by `PATCHES` (the unsteered run's too for `reconstruction`,
    which has no error in either); `original` is without a patch. Effects are nats.
    """
    names = ["unsteered", "steered", "unsteered_reconstruction", *PATCHES]

    def reconstruct(x: Tensor) -> Tensor:
        made = dictionary.encode(x.numpy()) @ dictionary.rows + dictionary.bias
        return torch.from_numpy(np.asarray(made, dtype=np.float32))

    def patch(value: Tensor, **_: Any) -> Tensor:
        x = value[:2, -1]
        made = reconstruct(x)
        change = made[1] - made[0]
        drawn = torch.from_numpy(with_length(rng.standard_normal(len(change)), 1.0)).float()
        new = value.clone()
        new[2:, -1] = torch.stack([
            made[0], made[1], made[1] + x[0] - made[0], made[0] + x[1] - made[1],
            x[0] + change.norm() * drawn,
        ])  # fmt: skip
        return new

    rows = np.zeros((len(names), len(addition.vector)))
    rows[1] = addition.vector
    scores = []
    for prompt in task.prompts:
        ids = torch.from_numpy(np.tile(prompt, (len(names), 1)))
        with (
            steered(bridge, [replace(addition, vector=rows)], len(prompt)),
            bridge.hooks(fwd_hooks=[(hook, patch)]),
        ):
            logits = bridge.original_model(ids, logits_to_keep=1).logits[:, -1].numpy()
        scores.append(word_score(logits, task.words))
    score = dict(zip(names, np.array(scores).T, strict=True))
    found = {"original": score["steered"] - score["unsteered"]}
    base = {"reconstruction": "unsteered_reconstruction"}
    for name in PATCHES:
        found[name] = score[name] - score[base.get(name, "unsteered")]
    return found
