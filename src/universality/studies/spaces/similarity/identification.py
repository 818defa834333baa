"""Which layer of another model is most like a layer? (Kornblith et al. 2019, section 6.1)

Models of one architecture that differ in their seed alone: a measure of similarity is sane if the
layer most like layer i is layer i.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from universality.core.progress import progress
from universality.core.stats import jackknife_interval
from universality.studies.spaces.similarity import every_pair, linear

Scores = dict[str, np.ndarray]
"""Measure -> similarity `(models, models, layers, layers)`: entry a, b, i, j says how much layer i
of A, which looks for its like, is like layer j of B. Pairs of a model with itself are NaN."""

QUERY, CANDIDATE = "of_query", "of_candidate"


def linear_scores(
    models: Sequence[Sequence[np.ndarray]], svcca_share: float, ridge: float
) -> Scores:
    """Return the measures of `linear` between models, each a list of layers `(n, d)`.

    PWCCA weighs by one side, and regression explains one side, so they are there twice: that side
    is the layer that looks (`of_query`) or the one that may be chosen (`of_candidate`).
    """
    bases = [[linear.basis(layer) for layer in layers] for layers in models]
    n, n_layers = len(models), len(models[0])
    scores: Scores = {}
    measures = linear.symmetric_measures(ridge, svcca_share)
    pairs = [(a, b) for a in range(n) for b in range(a)]
    for a, b in progress(pairs, desc="linear measures"):
        for i, j in np.ndindex(n_layers, n_layers):
            there = linear.link(bases[a][i], bases[b][j])
            back = linear.Link(there.s2, there.cross.T, there.s1, bases[b][j].v)
            same = {name: float(measure(there)) for name, measure in measures.items()}
            same["svcca_r2"] = float(linear.cca_r2(linear.truncated(there, svcca_share)))
            # Of the layer of A, then of that of B.
            sided = {
                "pwcca": (linear.pwcca(there), linear.pwcca(back)),
                "regression": (linear.regression_r2(back), linear.regression_r2(there)),
            }
            rows = {name: (value, value) for name, value in same.items()}
            rows |= {f"{name}_{QUERY}": values for name, values in sided.items()}
            rows |= {f"{name}_{CANDIDATE}": values[::-1] for name, values in sided.items()}
            for name, (of_a, of_b) in rows.items():
                if name not in scores:
                    scores[name] = np.full((n, n, n_layers, n_layers), np.nan)
                scores[name][a, b, i, j], scores[name][b, a, j, i] = of_a, of_b
    return scores


def sample_scores(
    models: Sequence[Sequence[np.ndarray]], bandwidths: Sequence[float], k: int
) -> Scores:
    """Return the measures of `every_pair` between models, each a list of layers `(n, d)`."""
    n, n_layers = len(models), len(models[0])
    flat = [layer for layers in models for layer in layers]
    scores = {}
    for name, vector in progress(list(every_pair.measures(bandwidths, k).items()), desc="samples"):
        found = every_pair.cosines(flat, vector).reshape(n, n_layers, n, n_layers)
        scores[name] = found.transpose(0, 2, 1, 3).copy()
        scores[name][np.arange(n), np.arange(n)] = np.nan
    return scores


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
