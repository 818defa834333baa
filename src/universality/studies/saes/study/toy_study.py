"""The study of toy models: SAEs trained on samples whose features are known, beside baselines."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
import pandas as pd
import torch

from universality.core.randomness import generator
from universality.studies.saes.params.saes import Recipe, SaeTraining
from universality.studies.saes.params.toy import Toy
from universality.studies.saes.study.toy import (
    Samples,
    agreement,
    direction_measures,
    judge,
    null_dictionary,
    sample,
    true_directions,
)
from universality.studies.saes.training.architectures import new_sae
from universality.studies.saes.training.loop import Job, train_sae

KEYS = ["condition", "kind", "family", "architecture", "sparsity", "expansion", "width"]
KEYS += ["reference", "n_true", "n_samples"]
"""What tells the dictionaries of a seed apart."""
_HOOK = "toy"


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: matrices this small take ten times as long when two share them."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def study(section: Toy, training: SaeTraining) -> tuple[list[dict[str, Any]], ...]:
    """Return the rows of `saes` and of `agreement`."""
    rows, agreements = [], []
    for seed in section.seeds:
        directions = true_directions(section.n_true, section.d, seed)
        for name, condition in section.conditions.items():
            samples, fresh = (
                sample(directions, condition, n, section, generator(seed, "toy", name, use))
                for n, use in ((section.n_samples, "train"), (section.n_evaluation, "evaluate"))
            )
            where = {"condition": name, "seed": seed, "n_true": section.n_true}
            where |= {"n_samples": section.n_samples}
            rows += [where | row for row in _baselines(fresh, section, seed)]
            found, decoders = _saes(samples, fresh, section, training, seed)
            rows += [where | row for row in found]
            if seed == section.seeds[0]:
                found = _agreements(samples, fresh, section, training, decoders)
                agreements += [{"condition": name, **row} for row in found]
    return rows, agreements


def _baselines(fresh: Samples, section: Toy, seed: int) -> list[dict[str, Any]]:
    """Judge the truth itself and the dictionaries that need no training, at every width."""
    none = {"family": "none", "architecture": "none", "sparsity": 0.0}
    found = judge(fresh, fresh.directions, fresh.activations, fresh.inputs, section)
    at = {"expansion": 0, "width": 1.0, "reference": True}
    rows = [none | {"kind": "truth"} | at | found]
    expansions = {recipe.expansion for _, recipe in section.recipes()}
    for kind in ("random", "samples"):
        for expansion in sorted(expansions):
            rng = generator(seed, "toy", "null", kind, expansion)
            drawn = [
                direction_measures(
                    fresh.directions,
                    null_dictionary(kind, fresh, section.d * expansion, rng),
                    section.found_above,
                )
                for _ in range(section.n_null)
            ]
            mean = pd.DataFrame(drawn).mean().to_dict()
            rows.append(none | {"kind": kind} | _place(section, expansion) | mean)
    return rows


def _saes(
    samples: Samples, fresh: Samples, section: Toy, training: SaeTraining, seed: int
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Return the measures of every SAE, and the live decoder of each family's reference."""
    rows, decoders = [], {}
    for family, recipe in section.recipes():
        reference = recipe == _reference(section, family)
        where = {"family": family, "architecture": recipe.architecture}
        where |= {"sparsity": recipe.sparsity} | _place(section, recipe.expansion)
        where |= {"reference": reference}
        untrained = _new(recipe, section, training, seed)
        rows.append(where | {"kind": "untrained"} | _judge(untrained, fresh, section)[0])
        if recipe.expansion * section.d == section.n_true and hasattr(untrained.cfg, "k"):
            told = _judge(_set(untrained, fresh.directions), fresh, section)[0]
            rows.append(where | {"kind": "truth_weights"} | told)
        trained = _train(samples, recipe, section, training, seed)
        found, decoder = _judge(trained, fresh, section)
        rows.append(where | {"kind": "trained"} | found)
        if reference:
            decoders[family] = decoder
    return rows, decoders


def _agreements(
    samples: Samples,
    fresh: Samples,
    section: Toy,
    training: SaeTraining,
    decoders: dict[str, np.ndarray],
) -> list[dict[str, Any]]:
    """Compare SAEs of the same samples that differ in their seed; one is trained already.

    `shared_null` is what a latent shares with the other SAE before its training.
    """
    rows = []
    for family, first in decoders.items():
        recipe, of_seed = _reference(section, family), {section.seeds[0]: first}
        for seed in section.sae_seeds:
            if seed not in of_seed:
                sae = _train(samples, recipe, section, training, seed)
                of_seed[seed] = _judge(sae, fresh, section)[1]
        for seed, other in ((a, b) for a in of_seed for b in of_seed if a != b):
            where = {"family": family, "seed": seed, "other_seed": other}
            null = _new(recipe, section, training, other).W_dec.detach().numpy()
            found, by_chance = (
                agreement(fresh.directions, of_seed[seed], against, section.found_above)
                for against in (of_seed[other], null)
            )
            rows.append(where | found | {"shared_null": by_chance["shared"]})
    return rows


def _place(section: Toy, expansion: int) -> dict[str, Any]:
    width = section.d * expansion / section.n_true
    reference = expansion == section.reference_expansion
    return {"expansion": expansion, "width": width, "reference": reference}


def _reference(section: Toy, family: str) -> Recipe:
    return section.recipe(family, section.families[family].reference, section.reference_expansion)


def _new(recipe: Recipe, section: Toy, training: SaeTraining, seed: int) -> Any:
    n_steps = section.n_samples // training.batch_size
    return new_sae(recipe, training, n_steps, section.d, _HOOK, "toy", seed)


def _train(samples: Samples, recipe: Recipe, section: Toy, training: SaeTraining, seed: int) -> Any:
    inputs = samples.inputs
    norm = float(np.linalg.norm(inputs, axis=1).mean())
    job = Job(f"toy_seed{seed}", "toy", _HOOK, recipe, seed, section.n_samples)
    return train_sae(inputs, norm, job, training)[0]


def _set(sae: Any, directions: np.ndarray) -> Any:
    vectors = torch.from_numpy(directions)
    with torch.no_grad():
        sae.W_dec.copy_(vectors)
        sae.W_enc.copy_(vectors.T)
    return sae


def _judge(sae: Any, fresh: Samples, section: Toy) -> tuple[dict[str, float], np.ndarray]:
    """Return the measures on fresh samples, and the decoder rows of latents that fire on them."""
    with torch.inference_mode():
        latents = sae.encode(torch.from_numpy(fresh.inputs))
        output = sae.decode(latents).numpy()
    latents, decoder = latents.numpy(), sae.W_dec.detach().numpy()
    return judge(fresh, decoder, latents, output, section), decoder[(latents > 0).any(0)]
