"""`universality run feature-maps`: maps and clusters of a pair's features, and words on circles."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.spaces.params.feature_maps import Cycles, FeatureMap, Maps


def command(
    key: Annotated[str, typer.Argument(help="key of `feature_maps`")],
    a: Annotated[Path, typer.Option(help="features of model A")],
    b: Annotated[Path, typer.Option(help="features of model B")],
    a_model: Annotated[Path, typer.Option(help="Hugging Face directory of model A")],
    b_model: Annotated[Path, typer.Option(help="Hugging Face directory of model B")],
    a_saes: Annotated[Path, typer.Option(help="directory of the SAEs of A")],
    b_saes: Annotated[Path, typer.Option(help="directory of the SAEs of B")],
    matches: Annotated[Path, typer.Option(help="tables of the matching study of the pair")],
    cycles: Annotated[Path, typer.Option(help="words of a known order")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Map and cluster the features of a pair; test words for circles.

    Write the tables of map `key`: circles, and what its `parts` ask for.
    """
    wanted = load_section(params, FeatureMap, "feature_maps", key)
    settings = load_section(params, Maps, "maps")
    orders = load_section(cycles, Cycles).root

    from threadpoolctl import threadpool_limits

    from universality.core.io import atomic_directory, write_table
    from universality.studies.spaces.geometry.files import Place, read_map
    from universality.studies.spaces.geometry.study import study

    places = Place(a, a_model, a_saes), Place(b, b_model, b_saes)
    inputs = read_map(*places, matches, wanted, orders, settings)
    # Thousands of products of small matrices: a second thread would only wait for them.
    with threadpool_limits(limits=1, user_api="blas"):
        tables = study(key, inputs, orders, settings, wanted.parts)
    with atomic_directory(out) as directory:
        for name, table in tables.items():
            write_table(directory / f"{name}.parquet", table)
