"""`universality run random-model`: the small architecture with untrained weights, a control."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.core.params.models import ModelSeed, SmallModel


def command(
    model: Annotated[str, typer.Argument(help="key of `untrained_models`")],
    tokenizer: Annotated[Path, typer.Option(help="directory with tokenizer.json")],
    out: Annotated[Path, typer.Option(help="Hugging Face directory of the new model")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Write a small language model with untrained weights.

    Write `small_model` as it is before any training.
    """
    section = load_section(params, SmallModel, "small_model")
    seed = load_section(params, ModelSeed, "untrained_models", model).seed

    from tokenizers import Tokenizer

    from universality.core.io import require
    from universality.core.models import new_model, save_model

    encoder = Tokenizer.from_file(str(require(tokenizer / "tokenizer.json")))
    save_model(new_model(section, seed), encoder, out)
