"""`universality run compare-decoders`: CCA and relatives on decoder rows of matched features."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.spaces.params.similarity import ComparedPair, Similarity


def command(
    key: Annotated[str, typer.Argument(help="key of `compared_pairs`")],
    matching: Annotated[Path, typer.Option(help="tables of the matching study, one folder a pair")],
    saes: Annotated[Path, typer.Option(help="folder of the SAEs, one of each model")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Compare the decoders of two models on matched features.

    Compare the decoders of every two layers on their partners, and on those of concepts.
    """
    pair = load_section(params, ComparedPair, "compared_pairs", key)
    settings = load_section(params, Similarity, "similarity")

    from universality.core.io import atomic_directory, write_table
    from universality.studies.spaces.similarity.decoders import decoder_tables

    tables = decoder_tables(
        key, matching / key, (saes / pair.a, saes / pair.b), (pair.a_seed, pair.b_seed), settings
    )
    with atomic_directory(out) as directory:
        for name, table in tables.items():
            write_table(directory / f"{name}.parquet", table)
