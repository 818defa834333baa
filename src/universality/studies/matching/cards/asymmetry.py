"""Which of two matched features is the more general: whose firing contains whose.

P(B|A) is the share of A's firing positions on which B fires too, n_ab / n_a on shared positions.
Its difference from P(A|B) is n_ab (1 / n_a - 1 / n_b): the sign says only which of the two fires
more often, and with enough text any difference shows. So B is called more general if it fires a
given number of times as often, and also joins A's firing: P(B|A) has a floor, and is above B's
density, which is what independent firing would give.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from universality.core.engine.moments import Sparse
from universality.core.randomness import generator
from universality.core.stats import document_weights, percentile_interval
from universality.studies.matching.tables import POOLED, each_and_all

B_MORE, A_MORE = "b_more_general", "a_more_general"
ALIKE, APART, UNDECIDED = "alike", "apart", "undecided"
LABELS = {
    A_MORE: "A more general",
    B_MORE: "B more general",
    ALIKE: "alike",
    APART: "apart",
    UNDECIDED: "undecided",
}
MEASURES = ("p_b_given_a", "p_a_given_b", "difference", "rate_ratio")
_SUMMED = MEASURES[:3]


@dataclass(frozen=True)
class Asymmetry:
    """The pairs of one layer of A with one of B."""

    table: pd.DataFrame
    """One row per pair."""
    resampled: Mapping[str, np.ndarray]
    """Measures over resampled documents, `(n_bootstrap, n_pairs)`."""


def asymmetry(
    a: Sparse,
    b: Sparse,
    pairs: pd.DataFrame,
    documents: np.ndarray,
    weights: np.ndarray,
    *,
    contained: float,
    wider: float,
    min_documents: int,
    random: np.random.Generator,
) -> Asymmetry:
    """Measure the asymmetry of `pairs` (columns feature_a, partner, alive; others are kept).

    `a` `(n, d_a)` and `b` `(n, d_b)` are over the same positions, `documents` `(n,)`; intervals are
    95%, over the resampled documents of `weights` (`stats.document_weights`). Only alive features
    with a partner are measured. Null of a measure: firing is independent, so that P(B|A) is B's
    density. Null of a label (`label_null`): the partners are dealt anew among the pairs.
    """
    pairs = pairs.query("alive and partner >= 0").reset_index(drop=True)
    fires_a = _fires(a, pairs["feature_a"].to_numpy())
    fires_b = _fires(b, pairs["partner"].to_numpy())
    _, index = np.unique(documents, return_inverse=True)
    members: Any = sp.csr_matrix((np.ones(len(index)), (index, np.arange(len(index)))))
    per_a, per_b = ((members @ fires).toarray() for fires in (fires_a, fires_b))
    order, found = random.permutation(len(pairs)), []
    for dealt in (np.arange(len(pairs)), order):
        both = (members @ fires_a.multiply(fires_b[:, dealt])).toarray()
        judged, resampled = _judge((per_a, per_b[:, dealt], both), len(index), weights)
        judged["label"] = label(judged, contained, wider, min_documents)
        found.append((judged, resampled))
    (judged, resampled), (under_null, _) = found
    table = pairs.assign(**judged, label_null=under_null["label"])
    return Asymmetry(table, {name: resampled[name].astype(np.float32) for name in _SUMMED})


def _judge(
    per_document: tuple[np.ndarray, np.ndarray, np.ndarray], n: int, weights: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return counts, measures with intervals and nulls; and the measures over resamples.

    `per_document` are the positions where A, B and both fire, `(n_documents, n_pairs)` each, of `n`
    positions in all. In a resample that lacks a feature, its pairs stay as observed.
    """
    counts = [part.sum(0) for part in per_document]
    names = "n_a", "n_b", "n_both"
    found = {name: count.astype(np.int64) for name, count in zip(names, counts, strict=True)}
    found |= {
        f"n_documents_{side}": np.count_nonzero(part, axis=0)
        for side, part in zip("ab", per_document, strict=False)
    }
    resampled = measures(*(weights @ part for part in per_document))
    for name, values in measures(*counts).items():
        low, high = _intervals(resampled[name])
        found |= {name: values, f"{name}_low": low, f"{name}_high": high}
        resampled[name] = np.where(np.isnan(resampled[name]), values, resampled[name])
    density_a, density_b = counts[0] / n, counts[1] / n
    nulls = density_b, density_a, density_b - density_a
    found |= {f"{name}_null": null for name, null in zip(_SUMMED, nulls, strict=True)}
    return found, resampled


def measures(n_a: np.ndarray, n_b: np.ndarray, n_ab: np.ndarray) -> dict[str, np.ndarray]:
    """Return the measures from counts of firing and co-firing, of one shape.

    P(B|A), P(A|B), their difference, and the ratio of firing rates n_b / n_a; NaN where a
    denominator is 0.
    """

    def over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
        return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)

    b_given_a, a_given_b = over(n_ab, n_a), over(n_ab, n_b)
    found = b_given_a, a_given_b, b_given_a - a_given_b, over(n_b, n_a)
    return dict(zip(MEASURES, found, strict=True))


def label(
    found: Mapping[str, np.ndarray], contained: float, wider: float, min_documents: int
) -> np.ndarray:
    """Return the label of each pair, from its measures, their intervals and nulls.

    A is contained in B if P(B|A) is at least `contained` and its interval above the null, without
    which a dense B would contain everything. Where neither is contained in the other, they are
    apart. Otherwise the interval of the ratio of firing rates, B's over A's, decides: above `wider`
    B is more general, below 1 / `wider` A is, between the two they are alike, and across one of
    them they are undecided. So they are if one fires in fewer than `min_documents`: resamples of
    few documents would give intervals without width.
    """
    inside = [
        (found[name] >= contained) & (found[f"{name}_low"] > found[f"{name}_null"])
        for name in ("p_b_given_a", "p_a_given_b")
    ]
    few = np.minimum(found["n_documents_a"], found["n_documents_b"]) < min_documents
    low, high = found["rate_ratio_low"], found["rate_ratio_high"]
    cases = {
        UNDECIDED: few,
        APART: ~(inside[0] | inside[1]),
        B_MORE: inside[0] & (low > wider),
        A_MORE: inside[1] & (high < 1 / wider),
        ALIKE: (low >= 1 / wider) & (high <= wider),
    }
    return np.select(list(cases.values()), list(cases), UNDECIDED)


def _fires(features: Sparse, columns: np.ndarray) -> Any:
    """Return where features fire, `(n, n_pairs)`: 1 or nothing."""
    matrix = sp.csr_matrix(features)[:, columns]
    matrix.data = (matrix.data != 0).astype(np.float64)
    return matrix


def _intervals(samples: np.ndarray) -> np.ndarray:
    """Return the 95% intervals `(2, n_pairs)` of `(n_bootstrap, n_pairs)`.

    Resamples in which a feature never fires (NaN) say nothing and are left out.
    """
    ends, whole = np.empty((2, samples.shape[1])), ~np.isnan(samples).any(0)
    for columns, quantile in ((whole, np.quantile), (~whole, np.nanquantile)):
        if columns.any():
            ends[:, columns] = quantile(samples[:, columns], (0.025, 0.975), axis=0)
    return ends


def summary_table(found: Sequence[Asymmetry], n_bootstrap: int, seed: int) -> pd.DataFrame:
    """Return one row per layers and one for all pooled (`POOLED`), of all and of mutual pairs.

    A's partners are searched among B's features, and one of B may serve many of A: mutual pairs
    are free of that direction. Medians have 95% intervals over documents; shares of labels over
    partners, as the pairs that share one stay together.
    """
    rows = []
    for group, pooled in each_and_all(found):
        table = pd.concat([one.table for one in group], ignore_index=True)
        names = [POOLED if pooled else int(table[name].iat[0]) for name in ("layer_a", "layer_b")]
        for subset, kept in (("all", table["alive"]), ("mutual", table["mutual"])):
            kept = kept.to_numpy(dtype=bool)
            if not kept.any():
                continue
            random = generator(seed, "label shares", *names, subset)
            rows.append(
                {"layer_a": names[0], "layer_b": names[1], "subset": subset}
                | _medians(group, table, kept)
                | _shares(table.loc[kept], n_bootstrap, random)
            )
    return pd.DataFrame(rows)


def _medians(group: Sequence[Asymmetry], table: pd.DataFrame, kept: np.ndarray) -> dict[str, float]:
    """Return medians over the pairs `kept` `(n_pairs,)` of a group, whose `table` is given."""
    numbers: dict[str, float] = {"n_pairs": int(kept.sum())}
    for name in _SUMMED:
        resampled = np.concatenate([one.resampled[name] for one in group], axis=1)[:, kept]
        low, high = percentile_interval(np.median(resampled, axis=1, overwrite_input=True))
        numbers |= {f"median_{name}": float(np.median(table.loc[kept, name]))}
        numbers |= {f"median_{name}_low": low, f"median_{name}_high": high}
        numbers |= {f"median_{name}_null": float(np.median(table.loc[kept, f"{name}_null"]))}
    return numbers


def _shares(table: pd.DataFrame, n_bootstrap: int, random: np.random.Generator) -> dict[str, float]:
    _, partner = np.unique(table[["layer_b", "partner"]], axis=0, return_inverse=True)
    weights = document_weights(partner.max() + 1, n_bootstrap, random)
    n_drawn = weights @ np.bincount(partner)
    numbers: dict[str, float] = {}
    for name in LABELS:
        is_it = (table["label"] == name).to_numpy()
        low, high = percentile_interval(weights @ np.bincount(partner, is_it) / n_drawn)
        share = f"share_{name}"
        numbers |= {share: float(is_it.mean()), f"{share}_low": low, f"{share}_high": high}
        numbers[f"{share}_null"] = float(np.mean(table["label_null"] == name))
    return numbers
