"""What an addition does to a model's output: a measured effect, and its price.

The effect is the difference of the log-probabilities of two sets of words at the position after
the prompt; the price is the perplexity of what the steered model goes on to write, judged by the
model as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from universality.core.randomness import generator
from universality.studies.steering.intervene import Addition, begin, generate

_SCORED_TOKENS = 1024
"""Predictions in one forward pass: their logits are the largest array here."""


MODES = ("greedy", "sampled")
"""How continuations are written."""


@dataclass(frozen=True)
class Task:
    """Where an effect is measured."""

    prompts: Sequence[np.ndarray]
    """Token ids `(n_prompt,)` each, BOS first."""
    words: tuple[np.ndarray, np.ndarray]
    """Token ids of the words that the vector should raise, and lower."""


@dataclass(frozen=True)
class Trial:
    """One prompt under one addition."""

    prompt: np.ndarray
    words: tuple[np.ndarray, np.ndarray]
    hook: str
    vector: np.ndarray
    """What is added, `(d,)`: multiplied already."""


@dataclass(frozen=True)
class Writing:
    """How continuations are written."""

    n_new: int
    """Tokens of each."""
    stop: frozenset[int]
    """Tokens that end a text; what comes after them is not judged."""
    seed: int
    """Of the sampled continuations; equal prompts have equal random numbers, however steered."""


@dataclass(frozen=True)
class Measured:
    """What became of trials; arrays are `(n_trials,)`."""

    score: np.ndarray
    """log P(words to raise) - log P(words to lower) after the prompt, nats."""
    ce: Mapping[str, np.ndarray] = field(default_factory=dict)
    """greedy, sampled -> mean cross-entropy of the continuation under the unsteered model, nats."""
    tokens: Mapping[str, np.ndarray] = field(default_factory=dict)
    """greedy, sampled -> continuations `(n_trials, n_new)`."""


def word_score(logits: np.ndarray, words: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return log P(first set) - log P(second set) of `logits` `(n, vocab)`, nats, `(n,)`."""
    from scipy.special import logsumexp

    raised, lowered = (logsumexp(logits[:, ids].astype(np.float64), axis=1) for ids in words)
    return raised - lowered


def measure(
    bridge: Any,
    trials: Sequence[Trial],
    where: str = "after_prompt",
    writing: Writing | None = None,
    hooks: Sequence[Any] = (),
    batch_rows: int = 256,
) -> Measured:
    """Return the score of each trial and, with `writing`, what was written and its price.

    `hooks` are active beside the additions (see `intervene.begin`), not when a text is judged.
    """
    score = np.empty(len(trials))
    tokens = {mode: np.empty((len(trials), writing.n_new), np.int64) for mode in MODES if writing}
    for rows in _batches([trial.prompt for trial in trials], batch_rows):
        part = [trials[row] for row in rows]
        prompts = np.stack([trial.prompt for trial in part])
        additions = _additions(part, where)
        logits = begin(bridge, prompts, additions, hooks)[0].numpy()
        score[rows] = _scores(logits, part)
        if writing is not None:
            new = _write(bridge, prompts, additions, hooks, writing)
            for mode in MODES:
                tokens[mode][rows] = new[mode]
    if writing is None:
        return Measured(score)
    given = [trial.prompt for trial in trials]
    ce = {mode: continuation_ce(bridge, given, new, writing.stop) for mode, new in tokens.items()}
    return Measured(score, ce, tokens)


def _write(
    bridge: Any, prompts: np.ndarray, additions: Sequence[Addition], hooks: Sequence[Any],
    writing: Writing,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the continuations of both `MODES` `(n, n_new)`, written in one batch.

    Small batches take as long as large ones: a step's time is that of reading the weights.
    """
    uniform = _uniform(prompts, writing)
    both = np.concatenate([np.full_like(uniform, np.nan), uniform])
    twice = [replace(one, vector=np.concatenate([one.vector] * 2)) for one in additions]
    new = generate(bridge, np.concatenate([prompts] * 2), writing.n_new, twice, hooks, both)
    return dict(zip(MODES, np.split(new, 2), strict=True))


def _scores(logits: np.ndarray, trials: Sequence[Trial]) -> np.ndarray:
    """Return the score of each trial, of logits `(n_trials, vocab)`; once for the same words."""
    found = np.empty(len(trials))
    groups: dict[int, list[int]] = {}
    for row, trial in enumerate(trials):
        groups.setdefault(id(trial.words), []).append(row)
    for rows in groups.values():
        words = trials[rows[0]].words
        # Few columns first: all logits of these rows would be copied.
        columns = np.concatenate(words)
        cut = np.split(np.arange(len(columns)), [len(words[0])])
        found[rows] = word_score(logits[np.array(rows)[:, None], columns], (cut[0], cut[1]))
    return found


def _batches(prompts: Sequence[np.ndarray], batch_rows: int) -> Iterator[np.ndarray]:
    """Yield rows whose prompts have one length, at most `batch_rows`."""
    lengths = np.array([len(prompt) for prompt in prompts])
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        for first in range(0, len(rows), batch_rows):
            yield rows[first : first + batch_rows]


def _additions(trials: Sequence[Trial], where: str) -> list[Addition]:
    """Return one addition for each hook of `trials`; it adds zero to the rows of the others."""
    found = []
    for hook in sorted({trial.hook for trial in trials}):
        width = next(len(trial.vector) for trial in trials if trial.hook == hook)
        rows = np.zeros((len(trials), width))
        for row, trial in zip(rows, trials, strict=True):
            if trial.hook == hook:
                row[:] = trial.vector
        found.append(Addition(hook, rows, where=where))
    return found


def _uniform(prompts: np.ndarray, writing: Writing) -> np.ndarray:
    """Return the random numbers of each prompt's continuation, `(n, n_new)`."""
    different, index = np.unique(prompts, axis=0, return_inverse=True)
    drawn = [
        generator(writing.seed, "continuation", *map(int, prompt)).random(writing.n_new)
        for prompt in different
    ]
    return np.stack(drawn)[index.reshape(-1)]


@torch.inference_mode()
def continuation_ce(
    bridge: Any, prompts: Sequence[np.ndarray], new: np.ndarray, stop: frozenset[int]
) -> np.ndarray:
    """Return the mean cross-entropy of `new` `(n, n_new)` after `prompts`, nats, `(n,)`.

    Under the model as it is. A text's first token of `stop` is its last one that counts.
    """
    ends = np.isin(new, sorted(stop))
    counts = np.cumsum(ends, axis=1) - ends == 0
    found = np.empty(len(new))
    size = max(1, _SCORED_TOKENS // new.shape[1])
    lengths = np.array([len(prompt) for prompt in prompts])
    for length in np.unique(lengths):
        rows: np.ndarray = np.flatnonzero(lengths == length)
        # Small doses change no word: many continuations are alike, and judged once.
        whole = np.stack([np.concatenate([prompts[row], new[row]]) for row in rows.tolist()])
        different, index = np.unique(whole, axis=0, return_inverse=True)
        losses = [
            _losses(bridge, different[first : first + size], new.shape[1])
            for first in range(0, len(different), size)
        ]
        every = np.concatenate(losses)[index.reshape(-1)]
        found[rows] = (every * counts[rows]).sum(1) / counts[rows].sum(1)
    return found


def _losses(bridge: Any, ids: np.ndarray, n_new: int) -> np.ndarray:
    """Return the cross-entropy of the last `n_new` tokens of `ids`, `(n, n_new)`, nats."""
    tokens = torch.from_numpy(ids)
    logits = bridge.original_model(tokens[:, :-1], logits_to_keep=n_new).logits
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), tokens[:, -n_new:].flatten(), reduction="none"
    )
    return losses.view(len(ids), n_new).double().numpy()


def dose_response(
    bridge: Any,
    vectors: Mapping[str, tuple[str, np.ndarray]],
    task: Task,
    multipliers: Sequence[float],
    where: str = "after_prompt",
    writing: Writing | None = None,
    hooks: Sequence[Any] = (),
    batch_rows: int = 256,
) -> pd.DataFrame:
    """Return effect and price of `vectors` (name -> (hook, `(d,)`)) on every prompt of `task`.

    One row per vector, multiplier and prompt: score (nats) and score_change (against the model as
    it is, without `hooks`); with `writing` also ce_greedy, ce_sampled (nats per token, of the
    continuation under the unsteered model) and their changes. Perplexity is exp(ce).
    """
    keys, trials = [], []
    for name, (hook, vector) in vectors.items():
        for multiplier in multipliers:
            for prompt, ids in enumerate(task.prompts):
                keys.append((name, hook, multiplier, prompt))
                trials.append(Trial(ids, task.words, hook, multiplier * np.asarray(vector)))
    hook, vector = next(iter(vectors.values()))
    plain = [Trial(ids, task.words, hook, np.zeros(len(vector))) for ids in task.prompts]
    steered_run = measure(bridge, trials, where, writing, hooks, batch_rows)
    return effect_table(keys, steered_run, measure(bridge, plain, where, writing, (), batch_rows))


def effect_table(
    keys: Sequence[tuple[str, str, float, int]], steered_run: Measured, plain: Measured
) -> pd.DataFrame:
    """Return a row for each trial with its `keys`: vector, hook, multiplier, prompt.

    `plain` are the same prompts, by number, without an addition.
    """
    table = pd.DataFrame(keys, columns=["vector", "hook", "multiplier", "prompt"])
    prompt = table["prompt"].to_numpy()
    measures = {"score": (steered_run.score, plain.score)}
    measures |= {f"ce_{mode}": (ce, plain.ce[mode]) for mode, ce in steered_run.ce.items()}
    for name, (value, without) in measures.items():
        table[name] = value
        table[f"{name}_change"] = value - without[prompt]
    return table
