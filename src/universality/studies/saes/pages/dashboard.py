"""Where the features of a dashboard fire: how often, on which tokens, in which contexts.

Examples are never only maxima, which flatter a feature: beside the top examples (one per document,
over all positions at once) there are examples drawn at random from quantile intervals of its
activation, as in the dashboards of Bricken et al. 2023 (there: intervals of equal width).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from universality.core.contexts import Example, Positions, example, top_rows
from universality.core.errors import InputError
from universality.core.randomness import generator
from universality.core.stats import document_weights, percentile_interval
from universality.studies.saes.params.dashboards import Dashboard

if TYPE_CHECKING:
    import scipy.sparse as sp

N_BINS, N_TOKENS = 30, 6


@dataclass(frozen=True)
class Interval:
    """Firing positions between two quantiles of the feature's activation."""

    quantiles: tuple[float, float]
    values: tuple[float, float]
    n: int
    examples: list[Example]


@dataclass(frozen=True)
class TokenUse:
    """How a feature's firing depends on the token alone."""

    token: int
    share: float
    """Of the feature's firing positions, the share on this token."""
    baseline: float
    """Share of this token among all positions."""
    fires: float
    """Share of this token's positions on which the feature fires."""


@dataclass(frozen=True)
class Firing:
    """Where one feature fires; no examples and no histogram if it never does."""

    feature: int
    chosen: str
    n: int
    density: float
    density_interval: tuple[float, float]
    histogram: tuple[np.ndarray, np.ndarray]
    """Counts `(n_bins,)` and edges `(n_bins + 1,)` of the activations above 0."""
    tokens: list[TokenUse]
    top: list[Example]
    intervals: list[Interval]


def choose_features(density: np.ndarray, params: Dashboard) -> dict[int, str]:
    """Return the features to show, ascending, and why: listed, random or its rank of density.

    `density` `(d_sae,)` is the share of positions on which each feature fires. Ranks are even from
    the rarest feature that fires to the densest; the random ones are drawn from all, dead or not.
    """
    beyond = [feature for feature in params.listed if feature >= len(density)]
    if beyond:
        raise InputError(
            f"dashboards: listed names feature {beyond[0]}; the SAE has {len(density)}, from 0"
        )
    alive = np.flatnonzero(density > 0)
    by_density = alive[np.argsort(density[alive], kind="stable")]
    ranks = np.linspace(0, 1, params.n_by_density)
    places = np.round(ranks * (len(alive) - 1)).astype(int) if len(alive) else []
    random = generator(params.seed, "dashboard features").permutation(len(density))
    reasons: dict[int, list[str]] = {feature: ["listed"] for feature in params.listed}
    for place, rank in zip(places, ranks, strict=False):
        feature = int(by_density[place])
        reasons.setdefault(feature, []).append(f"density rank {rank:.0%} of those that fire")
    for feature in random[: params.n_random].tolist():
        reasons.setdefault(feature, []).append("drawn at random")
    return {feature: ", ".join(reasons[feature]) for feature in sorted(reasons)}


def firing(
    activations: "sp.csc_matrix | sp.csc_array",
    at: Positions,
    chosen: Mapping[int, str],
    params: Dashboard,
) -> list[Firing]:
    """Return where each feature of `chosen` fires.

    `activations` is `(n_rows, d_sae)`, nothing below 0. Intervals of the density are 95%, by
    bootstrap over documents.
    """
    n_rows = len(at.token)
    n_documents = len(at.bounds) - 1
    resamples = document_weights(
        n_documents, params.n_bootstrap, generator(params.seed, "dashboard density")
    )
    n_resampled = resamples @ np.diff(at.bounds)
    occurrences = np.unique(at.token, return_counts=True)
    views = []
    for feature, why in chosen.items():
        first, last = activations.indptr[feature : feature + 2]
        fires = activations.data[first:last] > 0
        rows, values = activations.indices[first:last][fires], activations.data[first:last][fires]
        per_document = np.bincount(at.index[rows], minlength=n_documents)
        random = generator(params.seed, "dashboard examples", feature)
        column = np.zeros(n_rows, dtype=np.float32)
        column[rows] = values
        views.append(
            Firing(
                feature=feature,
                chosen=why,
                n=len(rows),
                density=len(rows) / n_rows,
                density_interval=percentile_interval(resamples @ per_document / n_resampled),
                histogram=np.histogram(values, N_BINS, (0, values.max() if len(values) else 1)),
                tokens=token_use(at.token[rows], occurrences),
                top=[example(row, column, at, params.context)
                     for row in top_rows(rows, values, at.index, params.n_top)],
                intervals=_intervals(rows, column, at, params, random),
            )
        )  # fmt: skip
    return views


def quantile_rows(
    rows: np.ndarray, values: np.ndarray, document: np.ndarray, n_intervals: int, n: int,
    random: np.random.Generator,
) -> list[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Return all rows of each quantile interval, and the at most `n` sampled; highest first.

    Intervals hold equally many of `rows` (give or take one), so together the samples are a fair
    picture of the positions where the feature fires. An interval has at most one per document.
    """
    if not len(rows):
        return []
    found = []
    for part in np.array_split(rows[np.lexsort((rows, values))], n_intervals)[::-1]:
        mixed = random.permutation(part)
        _, first = np.unique(document[mixed], return_index=True)
        found.append((part, mixed[np.sort(first)[:n]]))
    return found


def _intervals(
    rows: np.ndarray, column: np.ndarray, at: Positions, params: Dashboard,
    random: np.random.Generator,
) -> list[Interval]:  # fmt: skip
    n = min(params.n_intervals, len(rows))
    parts = quantile_rows(rows, column[rows], at.index, n, params.n_per_interval, random)
    return [
        Interval(
            quantiles=(1 - (i + 1) / n, 1 - i / n),
            values=(float(column[part[0]]), float(column[part[-1]])),
            n=len(part),
            examples=[example(row, column, at, params.context) for row in sampled],
        )
        for i, (part, sampled) in enumerate(parts)
    ]


def token_use(fired: np.ndarray, occurrences: tuple[np.ndarray, np.ndarray]) -> list[TokenUse]:
    """Return the tokens that a feature fires on most, given the tokens `fired` `(n_firing,)`.

    `occurrences` are the token ids of the text, ascending, and how often each occurs.
    """
    ids, counts = np.unique(fired, return_counts=True)
    n_of = occurrences[1][np.searchsorted(occurrences[0], ids)]
    shares = counts / len(fired), n_of / occurrences[1].sum(), counts / n_of
    most = np.argsort(-counts, kind="stable")[:N_TOKENS]
    return [TokenUse(int(ids[i]), *(float(share[i]) for share in shares)) for i in most]
