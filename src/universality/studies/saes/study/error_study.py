"""The study of where an SAE's error is, hook by hook: tables from a model, text and an SAE."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from universality.core.corpora import Tokens
from universality.core.hooks import layer
from universality.core.maps import umap_map
from universality.core.progress import progress
from universality.core.randomness import derive_seed, generator
from universality.core.splicing import (
    Intervals,
    LinearDecoder,
    Outcomes,
    SplicedModel,
    encode,
    hook_activations,
)
from universality.studies.saes.params.token_error import ErrorNeighbours, SaeErrors
from universality.studies.saes.study import neighbourhoods, removal, scales, token_error

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Texts:
    """The texts of the study, run once through the model."""

    judged: SplicedModel
    """Validation documents on which the error is described and scales are judged."""
    removal: SplicedModel
    """Fewer of them, for the many passes with features removed."""
    fit: "FitText | None" = None
    """Where something is fitted, what it is fitted on."""


@dataclass(frozen=True)
class FitText:
    """Training documents, from which scales and densities of features are taken."""

    activations: dict[str, np.ndarray]
    """Hook -> `(n, d)`."""
    documents: np.ndarray
    """Document of each row, from 0, `(n,)`."""


def read_texts(
    bridge: Any, validation: Tokens, train: Tokens | None, hooks: list[str], params: SaeErrors
) -> Texts:
    """Run the model as it is over all that the study reads; `train` where something is fitted."""
    n = min(params.n_removal_documents, validation.n_documents)
    few = validation.first(int(validation.bounds[n]))
    fit = None
    if train is not None:
        place = np.flatnonzero(~train.special)
        whole = hook_activations(bridge, train, hooks, params.batch_tokens)
        fit = FitText(
            activations={hook: values[place] for hook, values in whole.items()},
            documents=np.searchsorted(train.bounds, place, side="right") - 1,
        )
    return Texts(
        judged=SplicedModel(bridge, validation, hooks, params.batch_tokens),
        removal=SplicedModel(bridge, few, hooks, params.batch_tokens),
        fit=fit,
    )


def study(
    texts: Texts, saes: dict[str, tuple[str, Any]], pieces: pd.DataFrame, params: SaeErrors
) -> Tables:
    """Study every SAE, hook -> (id, SAE): table name -> table with a column `sae`.

    `pieces` says which token each row of `texts.judged` is. Also `correlations`, of the CE
    differences of every two SAEs, and, where neighbours are asked for, `map`, the UMAP of one
    hook's activations.
    """
    near = params.neighbours
    mapped = None if near is None else list(saes)[near.umap_hook]
    parts: dict[str, list[pd.DataFrame]] = {}
    differences = {}
    for hook, (name, sae) in progress(saes.items(), desc="SAEs"):
        decoder = LinearDecoder(sae)
        tables = study_hook(texts, hook, sae, decoder, params)
        tables["tokens"] = pieces.join(tables["tokens"])
        if near is not None and hook == mapped:
            rows = tables["tokens"]
            tables["map"] = activation_map(texts.judged, hook, rows, near, params.seed)
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


def with_places(table: pd.DataFrame, model: str, hooks: Mapping[str, str]) -> pd.DataFrame:
    """Return `table` with model, hook and layer if it has a column `sae`; `hooks`: SAE -> hook."""
    if "sae" not in table:
        return table
    hook = [hooks[sae] for sae in table["sae"]]
    return table.assign(model=model, hook=hook, layer=[layer(one) for one in hook])


def study_hook(
    texts: Texts, hook: str, sae: Any, decoder: LinearDecoder, params: SaeErrors
) -> Tables:
    """Return the tables of one SAE: `layers` (one row), tokens, quantiles, tails, removal.

    With `params.neighbours` also neighbours; with `params.fits` also norm_quantiles, scales,
    feature_scales and frequency.
    """
    model = texts.judged
    intervals = _intervals(model.documents, params, hook, "judged")
    outcomes = Outcomes(model, hook, intervals)
    features = encode(sae, outcomes.x)
    new = decoder.decode(features)
    losses = outcomes.losses(new)
    row, tokens = _errors(outcomes, new, losses, params)
    difference = losses - model.clean
    found: Tables = {}
    if params.neighbours is not None:
        near = _neighbours(outcomes, tokens, params.neighbours, params)
        row |= {f"neighbours_{name}": value for name, value in near[0].items() if name != "value"}
        found["neighbours"] = pd.DataFrame(near)
    if params.fits is not None and texts.fit is not None:
        ratio, norms = scales.norm_ratios(outcomes.x, new, intervals)
        quantiles = np.quantile(ratio, scales.NORM_QUANTILES)
        found["norm_quantiles"] = pd.DataFrame(
            {"quantile": scales.NORM_QUANTILES, "norm_ratio": quantiles}
        )
        x = texts.fit.activations[hook]
        fit_features = encode(sae, x)
        found["scales"], fitted, found["feature_scales"] = _scales(
            texts.fit, outcomes, (new, losses), (features, fit_features), decoder, params
        )
        row |= norms | fitted
        density = np.bincount(fit_features.indices, minlength=sae.cfg.d_sae) / len(x)
    else:
        density = None
    found |= _removals(texts.removal, hook, sae, density, decoder, params)
    return found | {
        "layers": pd.DataFrame([row]),
        "tokens": tokens,
        "quantiles": token_error.quantile_table(difference),
        "tails": token_error.tails(
            difference, model.documents, params.tail_shares, params.n_bootstrap,
            generator(params.seed, hook, "tails"),
        ),
    }  # fmt: skip


def _intervals(documents: np.ndarray, params: SaeErrors, hook: str, use: str) -> Intervals:
    return Intervals(documents, params.n_bootstrap, generator(params.seed, hook, use))


def _errors(
    outcomes: Outcomes, new: np.ndarray, losses: np.ndarray, params: SaeErrors
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Compare the SAE's error with others of its norm; return its row and a table of tokens."""
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
    outcomes: Outcomes, tokens: pd.DataFrame, wanted: ErrorNeighbours, params: SaeErrors
) -> list[dict[str, Any]]:
    """Say how far neighbours in activation space share the error, its cost and its size."""
    values = {
        "ce_difference": tokens["ce_difference"],
        "error": tokens["error"],
        "relative_error": tokens["error"] / tokens["norm"],
    }
    found = neighbourhoods.nearest_neighbours(
        outcomes.x, outcomes.model.documents, wanted.n_neighbours
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
    text: FitText,
    outcomes: Outcomes,
    plain: tuple[np.ndarray, np.ndarray],
    features: tuple[Any, Any],
    decoder: LinearDecoder,
    params: SaeErrors,
) -> tuple[pd.DataFrame, dict[str, float], pd.DataFrame]:
    """Fit scales on training text, judge them on validation text.

    Returns a row for no scale, one scale, and a scale per feature; a summary; the scales.
    """
    assert params.fits is not None
    hook, ratio = outcomes.hook, outcomes.intervals.ratio
    judged, fit = features
    draw = _intervals(text.documents, params, hook, "scales")
    best = scales.fit_scales(text.activations[hook], fit, decoder, params.fits.ridge, draw)
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
    density: np.ndarray | None,
    decoder: LinearDecoder,
    params: SaeErrors,
) -> Tables:
    """Remove active features of each token and, if densities are known, the densest of all."""
    outcomes = Outcomes(model, hook, _intervals(model.documents, params, hook, "removal"))
    features = encode(sae, outcomes.x)
    draw = generator(params.seed, hook, "removed")
    found = {"removal": removal.remove_per_token(features, decoder, params.removed, outcomes, draw)}
    if density is not None and params.fits is not None:
        found["frequency"] = removal.remove_dense(
            features, density, decoder, params.fits.density_thresholds, outcomes, draw
        )
    return found


def activation_map(
    model: SplicedModel, hook: str, tokens: pd.DataFrame, wanted: ErrorNeighbours, seed: int
) -> pd.DataFrame:
    """Return the rows of `tokens` on the UMAP of a hook's activations, with columns x and y."""
    n = len(model.place)
    chosen = generator(seed, hook, "map").choice(n, min(n, wanted.umap_tokens), False)
    chosen = np.sort(chosen)
    x, y = umap_map(
        model.activations[hook][chosen], wanted.umap_neighbours, wanted.umap_min_dist,
        derive_seed(seed, hook, "umap") % 2**32,
    ).T  # fmt: skip
    return tokens.iloc[chosen].assign(x=x, y=y)
