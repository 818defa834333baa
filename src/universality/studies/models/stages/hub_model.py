"""`universality run hub-model`: a model of the Hugging Face hub at a pinned revision."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.core.params.models import HubModel


def command(
    model: Annotated[str, typer.Argument(help="key of `hub_models`")],
    out: Annotated[Path, typer.Option(help="directory to write")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Download a model of the Hugging Face hub at a pinned revision.

    Copy `model` from the hub, or from its local cache.
    """
    section = load_section(params, HubModel, "hub_models", model)

    from universality.sources.hub import copy_model

    copy_model(section, out)
