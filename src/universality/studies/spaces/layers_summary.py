"""Summary of whole layers, from their tables: id -> {metric: value}."""

from pathlib import Path

from universality.core.io import table_paths
from universality.core.summaries import Metrics, numbers_of, table_rows


def identification_metrics(directory: Path) -> Metrics:
    """Return the accuracy of every measure at every site; `_null` is before training."""
    metrics: Metrics = {}
    for path in table_paths(directory, "*/accuracy.parquet"):
        key = f"identified_{path.parent.name}"
        for row in table_rows(path.with_name("models.parquet")):
            metrics[f"{key}_lm_{row['kind']}_seed{row['seed']}"] = numbers_of(row)
        for row in table_rows(path):
            metrics[f"{key}_{row['site']}_{row['measure']}"] = numbers_of(row)
    return metrics


def stitching_metrics(directory: Path) -> Metrics:
    """Return the best stitch into every layer of B, beside its null and its control.

    Also, over all of them (`stitch_all`), the least low end of the gain over the control.
    """
    metrics: Metrics = {}
    for path in table_paths(directory, "*/best.parquet"):
        for row in table_rows(path):
            layer = int(row.pop("layer_b"))
            metrics[f"stitch_{path.parent.name}_layer_{layer}"] = numbers_of(row)
    least = min((row["over_control_low"] for row in metrics.values()), default=None)
    return metrics if least is None else metrics | {"stitch_all": {"least_gain": least}}
