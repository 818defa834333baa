"""`universality plot-matching`: the figures of the matching study, from its tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd


def command(
    tables: Annotated[Path, typer.Option(help="tables of the matching study, one folder a pair")],
    neurons: Annotated[Path, typer.Option(help="tables of the neurons, one folder a pair")],
    texts: Annotated[Path, typer.Option(help="tables of other texts, one a pair")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw histograms, scatters, heat maps, pairings, filters, concepts and other texts."""
    from universality.io import atomic_directory, read_table, table_paths
    from universality.plots import concepts
    from universality.plots import matching as draw
    from universality.plots.style import save, styled

    pairs = _by_pair(tables)
    others = {path.stem: read_table(path) for path in table_paths(texts, "*.parquet")}
    with styled(), atomic_directory(out) as directory:
        save(draw.best_r_histograms(pairs, _by_pair(neurons)), directory, "best_r")
        save(draw.scatters(pairs), directory, "scatter")
        save(draw.layer_heat_maps(pairs), directory, "layers")
        save(draw.pairings(pairs), directory, "pairings")
        save(draw.filters(pairs), directory, "filters")
        save(concepts.concepts(pairs), directory, "concepts")
        save(concepts.subsets(pairs), directory, "subsets")
        save(concepts.other_texts(others), directory, "other_texts")


def _by_pair(folder: Path) -> "dict[str, dict[str, pd.DataFrame]]":
    from universality.io import table_paths, tables_by_name

    return {path.name: tables_by_name(path) for path in table_paths(folder, "*")}
