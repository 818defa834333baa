"""`universality run hub-features`: sparse feature activations of SAEs of the hub."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.errors import InputError
from universality.core.params.base import load_section
from universality.core.params.compute import Compute
from universality.studies.saes.params.hub_saes import HubSaes, SaeHooks
from universality.studies.saes.params.saes import Features


def command(
    key: Annotated[str, typer.Argument(help="key of `hub_saes`, and of the model")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="directory of the model's SAEs")],
    hooks: Annotated[Path, typer.Option(help="table of `sae-hooks`: nothing goes on without it")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory of the matrices")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Write the sparse feature activations of SAEs of the hub.

    Write what `features` writes, once the SAEs are known to sit where they were trained.
    """
    section = load_section(params, Features, "features")
    wanted = load_section(params, HubSaes, "hub_saes", key)
    checked = load_section(params, SaeHooks, "sae_hooks")
    device = load_section(params, Compute, "compute").checked()

    from universality.core.corpora import load_tokenizer, load_tokens, token_manifest
    from universality.core.features import (
        first_token_features,
        position_table,
        sparse_features,
        write_features,
    )
    from universality.core.hooks import sae_id
    from universality.core.io import atomic_directory, read_table, write_json
    from universality.core.models import load_bridge
    from universality.studies.saes.evaluation import load_sae
    from universality.studies.saes.hookpoints import misplaced

    problems = misplaced(read_table(hooks), checked.min_explained_variance)
    if problems:
        raise InputError(f"hub_saes.{key}: {'; '.join(problems)}")
    n_documents = wanted.n_documents or section.n_documents
    tokens = load_tokens(corpus, "validation", model, max_tokens, n_documents)
    names = {hook: sae_id(hook, wanted.seed) for hook in wanted.hooks}
    loaded = {name: (hook, load_sae(saes / name, device)) for hook, name in names.items()}
    bridge = load_bridge(model, device)
    place, matrices = sparse_features(
        bridge, tokens, loaded, section.batch_tokens, section.mask_special
    )
    bos = first_token_features(bridge, tokens, loaded)
    table = position_table(tokens, place, load_tokenizer(model)[0])
    with atomic_directory(out) as folder:
        write_features(folder, table, matrices, bos)
        write_json(folder / "tokens.json", token_manifest(tokens))
