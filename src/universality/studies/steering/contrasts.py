"""Contrasts of data/contrasts.yaml as a model's tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from universality.core.corpora import load_tokenizer
from universality.core.errors import InputError
from universality.core.io import read_json
from universality.studies.steering.effects import Task
from universality.studies.steering.params.steering import Contrast

_MARKS = ("▁", "Ġ")
"""How SentencePiece and byte-level BPE write the space before a word."""


@dataclass(frozen=True)
class ContrastTokens:
    """A contrast under one tokenizer; prompts are token ids `(n_prompt,)`, BOS first."""

    positive: list[np.ndarray]
    negative: list[np.ndarray]
    task: Task
    dropped: tuple[list[str], list[str]]
    """Words of each set that are no single tokens."""


def encode_prompt(tokenizer: Any, bos: int, text: str) -> np.ndarray:
    """Return the ids of `text` after BOS."""
    return np.array([bos, *tokenizer.encode(text, add_special_tokens=False).ids])


def word_ids(tokenizer: Any, words: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Return the ids of the words that are single tokens after a space, and the other words."""
    ids, dropped = [], []
    for word in words:
        found = [tokenizer.token_to_id(mark + word) for mark in _MARKS]
        known = [token for token in found if token is not None]
        ids += known[:1]
        dropped += [] if known else [word]
    return np.array(ids, dtype=np.int64), dropped


def contrast_tokens(name: str, contrast: Contrast, model: Path, n_prompts: int) -> ContrastTokens:
    """Return a contrast under the tokenizer of `model`, with its first `n_prompts` prompts.

    Where the effect is to be measured, so that there are prompts, each set needs a word.
    """
    tokenizer, bos = load_tokenizer(model)
    found = [word_ids(tokenizer, words) for words in contrast.words]
    for (ids, _), words in zip(found, contrast.words, strict=True):
        if n_prompts and not len(ids):
            raise InputError(
                f"contrast {name!r}: none of {', '.join(words)} is a single token of {model.name}"
            )

    def encode(texts: Sequence[str]) -> list[np.ndarray]:
        return [encode_prompt(tokenizer, bos, text) for text in texts]

    positive, negative = zip(*contrast.pairs, strict=True)
    task = Task(encode(contrast.prompts[:n_prompts]), (found[0][0], found[1][0]))
    return ContrastTokens(encode(positive), encode(negative), task, (found[0][1], found[1][1]))


def choose(contrasts: Mapping[str, Contrast], names: Sequence[str]) -> dict[str, Contrast]:
    """Return the contrasts `names`; an unknown name is an error that lists the known ones."""
    for name in names:
        if name not in contrasts:
            raise InputError(f"no contrast {name!r}; there is: {', '.join(contrasts)}")
    return {name: contrasts[name] for name in names}


def stop_tokens(model: Path) -> frozenset[int]:
    """Return the tokens after which a text of `model` is over: BOS and EOS."""
    config = read_json(model / "config.json")
    named = [config.get("bos_token_id"), config.get("eos_token_id")]
    flat = [one for value in named for one in (value if isinstance(value, list) else [value])]
    return frozenset(one for one in flat if isinstance(one, int))


def until_stop(ids: list[int], stop: frozenset[int]) -> list[int]:
    """Return what comes before the first token of `stop`."""
    end = next((i for i, token in enumerate(ids) if token in stop), len(ids))
    return ids[:end]
