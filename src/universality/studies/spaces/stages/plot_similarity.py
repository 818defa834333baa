"""`universality run plot-similarity`: the figures of the study of spaces, from its tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd


def command(
    tables: Annotated[Path, typer.Option(help="tables of the study")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
    file_format: Annotated[str, typer.Option("--format", help="svg, pdf or png")] = "svg",
) -> None:
    """Draw the figures about the spaces of two models.

    Draw layers, measures, decoders, concepts, the audit, stitching, a map and circles.
    """
    from universality.core.io import atomic_directory, read_table, table_paths, tables_by_name
    from universality.core.style import save, styled
    from universality.studies.spaces.figures import layers, maps
    from universality.studies.spaces.figures import similarity as draw
    from universality.studies.spaces.summary import LAN_2024

    spaces = _by_pair(tables / "spaces", "spaces")
    concepts = _by_pair(tables / "spaces", "inside"), _by_pair(tables / "spaces", "relations")
    decoders = _by_pair(tables / "decoders", "decoders")
    audit = tables_by_name(tables / "audit")
    folders = [path.parent for path in table_paths(tables / "stitching", "*/stitches.parquet")]
    stitched = {folder.name: tables_by_name(folder) for folder in folders}
    mapped = {path.name: tables_by_name(path) for path in table_paths(tables / "maps", "*")}
    with styled(file_format), atomic_directory(out) as directory:
        save(draw.layers(spaces), directory, "layers")
        save(draw.measures(spaces), directory, "measures")
        save(draw.decoders(decoders, LAN_2024), directory, "decoders")
        save(draw.concepts(*concepts), directory, "concepts")
        save(draw.audit(audit["random"], audit["variants"], LAN_2024), directory, "audit")
        save(layers.stitch_losses(stitched), directory, "stitching")
        save(maps.circles(mapped), directory, "circles")
        for key, named in mapped.items():
            if "points" in named:
                save(maps.linked_maps(named["points"]), directory, f"map_{key}")
        # Parts that the default leaves out.
        for path in (tables / "identification").glob("*/accuracy.parquet"):
            models = read_table(path.with_name("models.parquet"))
            figure = layers.identification(read_table(path), models)
            save(figure, directory, f"identification_{path.parent.name}")
        for part, table, figure_of in (
            ("clusters", "summary", maps.clusterings),
            ("shapes", "shapes", maps.shapes),
            ("words", "orders_across", maps.alike),
        ):
            having = {key: named for key, named in mapped.items() if len(named.get(table, ()))}
            if having:
                save(figure_of(having), directory, part)


def _by_pair(folder: Path, name: str) -> "dict[str, pd.DataFrame]":
    from universality.core.io import read_table, table_paths

    return {path.parent.name: read_table(path) for path in table_paths(folder, f"*/{name}.parquet")}
