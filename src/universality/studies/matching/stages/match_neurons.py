"""`universality run match-neurons`: the MLP neurons of two models, the baseline of features."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.matching.params.matching import Matching
from universality.studies.matching.params.other_text import Neurons


def command(
    key: Annotated[str, typer.Argument(help="key of `neuron_pairs`")],
    a: Annotated[Path, typer.Option(help="Hugging Face directory of model A")],
    b: Annotated[Path, typer.Option(help="Hugging Face directory of model B")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Match the MLP neurons of two models, the baseline of features.

    Match every layer of A with the same layer of B, as many as both have.
    """
    section = load_section(params, Neurons, "neurons")
    settings = load_section(params, Matching, "matching")

    import numpy as np
    import pandas as pd

    from universality.core.io import atomic_directory, write_table
    from universality.studies.matching.dense import match_neurons, read_neurons
    from universality.studies.matching.files import shared_positions
    from universality.studies.matching.study import draw_sample
    from universality.studies.matching.tables import feature_table, headline_table

    (table_a, layers_a), (table_b, layers_b) = (
        read_neurons(model, corpus, max_tokens, section) for model in (a, b)
    )
    aligned, documents = shared_positions(table_a, table_b, f"{a} and {b}")
    sample = draw_sample(documents, settings, key)
    matches = [
        match_neurons(one[aligned.rows_a], other[aligned.rows_b], sample, (layer, layer))
        for layer, (one, other) in enumerate(zip(layers_a, layers_b, strict=False))
    ]
    headline = headline_table(matches, settings.threshold)
    tables = {
        "features": pd.concat(map(feature_table, matches), ignore_index=True),
        "headline": headline.query("selection == 'same_layer'").assign(
            n_positions=len(documents),
            n_documents=len(np.unique(documents)),
            threshold=settings.threshold,
        ),
    }
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
