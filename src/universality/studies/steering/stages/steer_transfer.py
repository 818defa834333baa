"""`universality run steer-transfer`: steer a model with a vector of another."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.steering.params.steering import Contrasts, SteeredPair, Steering


def command(
    key: Annotated[str, typer.Argument(help="pair: key of `steered_pairs`")],
    models: Annotated[Path, typer.Option(help="folder of the models")],
    saes: Annotated[Path, typer.Option(help="folder of the SAEs, one of each model")],
    matching: Annotated[Path, typer.Option(help="tables of the matching study, one folder a pair")],
    corpus: Annotated[Path, typer.Option(help="corpus directory")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    contrasts: Annotated[Path, typer.Option(help="contrasts that vectors are made of")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Steer a model with a vector of another.

    Map the vectors of A into B, steer B with them, and see which matched features change.
    """
    section = load_section(params, SteeredPair, "steered_pairs", key)
    shared = load_section(params, Steering, "steering")
    every = load_section(contrasts, Contrasts).root

    from universality.core.io import atomic_directory, read_table, write_table
    from universality.studies.steering.contrasts import choose
    from universality.studies.steering.transfer_study import transfer_tables

    partners = None
    if section.together is not None:
        partners = read_table(matching / key / "pairs.parquet").query("pairing == 'hungarian'")
    tables = transfer_tables(
        (models / section.a, models / section.b), (saes / section.a, saes / section.b), corpus,
        max_tokens, choose(every, section.contrasts), partners, section, shared,
    )  # fmt: skip
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
