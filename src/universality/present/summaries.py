"""The summaries of all studies as files: complete as tables, and the few of `metrics/`.

A number has an address: `matching:ID.METRIC`. All of them are in
`data/tables/summaries/<study>.parquet` (id, metric, value), where the paper reads them. Those that
findings and claims rest on are also in `metrics/<study>.json`, which git tracks.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from universality.core.errors import InputError
from universality.core.io import read_table, write_table
from universality.core.numbers import AllMetrics, beside, parse, value
from universality.core.summaries import Metrics

BESIDE = ("low", "high", "null", "null_high", "p")
"""What stands beside a number and is kept with it."""


def write_summaries(directory: Path, studies: Mapping[str, Metrics]) -> None:
    """Write a table for each study, one row a number.

    A number that is not finite is left out: a ratio to nothing, the interval of a single seed.
    """
    import pandas as pd

    for study, entries in studies.items():
        rows = [
            {"id": name, "metric": metric, "value": float(number)}
            for name, numbers in sorted(entries.items())
            for metric, number in sorted(numbers.items())
            if math.isfinite(number)
        ]
        table = pd.DataFrame(rows, columns=["id", "metric", "value"])
        write_table(directory / f"{study}.parquet", table.astype({"value": "float64"}))


def read_summaries(directory: Path, studies: Iterable[str]) -> dict[str, Metrics]:
    """Return what `write_summaries` wrote."""
    return {study: read_summary(directory / f"{study}.parquet") for study in studies}


def read_summary(path: Path) -> Metrics:
    """Return one study's numbers: id -> metric -> value."""
    entries: Metrics = {}
    for name, metric, number in read_table(path).itertuples(index=False):
        entries.setdefault(name, {})[metric] = float(number)
    return entries


def chosen(all_numbers: AllMetrics, addresses: Iterable[str]) -> dict[str, Metrics]:
    """Return the numbers at `addresses` and what stands beside them, by study.

    Addresses that this run has no number for are left out: the profile decides what there is.
    """
    found: dict[str, Metrics] = {study: {} for study in all_numbers}
    for address in addresses:
        study = parse(address)[0]
        if study not in found:
            raise InputError(f"{address}: no study {study!r}; there is: {', '.join(found)}")
        for one in (address, *(beside(address, end) for end in BESIDE)):
            number = value(all_numbers, one)
            if number is not None:
                _, entry, metric = parse(one)
                found[study].setdefault(entry, {})[metric] = number
    return found
