"""Pairing the features of two SAEs of one LM and one hook by their weights.

Paulo & Belrose 2025 (arXiv 2501.16615) pair the features of two SAE seeds one to one (Hungarian
method) so that the sum of cosines is largest, and call a feature shared if the mean of the
encoder's and the decoder's cosine with its partner is above .7. Here that share is given for the
assignment on decoders, on encoders, on the mean of both, and for the pairs on which the first two
agree (`hungarian_both`); which of these the published shares rest on was not checked. Beside it
the greedy pairings by decoder. Only for SAEs of one LM: the coordinates of two LMs have nothing to
do with each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from universality.core.intervals import median, share
from universality.core.nulls import null_range, or_zero
from universality.studies.matching.pairings import (
    Pairing,
    Partners,
    assignment,
    mutual,
    nearest,
    swapped,
)
from universality.studies.matching.tables import POOLED, each_and_all
from universality.studies.matching.tables import median as median_of
from universality.studies.saes.study.neurons import unit

_mean_of = or_zero(np.mean)
Scores = dict[str, np.ndarray]
"""Cosine of every pair of features, `(d_a, d_b)`, by measure: decoder, encoder, mean of both."""


@dataclass(frozen=True)
class Weights:
    """Encoder and decoder of an SAE's features, `(d, d_in)` each."""

    encoder: np.ndarray
    decoder: np.ndarray

    def permuted(self, order: np.ndarray) -> "Weights":
        """Return the features with their coordinates `(d_in,)` in another order.

        One order for all: the features keep their cosines with each other.
        """
        return Weights(self.encoder[:, order], self.decoder[:, order])


def cosines(a: Weights, b: Weights) -> Scores:
    """Return the cosines of all pairs; all in memory, as the Hungarian method needs them."""
    decoder = unit(a.decoder) @ unit(b.decoder).T
    encoder = unit(a.encoder) @ unit(b.encoder).T
    return {"decoder": decoder, "encoder": encoder, "mean": (decoder + encoder) / 2}


def paired_cosines(a: Weights, b: Weights) -> Scores:
    """Return the cosines of feature i of A and feature i of B, `(d,)` each."""
    decoder = np.einsum("ij,ij->i", unit(a.decoder), unit(b.decoder))
    encoder = np.einsum("ij,ij->i", unit(a.encoder), unit(b.encoder))
    return {"decoder": decoder, "encoder": encoder, "mean": (decoder + encoder) / 2}


def weight_pairings(scores: Scores) -> dict[str, Pairing]:
    """Return every pairing; the score of a pair is the cosine it was paired by.

    a_to_b, b_to_a, mutual: nearest by decoder; hungarian_decoder, _encoder, _mean: one to one;
    hungarian_both: the pairs that the first two of these have in common, with the mean cosine.
    """
    forward, backward = _best(scores["decoder"]), _best(scores["decoder"].T)
    found = {
        "a_to_b": nearest(forward),
        "b_to_a": swapped(nearest(backward)),
        "mutual": mutual(forward, backward),
    }
    found |= {f"hungarian_{measure}": assignment(matrix) for measure, matrix in scores.items()}
    one, other = found["hungarian_decoder"], found["hungarian_encoder"]
    partner = np.full(scores["mean"].shape[0], -1)
    partner[other.a] = other.b
    both = partner[one.a] == one.b
    a, b = one.a[both], one.b[both]
    return found | {"hungarian_both": Pairing(a, b, scores["mean"][a, b])}


def _best(scores: np.ndarray) -> Partners:
    return Partners(scores.argmax(axis=1), scores.max(axis=1))


@dataclass(frozen=True)
class WeightMatch:
    """The pairings of one SAE's features with another's, and those with B's coordinates permuted.

    `paired[pairing][measure]` are the cosines of the pairs, `null` the same under each permutation.
    """

    layer: int
    n_a: int
    n_b: int
    paired: dict[str, Scores]
    null: list[dict[str, Scores]]
    r: np.ndarray
    """Best activation correlation of A's features, `(n_a,)`."""
    agrees: np.ndarray
    """Whether the nearest by decoder is the best by activation, `(n_a,)`."""
    agrees_null: np.ndarray
    """Shape `(n_null, n_a)`."""
    partner: Scores
    """Cosines with the best by activation, `(n_a,)` each."""
    partner_null: list[Scores]


def match_weights(
    layer: int, a: Weights, b: Weights, r: np.ndarray, partner: np.ndarray,
    n_null: int, rng: np.random.Generator,
) -> WeightMatch:  # fmt: skip
    """Pair the alive features of two SAEs; `r` and `partner` `(d_a,)` are those by activation."""
    at = np.arange(len(partner)), partner

    def judged(other: Weights) -> tuple[dict[str, Scores], np.ndarray, Scores]:
        scores = cosines(a, other)
        paired = {
            name: {measure: matrix[pairs.a, pairs.b] for measure, matrix in scores.items()}
            for name, pairs in weight_pairings(scores).items()
        }
        agrees = scores["decoder"].argmax(1) == partner
        return paired, agrees, {measure: matrix[at] for measure, matrix in scores.items()}

    paired, agrees, own = judged(b)
    null = [judged(b.permuted(rng.permutation(b.decoder.shape[1]))) for _ in range(n_null)]
    return WeightMatch(
        layer, len(a.decoder), len(b.decoder), paired, [one[0] for one in null], r, agrees,
        np.array([one[1] for one in null]), own, [one[2] for one in null],
    )  # fmt: skip


def weight_table(matches: Sequence[WeightMatch], threshold: float) -> pd.DataFrame:
    """Return a row per layer (and all pooled), pairing and measure.

    `share_above` is the share of A's features (b_to_a: of B's) that have a partner with a cosine
    above `threshold`, with Wilson's 95% interval over features: of which features were drawn, not
    of the SAEs' seeds. `mean_cosine`, with the normal interval over features, is for
    `hungarian_decoder` and the decoder the PW-MCC of Song et al. 2025 (arXiv 2505.20254).
    """
    rows = []
    for group, pooled in each_and_all(matches):
        layer = POOLED if pooled else group[0].layer
        for pairing in group[0].paired:
            n = sum(one.n_b if pairing == "b_to_a" else one.n_a for one in group)
            for measure in group[0].paired[pairing]:
                values = np.concatenate([one.paired[pairing][measure] for one in group])
                null = [
                    np.concatenate([one.null[draw][pairing][measure] for one in group])
                    for draw in range(len(group[0].null))
                ]
                above = np.arange(n) < np.count_nonzero(values > threshold)
                nulls = np.array([np.count_nonzero(x > threshold) / n for x in null])
                rows.append(
                    {
                        "layer": layer, "pairing": pairing, "measure": measure, "n": n,
                        "n_pairs": len(values), "threshold": threshold, "n_null": len(null),
                        **share("share_above", above),
                        **null_range("share_above", nulls),
                        "median_cosine": float(median_of(values)),
                        "median_cosine_null": float(np.mean([median_of(x) for x in null])),
                        **_mean("mean_cosine", values),
                        **null_range("mean_cosine", np.array([_mean_of(x) for x in null])),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def activation_table(matches: Sequence[WeightMatch]) -> pd.DataFrame:
    """Return a row per layer (and all pooled): how weights and activations agree.

    `nearest_agrees`: share of A's features whose nearest by decoder is their best by activation;
    median cosines with the best by activation; `rank_r_decoder`: Spearman's correlation of its r
    and its decoder cosine. Intervals are 95% over features, the null permutes B's coordinates.
    """
    rows = []
    for group, pooled in each_and_all(matches):
        layer = POOLED if pooled else group[0].layer
        r = np.concatenate([one.r for one in group])
        agrees = np.concatenate([one.agrees for one in group])
        draws = range(len(group[0].null))
        row: dict[str, Any] = {"layer": layer, "n_features": len(r), "n_null": len(draws)}
        row |= share("nearest_agrees", agrees)
        row |= null_range("nearest_agrees", np.hstack([one.agrees_null for one in group]).mean(1))
        for measure in ("decoder", "encoder"):
            name = f"median_{measure}_cosine"
            own = np.concatenate([one.partner[measure] for one in group])
            null = [np.hstack([one.partner_null[draw][measure] for one in group]) for draw in draws]
            row |= median(name, own)
            row |= null_range(name, np.median(null, axis=1))
            row |= rank_correlation(f"rank_r_{measure}", r, own)
            ranked = [rank_correlation("null", r, values)["null"] for values in null]
            row |= null_range(f"rank_r_{measure}", np.array(ranked))
        rows.append(row)
    return pd.DataFrame(rows)


def _mean(name: str, values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {name: 0.0, f"{name}_low": -1.0, f"{name}_high": 1.0}
    mean, half = float(values.mean()), float(1.96 * values.std() / np.sqrt(len(values)))
    low, high = max(-1.0, mean - half), min(1.0, mean + half)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def rank_correlation(name: str, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return Spearman's correlation of `x` and `y` `(n,)` with its 95% interval over features.

    The interval is that of Bonett & Wright 2000: Fisher's z with variance
    (1 + rho^2 / 2) / (n - 3). 0, and no knowing, for fewer than 4 features or constants.
    """
    if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return {name: 0.0, f"{name}_low": -1.0, f"{name}_high": 1.0}
    rho = float(np.corrcoef(scipy.stats.rankdata(x), scipy.stats.rankdata(y))[0, 1])
    z = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12))
    half = scipy.stats.norm.ppf(0.975) * np.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    low, high = np.tanh([z - half, z + half])
    return {name: rho, f"{name}_low": float(low), f"{name}_high": float(high)}
