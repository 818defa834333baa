"""Small LMs that differ in their seed alone, trained for the comparison of their layers."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer

from universality.core.corpora import Tokens, read_corpus, tokenize
from universality.core.errors import InputError
from universality.core.features import hook_rows
from universality.core.io import require
from universality.core.models import document_losses, load_bridge, new_model, save_model, train
from universality.core.params.models import SmallModel
from universality.core.progress import progress
from universality.core.randomness import generator
from universality.studies.spaces.params.layers import LayerIdentification
from universality.studies.spaces.similarity import identification as study
from universality.studies.spaces.similarity.measures import Options

SITES = {"resid_post": "blocks.{}.hook_resid_post", "mlp_out": "blocks.{}.hook_mlp_out"}
"""Site -> its hook in a layer."""
KINDS = ("trained", "untrained")


def language_models(
    corpus: Path, tokenizer: Path, small: SmallModel, section: LayerIdentification
) -> Iterator[tuple[dict[str, Any], dict[str, list[np.ndarray]]]]:
    """Yield every LM, before and after training: its row, and site -> layers `(n, d)`."""
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
    models: dict[int, torch.nn.Module], tokens: dict[str, Tokens], small: SmallModel
) -> None:
    """Train all LMs in place, with one thread: two are several times slower for such small ones."""
    judged = tokens["validation"].first(2000)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed, model in progress(list(models.items()), desc="language models"):
            train(model, tokens["train"], judged, small, seed)
    finally:
        torch.set_num_threads(n_threads)


def _read(
    model: torch.nn.Module, encoder: Any, validation: Tokens, section: LayerIdentification
) -> tuple[dict[str, float], dict[str, list[np.ndarray]]]:
    """Return the loss of an LM, and site -> its layers at the drawn positions, `(n, d)`."""
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


def identify(
    models: list[list[np.ndarray]], section: LayerIdentification
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the accuracy of every measure, and what is chosen."""
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


def with_null(table: "pd.DataFrame") -> pd.DataFrame:
    """Return the trained LMs' rows, with what the untrained give beside them."""
    keys = ["measure", "site"]
    trained, untrained = (table.query(f"kind == {kind!r}").drop(columns="kind") for kind in KINDS)
    untrained = untrained.set_index(keys).add_suffix("_null").reset_index()
    return trained.merge(untrained, on=keys)
