"""What the features of an SAE are: how often they fire, where they point, how many neurons.

Questions of Bricken et al. 2023 (Towards Monosemanticity) and of Nanda's replication of it (2023,
Open Source Replication & Commentary). Features are rows, and every statistic comes with a null.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.stats

from universality.errors import InputError
from universality.nulls import permutation_p
from universality.params.anatomy import Anatomy
from universality.saes.intervals import median, share, share_interval
from universality.saes.study.clusters import Split, clusters, delta_bic_null, split
from universality.saes.study.neurons import matched_directions, neuron_classes, neurons_needed, unit
from universality.saes.weights import SaeWeights
from universality.stats import jackknife_interval, percentile_interval

if TYPE_CHECKING:
    import pandas as pd

_JACKKNIFE = 20
_BIC_DRAWS = 5


def geometry(weights: SaeWeights) -> "pd.DataFrame":
    """Return encoder_bias, encoder_decoder_cosine and decoder_kurtosis of each feature.

    The bias is in units of the SAE's input, as if its decoder had norm 1. The excess kurtosis is
    over the coordinates of the decoder row: 0 for a Gaussian direction, about d - 5 for an axis.
    """
    import pandas as pd

    cosine = (unit(weights.encoder) * unit(weights.decoder)).sum(1)
    return pd.DataFrame(
        {
            "encoder_bias": weights.bias * np.linalg.norm(weights.decoder, axis=1),
            "encoder_decoder_cosine": cosine,
            "decoder_kurtosis": scipy.stats.kurtosis(weights.decoder, axis=1),
        }
    )


def common_direction(rows: np.ndarray) -> dict[str, float]:
    """Say how much unit `rows` `(n, d)` share one direction.

    mean_cosine is over pairs; first_share is the share of the squared norm along the first
    principal direction (not centred): 1/d at least, 1 if all rows are parallel.
    """
    n, d = rows.shape
    total = float(np.square(rows.sum(0)).sum())
    gram = rows.T @ rows if d < n else rows @ rows.T
    return {
        "mean_cosine": (total - n) / (n * (n - 1)),
        "first_share": float(np.linalg.eigvalsh(gram)[-1] / n),
    }


def compare_direction(
    group: np.ndarray, others: np.ndarray, n_null: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return `common_direction` of the encoder rows `group` with interval, nulls and p.

    Nulls: as many of the rows `others` (`_null`) and as many Gaussian directions (`_gaussian`),
    means and central 95%. If `others` are fewer, as many of `group` are compared. The interval is
    a grouped jackknife's over features.
    """
    group, others = unit(group), unit(others)
    n = min(len(group), len(others))
    if n < 3:
        raise ValueError(f"{n} features are too few to share a direction; 3 are needed")
    group = rng.permutation(group)[:n]
    draws = {"null": [], "gaussian": []}
    for _ in range(n_null):
        draws["null"].append(common_direction(rng.choice(others, n, replace=False)))
        draws["gaussian"].append(common_direction(unit(rng.normal(size=group.shape))))
    parts = np.array_split(np.arange(n), min(n, _JACKKNIFE))
    without = [common_direction(np.delete(group, part, axis=0)) for part in parts]
    found: dict[str, float] = {"n": n}
    for name, value in common_direction(group).items():
        low, high = jackknife_interval(value, np.array([row[name] for row in without]))
        found |= {name: value, f"{name}_low": low, f"{name}_high": high}
        for null, rows in draws.items():
            values = np.array([row[name] for row in rows])
            low, high = percentile_interval(values)
            key = f"{name}_{null}"
            found |= {key: float(values.mean()), f"{key}_low": low, f"{key}_high": high}
        found[f"{name}_p"] = permutation_p(value, np.array([row[name] for row in draws["null"]]))
    return found


@dataclass(frozen=True)
class Described:
    """The anatomy of one SAE."""

    features: "pd.DataFrame"
    """One row per feature: feature, density, cluster, what `geometry` says, and n_neurons,
    best_neuron, best_neuron_cosine (0, -1 and 0 where there are no neurons)."""
    summary: dict[str, float]
    clusters: list[dict]
    """One row per cluster: n, share, and means with intervals."""
    directions: list[dict]
    """One row per group of silent or rare features: `compare_direction` of its encoder rows."""
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
    points = features.loc[fires, ["density", "encoder_bias", "encoder_decoder_cosine"]].to_numpy()
    points[:, 0] = np.log10(points[:, 0])
    one = split(points[:, :1], params.seed)
    features.insert(2, "cluster", clusters(density, one))
    decoder = unit(weights.decoder)
    null = matched_directions(decoder, len(decoder), rng)
    shares, columns = _neurons(decoder, null, neurons, params)
    summary = _summary(features, one, points, params, rng)
    summary |= median("decoder_kurtosis", features["decoder_kurtosis"].to_numpy())
    summary["decoder_kurtosis_null"] = float(np.median(scipy.stats.kurtosis(null, axis=1)))
    return Described(
        features=features.assign(**columns),
        summary=summary,
        clusters=_cluster_rows(features, weights),
        directions=_direction_rows(features, weights.encoder, params, rng),
        neurons=shares,
    )


def _groups(features: "pd.DataFrame", params: Anatomy) -> dict[str, np.ndarray]:
    """Return which features are dead, rare, ultralow; an ultralow one may be rare too."""
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
    null = delta_bic_null(points[:, :1], _BIC_DRAWS, rng)
    all_three = split((points - points.mean(0)) / np.maximum(points.std(0), 1e-12), params.seed)
    found: dict[str, float] = {"n_features": len(features)}
    for name, members in _groups(features, params).items():
        found |= share(f"{name}_share", members)
    found |= {
        "separated": int(one.separated),
        "n_modes": one.n_modes,
        "delta_bic": one.delta_bic,
        "delta_bic_null": float(null.mean()),
        "delta_bic_null_high": float(null.max()),
        "separated_3d": int(all_three.separated),
        "n_modes_3d": all_three.n_modes,
        "delta_bic_3d": all_three.delta_bic,
    }
    return found


def _cluster_rows(features: "pd.DataFrame", weights: SaeWeights) -> list[dict]:
    """Return n, share, and means of log10 density, bias and cosine of each cluster.

    The null of the cosine pairs each encoder row with the other decoder rows of its cluster.
    """
    encoder, decoder = unit(weights.encoder), unit(weights.decoder)
    rows = []
    for name, members in features.groupby("cluster", sort=True):
        n, index = len(members), members.index.to_numpy()
        low, high = share_interval(n, len(features))
        row = {
            "cluster": name, "n": n, "share": n / len(features), "share_low": low,
            "share_high": high,
        }  # fmt: skip
        values = {column: members[column] for column in _MEANS}
        if name != "dead":
            values["log10_density"] = np.log10(members["density"])
        for column, value in values.items():
            error = 1.96 * value.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
            mean = value.mean()
            row |= {column: mean, f"{column}_low": mean - error, f"{column}_high": mean + error}
        if n > 1:
            every = encoder[index].sum(0) @ decoder[index].sum(0)
            own = (encoder[index] * decoder[index]).sum()
            row["encoder_decoder_cosine_null"] = (every - own) / (n * (n - 1))
        rows.append(row)
    return rows


_MEANS = ["encoder_bias", "encoder_decoder_cosine", "decoder_kurtosis"]


def _direction_rows(
    features: "pd.DataFrame", encoder: np.ndarray, params: Anatomy, rng: np.random.Generator
) -> list[dict]:
    groups = _groups(features, params)
    others = encoder[~np.any(list(groups.values()), axis=0)]
    return [
        {"group": name, "n_group": int(members.sum())}
        | compare_direction(encoder[members], others, params.n_null, rng)
        for name, members in groups.items()
        if members.sum() >= 3 and len(others) >= 3
    ]


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
