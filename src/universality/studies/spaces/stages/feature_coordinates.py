"""`universality run feature-coordinates`: where the features of a linked pair lie on their maps."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.matching.params.matching import Pair
from universality.studies.spaces.params.linked_maps import LinkedMaps


def command(
    key: Annotated[str, typer.Argument(help="key of `linked_pairs`")],
    features: Annotated[Path, typer.Option(help="feature activations, a folder for each model")],
    saes: Annotated[Path, typer.Option(help="SAEs, a folder for each model")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Place the features of all linked pairs on their maps.

    Write a table for each model of pair `key`: one UMAP for every SAE.
    """
    pair = load_section(params, Pair, "linked_pairs", key)
    settings = load_section(params, LinkedMaps, "linked_maps")

    from threadpoolctl import threadpool_limits

    from universality.core.io import atomic_directory, write_table
    from universality.core.progress import progress
    from universality.studies.spaces.linked_maps.coordinates import mapped_models, read_coordinates

    with threadpool_limits(limits=1, user_api="blas"), atomic_directory(out) as folder:
        for model in progress(mapped_models(pair), desc="maps"):
            table = read_coordinates(model, features, saes, settings)
            write_table(folder / model.file, table)
