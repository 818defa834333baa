"""`universality run wordnet-words`: WordNet's words in their forms, and its synsets' names."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.hierarchy.params.hierarchy import WordnetWords


def command(
    key: Annotated[str, typer.Argument(help="part of speech: key of `wordnet`")],
    artifacts: Annotated[Path, typer.Option(help="folder of the fetched artifacts")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Write WordNet's words in their forms, and the names of its synsets.

    Write every word with its forms, and every synset with its name, words and hypernyms.
    """
    section = load_section(params, WordnetWords, "wordnet", key)

    from universality.core.io import atomic_directory, write_table
    from universality.sources.wordnet import read_senses, read_synsets
    from universality.studies.hierarchy.files import synset_table, word_table
    from universality.studies.hierarchy.graph import synset_names
    from universality.studies.hierarchy.words import word_forms

    synsets = list(read_synsets(artifacts / section.data))
    names = synset_names(synsets, read_senses(artifacts / section.index), section.letter)
    words = {word.lower() for synset in synsets for word in synset.words}
    forms = word_forms(words, nouns=section.letter == "n")
    with atomic_directory(out) as folder:
        write_table(folder / "synsets.parquet", synset_table(synsets, names))
        write_table(folder / "words.parquet", word_table(forms))
