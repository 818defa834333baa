"""CCA of matched features on map coordinates, beside CCA of the features themselves.

UMAP coordinates are no linear image of anything: islands lie where the seed puts them, so that CCA
of two maps of the very same rows falls short of 1, and differs from seed to seed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from universality.core.maps import left_out, umap_map
from universality.core.nulls import permutation_p
from universality.core.randomness import derive_seed, generator
from universality.studies.saes.study.neurons import matched_directions
from universality.studies.spaces.geometry.planes import principal_scores
from universality.studies.spaces.params.feature_maps import Maps
from universality.studies.spaces.similarity.linear import Link, basis, cca, cca_r2, compare, link

STATISTICS: dict[str, Callable[[Link], float]] = {"cca": cca, "r2": cca_r2}


def coordinate_table(
    key: str,
    spaces: Sequence[Mapping[str, np.ndarray]],
    places: np.ndarray,
    flat: Mapping[tuple[str, str], np.ndarray],
    settings: Maps,
) -> pd.DataFrame:
    """Return CCA and R2 of pairs, one row per representation, each with interval, null and p.

    `spaces` holds the rows of each side by space, `places` `(m, 2)` the pairs' rows on either side,
    `flat` the maps by side and space. Representations: `umap`
    (the 2-D maps of the decoders), `umap_other_seed` (two maps of A's decoder, every row with
    itself: the most that maps can give), `umap_unrelated` (maps of random directions of the second
    moments of both decoders: no pair belongs together), `decoder_2` (two principal components), and
    `decoder` and `activations` (as many components as pairs allow).
    """
    rows = [places[:, 0], places[:, 1]]
    decoders = [side["decoder"] for side in spaces]
    again = _map(decoders[0], settings, key, "again")
    noise = [
        _map(matched_directions(_unit(x), len(x), generator(settings.seed, "unrelated", key, side)),
             settings, key, "unrelated", side)
        for x, side in zip(decoders, "ab", strict=True)
    ]  # fmt: skip
    n = min(map(len, noise))
    most = max(2, min(settings.n_components, len(places) // 8))

    def components(space: str, k: int) -> tuple[np.ndarray, np.ndarray]:
        one, other = (
            principal_scores(side[space][own], min(k, side[space].shape[1]))
            for side, own in zip(spaces, rows, strict=True)
        )
        return one, other

    found: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "umap": (flat["a", "decoder"][rows[0]], flat["b", "decoder"][rows[1]]),
        "umap_other_seed": (flat["a", "decoder"], again),
        "umap_unrelated": (noise[0][:n], noise[1][:n]),
        "decoder_2": components("decoder", 2),
        "decoder": components("decoder", most),
        "activations": components("activations", most),
    }
    return pd.DataFrame(
        [
            {"representation": name}
            | _row(x, y, settings, generator(settings.seed, "cca", key, name))
            for name, (x, y) in found.items()
        ]
    )


def _map(x: np.ndarray, settings: Maps, *names: str) -> np.ndarray:
    seed = derive_seed(settings.seed, "umap", *names) % 2**32
    return umap_map(x, settings.n_neighbors, settings.min_dist, seed, n_epochs=settings.n_epochs)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _row(x: np.ndarray, y: np.ndarray, settings: Maps, rng: np.random.Generator) -> dict[str, Any]:
    """Return both statistics of `(n, d1)` and `(n, d2)`; the null permutes the rows of y."""
    one, other = basis(x), basis(y)
    observed = link(one, other)
    nulls = [link(one, other, rng.permutation(len(x))) for _ in range(settings.n_permutations)]
    row: dict[str, Any] = {"n": len(x), "d_a": len(one.s), "d_b": len(other.s)}
    for name, statistic in STATISTICS.items():
        value, null = statistic(observed), np.array([statistic(draw) for draw in nulls])
        low, high = left_out(
            lambda rows, statistic=statistic: statistic(compare(x[rows], y[rows])),
            len(x), settings.n_groups, (0, 1),
        )  # fmt: skip
        row |= {
            name: value, f"{name}_low": low, f"{name}_high": high,
            f"{name}_null": float(null.mean()), f"{name}_p": permutation_p(value, null),
        }  # fmt: skip
    return row
