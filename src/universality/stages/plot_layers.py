"""`universality plot-layers`: the figures of whole layers."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    identification: Annotated[Path, typer.Option(help="tables of identify-layers")],
    stitching: Annotated[Path, typer.Option(help="tables of stitch-models, one folder a pair")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw which layers are found again in other seeds, and what stitching costs."""
    from universality.io import atomic_directory, table_paths, tables_by_name
    from universality.plots import layers as draw
    from universality.plots.style import save, styled

    found = tables_by_name(identification)
    folders = [path.parent for path in table_paths(stitching, "*/stitches.parquet")]
    pairs = {folder.name: tables_by_name(folder) for folder in folders}
    with styled(), atomic_directory(out) as directory:
        figure = draw.identification(found["accuracy"], found["models"])
        save(figure, directory, "identification")
        save(draw.choices(found["choices"]), directory, "choices")
        save(draw.stitch_maps(pairs), directory, "stitching")
        save(draw.stitch_losses(pairs), directory, "stitching_losses")
