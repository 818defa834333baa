"""`universality run stitch-models`: activations of one model put into another."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.spaces.params.layers import Stitching


def command(
    key: Annotated[str, typer.Argument(help="key of `stitched_pairs`")],
    a: Annotated[Path, typer.Option(help="Hugging Face directory of A, whose layers are mapped")],
    b: Annotated[Path, typer.Option(help="of B, which goes on with them")],
    control: Annotated[Path, typer.Option(help="of an untrained model in the place of A")],
    corpus: Annotated[Path, typer.Option(help="corpus directory")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Put activations of one model into another.

    Stitch every layer of A into every layer of B, by affine maps fitted on other documents.

    Sources are `a`; `shuffled`, A with its positions in random order for the fit; and `control`.
    """
    section = load_section(params, Stitching, "stitching")

    from universality.core.io import atomic_directory, write_table
    from universality.core.randomness import generator
    from universality.core.splicing import Intervals
    from universality.studies.spaces.similarity.stitch_study import Reader, fit_source, stitch

    target = Reader(b, corpus, max_tokens, section)
    of_b = target.read("train"), target.read("validation")
    sources = []
    for name, model in (("a", a), ("control", control)):
        reader = Reader(model, corpus, max_tokens, section)
        of_a = reader.read("train"), reader.read("validation")
        sources.append(fit_source(name, of_a, of_b, section.ridge))
        if name == "a":
            rng = generator(section.seed, "stitching", key, "shuffled")
            sources.append(fit_source("shuffled", of_a, of_b, section.ridge, rng))
    model = target.spliced()
    rng = generator(section.seed, "stitching", key, "documents")
    intervals = Intervals(model.documents, section.n_bootstrap, rng)
    tables = stitch(model, target.hooks, sources, intervals)
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
