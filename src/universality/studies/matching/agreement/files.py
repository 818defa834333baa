"""Agreement beyond activation correlation, on the directories of a matched pair."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.core.corpora import load_tokenizer
from universality.core.errors import InputError
from universality.core.io import read_table, require
from universality.core.nulls import shift_offsets
from universality.core.progress import progress
from universality.core.randomness import generator
from universality.core.sae_weights import read_weights
from universality.core.stats import kept_documents
from universality.core.unembedding import read_unembedding, written_rows
from universality.studies.matching.agreement.agreement import (
    LayerAgreement,
    LogitGeometry,
    Side,
    agree_layers,
    attributions,
    logit_geometry,
    predicting_rows,
    shared_tokens,
)
from universality.studies.matching.agreement.tables import agreement_table
from universality.studies.matching.agreement.weights import (
    WeightMatch,
    Weights,
    activation_table,
    match_weights,
    paired_cosines,
    weight_table,
)
from universality.studies.matching.files import (
    Directories,
    align_directories,
    find_saes,
    hook_name,
    read_features,
)
from universality.studies.matching.params.agreement import Agreement
from universality.studies.matching.tables import best_layers


class Model:
    """One side of a pair: a model with its SAEs, over some of its positions."""

    def __init__(self, at: Directories, rows: np.ndarray, next_token: np.ndarray) -> None:
        """`rows` `(n,)` of its features are used, which `next_token` `(n,)` came after."""
        self.at, self.rows, self.next_token = at, rows, next_token
        self.paths = find_saes(at.features, at.seed)
        self.unembedding = read_unembedding(at.model)
        if next_token.max() >= len(self.unembedding):
            raise InputError(
                f"{at.features}: token {next_token.max()} in tokens.parquet, but {at.model} knows "
                f"{len(self.unembedding)}"
            )
        tokenizer, _ = load_tokenizer(at.model)
        self.pieces = [tokenizer.id_to_token(i) for i in range(len(self.unembedding))]

    def path(self, layer: int) -> Path:
        """Return the features of the SAE of `layer`."""
        if layer not in self.paths:
            raise InputError(
                f"{self.at.features}: no SAE of layer {layer} and seed {self.at.seed}, which was "
                f"matched; there are layers: {list(self.paths)}"
            )
        return self.paths[layer]

    def hook(self, layer: int) -> str:
        """Return the hook of the SAE of `layer`."""
        return hook_name(self.at.saes / self.path(layer).stem)

    def weights(self, layer: int, alive: np.ndarray) -> Weights:
        """Return encoder and decoder of the features `alive` `(n_alive,)`."""
        found = read_weights(self.at.saes / self.path(layer).stem)
        if alive.max() >= len(found.decoder):
            raise InputError(
                f"{self.at.saes / self.path(layer).stem}: {len(found.decoder)} features, but "
                f"feature {alive.max()} was matched"
            )
        return Weights(found.encoder[alive], found.decoder[alive])

    def side(self, layer: int, alive: np.ndarray) -> Side:
        """Return the features `alive` of `layer` with their attributions and what they write."""
        features = read_features(self.path(layer), self.rows)[:, alive]
        decoder = self.weights(layer, alive).decoder
        written = written_rows(decoder, self.at.model, self.hook(layer))
        found = attributions(features, self.next_token, written, self.unembedding)
        return Side(features, found, written)


def _read_models(a: Directories, b: Directories) -> tuple[Model, Model, np.ndarray]:
    """Return both models at shared positions with a next token, and each position's document."""
    aligned, documents = align_directories(a.features, b.features)
    rows = [aligned.rows_a, aligned.rows_b]
    tables = [read_table(at.features / "tokens.parquet") for at in (a, b)]
    follows = [
        np.isin(own, predicting_rows(table["document"].to_numpy(), table["position"].to_numpy()))
        for own, table in zip(rows, tables, strict=True)
    ]
    kept = follows[0] & follows[1]
    if len(np.unique(documents[kept])) < 2:
        raise InputError(
            f"{a.features} and {b.features}: {kept.sum()} shared positions with a next token; at "
            "least two documents with some are needed"
        )
    models = [
        Model(at, own[kept], table["token"].to_numpy()[own[kept] + 1])
        for at, own, table in zip((a, b), rows, tables, strict=True)
    ]
    return models[0], models[1], documents[kept]


def _geometry(a: Model, b: Model, min_count: int) -> tuple[LogitGeometry, int]:
    """Return the geometry over the tokens that both have and both read often enough, and how many.

    Of a trained model, logits of tokens that its text never holds are large, negative and alike.
    """
    ids_a, ids_b = shared_tokens(a.pieces, b.pieces)
    counts = [
        np.bincount(side.next_token, minlength=len(side.unembedding))[ids]
        for side, ids in ((a, ids_a), (b, ids_b))
    ]
    often = np.minimum(*counts) >= min_count
    if often.sum() < 3:
        raise InputError(
            f"{a.at.model} and {b.at.model}: {often.sum()} shared tokens occur {min_count} "
            "(agreement.min_token_count) times; at least 3 are needed for logit weights"
        )
    return logit_geometry(a.unembedding[ids_a[often]], b.unembedding[ids_b[often]]), often.sum()


@dataclass(frozen=True)
class _Matched:
    """What the matching study found for one pair of layers."""

    alive_a: np.ndarray
    alive_b: np.ndarray
    r: np.ndarray
    partner: np.ndarray
    """Place in `alive_b` of each partner."""


def _matched(tables: dict[str, pd.DataFrame], layer_a: int, layer_b: int) -> _Matched:
    wanted = f"layer_a == {layer_a} and layer_b == {layer_b} and alive"
    forward = tables["features"].query(f"{wanted} and partner >= 0").sort_values("feature_a")
    if forward.empty:
        raise InputError(
            f"the tables of the matching study have no partners for layer {layer_a} of A in layer "
            f"{layer_b} of B; `make repro` makes them anew"
        )
    alive_b = np.sort(tables["backward"].query(wanted)["feature_b"].to_numpy())
    return _Matched(
        forward["feature_a"].to_numpy(),
        alive_b,
        forward["r"].to_numpy(),
        np.searchsorted(alive_b, forward["partner"].to_numpy()),
    )


def compare(
    key: str, at_a: Directories, at_b: Directories, matches: Path, settings: Agreement
) -> dict[str, pd.DataFrame]:
    """Return the tables of `key`: pairs, summary; for two SAEs of one LM also weights.

    `matches` holds the tables of the matching study. Layers are paired as in its headline (the best
    layer of B for each of A); weights are compared where both SAEs are of one hook.
    """
    names = ("features", "backward", "headline")
    tables = {name: read_table(require(matches) / f"{name}.parquet") for name in names}
    chosen = best_layers(tables["headline"])
    a, b, documents = _read_models(at_a, at_b)
    over, n_tokens = _geometry(a, b, settings.min_token_count)
    options = _options(key, documents, settings)
    found: list[LayerAgreement] = []
    rows: list[pd.DataFrame] = []
    layers = list(zip(chosen["layer_a"].tolist(), chosen["layer_b"].tolist(), strict=True))
    for layer_a, layer_b in progress(layers, desc=key):
        paths = a.path(layer_a), b.path(layer_b)
        matched = _matched(tables, layer_a, layer_b)
        sides = a.side(layer_a, matched.alive_a), b.side(layer_b, matched.alive_b)
        found.append(
            agree_layers(
                *sides, documents, layers=(layer_a, layer_b), r=matched.r, partner=matched.partner,
                over=over, rng=generator(settings.seed, "shuffles", key, layer_a),
                exclude_self=paths[0].resolve() == paths[1].resolve(), **options,
            )
        )  # fmt: skip
        rows.append(_pair_rows(a, b, matched, found[-1]))
    summary = agreement_table(found, float(chosen["threshold"].iloc[0])).assign(
        n_positions=len(documents), n_documents=len(np.unique(documents)), n_tokens=n_tokens
    )
    result = {"pairs": pd.concat(rows, ignore_index=True), "summary": summary}
    return result | _weight_tables(key, a, b, tables, settings)


def _options(key: str, documents: np.ndarray, settings: Agreement) -> dict[str, Any]:
    """Return the arguments of `agree_layers` that are those of all layers."""
    n_documents = len(np.unique(documents))
    return {
        "offsets": shift_offsets(documents, settings.n_null, generator(settings.seed, "null", key)),
        "kept": kept_documents(
            n_documents, settings.n_groups, generator(settings.seed, "groups", key)
        ),
        "n_shuffles": settings.n_shuffles,
        "n_sampled": settings.n_null_features,
        "memory_mb": settings.memory_mb,
    }


def _comparable(a: Model, b: Model, layer_a: int, layer_b: int) -> bool:
    """Return whether two SAEs are of one LM and hook, and are not the same."""
    return (
        a.at.model.resolve() == b.at.model.resolve()
        and a.hook(layer_a) == b.hook(layer_b)
        and a.path(layer_a).resolve() != b.path(layer_b).resolve()
    )


def _pair_rows(a: Model, b: Model, matched: _Matched, found: LayerAgreement) -> pd.DataFrame:
    """Return a row per feature of A; cosines are NaN unless both SAEs are of one LM and hook."""
    cosine = dict.fromkeys(("decoder", "encoder"), np.full(len(matched.r), np.nan))
    if _comparable(a, b, found.layer_a, found.layer_b):
        partner = matched.alive_b[matched.partner]
        cosine = paired_cosines(
            a.weights(found.layer_a, matched.alive_a), b.weights(found.layer_b, partner)
        )
    partner_by_attribution = np.where(found.best >= 0, matched.alive_b[found.best], -1)
    return pd.DataFrame(
        {
            "layer_a": found.layer_a,
            "layer_b": found.layer_b,
            "feature_a": matched.alive_a,
            "partner": matched.alive_b[matched.partner],
            "r": found.r,
            "logit_r": found.logit_r,
            "attribution_r": found.attribution_r,
            "attribution_partner": partner_by_attribution,
            "best_attribution_r": found.best_r,
            "decoder_cosine": cosine["decoder"],
            "encoder_cosine": cosine["encoder"],
        }
    )


def _weight_tables(
    key: str, a: Model, b: Model, tables: dict[str, pd.DataFrame], settings: Agreement
) -> dict[str, pd.DataFrame]:
    """Return the tables of weights for the layers where both SAEs are of one LM and hook, if any.

    These are same-layer pairs, whatever layer the headline chose.
    """
    found: list[WeightMatch] = []
    for layer in [layer for layer in a.paths if layer in b.paths]:
        if _comparable(a, b, layer, layer):
            matched = _matched(tables, layer, layer)
            sides = a.weights(layer, matched.alive_a), b.weights(layer, matched.alive_b)
            rng = generator(settings.seed, "coordinates", key, layer)
            found.append(
                match_weights(layer, *sides, matched.r, matched.partner, settings.n_null, rng)
            )
    if not found:
        return {}
    return {
        "weights": weight_table(found, settings.cosine_threshold),
        "weights_and_activations": activation_table(found),
    }
