"""`universality run compare-concepts`: is the geometry of concepts alike in two models."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.hierarchy.params.hierarchy import ConceptGraph, ConceptPair, Hierarchy


def command(
    key: Annotated[str, typer.Argument(help="pair: key of `concept_pairs`")],
    graphs: Annotated[Path, typer.Option(help="outputs of `concept-graph`, one folder each")],
    models: Annotated[Path, typer.Option(help="folder of the models")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Compare the geometry of concepts in two models.

    Compare the cosines of the concept vectors that both models have.
    """
    pair = load_section(params, ConceptPair, "concept_pairs", key)
    settings = load_section(params, Hierarchy, "hierarchy")
    wanted = [load_section(params, ConceptGraph, "concept_graphs", side) for side in pair.graphs]

    from universality.core.io import atomic_directory, write_table
    from universality.core.unembedding import read_unembedding
    from universality.studies.hierarchy.between_models import study
    from universality.studies.hierarchy.files import read_concepts
    from universality.studies.hierarchy.graph import restricted
    from universality.studies.hierarchy.vectors import whitening

    kept, rows = [], []
    for side, section in zip(pair.graphs, wanted, strict=True):
        every = read_concepts(graphs / side)
        kept.append(restricted(every, every.tokens, section.min_tokens))
        unembedding = read_unembedding(models / section.model)
        rows.append(whitening(unembedding)(unembedding).astype("float32"))
    with atomic_directory(out) as folder:
        write_table(folder / "rsa.parquet", study(rows, kept, settings, key))
