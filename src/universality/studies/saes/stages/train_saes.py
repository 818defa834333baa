"""`universality run train-saes`: the SAEs of a model, one per hook and SAE seed."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.saes import SaeModel, SaeTraining


def command(
    key: Annotated[str, typer.Argument(help="key of `sae_models`, which names hooks and seeds")],
    activations: Annotated[Path, typer.Option(help="directory of the activation cache")],
    checkpoints: Annotated[
        Path, typer.Option(help="directory for checkpoints, deleted at the end")
    ],
    out: Annotated[Path, typer.Option(help="directory of the new SAEs, in SAELens format")],
    log: Annotated[Path, typer.Option(help="table with the training losses")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Train the SAEs of a model on its activations.

    Train the SAEs one after another, all from one cache of activations.
    """
    section = load_section(params, SaeTraining, "sae_training")
    model = load_section(params, SaeModel, "sae_models", key)

    from universality.core.hooks import sae_id
    from universality.studies.saes.training.loop import Job, train_all

    jobs = [
        Job(sae_id(hook, seed), key, hook, model, seed, model.n_samples)
        for hook in model.hooks
        for seed in model.seeds
    ]
    train_all(activations, jobs, section, checkpoints, out, log)
