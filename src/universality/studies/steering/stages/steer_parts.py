"""`universality run steer-parts`: which part of a steering vector carries its effect."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.steering.params.decomposition import Decomposition, SteeredParts
from universality.studies.steering.params.steering import Contrasts, Steering


def command(
    key: Annotated[str, typer.Argument(help="key of `steered_parts`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="directory of its SAEs")],
    contrasts: Annotated[Path, typer.Option(help="what vectors are made of, a YAML file")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Steer with parts of vectors, and with SAEs patched in above.

    Steer with parts of vectors, and with SAEs patched in above.
    """
    wanted = load_section(params, SteeredParts, "steered_parts", key)
    settings = load_section(params, Decomposition, "decomposition")
    steering = load_section(params, Steering, "steering")
    every = load_section(contrasts, Contrasts).root

    from universality.core.io import atomic_directory, write_table
    from universality.studies.matching.files import hook_name
    from universality.studies.saes.evaluation import load_sae
    from universality.studies.steering.contrasts import choose
    from universality.studies.steering.decomposition import dictionary_of
    from universality.studies.steering.decomposition_study import open_steered
    from universality.studies.steering.part_study import part_tables

    chosen = choose(every, wanted.contrasts)
    paths, later = ([saes / sae for sae in ids] for ids in (wanted.saes, wanted.downstream))
    steered = open_steered(model, paths, chosen, wanted.n_prompts, steering.method, wanted.centred)
    patched = {hook_name(path): dictionary_of(load_sae(path), wanted.centred) for path in later}
    tables = part_tables(key, steered, patched, wanted, settings, steering)
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
