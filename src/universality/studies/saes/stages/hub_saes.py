"""`universality run hub-saes`: SAEs of the Hugging Face hub at a pinned revision."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.hub_saes import HubSaes


def command(
    key: Annotated[str, typer.Argument(help="key of `hub_saes`, and of the model")],
    out: Annotated[Path, typer.Option(help="directory of the SAEs, in SAELens format")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Download SAEs of the Hugging Face hub at a pinned revision.

    Copy a model's SAEs from the hub, or from its local cache, and convert them.
    """
    section = load_section(params, HubSaes, "hub_saes", key)

    from universality.studies.saes.hub_saes import copy_saes

    copy_saes(section, key, out)
