"""`universality run match-cards`: matched pairs side by side in their text, and their asymmetry."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.matching.params.cards import Cards
from universality.studies.matching.params.matching import Pair


def command(
    key: Annotated[str, typer.Argument(help="pair of params.yaml")],
    a: Annotated[Path, typer.Option(help="features of model A")],
    b: Annotated[Path, typer.Option(help="features of model B")],
    matches: Annotated[Path, typer.Option(help="matching tables of the pair")],
    corpus: Annotated[Path, typer.Option(help="corpus directory that both were taken on")],
    out: Annotated[Path, typer.Option(help="directory for index.html")],
    tables: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Show matched features side by side, and which is the more general.

    Write the page of pair `key`, and tables of its cards and of all pairs' asymmetry.
    """
    pair = load_section(params, Pair, "pairs", key)
    section = load_section(params, Cards, "match_cards")

    from universality.core.corpora import read_corpus
    from universality.core.io import atomic_directory, read_table, write_table
    from universality.studies.matching.cards.files import read_cards
    from universality.studies.matching.cards.page import about, render

    texts = dict(zip(*read_corpus(corpus, "validation"), strict=True))
    tables_of = {name: read_table(matches / f"{name}.parquet") for name in ("features", "headline")}
    found = read_cards(key, a, b, tables_of, texts, pair, section)
    size = found.n_positions, found.n_documents, found.shares
    head = about(pair, corpus.name, *size, found.n_passed, section)
    with atomic_directory(out) as folder:
        page = render(head, found.cards, found.tables["summary"])
        (folder / "index.html").write_text(page, encoding="utf-8")
    with atomic_directory(tables) as folder:
        for name, table in found.tables.items():
            write_table(folder / f"{name}.parquet", table)
