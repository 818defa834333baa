"""`universality run evaluate-saes`: how good a model's SAEs are, on validation text."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.saes import SaeModel, SaesEvaluation


def command(
    key: Annotated[str, typer.Argument(help="key of `sae_models`, which names hooks and seeds")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="directory of the model's SAEs")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Judge the SAEs of a model on validation text.

    Judge reconstruction on some validation documents, cross-entropy on fewer of them.
    """
    section = load_section(params, SaesEvaluation, "sae_evaluation")
    wanted = load_section(params, SaeModel, "sae_models", key)

    import pandas as pd

    from universality.core.corpora import load_tokens
    from universality.core.hooks import layer, sae_id
    from universality.core.io import atomic_directory, write_table
    from universality.core.models import document_losses, load_bridge
    from universality.studies.saes.evaluation import judge_hook, load_sae, reconstruct

    bridge = load_bridge(model)
    loaded = {
        hook: [load_sae(saes / sae_id(hook, seed)) for seed in wanted.seeds]
        for hook in wanted.hooks
    }
    size = section.batch_tokens
    less = wanted.less_text
    n_documents, n_read = section.n_documents, section.n_reconstructed
    if less:
        n_documents, n_read = less.n_evaluated, min(n_read, less.n_documents)
    judged = load_tokens(corpus, "validation", model, max_tokens, n_documents)
    read = load_tokens(corpus, "validation", model, max_tokens, n_read)
    sums = reconstruct(bridge, read, loaded, size)
    clean = document_losses(bridge, judged, size)
    rows = []
    for hook in wanted.hooks:
        metrics = judge_hook(bridge, judged, hook, sums[hook], clean, section)
        for seed, row in zip(wanted.seeds, metrics, strict=True):
            where = {"model": key, "sae": sae_id(hook, seed), "layer": layer(hook), "hook": hook}
            rows.append(where | {"seed": seed} | row)
    with atomic_directory(out) as folder:
        write_table(folder / "evaluation.parquet", pd.DataFrame(rows))
