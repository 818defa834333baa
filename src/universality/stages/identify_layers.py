"""`universality identify-layers`: is layer i most like layer i of another seed?"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from universality.params.base import load_section
from universality.params.layers import LayerIdentification
from universality.params.models import SmallModel

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SITES = {"resid_post": "blocks.{}.hook_resid_post", "mlp_out": "blocks.{}.hook_mlp_out"}
KINDS = ("trained", "untrained")


def command(
    corpus: Annotated[Path, typer.Option(help="corpus directory")],
    tokenizer: Annotated[Path, typer.Option(help="directory with tokenizer.json")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Train LMs of several seeds; write models, accuracy (by measure), and choices (of layers).

    The null are the same LMs before training. The LMs are not kept.
    """
    section = load_section(params, LayerIdentification, "layer_identification")
    small = section.models.in_place(load_section(params, SmallModel, "small_model"))

    import pandas as pd
    from threadpoolctl import threadpool_limits

    # A limit of threads holds for libraries that are loaded already.
    import universality.models
    import universality.similarity.identification  # noqa: F401
    from universality.io import atomic_directory, write_table

    models, layers = [], {(kind, site): [] for kind in KINDS for site in SITES}
    accuracies, choices = [], []
    # Matrices this small take several times as long when two threads share them.
    with threadpool_limits(1):
        for row, found in _language_models(corpus, tokenizer, small, section):
            models.append(row)
            for site in SITES:
                layers[row["kind"], site].append(found[site])
        for (kind, site), of_models in layers.items():
            accuracy, chosen = _identify(of_models, section)
            accuracies.append(accuracy.assign(kind=kind, site=site))
            choices.append(chosen.assign(kind=kind, site=site))
    with atomic_directory(out) as folder:
        write_table(folder / "models.parquet", pd.DataFrame(models))
        write_table(folder / "accuracy.parquet", _with_null(pd.concat(accuracies)))
        write_table(folder / "choices.parquet", pd.concat(choices, ignore_index=True))


def _language_models(
    corpus: Path, tokenizer: Path, small: SmallModel, section: LayerIdentification
) -> "Iterator[tuple[dict[str, Any], dict[str, list[np.ndarray]]]]":
    """Yield every LM, before and after training: its row, and site -> layers `(n, d)`."""
    import numpy as np
    from tokenizers import Tokenizer

    from universality.corpora import read_corpus, tokenize
    from universality.errors import InputError
    from universality.features import hook_rows
    from universality.io import require
    from universality.models import document_losses, load_bridge, new_model, save_model, train
    from universality.progress import progress
    from universality.randomness import generator

    encoder = Tokenizer.from_file(str(require(tokenizer / "tokenizer.json")))
    if encoder.get_vocab_size() > small.vocab_size:
        raise InputError(
            f"{tokenizer}: {encoder.get_vocab_size()} tokens; small_model.vocab_size is "
            f"{small.vocab_size}"
        )
    tokens = {}
    for split, n in (("train", None), ("validation", section.n_documents)):
        documents, texts = read_corpus(corpus, split, n)
        tokens[split] = tokenize(texts, documents, encoder, 0, small.context)
    validation = tokens["validation"]
    n_rows = int((~validation.special).sum())
    least = 5 * 2 * small.d_model + 1
    if not least <= section.n_positions <= n_rows:
        raise InputError(
            f"layer_identification.n_positions is {section.n_positions}, expected {least} (more "
            f"than 5 (d1 + d2)) to {n_rows} (what {validation.n_documents} documents have)"
        )
    rng = generator(section.seed, "identify_layers", "positions")
    chosen = np.sort(rng.choice(n_rows, section.n_positions, replace=False))
    hooks = [hook.format(i) for hook in SITES.values() for i in range(small.n_layers)]
    for seed in progress(section.models.seeds, desc="language models"):
        model = new_model(small, seed)
        for kind in reversed(KINDS):
            if kind == "trained":
                train(model, tokens["train"], validation.first(2000), small, seed)
            with TemporaryDirectory() as folder:
                save_model(model, encoder, Path(folder) / "model")
                bridge = load_bridge(Path(folder) / "model")
            found = hook_rows(bridge, validation, hooks, section.batch_tokens).activations
            losses, counts = document_losses(bridge, validation, section.batch_tokens)
            row = {
                "seed": seed, "kind": kind, "cross_entropy": losses.sum() / counts.sum(),
                "n_tokens": small.n_tokens if kind == "trained" else 0,
                "n_layers": small.n_layers, "d": small.d_model, "n_positions": len(chosen),
                "n_compared": section.n_compared,
            }  # fmt: skip
            yield (
                row,
                {
                    site: [found[hook.format(i)].numpy()[chosen] for i in range(small.n_layers)]
                    for site, hook in SITES.items()
                },
            )


def _identify(
    models: "list[list[np.ndarray]]", section: LayerIdentification
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Return the accuracy of every measure, and what is chosen."""
    import numpy as np
    import pandas as pd

    from universality.randomness import generator
    from universality.similarity import identification as study

    rng = generator(section.seed, "identify_layers", "compared")
    n = len(models[0][0])
    few = np.sort(rng.choice(n, min(n, section.n_compared), replace=False))
    scores = study.linear_scores(models, section.svcca_share, section.cca_ridge)
    compared = [[layer[few] for layer in layers] for layers in models]
    scores |= study.sample_scores(compared, section.bandwidths, section.n_neighbours)
    rows, tables = [], []
    for measure, found in scores.items():
        chosen = study.choices(found)
        rows.append({"measure": measure, **study.accuracy(chosen)})
        tables.append(study.choice_table(found, chosen).assign(measure=measure))
    return pd.DataFrame(rows), pd.concat(tables, ignore_index=True)


def _with_null(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the trained LMs' rows, with what the untrained give beside them."""
    keys = ["measure", "site"]
    trained, untrained = (table.query(f"kind == {kind!r}").drop(columns="kind") for kind in KINDS)
    untrained = untrained.set_index(keys).add_suffix("_null").reset_index()
    return trained.merge(untrained, on=keys)
