"""Subsets of features and of positions that belong to a concept, given by keywords.

Lan et al. (2024, arXiv 2410.06981) compare the features of one concept at a time. Whether a
concept is shared more than others is judged against as many features drawn at random.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from universality.core.engine.moments import Sparse
from universality.core.nulls import judged, permutation_p, with_q
from universality.studies.matching.study import LayerMatch, Sample, match_layers
from universality.studies.matching.tables import median, summary


def concept_features(tops: np.ndarray, keywords: np.ndarray, min_hits: int) -> np.ndarray:
    """Return which features have `min_hits` of their top tokens among `keywords`, `(d,)`."""
    return np.isin(tops, keywords).sum(axis=1) >= min_hits


def concept_table(
    matches: Sequence[LayerMatch],
    members: Mapping[str, Sequence[np.ndarray]],
    n_random: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return one row per concept: the best r of its features of A, over all `matches`.

    `members[concept]` holds a mask `(d_a,)` for every match. Two nulls: positions shifted
    (`median_r_null`), and as many of A's alive features drawn at random (`median_r_random`, with
    the p of a higher and, below 1/2, of a lower median). `_q` are p after Benjamini and Hochberg
    over the concepts. A concept without features has a row with n_features 0.
    """
    r = np.concatenate([match.alive_r for match in matches])
    null_r = np.concatenate([match.alive_null_r for match in matches], axis=1)
    left_out = np.concatenate([match.left_out_r for match in matches], axis=1)
    rows = []
    for concept, masks in members.items():
        mask = np.concatenate(
            [chosen[match.alive_a] for chosen, match in zip(masks, matches, strict=True)]
        )
        n = int(mask.sum())
        row: dict[str, Any] = {"concept": concept, "n_features": n, "n_alive": len(r)}
        if n:
            drawn = np.array([np.median(rng.choice(r, n, replace=False)) for _ in range(n_random)])
            row |= judged("median_r", median, r[mask], left_out[:, mask], null_r[:, mask])
            row |= {
                "median_r_random": float(drawn.mean()),
                "median_r_random_p_higher": permutation_p(row["median_r"], drawn),
                "median_r_random_p_lower": permutation_p(-row["median_r"], -drawn),
            }
        rows.append(row)
    columns = ("median_r_random_p_higher", "median_r_random_p_lower")
    return with_q(pd.DataFrame(rows), *columns)


def concept_rows(token: np.ndarray, keywords: np.ndarray) -> np.ndarray:
    """Return the rows whose token is one of `keywords`."""
    return np.flatnonzero(np.isin(token, keywords))


def topic_rows(
    token: np.ndarray, documents: np.ndarray, keywords: np.ndarray, share: float
) -> np.ndarray:
    """Return the rows of the documents that name a concept most often: text of one topic.

    `share` is that of the documents; they are ranked by keywords per position.
    """
    _, index, length = np.unique(documents, return_inverse=True, return_counts=True)
    hits = np.bincount(index, weights=np.isin(token, keywords)) / length
    n = max(2, round(share * len(length)))
    chosen = np.sort(np.argsort(-hits, kind="stable")[:n])
    return np.flatnonzero(np.isin(index, chosen))


def subset_table(
    a: Sparse,
    b: Sparse,
    documents: np.ndarray,
    subsets: Mapping[tuple[str, str], np.ndarray],
    sample: Callable[..., Sample],
    rng: np.random.Generator,
    threshold: float,
    min_positions: int,
) -> pd.DataFrame:
    """Return one row per subset of the positions: features matched anew on these rows alone.

    `subsets` are (kind, concept) -> rows; `sample(documents, *names)` makes the null and the
    groups of documents for some rows. Few positions raise r by themselves, so as many are drawn at
    random: single ones for kind `tokens`, whole documents for `topic` (`median_r_random`). Subsets
    of fewer than `min_positions` rows, or of fewer than 4 documents, are counted, not matched.
    """
    found = []
    for (kind, concept), rows in subsets.items():
        row: dict[str, Any] = {"kind": kind, "concept": concept, "n_rows": len(rows)}
        row["n_documents_used"] = len(np.unique(documents[rows]))
        if len(rows) >= min_positions and row["n_documents_used"] >= 4:
            matched = match_layers(a[rows], b[rows], sample(documents[rows], kind, concept))
            row |= summary([matched], [[matched]] * len(matched.null_forward), threshold)
            drawn = _as_many(kind, rows, documents, rng)
            of_drawn = sample(documents[drawn], kind, concept, "random")
            alone = replace(of_drawn, offsets=of_drawn.offsets[:0], kept=of_drawn.kept[:0])
            by_chance = match_layers(a[drawn], b[drawn], alone)
            row["n_features_random"] = len(by_chance.alive_r)
            row["median_r_random"] = float(np.median(by_chance.alive_r))
        found.append(row)
    return pd.DataFrame(found)


def _as_many(
    kind: str, rows: np.ndarray, documents: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw as many single rows (`tokens`) or whole documents (`topic`) as `rows` holds."""
    if kind == "tokens":
        return np.sort(rng.choice(len(documents), len(rows), replace=False))
    names = np.unique(documents)
    chosen = rng.choice(names, len(np.unique(documents[rows])), replace=False)
    return np.flatnonzero(np.isin(documents, chosen))
