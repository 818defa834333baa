"""`universality metrics`: the headline numbers of every study, from its tables."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    tables: Annotated[Path, typer.Option(help="directory of the studies' tables")],
    out: Annotated[Path, typer.Option(help="directory for one JSON file per study")],
) -> None:
    """Write one JSON file per study: id -> {metric: value}."""
    from universality.headlines import all_sae_metrics, model_metrics
    from universality.hierarchy_headlines import all_hierarchy_metrics
    from universality.io import atomic_directory, write_json
    from universality.matching_headlines import all_matching_metrics
    from universality.similarity_headlines import all_similarity_metrics
    from universality.steering_headlines import all_steering_metrics

    with atomic_directory(out) as directory:
        write_json(directory / "hierarchy.json", all_hierarchy_metrics(tables / "hierarchy"))
        write_json(directory / "matching.json", all_matching_metrics(tables))
        write_json(directory / "models.json", model_metrics(tables / "models"))
        write_json(directory / "saes.json", all_sae_metrics(tables))
        write_json(directory / "similarity.json", all_similarity_metrics(tables))
        write_json(directory / "steering.json", all_steering_metrics(tables / "steering"))
