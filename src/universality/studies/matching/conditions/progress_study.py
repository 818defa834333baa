"""Features of two language models along their training: when do they come to be shared?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from universality.core.corpora import Tokens
from universality.core.engine.moments import Sparse
from universality.core.features import Encoded, encode, hook_rows
from universality.core.models import document_losses, load_bridge
from universality.core.nulls import shift_offsets
from universality.core.randomness import generator
from universality.core.stats import jackknife_interval, kept_documents
from universality.studies.matching.conditions.conditions import BestR, best_r, summary
from universality.studies.matching.params.conditions import MatchProgress
from universality.studies.matching.params.matching import Matching
from universality.studies.matching.study import Sample, alive_columns, match_layers
from universality.studies.saes.params.saes import SaeTraining
from universality.studies.saes.training.loop import Job, train_sae

COMPARISONS = {
    "other_lm": ("a", None, "b"),
    "sae_seed": ("a", None, "a"),
    "final": ("a", 1.0, "a"),
    "final_of_other_lm": ("a", 1.0, "b"),
}
"""Name -> LM A, the share of its training (None: that of B), LM B. A's features look for partners.

other_lm: both LMs equally trained. sae_seed: one LM and two SAEs, what an SAE allows at best.
final, final_of_other_lm: how much of the trained A is already in A, or in B, at a share of their
training; at the end they are sae_seed and other_lm.
"""


@dataclass(frozen=True)
class Step:
    """One LM at one share of its training."""

    lm: str
    """a or b."""
    model: str
    share: float
    path: Path
    """Hugging Face directory."""
    sae_seeds: tuple[int, ...]


def steps(
    section: MatchProgress, ends: Mapping[str, tuple[Path, Path]], checkpoints: Mapping[str, Path]
) -> list[Step]:
    """Return both LMs at every share, from `ends` (untrained, trained) and `checkpoints` between.

    A's SAEs have both SAE seeds, B's, which are partners only, the second.
    """
    found = []
    for lm, names in (("a", section.a), ("b", section.b)):
        seeds = section.sae_seeds if lm == "a" else section.sae_seeds[1:]
        untrained, trained = ends[lm]
        found.append(Step(lm, names.untrained, 0.0, untrained, seeds))
        for share in sorted(section.shares):
            found.append(Step(lm, names.trained, share, checkpoints[lm] / f"{share:g}", seeds))
        found.append(Step(lm, names.trained, 1.0, trained, seeds))
    return found


def train_and_encode(
    bridge: Any,
    texts: tuple[Tokens, Tokens],
    step: Step,
    section: MatchProgress,
    training: SaeTraining,
) -> dict[tuple[str, int], Encoded]:
    """Train an SAE per hook and SAE seed on the first of `texts`; encode the second.

    All LMs' activations come in one random order, and an SAE seed has the same initial weights in
    all: partners are therefore always of different SAE seeds.
    """
    sources, fresh = (
        hook_rows(bridge, tokens, section.hooks, section.batch_tokens) for tokens in texts
    )
    order = torch.from_numpy(generator(0, "shuffle").permutation(len(sources.place)))
    found = {}
    for hook, rows in sources.activations.items():
        x = rows[order].numpy()
        norm = float(np.linalg.norm(x, axis=1).mean(dtype=np.float64))
        for seed in step.sae_seeds:
            name = f"{step.model} {step.share:g} {hook} {seed}"
            job = Job(name, step.model, hook, section.recipe, seed, section.n_samples)
            sae, _ = train_sae(x, norm, job, training)
            found[hook, seed] = encode(sae.eval(), fresh.activations[hook])
    return found


def loss_row(
    bridge: Any, tokens: Tokens, step: Step, batch_tokens: int, matching: Matching
) -> dict[str, float | str]:
    """Return the LM's cross-entropy in nats per token, with its interval over documents."""
    sums, counts = document_losses(bridge, tokens, batch_tokens)
    rng = generator(matching.seed, "loss", step.lm, f"{step.share:g}")
    kept = kept_documents(len(sums), matching.n_groups, rng)
    mean = float(sums.sum() / counts.sum())
    low, high = jackknife_interval(mean, (kept @ sums) / (kept @ counts), (0, np.inf))
    where: dict[str, float | str] = {"lm": step.lm, "model": step.model, "share": step.share}
    return where | {"loss": mean, "loss_low": low, "loss_high": high, "n_tokens": int(counts.sum())}


Features = Mapping[tuple[str, float, str, int], Sparse]
"""LM (a or b), share of its training, hook, SAE seed -> features `(n, d_sae)`."""


def keep_alive(features: Features, min_count: int) -> dict[tuple[str, float, str, int], Sparse]:
    """Return the features that are alive; InputError where there are none."""
    kept = {}
    for (lm, share, hook, seed), matrix in features.items():
        where = f"match_progress: LM {lm} at share {share:g}, {hook}, SAE seed {seed}"
        kept[lm, share, hook, seed] = matrix[:, alive_columns(matrix, min_count, where)]
    return kept


def match_stages(
    features: Features, documents: np.ndarray, section: MatchProgress, matching: Matching
) -> Iterator[tuple[dict[str, Any], BestR]]:
    """Yield comparison, share and hook, and how well each feature of A was matched in B.

    `features` are alive, all over the positions whose documents are `documents` `(n,)`.
    """
    n_documents = len(np.unique(documents))
    random = generator(matching.seed, "groups", "progress")
    kept = kept_documents(n_documents, matching.n_groups, random)
    one, two = section.sae_seeds
    for hook in section.hooks:
        for comparison, (lm_a, stage, lm_b) in COMPARISONS.items():
            for share in (0.0, *sorted(section.shares), 1.0):
                rng = generator(matching.seed, "null", "progress", comparison, hook, f"{share:g}")
                offsets = shift_offsets(documents, section.n_null, rng)
                a = features[lm_a, share if stage is None else stage, hook, one]
                b = features[lm_b, share, hook, two]
                sample = Sample(documents, offsets, kept, matching.min_count, matching.memory_mb)
                found = best_r(match_layers(a, b, sample))
                yield {"comparison": comparison, "hook": hook, "share": share}, found


def progress_tables(
    found: Sequence[Step],
    texts: tuple[Tokens, Tokens],
    section: MatchProgress,
    training: SaeTraining,
    matching: Matching,
) -> dict[str, pd.DataFrame]:
    """Train SAEs for all LMs of `found` and match them; see `train_and_encode` for `texts`.

    Returns the tables `shares`, how features are matched at every share of the training; `saes`,
    what every SAE is; and `losses`, what every LM is.
    """
    validation = texts[1]
    features, saes, losses = {}, [], []
    for step in found:
        bridge = load_bridge(step.path)
        losses.append(loss_row(bridge, validation, step, section.batch_tokens, matching))
        encoded = train_and_encode(bridge, texts, step, section, training)
        for (hook, seed), one in encoded.items():
            features[step.lm, step.share, hook, seed] = one.features
            where = {"lm": step.lm, "model": step.model, "share": step.share, "hook": hook}
            quality = {"l0": one.l0, "explained_variance": one.explained_variance}
            saes.append(where | {"seed": seed, "d_sae": one.features.shape[1]} | quality)
    alive = keep_alive(features, matching.min_count)
    documents = np.repeat(validation.documents, validation.lengths)[~validation.special]
    numbers = []
    for where, best in match_stages(alive, documents, section, matching):
        d_sae = features["a", 1.0, where["hook"], section.sae_seeds[0]].shape[1]
        numbers.append(where | {"d_sae": d_sae} | summary(best, matching.threshold, d_sae))
    return {
        "shares": pd.DataFrame(numbers).assign(
            threshold=matching.threshold, n_positions=len(documents),
            n_documents=validation.n_documents,
        ),
        "saes": pd.DataFrame(saes).assign(n_alive=[one.shape[1] for one in alive.values()]),
        "losses": pd.DataFrame(losses),
    }  # fmt: skip
