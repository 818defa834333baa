"""`universality run plot-models`: the figures about the language models, from tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="tables of the models")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
    file_format: Annotated[str, typer.Option("--format", help="svg, pdf or png")] = "svg",
) -> None:
    """Draw the figures about the language models."""
    from universality.core.io import atomic_directory, read_tables
    from universality.core.style import save, styled
    from universality.studies.models.figures.models import cross_entropies

    with styled(file_format), atomic_directory(out) as directory:
        rows = read_tables(tables / "evaluation", "*.parquet")
        save(cross_entropies(rows), directory, "cross_entropy")
