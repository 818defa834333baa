"""Summary of the study of steering, from its tables: id -> {metric: value}."""

from pathlib import Path

import numpy as np

from universality.core.io import read_table, table_paths
from universality.core.summaries import Metrics, numbers_of, of_those, table_rows
from universality.core.tables import column, groups
from universality.studies.steering.decomposition_summary import decomposition_metrics, part_metrics


def all_steering_metrics(tables: Path) -> Metrics:
    """Return the summary of the whole study of steering."""
    parts = {
        "effects": effect_metrics,
        "downstream": downstream_metrics,
        "maps": map_metrics,
        "transfer": transfer_metrics,
        "decomposition": decomposition_metrics,
        "parts": part_metrics,
    }
    return of_those(tables, parts)


def effect_metrics(directory: Path) -> Metrics:
    """Return the effect of every vector at every layer, at the multipliers that were written with.

    And, of the study's own method, the perplexity of what was written; and the effect of one dose
    in every layer (`depth`), the mean over contrasts.
    """
    metrics: Metrics = {}
    for path in table_paths(directory, "*/summary.parquet"):
        rows = table_rows(path, finite=False)
        written = {row["multiplier"] for row in rows if "perplexity_greedy" in row}
        for row in (row for row in rows if row["multiplier"] in written):
            where = f"{path.parent.name}_{row['contrast']}_{row['kind']}_layer_{row['layer']}"
            metrics[f"effect_{where}_times_{row['multiplier']:g}"] = numbers_of(row)
        for row in table_rows(path.with_name("vectors.parquet"), finite=False):
            key = f"vector_{path.parent.name}_{row['contrast']}_layer_{row['layer']}"
            metrics[key] = numbers_of(row)
        for row in table_rows(path.with_name("depth.parquet"), finite=False):
            metrics[f"depth_{path.parent.name}_layer_{row['layer']}"] = numbers_of(row)
    return metrics


def downstream_metrics(directory: Path) -> Metrics:
    """Return how far every vector changes every later hook.

    And over all contrasts (`spread`): the change as a multiple of that of random vectors of equal
    length, and the variance that the SAE leaves with (`error`) and without a vector.
    """
    metrics = _by_place("downstream", directory, "*/spread.parquet")
    for path in table_paths(directory, "*/spread.parquet"):
        places = groups(read_table(path), "steered_layer", "site", "layer")
        for (steered_layer, site, layer), rows in places:
            where = f"{path.parent.name}_layer_{steered_layer}"
            entry = metrics.setdefault(f"spread_{where}_at_{site.replace('.', '_')}_{layer}", {})
            entry["n_contrasts"] = len(rows)
            for name in ("relative_change", "changed"):
                times = column(rows, name) / column(rows, f"{name}_null")
                entry |= {f"{name}_times_{end}": float(pick(times)) for end, pick in _OVER.items()}
            for name in ("error", "error_plain"):
                entry[name] = float(column(rows, name).mean())
    return metrics


_OVER = {"mean": np.mean, "least": np.min, "most": np.max}


def map_metrics(directory: Path) -> Metrics:
    """Return how far every vector moves positions, in features and on maps of them."""
    return _by_place("map", directory, "*/summary.parquet")


def _by_place(what: str, directory: Path, pattern: str) -> Metrics:
    """Return the rows of tables, each by its contrast, where it was added and where looked at."""
    metrics: Metrics = {}
    for path in table_paths(directory, pattern):
        for row in table_rows(path, finite=False):
            where = f"{path.parent.name}_{row['contrast']}_layer_{row['steered_layer']}"
            key = f"{what}_{where}_at_{row['site'].replace('.', '_')}_{row['layer']}"
            metrics[key] = numbers_of(row)
    return metrics


def transfer_metrics(directory: Path) -> Metrics:
    """Return B steered with vectors of A, and, if asked for, whether features change together.

    Of the latter the mean over pairs of layers, beside that of random vectors (`_random`).
    """
    metrics: Metrics = {}
    for path in table_paths(directory, "*/summary.parquet"):
        for row in table_rows(path, finite=False):
            where = f"{path.parent.name}_{row['contrast']}_layer_{row['layer_a']}"
            metrics[f"transfer_{where}_times_{row['multiplier']:g}"] = numbers_of(row)
        found: dict[str, dict[str, list[float]]] = {}
        file = path.with_name("matched.parquet")
        for row in table_rows(file, finite=False) if file.exists() else ():
            key = f"matched_{path.parent.name}_{row['contrast']}_layer_{row['steered_layer_a']}"
            entry = found.setdefault(key, {})
            entry.setdefault(row["steered_b"], []).append(row["spearman"])
            entry.setdefault(f"{row['steered_b']}_null", []).append(row["spearman_null"])
        for key, values in found.items():
            metrics[key] = {
                f"spearman_{kind}": sum(some) / len(some) for kind, some in values.items()
            }
    return metrics
