"""`universality publish`: share an SAE, with a model card, in SAELens' layout."""

import logging
import re
from pathlib import Path
from typing import Annotated

import typer

from universality.core.errors import InputError


def command(
    sae: Annotated[Path, typer.Argument(help="the SAE, a folder in SAELens format")],
    to: Annotated[str, typer.Option(help="a directory, or hf:OWNER/REPOSITORY")],
    metrics: Annotated[
        Path | None, typer.Option(help="JSON file id -> {metric: value}, as metrics/saes.json")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="the corpus that they were measured on, for the card")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--id", help="its id there and in --metrics [<model>_<folder>]")
    ] = None,
    licence: Annotated[str, typer.Option("--license", help="licence of the weights")] = "mit",
    private: Annotated[bool, typer.Option(help="make a new repository private")] = False,
) -> None:
    """Share an SAE with a model card, in a folder or on the Hugging Face hub.

    Copy the SAE into the collection and write its card anew; other SAEs there stay.
    """
    repository = to.removeprefix("hf:") if to.startswith("hf:") else None
    if repository is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise InputError(f"--to is {to!r}, expected a directory or hf:OWNER/REPOSITORY")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise InputError(f"--id is {name!r}, expected letters, digits, '.', '_' and '-'")

    from universality.core.io import read_json
    from universality.studies.saes import publish as out

    if repository is not None:
        out.check_hub(repository)
    name = name or out.default_name(sae)
    measured = out.select_metrics(metrics, name) if metrics else {}
    out.check_sae(sae)
    text = {}
    if corpus:
        text = {"name": corpus.name, "origin": read_json(corpus / "manifest.json")["origin"]}
    release = out.Release(sae, name, measured, text, licence)
    if repository is None:
        out.to_directory(release, Path(to))
        logging.info("%s: %s", to, name)
    else:
        logging.info("%s", out.to_hub(release, repository, private))
