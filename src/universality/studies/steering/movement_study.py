"""Maps of a text's positions before and after steering, and what they keep of the features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.core.errors import InputError
from universality.core.maps import umap_onto
from universality.core.progress import progress
from universality.core.randomness import derive_seed, generator
from universality.core.stats import document_weights
from universality.studies.saes.evaluation import load_sae
from universality.studies.spaces.params.feature_maps import Maps
from universality.studies.steering import movement
from universality.studies.steering.contrasts import ContrastTokens
from universality.studies.steering.downstream import Text, read
from universality.studies.steering.downstream_study import (
    downstream_hooks,
    find_saes,
    place_columns,
)
from universality.studies.steering.intervene import Addition
from universality.studies.steering.movement import FEATURES, PCA, UMAP
from universality.studies.steering.params.steering import SteeredMap, Steering
from universality.studies.steering.vectors import METHODS, pair_activations, random_like

VECTOR, UNMOVED = "vector", "unmoved"


def seen_saes(folder: Path, section: SteeredMap) -> dict[str, Any]:
    """Open the SAEs at the hooks that are seen: hook -> SAE.

    InputError for a hook without an SAE, and for one that no addition can change.
    """
    found = find_saes(folder, section.sae_seed, section.prefix)
    for layer in section.layers:
        known = downstream_hooks(found, section.hook(layer))
        for hook in section.seen:
            if hook not in known:
                raise InputError(
                    f"{folder}: no SAE at {hook!r} that layer {layer} changes; there is: "
                    f"{', '.join(known) or 'nothing'}"
                )
    return {hook: load_sae(found[hook]) for hook in section.seen}


@dataclass(frozen=True)
class Steered:
    """A text with the vector of a contrast and with random ones, as SAE features."""

    contrast: str
    steered_at: str
    features: Mapping[str, Sequence[np.ndarray]]
    """Hook -> `(n_documents, n_positions, d_sae)` with the vector, then with each random one."""


def study(
    bridge: Any, ids: np.ndarray, saes: Mapping[str, Any], contrasts: Mapping[str, ContrastTokens],
    section: SteeredMap, settings: Maps, shared: Steering,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return the tables `summary`, `moves` and `places`.

    All name contrast, steered_layer, multiplier, hook, site and layer. summary: see
    `movement.judged`; `_unmoved` is of the unsteered positions put on their own map once more, and
    true_<map> the share of a position's nearest on the map that are its nearest in the features.
    moves: the same measures of every vector (kind `vector`, `random_0` ...). places: where every
    position lies on the maps of principal components (pc1, pc2) and of UMAP (x, y), unsteered (kind
    `before`, of no contrast), with the vector, and with the first random one.
    """
    text = Text(saes, read(bridge, ids, list(saes), section.n_prompt), section.centred)
    steered = [
        _steered(bridge, ids, text, name, hook, sides, section, shared)
        for (name, hook), sides in progress(
            pair_activations(
                bridge,
                {name: (one.positive, one.negative) for name, one in contrasts.items()},
                [section.hook(layer) for layer in section.layers],
            ).items(),
            desc="steered maps",
        )
    ]
    found: dict[str, list[pd.DataFrame]] = {"summary": [], "moves": [], "places": []}
    for hook in saes:
        before = text.encode(hook, text.plain[hook])
        for name, table in _mapped(hook, before, steered, section, settings, shared).items():
            found[name].append(table)
    return {name: pd.concat(tables, ignore_index=True) for name, tables in found.items()}


def _steered(
    bridge: Any, ids: np.ndarray, text: Text, name: str, steered_at: str,
    sides: tuple[np.ndarray, np.ndarray], section: SteeredMap, shared: Steering,
) -> Steered:  # fmt: skip
    own = METHODS[shared.method](*sides)
    rng = generator(shared.seed, "steered maps", name, steered_at)
    features: dict[str, list[np.ndarray]] = {hook: [] for hook in text.saes}
    for vector in (own, *random_like(own, section.n_random, rng)):
        addition = Addition(steered_at, vector, section.multiplier, shared.where)
        found = read(bridge, ids, list(text.saes), section.n_prompt, [addition])
        for hook, x in found.items():
            features[hook].append(text.encode(hook, x))
    return Steered(name, steered_at, features)


def _mapped(
    hook: str, before: np.ndarray, steered: Sequence[Steered], section: SteeredMap, settings: Maps,
    shared: Steering,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    shape = (*before.shape[:2], 2)
    rows = before.reshape(-1, before.shape[-1])
    plane = movement.principal_plane(rows)
    kinds = [VECTOR, *(f"random_{draw}" for draw in range(section.n_random))]
    all_after = [after for one in steered for after in one.features[hook]]
    flat, again, *onto = umap_onto(
        rows, [rows, *(after.reshape(rows.shape) for after in all_after)], settings.n_neighbors,
        settings.min_dist, derive_seed(shared.seed, "steered maps", hook) % 2**32,
        settings.n_epochs,
    )  # fmt: skip
    grounds = {
        name: movement.ground(places, metric, section.n_near)
        for name, places, metric in (
            (FEATURES, before, "cosine"),  # as UMAP takes them
            (PCA, plane.put(before), "euclidean"),
            (UMAP, flat.reshape(shape), "euclidean"),
        )
    }
    rng = generator(shared.seed, "steered maps", "documents", hook)
    weights = np.vstack(
        [np.ones(len(before)), document_weights(len(before), shared.n_bootstrap, rng)]
    )
    unmoved = {
        f"{name}_{UMAP}_{UNMOVED}": float(values[0])
        for name, values in movement.travel(
            grounds[UMAP], again.reshape(shape), weights[:1]
        ).items()
    }
    n = len(rows)
    true = {
        f"true_{name}": float(
            movement.shared(grounds[name].nearest, grounds[FEATURES].nearest).mean()
        )
        for name in (PCA, UMAP)
    }
    about = unmoved | true | {
        "plane_unsteered": plane.share, "kept_by_chance": section.n_near / (n - 1),
        "n_near": section.n_near, "n_documents": len(before), "n_positions": n,
        "n_random": section.n_random,
    }  # fmt: skip
    summary, moves = [], []
    places = [_places(plane.put(before), flat.reshape(shape), hook=hook, kind="before")]
    for number, one in enumerate(steered):
        where = place_columns(one.contrast, one.steered_at, section.multiplier, hook)
        measured = []
        for draw, (kind, after) in enumerate(zip(kinds, one.features[hook], strict=True)):
            on_umap = onto[number * len(kinds) + draw].reshape(shape)
            on_plane = plane.put(after)
            ways = {FEATURES: after, PCA: on_plane, UMAP: on_umap}
            some = weights if kind == VECTOR else weights[:1]
            numbers = {
                f"{name}_{space}": values
                for space, moved in ways.items()
                for name, values in movement.travel(grounds[space], moved, some).items()
            }
            measured.append(numbers | movement.direction(before, after, plane, some))
            moves.append(where | {"kind": kind} | _first(measured[-1]))
            if draw < 2:  # what is drawn: the vector, and one random one beside it
                places.append(_places(on_plane, on_umap, **where, kind=kind))
        row = movement.judged(measured[0], [_first(values) for values in measured[1:]])
        summary.append(where | row | about)
    return {
        "summary": pd.DataFrame(summary),
        "moves": pd.DataFrame(moves),
        "places": pd.concat(places, ignore_index=True),
    }


def _first(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(some[0]) for name, some in values.items()}


def _places(on_plane: np.ndarray, on_umap: np.ndarray, **columns: str | float) -> pd.DataFrame:
    """Return a row per position: where it lies on both maps `(n_documents, n_positions, 2)`."""
    document, position = (axis.ravel() for axis in np.indices(on_plane.shape[:2]))
    (pc1, pc2), (x, y) = (places.reshape(-1, 2).T for places in (on_plane, on_umap))
    found = {"document": document, "position": position, "pc1": pc1, "pc2": pc2, "x": x, "y": y}
    return pd.DataFrame(found).assign(**columns)
