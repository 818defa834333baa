"""`universality run match-agreement`: matched features by what they write, SAEs by weights."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.matching.params.agreement import Agreement
from universality.studies.matching.params.matching import Pair


def command(
    key: Annotated[str, typer.Argument(help="pair of params.yaml")],
    a: Annotated[Path, typer.Option(help="features of model A")],
    b: Annotated[Path, typer.Option(help="features of model B")],
    a_model: Annotated[Path, typer.Option(help="Hugging Face directory of model A")],
    b_model: Annotated[Path, typer.Option(help="Hugging Face directory of model B")],
    a_saes: Annotated[Path, typer.Option(help="directory of the SAEs of A")],
    b_saes: Annotated[Path, typer.Option(help="directory of the SAEs of B")],
    matches: Annotated[Path, typer.Option(help="tables of the matching study of the pair")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Compare matched features by what they write, and SAEs by their weights.

    Write pairs and summary of pair `key`; for two SAEs of one LM also their weights' tables.
    """
    pair = load_section(params, Pair, "pairs", key)
    settings = load_section(params, Agreement, "agreement")

    from universality.core.io import atomic_directory, write_table
    from universality.studies.matching.agreement.files import Directories, compare

    sides = (
        Directories(a, a_model, a_saes, pair.a_seed),
        Directories(b, b_model, b_saes, pair.b_seed),
    )
    tables = compare(key, *sides, matches, settings)
    with atomic_directory(out) as directory:
        for name, table in tables.items():
            write_table(directory / f"{name}.parquet", table)
