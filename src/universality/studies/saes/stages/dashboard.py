"""`universality run dashboard`: one offline page about some features of an SAE."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.dashboards import Dashboard


def command(
    key: Annotated[str, typer.Argument(help="key of `dashboards`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    sae: Annotated[Path, typer.Option(help="the SAE, in SAELens format")],
    features: Annotated[Path, typer.Option(help="feature activations of the model's SAEs")],
    corpus: Annotated[Path, typer.Option(help="corpus directory that they were taken on")],
    out: Annotated[Path, typer.Option(help="directory for index.html")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Write an offline page about features of an SAE.

    Write the page: where features fire, examples, logits, nearest features.
    """
    section = load_section(params, Dashboard, "dashboards", key)

    from universality.core.contexts import positions
    from universality.core.corpora import load_tokenizer, read_corpus
    from universality.core.io import atomic_directory, read_json, read_sparse, read_table
    from universality.core.models import load_bridge
    from universality.core.sae_weights import read_weights
    from universality.studies.saes.pages.dashboard_content import dashboard
    from universality.studies.saes.pages.dashboard_page import render

    texts = dict(zip(*read_corpus(corpus, "validation"), strict=True))
    about, shown = dashboard(
        read_sparse(features / f"{section.sae}.safetensors"),
        positions(read_table(features / "tokens.parquet"), texts),
        read_weights(sae).decoder,
        read_json(sae / "cfg.json"),
        load_bridge(model),
        load_tokenizer(model)[0],
        corpus.name,
        read_json(corpus / "manifest.json")["origin"],
        section,
    )
    with atomic_directory(out) as folder:
        (folder / "index.html").write_text(render(about, shown), encoding="utf-8")
