"""`universality plot-agreement`: the figures of agreement beyond activation correlation."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="tables of match-agreement, one folder a pair")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw agreement, disagreement and, where two SAEs are of one LM, pairings by weights."""
    from universality.errors import InputError
    from universality.io import atomic_directory, require, tables_by_name
    from universality.plots import agreement as draw
    from universality.plots.style import save, styled

    pairs = {
        pair.name: tables_by_name(pair)
        for pair in sorted(require(tables).iterdir())
        if pair.is_dir()
    }
    if not pairs:
        raise InputError(f"{tables}: no pair in it; `make repro` or `make pull` makes it")
    with styled(), atomic_directory(out) as directory:
        save(draw.agreements(pairs), directory, "agreement")
        save(draw.disagreements(pairs), directory, "disagreement")
        if any("weights" in named for named in pairs.values()):
            save(draw.weight_pairings(pairs), directory, "weights")
