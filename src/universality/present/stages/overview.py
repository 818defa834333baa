"""`universality run overview`: what `dvc exp show`, `dvc metrics diff` and `dvc plots` show."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    summaries: Annotated[Path, typer.Option(help="tables of the studies' numbers")],
    training: Annotated[Path, typer.Option(help="tables of SAE training")],
    matching: Annotated[Path, typer.Option(help="tables of `match`, one folder a pair")],
    out: Annotated[Path, typer.Option(help="directory of the summary and the CSV files")],
) -> None:
    """Write a few numbers of every study, and curves, for `dvc exp` and `dvc plots`.

    Write `summary.json` and one CSV file for each plot of dvc.yaml.
    """
    from universality.core.io import atomic_directory, write_json
    from universality.present import overview
    from universality.present.summaries import read_summaries

    studies = read_summaries(summaries, overview.SHOWN)
    tables = {
        "sae_training": overview.training_curves(training),
        "best_r": overview.best_r(matching),
        "layer_pairs": overview.layer_pairs(matching),
    }
    with atomic_directory(out) as folder:
        write_json(folder / "summary.json", overview.summary(studies))
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
