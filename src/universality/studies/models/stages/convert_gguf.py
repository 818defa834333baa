"""`universality run convert-gguf`: a GGUF file as a Hugging Face directory."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[Path, typer.Option(help="GGUF file")],
    out: Annotated[Path, typer.Option(help="directory to write")],
) -> None:
    """Convert a GGUF file to a Hugging Face directory."""
    from universality.core.io import atomic_directory, require, write_arrays, write_json
    from universality.sources import gguf

    pre_tokenizer = gguf.read_pre_tokenizer(require(file))
    model, tokenizer = gguf.load(file)
    tokenizer_json, tokenizer_config = gguf.hf_tokenizer(tokenizer, pre_tokenizer)
    with atomic_directory(out) as directory:
        write_json(directory / "config.json", gguf.hf_config(model))
        write_json(directory / "tokenizer.json", tokenizer_json)
        write_json(directory / "tokenizer_config.json", tokenizer_config)
        write_arrays(directory / "model.safetensors", gguf.hf_weights(model), {"format": "pt"})
