"""`universality plot-steering`: the figures about steering vectors, from their tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from universality.params.base import load_section
from universality.params.steering import Steering

if TYPE_CHECKING:
    import pandas as pd


def command(
    effects: Annotated[Path, typer.Option(help="tables of `steer-effects`, one folder a model")],
    downstream: Annotated[Path, typer.Option(help="of `steer-downstream`, one folder a model")],
    maps: Annotated[Path, typer.Option(help="of `steer-maps`, one folder a model")],
    transfer: Annotated[Path, typer.Option(help="of `steer-transfer`, one folder a pair")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Draw dose and response, side effects, the spread downstream, maps, and transfer."""
    shared = load_section(params, Steering, "steering")

    from universality.io import atomic_directory, table_paths, tables_by_name
    from universality.plots import steering as draw
    from universality.plots.steered_maps import steered_maps
    from universality.plots.style import save, styled

    with styled(), atomic_directory(out) as directory:
        for model, table in _by_folder(effects, "summary").items():
            save(draw.doses(table, model, shared.method), directory, f"doses_{model}")
            save(draw.prices(table, model, shared.method), directory, f"prices_{model}")
        for model, table in _by_folder(downstream, "spread").items():
            save(draw.spread(table, model), directory, f"downstream_{model}")
        for folder in (path.parent for path in table_paths(maps, "*/places.parquet")):
            figure = steered_maps(tables_by_name(folder), folder.name)
            save(figure, directory, f"maps_{folder.name}")
        save(draw.transfer(_by_folder(transfer, "summary")), directory, "transfer")
        matched = {
            pair: table for pair, table in _by_folder(transfer, "matched").items() if len(table)
        }
        if matched:
            save(draw.matched(matched), directory, "matched_changes")


def _by_folder(folder: Path, name: str) -> "dict[str, pd.DataFrame]":
    from universality.io import read_table, table_paths

    return {path.parent.name: read_table(path) for path in table_paths(folder, f"*/{name}.parquet")}
