"""`universality run activations`: the shuffled activation cache of a model."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.activations import Activations
from universality.core.params.base import load_section
from universality.core.params.compute import Compute
from universality.studies.saes.params.saes import SaeModel


def command(
    key: Annotated[str, typer.Argument(help="key of `sae_models`, which names the hooks")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its training split is used")],
    out: Annotated[Path, typer.Option(help="directory of the new cache")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Collect and shuffle the activations of a model's hooks.

    Write `<hook>.npy`, positions, statistics and the token manifest.
    """
    section = load_section(params, Activations, "activations")
    wanted = load_section(params, SaeModel, "sae_models", key)
    device = load_section(params, Compute, "compute").checked()

    from universality.core.activations import write_cache
    from universality.core.corpora import load_tokens
    from universality.core.io import atomic_directory
    from universality.core.models import load_bridge

    n_tokens = wanted.less_text.n_tokens if wanted.less_text else section.n_tokens
    tokens = load_tokens(corpus, "train", model, section.max_tokens).first(n_tokens)
    with atomic_directory(out) as folder:
        write_cache(folder, load_bridge(model, device), tokens, wanted.cached, section)
