"""`universality plot-saes`: the figures about the SAEs, from tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    evaluations: Annotated[Path, typer.Option(help="evaluations, one folder a model")],
    training: Annotated[Path, typer.Option(help="training logs, one parquet file a model")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw evaluations, feature densities and training curves."""
    import pandas as pd

    from universality.errors import InputError
    from universality.io import atomic_directory, read_table
    from universality.plots import saes as draw
    from universality.plots.style import save, styled

    models = sorted(evaluations.glob("*/evaluation.parquet"))
    logs = {path.stem: read_table(path) for path in sorted(training.glob("*.parquet"))}
    if not models or not logs:
        empty = training if models else evaluations
        raise InputError(f"{empty}: no tables in it; `make repro` or `make pull` makes them")
    table = pd.concat([read_table(path) for path in models], ignore_index=True)
    features = pd.concat(
        [read_table(path.with_name("features.parquet")) for path in models], ignore_index=True
    )
    with styled(), atomic_directory(out) as directory:
        save(draw.evaluations(table), directory, "evaluation")
        save(draw.densities(features), directory, "density")
        save(draw.training_curves(logs), directory, "training")
