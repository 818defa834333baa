"""`universality run steer-downstream`: which SAE features a vector changes, layer by layer."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.steering.params.steering import Contrasts, Downstream, Steering


def command(
    key: Annotated[str, typer.Argument(help="model: key of `steering_downstream`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="folder of SAEs of the model")],
    corpus: Annotated[Path, typer.Option(help="corpus directory")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    contrasts: Annotated[Path, typer.Option(help="contrasts that vectors are made of")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Find which SAE features a steering vector changes, layer by layer.

    Write how far vectors spread, which features they change most, and where these fire.
    """
    section = load_section(params, Downstream, "steering_downstream", key)
    shared = load_section(params, Steering, "steering")
    every = load_section(contrasts, Contrasts).root

    from universality.core.io import atomic_directory, write_table
    from universality.core.models import load_bridge
    from universality.studies.steering import downstream_study as study
    from universality.studies.steering.contrasts import choose, contrast_tokens

    chosen = {
        name: contrast_tokens(name, contrast, model, 0)
        for name, contrast in choose(every, section.contrasts).items()
    }
    bridge = load_bridge(model)
    ids = study.fixed_text(corpus, model, section.n_documents, section.n_tokens)
    loaded = study.load_saes(saes, section.sae_seed, section.prefix)
    tables = study.study(bridge, ids, loaded, chosen, section, shared)
    tables["contexts"] = study.contexts(
        bridge, model, corpus, max_tokens, loaded, tables["features"], section
    )
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
