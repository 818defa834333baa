"""Vectors of one model in another, through an affine map of aligned activations.

A vector is a difference of activations, so the map's linear part carries it over. Its length means
little there: all vectors are made as long as the one that the other model makes of the same
contrast.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from universality.core.corpora import load_tokenizer, load_tokens
from universality.core.features import hook_rows, position_table
from universality.core.nulls import permutation_p
from universality.core.randomness import generator
from universality.core.stats import document_weights, percentile_interval
from universality.studies.matching.files import shared_positions
from universality.studies.spaces.similarity.stitching import AffineMap, explained, fit
from universality.studies.steering.contrasts import ContrastTokens
from universality.studies.steering.effects import Trial, measure
from universality.studies.steering.params.steering import SteeredPair, Steering
from universality.studies.steering.study import draw_means
from universality.studies.steering.vectors import METHODS, cosine, pair_activations, random_like

_BATCH_TOKENS = 2048
NULLS = ("random", "mapped_random", "shuffled")
"""Random vectors of B, random vectors of A through the map, and A's through a map that was fitted
on positions in random order."""


@dataclass(frozen=True)
class Reading:
    """What a model makes of a text: rows in reading order, without BOS."""

    positions: pd.DataFrame
    layers: dict[int, np.ndarray]
    """Layer -> activations `(n, d)`."""


def read_layers(
    bridge: Any, model: Path, corpus: Path, split: str, max_tokens: int, n_documents: int,
    hooks: Mapping[int, str],
) -> Reading:  # fmt: skip
    """Run the model on the first documents of a split of the corpus."""
    tokens = load_tokens(corpus, split, model, max_tokens, n_documents)
    found = hook_rows(bridge, tokens, list(hooks.values()), _BATCH_TOKENS)
    layers = {layer: found.activations[hook].numpy() for layer, hook in hooks.items()}
    return Reading(position_table(tokens, found.place, load_tokenizer(model)[0]), layers)


@dataclass(frozen=True)
class Map:
    """The map from a layer of A to a layer of B."""

    layer_a: int
    layer_b: int
    found: AffineMap
    shuffled: list[AffineMap]
    """The same, fitted on positions in random order."""
    fit_r2: float
    r2: float
    """Variance explained on other documents."""


def fit_maps(
    a: tuple[Reading, Reading], b: tuple[Reading, Reading], layers: Sequence[tuple[int, int]],
    ridge: float, n_shuffled: int, rng: np.random.Generator,
) -> list[Map]:  # fmt: skip
    """Fit each of `layers` (of A, of B), where both tokenizers end a token.

    `a` and `b` are what each model makes of (text of the fit, other text).
    """
    (at, _), (other, _) = (
        shared_positions(one.positions, two.positions, "the texts of the map")
        for one, two in zip(a, b, strict=True)
    )
    maps = []
    for layer_a, layer_b in layers:
        x, y = a[0].layers[layer_a][at.rows_a], b[0].layers[layer_b][at.rows_b]
        found = fit([(x, y)], ridge)
        judged = explained(
            found, a[1].layers[layer_a][other.rows_a], b[1].layers[layer_b][other.rows_b]
        )
        shuffled = [fit([(x, rng.permutation(y))], ridge) for _ in range(n_shuffled)]
        maps.append(Map(layer_a, layer_b, found, shuffled, explained(found, x, y), judged))
    return maps


def transferred(
    own_a: np.ndarray, own_b: np.ndarray, found: Map, n_random: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return kind -> vectors in B, `(n, d_b)`, all as long as `own_b` `(d_b,)`.

    Kinds are `own`, `mapped` (`own_a` `(d_a,)` through the map) and those of `NULLS`.
    """
    vectors = {
        "own": own_b[None],
        "mapped": own_a[None] @ found.found.weight,
        "random": random_like(own_b, n_random, rng),
        "mapped_random": random_like(own_a, n_random, rng) @ found.found.weight,
        "shuffled": np.stack([own_a @ one.weight for one in found.shuffled]),
    }
    length = np.linalg.norm(own_b)
    return {
        kind: rows * length / np.linalg.norm(rows, axis=1, keepdims=True)
        for kind, rows in vectors.items()
    }


def contrast_vectors(
    bridge: Any, contrasts: Mapping[str, ContrastTokens], hooks: Mapping[int, str], method: str
) -> dict[tuple[str, int], np.ndarray]:
    """Return (contrast, layer) -> vector `(d,)`."""
    pairs = {name: (one.positive, one.negative) for name, one in contrasts.items()}
    activations = pair_activations(bridge, pairs, list(hooks.values()))
    layer_of = {hook: layer for layer, hook in hooks.items()}
    return {
        (name, layer_of[hook]): METHODS[method](*sides)
        for (name, hook), sides in activations.items()
    }


def dose_table(
    bridge: Any, vectors: Mapping[tuple[str, int], Mapping[str, np.ndarray]], maps: list[Map],
    contrasts: Mapping[str, ContrastTokens], section: SteeredPair, shared: Steering,
) -> pd.DataFrame:  # fmt: skip
    """Steer B: one row per contrast, layer of A, kind, draw, multiplier and prompt.

    `score_change` is against B as it is, in nats. Nulls have positive multipliers alone: a random
    direction is as likely as its opposite.
    """
    layer_b = {one.layer_a: one.layer_b for one in maps}
    sizes = sorted({abs(multiplier) for multiplier in section.multipliers})
    rows, trials = [], []
    for (name, layer), kinds in vectors.items():
        task, hook = contrasts[name].task, section.hook(layer_b[layer])
        for kind, drawn in kinds.items():
            for draw, vector in enumerate(drawn):
                for multiplier in sizes if kind in NULLS else section.multipliers:
                    for prompt, ids in enumerate(task.prompts):
                        where = (name, layer, layer_b[layer], kind, draw, multiplier, prompt)
                        rows.append(where)
                        trials.append(Trial(ids, task.words, hook, multiplier * vector))
    columns = ["contrast", "layer_a", "layer_b", "kind", "draw", "multiplier", "prompt"]
    table = pd.DataFrame(rows, columns=pd.Index(columns))
    hook = section.hook(maps[0].layer_b)
    plain = {
        name: measure(
            bridge,
            [Trial(ids, one.task.words, hook, np.zeros(bridge.cfg.d_model))
             for ids in one.task.prompts],
        ).score
        for name, one in contrasts.items()
    }  # fmt: skip
    score = measure(bridge, trials, shared.where, None, (), shared.batch_rows).score
    without = [
        plain[name][prompt] for name, prompt in zip(table["contrast"], table["prompt"], strict=True)
    ]
    return table.assign(score=score, score_change=score - np.array(without))


def transfer_summary(
    doses: pd.DataFrame, vectors: Mapping[tuple[str, int], Mapping[str, np.ndarray]],
    maps: list[Map], shared: Steering,
) -> pd.DataFrame:  # fmt: skip
    """Return one row per contrast, layer of A and multiplier, over prompts.

    `own` and `mapped` are mean changes of the score (nats) with 95% intervals over resampled
    prompts; `<null>`, `<null>_low`, `<null>_high` the mean, the lowest and the highest of each of
    `NULLS`. `recovered` is mapped over own, NaN where B's own vector goes no further than all
    random ones, the way that the multiplier points: a share of nothing.
    `cosine` is that of the mapped vector with B's own, `cosine_mapped_random` of random vectors of
    A through the map (mean size); r2 is that of the map on other documents.
    """
    about, rows = {one.layer_a: one for one in maps}, []
    groups: Any = doses.groupby(["contrast", "layer_a", "multiplier"], sort=False)
    for key, part in groups:
        name, layer, multiplier = key
        kinds = {str(kind): rest for kind, rest in part.groupby("kind")}
        if "own" not in kinds:
            continue
        change = {kind: kinds[kind]["score_change"].to_numpy() for kind in ("own", "mapped")}
        rng = generator(shared.seed, "transfer", "prompts", *map(str, key))
        n = len(change["own"])
        weights = document_weights(n, shared.n_bootstrap, rng) / n
        row: dict[str, Any] = {
            "contrast": name, "layer_a": layer, "layer_b": about[layer].layer_b,
            "multiplier": multiplier, "n_prompts": n,
        }  # fmt: skip
        for kind, values in change.items():
            row[kind] = float(values.mean())
            row[f"{kind}_low"], row[f"{kind}_high"] = percentile_interval(weights @ values)
        nulls = doses.query(
            "contrast == @name and layer_a == @layer and multiplier == @size",
            local_dict={"name": name, "layer": layer, "size": abs(multiplier)},
        )
        for null in NULLS:
            draws = draw_means(nulls.loc[nulls["kind"] == null], "score_change")
            row[null] = float(draws.mean())
            row[f"{null}_low"], row[f"{null}_high"] = float(draws.min()), float(draws.max())
        goes = row["own"] > row["random_high"] if multiplier > 0 else row["own"] < row["random_low"]
        row |= _recovered(change["mapped"], change["own"], weights, goes)
        found = vectors[name, layer]
        cosines = {kind: cosine(found[kind], found["own"][0]) for kind in ("mapped", *NULLS)}
        row["cosine"] = float(cosines["mapped"][0])
        row |= {f"cosine_{null}": float(np.abs(cosines[null]).mean()) for null in NULLS}
        rows.append(row | {"r2": about[layer].r2, "fit_r2": about[layer].fit_r2})
    return pd.DataFrame(rows)


def _recovered(
    mapped: np.ndarray, own: np.ndarray, weights: np.ndarray, goes: bool
) -> dict[str, float]:
    values = (np.nan, np.nan, np.nan)
    if goes:
        ratio = (weights @ mapped) / (weights @ own)
        values = (float(mapped.mean() / own.mean()), *percentile_interval(ratio))
    return dict(zip(("recovered", "recovered_low", "recovered_high"), values, strict=True))


def together(
    a: np.ndarray, b: np.ndarray, n_permutations: int, n_bootstrap: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return the Spearman correlation of changes `a` and `b` `(n_pairs,)` of matched features.

    With a 95% interval over resampled pairs, whose ranks stay those among all, and the mean over
    permuted partners (`_null`) with the share of these that correlate as much (`_p`).
    """
    ranks = rankdata(a), rankdata(b)
    value = float(_correlation(*ranks))
    permuted = rng.permuted(np.tile(ranks[1], (n_permutations, 1)), axis=1)
    null = _correlation(ranks[0], permuted)
    picks = rng.integers(len(a), size=(n_bootstrap, len(a)))
    drawn = _correlation(ranks[0][picks], ranks[1][picks])
    low, high = percentile_interval(drawn)
    return {
        "spearman": value, "spearman_low": low, "spearman_high": high,
        "spearman_null": float(null.mean()), "spearman_p": permutation_p(value, null),
    }  # fmt: skip


def _correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation over the last axis."""
    x, y = (side - side.mean(-1, keepdims=True) for side in (x, y))
    return (x * y).sum(-1) / np.sqrt(np.square(x).sum(-1) * np.square(y).sum(-1))
