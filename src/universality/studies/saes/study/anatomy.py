"""What the features of an SAE are: how often they fire, where they point, how many neurons.

Questions of Bricken et al. 2023 (Towards Monosemanticity) and of Nanda's replication of it (2023,
Open Source Replication & Commentary). Features are rows, and every statistic comes with a null.
"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from universality.core.errors import InputError
from universality.core.hooks import layer, place, sae_id
from universality.core.intervals import median, share
from universality.core.io import read_sparse
from universality.core.randomness import generator
from universality.core.sae_weights import SaeWeights, mlp_output, read_weights
from universality.studies.saes.params.anatomy import Anatomy
from universality.studies.saes.params.saes import SaeModel
from universality.studies.saes.study.clusters import Split, clusters, delta_bic_null, split
from universality.studies.saes.study.neurons import (
    matched_directions,
    neuron_classes,
    neurons_needed,
    unit,
)

if TYPE_CHECKING:
    import pandas as pd

_BIC_DRAWS = 5


def geometry(weights: SaeWeights) -> "pd.DataFrame":
    """Return encoder_bias and encoder_decoder_cosine of each feature.

    The bias is in units of the SAE's input, as if its decoder had norm 1.
    """
    import pandas as pd

    cosine = (unit(weights.encoder) * unit(weights.decoder)).sum(1)
    return pd.DataFrame(
        {
            "encoder_bias": weights.bias * np.linalg.norm(weights.decoder, axis=1),
            "encoder_decoder_cosine": cosine,
        }
    )


@dataclass(frozen=True)
class Described:
    """The anatomy of one SAE."""

    features: "pd.DataFrame"
    """One row per feature: feature, density, cluster, what `geometry` says, and n_neurons,
    best_neuron, best_neuron_cosine (0, -1 and 0 where there are no neurons)."""
    summary: dict[str, float]
    """Shares of features that hardly fire, and whether their densities are two clusters."""
    neurons: dict[str, float]
    """Shares of the neuron classes; empty where there are no neurons."""


def describe(
    name: str, weights: SaeWeights, density: np.ndarray, neurons: np.ndarray | None,
    params: Anatomy, rng: np.random.Generator,
) -> Described:  # fmt: skip
    """Describe the SAE `name`; `density` `(d_sae,)`, `neurons` `(d_mlp, d_in)` or None.

    Intervals are 95% over features. Raises InputError if fewer than 10 features fire.
    """
    fires = density > 0
    if fires.sum() < 10:
        raise InputError(f"{name}: {fires.sum()} of {len(fires)} features fire; 10 are needed")
    features = geometry(weights)
    features.insert(0, "feature", np.arange(len(features)))
    features.insert(1, "density", density)
    points = np.log10(density[fires])[:, None]
    one = split(points, params.seed)
    features.insert(2, "cluster", clusters(density, one))
    decoder = unit(weights.decoder)
    null = matched_directions(decoder, len(decoder), rng)
    shares, columns = _neurons(decoder, null, neurons, params)
    summary = _summary(features, one, points, params, rng)
    return Described(
        features=features.assign(**columns),
        summary=summary,
        neurons=shares,
    )


def _groups(features: "pd.DataFrame", params: Anatomy) -> dict[str, np.ndarray]:
    """Return which features are dead, rare or ultralow; an ultralow feature may be rare too."""
    density = features["density"].to_numpy()
    return {
        "dead": density == 0,
        "rare": (density > 0) & (density < params.rare_below),
        "ultralow": (features["cluster"] == "ultralow").to_numpy(),
    }


def _summary(
    features: "pd.DataFrame", one: Split, points: np.ndarray, params: Anatomy,
    rng: np.random.Generator,
) -> dict[str, float]:  # fmt: skip
    null = delta_bic_null(points, _BIC_DRAWS, rng)
    found: dict[str, float] = {"n_features": len(features)}
    for name, members in _groups(features, params).items():
        found |= share(f"{name}_share", members)
    found |= {
        "separated": int(one.separated),
        "n_modes": one.n_modes,
        "delta_bic": one.delta_bic,
        "delta_bic_null": float(null.mean()),
        "delta_bic_null_high": float(null.max()),
    }
    return found


def _neurons(
    decoder: np.ndarray, null: np.ndarray, neurons: np.ndarray | None, params: Anatomy
) -> tuple[dict[str, float], dict[str, np.ndarray | float]]:
    if neurons is None:
        return {}, {"n_neurons": 0, "best_neuron": -1, "best_neuron_cosine": 0.0}
    n, (explained, few) = len(decoder), (params.explained, params.few)
    needed, best, cosine = neurons_needed(decoder, unit(neurons), explained, few)
    null_needed, _, null_cosine = neurons_needed(null, unit(neurons), explained, few)
    shares: dict[str, float] = {"n_features": n, "n_neurons": len(neurons)}
    null_classes = neuron_classes(null_needed, few)
    for name, members in neuron_classes(needed, few).items():
        shares |= share(name, members) | share(f"{name}_null", null_classes[name])
    shares |= median("best_neuron_cosine", np.abs(cosine))
    shares["best_neuron_cosine_null"] = float(np.median(np.abs(null_cosine)))
    return shares, {"n_neurons": needed, "best_neuron": best, "best_neuron_cosine": cosine}


def neuron_basis(model: Path, hook: str, d_in: int) -> np.ndarray | None:
    """Return the neurons in the space of the hook, `(d_mlp, d_in)`; only MLPs have some."""
    if hook.endswith(".mlp.hook_post"):
        return np.eye(d_in)
    if hook.endswith(".hook_mlp_out"):
        return mlp_output(model, layer(hook), d_in)
    return None


def describe_all(
    key: str, wanted: SaeModel, section: Anatomy, model: Path, saes: Path, features: Path
) -> "dict[str, pd.DataFrame]":
    """Describe all SAEs of the model `key` from the directories of the model, SAEs and features.

    Returns the tables features (a row per feature), summary and neurons (a row per SAE).
    """
    import pandas as pd

    rows: dict[str, list] = {"summary": [], "neurons": []}
    per_feature = []
    for hook, seed in product(wanted.hooks, wanted.seeds):
        name = sae_id(hook, seed)
        weights = read_weights(saes / name)
        matrix = read_sparse(features / f"{name}.safetensors")
        n_positions = len(matrix.indptr) - 1
        density = np.bincount(matrix.indices, minlength=len(weights.bias)) / n_positions
        neurons = neuron_basis(model, hook, weights.decoder.shape[1])
        found = describe(name, weights, density, neurons, section, generator(section.seed, name))
        where = {"model": key, "sae": name, **place(hook), "seed": seed}
        per_feature.append(found.features.assign(**where))
        where["n_positions"] = n_positions
        rows["summary"].append(where | found.summary)
        rows["neurons"] += [where | found.neurons] if found.neurons else []
    features_table = pd.concat(per_feature, ignore_index=True)
    return {"features": features_table} | {name: pd.DataFrame(r) for name, r in rows.items()}
