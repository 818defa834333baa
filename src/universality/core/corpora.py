"""Texts, and the tokens that a model sees of them.

A corpus is a folder with a parquet table (zstd) for each of the splits `train` and `validation`,
with the columns `document` (int64 id) and `text`; `datasets.load_dataset` opens it.
Models with different tokenizers share the text, so every stage tokenizes for itself;
`token_manifest` says exactly which tokens it used.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from universality.core.errors import InputError
from universality.core.io import atomic_directory, read_table, require, write_json, write_table
from universality.core.randomness import generator

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Tokens:
    """Tokens of documents, flat. Token `i` of document `d` lies at `bounds[d] + i`.

    `ids`, `start`, `end` (character offsets in the text) and `special` (BOS) have shape
    `(n_tokens,)`, `documents` `(n_documents,)` and `bounds` `(n_documents + 1,)`.
    """

    ids: np.ndarray
    start: np.ndarray
    end: np.ndarray
    special: np.ndarray
    documents: np.ndarray
    bounds: np.ndarray

    @property
    def n_documents(self) -> int:
        """Number of documents."""
        return len(self.documents)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens in each document, shape `(n_documents,)`."""
        return np.diff(self.bounds)

    def first(self, n_tokens: int) -> "Tokens":
        """Return the first whole documents with at most `n_tokens` tokens (at least one)."""
        n = max(1, int(np.searchsorted(self.bounds, n_tokens, side="right")) - 1)
        last = self.bounds[n]
        return Tokens(
            self.ids[:last], self.start[:last], self.end[:last], self.special[:last],
            self.documents[:n], self.bounds[: n + 1],
        )  # fmt: skip


class Batch(NamedTuple):
    """Right-padded documents of similar length: causal models need no attention mask for it."""

    rows: np.ndarray
    """Indices into `Tokens.documents`, shape `(batch,)`."""
    ids: np.ndarray
    """Token ids, shape `(batch, longest)`; padding repeats the last token."""
    valid: np.ndarray
    """False at padding, shape `(batch, longest)`."""


def write_corpus(path: Path, splits: dict[str, list[str]], origin: dict[str, Any]) -> None:
    """Write a corpus; documents are numbered through all splits.

    `origin` says where the text comes from and goes into `manifest.json` beside hashes and ids.
    """
    import pandas as pd

    tables: dict[str, pd.DataFrame] = {}
    manifest: dict[str, Any] = {"origin": origin}
    first = 0
    for name in SPLITS:
        texts = splits[name]
        if not texts:
            raise InputError(f"{path}: the {name} split has no documents")
        ids = list(range(first, first + len(texts)))
        first += len(texts)
        tables[name] = pd.DataFrame({"document": ids, "text": texts})
        manifest[name] = {
            "documents": [ids[0], ids[-1]],
            "n_characters": sum(map(len, texts)),
            "sha256": hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
        }
    with atomic_directory(path) as temporary:
        for name, table in tables.items():
            write_table(temporary / f"{name}.parquet", table)
        write_json(temporary / "manifest.json", manifest)


def read_corpus(path: Path, split: str, n_documents: int | None = None) -> tuple[list, list]:
    """Return document ids and texts of a split, the first `n_documents` of them."""
    table = read_table(require(path) / f"{split}.parquet")[:n_documents]
    return table["document"].tolist(), table["text"].tolist()


def split_documents(
    texts: Sequence[str], validation_fraction: float, seed: int, name: str
) -> dict[str, list[str]]:
    """Split texts by document at random; each split keeps the order of the texts.

    Identical texts go to the same split, so that nothing of the validation text was trained on.
    """
    unique = sorted(set(texts))
    n_validation = max(1, round(validation_fraction * len(unique)))
    if n_validation >= len(unique):
        raise InputError(
            f"corpus {name!r}: {len(unique)} different documents are too few to hold out "
            f"validation_fraction = {validation_fraction}"
        )
    chosen = generator(seed, "split", name).choice(len(unique), n_validation, replace=False)
    held_out = {unique[i] for i in chosen}
    return {
        "train": [text for text in texts if text not in held_out],
        "validation": [text for text in texts if text in held_out],
    }


def load_tokenizer(model: Path) -> tuple[Any, int]:
    """Return the `tokenizers.Tokenizer` and the BOS id of a Hugging Face model directory."""
    from tokenizers import Tokenizer

    config = json.loads(require(model / "config.json").read_text(encoding="utf-8"))
    bos = config.get("bos_token_id")
    if not isinstance(bos, int):
        raise InputError(f"{model / 'config.json'}: bos_token_id is {bos!r}, expected an integer")
    return Tokenizer.from_file(str(require(model / "tokenizer.json"))), bos


def tokenize(
    texts: Sequence[str], documents: Sequence[int], tokenizer: Any, bos: int, max_tokens: int
) -> Tokens:
    """Tokenize each text by itself, BOS first, cut at `max_tokens` (BOS included)."""
    if not texts:
        raise InputError("the corpus has no documents to tokenize")
    ids, start, end, lengths = [], [], [], []
    for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        n = min(len(encoding.ids), max_tokens - 1)
        ids.append([bos, *encoding.ids[:n]])
        offsets = np.array(encoding.offsets[:n], dtype=np.int32).reshape(n, 2)
        start.append(np.concatenate([[0], offsets[:, 0]]))
        end.append(np.concatenate([[0], offsets[:, 1]]))
        lengths.append(n + 1)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    special = np.zeros(bounds[-1], dtype=bool)
    special[bounds[:-1]] = True
    return Tokens(
        ids=np.concatenate(ids).astype(np.int32),
        start=np.concatenate(start).astype(np.int32),
        end=np.concatenate(end).astype(np.int32),
        special=special,
        documents=np.asarray(documents, dtype=np.int64),
        bounds=bounds,
    )


def load_tokens(
    corpus: Path, split: str, model: Path, max_tokens: int, n_documents: int | None = None
) -> Tokens:
    """Tokens of a split of `corpus` under the tokenizer of the model directory `model`."""
    documents, texts = read_corpus(corpus, split, n_documents)
    tokenizer, bos = load_tokenizer(model)
    return tokenize(texts, documents, tokenizer, bos, max_tokens)


def token_manifest(tokens: Tokens) -> dict[str, Any]:
    """Document ids, counts and a hash of the tokens: two runs with equal manifests saw the same."""
    digest = hashlib.sha256(tokens.ids.tobytes() + tokens.bounds.tobytes()).hexdigest()
    return {
        "documents": tokens.documents.tolist(),
        "n_tokens": len(tokens.ids),
        "n_special": int(tokens.special.sum()),
        "sha256": digest,
    }


def batches(tokens: Tokens, batch_tokens: int, rows: np.ndarray | None = None) -> Iterator[Batch]:
    """Yield batches of about `batch_tokens` tokens (padding included), short documents first.

    With `rows` given, only those documents, and in chunks of that order sorted within.
    """
    lengths = tokens.lengths
    if rows is None:
        rows = np.argsort(lengths, kind="stable")
    first = 0
    while first < len(rows):
        last, longest = first, 0
        while last < len(rows):
            longest = max(longest, int(lengths[rows[last]]))
            if last > first and longest * (last + 1 - first) > batch_tokens:
                break
            last += 1
        yield pad(tokens, rows[first:last])
        first = last


def pad(tokens: Tokens, rows: np.ndarray) -> Batch:
    """Return the documents `rows` as one right-padded batch."""
    lengths = tokens.lengths[rows]
    column = np.arange(lengths.max())
    valid = column < lengths[:, None]
    index = tokens.bounds[rows][:, None] + np.minimum(column, lengths[:, None] - 1)
    return Batch(rows, tokens.ids[index].astype(np.int64), valid)
