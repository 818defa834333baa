"""`universality run features`: a model's sparse feature activations on the evaluation text."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.core.params.compute import Compute
from universality.studies.saes.params.saes import Features, SaeModel


def command(
    key: Annotated[str, typer.Argument(help="key of `sae_models`, which names hooks and seeds")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="directory of the model's SAEs")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory of the matrices")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Write the sparse feature activations of a model's SAEs.

    Write a CSR matrix per SAE, the positions of its rows, and the token manifest.
    """
    section = load_section(params, Features, "features")
    wanted = load_section(params, SaeModel, "sae_models", key)
    device = load_section(params, Compute, "compute").checked()

    from universality.core.corpora import load_tokenizer, load_tokens, token_manifest
    from universality.core.features import (
        first_token_features,
        position_table,
        sparse_features,
        write_features,
    )
    from universality.core.hooks import sae_id
    from universality.core.io import atomic_directory, write_json
    from universality.core.models import load_bridge
    from universality.studies.saes.evaluation import load_sae

    n_documents = wanted.less_text.n_documents if wanted.less_text else section.n_documents
    tokens = load_tokens(corpus, "validation", model, max_tokens, n_documents)
    loaded = {
        sae_id(hook, seed): (hook, load_sae(saes / sae_id(hook, seed), device))
        for hook in wanted.hooks
        for seed in wanted.seeds
    }
    bridge = load_bridge(model, device)
    place, matrices = sparse_features(
        bridge, tokens, loaded, section.batch_tokens, section.mask_special
    )
    bos = first_token_features(bridge, tokens, loaded)
    table = position_table(tokens, place, load_tokenizer(model)[0])
    with atomic_directory(out) as folder:
        write_features(folder, table, matrices, bos)
        write_json(folder / "tokens.json", token_manifest(tokens))
