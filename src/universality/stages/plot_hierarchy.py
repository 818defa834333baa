"""`universality plot-hierarchy`: the figures about hierarchical concepts, from their tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    vectors: Annotated[Path, typer.Option(help="tables of `concept-vectors`, one folder each")],
    layers: Annotated[Path, typer.Option(help="of `concept-layers`, one folder a model")],
    pairs: Annotated[Path, typer.Option(help="of `compare-concepts`, one folder a pair")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
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
    with styled(), atomic_directory(out) as directory:
        for folder in (path.parent for path in table_paths(vectors, "*/summary.parquet")):
            for name, (table, figure) in by_graph.items():
                path = folder / f"{table}.parquet"
                if path.exists():  # a graph may have no polytopes
                    drawn = figure(read_table(path), folder.name)
                    save(drawn, directory, f"{name}_{folder.name}")
        for path in table_paths(layers, "*/summary.parquet"):
            model = path.parent.name
            shapes = read_table(path.with_name("polytopes.parquet"))
            save(draw.layers(read_table(path), shapes, model), directory, f"layers_{model}")
        found = {path.parent.name: read_table(path) for path in layers.glob("*/features.parquet")}
        if found:
            save(draw.features(dict(sorted(found.items()))), directory, "features")
        rsa = {path.parent.name: read_table(path) for path in table_paths(pairs, "*/rsa.parquet")}
        save(draw.pairs(rsa), directory, "pairs")
