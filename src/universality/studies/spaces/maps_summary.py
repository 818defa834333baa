"""Summary of the maps of features, from their tables: id -> {metric: value}."""

from pathlib import Path

from universality.core.io import table_paths
from universality.core.summaries import Metrics, numbers_of, table_rows

_FLAGS = ("tested", "closed", "enough")


def map_metrics(tables: Path) -> Metrics:
    """Return the summary of every map in `tables`, the folder of feature-maps.

    Words by order, source and space (`tested` 0 where they could not be tested), CCA by
    representation and, where the profile has them, clusters by space and method and the plane of
    each side that is most like an irreducible feature by Engels et al. (`_most_irreducible`: chosen
    afterwards).
    """
    metrics: Metrics = {}
    for path in table_paths(tables, "*/orders.parquet"):
        key = path.parent.name
        for row in table_rows(path, finite=False):
            where = f"{key}_{row['side']}_{row['order']}_{row['source']}_{row['space']}"
            metrics[where] = _tested(row)
        for row in _rows_of(path, "cca"):
            metrics[f"{key}_cca_{row['representation']}"] = numbers_of(row)
        for row in _rows_of(path, "orders_across"):
            where = f"{key}_{row['order']}_{row['source']}_{row['space']}_alike"
            metrics[where] = _tested(row)
        for row in _rows_of(path, "summary"):
            where = f"{key}_{row['side']}_{row['space']}_{row['method']}"
            metrics[where] = numbers_of(row)
        metrics |= _words(key, _rows_of(path, "words"))
        metrics |= _most_irreducible(key, _rows_of(path, "shapes"))
    return metrics


def _rows_of(path: Path, name: str) -> list[dict]:
    """Return the rows of table `name` beside `path`, none if the profile leaves it out."""
    other = path.with_name(f"{name}.parquet")
    return table_rows(other, finite=False) if other.exists() else []


def _tested(row: dict) -> dict[str, float]:
    numbers = {name: value for name, value in numbers_of(row).items() if name not in _FLAGS}
    return numbers | {"tested": int(row["tested"])}


def _words(key: str, rows: list[dict]) -> Metrics:
    """Return how many words of each order the shared text holds often enough."""
    found: Metrics = {}
    for row in rows:
        if row["side"] == "a":
            entry = found.setdefault(
                f"{key}_words_{row['order']}", {"n_words": 0, "n_enough": 0, "n_positions": 0}
            )
            entry["n_words"] += 1
            entry["n_enough"] += int(row["enough"])
            entry["n_positions"] += row["n_positions"]
    return found


def _most_irreducible(key: str, rows: list[dict]) -> Metrics:
    """Return the plane with the largest separability * (1 - mixture), as Engels et al. rank."""
    best: dict[str, dict] = {}
    for row in rows:
        score = row["separability"] * (1 - row["mixture"])
        if score > best.get(row["side"], {"score": -1})["score"]:
            best[row["side"]] = row | {"score": score}
    return {f"{key}_{side}_most_irreducible": numbers_of(row) for side, row in best.items()}
