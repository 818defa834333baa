"""`universality plot-saes`: the figures of the study of SAEs, from its tables."""

from pathlib import Path
from typing import Annotated

import typer

from universality.params.anatomy import Anatomy
from universality.params.base import load_section


def command(
    tables: Annotated[Path, typer.Option(help="tables of the study")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
    file_format: Annotated[str, typer.Option("--format", help="svg, pdf or png")] = "svg",
) -> None:
    """Draw quality, grids, what features are, errors, widths and toy models."""
    section = load_section(params, Anatomy, "anatomy")

    import pandas as pd

    from universality.io import (
        atomic_directory,
        read_table,
        read_tables,
        table_paths,
        tables_by_name,
    )
    from universality.plots import anatomy, grids, remedies, removal, saes, token_error, toy, widths
    from universality.plots.style import save, styled

    evaluated = read_tables(tables / "evaluation", "*/evaluation.parquet")
    judged, matched = (
        pd.concat(
            [
                read_table(path).assign(grid=path.parent.name)
                for path in table_paths(tables / "grids", f"*/{name}.parquet")
            ],
            ignore_index=True,
        )
        for name in ("evaluation", "matched")
    )
    errors = {path.name: tables_by_name(path) for path in table_paths(tables / "errors", "*")}
    toys = tables_by_name(tables / "toy")
    with styled(file_format), atomic_directory(out) as directory:
        save(saes.evaluations(evaluated), directory, "evaluation")
        several = grids.with_several(judged, "family", 3)
        if len(several):
            save(grids.frontiers(several, matched), directory, "frontiers")
        several = grids.with_several(judged, "hook", 2)
        if len(several):
            save(grids.sites(several), directory, "sites")
        for path in table_paths(tables / "anatomy", "*/features.parquet"):
            summary = read_table(path.with_name("summary.parquet"))
            figure = anatomy.clusters(read_table(path), summary)
            save(figure, directory, f"clusters_{path.parent.name}")
        neurons = read_tables(tables / "anatomy", "*/neurons.parquet")
        if len(neurons):
            save(anatomy.neurons(neurons, section.few), directory, "neurons")
        save(token_error.error_tokens(errors), directory, "error_tokens")
        save(removal.removals(errors, "ce_difference"), directory, "removal")
        sweeps = tables_by_name(tables / "widths")
        in_grid = read_table(tables / "grids" / "widths" / "evaluation.parquet")
        for name, figure in widths.sweeps(in_grid, sweeps["splitting"], sweeps["insertion"]):
            save(figure, directory, name)
        recovery = toy.against_l0(toys["summary"], toy.RECOVERY, "What SAEs recover")
        save(recovery, directory, "toy_recovery")
        save(toy.agreements(toys["agreement"]), directory, "toy_agreement")
        for path in (tables / "remedies").glob("*/residual.parquet"):
            cosines = read_table(path.with_name("orthogonality.parquet"))
            of_model = judged[judged["model"] == path.parent.name]
            figure = remedies.remedies(read_table(path), cosines, of_model)
            save(figure, directory, f"remedies_{path.parent.name}")
