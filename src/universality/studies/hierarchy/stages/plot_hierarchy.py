"""`universality run plot-hierarchy`: the figures about hierarchical concepts, from their tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="tables of the study")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
    file_format: Annotated[str, typer.Option("--format", help="svg, pdf or png")] = "svg",
) -> None:
    """Draw the figures about hierarchical concepts.

    Draw claims, heat maps, polytopes, layers and pairs; other estimators where there are.
    """
    from universality.core.io import atomic_directory, read_table, table_paths
    from universality.core.style import save, styled
    from universality.studies.hierarchy.figures import hierarchy as draw

    with styled(file_format), atomic_directory(out) as directory:
        for path in table_paths(tables / "vectors", "*/summary.parquet"):
            graph, summary = path.parent.name, read_table(path)
            save(draw.claims(summary, graph), directory, f"claims_{graph}")
            if len(summary[["estimator", "causal"]].drop_duplicates()) > 2:  # in profile `full`
                save(draw.ablations(summary, graph), directory, f"ablations_{graph}")
            heat = read_table(path.with_name("heat.parquet"))
            save(draw.heat_maps(heat, graph), directory, f"heat_maps_{graph}")
            points = path.with_name("points.parquet")
            if points.exists():  # a graph may have no polytopes
                save(draw.polytopes(read_table(points), graph), directory, f"polytopes_{graph}")
        for path in table_paths(tables / "layers", "*/summary.parquet"):
            model = path.parent.name
            corners = read_table(path.with_name("corners.parquet"))
            save(draw.layers(read_table(path), corners, model), directory, f"layers_{model}")
        compared = table_paths(tables / "pairs", "*/rsa.parquet")
        rsa = {path.parent.name: read_table(path) for path in compared}
        save(draw.pairs(rsa), directory, "pairs")
