"""`universality run evaluate-grid`: how good the SAEs of a grid are, on validation text."""

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

    from universality.core.corpora import load_tokens
    from universality.core.io import atomic_directory, read_table, write_table
    from universality.core.models import load_bridge
    from universality.studies.saes.grid_evaluation import judge_grid
    from universality.studies.saes.matched import against, at_matched_l0

    dead = read_table(training).groupby("sae")["dead_fraction"].last().to_dict()
    bridge = load_bridge(model)
    tokens = load_tokens(corpus, "validation", model, max_tokens, section.n_documents)
    found = judge_grid(grid, saes, bridge, tokens, activations, dead, section)
    with atomic_directory(out) as folder:
        write_table(folder / "evaluation.parquet", found)
        matched = at_matched_l0(found, [float(k) for k in section.matched_l0])
        write_table(folder / "matched.parquet", matched)
        write_table(folder / "against.parquet", against(found, section.reference))
