"""Read WordNet's database files (`data.noun`; the format is `wndb(5WN)`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from universality.errors import InputError
from universality.io import require


@dataclass(frozen=True)
class Synset:
    """One meaning: its words, where it belongs, and its gloss."""

    offset: int
    file: int
    """Number of the lexicographer file: 5 is animals, 13 food, 18 people."""
    words: list[str]
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
            except (IndexError, ValueError) as error:
                raise InputError(f"{path}: line {number} is not a synset of WordNet") from error
            words = [word.replace("_", " ") for word in fields[4 : 4 + 2 * n_words : 2]]
            if not bar or len(words) < n_words:
                raise InputError(f"{path}: line {number} is cut off")
            definition = gloss.partition('; "')[0].strip()
            yield Synset(offset, lexicographer, words, definition)
