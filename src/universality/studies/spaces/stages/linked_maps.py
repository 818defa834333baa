"""`universality run linked-maps`: the interactive map of a pair's features, one offline page."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.matching.params.matching import Pair
from universality.studies.spaces.params.linked_maps import LinkedMaps


def command(
    key: Annotated[str, typer.Argument(help="key of `linked_pairs`")],
    a: Annotated[Path, typer.Option(help="features of model A")],
    b: Annotated[Path, typer.Option(help="features of model B")],
    matches: Annotated[Path, typer.Option(help="matching tables of the pair")],
    coordinates: Annotated[Path, typer.Option(help="tables of `feature-coordinates`")],
    corpus: Annotated[Path, typer.Option(help="corpus directory that both were taken on")],
    out: Annotated[Path, typer.Option(help="directory for index.html")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Write an offline page with two linked maps of features."""
    pair = load_section(params, Pair, "linked_pairs", key)
    settings = load_section(params, LinkedMaps, "linked_maps")

    from universality.core.corpora import read_corpus
    from universality.core.io import atomic_directory, read_json, read_table
    from universality.studies.spaces.linked_maps.content import page_data
    from universality.studies.spaces.linked_maps.files import read_linked
    from universality.studies.spaces.linked_maps.page import about, render

    texts = dict(zip(*read_corpus(corpus, "validation"), strict=True))
    names = "features", "backward", "pairs", "pairings", "layers", "headline"
    tables = {name: read_table(matches / f"{name}.parquet") for name in names}
    found = read_linked(pair, a, b, tables, coordinates, texts, settings)
    origin = read_json(corpus / "manifest.json")["origin"]
    head = about(pair, corpus.name, origin, found.n_positions, found.n_documents, settings)
    data = page_data(found.a, found.b, found.layers, found.paired, settings)
    with atomic_directory(out) as folder:
        page = render(head, data, settings.max_mb)
        (folder / "index.html").write_text(page, encoding="utf-8")
