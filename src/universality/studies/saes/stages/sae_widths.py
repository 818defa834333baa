"""`universality run sae-widths`: what becomes of features when an SAE gets wider."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.anatomy import Widths
from universality.studies.saes.params.saes import SaeGrid


def command(
    key: Annotated[str, typer.Argument(help="key of `sae_grids`, with families of several widths")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="directory of the grid's SAEs")],
    activations: Annotated[Path, typer.Option(help="directory of the activation cache")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Compare and stitch SAEs that differ only in width.

    Write splitting, its means over seeds, insertion and, if asked for, stitching of widths.
    """
    section = load_section(params, Widths, "sae_widths")
    grid = load_section(params, SaeGrid, "sae_grids", key)

    import pandas as pd

    from universality.core.activations import open_activations
    from universality.core.corpora import load_tokens
    from universality.core.errors import InputError
    from universality.core.io import atomic_directory, write_table
    from universality.core.models import load_bridge
    from universality.studies.saes.grid import member_table
    from universality.studies.saes.study.width_study import (
        stitching_outcomes,
        sweep_tables,
        sweeps,
    )

    wanted = sweeps(member_table(grid))
    if not wanted:
        raise InputError(f"sae_grids.{key}: no family has several widths (expansion)")
    outcomes = {}
    if section.stitched_seeds:
        tokens = load_tokens(corpus, "validation", model, max_tokens, section.n_documents)
        hooks = list(dict.fromkeys(where["hook"] for where, _ in wanted))
        outcomes = stitching_outcomes(load_bridge(model), tokens, hooks, section)
    tables: dict[str, list] = {}
    for where, rows in wanted:
        sample = open_activations(activations, where["hook"])[: section.n_positions]
        found = sweep_tables(rows, saes, sample, outcomes.get(where["hook"]), section)
        for name, table in found.items():
            tables.setdefault(name, []).append(table.assign(grid=key, **where))
    with atomic_directory(out) as folder:
        for name, parts in tables.items():
            write_table(folder / f"{name}.parquet", pd.concat(parts, ignore_index=True))
