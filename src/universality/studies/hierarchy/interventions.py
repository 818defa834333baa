"""Concept vectors added to the last residual, at real prompts (Park et al. 2024, figure 6).

They add l_child - l_parent and look at mean logits: of the child's tokens against the parent's
others, which should rise, and of the parent's against all others, which should stay. Here the
vector is made of some tokens and the logits are those of others; and the parent's are without the
child's, which rise and would take the mean along.
"""

from dataclasses import dataclass

import numpy as np

from universality.core.stats import ratio_interval
from universality.studies.hierarchy.vectors import Estimator, Whitening, concept_vector


@dataclass(frozen=True)
class Prompts:
    """Residuals before the final norm `(n, d)`, and the unembedding `(n_vocab, d)` after it.

    The unembedding has the norm's scale in it (`core.unembedding`); `centred` norms take the mean
    over coordinates off, `epsilon` is added to the mean square.
    """

    residuals: np.ndarray
    unembedding: np.ndarray
    centred: bool
    epsilon: float

    def scales(self, residuals: np.ndarray) -> np.ndarray:
        """Return what the final norm divides by, `(n,)`."""
        if self.centred:
            residuals = residuals - residuals.mean(axis=1, keepdims=True)
        return np.sqrt(np.mean(residuals**2, axis=1) + self.epsilon)

    def normed(self, residuals: np.ndarray) -> np.ndarray:
        """Return the final norm's output without its scale."""
        return residuals / self.scales(residuals)[:, None]

    def added(self, vector: np.ndarray, strength: float) -> np.ndarray:
        """Return how the norm's output changes when `vector` `(d,)` is added before it, `(n, d)`.

        Times each residual's own scale: without the renewed norm the output would change by
        `strength` times the vector.
        """
        scale = self.scales(self.residuals)[:, None]
        return self.normed(self.residuals + strength * scale * vector) - self.normed(self.residuals)


@dataclass(frozen=True)
class Held:
    """A concept's tokens in two parts: those that vectors are made of, and the others."""

    train: np.ndarray
    test: np.ndarray


def halves(tokens: np.ndarray, share: float, rng: np.random.Generator) -> Held:
    """Return `share` of `tokens` at random, and the rest."""
    mixed = rng.permutation(tokens)
    n = round(share * len(mixed))
    return Held(np.sort(mixed[:n]), np.sort(mixed[n:]))


def direction(
    white: Whitening, rows: np.ndarray, child: np.ndarray, parent: np.ndarray, estimator: Estimator
) -> np.ndarray:
    """Return what is added to the residual: Cov^(-1/2) (l_child - l_parent), `(d,)`.

    A logit changes by its whitened unembedding times the difference: the dual of the map to g.
    """
    difference = concept_vector(rows[child], estimator) - concept_vector(rows[parent], estimator)
    return white.root_inverse @ difference


def contrasts(
    prompts: Prompts,
    vector: np.ndarray,
    strength: float,
    child: np.ndarray,
    siblings: np.ndarray,
    outside: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the changes of two differences of mean logits at every prompt, `(n,)` each.

    child: the child's tokens less the parent's others (`siblings`); parent: these less `outside`.
    """
    change = prompts.added(vector, strength)
    of_child, of_siblings, of_outside = (
        change @ prompts.unembedding[some].mean(axis=0) for some in (child, siblings, outside)
    )
    return of_child - of_siblings, of_siblings - of_outside


def mean_and_interval(
    values: np.ndarray, documents: np.ndarray, n_bootstrap: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return mean, its 95% interval over resampled `documents` `(n,)`, and standard deviation."""
    number = np.unique(documents, return_inverse=True)[1]
    low, high = ratio_interval(
        np.bincount(number, weights=values), np.bincount(number), n_bootstrap, rng
    )
    return {"value": float(values.mean()), "low": low, "high": high, "spread": float(values.std())}
