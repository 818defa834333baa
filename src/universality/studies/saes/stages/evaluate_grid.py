"""`universality evaluate-grid`: how good the SAEs of a grid are, on validation text."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.saes import SaeGrid, SaeGridEvaluation


def command(
    key: Annotated[str, typer.Argument(help="key of `sae_grids`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    activations: Annotated[Path, typer.Option(help="directory of the model's activation cache")],
    saes: Annotated[Path, typer.Option(help="directory of the grid's SAEs")],
    training: Annotated[Path, typer.Option(help="table with the training losses")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Judge the SAEs of a grid on validation text.

    Judge reconstruction and cross-entropy on the first validation documents.

    `dead_fraction` is taken from training, where features silent over the last `dead_window`
    activations are dead: the few documents here are too little text to call a rare feature dead.
    The baseline `pca` reconstructs from as many principal components as an SAE has active features.
    """
    section = load_section(params, SaeGridEvaluation, "sae_grid_evaluation")
    grid = load_section(params, SaeGrid, "sae_grids", key)

    import numpy as np
    import pandas as pd
    import torch

    from universality.core.activations import open_activations
    from universality.core.corpora import load_tokens
    from universality.core.io import atomic_directory, read_table, write_table
    from universality.core.models import document_losses, load_bridge
    from universality.studies.saes.baselines import PrincipalComponents
    from universality.studies.saes.evaluation import judge_hook, load_sae, reconstruct
    from universality.studies.saes.grid import member_table, pca_table
    from universality.studies.saes.matched import against, at_matched_l0

    table = member_table(grid)
    dead = read_table(training).groupby("sae")["dead_fraction"].last().to_dict()
    bridge = load_bridge(model)
    tokens = load_tokens(corpus, "validation", model, max_tokens, section.n_documents)
    clean = document_losses(bridge, tokens, section.batch_tokens)
    parts = []
    for hook in grid.hooks:
        group = table[table["hook"] == hook]
        loaded = [load_sae(saes / sae) for sae in group["sae"]]
        sums = reconstruct(bridge, tokens, {hook: loaded}, section.batch_tokens)[hook]
        rows = np.asarray(open_activations(activations, hook)[: section.n_pca], dtype=np.float32)
        # A baseline costs as much as an SAE: only where there is one to compare it with.
        l0 = [one.active.sum() / one.count.sum() for one in sums]
        reached = [k for k in section.matched_l0 if 0.9 * min(l0) <= k <= 1.1 * max(l0)]
        sizes = [k for k in reached if k <= rows.shape[1]]
        components = [PrincipalComponents(torch.from_numpy(rows), k) for k in sizes]
        sums += reconstruct(bridge, tokens, {hook: components}, section.batch_tokens)[hook]
        judged = judge_hook(bridge, tokens, hook, sums, clean, section)
        group = pd.concat([group, pca_table(grid, hook, sizes)], ignore_index=True)
        group = pd.concat([group, pd.DataFrame(judged)], axis=1)
        group["dead_fraction"] = [dead.get(sae, 0.0) for sae in group["sae"]]
        parts.append(group)
    found = pd.concat(parts, ignore_index=True)
    with atomic_directory(out) as folder:
        write_table(folder / "evaluation.parquet", found)
        matched = at_matched_l0(found, [float(k) for k in section.matched_l0])
        write_table(folder / "matched.parquet", matched)
        write_table(folder / "against.parquet", against(found, section.reference))
