"""Toy models whose features are known, and how much of them a dictionary recovers.

A sample is the sum of the true directions that fire, each times its magnitude: superposition, with
more features than dimensions (Elhage et al. 2022; Sharkey et al. 2022). A dictionary is judged by
its decoder rows and by when its latents fire. In `pairs`, the two parts of a composition
(Anders et al. 2024), or a parent and its child (Chanin et al. 2024, arXiv 2409.14507).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from universality.core.errors import InputError
from universality.core.intervals import mean_over_seeds
from universality.core.randomness import derive_seed
from universality.studies.saes.params.toy import Toy, ToyCondition
from universality.studies.saes.study.neurons import unit

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Samples:
    """Samples of a toy model."""

    directions: np.ndarray
    """True features, unit rows `(n_true, d)`."""
    activations: np.ndarray
    """How strongly each is in a sample, `(n_samples, n_true)`, 0 or more."""

    @cached_property
    def inputs(self) -> np.ndarray:
        """What an SAE sees, `(n_samples, d)`."""
        return self.activations @ self.directions


def true_pairs(n_true: int) -> np.ndarray:
    """Return the related features `(n_true / 2, 2)`: parts, or parent (first) and child."""
    return np.arange(n_true).reshape(-1, 2)


def true_directions(n_true: int, d: int, seed: int) -> np.ndarray:
    """Return `(n_true, d)` unit rows, as orthogonal as SAELens' `FeatureDictionary` makes them."""
    from sae_lens.synthetic import FeatureDictionary

    seed = derive_seed(seed, "toy", "directions")
    vectors = FeatureDictionary(n_true, d, seed=seed).feature_vectors
    return unit(vectors.detach().numpy().astype(np.float64)).astype(np.float32)


def firings(
    condition: ToyCondition, n_samples: int, toy: Toy, rng: np.random.Generator
) -> np.ndarray:
    """Return which features fire, `(n_samples, n_true)`, each in a share `density` of samples.

    `groups` of features have Gaussians that correlate, cut at the same height (Sharkey et al.
    2022); of `pairs`, both fire in a share `strength` of the firings of either; `children` fire
    only if their parent does, then in a share `strength`, and the mean density of parent and child
    is `density`.
    """
    n, density, strength = toy.n_true, toy.density, condition.strength
    if condition.kind == "independent":
        return rng.random((n_samples, n)) < density
    if condition.kind == "groups":
        shared = rng.standard_normal((n_samples, n // toy.group_size))
        own = rng.standard_normal((n_samples, n))
        z = strength**0.5 * np.repeat(shared, toy.group_size, axis=1) + (1 - strength) ** 0.5 * own
        return z > stats.norm.isf(density)
    u = rng.random((n_samples, n // 2))
    if condition.kind == "pairs":
        # [0, density) fires the first, and a window as long that overlaps it the second.
        first, second = (
            u < density,
            (u >= (1 - strength) * density) & (u < (2 - strength) * density),
        )
    else:
        parent = 2 * density / (1 + strength)
        first, second = u < parent, u < strength * parent
    return np.stack([first, second], axis=2).reshape(n_samples, n)


def sample(
    directions: np.ndarray,
    condition: ToyCondition,
    n_samples: int,
    toy: Toy,
    rng: np.random.Generator,
) -> Samples:
    """Draw samples; firing features have magnitudes of mean 1, independent of each other."""
    fires = firings(condition, n_samples, toy, rng)
    magnitude = rng.normal(1, toy.magnitude_sd, fires.shape)
    return Samples(directions, np.where(fires, np.maximum(magnitude, 0), 0).astype(np.float32))


def direction_measures(
    directions: np.ndarray, decoder: np.ndarray, found: float
) -> dict[str, float]:
    """Compare true `directions` `(n_true, d)` with `decoder` rows `(n_latents, d)`.

    `mmcs`: mean over true features of the largest cosine, `mmcs_learned`: mean over latents
    (mean max cosine similarity, Sharkey et al. 2022). A direction is found if some latent's cosine
    exceeds `found`: `recovered` is the share of true features, `recovered_precision` the share of
    latents that are the best match of one, `recovered_f1` their harmonic mean.

    Of `pairs`: `composed_rate` is the share whose sum is matched better than either part, the rest
    sort all pairs: `parts` found both, `part_and_sum` one and the sum, `sum_only`, `neither`; of
    the latter, one part may be found. `sum_latent` is the share whose sum is found at all.
    """
    cosine = unit(directions) @ unit(decoder).T
    best, match = cosine.max(1), cosine.argmax(1)
    recall = float((best > found).mean())
    precision = len(np.unique(match[best > found])) / len(decoder)
    parts = best[true_pairs(len(directions))]
    sums = unit(directions.reshape(-1, 2, directions.shape[1]).sum(1))
    composed = (sums @ unit(decoder).T).max(1)
    n_parts, whole = (parts > found).sum(1), composed > found
    return {
        "mmcs": float(best.mean()),
        "mmcs_learned": float(cosine.max(0).mean()),
        "recovered": recall,
        "recovered_precision": precision,
        "recovered_f1": 2 * precision * recall / (precision + recall) if recall else 0.0,
        "composed_rate": float((composed > parts.max(1)).mean()),
        "sum_latent": float(whole.mean()),
        "pairs_parts": float((n_parts == 2).mean()),
        "pairs_part_and_sum": float(((n_parts == 1) & whole).mean()),
        "pairs_sum_only": float(((n_parts == 0) & whole).mean()),
        "pairs_neither": float(((n_parts < 2) & ~whole).mean()),
    }


def firing_measures(
    samples: Samples, decoder: np.ndarray, latents: np.ndarray, carried: float
) -> dict[str, float]:
    """Compare when latents `(n_samples, n_latents)` fire with when the true features do.

    The latent of a feature is the one with the largest decoder cosine. `detection_f1`: mean F1 of
    these as detectors of their features. `absorption_rate`: share of the samples with parent and
    child in which the parent's latent is silent while the child's, another one, fires and has a
    cosine above `carried` with the parent (mean over pairs; after Chanin et al. 2024). Beside it
    the recall of the parent's latent with and without the child. NaN where no sample tells.
    """
    cosine = unit(samples.directions) @ unit(decoder).T
    match = cosine.argmax(1)
    true, fires = samples.activations > 0, latents[:, match] > 0
    both = (true & fires).sum(0)
    f1 = 2 * both / np.maximum(true.sum(0) + fires.sum(0), 1)
    parent, child = true_pairs(len(match)).T
    together, alone = true[:, parent] & true[:, child], true[:, parent] & ~true[:, child]
    carries = (cosine[parent, match[child]] > carried) & (match[parent] != match[child])
    absorbed = together & ~fires[:, parent] & fires[:, child] & carries
    return {
        "detection_f1": float(f1.mean()),
        "absorption_rate": _mean_share(absorbed, together),
        "parent_recall_with_child": _mean_share(fires[:, parent] & together, together),
        "parent_recall_alone": _mean_share(fires[:, parent] & alone, alone),
        "l0": float((latents > 0).sum(1).mean()),
        "l0_true": float(true.sum(1).mean()),
    }


def _mean_share(part: np.ndarray, whole: np.ndarray) -> float:
    """Return the mean over columns of sum(part) / sum(whole), of those that have any."""
    n = whole.sum(0)
    return float((part.sum(0)[n > 0] / n[n > 0]).mean()) if n.any() else float("nan")


def judge(
    samples: Samples, decoder: np.ndarray, latents: np.ndarray, output: np.ndarray, toy: Toy
) -> dict[str, float]:
    """Return all measures of a dictionary; latents that never fire are left out of it.

    `output` `(n_samples, d)` is the reconstruction.
    """
    alive = (latents > 0).any(0)
    if not alive.any():
        raise InputError("no latent of an SAE fires: a sparsity of toy.families is too high")
    inputs = samples.inputs
    error, spread = np.square(inputs - output).sum(), np.square(inputs - inputs.mean(0)).sum()
    return {
        **direction_measures(samples.directions, decoder[alive], toy.found_above),
        **firing_measures(samples, decoder[alive], latents[:, alive], toy.carried_above),
        "dead_fraction": float(1 - alive.mean()),
        "explained_variance": float(1 - error / spread),
    }


def null_dictionary(kind: str, samples: Samples, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `n` directions `(n, d)` without training: `random` ones, or those of `samples`."""
    if kind == "random":
        return rng.standard_normal((n, samples.directions.shape[1]))
    inputs = samples.inputs
    some = np.flatnonzero(inputs.any(1))
    if len(some) < n:
        raise InputError(
            f"{len(some)} samples with features are fewer than {n} latents: "
            "toy.n_evaluation is too small"
        )
    return inputs[rng.choice(some, n, replace=False)]


def agreement(
    directions: np.ndarray, decoder: np.ndarray, other: np.ndarray, found: float
) -> dict[str, float]:
    """Say what it means that a latent of `decoder` is found in the SAE of another seed, `other`.

    `shared`: the share of its latents with a partner of cosine above `found`; `true`: the share
    that are true features; `true_if_shared`, `true_if_not`: of those shared and of the others
    (NaN of none). Rows are `(n_latents, d)`, true `directions` `(n_true, d)`.
    """
    rows = unit(decoder)
    shared = (rows @ unit(other).T).max(1) > found
    true = (rows @ unit(directions).T).max(1) > found
    return {
        "shared": float(shared.mean()),
        "true": float(true.mean()),
        "true_if_shared": float(true[shared].mean()) if shared.any() else float("nan"),
        "true_if_not": float(true[~shared].mean()) if not shared.all() else float("nan"),
    }


def _within(measure: str) -> tuple[float, float]:
    """Return the values that a measure can take."""
    if measure in ("l0", "l0_true"):
        return 0.0, np.inf
    least = {"mmcs": -1.0, "mmcs_learned": -1.0, "explained_variance": -np.inf}
    return least.get(measure, 0.0), 1.0


def summarise(measures: "pd.DataFrame", keys: list[str]) -> "pd.DataFrame":
    """Return mean, low and high (Student's 95% interval over seeds, cut at what a measure can be).

    `measures` has `keys`, `seed` and one column a measure; the result one row per `keys` and
    measure, with `n_seeds`. A measure that is NaN for some seed is left out.
    """
    import pandas as pd

    names = [name for name in measures.columns if name not in (*keys, "seed")]
    rows = []
    for _, group in measures.groupby(keys, sort=False):
        where = {key: group[key].iloc[0] for key in keys} | {"n_seeds": len(group)}
        for name in names:
            of_seed = group[name].to_numpy(dtype=float)
            if np.isfinite(of_seed).all():
                found = mean_over_seeds("mean", of_seed, _within(name))
                rows.append(where | {"measure": name} | found)
    table = pd.DataFrame(rows)
    return table.rename(columns={"mean_low": "low", "mean_high": "high"})
