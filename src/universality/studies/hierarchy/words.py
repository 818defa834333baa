"""Words as single tokens, under any tokenizer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_BEFORE = "the"


def forms(word: str, plural: str | None) -> list[str]:
    """Return `word` and its `plural`, as they are and with a capital."""
    found = [word] if plural is None else [word, plural]
    return list(dict.fromkeys([*found, *(form.capitalize() for form in found)]))


def plurals(words: Iterable[str]) -> dict[str, str]:
    """Return the plural of every noun."""
    import inflect

    engine = inflect.engine()
    return {word: engine.plural_noun(word) for word in words}


def single_tokens(tokenizer: Any, words: Iterable[str]) -> dict[str, int]:
    """Return word -> its token, of those words that are a single token after a space.

    What a tokenizer does within a text decides, not how it writes its tokens.
    """
    words = list(words)
    before = tokenizer.encode(_BEFORE, add_special_tokens=False).ids
    texts = [f"{_BEFORE} {word}" for word in words]
    found = {}
    for word, encoded in zip(
        words, tokenizer.encode_batch_fast(texts, add_special_tokens=False), strict=True
    ):
        if len(encoded.ids) == len(before) + 1 and encoded.ids[: len(before)] == before:
            found[word] = encoded.ids[-1]
    return found


def word_forms(words: Iterable[str], nouns: bool) -> dict[str, list[str]]:
    """Return word -> it with a small and a capital letter and, of `nouns`, its plural.

    Words in lower case; those of several words, which no token can be, are left out. Park et al.
    2024's variants.
    """
    single = sorted({word for word in words if " " not in word})
    plural = plurals(single) if nouns else {}
    return {word: forms(word, plural.get(word)) for word in single}


def tokens_of(tokenizer: Any, words: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Return word -> the tokens of its forms `words`, ascending, if any."""
    token = single_tokens(tokenizer, sorted({form for some in words.values() for form in some}))
    return {
        word: sorted({token[form] for form in some if form in token})
        for word, some in words.items()
    }
