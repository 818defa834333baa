"""`universality run train-grid`: the SAEs of a grid, to be compared with each other."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.saes import SaeGrid, SaeTraining


def command(
    key: Annotated[str, typer.Argument(help="key of `sae_grids`")],
    activations: Annotated[Path, typer.Option(help="directory of the model's activation cache")],
    checkpoints: Annotated[
        Path, typer.Option(help="directory for checkpoints, deleted at the end")
    ],
    out: Annotated[Path, typer.Option(help="directory of the new SAEs, in SAELens format")],
    log: Annotated[Path, typer.Option(help="table with the training losses")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Train the SAEs of a grid, to be compared with each other.

    Train every family at every sparsity, width, hook and seed.
    """
    section = load_section(params, SaeTraining, "sae_training")
    grid = load_section(params, SaeGrid, "sae_grids", key)

    from universality.studies.saes.grid import members
    from universality.studies.saes.training.loop import Job, train_all

    jobs = [
        Job(one.sae, grid.model, one.hook, one.recipe, one.seed, grid.n_samples)
        for one in members(grid)
    ]
    train_all(activations, jobs, grid.in_place(section), checkpoints, out, log)
