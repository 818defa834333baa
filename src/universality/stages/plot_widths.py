"""`universality plot-widths`: the figures about SAEs that differ only in width."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="tables of `sae-widths`")],
    evaluation: Annotated[Path, typer.Option(help="evaluation of the same grid")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw quality, splitting and stitching of every family and hook with several widths."""
    from universality.io import atomic_directory, read_table
    from universality.plots import widths as draw
    from universality.plots.style import save, styled

    key = ["family", "sparsity", "hook"]
    found = {
        name: dict(list(read_table(path).groupby(key)))
        for name, path in {
            **{
                name: tables / f"{name}.parquet" for name in ("splitting", "insertion", "stitching")
            },
            "judged": evaluation / "evaluation.parquet",
        }.items()
    }
    with styled(), atomic_directory(out) as directory:
        for sweep, splitting in found["splitting"].items():
            # One sweep needs no name of its own.
            family, _, hook = sweep  # pyright: ignore[reportGeneralTypeIssues]
            end = "" if len(found["splitting"]) == 1 else f"_{family}_{hook}"
            figure = draw.sweep(found["judged"][sweep], splitting, found["insertion"][sweep])
            save(figure, directory, f"sweep{end}")
            save(draw.stitching(found["stitching"][sweep]), directory, f"stitching{end}")
