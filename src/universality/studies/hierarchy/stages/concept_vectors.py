"""`universality run concept-vectors`: hierarchical concepts in a model's unembedding."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.hierarchy.params.hierarchy import ConceptGraph, Hierarchy


def command(
    key: Annotated[str, typer.Argument(help="key of `concept_graphs` and `concept_vectors`")],
    graph: Annotated[Path, typer.Option(help="output of `concept-graph`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    corpus: Annotated[Path, typer.Option(help="corpus directory, for prompts")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Test the geometry of hierarchical concepts in the unembedding.

    Test existence, orthogonality, simplices and interventions, each beside its controls.
    """
    wanted = load_section(params, ConceptGraph, "concept_graphs", key)
    settings = load_section(params, Hierarchy, "hierarchy")

    from universality.core.io import atomic_directory, write_table
    from universality.core.unembedding import read_unembedding
    from universality.studies.hierarchy.files import read_concepts
    from universality.studies.hierarchy.unembedding_study import (
        claim_tables,
        intervention_table,
        polytope_tables,
        read_prompts,
    )
    from universality.studies.hierarchy.vectors import whitening

    concepts = read_concepts(graph)
    unembedding = read_unembedding(model)
    tables = claim_tables(key, unembedding, concepts, wanted, settings)
    white = whitening(unembedding, settings.ablations[0].causal)
    tables |= polytope_tables(key, white(unembedding), concepts, wanted, settings)
    if wanted.interventions:
        prompts, documents = read_prompts(model, corpus, max_tokens, unembedding, settings)
        tables["interventions"] = intervention_table(
            key, white, prompts, documents, concepts, wanted, settings
        )
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
