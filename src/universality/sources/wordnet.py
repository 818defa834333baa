"""Read WordNet's database files (`data.noun`, `index.noun`; the formats are `wndb(5WN)`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from universality.core.errors import InputError
from universality.core.io import require


@dataclass(frozen=True)
class Synset:
    """One meaning: its words, where it belongs, and its gloss."""

    offset: int
    file: int
    """Number of the lexicographer file: 5 is animals, 13 food, 18 people."""
    words: list[str]
    hypernyms: list[int]
    """Offsets of the more general synsets; of what an individual is an instance of, none."""
    definition: str
    """The gloss without its examples."""


def read_synsets(path: Path) -> Iterator[Synset]:
    """Yield the synsets of a data file, in its order; InputError on a line that is none."""
    with require(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith("  "):  # the licence
                continue
            head, bar, gloss = line.partition(" | ")
            fields = head.split()
            try:
                offset, lexicographer, n_words = int(fields[0]), int(fields[1]), int(fields[3], 16)
                after = 4 + 2 * n_words
                n_pointers = int(fields[after])
            except (IndexError, ValueError) as error:
                raise InputError(f"{path}: line {number} is not a synset of WordNet") from error
            words = [word.replace("_", " ") for word in fields[4:after:2]]
            pointers = fields[after + 1 : after + 1 + 4 * n_pointers]
            if not bar or len(pointers) < 4 * n_pointers:
                raise InputError(f"{path}: line {number} is cut off")
            hypernyms = [
                int(target)
                for kind, target in zip(pointers[::4], pointers[1::4], strict=True)
                if kind == "@"
            ]
            definition = gloss.partition('; "')[0].strip()
            yield Synset(offset, lexicographer, words, hypernyms, definition)


def read_senses(path: Path) -> dict[str, list[int]]:
    """Return, of an index file, the offsets of every word's synsets, its first sense first.

    Words are in lower case. InputError on a line that is none of an index.
    """
    senses = {}
    with require(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith("  "):
                continue
            fields = line.split()
            try:
                n_synsets, n_pointers = int(fields[2]), int(fields[3])
                offsets = [int(field) for field in fields[6 + n_pointers :]]
            except (IndexError, ValueError) as error:
                raise InputError(f"{path}: line {number} is not a word of an index") from error
            if len(offsets) != n_synsets:
                raise InputError(f"{path}: line {number} is cut off")
            senses[fields[0].replace("_", " ")] = offsets
    return senses
