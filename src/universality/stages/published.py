"""`universality published`: published numbers beside ours."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    metrics: Annotated[Path, typer.Option(help="directory of the metrics")],
    out: Annotated[Path, typer.Option(help="directory for the page")],
) -> None:
    """Write matching.md from matching.json."""
    from universality.io import atomic_directory, read_json
    from universality.published import published_page

    page = published_page(read_json(metrics / "matching.json"))
    with atomic_directory(out) as folder:
        (folder / "matching.md").write_text(page, encoding="utf-8")
