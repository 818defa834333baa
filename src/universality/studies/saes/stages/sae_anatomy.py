"""`universality run sae-anatomy`: what the features of a model's SAEs are."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.anatomy import Anatomy
from universality.studies.saes.params.saes import SaeModel


def command(
    key: Annotated[str, typer.Argument(help="key of `sae_models`, which names hooks and seeds")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="directory of the model's SAEs")],
    features: Annotated[Path, typer.Option(help="directory of their sparse activations")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Describe the features of a model's SAEs: density, direction, neurons.

    Write what features are (features), shares and clusters (summary), and neurons, by SAE.
    """
    section = load_section(params, Anatomy, "anatomy")
    wanted = load_section(params, SaeModel, "sae_models", key)

    from threadpoolctl import threadpool_limits

    from universality.core.io import atomic_directory, write_table
    from universality.studies.saes.study.anatomy import describe_all

    # The matrices are small: threads would mostly wait for each other. What is to be limited has to
    # be loaded by now.
    with threadpool_limits(1):
        tables = describe_all(key, wanted, section, model, saes, features)
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
