"""`universality plot-steering`: the figures of the study of steering, from its tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from universality.params.base import load_section
from universality.params.steering import Steering

if TYPE_CHECKING:
    import pandas as pd


def command(
    tables: Annotated[Path, typer.Option(help="tables of the study")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
    file_format: Annotated[str, typer.Option("--format", help="svg, pdf or png")] = "svg",
) -> None:
    """Draw effects, prices, the spread downstream, transfer, and what vectors are made of."""
    shared = load_section(params, Steering, "steering")

    from universality.io import atomic_directory, read_table, table_paths, tables_by_name
    from universality.plots import decomposition
    from universality.plots import steering as draw
    from universality.plots.steered_maps import steered_maps
    from universality.plots.style import save, styled

    with styled(file_format), atomic_directory(out) as directory:
        for model, table in _by_folder(tables / "effects", "summary").items():
            save(draw.doses(table, model, shared.method), directory, f"doses_{model}")
            save(draw.prices(table, model, shared.method), directory, f"prices_{model}")
        for model, table in _by_folder(tables / "downstream", "spread").items():
            save(draw.spread(table, model), directory, f"downstream_{model}")
        if (tables / "maps").exists():
            for path in table_paths(tables / "maps", "*/places.parquet"):
                figure = steered_maps(tables_by_name(path.parent), path.parent.name)
                save(figure, directory, f"maps_{path.parent.name}")
        save(draw.transfer(_by_folder(tables / "transfer", "summary")), directory, "transfer")
        for path in table_paths(tables / "decomposition", "*/summary.parquet"):
            model, found = path.parent.name, tables_by_name(path.parent)
            save(decomposition.fidelity(found["summary"]), directory, f"fidelity_{model}")
            misread = decomposition.misreading(found["zero"], found["lost"], found["activations"])
            save(misread, directory, f"misreading_{model}")
        for path in table_paths(tables / "parts", "*/pareto.parquet"):
            n = len(set(read_table(path.with_name("parts.parquet"))["prompt"]))
            figure = decomposition.pareto(read_table(path), n)
            save(figure, directory, f"parts_{path.parent.name}")


def _by_folder(folder: Path, name: str) -> "dict[str, pd.DataFrame]":
    from universality.io import read_table, table_paths

    return {path.parent.name: read_table(path) for path in table_paths(folder, f"*/{name}.parquet")}
