"""`universality match`: the features of two models, or of two SAE seeds of one."""

from pathlib import Path
from typing import Annotated

import typer

from universality.params.base import load_section
from universality.params.matching import Matching, Pair


def command(
    key: Annotated[str, typer.Argument(help="pair of params.yaml")],
    a: Annotated[Path, typer.Option(help="features of model A")],
    b: Annotated[Path, typer.Option(help="features of model B")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Write the matching tables of pair `key`."""
    pair = load_section(params, Pair, "pairs", key)
    settings = load_section(params, Matching, "matching")

    from universality.io import atomic_directory, write_table
    from universality.matching.files import match_directories

    tables = match_directories(key, a, b, pair, settings)
    with atomic_directory(out) as directory:
        for name, table in tables.items():
            write_table(directory / f"{name}.parquet", table)
