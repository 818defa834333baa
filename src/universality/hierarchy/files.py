"""The tables of WordNet's words and of concept graphs."""

from pathlib import Path

import pandas as pd

from universality.hierarchy.graph import Concepts
from universality.io import read_table


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


def read_words(folder: Path) -> tuple[dict[str, list[str]], dict[int, str]]:
    """Return the forms of every word, and the name of every synset by its offset."""
    words = read_table(folder / "words.parquet")
    names = read_table(folder / "synsets.parquet")
    forms = dict(zip(words["word"], map(list, words["forms"]), strict=True))
    return forms, dict(zip(names["offset"].tolist(), names["synset"], strict=True))
