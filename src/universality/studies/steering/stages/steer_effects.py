"""`universality steer-effects`: what steering vectors do to a model's output."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.steering.params.steering import Contrasts, SteeredModel, Steering


def command(
    key: Annotated[str, typer.Argument(help="model: key of `steering_models`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    contrasts: Annotated[Path, typer.Option(help="contrasts that vectors are made of")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Steer a model with vectors of contrasts: effect and price.

    Measure effect and price of every vector, layer by layer, and of random ones.
    """
    section = load_section(params, SteeredModel, "steering_models", key)
    shared = load_section(params, Steering, "steering")
    every = load_section(contrasts, Contrasts).root

    import pandas as pd

    from universality.core.corpora import load_tokenizer
    from universality.core.io import atomic_directory, write_table
    from universality.core.models import load_bridge
    from universality.studies.steering.contrasts import choose, contrast_tokens, stop_tokens
    from universality.studies.steering.effects import Writing
    from universality.studies.steering.study import (
        depth_table,
        run_trials,
        steering_vectors,
        summary,
        text_table,
        trial_table,
        with_dose,
    )

    chosen = {
        name: contrast_tokens(name, contrast, model, section.n_prompts)
        for name, contrast in choose(every, section.contrasts).items()
    }
    bridge, stop = load_bridge(model), stop_tokens(model)
    vectors, about = steering_vectors(bridge, chosen, section, shared)
    writing = Writing(section.writing.n_new, stop, shared.seed)
    trials = trial_table(vectors, section, shared)
    doses, tokens = run_trials(bridge, trials, vectors, chosen, section.hook, writing, shared)
    tokenizer = load_tokenizer(model)[0]
    words = [
        {"contrast": name, "set": side, "n_words": len(given), "n_kept": len(given) - len(lost),
         "dropped": " ".join(lost)}
        for name, one in chosen.items()
        for side, given, lost in zip(
            ("more", "less"), every[name].words, one.dropped, strict=True
        )
    ]  # fmt: skip
    tables = {
        "doses": doses,
        "summary": with_dose(summary(doses, shared), about),
        "depth": depth_table(doses, about, section.dose, shared.method),
        "texts": text_table(doses, tokens, chosen, tokenizer.decode, stop, shared.method),
        "vectors": about,
        "words": pd.DataFrame(words),
    }
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
