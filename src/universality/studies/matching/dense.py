"""Matching of dense activations, neurons, which is one matrix product per shift."""

from pathlib import Path

import numpy as np
import pandas as pd

from universality.core.bootstrap import document_sums, resampled_r
from universality.core.corpora import load_tokenizer, load_tokens
from universality.core.features import hook_rows, position_table
from universality.core.models import load_bridge
from universality.studies.matching.pairings import Partners, nearest
from universality.studies.matching.params.other_text import Neurons
from universality.studies.matching.study import LayerMatch, Sample

_COLUMNS = 64
"""Pairs whose sums over documents are made at a time, for the memory of it."""


def read_neurons(
    model: Path, corpus: Path, max_tokens: int, section: Neurons
) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Return the positions and, layer by layer, the neurons' activations `(n, d_mlp)` there."""
    bridge = load_bridge(model)
    tokens = load_tokens(corpus, "validation", model, max_tokens, section.n_documents)
    hooks = [f"blocks.{layer}.mlp.hook_post" for layer in range(bridge.cfg.n_layers)]
    rows = hook_rows(bridge, tokens, hooks, section.batch_tokens)
    table = position_table(tokens, rows.place, load_tokenizer(model)[0])
    return table, [rows.activations[hook].numpy() for hook in hooks]


def match_neurons(
    a: np.ndarray, b: np.ndarray, sample: Sample, layers: tuple[int, int] = (0, 0)
) -> LayerMatch:
    """Match neurons `(n, d_a)` with `(n, d_b)` by Pearson correlation, as `study.match_layers`.

    All neurons that vary are alive, however often they are near 0 (`sample.min_count` is of no
    use here); the counts are of values above 0. z-scores are made in float64 and multiplied in
    float32, which r feels in the sixth decimal.
    """
    (za, kept_a), (zb, kept_b) = _standardised(a), _standardised(b)

    def partners(offset: int) -> tuple[Partners, Partners]:
        r = (za.T @ np.roll(zb, offset, axis=0)).astype(np.float64) / len(za)
        r[~kept_a], r[:, ~kept_b] = -np.inf, -np.inf
        return _best(r), _best(r.T)

    forward, backward = partners(0)
    nulls = [partners(int(offset)) for offset in sample.offsets]
    pairs = nearest(forward)
    left_out_r = np.zeros((len(sample.kept), len(pairs.a)), dtype=np.float32)
    for first in range(0, len(pairs.a), _COLUMNS):
        part = slice(first, first + _COLUMNS)
        sums = document_sums(a[:, pairs.a[part]], b[:, pairs.b[part]], sample.documents)
        left_out_r[:, part] = resampled_r(sums, sample.kept)
    return LayerMatch(
        *layers,
        kept_a,
        kept_b,
        (a > 0).sum(axis=0),
        (b > 0).sum(axis=0),
        forward,
        backward,
        [null[0] for null in nulls],
        [null[1] for null in nulls],
        left_out_r,
    )


def _standardised(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return z-scores in float32, 0 for constant columns, and which columns vary."""
    varies = x.max(axis=0) > x.min(axis=0)
    x = x.astype(np.float64)
    x -= x.mean(axis=0)
    x /= np.where(varies, x.std(axis=0), 1.0)
    x[:, ~varies] = 0
    return x.astype(np.float32), varies


def _best(r: np.ndarray) -> Partners:
    partner, best = r.argmax(axis=1), r.max(axis=1)
    found = np.isfinite(best)
    return Partners(np.where(found, partner, -1), np.where(found, best, 0.0))
