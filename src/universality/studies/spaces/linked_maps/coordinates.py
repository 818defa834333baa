"""Where features lie on a map: UMAP of the decoder rows of an SAE."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from universality.core.engine.moments import Sparse
from universality.core.errors import InputError
from universality.core.io import read_sparse
from universality.core.maps import umap_map
from universality.core.randomness import derive_seed, generator
from universality.core.sae_weights import read_weights
from universality.studies.matching.files import find_saes
from universality.studies.matching.params.matching import Pair
from universality.studies.spaces.params.linked_maps import LinkedMaps

_LEAST = 5
"""Features without which UMAP has nothing to place."""


@dataclass(frozen=True)
class MappedModel:
    """A model and the seed of its SAEs."""

    name: str
    seed: int

    @property
    def file(self) -> str:
        """The name of the table of its coordinates."""
        return f"{self.name}_seed{self.seed}.parquet"


def mapped_models(pair: Pair) -> list[MappedModel]:
    """Return the models that `pair` shows, one if both sides are the same."""
    sides = MappedModel(pair.a, pair.a_seed), MappedModel(pair.b, pair.b_seed)
    return list(dict.fromkeys(sides))


def read_coordinates(
    model: MappedModel, features: Path, saes: Path, settings: LinkedMaps
) -> pd.DataFrame:
    """Return `layer_coordinates` of every layer of `model`; the folders hold one for each model."""
    tables = [
        layer_coordinates(
            read_sparse(path),
            read_weights(saes / model.name / path.stem).decoder,
            settings,
            f"{model.name}/{path.stem}",
        ).assign(layer=layer, sae=path.stem)
        for layer, path in find_saes(features / model.name, model.seed).items()
    ]
    return pd.concat(tables, ignore_index=True)


def layer_coordinates(
    features: Sparse, decoder: np.ndarray, settings: LinkedMaps, name: str
) -> pd.DataFrame:
    """Return one row per mapped feature of the SAE `name`: feature, count, x, y.

    `features` is CSR `(n, d_sae)`, `decoder` `(d_sae, d_in)`, of which cosines count. Mapped are
    the features that fire, if there are more than `max_features` as many of them, drawn evenly.
    `count` is the number of rows on which a feature fires; x and y lie in [0, 1], one unit being
    the longer side of the map. `n_features` and `n_firing` say of how many. InputError without
    enough that fire.
    """
    if features.shape[1] != len(decoder):
        raise InputError(
            f"{name}: {features.shape[1]} features in the activations, {len(decoder)} in the SAE"
        )
    count = np.bincount(features.indices[features.data > 0], minlength=len(decoder))
    firing = np.flatnonzero(count)
    if len(firing) < _LEAST:
        raise InputError(
            f"{name}: {len(firing)} features fire; at least {_LEAST} are needed for a map"
        )
    chosen = firing
    if len(firing) > settings.max_features:
        random = generator(settings.seed, "mapped features", name)
        chosen = np.sort(random.choice(firing, settings.max_features, replace=False))
    seed = derive_seed(settings.seed, "linked map", name) % 2**32
    flat = umap_map(
        decoder[chosen], settings.n_neighbors, settings.min_dist, seed, n_epochs=settings.n_epochs
    )
    x, y = fitted(flat).T
    return pd.DataFrame(
        {
            "feature": chosen.astype(np.int32),
            "count": count[chosen].astype(np.int32),
            "x": x,
            "y": y,
            "n_features": np.int32(len(decoder)),
            "n_firing": np.int32(len(firing)),
        }
    )


def fitted(flat: np.ndarray) -> np.ndarray:
    """Return points `(n, 2)` moved and scaled, alike in both directions, into the unit square."""
    low, high = flat.min(axis=0), flat.max(axis=0)
    longest = max(float((high - low).max()), 1e-12)
    return np.clip(0.5 + (flat - (low + high) / 2) / longest, 0, 1).astype(np.float32)
