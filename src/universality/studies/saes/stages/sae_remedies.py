"""`universality run sae-remedies`: residual SAEs and orthogonal decoders, against plain SAEs."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.remedies import SaeRemedies
from universality.studies.saes.params.saes import SaeGrid, SaeGridEvaluation, SaeTraining


def command(
    key: Annotated[str, typer.Argument(help="key of `sae_remedies`, the model")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    activations: Annotated[Path, typer.Option(help="directory of the model's activation cache")],
    saes: Annotated[Path, typer.Option(help="directory of the grid's SAEs")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Compare residual SAEs and orthogonal decoders with plain SAEs.

    Train residual SAEs and their rivals, seed by seed; measure cosines of decoders.
    """
    section = load_section(params, SaeRemedies, "sae_remedies", key)
    grid = load_section(params, SaeGrid, "sae_grids", section.grid)
    training = grid.in_place(load_section(params, SaeTraining, "sae_training"))
    judging = load_section(params, SaeGridEvaluation, "sae_grid_evaluation")

    from universality.core.activations import open_activations
    from universality.core.corpora import load_tokens
    from universality.core.io import atomic_directory, write_table
    from universality.core.models import load_bridge
    from universality.studies.saes.study.remedies import orthogonality_table
    from universality.studies.saes.study.residual import rival_table

    bridge = load_bridge(model)
    tokens = load_tokens(corpus, "validation", model, max_tokens, judging.n_documents)
    data = open_activations(activations, grid.hooks[0])
    rivals = rival_table(grid, section, saes, data, bridge, tokens, training, judging)
    cosines = orthogonality_table(grid, section, saes, judging.n_bootstrap)
    with atomic_directory(out) as folder:
        write_table(folder / "residual.parquet", rivals)
        write_table(folder / "orthogonality.parquet", cosines)
