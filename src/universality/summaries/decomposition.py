"""Summary of what steering vectors are made of: id -> {metric: value}."""

from pathlib import Path

import numpy as np

from universality.io import read_table, table_paths
from universality.summaries.common import Metrics, numbers_of, table_rows


def decomposition_metrics(directory: Path) -> Metrics:
    """Return every way of decomposing vectors, by layer: fidelity, and what it does.

    Also what the encoder makes of the vectors as they are (`misreading`), means over vectors with
    their extremes.
    """
    metrics: Metrics = {}
    for path in table_paths(directory, "*/summary.parquet"):
        model = path.parent.name
        for row in table_rows(path, finite=False):
            metrics[f"decomposition_{model}_layer_{row['layer']}_{row['method']}"] = numbers_of(row)
        zero, lost = (read_table(path.with_name(f"{name}.parquet")) for name in ("zero", "lost"))
        once = zero.loc[(zero["multiplier"] == 1).to_numpy()]
        for table, names in (
            (once, ("overlap_zero", "activation_zero", "overlap_others")),
            (lost, ("negative_share", "positive_named", "negative_named")),
        ):
            for layer in sorted(set(table["layer"])):
                rows = table.loc[(table["layer"] == layer).to_numpy()]
                entry = metrics.setdefault(f"misreading_{model}_layer_{layer}", {})
                for name in names:
                    values = rows[name].to_numpy(dtype=float)
                    entry[name] = float(values.mean())
                    entry |= {f"{name}_min": float(values.min())}
                    entry |= {f"{name}_max": float(values.max())}
                    if f"{name}_random" in rows:
                        entry[f"{name}_null"] = float(np.mean(rows[f"{name}_random"]))
    return metrics


def part_metrics(directory: Path) -> Metrics:
    """Return parts of vectors at every multiplier, ablations downstream, and patched SAEs."""
    metrics: Metrics = {}
    for path in table_paths(directory, "*/pareto.parquet"):
        model = path.parent.name
        for row in table_rows(path, finite=False):
            key = f"part_{model}_layer_{row['layer']}_{row['part']}_times_{row['multiplier']:g}"
            metrics[key] = numbers_of(row)
        for name, columns in (
            ("ablation", ("vector", "by", "concept")), ("patches", ("patched", "patch")),
        ):  # fmt: skip
            if (file := path.with_name(f"{name}.parquet")).exists():
                for row in table_rows(file, finite=False):
                    where = "_".join(str(row[column]) for column in columns)
                    metrics[f"{name}_{model}_layer_{row['layer']}_{where}"] = numbers_of(row)
    return metrics
