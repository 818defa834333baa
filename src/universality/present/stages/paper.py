"""`universality run paper`: the paper's PDF and its tables, from metrics and figures."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    root: Annotated[Path, typer.Option(help="folder of paper/, metrics/ and figures/")],
    out: Annotated[Path, typer.Option(help="the PDF")],
    tables: Annotated[Path, typer.Option(help="directory for the tables")],
) -> None:
    """Write the paper and its tables, published claims beside ours among them.

    Write the tables as JSON, LaTeX and Markdown, then compile the paper that reads them.
    """
    from universality.core.io import atomic_directory, atomic_path
    from universality.present.paper.build import compile_paper, write_tables

    with atomic_directory(tables) as folder:
        write_tables(root, folder)
    pdf = compile_paper(root)
    with atomic_path(out) as path:
        path.write_bytes(pdf)
