"""Null distributions: the same measurement on data whose relation was destroyed."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from universality.core.stats import jackknife_interval


def permutation_p(observed: float, null: np.ndarray) -> float:
    """Return the one-sided p-value (1 + b) / (1 + n), b of n null values being >= `observed`.

    It is never 0: n draws cannot show more than 1 / (1 + n) (Phipson & Smyth 2010).
    """
    null = np.asarray(null)
    return float((1 + np.count_nonzero(null >= observed)) / (1 + null.size))


def with_q(table: pd.DataFrame, *columns: str, by: str = "") -> pd.DataFrame:
    """Add to each of `columns` of p-values what Benjamini and Hochberg (1995) make of them.

    `q` of `p`, `x_q` of `x_p`: over all rows, or over those of each value of `by`. Rows without p,
    where nothing was tested, count for nothing; a column that no row has stays away.
    """
    for column in columns:
        if column in table:
            tested = table[table[column].notna()]
            groups = tested.groupby(by if by else np.zeros(len(tested)))[column]
            q = groups.transform(false_discovery_control).reindex(table.index)
            table = table.assign(**{_P.sub("q", column): q})
    return table


_P = re.compile(r"(?<![^_])p(?![^_])")
"""The part `p` of a column's name."""


def judged(
    name: str,
    statistic: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray,
    left_out: np.ndarray,
    null: Sequence[np.ndarray] | np.ndarray,
    within: tuple[float, float] = (-1.0, 1.0),
) -> dict[str, float]:
    """Return a statistic of `values` `(n,)` as `name`, beside its interval and its null.

    `statistic` reduces the last axis. `_low` and `_high` are the 95% jackknife interval, cut at the
    range `within`, from `left_out` `(groups, n)`: the values without one group of documents each.
    They are missing where `left_out` has no rows. The null has too few draws for a p-value: given
    are its mean over the draws of `null`, which may differ in length, and its range.
    """
    observed = float(statistic(values))
    row = {name: observed}
    if len(left_out):
        ends = jackknife_interval(observed, statistic(left_out), within)
        row[f"{name}_low"], row[f"{name}_high"] = ends
    return row | null_range(name, np.array([statistic(draw) for draw in null]))


def null_range(name: str, null: np.ndarray) -> dict[str, float]:
    """Return mean and range of the draws of a null: `_null`, `_null_low` and `_null_high`."""
    return {
        f"{name}_null": float(null.mean()),
        f"{name}_null_low": float(null.min()),
        f"{name}_null_high": float(null.max()),
    }


def or_zero(statistic: Callable[..., np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Return `statistic` over the last axis, but 0 where that axis is empty."""
    return lambda x: statistic(x, axis=-1) if x.shape[-1] else np.zeros(x.shape[:-1])


def shift_offsets(documents: np.ndarray, n_null: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n_null` random circular shifts, in rows, for the shuffled-position null.

    `documents` `(n,)` is the document of every row, in order. Shifting B's rows against A's
    destroys their relation but keeps each feature's values and their autocorrelation. A shift is
    at least the longest document, both ways round, so that no position meets its own document;
    where documents are too few for that, at least a quarter of the rows.
    """
    n = len(documents)
    if n < 4:
        raise ValueError(f"{n} positions are too few for a shifted null; 4 are needed")
    longest = int(np.unique(documents, return_counts=True)[1].max())
    smallest = min(longest, n // 4)
    return rng.integers(smallest, n - smallest + 1, size=n_null)


def documents_meeting(documents: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows `(m,)` of A and of B such that document i of A meets document i + `shift` of B.

    `documents` `(n,)` is the document of every row, in order. Positions meet their like from the
    first of each document on, up to the end of the shorter one; documents go round in a circle.
    What depends on the place in a document alone, such as how stories begin, stays shared, which
    `shift_offsets` would destroy: the stricter null.
    """
    _, first, count = np.unique(documents, return_index=True, return_counts=True)
    length = np.minimum(count, np.roll(count, -shift))
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    rows_a = np.repeat(first, length) + within
    rows_b = np.repeat(np.roll(first, -shift), length) + within
    return rows_a, rows_b
