"""`universality run steer-maps`: positions in SAE features, mapped before and after steering."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.spaces.params.feature_maps import Maps
from universality.studies.steering.params.steering import Contrasts, SteeredMap, Steering


def command(
    key: Annotated[str, typer.Argument(help="model: key of `steered_maps`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="folder of SAEs of the model")],
    corpus: Annotated[Path, typer.Option(help="corpus directory")],
    contrasts: Annotated[Path, typer.Option(help="contrasts that vectors are made of")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Map the positions of a text in SAE features before and after steering.

    Write where positions lie before and after, how far they went, and what maps keep of it.
    """
    section = load_section(params, SteeredMap, "steered_maps", key)
    settings = load_section(params, Maps, "maps")
    shared = load_section(params, Steering, "steering")
    every = load_section(contrasts, Contrasts).root

    from universality.core.io import atomic_directory, write_table
    from universality.core.models import load_bridge
    from universality.studies.steering.contrasts import choose, contrast_tokens
    from universality.studies.steering.downstream_study import fixed_text
    from universality.studies.steering.movement_study import seen_saes, study

    chosen = {
        name: contrast_tokens(name, contrast, model, 0)
        for name, contrast in choose(every, section.contrasts).items()
    }
    opened = seen_saes(saes, section)
    ids = fixed_text(corpus, model, section.n_documents, section.n_tokens)
    tables = study(load_bridge(model), ids, opened, chosen, section, settings, shared)
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
