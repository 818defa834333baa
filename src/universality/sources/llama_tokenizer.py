"""Tokenizers of llama2.c models, as JSON of the `tokenizers` library.

A file is either that JSON already, or llama2.c's tokenizer.bin: an int32 (longest token, bytes),
then for every token its float32 score, int32 length and UTF-8 bytes. The scores are those of a
SentencePiece BPE model: of all neighbours whose concatenation is a token, the best score is merged.
"""

import json
import struct
from pathlib import Path
from typing import Any

from universality.core.errors import InputError

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
_N_CONTROL = 3
_SPACE = "\u2581"

TOKENIZER_CONFIG = {
    # The plain class takes tokenizer.json as it stands, without Llama's own post-processing.
    "tokenizer_class": "PreTrainedTokenizerFast",
    "unk_token": UNK,
    "bos_token": BOS,
    "eos_token": EOS,
    "clean_up_tokenization_spaces": False,
}
"""tokenizer_config.json of these tokenizers."""


def read_tokenizer(path: Path, vocab_size: int) -> dict[str, Any]:
    """Return the tokenizer at `path` as the value of tokenizer.json.

    `vocab_size` is the model's; any other number of tokens is an `InputError`.
    """
    content = path.read_bytes()
    if content[:1] == b"{":
        tokenizer = _parse_json(path, content)
    else:
        tokenizer = _from_pieces(_read_pieces(path, content))
    n_tokens = len(tokenizer["model"]["vocab"])
    if n_tokens != vocab_size:
        raise InputError(f"{path}: {n_tokens} tokens, but the model has {vocab_size}")
    return tokenizer


def _parse_json(path: Path, content: bytes) -> dict[str, Any]:
    try:
        tokenizer = json.loads(content)
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(tokenizer.get("model"), dict) or "vocab" not in tokenizer["model"]:
        raise InputError(f"{path}: not a tokenizer.json (it has no model.vocab)")
    return tokenizer


def _read_pieces(path: Path, content: bytes) -> list[tuple[str, float]]:
    """Return (token, score) in the order of the ids."""
    pieces, offset = [], 4
    try:
        while offset < len(content):
            score, length = struct.unpack_from("<fi", content, offset)
            offset += 8
            if not 0 < length <= len(content) - offset:
                raise ValueError(f"a token of {length} bytes")
            pieces.append((content[offset : offset + length].decode("utf-8"), score))
            offset += length
    except (struct.error, ValueError) as error:
        raise InputError(f"{path}: not a llama2.c tokenizer, or cut short ({error})") from error
    # llama2.c writes the control tokens in the form in which it prints them.
    if [piece.strip() for piece, _ in pieces[:_N_CONTROL]] != [UNK, BOS, EOS]:
        raise InputError(f"{path}: its first tokens are not {UNK}, {BOS}, {EOS}")
    return pieces


def _from_pieces(pieces: list[tuple[str, float]]) -> dict[str, Any]:
    tokens = [UNK, BOS, EOS, *(piece.replace(" ", _SPACE) for piece, _ in pieces[_N_CONTROL:])]
    ids = {token: index for index, token in enumerate(tokens)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_control_token(ids[token], token) for token in (UNK, BOS, EOS)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": _SPACE},
                {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_special(BOS, 0), _sequence("A", 0)],
            "pair": [_special(BOS, 0), _sequence("A", 0), _special(BOS, 1), _sequence("B", 1)],
            "special_tokens": {BOS: {"id": BOS, "ids": [ids[BOS]], "tokens": [BOS]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": UNK,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": ids,
            "merges": _merges(ids, [score for _, score in pieces]),
        },
    }


def _merges(ids: dict[str, int], scores: list[float]) -> list[list[str]]:
    """Return every pair of tokens whose concatenation is a token, best score first."""
    merges = [
        (-scores[index], index, token[:cut], token[cut:])
        for token, index in ids.items()
        if index >= _N_CONTROL
        for cut in range(1, len(token))
        if token[:cut] in ids and token[cut:] in ids
    ]
    return [[left, right] for *_, left, right in sorted(merges)]


def _control_token(index: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": content, **flags, "special": True}


def _special(token: str, type_id: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": type_id}}


def _sequence(name: str, type_id: int) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": type_id}}
