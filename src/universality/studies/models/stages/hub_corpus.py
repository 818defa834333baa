"""`universality run hub-corpus`: a corpus from a dataset of the Hugging Face hub."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.core.params.corpora import HubCorpus


def command(
    corpus: Annotated[str, typer.Argument(help="key of `hub_corpora`")],
    out: Annotated[Path, typer.Option(help="directory of the new corpus")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Make a corpus from a dataset of the Hugging Face hub.

    Take the first documents of each split; a pinned revision says which dataset that is.
    """
    section = load_section(params, HubCorpus, "hub_corpora", corpus)

    from universality.core.corpora import write_corpus
    from universality.sources.hub_access import stream_texts

    splits = {
        "train": stream_texts(section, section.train_split, section.n_documents),
        "validation": stream_texts(section, section.validation_split, section.n_validation),
    }
    write_corpus(out, splits, section.model_dump())
