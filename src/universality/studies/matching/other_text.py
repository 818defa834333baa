"""Whether features that are partners on one text are partners on another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.core.alignment import Alignment
from universality.core.bootstrap import document_sums, resampled_r
from universality.core.corpora import load_tokenizer, load_tokens
from universality.core.engine.moments import Sparse
from universality.core.engine.partners import Matcher
from universality.core.features import position_table, sparse_features
from universality.core.hooks import layer, sae_id
from universality.core.io import read_table
from universality.core.models import load_bridge
from universality.core.nulls import judged, null_range
from universality.studies.matching.pairings import Partners
from universality.studies.matching.params.other_text import OtherText
from universality.studies.matching.study import Sample, alive_features
from universality.studies.matching.tables import POOLED, RANGES, best_layers, statistics
from universality.studies.saes.evaluation import load_sae
from universality.studies.saes.params.saes import SaeModel


@dataclass(frozen=True)
class OpenModel:
    """A model and its SAEs, ready to read texts."""

    path: Path
    """Hugging Face directory."""
    bridge: Any
    saes: dict[str, tuple[str, Any]]
    """Layer -> hook and SAE."""


def open_model(path: Path, saes: Path, wanted: SaeModel, seed: int) -> OpenModel:
    """Open a model and those SAEs of the directory `saes` that have the SAE seed `seed`."""
    loaded = {
        str(layer(hook)): (hook, load_sae(saes / sae_id(hook, seed))) for hook in wanted.hooks
    }
    return OpenModel(path, load_bridge(path), loaded)


def read_text(
    model: OpenModel, corpus: Path, split: str, max_tokens: int, section: OtherText
) -> tuple[pd.DataFrame, dict[int, Sparse]]:
    """Return the positions of a text, and layer -> feature activations `(n, d_sae)` there."""
    tokens = load_tokens(corpus, split, model.path, max_tokens, section.n_documents)
    place, matrices = sparse_features(
        model.bridge, tokens, model.saes, section.batch_tokens, mask_special=True
    )
    table = position_table(tokens, place, load_tokenizer(model.path)[0])
    return table, {int(name): matrix for name, matrix in matrices.items()}


Known = dict[tuple[int, int], Partners]
"""Layers of A and B -> the partners `(d_a,)` that one text gave."""


def known_partners(matches: Path) -> Known:
    """Return the partners of every layer of A in its best layer of B, from a pair's tables."""
    best = best_layers(read_table(matches / "headline.parquet"))
    features = read_table(matches / "features.parquet")
    features = features.set_index(["layer_a", "layer_b"]).sort_index()
    known = {}
    for layers in zip(best["layer_a"], best["layer_b"], strict=True):
        found = features.loc[layers].sort_values("feature_a")
        known[layers] = Partners(found["partner"].to_numpy(), found["r"].to_numpy())
    return known


@dataclass(frozen=True)
class Carried:
    """Pairs of features that were found on one text, on another; `n_pairs` fire often enough.

    The first row of `r`, `best_r` and `same` is the text as it is, the others are under shifts of
    B's positions: `(1 + n_null, n_pairs)`.
    """

    n_known: int
    """Pairs on the first text."""
    first_r: np.ndarray
    """r on the first text, `(n_pairs,)`."""
    r: np.ndarray
    """r of the same pairs here."""
    best_r: np.ndarray
    """r of the partner that would be chosen here."""
    same: np.ndarray
    """Whether that is the same one."""
    left_out_r: np.ndarray
    """r of the same pairs without one group of documents each, `(groups, n_pairs)`."""


def carried_over(a: Sparse, b: Sparse, known: Partners, sample: Sample) -> Carried:
    """Look at the partners `known`, `(d_a,)`, on another text.

    Its features are `a` `(n, d_a)` and `b` `(n, d_b)`. Holds all scores of the alive features.
    """
    alive_a, alive_b = (alive_features(side, sample.min_count)[0] for side in (a, b))
    kept = known.partner >= 0
    n_known = int(kept.sum())
    kept[kept] = alive_a[kept] & alive_b[known.partner[kept]]
    features = np.flatnonzero(kept)
    partner = known.partner[features]
    place = (np.cumsum(alive_b) - 1)[partner]
    matcher = Matcher(a[:, features], b[:, np.flatnonzero(alive_b)], memory_mb=sample.memory_mb)
    r, best_r, same = [], [], []
    for shift in (0, *map(int, sample.offsets)):
        scores = matcher.all_scores(shift)
        r.append(scores[np.arange(len(features)), place])
        best_r.append(scores.max(axis=1, initial=-1))
        same.append(r[-1] >= best_r[-1])
    sums = document_sums(a[:, features], b[:, partner], sample.documents)
    arrays = np.array(r), np.array(best_r), np.array(same)
    return Carried(n_known, known.r[features], *arrays, resampled_r(sums, sample.kept))


def carried_row(parts: Sequence[Carried], threshold: float) -> dict[str, Any]:
    """Return what is carried over, pooled over `parts`; intervals are over documents.

    `median_r` and `share_above` are of the pairs that the first text gave, here; `_first` on that
    text itself; `_anew` of the best partners here. The null shifts B's positions, the pairs held
    fixed (for `same_partner` they are chosen under the shift too).
    """
    first, best = (np.concatenate(values) for values in zip(
        *((part.first_r, part.best_r[0]) for part in parts), strict=True
    ))  # fmt: skip
    r = np.concatenate([part.r for part in parts], axis=1)
    left_out = np.concatenate([part.left_out_r for part in parts], axis=1)
    row: dict[str, Any] = {"n_known": sum(part.n_known for part in parts), "n_pairs": len(first)}
    if not len(first):
        return row
    same = np.concatenate([part.same for part in parts], axis=1).mean(axis=1)
    row |= {"same_partner": float(same[0]), **null_range("same_partner", same[1:])}
    for name in ("median_r", "share_above"):
        statistic = statistics(threshold)[name]
        row |= judged(name, statistic, r[0], left_out, r[1:], RANGES[name])
        row |= {
            f"{name}_first": float(statistic(first)),
            f"{name}_anew": float(statistic(best)),
        }
    return row


def carried_rows(
    a: Mapping[int, Sparse], b: Mapping[int, Sparse], aligned: Alignment, known: Known,
    sample: Sample, threshold: float,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return `carried_row` of each two layers of `known` and, last, of all of them pooled.

    `a` and `b` are layer -> features `(n, d)` on another text; they share the positions `aligned`.
    """
    rows, parts = [], []
    for (layer_a, layer_b), partners in known.items():
        one, other = a[layer_a][aligned.rows_a], b[layer_b][aligned.rows_b]
        parts.append(carried_over(one, other, partners, sample))
        layers = {"layer_a": layer_a, "layer_b": layer_b}
        rows.append(layers | carried_row(parts[-1:], threshold))
    pooled = {"layer_a": POOLED, "layer_b": POOLED}
    return [*rows, pooled | carried_row(parts, threshold)]
