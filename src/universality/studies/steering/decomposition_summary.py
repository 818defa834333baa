"""Summary of what steering vectors are made of: id -> {metric: value}."""

from pathlib import Path

import pandas as pd

from universality.core.io import read_table, table_paths
from universality.core.summaries import Metrics, numbers_of, table_rows
from universality.core.tables import column, groups, where


def decomposition_metrics(directory: Path) -> Metrics:
    """Return every way of decomposing vectors, by layer: fidelity, and what it does.

    Also what the encoder makes of the vectors as they are (`misreading`) and what the vectors say
    through the logit lens (`lens`): means over vectors with their extremes.
    """
    metrics: Metrics = {}
    for path in table_paths(directory, "*/summary.parquet"):
        model = path.parent.name
        for row in table_rows(path, finite=False):
            metrics[f"decomposition_{model}_layer_{row['layer']}_{row['method']}"] = numbers_of(row)
        zero, lost, lens = (
            read_table(path.with_name(f"{name}.parquet")) for name in ("zero", "lost", "lens")
        )
        misread = ("overlap_zero", "activation_zero", "overlap_others")
        named = ("negative_share", "positive_named", "negative_named")
        for what, table, names in (
            ("misreading", where(zero, multiplier=1), misread),
            ("misreading", lost, named),
            ("lens", where(lens, what="vector"), ("direct",)),
        ):
            for (layer,), rows in groups(table, "layer"):
                entry = metrics.setdefault(f"{what}_{model}_layer_{layer}", {})
                entry |= {"n_vectors": len(rows)} | _over_vectors(rows, names)
    return metrics


def _over_vectors(rows: pd.DataFrame, names: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in names:
        values = column(rows, name)
        found |= {name: float(values.mean())}
        found |= {f"{name}_min": float(values.min()), f"{name}_max": float(values.max())}
        for null in (f"{name}_random", f"{name}_null"):
            if null in rows:
                found[f"{name}_null"] = float(column(rows, null).mean())
    return found


def part_metrics(directory: Path) -> Metrics:
    """Return parts of vectors at every multiplier, and patched SAEs."""
    metrics: Metrics = {}
    for path in table_paths(directory, "*/pareto.parquet"):
        model = path.parent.name
        for row in table_rows(path, finite=False):
            key = f"part_{model}_layer_{row['layer']}_{row['part']}_times_{row['multiplier']:g}"
            metrics[key] = numbers_of(row)
        file = path.with_name("patches.parquet")
        for row in table_rows(file, finite=False) if file.exists() else ():
            where_to = f"{row['patched']}_{row['patch']}"
            metrics[f"patches_{model}_layer_{row['layer']}_{where_to}"] = numbers_of(row)
    return metrics
