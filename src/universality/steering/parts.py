"""Steer with parts of a vector: single features, the top ones, and what is left without them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from universality.nulls import permutation_p
from universality.steering.causal import changes, share_of, total, with_length
from universality.steering.decomposition import Case, Dictionary, contributions
from universality.steering.effects import Task, Trial, Writing, measure, word_score
from universality.steering.intervene import Addition, steered

PARTS = {
    "whole": "the vector",
    "top_1": "its largest feature",
    "top_1_matched": "its largest feature, as long as the vector",
    "top_5": "its 5 largest features",
    "code": "all features of its code",
    "code_positive": "features that it adds",
    "code_negative": "features that it takes away",
    "without_top_1": "the vector without its largest feature",
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
        "top_1_matched": with_length(top_1, float(np.linalg.norm(vector))),
        "top_5": top_5,
        "code": whole_code,
        "code_positive": np.maximum(code, 0) @ rows,
        "code_negative": np.minimum(code, 0) @ rows,
        "without_top_1": vector - top_1,
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


def ablation(dictionary: Dictionary, features: np.ndarray) -> Any:
    """Return a hook function that takes `features` out of activations wherever they fire.

    The first of several positions is BOS and left alone; a single position follows others.
    """
    rows = torch.from_numpy(np.asarray(dictionary.rows[features], dtype=np.float32))

    def remove(value: Tensor, **_: Any) -> Tensor:
        flat = value.reshape(-1, value.shape[-1]).numpy()
        fires = torch.from_numpy(dictionary.encode(flat)[:, features])
        new = value - (fires @ rows).view_as(value)
        if value.shape[1] > 1:
            new[:, 0] = value[:, 0]
        return new

    return remove


def ablation_table(
    bridge: Any,
    hook: str,
    case: Case,
    task: Task,
    dictionaries: Mapping[str, Dictionary],
    named: Mapping[tuple[str, str], Mapping[str, np.ndarray]],
    counts: Mapping[str, np.ndarray],
    multipliers: Sequence[float],
    where: str,
    batch_rows: int,
    n_random: int,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Steer while the features of a concept are ablated at every hook downstream.

    `named` is (concept, how its features were found) -> hook -> features; `dictionaries` and
    `counts` (on how many positions of a text each feature fires) are by hook. One row per concept:
    effect with the ablation (steered and not), share of the effect without, 95% interval over
    prompts; `_null` the same with as many features drawn at each hook, by how often they fire, `_p`
    the share of draws that keep as little.
    """
    vectors = {case.name: case.vector}
    plain = changes(bridge, hook, vectors, task, multipliers, where, batch_rows)[case.name]
    whole = total(plain, multipliers)

    def share(chosen: Mapping[str, np.ndarray]) -> np.ndarray:
        hooks = [
            (name, ablation(dictionaries[name], features))
            for name, features in chosen.items()
            if len(features)
        ]
        left = changes(bridge, hook, vectors, task, multipliers, where, batch_rows, hooks)
        return total(left[case.name], multipliers)

    # Once more than they fire, so that there are always enough to draw from.
    chance = {name: (fired + 1) / (fired + 1).sum() for name, fired in counts.items()}
    rows = []
    for (concept, by), chosen in named.items():
        left = share(chosen)
        null = []
        for _ in range(n_random if any(map(len, chosen.values())) else 0):
            drawn = {
                name: rng.choice(len(chance[name]), len(f), replace=False, p=chance[name])
                for name, f in chosen.items()
            }
            null.append(share(drawn).sum() / whole.sum())
        kept = share_of("share", left, whole, n_bootstrap, rng)
        rows.append(
            {"vector": case.name, "concept": concept, "by": by, "effect": float(left.mean())}
            | {"original": float(whole.mean()), "n_features": sum(map(len, chosen.values()))}
            | kept
            | {"share_null": float(np.mean(null)) if null else kept["share"]}
            | {"share_p": permutation_p(-kept["share"], -np.array(null)), "n_prompts": len(whole)}
        )
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
