"""What becomes of features when an SAE gets wider: found again, split, or new.

Leask et al. 2025 (arXiv 2502.04878): a feature of a wide SAE whose decoder has a cosine above .7
with one of a narrow SAE was found again, others are novel. Adding a novel feature to the narrow SAE
should lower its error; one found again has to take the place of its partner.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.stats

from universality.core.intervals import median, share
from universality.core.randomness import generator
from universality.core.splicing import LinearDecoder, encode
from universality.studies.saes.study.neurons import matched_directions, unit

_BLOCK = 4096


class Dictionary:
    """An SAE, its decoder as a matrix, and what its features do on a sample of activations."""

    def __init__(self, sae: Any, x: np.ndarray) -> None:
        """Encode the sample `x` `(n, d_in)`."""
        self.sae, self.decoder = sae, LinearDecoder(sae)
        self.features = encode(sae, x)
        """Shape `(n, d_sae)`."""
        self.fires = np.bincount(self.features.indices, minlength=len(self.decoder.rows)) > 0
        """Features that fire on the sample, `(d_sae,)`."""


def best_match(wide: np.ndarray, narrow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest of `narrow` `(m, d)` to each of `wide` `(n, d)`, and its cosine."""
    wide, narrow = unit(wide), unit(narrow)
    best, cosine = np.zeros(len(wide), dtype=np.int64), np.zeros(len(wide))
    for first in range(0, len(wide), _BLOCK):
        products = wide[first : first + _BLOCK] @ narrow.T
        best[first : first + _BLOCK] = products.argmax(1)
        cosine[first : first + _BLOCK] = products.max(1)
    return best, cosine


def splitting(
    wide: np.ndarray, narrow: np.ndarray, threshold: float, rng: np.random.Generator
) -> dict[str, float]:
    """Say how the features of a wide SAE relate to those of a narrow one, by their decoders.

    `wide` `(n, d)` and `narrow` `(m, d)` hold the features that fire. `cosine` is the median over
    wide features of the best cosine and `found` the share above `threshold`; their null draws as
    many Gaussian directions with the second moment of the wide decoder. `lost`, `kept` and `split`
    are the shares of narrow features that are the partner of no wide feature above the threshold,
    of one, and of several. Intervals are 95% over features.
    """
    best, cosine = best_match(wide, narrow)
    _, null = best_match(matched_directions(unit(wide), len(wide), rng), narrow)
    children = np.bincount(best[cosine > threshold], minlength=len(narrow))
    return {
        "n_wide": len(wide),
        "n_narrow": len(narrow),
        **median("cosine", cosine),
        "cosine_null": float(np.median(null)),
        **share("found", cosine > threshold),
        **share("found_null", null > threshold),
        **share("lost", children == 0),
        **share("kept", children == 1),
        **share("split", children > 1),
    }


def insertion_effects(
    residual: np.ndarray, features: sp.csr_matrix, rows: np.ndarray
) -> np.ndarray:
    """Return how adding each feature alone changes the mean squared error, `(n_features,)`.

    `residual` `(n, d)` is what an SAE leaves unexplained, `features` `(n, n_features)` and `rows`
    `(n_features, d)` those of another. |r - f v|^2 - |r|^2 = f^2 |v|^2 - 2 f r.v, averaged.
    """
    token = np.repeat(np.arange(len(residual)), np.diff(features.indptr))
    dots = np.empty(len(token))
    for first in range(0, len(token), _BLOCK * 16):
        part = slice(first, first + _BLOCK * 16)
        dots[part] = np.einsum("nd,nd->n", residual[token[part]], rows[features.indices[part]])
    square = np.square(rows, dtype=np.float64).sum(1)[features.indices]
    change = features.data.astype(np.float64) ** 2 * square - 2 * features.data * dots
    n_features = len(rows)
    return np.bincount(features.indices, weights=change, minlength=n_features) / len(residual)


def insertion(
    narrow: Dictionary, wide: Dictionary, x: np.ndarray, threshold: float, rng: np.random.Generator
) -> dict[str, float]:
    """Say which wide features lower the narrow SAE's error when added to it one at a time.

    Shares of the novel features and of those found again; their null adds the feature at shuffled
    positions. `rank_correlation` is Spearman's, of best cosine and change of error: positive if
    features found again do harm.
    """
    residual = x - narrow.decoder.decode(narrow.features)
    alive = np.flatnonzero(wide.fires)
    rows, features = wide.decoder.rows[alive], wide.features[:, alive]
    _, cosine = best_match(rows, narrow.decoder.rows[narrow.fires])
    change = insertion_effects(residual, features, rows)
    null = insertion_effects(residual[rng.permutation(len(residual))], features, rows)
    numbers: dict[str, float] = {}
    for name, members in {"novel": cosine <= threshold, "found": cosine > threshold}.items():
        numbers[f"n_{name}"] = int(members.sum())
        if members.any():
            numbers |= share(f"{name}_helps", change[members] < 0)
            numbers |= share(f"{name}_helps_null", null[members] < 0)
    rank: Any = scipy.stats.spearmanr(cosine, change)
    return numbers | {"rank_correlation": float(rank.statistic), "rank_p": float(rank.pvalue)}


@dataclass(frozen=True)
class Path:
    """A way from a narrow SAE towards a wide one, in `n_points` points."""

    n_points: int
    leaves: np.ndarray
    """Point at which each narrow feature is gone, `(m,)`; `n_points` if it stays."""
    arrives: np.ndarray
    """Point at which each wide feature is there, `(n,)`; `n_points` if it never comes."""

    def kept(self, point: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which narrow and which wide features are in use, `(m,)` and `(n,)`."""
        return self.leaves > point, self.arrives <= point


def _spread(n: int, n_points: int, rng: np.random.Generator) -> np.ndarray:
    """Give `n` things, in random order, the points 1 to `n_points` - 1 in equal shares."""
    rank = rng.permutation(n)
    return 1 + rank * (n_points - 1) // max(n, 1)


def swap(best: np.ndarray, n_narrow: int, n_points: int, rng: np.random.Generator) -> Path:
    """Replace narrow features by their groups: the wide features whose best partner they are.

    `best` `(n,)` as `best_match` gives it. The last point is the wide SAE.
    """
    leaves = _spread(n_narrow, n_points, rng)
    return Path(n_points, leaves, leaves[best])


def insert(
    members: np.ndarray, n_narrow: int, n_points: int, rng: np.random.Generator
) -> Path:  # fmt: skip
    """Add the wide features `members` `(n,)` (bool) to all the narrow ones."""
    arrives = np.full(len(members), n_points)
    arrives[members] = _spread(int(members.sum()), n_points, rng)
    return Path(n_points, np.full(n_narrow, n_points), arrives)


def paths(
    best: np.ndarray, cosine: np.ndarray, n_narrow: int, n_points: int, threshold: float, seed: int
) -> dict[str, Path]:
    """Return the ways that are compared.

    swap: group by group. swap_null: the same, with the wide features dealt to groups of the same
    sizes at random. insert_novel and insert_found: add features, take none away.
    """
    shuffled = generator(seed, "groups").permutation(best)
    return {
        "swap": swap(best, n_narrow, n_points, generator(seed, "order")),
        "swap_null": swap(shuffled, n_narrow, n_points, generator(seed, "order")),
        "insert_novel": insert(cosine <= threshold, n_narrow, n_points, generator(seed, "novel")),
        "insert_found": insert(cosine > threshold, n_narrow, n_points, generator(seed, "found")),
    }


def stitched(
    path: Path, point: int,
    narrow: tuple[LinearDecoder, sp.csr_matrix], wide: tuple[LinearDecoder, sp.csr_matrix],
) -> tuple[np.ndarray, dict[str, float]]:  # fmt: skip
    """Reconstruct with the features in use at a point of `path`; return it and their numbers.

    Each SAE comes with its features `(n, d_sae)`: a feature keeps the activation that its own SAE
    gives it (TopK too, where features compete), so that both ends are exact. The offset moves from
    the narrow to the wide decoder's with the share of narrow features that are gone.
    """
    keep, come = path.kept(point)
    gone = 1 - keep.mean()
    total = (1 - gone) * narrow[0].offset + gone * wide[0].offset
    active = 0.0
    for (decoder, features), used in ((narrow, keep), (wide, come)):
        some = features[:, np.flatnonzero(used)]
        total = total + some @ decoder.rows[used]
        active += some.nnz / len(total)
    numbers = {"n_narrow": int(keep.sum()), "n_wide": int(come.sum()), "l0": active}
    return total.astype(np.float32), numbers
