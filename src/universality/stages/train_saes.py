"""`universality train-saes`: the SAEs of a model, one per hook and SAE seed."""

from pathlib import Path
from typing import Annotated

import typer

from universality.params.base import load_section
from universality.params.saes import SaeModel, SaeTraining


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
    """Train the SAEs hook by hook; a hook's SAEs share one read of its activations."""
    section = load_section(params, SaeTraining, "sae_training")
    model = load_section(params, SaeModel, "sae_models", key)

    import shutil

    import pandas as pd

    from universality.activations import open_activations
    from universality.io import atomic_directory, read_json, write_table
    from universality.saes.training import sae_id, save_sae, train_hook

    statistics = read_json(activations / "statistics.json")
    logs = []
    with atomic_directory(out) as folder:
        for hook in model.hooks:
            saes, losses = train_hook(
                open_activations(activations, hook), statistics[hook]["mean_norm"],
                hook, key, model, section, checkpoints / hook,
            )  # fmt: skip
            logs.append(losses)
            for seed, sae in saes.items():
                save_sae(sae, folder / sae_id(hook, seed))
    write_table(log, pd.concat(logs, ignore_index=True))
    shutil.rmtree(checkpoints, ignore_errors=True)
