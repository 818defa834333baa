"""`universality plot-matching`: the figures of the matching study, from its tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="tables of the matching study, one folder a pair")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw histograms, scatters, heat maps and pairings."""
    from universality.errors import InputError
    from universality.io import atomic_directory, read_table, require
    from universality.plots import matching as draw
    from universality.plots.style import save, styled

    names = ("features", "headline", "layers", "pairings", "scatter")
    pairs = {
        pair.name: {name: read_table(pair / f"{name}.parquet") for name in names}
        for pair in sorted(require(tables).iterdir())
        if pair.is_dir()
    }
    if not pairs:
        raise InputError(f"{tables}: no pair in it; `make repro` or `make pull` makes it")
    with styled(), atomic_directory(out) as directory:
        save(draw.best_r_histograms(pairs), directory, "best_r")
        save(draw.scatters(pairs), directory, "scatter")
        save(draw.layer_heat_maps(pairs), directory, "layers")
        save(draw.pairings(pairs), directory, "pairings")
