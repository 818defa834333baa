"""`universality run compare-spaces`: CCA and its relatives between the spaces of two models."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.matching.params.matching import ConceptLists
from universality.studies.spaces.params.similarity import ComparedPair, Similarity


def command(
    key: Annotated[str, typer.Argument(help="key of `compared_pairs`")],
    models: Annotated[Path, typer.Option(help="folder of the models")],
    saes: Annotated[Path, typer.Option(help="folder of the SAEs, one of each model")],
    features: Annotated[Path, typer.Option(help="folder of the features, one of each model")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    concepts: Annotated[Path, typer.Option(help="keywords of concepts")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Compare the spaces of two models: CCA and its relatives.

    Compare LM activations and SAE features of every two layers, and concepts in both.
    """
    pair = load_section(params, ComparedPair, "compared_pairs", key)
    settings = load_section(params, Similarity, "similarity")
    lists = load_section(concepts, ConceptLists)

    from universality.core.io import atomic_directory, write_table
    from universality.studies.matching.files import Directories
    from universality.studies.spaces.similarity.spaces import pair_tables

    places = [
        Directories(features / model, models / model, saes / model, seed)
        for model, seed in (
            (pair.a, pair.a_seed),
            (pair.b, pair.b_seed),
            (pair.control, pair.control_seed),
        )
    ]
    tables = pair_tables(key, places, corpus, max_tokens, settings, lists)
    with atomic_directory(out) as directory:
        for name, table in tables.items():
            write_table(directory / f"{name}.parquet", table)
