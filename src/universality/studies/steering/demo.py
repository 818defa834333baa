"""The demonstration of steering behind `universality steer`: one prompt, with and without."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from universality.core.contexts import positions
from universality.core.corpora import load_tokenizer, read_corpus
from universality.core.errors import InputError
from universality.core.io import read_sparse, read_table
from universality.studies.saes.evaluation import load_sae
from universality.studies.steering.contexts import context_table
from universality.studies.steering.contrasts import (
    contrast_tokens,
    encode_prompt,
    stop_tokens,
    until_stop,
)
from universality.studies.steering.downstream import read
from universality.studies.steering.downstream_study import downstream_hooks, find_saes
from universality.studies.steering.effects import Task, Writing, dose_response
from universality.studies.steering.intervene import Addition, generate
from universality.studies.steering.params.steering import Contrast
from universality.studies.steering.vectors import METHODS, pair_activations


@dataclass(frozen=True)
class Demo:
    """What is added where, and what follows the prompt with and without it."""

    prompt: np.ndarray
    """Token ids, BOS first."""
    vector: np.ndarray
    """Shape `(d,)`, not multiplied."""
    plain: np.ndarray
    """Tokens that follow, as it is, `(n_new,)`."""
    steered: np.ndarray
    effects: pd.DataFrame
    """One row; see `effects.dose_response`."""


def known(names: Any, name: str, what: str) -> str:
    """Return `name`, or say which `names` there are."""
    if name not in names:
        raise InputError(f"no {what} {name!r}; there is: {', '.join(map(str, names)) or 'nothing'}")
    return name


def block_hook(bridge: Any, model: str, layer: int, site: str) -> str:
    """Return the hook `site` of a block; an unknown layer is an error that says which there are."""
    if not 0 <= layer < bridge.cfg.n_layers:
        raise InputError(f"layer is {layer}; {model} has layers 0 to {bridge.cfg.n_layers - 1}")
    return f"blocks.{layer}.{site}"


def steer(
    bridge: Any, model: Path, name: str, contrast: Contrast, text: str, hook: str,
    multiplier: float, where: str, method: str, n_new: int, seed: int,
) -> Demo:  # fmt: skip
    """Write on from `text`, greedily, with and without the vector of a contrast."""
    tokens = contrast_tokens(name, contrast, model, 1)
    activations = pair_activations(bridge, {name: (tokens.positive, tokens.negative)}, [hook])
    vector = METHODS[method](*activations[name, hook])
    tokenizer, bos = load_tokenizer(model)
    prompt = encode_prompt(tokenizer, bos, text)
    addition = Addition(hook, vector, multiplier, where)
    plain, steered = (generate(bridge, prompt[None], n_new, some)[0] for some in ([], [addition]))
    effects = dose_response(
        bridge, {name: (hook, vector)}, Task([prompt], tokens.task.words), [multiplier], where,
        Writing(n_new, stop_tokens(model), seed),
    )  # fmt: skip
    return Demo(prompt, vector, plain, steered, effects)


def words(demo: Demo, model: Path) -> tuple[str, str]:
    """Return the prompt with what follows it, as it is and steered."""
    tokenizer, stop = load_tokenizer(model)[0], stop_tokens(model)
    beginning = demo.prompt[1:].tolist()
    plain, steered = (
        tokenizer.decode(beginning + until_stop(new.tolist(), stop))
        for new in (demo.plain, demo.steered)
    )
    return plain, steered


def said(demo: Demo, model: Path, contrast: Contrast) -> str:
    """Say what the model writes, as it is and steered, and the effect and the price of steering."""
    plain, steered = words(demo, model)
    effect = demo.effects.iloc[0]
    ce = effect["ce_greedy"]
    return (
        f"As it is: {plain}\n\nSteered:  {steered}\n\n"
        f"log P({', '.join(contrast.words[0][:2])}, ...) - "
        f"log P({', '.join(contrast.words[1][:2])}, ...) after the prompt: "
        f"{effect['score'] - effect['score_change']:.2f} to {effect['score']:.2f}; perplexity of "
        f"the continuation, by the model as it is: "
        f"{np.exp(ce - effect['ce_greedy_change']):.1f} to {np.exp(ce):.1f}\n"
    )


def feature_changes(
    bridge: Any, demo: Demo, addition: Addition, saes: Path, features: Path, seed: int, n_top: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the features that change most, and hook -> their activations on the corpus.

    Both runs read the prompt and what follows it unsteered. `change` is that of the mean activation
    from the prompt's last position on; features are ranked by its size as a share of the highest
    activation, here or on the corpus (`share`).
    """
    paths = find_saes(saes, seed)
    hooks = downstream_hooks(paths, addition.hook)
    ids = np.concatenate([demo.prompt, demo.plain])[None]
    plain, after = (
        read(bridge, ids, hooks, len(demo.prompt), some) if hooks else {}
        for some in ([], [addition])
    )
    rows, corpus = [], {}
    for hook in hooks:
        sae = load_sae(paths[hook])
        one, two = (sae.encode(found[hook][0]).detach().numpy() for found in (plain, after))
        corpus[hook] = sp.csc_matrix(read_sparse(features / f"{paths[hook].name}.safetensors"))
        highest = np.asarray(corpus[hook].max(axis=0).todense()).ravel()
        highest = np.maximum(highest, np.maximum(one.max(0), two.max(0)))
        change = (two - one).mean(0)
        moved = np.flatnonzero(change)
        rows.append(
            pd.DataFrame(
                {
                    "hook": hook,
                    "feature": moved,
                    "before": one.mean(0)[moved],
                    "after": two.mean(0)[moved],
                    "change": change[moved],
                    "share": change[moved] / highest[moved],
                }
            )
        )
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()
    if len(table):
        order = np.argsort(-table["share"].abs().to_numpy(), kind="stable")[:n_top]
        table = table.iloc[order].reset_index(drop=True)
    return table, corpus


def contexts_of(
    changed: pd.DataFrame, corpus_features: Mapping[str, Any], features: Path, corpus: Path,
    n: int, context: int,
) -> list[list[str]]:  # fmt: skip
    """Return the strongest contexts of every row of `changed` on the text of `features`."""
    texts = dict(zip(*read_corpus(corpus, "validation"), strict=True))
    at = positions(read_table(features / "tokens.parquet"), texts)
    return [
        context_table(corpus_features[hook], at, [int(feature)], n, context)["text"].to_list()
        for hook, feature in zip(changed["hook"], changed["feature"], strict=True)
    ]


def feature_lines(
    bridge: Any, demo: Demo, addition: Addition, places: tuple[Path, Path, Path], seed: int,
    n_features: int,
) -> Iterator[str]:  # fmt: skip
    """Yield what to print about the features of `places` that change most.

    `places` are the directories of SAEs, features and corpus; one that is not there is said.
    """
    missing = [str(place) for place in places if not place.is_dir()]
    if missing:
        yield f"No features: {', '.join(missing)} is not there"
        return
    saes, features, corpus = places
    changed, activations = feature_changes(bridge, demo, addition, saes, features, seed, n_features)
    if not len(changed):
        yield f"No feature changed of the SAEs in {saes} after {addition.hook}"
        return
    yield "Features that changed most (mean from the prompt's last token on; where they fire)"
    shown = contexts_of(changed, activations, features, corpus, 3, 8)
    for row, found in zip(changed.to_dict("records"), shown, strict=True):
        yield (
            f"\n{row['hook']} {row['feature']}: {row['before']:.3f} to {row['after']:.3f} "
            f"({row['share']:+.0%} of its highest)"
        )
        for one in found or ["fires nowhere in the corpus"]:
            yield f"  {one}"
