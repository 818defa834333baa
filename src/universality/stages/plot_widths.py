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
    judged = read_table(evaluation / "evaluation.parquet")
    found = {
        name: read_table(tables / f"{name}.parquet")
        for name in ("splitting", "insertion", "stitching")
    }
    sweeps = found["splitting"][key].drop_duplicates().to_dict(orient="records")
    with styled(), atomic_directory(out) as directory:
        for sweep in sweeps:
            rows = {
                name: table[(table[key] == list(sweep.values())).all(axis=1)]
                for name, table in {**found, "judged": judged}.items()
            }
            # One sweep needs no name of its own.
            end = "" if len(sweeps) == 1 else f"_{sweep['family']}_{sweep['hook']}"
            figure = draw.sweep(rows["judged"], rows["splitting"], rows["insertion"])
            save(figure, directory, f"sweep{end}")
            save(draw.stitching(rows["stitching"]), directory, f"stitching{end}")
