"""`universality evaluate-grid`: how good the SAEs of a grid are, on validation text."""

from pathlib import Path
from typing import Annotated

import typer

from universality.params.base import load_section
from universality.params.saes import SaeEvaluation, SaeGrid


def command(
    key: Annotated[str, typer.Argument(help="key of `sae_grids`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="directory of the grid's SAEs")],
    training: Annotated[Path, typer.Option(help="table with the training losses")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="table with one row per SAE")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Reconstruction and cross-entropy on the first validation documents.

    `dead_fraction` is taken from training, where features silent over the last `dead_window` steps
    are dead: the few documents here are too little text to call a rare feature dead.
    """
    section = load_section(params, SaeEvaluation, "sae_grid_evaluation")
    grid = load_section(params, SaeGrid, "sae_grids", key)

    import pandas as pd

    from universality.corpora import load_tokens
    from universality.io import read_table, write_table
    from universality.models import document_losses, load_bridge
    from universality.saes.evaluation import judge_hook, load_sae, reconstruct
    from universality.saes.grid import member_table

    table = member_table(grid)
    dead = read_table(training).groupby("sae")["dead_fraction"].last()
    bridge = load_bridge(model)
    tokens = load_tokens(corpus, "validation", model, max_tokens, section.n_documents)
    clean = document_losses(bridge, tokens, section.batch_tokens)
    rows = []
    for hook, group in table.groupby("hook", sort=False):
        hook = str(hook)
        loaded = [load_sae(saes / sae) for sae in group["sae"]]
        sums = reconstruct(bridge, tokens, {hook: loaded}, section.batch_tokens)[hook]
        rows += judge_hook(bridge, tokens, hook, sums, clean, section)
    found = pd.concat([table, pd.DataFrame(rows)], axis=1)
    found["dead_fraction"] = found["sae"].map(dead)
    write_table(out, found)
