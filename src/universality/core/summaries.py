"""What all summaries are made of: rows of tables, and their numbers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from universality.core.errors import InputError
from universality.core.io import read_table

if TYPE_CHECKING:
    import pandas as pd

Metrics = dict[str, dict[str, float]]
"""Id -> metric -> value."""


def of_those(tables: Path, parts: Mapping[str, Callable[[Path], Metrics]]) -> Metrics:
    """Return the summaries of the parts of a study: folder of `tables` -> what sums it up.

    The profile decides which parts a study has; of the others there is no folder.
    """
    found: Metrics = {}
    for folder, summary in parts.items():
        if (tables / folder).exists():
            found |= summary(tables / folder)
    return found


def table_rows(path: Path, finite: bool = True) -> list[dict]:
    """Return the rows of a table as dicts of Python values.

    A NaN or infinity is an error, or, if not `finite`, left out: the interval of a single seed.
    """
    table: pd.DataFrame = read_table(path)
    for name in table.select_dtypes("number"):
        if finite and not np.isfinite(table[name].to_numpy(dtype=float)).all():
            raise InputError(f"{path}: column {name!r} holds a NaN or infinite value")
    rows = table.to_dict(orient="records")
    return [
        {str(k): v for k, v in row.items() if isinstance(v, str) or np.isfinite(v)} for row in rows
    ]


def numbers_of(row: dict) -> dict[str, float]:
    """Return what of a row is a number."""
    return {name: value for name, value in row.items() if not isinstance(value, str)}
