"""`universality sae-remedies`: residual SAEs and orthogonal decoders, against plain SAEs."""

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

    import pandas as pd

    from universality.core.activations import open_activations
    from universality.core.corpora import load_tokens
    from universality.core.io import atomic_directory, write_table
    from universality.core.models import document_losses, load_bridge
    from universality.core.randomness import generator
    from universality.studies.saes.evaluation import judge_hook, load_sae, reconstruct
    from universality.studies.saes.grid import find
    from universality.studies.saes.study.remedies import decoder_orthogonality, random_cosines
    from universality.studies.saes.study.residual import train_rivals
    from universality.studies.saes.training.loop import Job

    hook = grid.hooks[0]
    bridge = load_bridge(model)
    tokens = load_tokens(corpus, "validation", model, max_tokens, judging.n_documents)
    clean = document_losses(bridge, tokens, judging.batch_tokens)
    data = open_activations(activations, hook)
    rows = []
    for one in find(grid, section.family, section.sparsity, section.expansion, hook):
        job = Job(one.sae, grid.model, hook, one.recipe, one.seed, grid.n_samples)
        rivals = train_rivals(data, load_sae(saes / one.sae), job, training)
        sums = reconstruct(bridge, tokens, {hook: list(rivals.values())}, judging.batch_tokens)
        judged = judge_hook(bridge, tokens, hook, sums[hook], clean, judging)
        where = {"model": grid.model, "hook": hook, "seed": one.seed}
        rows += [where | {"kind": kind} | row for kind, row in zip(rivals, judged, strict=True)]
    cosines, null = [], None
    for family in (section.family, section.orthogonal_family):
        for one in find(grid, family, section.sparsity, section.expansion, hook):
            decoder = load_sae(saes / one.sae).W_dec.detach().numpy()
            rng = generator(section.seed, "cosines", one.sae)
            if null is None:  # all are of one shape
                null = random_cosines(decoder.shape, section.n_null, rng)
            found = decoder_orthogonality(decoder, null, judging.n_bootstrap, rng)
            where = {"model": grid.model, "hook": hook, "seed": one.seed, "family": family}
            cosines.append(where | {"orthogonality": one.recipe.orthogonality} | found)
    with atomic_directory(out) as folder:
        write_table(folder / "residual.parquet", pd.DataFrame(rows))
        write_table(folder / "orthogonality.parquet", pd.DataFrame(cosines))
