"""`universality run fetch`: one pinned external file."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    artifact: Annotated[str, typer.Argument(help="its key in the sources file")],
    out: Annotated[Path, typer.Option(help="file to write")],
    sources: Annotated[Path, typer.Option(help="the sources file")] = Path("data/sources.yaml"),
) -> None:
    """Get one pinned artifact of data/sources.yaml and verify its hash."""
    from universality.core.params.base import load_section
    from universality.sources.catalogue import Artifact
    from universality.sources.fetch import fetch

    fetch(artifact, load_section(sources, Artifact, artifact), out)
