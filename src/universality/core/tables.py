"""Rows of tables."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd


def where(table: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """Return the rows whose columns have the values `wanted`."""
    kept = np.ones(len(table), dtype=bool)
    for column, value in wanted.items():
        kept &= (table[column] == value).to_numpy(dtype=bool)
    return table.loc[kept]


def groups(table: pd.DataFrame, *columns: str) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Yield the rows that are alike in `columns`, and what they have there, in order."""
    for key in table[list(columns)].drop_duplicates().itertuples(index=False, name=None):
        yield key, where(table, **dict(zip(columns, key, strict=True)))


def column(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column of numbers, float64."""
    return table[name].to_numpy(dtype=float)


def means(table: pd.DataFrame, keys: list[str], values: list[str]) -> pd.DataFrame:
    """Return the mean of `values` over the rows that are alike in `keys`."""
    rows = [
        dict(zip(keys, key, strict=True)) | {name: column(part, name).mean() for name in values}
        for key, part in groups(table, *keys)
    ]
    return pd.DataFrame(rows)
