"""`universality plot-similarity`: the figures of the study of spaces, from its tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd


def command(
    spaces: Annotated[Path, typer.Option(help="tables of `compare-spaces`, one folder a pair")],
    decoders: Annotated[Path, typer.Option(help="tables of `compare-decoders`, a folder a pair")],
    audit: Annotated[Path, typer.Option(help="tables of `svcca-audit`")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw heat maps, all measures beside their nulls, decoders, concepts and the audit."""
    from universality.io import atomic_directory, read_table
    from universality.plots import similarity as draw
    from universality.plots.style import save, styled
    from universality.similarity_headlines import LAN_2024

    with styled(), atomic_directory(out) as directory:
        by_pair = _by_pair(spaces, "spaces")
        for pair, table in by_pair.items():
            save(draw.heat_maps(table, pair), directory, f"layers_{pair}")
        save(draw.measures(by_pair), directory, "measures")
        save(draw.decoders(_by_pair(decoders, "decoders")), directory, "decoders")
        in_concepts = [
            _by_pair(decoders, "concepts"), _by_pair(spaces, "inside"),
            _by_pair(spaces, "relations"),
        ]  # fmt: skip
        save(draw.concepts(*in_concepts), directory, "concepts")
        published = {
            f"Lan et al. 2024, {pair}, n = {int(row['published_n'])}": row["published_svcca"]
            for pair, row in LAN_2024.items()
        }
        tables = read_table(audit / "random.parquet"), read_table(audit / "variants.parquet")
        save(draw.audit(*tables, published), directory, "audit")


def _by_pair(folder: Path, name: str) -> "dict[str, pd.DataFrame]":
    from universality.io import read_table, table_paths

    return {path.parent.name: read_table(path) for path in table_paths(folder, f"*/{name}.parquet")}
