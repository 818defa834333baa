"""`universality run summaries`: the numbers of every study, from its tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="directory of the studies' tables")],
    paper: Annotated[Path, typer.Option(help="folder of claims/ and findings/")],
    out: Annotated[Path, typer.Option(help="directory for one table a study: id, metric, value")],
    metrics: Annotated[Path, typer.Option(help="directory for the few numbers that are shown")],
) -> None:
    """Sum up every study in numbers, from its tables.

    Write all numbers as tables, and those that claims and findings rest on as JSON.
    """
    from universality.core.io import atomic_directory, write_json
    from universality.core.summaries import of_those
    from universality.present.paper.claims import read_claims
    from universality.present.paper.findings import addresses, read_findings
    from universality.present.summaries import chosen, write_summaries
    from universality.studies.hierarchy.summary import all_hierarchy_metrics
    from universality.studies.matching.summary import all_matching_metrics
    from universality.studies.saes.summary import all_model_metrics, all_sae_metrics
    from universality.studies.spaces.summary import all_similarity_metrics
    from universality.studies.steering.summary import all_steering_metrics

    studies = {
        "models": of_those(tables, {"models": all_model_metrics}),
        "saes": of_those(tables, {"saes": all_sae_metrics}),
        "matching": of_those(tables, {"matching": all_matching_metrics}),
        "similarity": of_those(tables, {"similarity": all_similarity_metrics}),
        "steering": of_those(tables, {"steering": all_steering_metrics}),
        "hierarchy": of_those(tables, {"hierarchy": all_hierarchy_metrics}),
    }
    claims = read_claims(paper / "claims").values()
    findings = read_findings(paper / "findings").values()
    wanted = [at for claim in claims for at in claim.addresses()]
    kept = chosen(studies, wanted + [at for one in findings for at in addresses(one, studies)])
    with atomic_directory(out) as folder:
        write_summaries(folder, studies)
    for study, entries in kept.items():
        write_json(metrics / f"{study}.json", entries)
