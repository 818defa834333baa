"""`universality plot-saes`: the figures about the SAEs, from tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    evaluations: Annotated[Path, typer.Option(help="evaluations, one folder a model")],
    training: Annotated[Path, typer.Option(help="training logs, one parquet file a model")],
    grids: Annotated[Path, typer.Option(help="evaluations of the grids, one folder a grid")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw evaluations, feature densities, training curves, and the grids."""
    import pandas as pd

    from universality.io import (
        atomic_directory,
        read_table,
        read_tables,
        table_paths,
        tables_by_name,
    )
    from universality.plots import grids as draw_grids
    from universality.plots import saes as draw
    from universality.plots.style import save, styled

    table = read_tables(evaluations, "*/evaluation.parquet")
    features = read_tables(evaluations, "*/features.parquet")
    logs = tables_by_name(training)
    judged, matched = (
        pd.concat(
            [
                read_table(path).assign(grid=path.parent.name)
                for path in table_paths(grids, f"*/{name}.parquet")
            ],
            ignore_index=True,
        )
        for name in ("evaluation", "matched")
    )
    with styled(), atomic_directory(out) as directory:
        save(draw.evaluations(table), directory, "evaluation")
        save(draw.densities(features), directory, "density")
        save(draw.training_curves(logs), directory, "training")
        several = draw_grids.with_several(judged, "family", 3)
        if len(several):
            save(draw_grids.frontiers(several, matched), directory, "frontiers")
        several = draw_grids.with_several(judged, "hook", 2)
        if len(several):
            save(draw_grids.sites(several), directory, "sites")
