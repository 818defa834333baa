"""`universality plot-cards`: the figures of the cards of matched features, from their tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="tables of the cards, one folder a pair")],
    shown: Annotated[str, typer.Option(help="pair of models whose cards are drawn")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw a few cards of one pair of models, and the asymmetry of all."""
    from universality.errors import InputError
    from universality.io import atomic_directory, require, tables_by_name
    from universality.plots import cards as draw
    from universality.plots.style import save, styled

    pairs = {
        pair.name: tables_by_name(pair) for pair in sorted(require(tables).iterdir())
        if pair.is_dir()
    }  # fmt: skip
    if shown not in pairs:
        there = ", ".join(pairs) or "nothing"
        raise InputError(f"{tables}: no pair {shown!r}, whose cards are drawn; there is: {there}")
    with styled(), atomic_directory(out) as directory:
        save(draw.cards(pairs[shown], shown, n_each=2, n_top=2), directory, "cards")
        save(draw.asymmetry(pairs), directory, "asymmetry")
        save(draw.label_shares(pairs), directory, "labels")
