"""`universality run plot-steering`: the figures of the study of steering, from its tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.steering.params.steering import Steering

if TYPE_CHECKING:
    import pandas as pd


def command(
    tables: Annotated[Path, typer.Option(help="tables of the study")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
    file_format: Annotated[str, typer.Option("--format", help="svg, pdf or png")] = "svg",
) -> None:
    """Draw the figures about steering vectors.

    Draw effects, prices, the spread downstream, transfer, and what vectors are made of.
    """
    shared = load_section(params, Steering, "steering")

    from universality.core.io import atomic_directory, read_table, tables_by_name
    from universality.core.style import save, styled
    from universality.studies.steering.figures import decomposition
    from universality.studies.steering.figures import steering as draw
    from universality.studies.steering.figures.steered_maps import steered_maps

    with styled(file_format), atomic_directory(out) as directory:
        depths = _by_folder(tables / "effects", "depth")
        for model, table in _by_folder(tables / "effects", "summary").items():
            figure = draw.doses(table, depths[model], model, shared.method)
            save(figure, directory, f"doses_{model}")
            save(draw.prices(table, model, shared.method), directory, f"prices_{model}")
        for model, table in _by_folder(tables / "downstream", "spread").items():
            save(draw.spread(table, model), directory, f"downstream_{model}")
        for path in _paths(tables / "maps", "places"):
            figure = steered_maps(tables_by_name(path.parent), path.parent.name)
            save(figure, directory, f"maps_{path.parent.name}")
        if transferred := _by_folder(tables / "transfer", "summary"):
            save(draw.transfer(transferred), directory, "transfer")
        for path in _paths(tables / "decomposition", "summary"):
            model, found = path.parent.name, tables_by_name(path.parent)
            save(decomposition.fidelity(found["summary"], model), directory, f"fidelity_{model}")
            misread = decomposition.misreading(
                found["zero"], found["lost"], found["activations"], model
            )
            save(misread, directory, f"misreading_{model}")
        for path in _paths(tables / "parts", "pareto"):
            figure = decomposition.pareto(read_table(path), path.parent.name)
            save(figure, directory, f"parts_{path.parent.name}")


def _paths(folder: Path, name: str) -> list[Path]:
    """Return the tables `name` of a part of the study; none where the profile leaves it out."""
    from universality.core.io import table_paths

    return list(table_paths(folder, f"*/{name}.parquet")) if folder.exists() else []


def _by_folder(folder: Path, name: str) -> "dict[str, pd.DataFrame]":
    from universality.core.io import read_table

    return {path.parent.name: read_table(path) for path in _paths(folder, name)}
