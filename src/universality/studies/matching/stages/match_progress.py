"""`universality run match-progress`: when do two models come to share their features?"""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.matching.params.conditions import MatchProgress
from universality.studies.matching.params.matching import Matching
from universality.studies.saes.params.saes import SaeTraining


def command(
    key: Annotated[str, typer.Argument(help="key of `match_progress`")],
    a: Annotated[Path, typer.Option(help="Hugging Face directory of LM A, trained")],
    a_checkpoints: Annotated[Path, typer.Option(help="directory of it while it trained")],
    a_untrained: Annotated[Path, typer.Option(help="Hugging Face directory of an untrained LM")],
    b: Annotated[Path, typer.Option(help="LM B, trained")],
    b_checkpoints: Annotated[Path, typer.Option(help="directory of it while it trained")],
    b_untrained: Annotated[Path, typer.Option(help="another untrained LM")],
    corpus: Annotated[Path, typer.Option(help="corpus directory")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Match the SAEs of two models along their training.

    Write matches at every share of the training, the losses of the LMs, and what SAEs are.

    SAEs are trained anew for every LM, alike and on the same text. The LMs at share 0 are untrained
    ones of the same architecture, not those that A and B began as. All have one tokenizer.
    Intervals are over documents; there is one SAE per side, so they say nothing about SAE seeds.
    """
    section = load_section(params, MatchProgress, "match_progress", key)
    matching = load_section(params, Matching, "matching")
    training = section.in_place(load_section(params, SaeTraining, "sae_training"))

    from universality.core.corpora import load_tokens
    from universality.core.io import atomic_directory, write_table
    from universality.studies.matching.conditions.progress_study import progress_tables, steps

    validation = load_tokens(corpus, "validation", a, max_tokens, section.n_documents)
    texts = load_tokens(corpus, "train", a, max_tokens).first(section.n_tokens), validation
    ends = {"a": (a_untrained, a), "b": (b_untrained, b)}
    between = {"a": a_checkpoints, "b": b_checkpoints}
    tables = progress_tables(steps(section, ends, between), texts, section, training, matching)
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
