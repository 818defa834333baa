"""Which layer of another model is most like a layer? (Kornblith et al. 2019, section 6.1)

Models of one architecture that differ in their seed alone: a measure of similarity is sane if the
layer most like layer i is layer i.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from universality.core.progress import progress
from universality.core.stats import jackknife_interval
from universality.studies.spaces.similarity import linear
from universality.studies.spaces.similarity.distances import DISTANCES
from universality.studies.spaces.similarity.measures import (
    LINKED,
    RELATED,
    Options,
    Related,
    Samples,
)

Scores = dict[str, np.ndarray]
"""Measure -> similarity `(models, models, layers, layers)`: entry a, b, i, j says how much layer i
of A, which looks for its like, is like layer j of B. Pairs of a model with itself are NaN."""

QUERY, CANDIDATE = "of_query", "of_candidate"
EXPLAINS_Y = ("regression_r2",)
"""Measures that say how much of Y there is in X; the others that are not symmetric weigh by X."""


def linear_scores(models: Sequence[Sequence[np.ndarray]], options: Options) -> Scores:
    """Return the `LINKED` measures between models, each a list of layers `(n, d)`.

    One that is not symmetric weighs by one side, or explains one, so it is there twice: that side
    is the layer that looks (`of_query`) or the one that may be chosen (`of_candidate`).
    """
    bases = [[linear.basis(layer) for layer in layers] for layers in models]
    n, n_layers = len(models), len(models[0])
    scores: Scores = {}
    pairs = [(a, b) for a in range(n) for b in range(a)]
    for a, b in progress(pairs, desc="linear measures"):
        for i, j in np.ndindex(n_layers, n_layers):
            there = linear.link(bases[a][i], bases[b][j])
            back = linear.Link(there.s2, there.cross.T, there.s1, bases[b][j].v)
            rows = {}
            for name, measure in LINKED.items():
                value = measure.of(there, options)
                if measure.symmetric:
                    rows[name] = value, value
                    continue
                # Of the layer of A, then of that of B; a regression explains its second side.
                of = value, measure.of(back, options)
                if name in EXPLAINS_Y:
                    of = of[::-1]
                rows[f"{name}_{QUERY}"], rows[f"{name}_{CANDIDATE}"] = of, of[::-1]
            r2 = linear.cca_r2(linear.truncated(there, options.variance_share))
            rows["svcca_r2"] = r2, r2
            for name, (of_a, of_b) in rows.items():
                if name not in scores:
                    scores[name] = np.full((n, n, n_layers, n_layers), np.nan)
                scores[name][a, b, i, j], scores[name][b, a, j, i] = of_a, of_b
    return scores


def sample_scores(
    models: Sequence[Sequence[np.ndarray]], bandwidths: Sequence[float], k: int
) -> Scores:
    """Return the `RELATED` measures between models, each a list of layers `(n, d)`."""
    n, n_layers = len(models), len(models[0])
    samples = [Samples(layer) for layers in models for layer in layers]
    scores = {}
    for name, (measure, options) in progress(list(variants(bandwidths, k).items()), desc="samples"):
        found = every_pair(samples, measure, options).reshape(n, n_layers, n, n_layers)
        scores[name] = found.transpose(0, 2, 1, 3).copy()
        scores[name][np.arange(n), np.arange(n)] = np.nan
    return scores


def variants(bandwidths: Sequence[float], k: int) -> dict[str, tuple[Related, Options]]:
    """Return the `RELATED` measures: RBF CKA with each of `bandwidths`, RSA with each distance."""
    told = {name: (one, Options(n_neighbours=k)) for name, one in RELATED.items()}
    rbf, rsa = told.pop("rbf_cka")[0], told.pop("rsa")[0]
    told |= {f"rbf_cka_{b:g}": (rbf, Options(bandwidth=b)) for b in bandwidths}
    return told | {f"rsa_{one}": (rsa, Options(distance=one)) for one in DISTANCES}


def every_pair(samples: Sequence[Samples], measure: Related, options: Options) -> np.ndarray:
    """Return a measure of every two of many representations of the same samples, `(m, m)`.

    ValueError where one has nothing to compare: all its samples are alike.
    """
    rows = np.stack([measure.of(one, options).ravel() for one in samples])
    if not np.isfinite(rows).all():
        bad = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise ValueError(f"representation {bad}: all its samples are alike")
    return measure.value(rows @ rows.T)


def choices(scores: np.ndarray) -> np.ndarray:
    """Return the layer chosen by layer i of A in B, `(models, models, layers)`; -1 of itself.

    Of equally similar layers the first. ValueError on a NaN between two models.
    """
    chosen = np.full(scores.shape[:3], -1)
    for a, b in _ordered_pairs(len(scores)):
        if not np.isfinite(scores[a, b]).all():
            raise ValueError("a similarity is NaN or infinite")
        chosen[a, b] = scores[a, b].argmax(axis=1)
    return chosen


def accuracy(chosen: np.ndarray) -> dict[str, float]:
    """Return the share of layers that are found, and its 95% interval, from `choices`.

    Over ordered pairs of models and layers. Pairs share models, so the interval is the jackknife
    that leaves out one model, with all its pairs, at a time; it is cut at 0 and 1, and of no width
    where every model has the same share. Also the mean distance between chosen and true layer.
    """
    n, layers = len(chosen), np.arange(chosen.shape[2])
    hits = (chosen == layers).mean(axis=2)
    pairs = _ordered_pairs(n)

    def mean(models: list[int]) -> float:
        return float(np.mean([hits[a, b] for a, b in pairs if a in models and b in models]))

    everyone = list(range(n))
    value = mean(everyone)
    left_out = np.array([mean([m for m in everyone if m != out]) for out in everyone])
    low, high = jackknife_interval(value, left_out)
    off = np.mean([np.abs(chosen[a, b] - layers) for a, b in pairs])
    return {
        "accuracy": value, "accuracy_low": max(0.0, low), "accuracy_high": min(1.0, high),
        "mean_distance": float(off),
    }  # fmt: skip


def choice_table(scores: np.ndarray, chosen: np.ndarray) -> pd.DataFrame:
    """Return for all layers i and j the mean similarity, and how often i chooses j."""
    pairs = _ordered_pairs(len(scores))
    n_layers = chosen.shape[2]
    rows = []
    for i, j in np.ndindex(n_layers, n_layers):
        similar = np.mean([scores[a, b, i, j] for a, b in pairs])
        share = np.mean([chosen[a, b, i] == j for a, b in pairs])
        rows.append({"layer_a": i, "layer_b": j, "similarity": similar, "chosen": share})
    return pd.DataFrame(rows)


def _ordered_pairs(n: int) -> list[tuple[int, int]]:
    return [(a, b) for a in range(n) for b in range(n) if a != b]
