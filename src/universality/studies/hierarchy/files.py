"""The tables of WordNet's words and of concept graphs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from universality.core.io import read_table
from universality.sources.wordnet import Synset
from universality.studies.hierarchy.graph import Concepts


def concept_table(concepts: Concepts) -> pd.DataFrame:
    """Return one row per concept: its names, parents (row numbers) and tokens."""
    return pd.DataFrame(
        {
            "concept": concepts.names,
            "synsets": concepts.merged,
            "n_tokens": [len(some) for some in concepts.members],
            "parents": concepts.parents,
            "tokens": concepts.members,
        }
    )


def read_concepts(folder: Path) -> Concepts:
    """Read a graph that `concept_table` made."""
    table = read_table(folder / "concepts.parquet")
    return Concepts(
        table["concept"].tolist(),
        [list(names) for names in table["synsets"]],
        list(table["tokens"]),
        [[int(parent) for parent in some] for some in table["parents"]],
    )


def synset_table(synsets: Sequence[Synset], names: Mapping[int, str]) -> pd.DataFrame:
    """Return one row per synset: offset, name, words and the offsets of its hypernyms."""
    return pd.DataFrame(
        {
            "offset": [synset.offset for synset in synsets],
            "synset": [names[synset.offset] for synset in synsets],
            "words": [synset.words for synset in synsets],
            "hypernyms": [synset.hypernyms for synset in synsets],
        }
    )


def word_table(forms: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return one row per word with its forms."""
    return pd.DataFrame({"word": list(forms), "forms": list(forms.values())})


def read_words(folder: Path) -> tuple[list[Synset], dict[int, str], dict[str, list[str]]]:
    """Return the synsets, without their glosses, their names by offset, and the words' forms."""
    table = read_table(folder / "synsets.parquet")
    synsets = [
        Synset(int(offset), 0, list(words), [int(above) for above in hypernyms], "")
        for offset, words, hypernyms in zip(
            table["offset"], table["words"], table["hypernyms"], strict=True
        )
    ]
    words = read_table(folder / "words.parquet")
    forms = dict(zip(words["word"], map(list, words["forms"]), strict=True))
    return synsets, dict(zip(table["offset"].tolist(), table["synset"], strict=True)), forms
