"""What changed? A few numbers of every study, and curves, for `dvc exp show` and `dvc plots`.

The studies have thousands of numbers, too many for a table of experiments. Here each has a handful,
means over what it repeats.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from universality.core.io import read_table, table_paths, tables_by_name

if TYPE_CHECKING:
    import pandas as pd

SHOWN = {
    "models": (r"(.+)_stories", ("cross_entropy",)),
    "saes": (
        r"(.+)_l\d+_[a-z_]+_seed0",
        ("l0", "explained_variance", "ce_loss_recovered", "dead_fraction"),
    ),
    "matching": (
        r"(?!.*_layer_)(.+)_best_of_\d+_layers?",
        ("median_r", "median_r_null", "share_above"),
    ),
    "similarity": (r"(.+_features)_linear_cka_unbiased", ("value", "random_lm")),
    "steering": (r"decomposition_(.+)_layer_\d+_encode", ("explained", "explained_null")),
    "hierarchy": (r"(.+)_seed\d+_selectivity", ("value", "nested")),
}
"""Study -> pattern of its ids, whose group is the name here, and the metrics shown."""
BINS = np.linspace(-0.2, 1, 49)

Metrics = Mapping[str, Mapping[str, float]]


def summary(studies: Mapping[str, Metrics]) -> dict[str, dict[str, dict[str, float]]]:
    """Return study -> name -> metric -> mean over the ids that share the name (layers, hooks)."""
    result: dict[str, dict[str, dict[str, float]]] = {}
    for study, (pattern, shown) in SHOWN.items():
        groups: dict[str, list[Mapping[str, float]]] = {}
        for name, values in studies[study].items():
            found = re.fullmatch(pattern, name)
            if found and shown[0] in values:
                groups.setdefault(found[1], []).append(values)
        result[study] = {
            name: {key: float(np.mean([x[key] for x in group])) for key in shown if key in group[0]}
            for name, group in groups.items()
        }
    return result


def training_curves(directory: Path) -> "pd.DataFrame":
    """Return model, sae, samples, loss, l0 and dead_fraction of every SAE in training."""
    columns = ["sae", "samples", "loss", "l0", "dead_fraction"]
    return _stacked(tables_by_name(directory), "model", columns)


def best_r(directory: Path) -> "pd.DataFrame":
    """Return the histogram of best r: pair, r (middle of a bin), share of features, null_share.

    Each layer of A with its best layer of B, living features only, as in the figure.
    """
    import pandas as pd

    rows = {}
    for path in table_paths(directory, "*/features.parquet"):
        best = read_table(path.with_name("headline.parquet")).query(
            "selection == 'best_layer' and layer_a >= 0"
        )
        features = read_table(path).merge(best[["layer_a", "layer_b"]]).query("alive")
        shares = {
            name: np.histogram(features[column], BINS)[0] / len(features)
            for name, column in (("share", "r"), ("null_share", "null_r"))
        }
        rows[path.parent.name] = pd.DataFrame({"r": (BINS[1:] + BINS[:-1]) / 2, **shares})
    return _stacked(rows, "pair", ["r", "share", "null_share"])


def layer_pairs(directory: Path) -> "pd.DataFrame":
    """Return the heat maps: pair, layer_a, layer_b, median_r of living features, its null."""
    columns = ["layer_a", "layer_b", "median_r", "median_r_null"]
    paths = table_paths(directory, "*/layers.parquet")
    return _stacked({path.parent.name: read_table(path) for path in paths}, "pair", columns)


def _stacked(tables: "Mapping[str, pd.DataFrame]", name: str, columns: list[str]) -> "pd.DataFrame":
    """Return `columns` of all `tables`, and their keys as column `name`."""
    import pandas as pd

    parts = [table[columns].assign(**{name: key}) for key, table in tables.items()]
    stacked: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return stacked.round(6)
