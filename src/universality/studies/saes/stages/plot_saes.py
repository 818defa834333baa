"""`universality plot-saes`: the figures of the study of SAEs, from its tables."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.anatomy import Anatomy


def command(
    tables: Annotated[Path, typer.Option(help="tables of the study")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
    file_format: Annotated[str, typer.Option("--format", help="svg, pdf or png")] = "svg",
) -> None:
    """Draw the figures about the SAEs.

    Draw quality, grids, what features are, errors, widths and toy models.

    Figures of parts that the profile leaves out are not drawn.
    """
    section = load_section(params, Anatomy, "anatomy")

    import pandas as pd

    from universality.core.io import (
        atomic_directory,
        read_table,
        read_tables,
        table_paths,
        tables_by_name,
    )
    from universality.core.style import save, styled
    from universality.studies.saes.figures import (
        anatomy,
        grids,
        remedies,
        removal,
        saes,
        token_error,
        toy,
        widths,
    )

    evaluated = read_tables(tables / "evaluation", "*/evaluation.parquet")
    judged, matched, alone = (
        pd.concat(
            [
                read_table(path).assign(grid=path.parent.name)
                for path in table_paths(tables / "grids", f"*/{name}.parquet")
            ],
            ignore_index=True,
        )
        for name in ("evaluation", "matched", "against")
    )
    errors = {path.name: tables_by_name(path) for path in table_paths(tables / "errors", "*")}
    anatomies = tables / "anatomy"
    toys, sweeps = tables_by_name(tables / "toy"), tables_by_name(tables / "widths")
    with styled(file_format), atomic_directory(out) as directory:
        save(saes.evaluations(evaluated), directory, "evaluation")
        several = grids.with_several(judged, "family", 3)
        if len(several):
            save(grids.frontiers(several, matched, alone), directory, "frontiers")
        several = grids.with_several(judged, "site", 2)
        if len(several):
            save(grids.sites(several), directory, "sites")
        features = read_tables(anatomies, "*/features.parquet")
        save(anatomy.clusters(features), directory, "clusters")
        neurons = read_tables(anatomies, "*/neurons.parquet")
        if len(neurons):
            save(anatomy.neurons(neurons, section.few), directory, "neurons")
        save(token_error.error_tokens(errors), directory, "error_tokens")
        save(removal.removals(errors), directory, "removal")
        if all("map" in named for named in errors.values()):
            save(token_error.error_maps(errors), directory, "error_maps")
        if all("scales" in named for named in errors.values()):
            save(removal.norms_and_scales(errors), directory, "norms_and_scales")
            trained = pd.concat([evaluated, judged.query("family != 'pca'")])
            save(removal.high_frequency(errors, trained), directory, "high_frequency")
        in_grid = read_table(tables / "grids" / "widths" / "evaluation.parquet")
        in_grid = in_grid.query("family != 'pca'")
        for name, figure in widths.sweeps(in_grid, sweeps["splitting"], sweeps["insertion"]):
            save(figure, directory, name)
        if "stitching" in sweeps:
            save(widths.stitching(sweeps["stitching"]), directory, "stitching")
        save(toy.recovery(toys["summary"]), directory, "toy_recovery")
        save(toy.agreements(toys["agreement"]), directory, "toy_agreement")
        for path in (tables / "remedies").glob("*/residual.parquet"):
            cosines = read_table(path.with_name("orthogonality.parquet"))
            of_model = judged[judged["model"] == path.parent.name]
            figure = remedies.remedies(read_table(path), cosines, of_model)
            save(figure, directory, f"remedies_{path.parent.name}")
