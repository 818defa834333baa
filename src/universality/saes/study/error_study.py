"""The study of where an SAE's error is, hook by hook: tables from a model, a text and an SAE."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from universality.corpora import Tokens
from universality.geometry.maps import umap_map
from universality.params.token_error import SaeErrors
from universality.progress import progress
from universality.randomness import derive_seed, generator
from universality.saes.study import neighbourhoods, remedies, removal, scales, token_error
from universality.saes.study.splicing import (
    Intervals,
    LinearDecoder,
    Outcomes,
    SplicedModel,
    encode,
    hook_activations,
)

Tables = dict[str, pd.DataFrame]

_COSINE_DRAWS = 19
"""Random decoders; each costs d_sae^2 d, and they differ from each other by next to nothing."""


@dataclass(frozen=True)
class Texts:
    """The three texts of the study, run once through the model."""

    judged: SplicedModel
    """Validation documents on which the error is described and scales are judged."""
    removal: SplicedModel
    """Fewer of them, for the many passes with features removed."""
    fit: dict[str, np.ndarray]
    """Hook -> activations `(n, d)` of training documents: densities and scales are of these."""
    fit_documents: np.ndarray
    """Document of each, from 0, `(n,)`."""


def read_texts(
    bridge: Any, validation: Tokens, train: Tokens, hooks: list[str], params: SaeErrors
) -> Texts:
    """Run the model as it is over all that the study reads."""
    n = min(params.n_removal_documents, validation.n_documents)
    few = validation.first(int(validation.bounds[n]))
    place = np.flatnonzero(~train.special)
    fit = hook_activations(bridge, train, hooks, params.batch_tokens)
    return Texts(
        judged=SplicedModel(bridge, validation, hooks, params.batch_tokens),
        removal=SplicedModel(bridge, few, hooks, params.batch_tokens),
        fit={hook: values[place] for hook, values in fit.items()},
        fit_documents=np.searchsorted(train.bounds, place, side="right") - 1,
    )


def study(
    texts: Texts, saes: dict[str, tuple[str, Any]], pieces: pd.DataFrame, params: SaeErrors
) -> Tables:
    """Study every SAE, hook -> (id, SAE): table name -> table with a column `sae`.

    `pieces` says which token each row of `texts.judged` is. Also `correlations`, of the CE
    differences of every two SAEs, and `map`, the UMAP of one hook's activations.
    """
    mapped = list(saes)[params.umap_hook]
    parts: dict[str, list[pd.DataFrame]] = {}
    differences, nulls = {}, {}
    for hook, (name, sae) in progress(saes.items(), desc="SAEs"):
        decoder = LinearDecoder(sae)
        tables = study_hook(texts, hook, sae, decoder, params)
        orthogonality = _orthogonality(decoder.rows, nulls, hook, params)
        tables["layers"] = tables["layers"].assign(**orthogonality)
        tables["tokens"] = pieces.join(tables["tokens"])
        if hook == mapped:
            tables["map"] = activation_map(texts.judged, hook, tables["tokens"], params)
        differences[name] = tables["tokens"]["ce_difference"].to_numpy()
        for table, rows in tables.items():
            parts.setdefault(table, []).append(rows.assign(sae=name))
    parts["correlations"] = [
        token_error.layer_correlations(
            differences, texts.judged.documents, params.n_null, params.n_bootstrap,
            generator(params.seed, "correlations"),
        )
    ]  # fmt: skip
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


def _orthogonality(
    rows: np.ndarray, nulls: dict[Any, np.ndarray], hook: str, params: SaeErrors
) -> dict[str, float]:
    """Measure a decoder; SAEs of one shape share their null, kept in `nulls`."""
    if rows.shape not in nulls:
        draw = generator(params.seed, "random decoders", *rows.shape)
        nulls[rows.shape] = remedies.random_cosines(rows.shape, _COSINE_DRAWS, draw)
    draw = generator(params.seed, hook, "cosines")
    return remedies.decoder_orthogonality(rows, nulls[rows.shape], params.n_bootstrap, draw)


def study_hook(
    texts: Texts, hook: str, sae: Any, decoder: LinearDecoder, params: SaeErrors
) -> Tables:
    """Return the tables of one SAE: `layers` (one row), tokens, quantiles, tails, and more."""
    model = texts.judged
    intervals = _intervals(model.documents, params, hook, "judged")
    outcomes = Outcomes(model, hook, intervals)
    features = encode(sae, outcomes.x)
    new = decoder.decode(features)
    losses = outcomes.losses(new)
    row, tokens = _errors(outcomes, new, losses, params)
    ratio, norms = scales.norm_ratios(outcomes.x, new, intervals)
    difference = losses - model.clean
    values = {"ce_difference": difference, "error": tokens["error"]}
    values["relative_error"] = tokens["error"] / tokens["norm"]
    near = _neighbours(outcomes, values, params)
    fit_features = encode(sae, texts.fit[hook])
    rescaled, fitted, per_feature = _scales(
        texts, outcomes, (new, losses), (features, fit_features), decoder, params
    )
    density = np.bincount(fit_features.indices, minlength=sae.cfg.d_sae) / len(texts.fit[hook])
    per_token, dense = _removals(texts.removal, hook, sae, density, decoder, params)
    agreement = {f"neighbours_{k}": v for k, v in near[0].items() if k != "value"}
    return {
        "layers": pd.DataFrame([row | norms | agreement | fitted]),
        "tokens": tokens.assign(norm_ratio=ratio.astype(np.float32)),
        "quantiles": token_error.quantile_table(difference),
        "norm_quantiles": pd.DataFrame(
            {
                "quantile": scales.NORM_QUANTILES,
                "norm_ratio": np.quantile(ratio, scales.NORM_QUANTILES),
            }
        ),
        "tails": token_error.tails(
            difference, model.documents, params.tail_shares, params.n_bootstrap,
            generator(params.seed, hook, "tails"),
        ),
        "neighbours": pd.DataFrame(near),
        "scales": rescaled,
        "feature_scales": per_feature,
        "removal": per_token,
        "frequency": dense,
    }  # fmt: skip


def _intervals(documents: np.ndarray, params: SaeErrors, hook: str, use: str) -> Intervals:
    return Intervals(documents, params.n_bootstrap, generator(params.seed, hook, use))


def _errors(
    outcomes: Outcomes, new: np.ndarray, losses: np.ndarray, params: SaeErrors
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Compare the SAE's error with random ones of its norm; return the headline and the tokens."""
    model, hook, ratio = outcomes.model, outcomes.hook, outcomes.intervals.ratio
    error = new - outcomes.x
    draw = generator(params.seed, hook, "errors")
    others = {
        "random": token_error.random_error(error, draw),
        "exchanged": token_error.exchanged_error(error, model.documents, draw),
    }
    with_other = {name: outcomes.losses(outcomes.x + other) for name, other in others.items()}
    difference = losses - model.clean
    norm = np.linalg.norm(error, axis=1)
    row: dict[str, Any] = {
        "n_tokens": len(norm),
        "n_documents": len(np.unique(model.documents)),
        **outcomes.row(new, losses),
    }
    for name, other in with_other.items():
        row |= ratio(f"ce_difference_{name}_error", other - model.clean)
        row |= ratio(f"ce_minus_{name}_error", losses - other)
    related = token_error.correlation(
        np.square(norm), difference, model.documents, params.n_null, params.n_bootstrap, draw
    )
    row |= {f"error_to_ce_{name}": value for name, value in related.items()}
    table = {
        "ce": model.clean,
        "ce_difference": difference,
        "norm": np.linalg.norm(outcomes.x, axis=1),
        "error": norm,
    }
    return row, pd.DataFrame({name: value.astype(np.float32) for name, value in table.items()})


def _neighbours(
    outcomes: Outcomes, values: dict[str, Any], params: SaeErrors
) -> list[dict[str, Any]]:
    """Ask of each per-token value how far neighbours in activation space share it."""
    found = neighbourhoods.nearest_neighbours(
        outcomes.x, outcomes.model.documents, params.n_neighbours
    )
    draw = generator(params.seed, outcomes.hook, "neighbours")
    return [
        {"value": name}
        | neighbourhoods.neighbour_agreement(
            found, np.asarray(value, dtype=np.float64), outcomes.intervals, params.n_null, draw
        )
        for name, value in values.items()
    ]


def _scales(
    texts: Texts,
    outcomes: Outcomes,
    plain: tuple[np.ndarray, np.ndarray],
    features: tuple[Any, Any],
    decoder: LinearDecoder,
    params: SaeErrors,
) -> tuple[pd.DataFrame, dict[str, float], pd.DataFrame]:
    """Fit scales on training text, judge them on validation text.

    Returns a row for no scale, one scale, and a scale per feature; the headline; the scales.
    """
    hook, ratio = outcomes.hook, outcomes.intervals.ratio
    judged, fit = features
    draw = _intervals(texts.fit_documents, params, hook, "scales")
    best = scales.fit_scales(texts.fit[hook], fit, decoder, params.ridge, draw)
    summary = best.one | scales.mean_scale(best, params.n_bootstrap, draw.rng)
    candidates = {"none": 1.0, "one": best.one["global_scale"], "per_feature": best.per_feature}
    rows = []
    for which, scale in candidates.items():
        new = decoder.decode(scales.scaled(judged, scale))
        losses = plain[1] if which == "none" else outcomes.losses(new)
        gain = (np.square(outcomes.x - rows_) for rows_ in (plain[0], new))
        before, after = (part.sum(1, dtype=np.float64) for part in gain)
        row = {"scale": which} | outcomes.row(new, losses)
        row |= ratio("ce_gain", plain[1] - losses)
        row |= ratio("explained_variance_gain", before - after, outcomes.variance)
        row |= scales.norm_ratios(outcomes.x, new, outcomes.intervals)[1]
        rows.append(row)
    gains = ("ce_gain", "explained_variance_gain")
    for row in rows[1:]:
        picked = {k: v for k, v in row.items() if k.startswith(gains)}
        summary |= {f"scale_{row['scale']}_{name}": value for name, value in picked.items()}
    per_feature = pd.DataFrame(
        {
            "feature": np.arange(len(best.count)),
            "scale": best.per_feature.astype(np.float32),
            "count": best.count,
        }
    )
    return pd.DataFrame(rows), summary, per_feature


def _removals(
    model: SplicedModel,
    hook: str,
    sae: Any,
    density: np.ndarray,
    decoder: LinearDecoder,
    params: SaeErrors,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    outcomes = Outcomes(model, hook, _intervals(model.documents, params, hook, "removal"))
    features = encode(sae, outcomes.x)
    draw = generator(params.seed, hook, "removed")
    per_token = removal.remove_per_token(features, decoder, params.removed, outcomes, draw)
    dense = removal.remove_dense(
        features, density, decoder, params.density_thresholds, outcomes, draw
    )
    return per_token, dense


def activation_map(
    model: SplicedModel, hook: str, tokens: pd.DataFrame, params: SaeErrors
) -> pd.DataFrame:
    """Return the rows of `tokens` on the UMAP of a hook's activations, with columns x and y."""
    n = len(model.place)
    chosen = generator(params.seed, hook, "map").choice(n, min(n, params.umap_tokens), False)
    chosen = np.sort(chosen)
    x, y = umap_map(
        model.activations[hook][chosen], params.umap_neighbours, params.umap_min_dist,
        derive_seed(params.seed, hook, "umap") % 2**32,
    ).T  # fmt: skip
    return tokens.iloc[chosen].assign(x=x, y=y)
