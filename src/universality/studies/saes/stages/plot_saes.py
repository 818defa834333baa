"""`universality run plot-saes`: the figures of the study of SAEs, from its tables."""

from itertools import chain
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

    from universality.core.io import atomic_directory, read_tables, table_paths, tables_by_name
    from universality.core.style import save, styled
    from universality.studies.saes.figures import all_parts as draw

    evaluated = read_tables(tables / "evaluation", "*/evaluation.parquet")
    grids = draw.grid_tables(tables / "grids")
    errors = {path.name: tables_by_name(path) for path in table_paths(tables / "errors", "*")}
    toys, sweeps = tables_by_name(tables / "toy"), tables_by_name(tables / "widths")
    with styled(file_format), atomic_directory(out) as directory:
        figures = chain(
            draw.of_quality(evaluated, grids),
            draw.of_features(tables / "anatomy", section.few),
            draw.of_errors(errors, evaluated, grids),
            draw.of_widths(sweeps, tables / "grids" / "widths"),
            draw.of_toys(toys),
            draw.of_remedies(tables / "remedies", grids),
        )
        for name, figure in figures:
            save(figure, directory, name)
