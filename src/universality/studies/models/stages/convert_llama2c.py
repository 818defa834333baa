"""`universality run convert-llama2c`: a llama2.c checkpoint as a Hugging Face directory."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    weights: Annotated[Path, typer.Option(help="checkpoint in llama2.c's format")],
    tokenizer: Annotated[Path, typer.Option(help="tokenizer.json, or llama2.c's tokenizer.bin")],
    out: Annotated[Path, typer.Option(help="directory to write")],
) -> None:
    """Convert a llama2.c checkpoint to a Hugging Face directory."""
    from universality.core.io import atomic_directory, require, write_arrays, write_json
    from universality.sources.llama2c import hf_config, hf_weights, read_checkpoint
    from universality.sources.llama_tokenizer import TOKENIZER_CONFIG, read_tokenizer

    config, arrays = read_checkpoint(require(weights))
    tokenizer_json = read_tokenizer(require(tokenizer), config.vocab_size)
    with atomic_directory(out) as directory:
        write_json(directory / "config.json", hf_config(config))
        write_json(directory / "tokenizer.json", tokenizer_json)
        write_json(directory / "tokenizer_config.json", TOKENIZER_CONFIG)
        arrays = hf_weights(config, arrays)
        write_arrays(directory / "model.safetensors", arrays, {"format": "pt"})
