"""A second SAE on the error of a frozen first one, against one SAE of the same total size."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from universality.core.corpora import Tokens
from universality.core.models import document_losses
from universality.core.progress import progress
from universality.studies.saes.evaluation import judge_hook, load_sae, reconstruct
from universality.studies.saes.grid import find
from universality.studies.saes.params.remedies import SaeRemedies
from universality.studies.saes.params.saes import SaeGrid, SaeGridEvaluation, SaeTraining
from universality.studies.saes.study.remedies import ResidualPair
from universality.studies.saes.training.loop import Job, train_sae


@torch.inference_mode()
def residuals(sae: Any, activations: np.ndarray, chunk: int = 8192) -> np.ndarray:
    """Return x - sae(x) for `activations` `(n, d_in)`, float32."""
    left = np.empty(activations.shape, dtype=np.float32)
    for first in progress(range(0, len(left), chunk), desc="residuals"):
        x = torch.from_numpy(np.asarray(activations[first : first + chunk], dtype=np.float32))
        left[first : first + chunk] = (x - sae.decode(sae.encode(x))).numpy()
    return left


def mean_norm(x: np.ndarray) -> float:
    """Return the mean L2 norm of the rows of `(n, d)`."""
    return float(np.linalg.norm(x, axis=1).mean(dtype=np.float64))


def train_rivals(
    activations: np.ndarray, first: Any, job: Job, params: SaeTraining
) -> dict[str, Any]:
    """Train what may follow the SAE `first`, itself trained by `job` on `activations`.

    Returns `residual`: `first` and a second SAE like it on its error; `single`: one SAE with twice
    the features and twice the L0 coefficient or k, on as many activations; and `single_longer`: the
    same on twice as many, since the pair has had two trainings. Every SAE is of TopK kind, for
    which L0 adds up exactly.
    """
    seen = activations[: job.n_samples]
    left = residuals(first, seen)
    second, _ = train_sae(left, mean_norm(left), replace(job, sae=f"{job.sae}_residual"), params)
    twice = {"sparsity": 2 * job.recipe.sparsity, "expansion": 2 * job.recipe.expansion}
    wide = replace(job, sae=f"{job.sae}_single", recipe=job.recipe.model_copy(update=twice))
    longer = replace(wide, sae=f"{job.sae}_single_longer", n_samples=2 * job.n_samples)
    norm = mean_norm(np.asarray(seen, dtype=np.float32))
    return {
        "first": first,
        "residual": ResidualPair(first, second.eval()),
        "single": train_sae(activations, norm, wide, params)[0].eval(),
        "single_longer": train_sae(activations, norm, longer, params)[0].eval(),
    }


def rival_table(
    grid: SaeGrid,
    section: SaeRemedies,
    saes: Path,
    activations: np.ndarray,
    bridge: Any,
    tokens: Tokens,
    training: SaeTraining,
    judging: SaeGridEvaluation,
) -> pd.DataFrame:
    """Train the rivals of every SAE of the family; return a row, judged on `tokens`, for each.

    `saes` is the directory of the grid's SAEs, `activations` `(n, d_in)` what they were trained on.
    """
    hook = grid.hooks[0]
    clean = document_losses(bridge, tokens, judging.batch_tokens)
    rows = []
    for one in find(grid, section.family, section.sparsity, section.expansion, hook):
        job = Job(one.sae, grid.model, hook, one.recipe, one.seed, grid.n_samples)
        rivals = train_rivals(activations, load_sae(saes / one.sae), job, training)
        sums = reconstruct(bridge, tokens, {hook: list(rivals.values())}, judging.batch_tokens)
        judged = judge_hook(bridge, tokens, hook, sums[hook], clean, judging)
        where = {"model": grid.model, "hook": hook, "seed": one.seed}
        rows += [where | {"kind": kind} | row for kind, row in zip(rivals, judged, strict=True)]
    return pd.DataFrame(rows)
