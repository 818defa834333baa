"""`universality run fingerprints`: one hash per command over the code that it reaches."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    root: Annotated[Path, typer.Option(help="the project: its src/ is read")] = Path("."),
) -> None:
    """Write what of the code each stage depends on.

    Write `fingerprints.json`, which stages declare as parameters, if it is not right.
    """
    from universality.core.fingerprints import write

    write(root)
