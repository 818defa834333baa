"""`universality plot-errors`: the figures about where SAEs fail, and about remedies."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="tables of `sae-errors`, one folder a model")],
    evaluations: Annotated[Path, typer.Option(help="evaluations of SAEs, one folder a model")],
    grids: Annotated[Path, typer.Option(help="evaluations of the grids, one folder a grid")],
    grid: Annotated[str, typer.Option(help="the grid that the remedies were tried on")],
    remedies: Annotated[Path, typer.Option(help="tables of `sae-remedies`")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw errors by token, removals of features, scales, and the remedies."""
    import pandas as pd

    from universality.io import (
        atomic_directory,
        read_table,
        read_tables,
        table_paths,
        tables_by_name,
    )
    from universality.plots import remedies as draw_remedies
    from universality.plots import removal, token_error
    from universality.plots.style import save, styled

    found = {path.name: tables_by_name(path) for path in table_paths(tables, "*")}
    trained = [read_tables(folder, "*/evaluation.parquet") for folder in (evaluations, grids)]
    evaluated = pd.concat(trained, ignore_index=True)
    # Those of the studied kind: the models' own SAEs, which have no family, and TopK of the grids.
    evaluated = evaluated.query("family.isna() or architecture == 'topk'")
    with styled(), atomic_directory(out) as directory:
        save(token_error.error_tokens(found), directory, "tokens")
        save(token_error.error_maps(found), directory, "maps")
        for column in ("ce_difference", "mse"):
            save(removal.removals(found, column), directory, f"removal_{column}")
        save(removal.high_frequency(found, evaluated), directory, "high_frequency")
        save(removal.norms_and_scales(found), directory, "norms_and_scales")
        rivals, cosines = (
            read_table(remedies / f"{name}.parquet") for name in ("residual", "orthogonality")
        )
        same_grid = read_table(grids / grid / "evaluation.parquet")
        save(draw_remedies.remedies(rivals, cosines, same_grid), directory, "remedies")
