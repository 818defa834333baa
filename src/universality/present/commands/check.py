"""`universality check`: the whole parameter file, before anything runs."""

from pathlib import Path
from typing import Annotated

import typer

from universality.params import load_params


def command(
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Check a parameter file and say what is wrong with it."""
    load_params(params)
