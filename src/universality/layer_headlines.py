"""The headline numbers of whole layers, from their tables: id -> {metric: value}."""

from pathlib import Path

from universality.headlines import Metrics, numbers_of, table_rows
from universality.io import table_paths


def layer_metrics(tables: Path) -> Metrics:
    """Return which layers are found again in other seeds, and what stitching recovers."""
    return identification_metrics(tables / "layer_identification") | stitching_metrics(
        tables / "stitching"
    )


def identification_metrics(directory: Path) -> Metrics:
    """Return the accuracy of every measure at every site; `_null` is before training."""
    metrics: Metrics = {}
    for row in table_rows(directory / "models.parquet"):
        metrics[f"identified_lm_{row['kind']}_seed{row['seed']}"] = numbers_of(row)
    for row in table_rows(directory / "accuracy.parquet"):
        metrics[f"identified_{row['site']}_{row['measure']}"] = numbers_of(row)
    return metrics


def stitching_metrics(directory: Path) -> Metrics:
    """Return the best stitch into every layer of B, beside its null and its control."""
    metrics: Metrics = {}
    for path in table_paths(directory, "*/best.parquet"):
        for row in table_rows(path):
            layer = int(row.pop("layer_b"))
            metrics[f"stitch_{path.parent.name}_layer_{layer}"] = numbers_of(row)
    return metrics
