"""`universality plot-maps`: maps of features, their clusters, and words on circles."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="tables of feature-maps, one folder a map")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw maps, clusterings, spectra, planes of clusters, circles, and CCA on UMAP."""
    from universality.io import atomic_directory, table_paths, tables_by_name
    from universality.plots import maps as draw
    from universality.plots.style import save, styled

    found = {path.name: tables_by_name(path) for path in table_paths(tables, "*")}
    with styled(), atomic_directory(out) as directory:
        for key, named in found.items():
            save(draw.linked_maps(key, named), directory, f"map_{key}")
        save(draw.clusterings(found), directory, "clusters")
        save(draw.principal_maps(found), directory, "principal")
        save(draw.spectra(found), directory, "spectra")
        if any(len(named["shapes"]) for named in found.values()):
            save(draw.shapes(found), directory, "shapes")
        save(draw.circles(found), directory, "circles")
        save(draw.alike(found), directory, "words")
        save(draw.umap_cca(found), directory, "umap_cca")
