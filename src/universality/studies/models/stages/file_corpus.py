"""`universality run file-corpus`: a corpus from a JSON list of documents."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.core.params.corpora import FileCorpus


def command(
    corpus: Annotated[str, typer.Argument(help="key of `file_corpora`")],
    file: Annotated[Path, typer.Option(help="JSON list of strings")],
    out: Annotated[Path, typer.Option(help="directory of the new corpus")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Make a corpus from a JSON list of documents.

    Split the documents of `file` and write them as a corpus.
    """
    section = load_section(params, FileCorpus, "file_corpora", corpus)

    from universality.core.corpora import split_documents, write_corpus
    from universality.core.errors import InputError
    from universality.core.io import read_json

    texts = read_json(file)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{file}: expected a JSON list of strings")
    texts = [text.strip() for text in texts if text.strip()]
    splits = split_documents(texts, section.validation_fraction, section.seed, corpus)
    write_corpus(out, splits, {"artifact": section.artifact, **section.model_dump()})
