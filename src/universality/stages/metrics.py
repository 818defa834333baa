"""`universality metrics`: the headline numbers of every study, from its tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

Metrics = dict[str, dict[str, float]]

BRICKEN_2023: Metrics = {
    "bricken_2023_features": {"published_median_r": 0.72},
    "bricken_2023_neurons": {"published_median_r": 0.46},
}
"""Median best-match correlation between two seeds' features (dictionaries of 1-layer models) and
between their neurons (Bricken et al. 2023, Towards Monosemanticity)."""


def command(
    tables: Annotated[Path, typer.Option(help="directory of the studies' tables")],
    out: Annotated[Path, typer.Option(help="directory for one JSON file per study")],
) -> None:
    """Write matching.json, models.json and saes.json: id -> {metric: value}."""
    from universality.io import atomic_directory, write_json

    with atomic_directory(out) as directory:
        write_json(directory / "matching.json", matching_metrics(tables / "matching"))
        write_json(directory / "models.json", model_metrics(tables / "models"))
        write_json(directory / "saes.json", sae_metrics(tables / "saes"))


def matching_metrics(directory: Path) -> Metrics:
    """Return the headlines of every pair; ids say where the layer of B was searched for."""
    metrics = dict(BRICKEN_2023)
    for path in _tables(directory, "*/headline.parquet"):
        for row in _rows(path):
            same = row.pop("selection") == "same_layer"
            layer_a, layer_b, n_searched = row["layer_a"], row["layer_b"], row["n_layers_searched"]
            how = "same_layer" if same else f"best_of_{n_searched}_layers"
            if layer_a < 0:
                del row["layer_a"], row["layer_b"]
                metrics[f"{path.parent.name}_{how}"] = row
            elif not same:
                metrics[f"{path.parent.name}_layer_{layer_a}_{how}"] = row | {"layer_b": layer_b}
    return metrics


def model_metrics(directory: Path) -> Metrics:
    """Return the cross-entropy of every model on every corpus."""
    metrics: Metrics = {}
    for path in _tables(directory, "*.parquet"):
        for row in _rows(path):
            metrics[f"{row.pop('model')}_{row.pop('corpus')}"] = _numbers(row)
    return metrics


def sae_metrics(directory: Path) -> Metrics:
    """Return the evaluation of every SAE of every model."""
    metrics: Metrics = {}
    for path in _tables(directory, "*/evaluation.parquet"):
        for row in _rows(path):
            metrics[f"{row.pop('model')}_{row.pop('sae')}"] = _numbers(row)
    return metrics


def _tables(directory: Path, pattern: str) -> list[Path]:
    from universality.errors import InputError

    paths = sorted(directory.glob(pattern))
    if not paths:
        raise InputError(f"{directory}: no {pattern}; `make repro` or `make pull` makes it")
    return paths


def _rows(path: Path) -> list[dict]:
    """Return the rows of a table as dicts of Python values; a NaN or infinity is an error."""
    import numpy as np

    from universality.errors import InputError
    from universality.io import read_table

    table: pd.DataFrame = read_table(path)
    for name in table.select_dtypes("number"):
        if not np.isfinite(table[name].to_numpy(dtype=float)).all():
            raise InputError(f"{path}: column {name!r} holds a NaN or infinite value")
    return [dict(row) for row in table.to_dict(orient="records")]


def _numbers(row: dict) -> dict[str, float]:
    return {name: value for name, value in row.items() if not isinstance(value, str)}
