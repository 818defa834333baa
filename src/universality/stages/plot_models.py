"""`universality plot-models`: the figures about the language models, from tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="tables of the models")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
    file_format: Annotated[str, typer.Option("--format", help="svg, pdf or png")] = "svg",
) -> None:
    """Draw cross-entropies."""
    from universality.io import atomic_directory, read_tables
    from universality.plots.models import cross_entropies
    from universality.plots.style import save, styled

    with styled(file_format), atomic_directory(out) as directory:
        rows = read_tables(tables / "evaluation", "*.parquet")
        save(cross_entropies(rows), directory, "cross_entropy")
