"""The study of what steering vectors do to a model's output: tables from a model and contrasts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from universality.core.corpora import load_tokenizer
from universality.studies.steering.contrasts import ContrastTokens, stop_tokens
from universality.studies.steering.effects import Writing
from universality.studies.steering.params.steering import Contrast, SteeredModel, Steering
from universality.studies.steering.study import (
    depth_table,
    run_trials,
    steering_vectors,
    summary,
    text_table,
    trial_table,
    with_dose,
)


def effect_tables(
    bridge: Any,
    model: Path,
    contrasts: Mapping[str, ContrastTokens],
    section: SteeredModel,
    shared: Steering,
) -> dict[str, pd.DataFrame]:
    """Steer `bridge`, the model in the directory `model`, with the vectors of all `contrasts`.

    Returns the tables doses (a row per trial), summary (per vector and multiplier), depth (per
    layer), texts and vectors.
    """
    stop = stop_tokens(model)
    vectors, about = steering_vectors(bridge, contrasts, section, shared)
    writing = Writing(section.writing.n_new, stop, shared.seed)
    trials = trial_table(vectors, section, shared)
    doses, tokens = run_trials(bridge, trials, vectors, contrasts, section.hook, writing, shared)
    tokenizer = load_tokenizer(model)[0]
    return {
        "doses": doses,
        "summary": with_dose(summary(doses, shared), about),
        "depth": depth_table(doses, about, section.dose, shared.method),
        "texts": text_table(doses, tokens, contrasts, tokenizer.decode, stop, shared.method),
        "vectors": about,
    }


def word_table(
    contrasts: Mapping[str, Contrast], tokens: Mapping[str, ContrastTokens]
) -> pd.DataFrame:
    """Return how many words of each set of each contrast are single tokens, and the others."""
    return pd.DataFrame(
        {
            "contrast": name, "set": side, "n_words": len(given),
            "n_kept": len(given) - len(lost), "dropped": " ".join(lost),
        }
        for name, one in tokens.items()
        for side, given, lost in zip(
            ("more", "less"), contrasts[name].words, one.dropped, strict=True
        )
    )  # fmt: skip
