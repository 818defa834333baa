"""`universality plot-similarity`: the figures of the study of spaces, from its tables."""

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
    """Draw layer maps, measures, decoders, concepts, the audit, stitching, maps and circles."""
    from universality.io import atomic_directory, read_table, table_paths, tables_by_name
    from universality.plots import layers, maps
    from universality.plots import similarity as draw
    from universality.plots.style import save, styled
    from universality.summaries.similarity import LAN_2024

    spaces = _by_pair(tables / "spaces", "spaces")
    concepts = [
        _by_pair(tables / "decoders", "concepts"), _by_pair(tables / "spaces", "inside"),
        _by_pair(tables / "spaces", "relations"),
    ]  # fmt: skip
    published = {
        f"Lan et al. 2024, {pair}, n = {int(row['published_n'])}": row["published_svcca"]
        for pair, row in LAN_2024.items()
    }
    audit = tables_by_name(tables / "audit")
    folders = [path.parent for path in table_paths(tables / "stitching", "*/stitches.parquet")]
    stitched = {folder.name: tables_by_name(folder) for folder in folders}
    mapped = {path.name: tables_by_name(path) for path in table_paths(tables / "maps", "*")}
    with styled(file_format), atomic_directory(out) as directory:
        for pair, table in spaces.items():
            save(draw.heat_maps(table, pair), directory, f"layers_{pair}")
        save(draw.measures(spaces), directory, "measures")
        save(draw.decoders(_by_pair(tables / "decoders", "decoders")), directory, "decoders")
        save(draw.concepts(*concepts), directory, "concepts")
        save(draw.audit(audit["random"], audit["variants"], published), directory, "audit")
        for path in (tables / "identification").glob("*/accuracy.parquet"):
            models = read_table(path.with_name("models.parquet"))
            figure = layers.identification(read_table(path), models)
            save(figure, directory, f"identification_{path.parent.name}")
        save(layers.stitch_losses(stitched), directory, "stitching")
        for key, named in mapped.items():
            save(maps.linked_maps(key, named), directory, f"map_{key}")
        save(maps.circles(mapped), directory, "circles")
        save(maps.umap_cca(mapped), directory, "umap_cca")


def _by_pair(folder: Path, name: str) -> "dict[str, pd.DataFrame]":
    from universality.io import read_table, table_paths

    return {path.parent.name: read_table(path) for path in table_paths(folder, f"*/{name}.parquet")}
