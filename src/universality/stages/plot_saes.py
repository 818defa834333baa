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

    from universality.errors import InputError
    from universality.io import atomic_directory, read_table
    from universality.plots import grids as draw_grids
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
    judged, matched = (
        pd.concat(
            [
                read_table(path).assign(grid=path.parent.name)
                for path in sorted(grids.glob(f"*/{name}.parquet"))
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
