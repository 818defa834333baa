"""Dose and response: what vectors of contrasts do to a model's output, layer by layer."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from universality.core.randomness import generator
from universality.core.stats import document_weights, jackknife_interval, percentile_interval
from universality.studies.steering.contrasts import ContrastTokens, until_stop
from universality.studies.steering.effects import MODES, Measured, Trial, Writing, measure
from universality.studies.steering.params.steering import SteeredModel, Steering
from universality.studies.steering.vectors import METHODS, cosine, pair_activations, random_like

RANDOM, PAIR = "random", "pair"
"""Kinds of vectors beside those of `METHODS`: the null, and the first pair alone."""
Vectors = dict[tuple[str, int, str], np.ndarray]
"""(contrast, layer, kind) -> vectors: `(1, d)`, or `(n_random, d)` of the null."""


def steering_vectors(
    bridge: Any, contrasts: Mapping[str, ContrastTokens], section: SteeredModel, shared: Steering
) -> tuple[Vectors, pd.DataFrame]:
    """Return all vectors, as long as the contrast's own, and a table about them.

    The table has a row per contrast and layer: norm, residual_norm (mean length of the activations
    of its prompts), share (the first over the second), cosine_<kind> (with the contrast's own
    vector) and pairs_cosine (mean cosine between the differences of two pairs; NaN for one pair).
    """
    hooks = [section.hook(layer) for layer in section.layers]
    pairs = {name: (one.positive, one.negative) for name, one in contrasts.items()}
    activations = pair_activations(bridge, pairs, hooks)
    vectors: Vectors = {}
    rows = []
    for name in contrasts:
        for layer, hook in zip(section.layers, hooks, strict=True):
            positive, negative = activations[name, hook]
            own = METHODS[shared.method](positive, negative)
            kinds = {kind: method(positive, negative) for kind, method in METHODS.items()}
            one = positive[0] - negative[0]
            kinds[PAIR] = one * np.linalg.norm(own) / np.linalg.norm(one)
            rng = generator(shared.seed, "steering", RANDOM, name, layer)
            for kind, vector in kinds.items():
                vectors[name, layer, kind] = vector[None]
            vectors[name, layer, RANDOM] = random_like(own, section.n_random, rng)
            unit = positive - negative
            unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
            cosines = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
            lengths = np.linalg.norm(np.concatenate([positive, negative]), axis=1)
            rows.append(
                {
                    "contrast": name, "layer": layer, "hook": hook, "n_pairs": len(positive),
                    "norm": np.linalg.norm(own), "residual_norm": lengths.mean(),
                    "share": np.linalg.norm(own) / lengths.mean(),
                    **{f"cosine_{kind}": cosine(own, other) for kind, other in kinds.items()},
                    "pairs_cosine": cosines.mean() if len(cosines) else np.nan,
                }
            )  # fmt: skip
    return vectors, pd.DataFrame(rows)


def trial_table(vectors: Vectors, section: SteeredModel, shared: Steering) -> pd.DataFrame:
    """Return the trials to make: contrast, kind, draw, layer, multiplier, prompt, written.

    Random directions are as likely as their opposites, so the null has positive multipliers alone.
    Multiplier 0 is the model as it is, once per contrast and prompt (kind `none`).
    """
    writing, rows = section.writing, []
    for (name, layer, kind), drawn in vectors.items():
        used = section.multipliers
        if kind == RANDOM:
            used = sorted({abs(multiplier) for multiplier in used})
        written = {abs(m) for m in writing.multipliers} if kind == RANDOM else writing.multipliers
        for draw in range(len(drawn)):
            for multiplier in used:
                for prompt in range(section.n_prompts):
                    text = (
                        prompt < writing.n_prompts
                        and multiplier in written
                        and (kind == shared.method or (kind == RANDOM and draw < writing.n_random))
                    )
                    rows.append((name, kind, draw, layer, multiplier, prompt, text))
    rows += [
        (name, "none", 0, section.layers[0], 0.0, prompt, prompt < writing.n_prompts)
        for name in dict.fromkeys(name for name, _, _ in vectors)
        for prompt in range(section.n_prompts)
    ]
    columns = ["contrast", "kind", "draw", "layer", "multiplier", "prompt", "written"]
    return pd.DataFrame(rows, columns=columns)


def run_trials(
    bridge: Any,
    table: pd.DataFrame,
    vectors: Vectors,
    contrasts: Mapping[str, ContrastTokens],
    hook: Callable[[int], str],
    writing: Writing,
    shared: Steering,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Return `table` with what was measured, and the continuations of its written rows.

    New columns: score (nats); ce_greedy and ce_sampled (nats per token, NaN where not written);
    and each less that of the same prompt without an addition, `<name>_change`.
    """
    trials = []
    for name, kind, draw, layer, multiplier, prompt in table.drop(columns="written").itertuples(
        index=False
    ):
        task = contrasts[name].task
        if kind == "none":
            vector = np.zeros_like(vectors[name, layer, shared.method][0])
        else:
            vector = multiplier * vectors[name, layer, kind][draw]
        trials.append(Trial(task.prompts[prompt], task.words, hook(layer), vector))
    written = table["written"].to_numpy()
    found = {f"ce_{mode}": np.full(len(table), np.nan) for mode in MODES}
    found["score"] = np.empty(len(table))
    tokens: dict[str, np.ndarray] = {}
    for rows, how in ((~written, None), (written, writing)):
        part = [trials[row] for row in np.flatnonzero(rows)]
        measured: Measured = measure(bridge, part, shared.where, how, (), shared.batch_rows)
        found["score"][rows] = measured.score
        for mode, ce in measured.ce.items():
            found[f"ce_{mode}"][rows] = ce
        tokens |= dict(measured.tokens)
    table = table.assign(**found)
    plain = table.query("kind == 'none'").set_index(["contrast", "prompt"])
    keys = pd.MultiIndex.from_frame(table.loc[:, ["contrast", "prompt"]])
    for column in found:
        table[f"{column}_change"] = table[column] - plain[column].reindex(keys).to_numpy()
    return table, tokens


def summary(table: pd.DataFrame, shared: Steering) -> pd.DataFrame:
    """Return one row per contrast, kind, layer and multiplier, over prompts, beside its null.

    `effect` is the mean change of the score (nats) with a 95% interval over resampled prompts;
    `_null`, `_null_low` and `_null_high` are the mean, the lowest and the highest of random
    vectors of equal length. `perplexity_<mode>` is exp of the mean cross-entropy, beside that of
    random vectors (`_null`, and their extremes) and of the model as it is (`_plain`).
    """
    rows = []
    none: Any = table.loc[table["kind"] == "none"].set_index(["contrast", "prompt"])
    cells: Any = table.loc[table["kind"] == RANDOM].groupby(["contrast", "layer", "multiplier"])
    random: dict[Any, pd.DataFrame] = dict(list(cells))
    real: Any = table.loc[~table["kind"].isin([RANDOM, "none"])]
    for key, part in real.groupby(["contrast", "kind", "layer", "multiplier"], sort=False):
        name, _, layer, multiplier = key
        null = random[name, layer, abs(multiplier)]
        weights = document_weights(
            len(part),
            shared.n_bootstrap,
            generator(shared.seed, "steering", "prompts", *map(str, key)),
        ) / len(part)
        row = dict(zip(("contrast", "kind", "layer", "multiplier"), key, strict=True))
        row |= {"n_prompts": len(part), "n_random": null["draw"].nunique()}
        row |= _effect(part["score_change"].to_numpy(), weights, null)
        for mode in MODES:
            row |= _perplexity(f"ce_{mode}", part, null, none.loc[name], shared, key)
        rows.append(row)
    return pd.DataFrame(rows)


def draw_means(null: pd.DataFrame, column: str) -> np.ndarray:
    """Return the mean of a column over prompts for every random vector, `(n_draws,)`."""
    found: Any = null.groupby("draw")[column].mean()
    return found.to_numpy()


def _effect(change: np.ndarray, weights: np.ndarray, null: pd.DataFrame) -> dict[str, float]:
    draws = draw_means(null, "score_change")
    low, high = percentile_interval(weights @ change)
    return {
        "effect": float(change.mean()), "effect_low": low, "effect_high": high,
        "effect_null": float(draws.mean()), "effect_null_low": float(draws.min()),
        "effect_null_high": float(draws.max()),
    }  # fmt: skip


def _perplexity(
    column: str, part: pd.DataFrame, null: pd.DataFrame, none: pd.DataFrame, shared: Steering,
    key: tuple,
) -> dict[str, float]:  # fmt: skip
    name = column.replace("ce_", "perplexity_")
    ends = ("", "_low", "_high", "_null", "_null_low", "_null_high", "_plain")
    ce = part.loc[part["written"], column].to_numpy()
    if not len(ce):
        return {name + end: np.nan for end in ends}
    rng = generator(shared.seed, "steering", column, *map(str, key))
    weights = document_weights(len(ce), shared.n_bootstrap, rng) / len(ce)
    draws = draw_means(null.loc[null["written"]], column)
    # Few random vectors are written with: their extremes, and none of a single one.
    extremes = (draws.min(), draws.max()) if len(draws) > 1 else (np.nan, np.nan)
    values = [
        ce.mean(), *percentile_interval(weights @ ce), draws.mean(), *extremes,
        none.loc[none["written"], column].mean(),
    ]  # fmt: skip
    return dict(zip((name + end for end in ends), map(float, np.exp(values)), strict=True))


def with_dose(summaries: pd.DataFrame, about: pd.DataFrame) -> pd.DataFrame:
    """Add `dose`: the length of what is added, as a share of the activations' mean length.

    With the sign of the multiplier. `about` has the share of one vector, a row per contrast and
    layer.
    """
    shares = about.loc[:, ["contrast", "layer", "share"]]
    found = summaries.merge(shares, how="left", validate="m:1")
    found.insert(4, "dose", found["multiplier"] * found.pop("share"))
    return found


def depth_table(table: pd.DataFrame, about: pd.DataFrame, dose: float, method: str) -> pd.DataFrame:
    """Return the effect of equal doses in every layer, a row a layer that all vectors reach.

    A vector's effect at `dose` (see `with_dose`) lies on the line between those at the doses around
    it, the model as it is being dose 0; nothing is extrapolated, so that a layer where some
    contrast's largest dose is smaller has no row. `effect` is the mean over contrasts, with the 95%
    interval of a mean over these; `_null`, `_null_low` and `_null_high` are the mean, the lowest
    and the highest of random vectors, the same draw of all contrasts together.
    """
    size: Any = about.set_index(["contrast", "layer"])["share"]
    rows = []
    for layer in sorted(about["layer"].unique()):
        own, random = [], []
        for name in about["contrast"].unique():
            here = table.loc[(table["contrast"] == name) & (table["layer"] == layer)]
            here = here.loc[here["multiplier"] > 0]
            own.append(_at_dose(here.loc[here["kind"] == method], dose / size[name, layer]))
            random.append(_at_dose(here.loc[here["kind"] == RANDOM], dose / size[name, layer]))
        if any(values is None for values in own):
            continue
        effects = np.array([values[0] for values in own])
        draws = np.mean(random, axis=0)
        low = high = np.nan
        if len(effects) > 1:
            left_out = (effects.sum() - effects) / (len(effects) - 1)
            low, high = jackknife_interval(float(effects.mean()), left_out)
        rows.append(
            {
                "layer": layer, "dose": dose, "n_contrasts": len(effects),
                "effect": float(effects.mean()), "effect_low": low, "effect_high": high,
                "effect_least": float(effects.min()), "effect_most": float(effects.max()),
                "effect_null": float(draws.mean()), "effect_null_low": float(draws.min()),
                "effect_null_high": float(draws.max()),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=pd.Index(DEPTH_COLUMNS))


DEPTH_COLUMNS = [
    "layer", "dose", "n_contrasts", "effect", "effect_low", "effect_high", "effect_least",
    "effect_most", "effect_null", "effect_null_low", "effect_null_high",
]  # fmt: skip


def _at_dose(part: pd.DataFrame, multiplier: float) -> np.ndarray | None:
    """Return the mean effect over prompts of each draw at `multiplier`; None above the largest."""
    found: Any = part.groupby(["multiplier", "draw"])["score_change"].mean()
    means = found.unstack()
    at = np.concatenate([[0.0], means.index.to_numpy()])
    if multiplier > at[-1]:
        return None
    return np.array([np.interp(multiplier, at, [0.0, *means[draw]]) for draw in means.columns])


def text_table(
    table: pd.DataFrame, tokens: Mapping[str, np.ndarray], contrasts: Mapping[str, ContrastTokens],
    decode: Callable[[list[int]], str], stop: frozenset[int], method: str,
) -> pd.DataFrame:  # fmt: skip
    """Return continuations side by side: what the model writes as it is, and steered.

    `decode` turns token ids into text; `tokens` are the continuations of the written rows.
    """
    written = table[table["written"]].reset_index(drop=True)
    rows = []
    for mode, ids in tokens.items():
        texts = [decode(until_stop(row, stop)) for row in ids.tolist()]
        kept = written.assign(steered=texts)
        plain = kept.query("kind == 'none'").set_index(["contrast", "prompt"])["steered"]
        for row in kept.loc[kept["kind"] == method].to_dict("records"):
            prompt = contrasts[row["contrast"]].task.prompts[row["prompt"]]
            rows.append(
                {
                    "contrast": row["contrast"], "layer": row["layer"],
                    "multiplier": row["multiplier"], "mode": mode,
                    "prompt": decode(prompt[1:].tolist()),
                    "plain": plain[row["contrast"], row["prompt"]], "steered": row["steered"],
                    "score_change": row["score_change"], "ce_change": row[f"ce_{mode}_change"],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
