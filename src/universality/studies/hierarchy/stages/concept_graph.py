"""`universality run concept-graph`: WordNet's concepts as single tokens of a model."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.hierarchy.params.hierarchy import ConceptGraph


def command(
    key: Annotated[str, typer.Argument(help="key of `concept_graphs`")],
    words: Annotated[Path, typer.Option(help="outputs of `wordnet-words`, one folder each")],
    models: Annotated[Path, typer.Option(help="folder of the models")],
    out: Annotated[Path, typer.Option(help="directory for the concepts")],
    counts: Annotated[Path, typer.Option(help="directory for the table of what was counted")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Give WordNet's concepts the single tokens of a model that name them.

    Give every synset the tokens that name it or a kind of it, and merge those that are alike.
    """
    section = load_section(params, ConceptGraph, "concept_graphs", key)

    import pandas as pd

    from universality.core.corpora import load_tokenizer
    from universality.core.io import atomic_directory, write_table
    from universality.studies.hierarchy.files import concept_table, read_words
    from universality.studies.hierarchy.graph import build, general_first
    from universality.studies.hierarchy.words import tokens_of

    synsets, names, forms = read_words(words / section.words)
    tokenizer, _ = load_tokenizer(models / section.model)
    ordered = general_first(synsets)
    tokens = tokens_of(tokenizer, forms)
    thresholds = sorted({section.min_example_tokens, section.min_tokens})
    graphs = {least: build(ordered, names, tokens, least) for least in thresholds}
    concepts, _ = graphs[section.min_example_tokens]
    with atomic_directory(out) as folder:
        write_table(folder / "concepts.parquet", concept_table(concepts))
    counted = [{"min_tokens": least} | found for least, (_, found) in graphs.items()]
    with atomic_directory(counts) as folder:
        write_table(folder / "counts.parquet", pd.DataFrame(counted))
