"""`universality run concept-layers`: hierarchical concepts in the activations of single tokens."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.hierarchy.params.hierarchy import ConceptGraph, ConceptLayers, Hierarchy


def command(
    key: Annotated[str, typer.Argument(help="model: key of `concept_layers`")],
    graphs: Annotated[Path, typer.Option(help="outputs of `concept-graph`, one folder each")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="directory of its SAEs")],
    corpus: Annotated[Path, typer.Option(help="corpus directory, for beginnings of texts")],
    out: Annotated[Path, typer.Option(help="directory for the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Test it in the activations of single tokens, and against SAE features.

    Test the claims at every layer, alone or in context, and beside SAE features.
    """
    wanted = load_section(params, ConceptLayers, "concept_layers", key)
    graph = load_section(params, ConceptGraph, "concept_graphs", wanted.graph)
    settings = load_section(params, Hierarchy, "hierarchy")

    from universality.core.corpora import load_tokenizer
    from universality.core.io import atomic_directory, write_table
    from universality.core.randomness import generator
    from universality.studies.hierarchy.files import read_concepts
    from universality.studies.hierarchy.layer_study import (
        choose,
        collect_rows,
        depth_tables,
        feature_tables,
    )
    from universality.studies.saes.evaluation import load_sae

    every = read_concepts(graphs / wanted.graph)
    tokenizer, _ = load_tokenizer(model)
    tokens, concepts = choose(
        every, wanted, tokenizer.get_vocab_size(), generator(settings.seed, key, "tokens")
    )
    hooks = {layer: f"blocks.{layer}.hook_resid_post" for layer in wanted.layers}
    opened = {name: load_sae(saes / name) for name in wanted.sae_ids}
    sae_hooks = {name: sae.cfg.metadata.hook_name for name, sae in opened.items()}
    needed = list(dict.fromkeys([*hooks.values(), *sae_hooks.values()]))
    rows = collect_rows(model, corpus, tokens, every.tokens, needed, wanted)
    tables = depth_tables(key, rows, hooks, concepts, graph, wanted.forms, settings)
    read = {name: rows["one context", hook] for name, hook in sae_hooks.items()}
    tables |= feature_tables(key, saes, opened, read, concepts, wanted, settings)
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
