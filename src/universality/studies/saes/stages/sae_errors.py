"""`universality run sae-errors`: where the error of a model's SAEs is, and what it costs."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.saes import SaeModel
from universality.studies.saes.params.token_error import SaeErrors


def command(
    key: Annotated[str, typer.Argument(help="key of `sae_models`, which names hooks and seeds")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    saes: Annotated[Path, typer.Option(help="directory of the model's SAEs")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; both of its splits are used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Find where the error of a model's SAEs is.

    Study the first SAE of every hook; one table per question, all hooks in each.
    """
    section = load_section(params, SaeErrors, "sae_errors")
    wanted = load_section(params, SaeModel, "sae_models", key)

    from universality.core.corpora import load_tokenizer, load_tokens
    from universality.core.errors import InputError
    from universality.core.features import position_table
    from universality.core.hooks import sae_id
    from universality.core.io import atomic_directory, write_table
    from universality.core.models import load_bridge
    from universality.studies.saes.evaluation import load_sae
    from universality.studies.saes.study.error_study import read_texts, study, with_places

    n_hooks, near, fits = len(wanted.hooks), section.neighbours, section.fits
    if near is not None and not -n_hooks <= near.umap_hook < n_hooks:
        raise InputError(
            f"sae_errors.neighbours.umap_hook is {near.umap_hook}; {key} has {n_hooks} hooks"
        )
    names = {hook: sae_id(hook, wanted.seeds[0]) for hook in wanted.hooks}
    loaded = {hook: (name, load_sae(saes / name)) for hook, name in names.items()}
    texts = read_texts(
        load_bridge(model),
        load_tokens(corpus, "validation", model, max_tokens, section.n_documents),
        load_tokens(corpus, "train", model, max_tokens, fits.n_documents) if fits else None,
        wanted.hooks,
        section,
    )
    pieces = position_table(texts.judged.tokens, texts.judged.place, load_tokenizer(model)[0])
    tables = study(texts, loaded, pieces.drop(columns=["start", "end", "token"]), section)
    if near is None:
        del tables["tokens"]  # large, and only the map is of single tokens
    hooks = {name: hook for hook, name in names.items()}
    with atomic_directory(out) as folder:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", with_places(table, key, hooks))
