"""How good the SAEs of a grid are, beside as many principal components as features are active."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from universality.core.activations import open_activations
from universality.core.corpora import Tokens
from universality.core.models import document_losses
from universality.studies.saes.baselines import PrincipalComponents
from universality.studies.saes.evaluation import judge_hook, load_sae, reconstruct
from universality.studies.saes.grid import member_table, pca_table
from universality.studies.saes.params.saes import SaeGrid, SaeGridEvaluation


def judge_grid(
    grid: SaeGrid,
    saes: Path,
    bridge: Any,
    tokens: Tokens,
    activations: Path,
    dead: Mapping[Any, float],
    section: SaeGridEvaluation,
) -> pd.DataFrame:
    """Judge the SAEs in the directory `saes`; return `member_table` with what was found.

    Components are of the rows in the directory `activations`, and follow the SAEs of each hook.
    `dead` is SAE -> `dead_fraction`.
    """
    table = member_table(grid)
    clean = document_losses(bridge, tokens, section.batch_tokens)
    parts = []
    for hook in grid.hooks:
        group = table[table["hook"] == hook]
        loaded = [load_sae(saes / sae) for sae in group["sae"]]
        sums = reconstruct(bridge, tokens, {hook: loaded}, section.batch_tokens)[hook]
        rows = np.asarray(open_activations(activations, hook)[: section.n_pca], dtype=np.float32)
        # A baseline costs as much as an SAE: only where there is one to compare it with.
        l0 = [one.active.sum() / one.count.sum() for one in sums]
        reached = [k for k in section.matched_l0 if 0.9 * min(l0) <= k <= 1.1 * max(l0)]
        sizes = [k for k in reached if k <= rows.shape[1]]
        components = [PrincipalComponents(torch.from_numpy(rows), k) for k in sizes]
        sums += reconstruct(bridge, tokens, {hook: components}, section.batch_tokens)[hook]
        judged = judge_hook(bridge, tokens, hook, sums, clean, section)
        group = pd.concat([group, pca_table(grid, hook, sizes)], ignore_index=True)
        group = pd.concat([group, pd.DataFrame(judged)], axis=1)
        group["dead_fraction"] = [dead.get(sae, 0.0) for sae in group["sae"]]
        parts.append(group)
    return pd.concat(parts, ignore_index=True)
