"""`universality run match`: the features of two models, or of two SAE seeds of one."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.matching.params.matching import ConceptLists, Matching, Pair


def command(
    key: Annotated[str, typer.Argument(help="pair of params.yaml")],
    a: Annotated[Path, typer.Option(help="features of model A")],
    b: Annotated[Path, typer.Option(help="features of model B")],
    concepts: Annotated[Path, typer.Option(help="keywords of concepts")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Match the features of two models."""
    pair = load_section(params, Pair, "pairs", key)
    settings = load_section(params, Matching, "matching")
    lists = load_section(concepts, ConceptLists)

    from universality.core.io import atomic_directory, write_table
    from universality.studies.matching.files import read_pair
    from universality.studies.matching.pair_study import match_pair

    tables = match_pair(key, read_pair(a, b, pair.a_seed, pair.b_seed), settings, lists)
    with atomic_directory(out) as directory:
        for name, table in tables.items():
            # A row a feature and pair of layers: in single precision half of what is published.
            single = {column: "float32" for column in ("r", "null_r") if column in table}
            per_feature = name in ("features", "backward")
            write_table(
                directory / f"{name}.parquet", table.astype(single) if per_feature else table
            )
