"""`universality sae-anatomy`: what the features of a model's SAEs are."""

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.anatomy import Anatomy
from universality.studies.saes.params.saes import SaeModel

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


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

    import universality.studies.saes.study.anatomy  # noqa: F401  a limit holds for what is loaded already
    from universality.core.io import atomic_directory, write_table

    # The matrices are small: threads would mostly wait for each other.
    with threadpool_limits(1):
        tables = _describe_all(key, wanted, section, model, saes, features)
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)


def _describe_all(
    key: str, wanted: SaeModel, section: Anatomy, model: Path, saes: Path, features: Path
) -> "dict[str, pd.DataFrame]":
    import numpy as np
    import pandas as pd

    from universality.core.hooks import place, sae_id
    from universality.core.io import read_sparse
    from universality.core.randomness import generator
    from universality.core.sae_weights import read_weights
    from universality.studies.saes.study.anatomy import describe

    rows: dict[str, list] = {"summary": [], "neurons": []}
    per_feature = []
    for hook, seed in product(wanted.hooks, wanted.seeds):
        name = sae_id(hook, seed)
        weights = read_weights(saes / name)
        matrix = read_sparse(features / f"{name}.safetensors")
        n_positions = len(matrix.indptr) - 1
        density = np.bincount(matrix.indices, minlength=len(weights.bias)) / n_positions
        neurons = _neuron_basis(model, hook, weights.decoder.shape[1])
        found = describe(name, weights, density, neurons, section, generator(section.seed, name))
        where = {"model": key, "sae": name, **place(hook), "seed": seed}
        per_feature.append(found.features.assign(**where))
        where["n_positions"] = n_positions
        rows["summary"].append(where | found.summary)
        rows["neurons"] += [where | found.neurons] if found.neurons else []
    features_table = pd.concat(per_feature, ignore_index=True)
    return {"features": features_table} | {name: pd.DataFrame(r) for name, r in rows.items()}


def _neuron_basis(model: Path, hook: str, d_in: int) -> "np.ndarray | None":
    """Return the neurons in the space of the hook, `(d_mlp, d_in)`; only MLPs have some."""
    import numpy as np

    from universality.core.hooks import layer
    from universality.core.sae_weights import mlp_output

    if hook.endswith(".mlp.hook_post"):
        return np.eye(d_in)
    if hook.endswith(".hook_mlp_out"):
        return mlp_output(model, layer(hook), d_in)
    return None
