"""`universality run svcca-audit`: what the published SVCCA measures."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.matching.params.matching import ConceptLists, Matching
from universality.studies.spaces.params.similarity import Audit, Similarity


def command(
    models: Annotated[Path, typer.Option(help="folder of the models")],
    saes: Annotated[Path, typer.Option(help="folder of the SAEs, one of each model")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    concepts: Annotated[Path, typer.Option(help="tokens that name nothing")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Recompute what the published SVCCA measures.

    Compute it on random numbers and, as released and corrected, on two of our models.
    """
    audit = load_section(params, Audit, "svcca_audit")
    settings = load_section(params, Similarity, "similarity")
    matching = load_section(params, Matching, "matching")
    lists = load_section(concepts, ConceptLists)

    from universality.core.io import atomic_directory, write_table
    from universality.studies.matching.files import Directories
    from universality.studies.spaces.similarity.audit import audit_tables

    a, b = (
        Directories(Path(), models / model, saes / model, seed)
        for model, seed in ((audit.a, audit.a_seed), (audit.b, audit.b_seed))
    )
    tables = audit_tables((a, b), corpus, max_tokens, audit, settings, matching, lists)
    with atomic_directory(out) as directory:
        for name, table in tables.items():
            write_table(directory / f"{name}.parquet", table)
