"""Steer a model with the vectors of another: files in, tables out."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from universality.core.hooks import layer as layer_of
from universality.core.models import load_bridge
from universality.core.randomness import generator
from universality.studies.steering.contrasts import contrast_tokens
from universality.studies.steering.downstream_study import fixed_text, load_saes
from universality.studies.steering.matched_changes import Steered, matched_table
from universality.studies.steering.params.steering import Contrast, SteeredPair, Steering
from universality.studies.steering.transfer import (
    contrast_vectors,
    dose_table,
    fit_maps,
    read_layers,
    transfer_summary,
    transferred,
)


def transfer_tables(
    models: tuple[Path, Path], saes: tuple[Path, Path], corpus: Path, max_tokens: int,
    contrasts: Mapping[str, Contrast], partners: pd.DataFrame | None, section: SteeredPair,
    shared: Steering,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return the tables `maps`, `doses` and `summary` of a pair of models.

    Also `matched`, whether matched features change together, if the section asks for that;
    `partners` are these features, one to one: layer_a, layer_b, feature_a, feature_b.
    """
    hooks = section.hooks(0), section.hooks(1)
    n_prompts = 0, section.n_prompts
    sizes = {"train": section.n_fit_documents, "validation": section.n_documents}
    bridges = [load_bridge(model) for model in models]
    tokens, readings, vectors = [], [], []
    for model, bridge, at, n in zip(models, bridges, hooks, n_prompts, strict=True):
        found = {name: contrast_tokens(name, one, model, n) for name, one in contrasts.items()}
        tokens.append(found)
        readings.append(
            tuple(
                read_layers(bridge, model, corpus, split, max_tokens, size, at)
                for split, size in sizes.items()
            )
        )
        vectors.append(contrast_vectors(bridge, found, at, shared.method))
    rng = generator(shared.seed, "transfer", section.a, section.b)
    maps = fit_maps(
        readings[0], readings[1], section.layers, section.ridge, section.n_shuffled, rng
    )
    of_a, of_b = vectors
    into_b = {
        (name, one.layer_a): transferred(
            of_a[name, one.layer_a], of_b[name, one.layer_b], one, section.n_random, rng
        )
        for name in contrasts
        for one in maps
    }
    doses = dose_table(bridges[1], into_b, maps, tokens[1], section, shared)
    about = [
        {"layer_a": one.layer_a, "layer_b": one.layer_b, "fit_r2": one.fit_r2, "r2": one.r2}
        for one in maps
    ]
    tables = {
        "maps": pd.DataFrame(about),
        "doses": doses,
        "summary": transfer_summary(doses, into_b, maps, shared),
    }
    how = section.together
    if how is None or partners is None:
        return tables
    steered = [
        Steered(
            bridge,
            fixed_text(corpus, model, how.n_documents, how.n_tokens),
            {layer_of(hook): (hook, sae) for hook, sae in load_saes(folder, seed).items()},
            how.n_prompt,
        )
        for bridge, model, folder, seed in zip(
            bridges, models, saes, (section.a_seed, section.b_seed), strict=True
        )
    ]
    tables["matched"] = matched_table(
        (steered[0], steered[1]), of_a, into_b, maps, partners, how, section, shared
    )
    return tables
