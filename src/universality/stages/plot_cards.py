"""`universality plot-cards`: the figures of the cards of matched features, from their tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="tables of the cards, one folder a pair")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw a few cards of every pair of models, and the asymmetry of all features."""
    from universality.io import atomic_directory, table_paths, tables_by_name
    from universality.plots import cards as draw
    from universality.plots.style import save, styled

    pairs = {path.name: tables_by_name(path) for path in table_paths(tables, "*")}
    with styled(), atomic_directory(out) as directory:
        for pair, found in pairs.items():
            save(draw.cards(found, pair, n_each=2, n_top=2), directory, f"cards_{pair}")
        save(draw.asymmetry(pairs), directory, "asymmetry")
        save(draw.label_shares(pairs), directory, "labels")
