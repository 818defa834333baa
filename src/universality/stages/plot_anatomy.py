"""`universality plot-anatomy`: the figures about what single features are."""

from pathlib import Path
from typing import Annotated

import typer

from universality.params.anatomy import Anatomy
from universality.params.base import load_section


def command(
    tables: Annotated[Path, typer.Option(help="tables of `sae-anatomy`, one folder a model")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Draw clusters of densities, encoder directions, neurons and kurtosis."""
    section = load_section(params, Anatomy, "anatomy")

    from universality.io import atomic_directory, read_table, read_tables, table_paths
    from universality.plots import anatomy as draw
    from universality.plots.style import save, styled

    directions, neurons, kurtosis = (
        read_tables(tables, f"*/{name}.parquet") for name in ("directions", "neurons", "kurtosis")
    )
    with styled(), atomic_directory(out) as directory:
        for path in table_paths(tables, "*/features.parquet"):
            summary = read_table(path.with_name("summary.parquet"))
            figure = draw.clusters(read_table(path), summary)
            save(figure, directory, f"clusters_{path.parent.name}")
        if len(directions):
            save(draw.directions(directions), directory, "directions")
        if len(neurons):
            save(draw.neurons(neurons, section.few), directory, "neurons")
        save(draw.kurtosis(kurtosis), directory, "kurtosis")
