"""`universality run train-tokenizer`: the tokenizer of the small models."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.core.params.models import SmallModel


def command(
    corpus: Annotated[Path, typer.Option(help="corpus directory; its training split is used")],
    out: Annotated[Path, typer.Option(help="directory for tokenizer.json")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Train the small models' tokenizer on the corpus.

    Train a byte-level BPE of `small_model.vocab_size` tokens.
    """
    section = load_section(params, SmallModel, "small_model")

    from universality.core.corpora import read_corpus
    from universality.core.io import atomic_directory
    from universality.core.models import save_tokenizer, train_tokenizer

    _, texts = read_corpus(corpus, "train")
    with atomic_directory(out) as temporary:
        save_tokenizer(train_tokenizer(texts, section.vocab_size), temporary)
