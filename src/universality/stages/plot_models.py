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
    import pandas as pd

    from universality.errors import InputError
    from universality.io import atomic_directory, read_table
    from universality.plots.models import cross_entropies, training_curves
    from universality.plots.style import save, styled

    logs = {path.stem: read_table(path) for path in sorted(training.glob("*.parquet"))}
    rows = [read_table(path) for path in sorted(evaluations.glob("*.parquet"))]
    if not logs or not rows:
        empty = evaluations if logs else training
        raise InputError(f"{empty}: no parquet file; `make repro` or `make pull` makes it")
    with styled(), atomic_directory(out) as directory:
        save(training_curves(logs), directory, "training")
        save(cross_entropies(pd.concat(rows, ignore_index=True)), directory, "cross_entropy")
