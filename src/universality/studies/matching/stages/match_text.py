"""`universality run match-text`: whether partners on one text are partners on another."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.matching.params.matching import Matching, Pair
from universality.studies.matching.params.other_text import OtherText
from universality.studies.saes.params.saes import SaeModel


def command(
    key: Annotated[str, typer.Argument(help="key of `close_pairs`")],
    a_model: Annotated[Path, typer.Option(help="Hugging Face directory of model A")],
    b_model: Annotated[Path, typer.Option(help="Hugging Face directory of model B")],
    a_saes: Annotated[Path, typer.Option(help="directory of A's SAEs")],
    b_saes: Annotated[Path, typer.Option(help="directory of B's SAEs")],
    matches: Annotated[Path, typer.Option(help="tables of the pair's matching study")],
    corpora: Annotated[Path, typer.Option(help="directory of the corpora")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="table to write")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Look at partners again on other texts.

    Look at the partners of the best layers again, on every text of `other_text`.
    """
    pair = load_section(params, Pair, "pairs", key)
    section = load_section(params, OtherText, "other_text")
    settings = load_section(params, Matching, "matching")
    wanted = [load_section(params, SaeModel, "sae_models", model) for model in (pair.a, pair.b)]

    import numpy as np
    import pandas as pd

    from universality.core.io import write_table
    from universality.studies.matching import other_text as study
    from universality.studies.matching.files import shared_positions
    from universality.studies.matching.study import N_FEW_NULL, draw_sample

    known = study.known_partners(matches)
    sides = [
        study.open_model(a_model, a_saes, wanted[0], pair.a_seed),
        study.open_model(b_model, b_saes, wanted[1], pair.b_seed),
    ]
    rows = []
    for name, text in section.texts.items():
        (table_a, of_a), (table_b, of_b) = (
            study.read_text(side, corpora / text.corpus, text.split, max_tokens, section)
            for side in sides
        )
        aligned, documents = shared_positions(table_a, table_b, f"{key} on {name}")
        sample = draw_sample(documents, settings, key, name)
        sample = replace(sample, offsets=sample.offsets[:N_FEW_NULL])
        where = {"text": name, "n_positions": len(documents)}
        where["n_documents"] = len(np.unique(documents))
        found = study.carried_rows(of_a, of_b, aligned, known, sample, settings.threshold)
        rows += [where | row for row in found]
    write_table(out, pd.DataFrame(rows).assign(threshold=settings.threshold))
