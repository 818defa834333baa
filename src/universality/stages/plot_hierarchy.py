"""`universality plot-hierarchy`: the figures about hierarchical concepts, from their tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="tables of the study")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
    file_format: Annotated[str, typer.Option("--format", help="svg, pdf or png")] = "svg",
) -> None:
    """Draw claims, ablations, heat maps, polytopes, interventions, layers, features and pairs."""
    from universality.io import atomic_directory, read_table, table_paths
    from universality.plots import hierarchy as draw
    from universality.plots.style import save, styled

    by_graph = {
        "claims": ("summary", draw.claims),
        "ablations": ("summary", draw.ablations),
        "heat_maps": ("heat", draw.heat_maps),
        "polytopes": ("points", draw.polytopes),
        "regularity": ("polytopes", draw.regularity),
        "interventions": ("interventions", draw.interventions),
    }
    with styled(file_format), atomic_directory(out) as directory:
        for summary in table_paths(tables / "vectors", "*/summary.parquet"):
            graph = summary.parent.name
            for name, (table, figure) in by_graph.items():
                path = summary.with_name(f"{table}.parquet")
                if path.exists():  # a graph may have no polytopes
                    save(figure(read_table(path), graph), directory, f"{name}_{graph}")
        for path in table_paths(tables / "layers", "*/summary.parquet"):
            model = path.parent.name
            shapes = read_table(path.with_name("polytopes.parquet"))
            save(draw.layers(read_table(path), shapes, model), directory, f"layers_{model}")
        compared = table_paths(tables / "pairs", "*/rsa.parquet")
        rsa = {path.parent.name: read_table(path) for path in compared}
        save(draw.pairs(rsa), directory, "pairs")
