"""`universality identify-layers`: is layer i most like layer i of another seed?"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from universality.core.params.base import load_section
from universality.core.params.models import SmallModel
from universality.studies.spaces.params.layers import LayerIdentification

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    from universality.core.corpora import Tokens

SITES = {"resid_post": "blocks.{}.hook_resid_post", "mlp_out": "blocks.{}.hook_mlp_out"}
KINDS = ("trained", "untrained")


def command(
    key: Annotated[str, typer.Argument(help="key of `layer_identification`")],
    corpus: Annotated[Path, typer.Option(help="corpus directory")],
    tokenizer: Annotated[Path, typer.Option(help="directory with tokenizer.json")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Find which layers of LM seeds are alike, by every measure.

    Train LMs of several seeds; write models, accuracy (by measure), and choices (of layers).

    The null are the same LMs before training. The LMs are not kept.
    """
    section = load_section(params, LayerIdentification, "layer_identification", key)
    small = section.models.in_place(load_section(params, SmallModel, "small_model"))

    import pandas as pd
    from threadpoolctl import threadpool_limits

    import universality.studies.spaces.similarity.identification  # noqa: F401  a limit holds for what is loaded
    from universality.core.io import atomic_directory, write_table

    models, accuracies, choices = [], [], []
    layers = {(kind, site): [] for kind in KINDS for site in SITES}
    for row, found in _language_models(corpus, tokenizer, small, section):
        models.append(row)
        for site in SITES:
            layers[row["kind"], site].append(found[site])
    # Matrices this small take many times as long when two threads share them.
    with threadpool_limits(1):
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
    from tokenizers import Tokenizer

    from universality.core.corpora import read_corpus, tokenize
    from universality.core.errors import InputError
    from universality.core.io import require
    from universality.core.models import new_model

    encoder = Tokenizer.from_file(str(require(tokenizer / "tokenizer.json")))
    tokens = {}
    for split, n in (("train", None), ("validation", section.n_documents)):
        documents, texts = read_corpus(corpus, split, n)
        tokens[split] = tokenize(texts, documents, encoder, 0, small.context)
    n_rows = int((~tokens["validation"].special).sum())
    least = 5 * 2 * small.d_model + 1
    if not least <= section.n_positions <= n_rows:
        raise InputError(
            f"layer_identification.n_positions is {section.n_positions}, expected {least} (more "
            f"than 5 (d1 + d2)) to {n_rows} (what {section.n_documents} documents have)"
        )
    models = {seed: new_model(small, seed) for seed in section.models.seeds}
    for kind in reversed(KINDS):
        if kind == "trained":
            _train_all(models, tokens, small)
        for seed, model in models.items():
            row, found = _read(model, encoder, tokens["validation"], section)
            n_tokens = small.n_tokens if kind == "trained" else 0
            sizes = {"n_layers": small.n_layers, "d": small.d_model}
            yield {"seed": seed, "kind": kind, "n_tokens": n_tokens} | sizes | row, found


def _train_all(
    models: "dict[int, torch.nn.Module]", tokens: "dict[str, Tokens]", small: SmallModel
) -> None:
    """Train all LMs in place, with one thread: two are several times slower for such small ones."""
    import torch

    from universality.core.models import train
    from universality.core.progress import progress

    judged = tokens["validation"].first(2000)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed, model in progress(list(models.items()), desc="language models"):
            train(model, tokens["train"], judged, small, seed)
    finally:
        torch.set_num_threads(n_threads)


def _read(
    model: "torch.nn.Module", encoder: Any, validation: "Tokens", section: LayerIdentification
) -> "tuple[dict[str, float], dict[str, list[np.ndarray]]]":
    """Return the loss of an LM, and site -> its layers at the drawn positions, `(n, d)`."""
    import numpy as np

    from universality.core.features import hook_rows
    from universality.core.models import document_losses, load_bridge, save_model
    from universality.core.randomness import generator

    with TemporaryDirectory() as folder:
        save_model(model, encoder, Path(folder) / "model")
        bridge = load_bridge(Path(folder) / "model")
    hooks = {
        site: [hook.format(layer) for layer in range(bridge.cfg.n_layers)]
        for site, hook in SITES.items()
    }
    every = [hook for of_site in hooks.values() for hook in of_site]
    found = hook_rows(bridge, validation, every, section.batch_tokens)
    rng = generator(section.seed, "identify_layers", "positions")
    rows = np.sort(rng.choice(len(found.place), section.n_positions, replace=False))
    losses, counts = document_losses(bridge, validation, section.batch_tokens)
    sizes = {"n_positions": section.n_positions, "n_compared": section.n_compared}
    return {"cross_entropy": losses.sum() / counts.sum(), **sizes}, {
        site: [found.activations[hook][rows].numpy() for hook in of_site]
        for site, of_site in hooks.items()
    }


def _identify(
    models: "list[list[np.ndarray]]", section: LayerIdentification
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Return the accuracy of every measure, and what is chosen."""
    import numpy as np
    import pandas as pd

    from universality.core.randomness import generator
    from universality.studies.spaces.similarity import identification as study
    from universality.studies.spaces.similarity.measures import Options

    rng = generator(section.seed, "identify_layers", "compared")
    few = np.sort(rng.choice(section.n_positions, section.n_compared, replace=False))
    scores = study.linear_scores(models, Options(section.svcca_share, section.cca_ridge))
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
