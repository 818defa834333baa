"""Summary of the maps of features, from their tables: id -> {metric: value}."""

from pathlib import Path

from universality.io import table_paths
from universality.summaries.common import Metrics, numbers_of, table_rows

_FLAGS = ("tested", "closed", "enough")


def map_metrics(tables: Path) -> Metrics:
    """Return the summary of every map in `tables`, the folder of feature-maps.

    Clusters by space and method, effective dimensions, CCA by representation, words by order,
    source and space (`tested` 0 where they could not be tested), and the plane of each side that is
    most like an irreducible feature by Engels et al. (`_most_irreducible`: chosen afterwards).
    """
    metrics: Metrics = {}
    for path in table_paths(tables, "*/summary.parquet"):
        key = path.parent.name
        for row in table_rows(path, finite=False):
            where = f"{key}_{row['side']}_{row['space']}_{row['method']}"
            metrics[where] = numbers_of(row)
        for row in table_rows(path.with_name("spectrum.parquet")):
            if row["component"] == 1:
                metrics[f"{key}_{row['side']}_{row['space']}_spectrum"] = numbers_of(row)
        for row in table_rows(path.with_name("cca.parquet"), finite=False):
            metrics[f"{key}_cca_{row['representation']}"] = numbers_of(row)
        for row in table_rows(path.with_name("orders.parquet"), finite=False):
            where = f"{key}_{row['side']}_{row['order']}_{row['source']}_{row['space']}"
            metrics[where] = _tested(row)
        for row in table_rows(path.with_name("orders_across.parquet"), finite=False):
            where = f"{key}_{row['order']}_{row['source']}_{row['space']}_alike"
            metrics[where] = _tested(row)
        metrics |= _words(key, path.with_name("words.parquet"))
        metrics |= _most_irreducible(key, path.with_name("shapes.parquet"))
    return metrics


def _tested(row: dict) -> dict[str, float]:
    numbers = {name: value for name, value in numbers_of(row).items() if name not in _FLAGS}
    return numbers | {"tested": int(row["tested"])}


def _words(key: str, path: Path) -> Metrics:
    """Return how many words of each order the shared text holds often enough."""
    found: Metrics = {}
    for row in table_rows(path):
        if row["side"] == "a":
            entry = found.setdefault(
                f"{key}_words_{row['order']}", {"n_words": 0, "n_enough": 0, "n_positions": 0}
            )
            entry["n_words"] += 1
            entry["n_enough"] += int(row["enough"])
            entry["n_positions"] += row["n_positions"]
    return found


def _most_irreducible(key: str, path: Path) -> Metrics:
    """Return the plane with the largest separability * (1 - mixture), as Engels et al. rank."""
    best: dict[str, dict] = {}
    for row in table_rows(path):
        score = row["separability"] * (1 - row["mixture"])
        if score > best.get(row["side"], {"score": -1})["score"]:
            best[row["side"]] = row | {"score": score}
    return {f"{key}_{side}_most_irreducible": numbers_of(row) for side, row in best.items()}
