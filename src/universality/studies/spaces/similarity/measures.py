"""Every measure of similarity under its name: how it is computed, its range, what it is blind to.

A measure is one entry of `MEASURES`. Parameters, the null engine, the identification of layers, the
tests of invariance and the order of tables read it from here; `labels.py` has what figures call it.

There are two kinds. A `Linked` measure is a function of the singular vectors of both sides (see
`linear`). A `Related` one is the cosine of two matrices `(n, n)`, which say how the samples of each
side relate to each other. So for both, each side is prepared once, and a pair or a permutation
costs products only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from universality.studies.spaces.similarity import linear
from universality.studies.spaces.similarity.cka import (
    double_centred,
    rbf_kernel,
    squared_distances,
    u_centred,
)
from universality.studies.spaces.similarity.distances import (
    Distance,
    dissimilarities,
    neighbourhoods,
)
from universality.studies.spaces.similarity.linear import Link, Numbers

_NOTHING = 1e-6
"""Of a matrix' norm: what is left below that by centring it is rounding error."""

Blind = Literal["scale", "rotation", "linear"]
"""What may be done to a side without changing a measure, each with all before it: adding a constant
to every sample and multiplying all, rotating the columns, any invertible map of the columns."""


@dataclass(frozen=True)
class Options:
    """What some measures are told beside the samples."""

    variance_share: float = 0.99
    """Of SVCCA: the share of the variance that is kept."""
    ridge: float = 0.1
    """Of regularised CCA, of the mean variance."""
    n_neighbours: int = 10
    """Of mutual nearest neighbours."""
    bandwidth: float = 1.0
    """Of RBF CKA, of the median distance."""
    distance: Distance = "correlation"
    """Of RSA."""


class Samples:
    """Samples `(n, d)` with the distances between them, each made once."""

    def __init__(self, x: np.ndarray):
        """Keep `x` `(n, d)`."""
        self.x = x
        self._apart: dict[Distance, np.ndarray] = {}

    @cached_property
    def upper(self) -> tuple[np.ndarray, ...]:
        """The indices of all pairs of samples."""
        return np.triu_indices(len(self.x), 1)

    @cached_property
    def euclidean(self) -> np.ndarray:
        """Distances `(n, n)`."""
        return np.sqrt(squared_distances(self.x))

    def apart(self, distance: Distance) -> np.ndarray:
        """Return the dissimilarities `(n, n)`, see `distances.dissimilarities`."""
        if distance == "euclidean":
            return self.euclidean
        if distance not in self._apart:
            self._apart[distance] = dissimilarities(self.x, distance)
        return self._apart[distance]


Relation = np.ndarray
"""How samples relate to each other, `(n, n)`, with squares that add up to 1; NaN if they do not."""


@dataclass(frozen=True)
class Linked:
    """A measure of two sides' singular vectors."""

    of: Callable[[Link, Options], Numbers]
    blind_to: tuple[Blind, Blind] = ("rotation", "rotation")
    """What may be done to X and to Y."""
    symmetric: bool = True
    signed: bool = False


@dataclass(frozen=True)
class Related:
    """A measure that is the cosine of the two sides' relations."""

    of: Callable[[Samples, Options], Relation]
    blind_to: tuple[Blind, Blind] = ("rotation", "rotation")
    signed: bool = True
    """Whether it may be below 0."""
    root: bool = False
    """Whether it is the square root of that cosine."""
    mutual: bool = True
    """Whether its relation is symmetric."""
    symmetric: bool = True

    def value(self, cosine: Numbers) -> Numbers:
        """Return the measure, given the cosine of the relations."""
        return np.sqrt(np.maximum(cosine, 0)) if self.root else cosine


def _rsa(samples: Samples, options: Options) -> Relation:
    from scipy.stats import rankdata

    ranks = np.zeros((len(samples.x),) * 2)
    ranks[samples.upper] = rankdata(samples.apart(options.distance)[samples.upper])
    ranks += ranks.T
    return _unit(_off_centre(ranks, samples), ranks)


def _pearson(samples: Samples, distance: Distance) -> Relation:
    apart = samples.apart(distance)
    return _unit(_off_centre(apart, samples), apart)


def _distance_correlation(samples: Samples, options: Options) -> Relation:
    return _unit(double_centred(samples.euclidean), samples.euclidean)


def _rbf_cka(samples: Samples, options: Options) -> Relation:
    kernel = rbf_kernel(samples.x, options.bandwidth)
    return _unit(u_centred(kernel), kernel)


def _linear_cka_unbiased(samples: Samples, options: Options) -> Relation:
    x = linear.centred(samples.x)
    gram = x @ x.T
    return _unit(u_centred(gram), gram)


def _mutual_knn(samples: Samples, options: Options) -> Relation:
    near = neighbourhoods(samples.euclidean, options.n_neighbours)
    return _unit(near, near)


def _off_centre(matrix: np.ndarray, samples: Samples) -> np.ndarray:
    found = matrix - matrix[samples.upper].mean()
    np.fill_diagonal(found, 0)
    return found


def _unit(centred: np.ndarray, matrix: np.ndarray) -> Relation:
    """Return `centred` with squares that add up to 1; NaN if `matrix` has but rounding errors."""
    norm = np.linalg.norm(centred)
    return centred / (norm if norm > _NOTHING * np.linalg.norm(matrix) else np.nan)


_ANY = ("linear", "linear")
_OWN_COLUMNS = ("scale", "scale")
"""Pearson's correlation over columns takes their mean, which a rotation changes."""

MEASURES: dict[str, Linked | Related] = {
    "cca": Linked(lambda found, _: linear.cca(found), _ANY),
    "cca_r2": Linked(lambda found, _: linear.cca_r2(found), _ANY),
    "svcca": Linked(lambda found, options: linear.svcca(found, options.variance_share)),
    "svcca_k1_as_published": Linked(lambda found, _: linear.svcca_k1_as_published(found)),
    "regularised_cca": Linked(lambda found, to: linear.regularised_cca(found, to.ridge)),
    "linear_cka": Linked(lambda found, _: linear.linear_cka(found)),
    "procrustes": Linked(lambda found, _: linear.procrustes(found)),
    "pwcca": Linked(lambda found, _: linear.pwcca(found), ("scale", "linear"), symmetric=False),
    "regression_r2": Linked(
        lambda found, _: linear.regression_r2(found), ("linear", "rotation"), symmetric=False
    ),
    "rsa": Related(_rsa, _OWN_COLUMNS),
    "rsa_pearson": Related(lambda samples, _: _pearson(samples, "correlation"), _OWN_COLUMNS),
    "distance_correlation": Related(_distance_correlation, signed=False, root=True),
    "pairwise_distance_pearson": Related(lambda samples, _: _pearson(samples, "euclidean")),
    "rbf_cka": Related(_rbf_cka),
    "linear_cka_unbiased": Related(_linear_cka_unbiased),
    "mutual_knn": Related(_mutual_knn, signed=False, mutual=False),
}
LINKED = {name: one for name, one in MEASURES.items() if isinstance(one, Linked)}
RELATED = {name: one for name, one in MEASURES.items() if isinstance(one, Related)}


def span(name: str) -> tuple[float, float]:
    """Return the range of a measure."""
    return (-1.0 if MEASURES[name].signed else 0.0), 1.0
