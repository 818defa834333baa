"""`universality match-text`: whether partners on one text are partners on another."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from universality.core.params.base import load_section
from universality.studies.matching.params.matching import Matching, Pair
from universality.studies.matching.params.other_text import OtherText
from universality.studies.saes.params.saes import SaeModel

if TYPE_CHECKING:
    import pandas as pd


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

    from universality.core.io import read_table, write_table
    from universality.studies.matching.files import shared_positions
    from universality.studies.matching.other_text import carried_over, carried_row
    from universality.studies.matching.pairings import Partners
    from universality.studies.matching.study import N_FEW_NULL, draw_sample
    from universality.studies.matching.tables import POOLED, best_layers

    headline = read_table(matches / "headline.parquet")
    best = best_layers(headline)
    known = read_table(matches / "features.parquet").set_index(["layer_a", "layer_b"]).sort_index()
    sides = [
        _open(a_model, a_saes, wanted[0], pair.a_seed),
        _open(b_model, b_saes, wanted[1], pair.b_seed),
    ]
    rows = []
    for name, text in section.texts.items():
        (table_a, of_a), (table_b, of_b) = (
            _features(side, model, corpora / text.corpus, text.split, max_tokens, section)
            for side, model in zip(sides, (a_model, b_model), strict=True)
        )
        aligned, documents = shared_positions(table_a, table_b, f"{key} on {name}")
        sample = draw_sample(documents, settings, key, name)
        sample = replace(sample, offsets=sample.offsets[:N_FEW_NULL])
        where = {"text": name, "n_positions": len(documents)}
        where["n_documents"] = len(np.unique(documents))
        parts = []
        for layer_a, layer_b in zip(best["layer_a"], best["layer_b"], strict=True):
            found = known.loc[(layer_a, layer_b)].sort_values("feature_a")
            partners = Partners(found["partner"].to_numpy(), found["r"].to_numpy())
            one, other = of_a[layer_a][aligned.rows_a], of_b[layer_b][aligned.rows_b]
            parts.append(carried_over(one, other, partners, sample))
            layers = {"layer_a": layer_a, "layer_b": layer_b}
            rows.append(where | layers | carried_row(parts[-1:], settings.threshold))
        pooled = {"layer_a": POOLED, "layer_b": POOLED}
        rows.append(where | pooled | carried_row(parts, settings.threshold))
    write_table(out, pd.DataFrame(rows).assign(threshold=settings.threshold))


def _open(model: Path, saes: Path, wanted: SaeModel, seed: int) -> "tuple[Any, dict[str, Any]]":
    """Return the model, and its SAEs by layer: hook and SAE."""
    from universality.core.hooks import layer, sae_id
    from universality.core.models import load_bridge
    from universality.studies.saes.evaluation import load_sae

    loaded = {
        str(layer(hook)): (hook, load_sae(saes / sae_id(hook, seed))) for hook in wanted.hooks
    }
    return load_bridge(model), loaded


def _features(
    side: "tuple[Any, dict[str, Any]]", model: Path, corpus: Path, split: str, max_tokens: int,
    section: OtherText,
) -> "tuple[pd.DataFrame, dict[int, Any]]":  # fmt: skip
    """Return the positions, and the feature activations by layer, of a text."""
    from universality.core.corpora import load_tokenizer, load_tokens
    from universality.core.features import position_table, sparse_features

    bridge, saes = side
    tokens = load_tokens(corpus, split, model, max_tokens, section.n_documents)
    place, matrices = sparse_features(bridge, tokens, saes, section.batch_tokens, True)
    table = position_table(tokens, place, load_tokenizer(model)[0])
    return table, {int(name): matrix for name, matrix in matrices.items()}
