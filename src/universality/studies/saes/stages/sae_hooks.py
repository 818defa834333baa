"""`universality run sae-hooks`: whether SAEs of the hub sit at the hooks they were trained on."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.errors import InputError
from universality.core.params.base import load_section
from universality.studies.saes.params.hub_saes import HubSaes, SaeHooks


def command(
    key: Annotated[str, typer.Argument(help="key of `hub_saes`, and of the model")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="directory of the model's SAEs")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="table to write, also if the check fails")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Check that SAEs of the hub sit at the hooks they were trained on.

    Measure the explained variance at each SAE's hook and beside it; fail if it is misplaced.
    """
    section = load_section(params, SaeHooks, "sae_hooks")
    wanted = load_section(params, HubSaes, "hub_saes", key)

    from universality.core.corpora import load_tokens
    from universality.core.hooks import sae_id
    from universality.core.io import write_table
    from universality.core.models import load_bridge
    from universality.studies.saes.evaluation import load_sae
    from universality.studies.saes.hookpoints import hook_table, misplaced

    tokens = load_tokens(corpus, "validation", model, max_tokens, section.n_documents)
    names = {hook: sae_id(hook, wanted.seed) for hook in wanted.hooks}
    loaded = {name: (hook, load_sae(saes / name)) for hook, name in names.items()}
    table = hook_table(load_bridge(model), tokens, loaded, wanted.centred, section)
    table.insert(0, "model", key)
    write_table(out, table)
    problems = misplaced(table, section.min_explained_variance)
    if problems:
        raise InputError(f"hub_saes.{key}: {'; '.join(problems)} ({out} has all)")
