"""`universality steer-parts`: which part of a steering vector carries its effect."""

from pathlib import Path
from typing import Annotated

import typer

from universality.params.base import load_section
from universality.params.decomposition import Decomposition, SteeredParts
from universality.params.steering import Contrasts, Steering


def command(
    key: Annotated[str, typer.Argument(help="key of `steered_parts`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="directory of its SAEs")],
    contrasts: Annotated[Path, typer.Option(help="what vectors are made of, a YAML file")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Steer with parts of vectors, with features ablated downstream, and with SAEs patched in."""
    wanted = load_section(params, SteeredParts, "steered_parts", key)
    settings = load_section(params, Decomposition, "decomposition")
    steering = load_section(params, Steering, "steering")
    every = load_section(contrasts, Contrasts).root

    from universality.io import atomic_directory, write_table
    from universality.steering.contrasts import choose
    from universality.steering.decomposition_study import open_steered
    from universality.steering.part_study import part_tables, read_downstream

    chosen = choose(every, wanted.contrasts)
    paths, later = ([saes / sae for sae in ids] for ids in (wanted.saes, wanted.downstream))
    steered = open_steered(model, paths, chosen, wanted.n_prompts, steering.method, wanted.centred)
    downstream = read_downstream(steered, later, corpus, max_tokens, wanted, settings)
    tables = part_tables(key, steered, downstream, wanted, settings, steering)
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
