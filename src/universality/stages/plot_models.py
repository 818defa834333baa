"""`universality plot-models`: the figures about the language models, from tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    training: Annotated[Path, typer.Option(help="training logs, one parquet file a model")],
    evaluations: Annotated[Path, typer.Option(help="evaluations, parquet files")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw training curves and cross-entropies."""
    from universality.io import atomic_directory, read_tables, tables_by_name
    from universality.plots.models import cross_entropies, training_curves
    from universality.plots.style import save, styled

    logs, rows = tables_by_name(training), read_tables(evaluations, "*.parquet")
    with styled(), atomic_directory(out) as directory:
        save(training_curves(logs), directory, "training")
        save(cross_entropies(rows), directory, "cross_entropy")
