"""`universality run gloss-corpus`: a corpus of WordNet's definitions."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.hierarchy.params.glosses import GlossCorpus


def command(
    corpus: Annotated[str, typer.Argument(help="key of `gloss_corpora`")],
    file: Annotated[Path, typer.Option(help="WordNet's data.noun")],
    out: Annotated[Path, typer.Option(help="directory of the new corpus")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Make a corpus of WordNet's definitions.

    Join definitions that follow each other in WordNet to documents, and split these.
    """
    section = load_section(params, GlossCorpus, "gloss_corpora", corpus)

    from itertools import groupby

    from universality.core.corpora import split_documents, write_corpus
    from universality.core.errors import InputError
    from universality.core.randomness import generator
    from universality.sources.wordnet import read_synsets

    documents = []
    for _, group in groupby(read_synsets(file), key=lambda synset: synset.file):
        lines = [f"{synset.words[0]}: {synset.definition}." for synset in group]
        size = section.n_synsets
        documents += [" ".join(lines[i : i + size]) for i in range(0, len(lines) - size + 1, size)]
    if len(documents) < section.n_documents:
        raise InputError(
            f"gloss_corpora.{corpus}: n_documents is {section.n_documents}; {file} makes "
            f"{len(documents)} documents of {size} definitions"
        )
    random = generator(section.seed, "documents", corpus)
    chosen = sorted(random.choice(len(documents), section.n_documents, replace=False))
    texts = [documents[i] for i in chosen]
    splits = split_documents(texts, section.validation_fraction, section.seed, corpus)
    write_corpus(out, splits, section.model_dump())
