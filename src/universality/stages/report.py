"""`universality report`: the static site of a run."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    root: Annotated[Path, typer.Option(help="the project")] = Path(),
    out: Annotated[Path, typer.Option(help="directory for the site")] = Path("report"),
) -> None:
    """Write figures, findings, pages and provenance as one folder that opens without a server."""
    from universality.io import atomic_directory
    from universality.report.site import build

    with atomic_directory(out) as folder:
        build(root, folder)
