"""The pairs of features that the page shows: every pairing that the matching study judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from universality.core.bootstrap import document_sums, resampled_r
from universality.core.engine.moments import Sparse
from universality.core.errors import InputError
from universality.studies.matching.labels import PAIRINGS
from universality.studies.matching.pairings import Pairing, Partners, by_nearest
from universality.studies.matching.tables import best_layers

FIRST = "a_to_b"
"""The pairing that is judged for every pair of layers."""
NUMBERS = ("median_r", "median_r_low", "median_r_high", "median_r_null", "n_pairs_null", "n_null")


@dataclass(frozen=True)
class Paired:
    """One pairing of the features of a layer of A with those of a layer of B."""

    layer_a: int
    layer_b: int
    pairing: str
    pairs: Pairing
    numbers: Mapping[str, float]
    """What the matching study says of it, keys of `NUMBERS`; those of pairs in the null lack where
    only the nearest features were judged."""


ROf = Callable[[int, int, np.ndarray, np.ndarray], np.ndarray]
"""From layer of A, layer of B, features of A and of B, `(n_pairs,)` each, to their r."""


def layer_pairs(tables: Mapping[str, pd.DataFrame], which: str) -> list[tuple[int, int, bool]]:
    """Return layer of A, layer of B and whether it is the best for A; the best ones first.

    `which` is "all" or "best", `tables` are those of the matching study by name.
    """
    best = best_layers(tables["headline"])
    first = [(int(a), int(b)) for a, b in best[["layer_a", "layer_b"]].to_numpy()]
    every = [(int(a), int(b)) for a, b in tables["layers"][["layer_a", "layer_b"]].to_numpy()]
    rest = [pair for pair in every if pair not in first] if which == "all" else []
    return [(*pair, True) for pair in first] + [(*pair, False) for pair in rest]


def paired(tables: Mapping[str, pd.DataFrame], layers: tuple[int, int], r_of: ROf) -> list[Paired]:
    """Return every pairing of two layers that has a null in `tables`, in their order."""
    features, backward = (_of_layers(tables[name], layers) for name in ("features", "backward"))
    found = by_nearest(
        _partners(features.sort_values("feature_a")), _partners(backward.sort_values("feature_b"))
    )
    written = _of_layers(tables["pairs"], layers)
    for name in PAIRINGS.keys() - found.keys():
        rows = written.query("pairing == @name").sort_values("feature_a")
        if len(rows):
            a, b = rows["feature_a"].to_numpy(), rows["feature_b"].to_numpy()
            found[name] = Pairing(a, b, r_of(*layers, a, b))
    judged = _of_layers(tables["pairings"], layers).set_index("pairing")
    numbers = {str(name): judged.loc[name] for name in judged.index}
    numbers.setdefault(FIRST, _of_layers(tables["layers"], layers).iloc[0])
    return [
        Paired(
            *layers,
            name,
            found[name],
            {key: float(numbers[name][key]) for key in NUMBERS if key in numbers[name]},
        )
        for name in PAIRINGS
        if name in found and name in numbers
    ]


def _of_layers(table: pd.DataFrame, layers: tuple[int, int]) -> pd.DataFrame:
    rows = table.query(f"layer_a == {layers[0]} and layer_b == {layers[1]}")
    if rows.empty and "partner" in table:
        raise InputError(f"layer {layers[0]} of A was not matched with layer {layers[1]} of B")
    return rows


def _partners(rows: pd.DataFrame) -> Partners:
    return Partners(rows["partner"].to_numpy(), rows["r"].to_numpy())


def correlations(a: Sparse, b: Sparse, pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return Pearson's r of pairs of columns, `(n_pairs,)`, of `(n, d_a)` and `(n, d_b)`."""
    columns = [sp.csr_matrix(side)[:, names] for side, names in zip((a, b), pairs, strict=True)]
    sums = document_sums(columns[0], columns[1], np.zeros(a.shape[0]))
    return resampled_r(sums, np.ones((1, 1)))[0]
