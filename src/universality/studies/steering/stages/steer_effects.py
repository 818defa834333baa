"""`universality run steer-effects`: what steering vectors do to a model's output."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.steering.params.steering import Contrasts, SteeredModel, Steering


def command(
    key: Annotated[str, typer.Argument(help="model: key of `steering_models`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    contrasts: Annotated[Path, typer.Option(help="contrasts that vectors are made of")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Steer a model with vectors of contrasts: effect and price.

    Measure effect and price of every vector, layer by layer, and of random ones.
    """
    section = load_section(params, SteeredModel, "steering_models", key)
    shared = load_section(params, Steering, "steering")
    every = load_section(contrasts, Contrasts).root

    from universality.core.io import atomic_directory, write_table
    from universality.core.models import load_bridge
    from universality.studies.steering.contrasts import choose, contrast_tokens
    from universality.studies.steering.effect_study import effect_tables, word_table

    wanted = choose(every, section.contrasts)
    chosen = {
        name: contrast_tokens(name, contrast, model, section.n_prompts)
        for name, contrast in wanted.items()
    }
    tables = effect_tables(load_bridge(model), model, chosen, section, shared)
    tables["words"] = word_table(wanted, chosen)
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
