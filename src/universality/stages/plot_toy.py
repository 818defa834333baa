"""`universality plot-toy`: the figures of the toy models, from their tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="directory of the toy models' tables")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw recovery, failures, the effect of width, what became of pairs, and seed agreement."""
    from universality.io import atomic_directory, read_table
    from universality.plots import toy as draw
    from universality.plots.style import save, styled

    summary, pairs = (read_table(tables / f"{name}.parquet") for name in ("summary", "agreement"))
    width = {"recovered": draw.RECOVERY["recovered"]} | draw.FAILURES
    with styled(), atomic_directory(out) as directory:
        save(draw.against_l0(summary, draw.RECOVERY, "What SAEs recover"), directory, "recovery")
        failures = draw.against_l0(summary, draw.FAILURES, "Composition and absorption")
        save(failures, directory, "failures")
        save(draw.against_width(summary, width, "The effect of width"), directory, "width")
        save(draw.pair_outcomes(summary), directory, "pairs")
        save(draw.agreements(pairs), directory, "agreement")
