"""`universality run decompose-vectors`: what steering vectors are made of, in SAE features."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.steering.params.decomposition import DecomposedModel, Decomposition
from universality.studies.steering.params.steering import Contrasts, Steering


def command(
    key: Annotated[str, typer.Argument(help="key of `decomposed_models`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="directory of its SAEs")],
    contrasts: Annotated[Path, typer.Option(help="what vectors are made of, a YAML file")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Decompose steering vectors into SAE features, and steer with them.

    Decompose each vector in every way, and steer with what comes out.
    """
    wanted = load_section(params, DecomposedModel, "decomposed_models", key)
    settings = load_section(params, Decomposition, "decomposition")
    steering = load_section(params, Steering, "steering")
    every = load_section(contrasts, Contrasts).root

    from universality.core.io import atomic_directory, write_table
    from universality.studies.steering.contrasts import choose
    from universality.studies.steering.decomposition_study import decomposition_tables, open_steered

    chosen = choose(every, wanted.contrasts)
    paths = [saes / sae for sae in wanted.saes]
    steered = open_steered(model, paths, chosen, wanted.n_prompts, steering.method, wanted.centred)
    tables = decomposition_tables(key, steered, corpus, max_tokens, wanted, settings, steering)
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
