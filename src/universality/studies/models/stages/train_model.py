"""`universality run train-model`: a small language model, trained on the corpus."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.core.params.models import ModelSeed, SmallModel


def command(
    model: Annotated[str, typer.Argument(help="key of `trained_models`")],
    corpus: Annotated[Path, typer.Option(help="corpus directory")],
    tokenizer: Annotated[Path, typer.Option(help="directory with tokenizer.json")],
    out: Annotated[Path, typer.Option(help="Hugging Face directory of the new model")],
    checkpoints: Annotated[Path, typer.Option(help="directory for the model while it trains")],
    log: Annotated[Path, typer.Option(help="table with the losses")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Train a small language model on the corpus.

    Train the architecture of `small_model` from the seed of `trained_models`.
    """
    section = load_section(params, SmallModel, "small_model")
    seed = load_section(params, ModelSeed, "trained_models", model).seed

    from tokenizers import Tokenizer

    from universality.core.corpora import read_corpus, tokenize
    from universality.core.io import atomic_directory, require, write_table
    from universality.core.models import new_model, save_model, train

    encoder = Tokenizer.from_file(str(require(tokenizer / "tokenizer.json")))
    tokens = {}
    for split in ("train", "validation"):
        documents, texts = read_corpus(corpus, split, None if split == "train" else 200)
        tokens[split] = tokenize(texts, documents, encoder, 0, section.context)
    language_model = new_model(section, seed)
    with atomic_directory(checkpoints) as folder:
        losses = train(
            language_model, tokens["train"], tokens["validation"], section, seed,
            lambda share: save_model(language_model, encoder, folder / f"{share:g}"),
        )  # fmt: skip
    save_model(language_model, encoder, out)
    write_table(log, losses)
