"""`universality card`: where a number, an SAE, a model or a figure comes from."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from universality.present.provenance import card, lines


def command(
    identifier: Annotated[
        str,
        typer.Argument(
            help="a stage, a file or folder that one makes, an artifact of dvc.yaml, or a number: "
            "metrics/STUDY.json:ID.METRIC (those that only the summaries have, too)"
        ),
    ],
    root: Annotated[Path, typer.Option(help="the project")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Print where a number, an SAE, a model or a figure comes from.

    Print parameters, code, inputs with hashes, machine and time.
    """
    found = card(root, identifier)
    text = json.dumps(found, indent=1) if as_json else "\n".join(lines(found))
    sys.stdout.write(f"{text}\n")
